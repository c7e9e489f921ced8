//! Losses over the pairs of a batch.

use pdloss::graph::losses::{
    Circle, Contrastive, Histogram, Lifted, MultiSimilarity, NPair, NtXent, SupCon, Triplet, Triplets,
};

use super::{cosines, mean, unit};

/// Which rows share a label: so many of a batch, and behind them rows that they are compared with.
struct Batch<'a>(&'a [usize], usize);

impl Batch<'_> {
    fn rows(&self) -> std::ops::Range<usize> {
        0..self.1
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.0.len()
    }

    fn genuine(&self, i: usize) -> Vec<usize> {
        self.all().filter(|&k| k != i && self.0[k] == self.0[i]).collect()
    }

    fn impostors(&self, i: usize) -> Vec<usize> {
        self.all().filter(|&k| self.0[k] != self.0[i]).collect()
    }

    /// Genuine pairs in either order.
    fn pairs(&self) -> Vec<(usize, usize)> {
        self.rows().flat_map(|i| self.genuine(i).into_iter().map(move |p| (i, p))).collect()
    }

    /// Rows that have both kinds of pairs.
    fn complete(&self) -> Vec<usize> {
        self.rows().filter(|&i| !self.genuine(i).is_empty() && !self.impostors(i).is_empty()).collect()
    }
}

/// `|z_i - z_k|`, by the difference itself.
fn distances(dim: usize, x: &[f64]) -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> = x.chunks(dim).map(unit).collect();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    rows.iter().map(|a| rows.iter().map(|b| distance(a, b)).collect()).collect()
}

pub(super) fn multi_similarity(loss: &MultiSimilarity, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let batch = labels.len();
    let mut total = 0.0;
    for i in 0..s.len() {
        let genuine = |k: &usize| *k != i && labels[*k] == labels[i];
        let impostor = |k: &usize| labels[*k] != labels[i];
        let farthest = (0..batch).filter(genuine).map(|k| s[i][k]).fold(f64::INFINITY, f64::min);
        let nearest = (0..batch).filter(impostor).map(|k| s[i][k]).fold(f64::NEG_INFINITY, f64::max);
        let mut pull = 0.0;
        for k in (0..batch).filter(genuine).filter(|&k| s[i][k] < nearest + loss.epsilon) {
            pull += (-loss.alpha * (s[i][k] - loss.base)).exp();
        }
        let mut push = 0.0;
        for k in (0..batch).filter(impostor).filter(|&k| s[i][k] > farthest - loss.epsilon) {
            push += (loss.beta * (s[i][k] - loss.base)).exp();
        }
        total += (1.0_f64 + pull).ln() / loss.alpha + (1.0_f64 + push).ln() / loss.beta;
    }
    total / s.len() as f64
}

/// `held` are the cosines that the weights are taken from.
pub(super) fn circle(loss: &Circle, s: &[Vec<f64>], held: &[Vec<f64>], labels: &[usize]) -> f64 {
    let (batch, m) = (Batch(labels, s.len()), loss.margin);
    mean(batch.complete().into_iter().map(|i| {
        let push: f64 = batch
            .impostors(i)
            .into_iter()
            .map(|n| (loss.scale * (held[i][n] + m).max(0.0) * (s[i][n] - m)).exp())
            .sum();
        let pull: f64 = batch
            .genuine(i)
            .into_iter()
            .map(|p| (-loss.scale * (1.0 + m - held[i][p]).max(0.0) * (s[i][p] - (1.0 - m))).exp())
            .sum();
        (1.0 + push * pull).ln()
    }))
}

pub(super) fn triplet(loss: &Triplet, (rows, dim): (usize, usize), x: &[f64], labels: &[usize]) -> f64 {
    let (batch, d) = (Batch(labels, rows), distances(dim, x));
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
    match loss.triplets {
        Triplets::BatchHard => mean(batch.complete().into_iter().map(|i| {
            let farthest = most(&mut batch.genuine(i).into_iter().map(|p| d[i][p]));
            let nearest = least(&mut batch.impostors(i).into_iter().map(|n| d[i][n]));
            (loss.margin + farthest - nearest).max(0.0)
        })),
        Triplets::SemiHard => {
            let pairs = batch.pairs().into_iter().filter(|&(i, _)| !batch.impostors(i).is_empty());
            mean(pairs.map(|(i, p)| {
                let all = || batch.impostors(i).into_iter().map(|n| d[i][n]);
                let beyond = least(&mut all().filter(|&d_in| d_in > d[i][p]));
                let chosen = if beyond.is_finite() { beyond } else { most(&mut all()) };
                (loss.margin + d[i][p] * d[i][p] - chosen * chosen).max(0.0)
            }))
        }
        other => panic!("{other:?} has no plain loops here"),
    }
}

pub(super) fn contrastive(loss: &Contrastive, (rows, dim): (usize, usize), x: &[f64], labels: &[usize]) -> f64 {
    let (batch, d) = (Batch(labels, rows), distances(dim, x));
    let pull = mean(batch.pairs().into_iter().map(|(i, p)| d[i][p] * d[i][p] / 2.0));
    let impostors = batch.rows().flat_map(|i| batch.impostors(i).into_iter().map(move |n| (i, n)));
    pull + mean(impostors.map(|(i, n)| (loss.margin - d[i][n]).max(0.0).powi(2) / 2.0))
}

pub(super) fn sup_con(loss: &SupCon, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let batch = Batch(labels, s.len());
    let e = |i: usize, k: usize| (s[i][k] / loss.temperature).exp();
    mean(batch.rows().filter(|&i| !batch.genuine(i).is_empty()).map(|i| {
        let all: f64 = batch.all().filter(|&k| k != i).map(|k| e(i, k)).sum();
        mean(batch.genuine(i).into_iter().map(|p| -(e(i, p) / all).ln()))
    }))
}

pub(super) fn nt_xent(loss: &NtXent, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let batch = Batch(labels, s.len());
    let e = |i: usize, k: usize| (s[i][k] / loss.temperature).exp();
    mean(batch.pairs().into_iter().map(|(i, p)| {
        let others: f64 = batch.impostors(i).into_iter().map(|n| e(i, n)).sum();
        -(e(i, p) / (e(i, p) + others)).ln()
    }))
}

pub(super) fn n_pair(loss: &NPair, dim: usize, x: &[f64], labels: &[usize]) -> f64 {
    let row = |i: usize| &x[i * dim..][..dim];
    let dot = |a: usize, b: usize| row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum::<f64>();
    let mut pairs = Vec::new();
    for class in 0..=labels.iter().copied().max().unwrap_or_default() {
        let of_class: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
        if let [anchor, positive, ..] = of_class[..] {
            pairs.push((anchor, positive));
        }
    }
    let apart = mean(pairs.iter().map(|&(a, p)| {
        let others = pairs.iter().filter(|&&(other, _)| other != a);
        (1.0 + others.map(|&(_, q)| (dot(a, q) - dot(a, p)).exp()).sum::<f64>()).ln()
    }));
    let anchors = mean(pairs.iter().map(|&(a, _)| dot(a, a)));
    apart + loss.penalty / 4.0 * (anchors + mean(pairs.iter().map(|&(_, p)| dot(p, p))))
}

pub(super) fn lifted(loss: &Lifted, dim: usize, x: &[f64], labels: &[usize]) -> f64 {
    let (batch, d) = (Batch(labels, labels.len()), distances(dim, x));
    let near = |i: usize| batch.impostors(i).into_iter().map(|n| (loss.margin - d[i][n]).exp()).sum::<f64>();
    mean(batch.pairs().into_iter().map(|(i, j)| {
        let both = near(i) + near(j);
        if both == 0.0 { 0.0 } else { (both.ln() + d[i][j]).max(0.0).powi(2) / 2.0 }
    }))
}

pub(super) fn histogram(loss: &Histogram, (rows, dim): (usize, usize), x: &[f64], labels: &[usize]) -> f64 {
    let (batch, s) = (Batch(labels, rows), cosines(dim, x, x));
    let width = 2.0 / (loss.bins - 1) as f64;
    let triangle = |s: f64, r: usize| (1.0 - (s - (-1.0 + r as f64 * width)).abs() / width).max(0.0);
    let genuine: Vec<f64> = batch.pairs().into_iter().map(|(i, p)| s[i][p]).collect();
    let impostor: Vec<f64> =
        batch.rows().flat_map(|i| batch.impostors(i).into_iter().map(move |n| (i, n))).map(|(i, n)| s[i][n]).collect();
    let histogram =
        |values: &[f64]| -> Vec<f64> { (0..loss.bins).map(|r| mean(values.iter().map(|&s| triangle(s, r)))).collect() };
    let (genuine, impostor) = (histogram(&genuine), histogram(&impostor));
    (0..loss.bins).map(|r| impostor[r] * genuine[..=r].iter().sum::<f64>()).sum()
}
