//! The losses by plain loops in `f64`.

mod of_pairs;

use pdloss::{
    graph::losses::{
        ArcFace, CosFace, CurricularFace, Loss, NormalizedSoftmax, ProxyAnchor, ProxyNca, SoftTriple, SubcenterArcFace,
    },
    reference::{d_loss, pd_loss},
};

/// The loss of embeddings `[B, dim]` and proxies `[C, dim]`.
pub(crate) fn value(loss: &Loss, dim: usize, embeddings: &[f64], proxies: &[f64], labels: &[usize]) -> f64 {
    value_holding(loss, dim, (embeddings, proxies), (embeddings, proxies), labels)
}

/// The same, with what a loss passes no gradient through computed from `held` embeddings and proxies.
fn value_holding(loss: &Loss, dim: usize, (x, p): (&[f64], &[f64]), held: (&[f64], &[f64]), labels: &[usize]) -> f64 {
    let s = |rows: &[f64]| cosines(dim, x, rows);
    match loss {
        Loss::Pd(config) => pd_loss(config, dim, x, p, labels).loss,
        Loss::DLoss(config) => d_loss(config, dim, x, labels).loss,
        Loss::Softmax(loss) => softmax(loss, &s(p), labels),
        Loss::ProxyNca(loss) => proxy_nca(loss, dim, x, p, labels),
        Loss::ProxyAnchor(loss) => proxy_anchor(loss, &s(p), labels),
        Loss::ArcFace(loss) => arc_face(loss, &s(p), labels),
        Loss::CosFace(loss) => cos_face(loss, &s(p), labels),
        Loss::SubcenterArcFace(loss) => subcenter_arc_face(loss, &s(p), labels),
        Loss::CurricularFace(loss) => curricular_face(loss, &s(p), &cosines(dim, held.0, held.1), labels),
        Loss::SoftTriple(loss) => soft_triple(loss, &s(p), &cosines(dim, p, p), labels),
        Loss::NPair(loss) => of_pairs::n_pair(loss, dim, x, labels),
        Loss::Lifted(loss) => of_pairs::lifted(loss, dim, x, labels),
        _ => of_rows(loss, (labels.len(), dim), x, held.0, labels),
    }
}

/// A loss over pairs of the first `rows` embeddings with all of them.
fn of_rows(loss: &Loss, (rows, dim): (usize, usize), x: &[f64], held: &[f64], labels: &[usize]) -> f64 {
    let s = |x: &[f64]| cosines(dim, &x[..rows * dim], x);
    match loss {
        Loss::MultiSimilarity(loss) => of_pairs::multi_similarity(loss, &s(x), labels),
        Loss::Circle(loss) => of_pairs::circle(loss, &s(x), &s(held), labels),
        Loss::Triplet(loss) => of_pairs::triplet(loss, (rows, dim), x, labels),
        Loss::Contrastive(loss) => of_pairs::contrastive(loss, (rows, dim), x, labels),
        Loss::SupCon(loss) => of_pairs::sup_con(loss, &s(x), labels),
        Loss::NtXent(loss) => of_pairs::nt_xent(loss, &s(x), labels),
        Loss::Histogram(loss) => of_pairs::histogram(loss, (rows, dim), x, labels),
        other => panic!("{} has no plain loops here", other.name()),
    }
}

/// Gradients by central differences of fourth order of [`value`].
pub(crate) fn gradients(
    loss: &Loss,
    dim: usize,
    embeddings: &[f64],
    proxies: &[f64],
    labels: &[usize],
) -> (Vec<f64>, Vec<f64>) {
    let held = (embeddings, proxies);
    let of_embeddings = (0..embeddings.len())
        .map(|index| slope(&|by| value_holding(loss, dim, (&moved(embeddings, index, by), proxies), held, labels)))
        .collect();
    let of_proxies = (0..proxies.len())
        .map(|index| slope(&|by| value_holding(loss, dim, (embeddings, &moved(proxies, index, by)), held, labels)))
        .collect();
    (of_embeddings, of_proxies)
}

/// The loss of a batch beside remembered rows, and the gradient of the batch's embeddings.
pub(crate) fn remembering(
    loss: &Loss,
    dim: usize,
    (batch, labels): (&[f64], &[usize]),
    (rows, of_rows_labels): (&[f64], &[usize]),
) -> (f64, Vec<f64>) {
    let all = [labels, of_rows_labels].concat();
    let beside = |batch: &[f64]| [batch, rows].concat();
    let held = beside(batch);
    let value = |batch: &[f64]| of_rows(loss, (labels.len(), dim), &beside(batch), &held, &all);
    let gradient = (0..batch.len()).map(|index| slope(&|by| value(&moved(batch, index, by))));
    (value(batch), gradient.collect())
}

/// The slope at 0 of a function, by a central difference of fourth order.
fn slope(at: &dyn Fn(f64) -> f64) -> f64 {
    const STEP: f64 = 3e-5;
    (8.0 * (at(STEP) - at(-STEP)) - (at(2.0 * STEP) - at(-2.0 * STEP))) / (12.0 * STEP)
}

/// The same numbers with one of them moved.
fn moved(values: &[f64], index: usize, by: f64) -> Vec<f64> {
    let mut values = values.to_vec();
    values[index] += by;
    values
}

/// The mean, 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    row.iter().map(|value| value / length).collect()
}

fn cosines(dim: usize, left: &[f64], right: &[f64]) -> Vec<Vec<f64>> {
    let right: Vec<Vec<f64>> = right.chunks(dim).map(unit).collect();
    let cosine = |z: &[f64], q: &[f64]| z.iter().zip(q).map(|(z, q)| z * q).sum();
    left.chunks(dim).map(unit).map(|z| right.iter().map(|q| cosine(&z, q)).collect()).collect()
}

fn softmax(loss: &NormalizedSoftmax, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let mut total = 0.0;
    for (row, &label) in s.iter().zip(labels) {
        let all: f64 = row.iter().map(|s| (s / loss.temperature).exp()).sum();
        total -= ((row[label] / loss.temperature).exp() / all).ln();
    }
    total / labels.len() as f64
}

fn proxy_nca(loss: &ProxyNca, dim: usize, embeddings: &[f64], proxies: &[f64], labels: &[usize]) -> f64 {
    let mut total = 0.0;
    for (x, &label) in embeddings.chunks(dim).zip(labels) {
        let near = |p: &[f64]| {
            let square: f64 = unit(x).iter().zip(unit(p)).map(|(z, q)| (z - q) * (z - q)).sum();
            (-square / loss.temperature).exp()
        };
        let all: f64 = proxies.chunks(dim).map(near).sum();
        total -= (near(&proxies[label * dim..][..dim]) / all).ln();
    }
    total / labels.len() as f64
}

fn proxy_anchor(loss: &ProxyAnchor, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let classes = s[0].len();
    let (mut pull, mut present, mut push) = (0.0, 0.0, 0.0);
    for c in 0..classes {
        let (mut own, mut other, mut is_there) = (0.0, 0.0, 0.0);
        for (row, &label) in s.iter().zip(labels) {
            if label == c {
                own += (-loss.alpha * (row[c] - loss.margin)).exp();
                is_there = 1.0;
            } else {
                other += (loss.alpha * (row[c] + loss.margin)).exp();
            }
        }
        pull += (1.0_f64 + own).ln();
        push += (1.0_f64 + other).ln();
        present += is_there;
    }
    pull / present + push / classes as f64
}

/// `-mean_i log softmax(logits)_iy`
fn cross_entropy(logits: &[Vec<f64>], labels: &[usize]) -> f64 {
    mean(logits.iter().zip(labels).map(|(row, &label)| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = row.iter().map(|logit| (logit - most).exp()).sum();
        all.ln() + most - row[label]
    }))
}

/// The cosine of the angle with the margin, by the angle itself; beyond pi the line that the authors' program takes.
fn with_margin(cosine: f64, margin: f64) -> f64 {
    let angle = cosine.acos() + margin;
    if angle < std::f64::consts::PI { angle.cos() } else { cosine - margin * margin.sin() }
}

fn arc_face(loss: &ArcFace, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let logits = s.iter().zip(labels).map(|(row, &label)| {
        let logit = |(c, &s): (usize, &f64)| loss.scale * if c == label { with_margin(s, loss.margin) } else { s };
        row.iter().enumerate().map(logit).collect()
    });
    cross_entropy(&logits.collect::<Vec<_>>(), labels)
}

fn cos_face(loss: &CosFace, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let logits = s.iter().zip(labels).map(|(row, &label)| {
        let logit = |(c, &s): (usize, &f64)| loss.scale * if c == label { s - loss.margin } else { s };
        row.iter().enumerate().map(logit).collect()
    });
    cross_entropy(&logits.collect::<Vec<_>>(), labels)
}

fn subcenter_arc_face(loss: &SubcenterArcFace, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let best = |row: &Vec<f64>| {
        row.chunks(loss.centers).map(|of_class| of_class.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect()
    };
    let s: Vec<Vec<f64>> = s.iter().map(best).collect();
    arc_face(&ArcFace { scale: loss.scale, margin: loss.margin }, &s, labels)
}

/// The first step; `held` are the cosines that `t` follows.
fn curricular_face(loss: &CurricularFace, s: &[Vec<f64>], held: &[Vec<f64>], labels: &[usize]) -> f64 {
    let t = loss.rate * mean(held.iter().zip(labels).map(|(row, &label)| row[label]));
    let logits = s.iter().zip(labels).map(|(row, &label)| {
        let hard = (row[label].acos() + loss.margin).cos();
        let logit = |(c, &s): (usize, &f64)| {
            loss.scale
                * if c == label {
                    with_margin(s, loss.margin)
                } else if s > hard {
                    s * (t + s)
                } else {
                    s
                }
        };
        row.iter().enumerate().map(logit).collect()
    });
    cross_entropy(&logits.collect::<Vec<_>>(), labels)
}

/// `between` are the cosines of all centres with each other.
fn soft_triple(loss: &SoftTriple, s: &[Vec<f64>], between: &[Vec<f64>], labels: &[usize]) -> f64 {
    let k = loss.centers;
    let soft = |of_class: &[f64]| {
        let weights: Vec<f64> = of_class.iter().map(|s| (s / loss.gamma).exp()).collect();
        let total: f64 = weights.iter().sum();
        of_class.iter().zip(weights).map(|(s, weight)| s * weight / total).sum::<f64>()
    };
    let s: Vec<Vec<f64>> = s.iter().map(|row| row.chunks(k).map(soft).collect()).collect();
    let of_rows = cos_face(&CosFace { scale: loss.scale, margin: loss.margin }, &s, labels);
    let classes = between.len() / k;
    let mut apart = 0.0;
    for c in 0..classes {
        for (a, b) in (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b))) {
            apart += (2.0 - 2.0 * between[c * k + a][c * k + b]).sqrt();
        }
    }
    if k == 1 { of_rows } else { of_rows + loss.penalty * apart / (classes * k * (k - 1)) as f64 }
}
