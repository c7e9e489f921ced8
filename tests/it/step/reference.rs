//! The losses by plain loops in `f64`.

use pdloss::{
    graph::losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor, ProxyNca},
    reference::{d_loss, pd_loss},
};

/// The loss of embeddings `[B, dim]` and proxies `[C, dim]`.
pub(crate) fn value(loss: &Loss, dim: usize, embeddings: &[f64], proxies: &[f64], labels: &[usize]) -> f64 {
    match loss {
        Loss::Pd(config) => pd_loss(config, dim, embeddings, proxies, labels).loss,
        Loss::DLoss(config) => d_loss(config, dim, embeddings, labels).loss,
        Loss::Softmax(loss) => softmax(loss, &cosines(dim, embeddings, proxies), labels),
        Loss::ProxyNca(loss) => proxy_nca(loss, dim, embeddings, proxies, labels),
        Loss::ProxyAnchor(loss) => proxy_anchor(loss, &cosines(dim, embeddings, proxies), labels),
        Loss::MultiSimilarity(loss) => multi_similarity(loss, &cosines(dim, embeddings, embeddings), labels),
        other => panic!("{} has no plain loops here", other.name()),
    }
}

/// Gradients by central differences of [`value`].
pub(crate) fn gradients(
    loss: &Loss,
    dim: usize,
    embeddings: &[f64],
    proxies: &[f64],
    labels: &[usize],
) -> (Vec<f64>, Vec<f64>) {
    const STEP: f64 = 1e-5;
    let slope = |at: &dyn Fn(f64) -> f64| (at(STEP) - at(-STEP)) / (2.0 * STEP);
    let moved = |values: &[f64], index: usize, by: f64| {
        let mut values = values.to_vec();
        values[index] += by;
        values
    };
    let of_embeddings = (0..embeddings.len())
        .map(|index| slope(&|by| value(loss, dim, &moved(embeddings, index, by), proxies, labels)))
        .collect();
    let of_proxies = (0..proxies.len())
        .map(|index| slope(&|by| value(loss, dim, embeddings, &moved(proxies, index, by), labels)))
        .collect();
    (of_embeddings, of_proxies)
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

fn multi_similarity(loss: &MultiSimilarity, s: &[Vec<f64>], labels: &[usize]) -> f64 {
    let batch = labels.len();
    let mut total = 0.0;
    for i in 0..batch {
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
    total / batch as f64
}
