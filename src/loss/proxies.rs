//! First values for the proxies.

use super::batch::rows_of;
use super::error::Error;
use super::rows::{reciprocal_length, row, vectorised};
use super::scalar::{Label, Real};
use ndarray::{Array2, ArrayView2};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

/// Proxies spread evenly over the sphere: each element standard normal, each row then divided by its length.
///
/// Drawn from PCG-64-MCG seeded by `seed`, row after row, so that the same call gives the same proxies everywhere.
///
/// # Errors
/// If `classes < 2` or `dim = 0`.
pub fn random_proxies<T: Real>(classes: usize, dim: usize, seed: u64) -> Result<Array2<T>, Error> {
    if classes < 2 || dim == 0 {
        return Err(Error::shape("proxies", "[C, D] with C >= 2 and D >= 1", &[classes, dim]));
    }
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut proxies = Array2::from_elem((classes, dim), T::default());
    for mut out in proxies.rows_mut() {
        fill_random(&mut random, out.iter_mut());
    }
    Ok(proxies)
}

fn fill_random<'a, T: Real>(random: &mut Pcg64Mcg, out: impl ExactSizeIterator<Item = &'a mut T>) {
    let values: Vec<f64> = (0..out.len()).map(|_| StandardNormal.sample(random)).collect();
    let reciprocal = reciprocal_length(&values);
    out.zip(values).for_each(|(out, value)| *out = T::from_f64(value * reciprocal));
}

/// Proxies at the mean direction of each class: unit embeddings averaged, the average divided by its length.
///
/// A class without samples, or whose samples cancel, gets a random proxy as [`random_proxies`] would draw it, from a
/// stream of its own so that the other classes' samples do not change it.
///
/// # Errors
/// If shapes disagree, `classes < 2`, `D = 0`, or a label is not below `classes`.
pub fn class_mean_proxies<T: Real, L: Label>(
    embeddings: ArrayView2<'_, T>,
    labels: &[L],
    classes: usize,
    seed: u64,
) -> Result<Array2<T>, Error> {
    let (samples, dim) = embeddings.dim();
    if classes < 2 || dim == 0 {
        return Err(Error::shape("proxies", "[C, D] with C >= 2 and D >= 1", &[classes, dim]));
    }
    if labels.len() != samples {
        return Err(Error::shape("labels", format!("[{samples}]"), &[labels.len()]));
    }
    let rows = rows_of(labels, classes)?;
    let mut sums = Array2::<f64>::zeros((classes, dim));
    vectorised(
        #[inline(always)]
        || {
            for (sample, &class) in rows.iter().enumerate() {
                let sample = row(&embeddings, sample);
                let reciprocal = reciprocal_length(&sample);
                let sum = sums.row_mut(class);
                sum.into_iter().zip(sample.iter()).for_each(|(sum, value)| *sum += value.to_f64() * reciprocal);
            }
        },
    );
    let mut proxies = Array2::from_elem((classes, dim), T::default());
    for (class, (mut out, sum)) in proxies.rows_mut().into_iter().zip(sums.rows()).enumerate() {
        let reciprocal = reciprocal_length(&sum.to_vec());
        if reciprocal == 0.0 {
            let stream = seed ^ (class as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            fill_random(&mut Pcg64Mcg::seed_from_u64(stream), out.iter_mut());
        } else {
            out.iter_mut().zip(sum).for_each(|(out, sum)| *out = T::from_f64(sum * reciprocal));
        }
    }
    Ok(proxies)
}
