//! The plain version: all similarities, all weights, three matrix products, every pass over all threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::Array2;
use rayon::prelude::*;

fn units(rows: &Array2<f32>) -> (Vec<f32>, Vec<f32>) {
    let dim = rows.ncols();
    let mut units = rows.as_slice().unwrap().to_vec();
    let mut lengths = vec![0.0; rows.nrows()];
    units.par_chunks_mut(dim).zip(&mut lengths).with_min_len(64).for_each(|(row, length)| {
        *length = dot(row, row).sqrt();
        row.iter_mut().for_each(|value| *value /= *length);
    });
    (units, lengths)
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (left, right) in left.chunks(16).zip(right.chunks(16)) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    sums.iter().sum()
}

fn through(units: &[f32], lengths: &[f32], gradient: &mut [f32], dim: usize) {
    gradient.par_chunks_mut(dim).zip(units.par_chunks(dim)).zip(lengths).with_min_len(64).for_each(
        |((gradient, unit), length)| {
            let along = dot(unit, gradient);
            gradient.iter_mut().zip(unit).for_each(|(gradient, unit)| *gradient = (*gradient - unit * along) / length);
        },
    );
}

/// Loss; the gradients go to `dx` and `dp`. Default configuration.
pub(crate) fn forward_backward(
    x: &Array2<f32>,
    p: &Array2<f32>,
    y: &[i64],
    dx: &mut Array2<f32>,
    dp: &mut Array2<f32>,
) -> f64 {
    let ((batch, dim), classes) = (x.dim(), p.nrows());
    let ((z, z_lengths), (q, q_lengths)) = (units(x), units(p));
    let z_matrix = MatRef::from_row_major_slice(&z, batch, dim);
    let q_matrix = MatRef::from_row_major_slice(&q, classes, dim);
    let mut s = vec![0.0_f32; batch * classes];
    let out = MatMut::from_row_major_slice_mut(&mut s, batch, classes);
    matmul(out, Accum::Replace, z_matrix, q_matrix.transpose(), 1.0, Par::rayon(0));

    let own: Vec<f32> = s.chunks(classes).zip(y).map(|(row, &label)| row[label as usize]).collect();
    let sums = |mean: f64| {
        let of_row = |row: &[f32]| {
            row.chunks(1024)
                .map(|part| {
                    let mut sums = [(0.0_f32, 0.0_f32); 16];
                    for values in part.chunks(16) {
                        for (sum, &value) in sums.iter_mut().zip(values) {
                            let value = value - mean as f32;
                            *sum = (sum.0 + value, sum.1 + value * value);
                        }
                    }
                    sums.iter().fold((0.0, 0.0), |sum, part| (sum.0 + f64::from(part.0), sum.1 + f64::from(part.1)))
                })
                .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        };
        s.par_chunks(classes).map(of_row).reduce(|| (0.0, 0.0), |left, right| (left.0 + right.0, left.1 + right.1))
    };
    let (n_g, n_m) = (batch as f64, (batch * (classes - 1)) as f64);
    let own_sum: f64 = own.iter().copied().map(f64::from).sum();
    let mu_g = own_sum / n_g;
    let mu_m = (sums(0.0).0 - own_sum) / n_m;
    let off = |mean: f64| own.iter().map(|&s| (f64::from(s) - mean).powi(2)).sum::<f64>();
    let variance = off(mu_g) / n_g + (sums(mu_m).1 - off(mu_m)) / n_m + 1e-12;
    let d_prime = (mu_g - mu_m) / (variance / 2.0).sqrt();
    let half_log_2 = 0.5 * std::f64::consts::LN_2;
    let (loss, steep) =
        if d_prime > 1.0 { (half_log_2 - d_prime.ln(), 1.0 / d_prime) } else { (half_log_2 - (d_prime - 1.0), 1.0) };
    let (pull, squeeze) = (steep / (variance / 2.0).sqrt(), steep * d_prime / (2.0 * variance));

    let slope = 2.0 * squeeze / n_m;
    let (level, slope) = ((pull / n_m - slope * mu_m) as f32, slope as f32);
    s.par_chunks_mut(classes).zip(&own).zip(y).for_each(|((row, &own), &label)| {
        row.iter_mut().for_each(|s| *s = level + slope * *s);
        row[label as usize] = ((2.0 * squeeze * (f64::from(own) - mu_g) - pull) / n_g) as f32;
    });
    let weights = MatRef::from_row_major_slice(&s, batch, classes);
    let (dx, dp) = (dx.as_slice_mut().unwrap(), dp.as_slice_mut().unwrap());
    let out = MatMut::from_row_major_slice_mut(&mut *dx, batch, dim);
    matmul(out, Accum::Replace, weights, q_matrix, 1.0, Par::rayon(0));
    let out = MatMut::from_row_major_slice_mut(&mut *dp, classes, dim);
    matmul(out, Accum::Replace, weights.transpose(), z_matrix, 1.0, Par::rayon(0));
    through(&z, &z_lengths, dx, dim);
    through(&q, &q_lengths, dp, dim);
    loss
}
