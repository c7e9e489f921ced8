//! The plain version in `f32`: what anyone would write, similarities and all. It sets the error budget.

use crate::loss::{Config, FloorMode, Form, LENGTH_FLOOR, VARIANCE_FLOOR};

/// What the plain version says.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    /// The loss.
    pub loss: f64,
    /// Gradient of the embeddings, `[B, D]`.
    pub embeddings: Vec<f64>,
    /// Gradient of the proxies, `[C, D]`; empty without proxies.
    pub proxies: Vec<f64>,
}

/// PD-Loss with proxies, D-Loss without. Rows, similarities, weights and gradients are rounded to `f32`; sums over all
/// pairs are in `f64`, which makes the budget stricter than an all-`f32` version would.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
pub fn plain(config: &Config, dim: usize, embeddings: &[f32], proxies: Option<&[f32]>, labels: &[usize]) -> Plain {
    let (z, z_lengths) = units(embeddings, dim);
    let (q, q_lengths) = units(proxies.unwrap_or(embeddings), dim);
    let (batch, classes) = (z_lengths.len(), q_lengths.len());
    let own_pair = proxies.is_none();
    let counts = |i: usize, c: usize| !own_pair || c > i;
    let genuine = |i: usize, c: usize| {
        if own_pair { labels[i] == labels[c] } else { labels[i] == c }
    };
    let dot = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(l, r)| l * r).sum::<f32>();
    let row = |rows: &[f32], index: usize| rows[index * dim..][..dim].to_vec();

    let mut similarities = vec![0.0_f32; batch * classes];
    let (mut n, mut mean, mut variance) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    for i in 0..batch {
        for c in (0..classes).filter(|&c| counts(i, c)) {
            let similarity = dot(&row(&z, i), &row(&q, c));
            similarities[i * classes + c] = similarity;
            n[usize::from(genuine(i, c))] += 1.0;
            mean[usize::from(genuine(i, c))] += f64::from(similarity);
        }
    }
    mean = [mean[0] / n[0], mean[1] / n[1]];
    for i in 0..batch {
        for c in (0..classes).filter(|&c| counts(i, c)) {
            let set = usize::from(genuine(i, c));
            variance[set] += (f64::from(similarities[i * classes + c]) - mean[set]).powi(2) / n[set];
        }
    }
    let (loss, pull, squeeze) = outer(config, mean[1] - mean[0], variance[0] + variance[1]);

    let (mut dz, mut dq) = (vec![0.0_f32; z.len()], vec![0.0_f32; q.len()]);
    for i in 0..batch {
        for c in (0..classes).filter(|&c| counts(i, c)) {
            let set = usize::from(genuine(i, c));
            let sign = if set == 1 { -1.0 } else { 1.0 };
            let deviation = f64::from(similarities[i * classes + c]) - mean[set];
            let weight = ((sign * pull + 2.0 * squeeze * deviation) / n[set]) as f32;
            for d in 0..dim {
                dz[i * dim + d] += weight * q[c * dim + d];
                dq[c * dim + d] += weight * z[i * dim + d];
            }
        }
    }
    if own_pair {
        dz.iter_mut().zip(&dq).for_each(|(dz, dq)| *dz += dq);
        dq.clear();
    }
    Plain { loss, embeddings: through(&z, &z_lengths, &dz, dim), proxies: through(&q, &q_lengths, &dq, dim) }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
fn units(rows: &[f32], dim: usize) -> (Vec<f32>, Vec<f32>) {
    let length = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f32> = rows.chunks(dim).map(|row| length(row) as f32).collect();
    let unit = |(at, &value): (usize, &f32)| {
        let length = lengths[at / dim];
        if f64::from(length) <= LENGTH_FLOOR { 0.0 } else { value / length }
    };
    (rows.iter().enumerate().map(unit).collect(), lengths)
}

fn through(units: &[f32], lengths: &[f32], gradient: &[f32], dim: usize) -> Vec<f64> {
    let mut out = vec![0.0; gradient.len()];
    for (at, gradient) in gradient.chunks(dim).enumerate() {
        let unit = &units[at * dim..][..dim];
        let along: f32 = unit.iter().zip(gradient).map(|(u, g)| u * g).sum();
        if f64::from(lengths[at]) <= LENGTH_FLOOR {
            continue;
        }
        for d in 0..dim {
            out[at * dim + d] = f64::from((gradient[d] - unit[d] * along) / lengths[at]);
        }
    }
    out
}

/// Loss, `-dL/dgap`, `dL/dV`.
fn outer(config: &Config, gap: f64, variance: f64) -> (f64, f64, f64) {
    let (t, eps, floor) = (config.temperature(), config.eps(), config.floor());
    if config.floor_mode() == FloorMode::Clamp && config.form() != Form::Negative {
        let (held, moves) = if gap / t <= eps { (eps, 0.0) } else { (gap / t, 1.0) };
        let wide = variance / (t * t) + eps;
        return if config.form() == Form::Log {
            (-held.ln() + 0.5 * wide.ln(), moves / held / t, 0.5 / wide / (t * t))
        } else {
            let loss = (wide / 2.0).sqrt() / held;
            (loss, moves * loss / held / t, 0.5 * loss / wide / (t * t))
        };
    }
    let v = variance + VARIANCE_FLOOR;
    let index = gap / (v / 2.0).sqrt();
    let tangent = index <= floor;
    let at = if tangent { floor } else { index };
    let (value, steep) = match config.form() {
        Form::Negative => (-index, 1.0),
        Form::Log => (0.5 * std::f64::consts::LN_2 - at.ln(), 1.0 / at),
        Form::Inverse => (1.0 / at, 1.0 / (at * at)),
    };
    let loss = if config.form() == Form::Negative { value } else { value - steep * (index - at) };
    (loss, steep / (v / 2.0).sqrt(), steep * index / (2.0 * v))
}
