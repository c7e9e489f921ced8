//! The oracle: the loss and its gradient by plain loops in `f64`, forming every similarity.
//!
//! Slow on purpose and independent of [`loss`](crate::loss): it shares the settings and nothing else. Operators and
//! kernels are held to it. Inputs are row-major slices. Labels must be below `classes`; nothing else is checked.

use crate::loss::{Config, FloorMode, Form, LENGTH_FLOOR, VARIANCE_FLOOR};

/// What the oracle says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The loss.
    pub loss: f64,
    /// `mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine, n_impostor`; means and variances with the
    /// temperature.
    pub moments: [f64; 7],
    /// Gradient of the embeddings, `[B, D]`.
    pub embeddings: Vec<f64>,
    /// Gradient of the proxies, `[C, D]`; empty for [`d_loss`].
    pub proxies: Vec<f64>,
}

/// PD-Loss of `embeddings` `[B, dim]` against `proxies` `[C, dim]`.
#[must_use]
pub fn pd_loss(config: &Config, dim: usize, embeddings: &[f64], proxies: &[f64], labels: &[usize]) -> Reference {
    let (batch, classes) = (embeddings.len() / dim, proxies.len() / dim);
    let z = unit_rows(embeddings, dim);
    let q = unit_rows(proxies, dim);

    let mut similarities = vec![0.0; batch * classes];
    let mut is_genuine = vec![false; batch * classes];
    for i in 0..batch {
        for c in 0..classes {
            let mut similarity = 0.0;
            for d in 0..dim {
                similarity += z[i * dim + d] * q[c * dim + d];
            }
            similarities[i * classes + c] = similarity;
            is_genuine[i * classes + c] = c == labels[i];
        }
    }
    let (loss, moments, weights) = weigh(config, &similarities, &is_genuine);

    let mut dz = vec![0.0; batch * dim];
    let mut dq = vec![0.0; classes * dim];
    for i in 0..batch {
        for c in 0..classes {
            let weight = weights[i * classes + c];
            for d in 0..dim {
                dz[i * dim + d] += weight * q[c * dim + d];
                dq[c * dim + d] += weight * z[i * dim + d];
            }
        }
    }
    Reference {
        loss,
        moments,
        embeddings: through_length(embeddings, &z, &dz, dim),
        proxies: through_length(proxies, &q, &dq, dim),
    }
}

/// D-Loss of `embeddings` `[B, dim]`: the same index over all unordered pairs of the batch, genuine where labels agree.
#[must_use]
pub fn d_loss(config: &Config, dim: usize, embeddings: &[f64], labels: &[usize]) -> Reference {
    let batch = embeddings.len() / dim;
    let z = unit_rows(embeddings, dim);

    let mut similarities = Vec::new();
    let mut is_genuine = Vec::new();
    for i in 0..batch {
        for j in i + 1..batch {
            let mut similarity = 0.0;
            for d in 0..dim {
                similarity += z[i * dim + d] * z[j * dim + d];
            }
            similarities.push(similarity);
            is_genuine.push(labels[i] == labels[j]);
        }
    }
    let (loss, moments, weights) = weigh(config, &similarities, &is_genuine);

    let mut dz = vec![0.0; batch * dim];
    let mut pair = 0;
    for i in 0..batch {
        for j in i + 1..batch {
            for d in 0..dim {
                dz[i * dim + d] += weights[pair] * z[j * dim + d];
                dz[j * dim + d] += weights[pair] * z[i * dim + d];
            }
            pair += 1;
        }
    }
    let embeddings = through_length(embeddings, &z, &dz, dim);
    Reference { loss, moments, embeddings, proxies: Vec::new() }
}

fn length(row: &[f64]) -> f64 {
    // Divided by the largest element first, so that squares neither overflow nor vanish.
    let mut largest = 0.0;
    for value in row {
        if value.is_nan() || value.is_infinite() {
            return f64::NAN;
        }
        if value.abs() > largest {
            largest = value.abs();
        }
    }
    if largest == 0.0 {
        return 0.0;
    }
    let mut squares = 0.0;
    for value in row {
        squares += (value / largest) * (value / largest);
    }
    largest * squares.sqrt()
}

fn unit_rows(rows: &[f64], dim: usize) -> Vec<f64> {
    let mut units = vec![0.0; rows.len()];
    for (row, unit) in rows.chunks(dim).zip(units.chunks_mut(dim)) {
        let length = length(row);
        if length <= LENGTH_FLOOR {
            continue;
        }
        for (value, unit) in row.iter().zip(unit) {
            *unit = value / length;
        }
    }
    units
}

/// Derivative of `x / |x|`: without the component along the row, over the length.
fn through_length(rows: &[f64], units: &[f64], gradient: &[f64], dim: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows.len()];
    for row in 0..rows.len() / dim {
        let range = row * dim..(row + 1) * dim;
        let length = length(&rows[range.clone()]);
        if length <= LENGTH_FLOOR {
            continue;
        }
        let mut along = 0.0;
        for d in range.clone() {
            along += units[d] * gradient[d];
        }
        for d in range {
            out[d] = (gradient[d] - units[d] * along) / length;
        }
    }
    out
}

/// Loss, moments, and the derivative of the loss by each similarity.
fn weigh(config: &Config, similarities: &[f64], is_genuine: &[bool]) -> (f64, [f64; 7], Vec<f64>) {
    let (mut counts, mut means, mut variances) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    for (similarity, &genuine) in similarities.iter().zip(is_genuine) {
        counts[usize::from(genuine)] += 1.0;
        means[usize::from(genuine)] += similarity;
    }
    means[0] /= counts[0];
    means[1] /= counts[1];
    for (similarity, &genuine) in similarities.iter().zip(is_genuine) {
        let deviation = similarity - means[usize::from(genuine)];
        variances[usize::from(genuine)] += deviation * deviation;
    }
    variances[0] /= counts[0];
    variances[1] /= counts[1];

    let t = config.temperature();
    let gap = means[1] - means[0];
    let v = variances[0] + variances[1];
    let index = gap / ((v + VARIANCE_FLOOR) / 2.0).sqrt();
    let floor = config.floor();

    // Loss, its derivative by the gap, its derivative by the variance; both on plain cosines.
    let by_index = |slope: f64| {
        let gap_slope = slope / ((v + VARIANCE_FLOOR) / 2.0).sqrt();
        let variance_slope = slope * index * -0.5 / (v + VARIANCE_FLOOR);
        (gap_slope, variance_slope)
    };
    let half_log_2 = 0.5 * 2.0_f64.ln();
    let (loss, (gap_slope, variance_slope)) = match (config.form(), config.floor_mode()) {
        (Form::Negative, _) => (-index, by_index(-1.0)),
        (Form::Log, FloorMode::Tangent) => {
            if index <= floor {
                (-floor.ln() - (index - floor) / floor + half_log_2, by_index(-1.0 / floor))
            } else {
                (-index.ln() + half_log_2, by_index(-1.0 / index))
            }
        }
        (Form::Inverse, FloorMode::Tangent) => {
            if index <= floor {
                (1.0 / floor - (index - floor) / floor.powi(2), by_index(-1.0 / floor.powi(2)))
            } else {
                (1.0 / index, by_index(-1.0 / index.powi(2)))
            }
        }
        (form, FloorMode::Clamp) => {
            let scaled_gap = gap / t;
            let scaled_variance = v / (t * t) + config.eps();
            let (held, moves) = if scaled_gap <= config.eps() { (config.eps(), 0.0) } else { (scaled_gap, 1.0) };
            if form == Form::Log {
                let loss = -held.ln() + 0.5 * scaled_variance.ln();
                (loss, (-moves / (held * t), 0.5 / (scaled_variance * t * t)))
            } else {
                let loss = (scaled_variance / 2.0).sqrt() / held;
                (loss, (-moves * loss / (held * t), loss * 0.5 / (scaled_variance * t * t)))
            }
        }
    };

    let mut weights = Vec::with_capacity(similarities.len());
    for (similarity, &genuine) in similarities.iter().zip(is_genuine) {
        let set = usize::from(genuine);
        let sign = if genuine { 1.0 } else { -1.0 };
        let deviation = similarity - means[set];
        weights.push((sign * gap_slope + 2.0 * variance_slope * deviation) / counts[set]);
    }
    let moments =
        [means[1] / t, means[0] / t, variances[1] / (t * t), variances[0] / (t * t), index, counts[1], counts[0]];
    (loss, moments, weights)
}
