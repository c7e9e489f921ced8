//! First values for the proxies.

use std::ops::Range;

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
    random_proxies_of(classes, dim, seed, 0..classes)
}

/// Some rows of [`random_proxies`], which are drawn one after the other: those before are drawn too, but not kept.
///
/// # Errors
/// As [`random_proxies`]; if the rows are not among the classes.
pub fn random_proxies_of<T: Real>(
    classes: usize,
    dim: usize,
    seed: u64,
    rows: Range<usize>,
) -> Result<Array2<T>, Error> {
    check(classes, dim, &rows)?;
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut proxies = Array2::from_elem((rows.len(), dim), T::default());
    for _ in 0..rows.start * dim {
        let _: f64 = StandardNormal.sample(&mut random);
    }
    for mut out in proxies.rows_mut() {
        fill_random(&mut random, out.iter_mut());
    }
    Ok(proxies)
}

fn check(classes: usize, dim: usize, rows: &Range<usize>) -> Result<(), Error> {
    if classes < 2 || dim == 0 {
        return Err(Error::shape("proxies", "[C, D] with C >= 2 and D >= 1", &[classes, dim]));
    }
    if rows.start > rows.end || rows.end > classes {
        return Err(Error::shape("classes", format!("a part of {classes}"), &[rows.start, rows.end]));
    }
    Ok(())
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
    let mut means = ClassMeans::new(classes, embeddings.ncols(), seed, 0..classes)?;
    means.add(embeddings, labels)?;
    Ok(means.proxies())
}

/// [`class_mean_proxies`] of some of the classes, from samples that come bit by bit: those of a sample's class alone are looked at, in
/// the order in which they come.
#[derive(Clone, Debug)]
pub struct ClassMeans {
    classes: usize,
    of: Range<usize>,
    seed: u64,
    sums: Array2<f64>,
}

impl ClassMeans {
    /// No samples yet, of the classes `of` among `classes`.
    ///
    /// # Errors
    /// If `classes < 2`, `D = 0`, or `of` is no part of the classes.
    pub fn new(classes: usize, dim: usize, seed: u64, of: Range<usize>) -> Result<Self, Error> {
        check(classes, dim, &of)?;
        Ok(Self { classes, seed, sums: Array2::zeros((of.len(), dim)), of })
    }

    /// Adds samples `[samples, D]` of any of the classes.
    ///
    /// # Errors
    /// If shapes disagree, or a label is not below the number of classes.
    pub fn add<T: Real, L: Label>(&mut self, embeddings: ArrayView2<'_, T>, labels: &[L]) -> Result<(), Error> {
        let (samples, dim) = embeddings.dim();
        if dim != self.sums.ncols() {
            return Err(Error::shape("embeddings", format!("[B, {}]", self.sums.ncols()), &[samples, dim]));
        }
        if labels.len() != samples {
            return Err(Error::shape("labels", format!("[{samples}]"), &[labels.len()]));
        }
        let rows = rows_of(labels, self.classes)?;
        let (of, sums) = (&self.of, &mut self.sums);
        vectorised(
            #[inline(always)]
            || {
                for (sample, &class) in rows.iter().enumerate().filter(|(_, class)| of.contains(class)) {
                    let sample = row(&embeddings, sample);
                    let reciprocal = reciprocal_length(&sample);
                    let sum = sums.row_mut(class - of.start);
                    sum.into_iter().zip(sample.iter()).for_each(|(sum, value)| *sum += value.to_f64() * reciprocal);
                }
            },
        );
        Ok(())
    }

    /// The proxies of these classes.
    pub fn proxies<T: Real>(&self) -> Array2<T> {
        let mut proxies = Array2::from_elem(self.sums.dim(), T::default());
        for (class, (mut out, sum)) in self.of.clone().zip(proxies.rows_mut().into_iter().zip(self.sums.rows())) {
            let reciprocal = reciprocal_length(&sum.to_vec());
            if reciprocal == 0.0 {
                let stream = self.seed ^ (class as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                fill_random(&mut Pcg64Mcg::seed_from_u64(stream), out.iter_mut());
            } else {
                out.iter_mut().zip(sum).for_each(|(out, sum)| *out = T::from_f64(sum * reciprocal));
            }
        }
        proxies
    }
}
