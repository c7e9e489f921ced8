//! The path for batches much smaller than the dimension: tiles of similarities, streamed over the classes.
//!
//! Both sides are centred, `z_i = zbar + a_i` and `q_c = qs + b_c`. A tile holds `r_ic = b_c . a_i` for one block of
//! classes and all samples, and is gone when the next one comes. The similarity is
//!
//! ```text
//! s_ic = zbar.qs + e_ic          e_ic = r_ic + zbar.b_c + qs.a_i
//! ```
//!
//! with the last two terms from the rows in `f64`: where rows are nearly parallel they are small, and what centred rows
//! in `f32` would make of them is rounding. The moments are summed from the deviations `e_ic` entry by entry, genuine ones
//! left out, so that few classes far apart (where the genuine pairs make up most of the total variance) cost no accuracy.
//! For the gradient,
//!
//! ```text
//! K_q a_i = sum_c r_ic b_c          (of the embeddings)
//! K_z b_c = sum_i r_ic a_i          (of the proxies)
//! ```
//!
//! The samples are centred at their mean. So are the classes where it is known: in the backward pass. The forward pass
//! centres them at an estimate `qs` of it, as the Gram path does, and takes out in `f64` what that leaves.

use super::executor::{Executor, map};
use super::gradient::{Links, Opposite, Side, finish_block};
use super::gram::{estimate_mean, poor_estimate};
use super::moments::Summary;
use super::product::{Operand, Update};
use super::rows::{
    Centre, Cut, add_column_sums, band, band_mut, centre_block, dot_wide, dots, mean_of, narrowed, power_sums,
    reciprocal_lengths, remainder, unit_dots, vectorised,
};
use super::scalar::Real;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// All unit rows of the batch, centred at their mean.
#[derive(Clone, Debug)]
pub(crate) struct Units<T> {
    pub(crate) mean: Vec<f64>,
    pub(crate) reciprocals: Vec<f64>,
    /// `[B, D]`, row after row.
    pub(crate) centred: Vec<T>,
}

impl<T: Real> Units<T> {
    pub(crate) fn of(rows: &ArrayView2<'_, T>) -> Self {
        let (count, width) = rows.dim();
        let mean = mean_of(rows, 0..count);
        let mut reciprocals = vec![0.0; count];
        let mut centred = vec![T::default(); count * width];
        reciprocal_lengths(rows, &mut reciprocals);
        centre_block(rows, &reciprocals, &Centre::at(&mean), &mut centred);
        Self { mean, reciprocals, centred }
    }

    fn operand(&self) -> Operand<'_, T> {
        Operand::new(&self.centred, self.reciprocals.len(), self.mean.len())
    }
}

/// What one pass over the classes finds out.
#[derive(Clone, Debug)]
pub(crate) struct Sums<T> {
    pub(crate) reciprocals: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    /// `K_z qs`, `[D]`: with it and the rows of `products`, `K_z q_c`.
    pub(crate) along_shift: Vec<f64>,
    /// Of the impostor similarities.
    pub(crate) impostor: Summary,
    /// `K_q a_i`, `[B, D]`; empty unless asked for.
    pub(crate) products: Vec<T>,
    /// `K_q zbar`, `[D]`; zero unless `products` are asked for.
    pub(crate) along_mean: Vec<f64>,
}

fn cut<T: Real>(classes: usize, width: usize) -> Cut {
    // Two blocks at least, for two threads.
    let elements = (2 * T::BLOCK_ELEMENTS).min(classes.div_ceil(2) * width);
    Cut::new(classes, width, elements, 8, 16 * 1024)
}

/// The sums, `pairs` being class and sample of each genuine pair in the order of the classes; with `products`, also
/// `K_q a_i`, and `K_z b_c` in the rows of `products`.
pub(crate) fn sums<T: Real>(
    (units, embeddings): (&Units<T>, &ArrayView2<'_, T>),
    proxies: &ArrayView2<'_, T>,
    pairs: &[(usize, usize)],
    mut products: Option<ArrayViewMut2<'_, T>>,
    executor: &dyn Executor,
) -> Sums<T> {
    let samples = (units, embeddings);
    let shift = estimate_mean(proxies);
    let sums = pass(samples, proxies, pairs, &shift, products.as_mut().map(|out| out.view_mut()), executor);
    let off = remainder(&sums.mean, &shift);
    let length = dot_wide(&sums.mean, &sums.mean);
    let directed = sums.reciprocals.iter().filter(|&&reciprocal| reciprocal != 0.0).count();
    if proxies.nrows() > 512 && poor_estimate(&off, directed as f64 / proxies.nrows() as f64 - length) {
        return pass(samples, proxies, pairs, &narrowed(&sums.mean), products, executor);
    }
    sums
}

fn pass<T: Real>(
    (units, embeddings): (&Units<T>, &ArrayView2<'_, T>),
    proxies: &ArrayView2<'_, T>,
    pairs: &[(usize, usize)],
    shift: &[T],
    products: Option<ArrayViewMut2<'_, T>>,
    executor: &dyn Executor,
) -> Sums<T> {
    let ((classes, width), batch) = (proxies.dim(), units.reciprocals.len());
    let cut = cut::<T>(classes, width);
    let groups = cut.groups(classes);
    let centre = dot_wide(&units.mean, shift);
    let centre_at = Centre::exactly(shift.to_vec());
    // qs . a_i
    let mut offsets = unit_dots(embeddings, &units.reciprocals, shift);
    offsets.iter_mut().for_each(|offset| *offset -= centre);
    let mut along_shift = vec![0.0; width];
    add_weighted(&units.centred, &offsets, &mut along_shift);
    let offsets: Vec<T> = narrowed(&offsets);
    let fused = products.is_some();
    let mut outs: Vec<Option<ArrayViewMut2<'_, T>>> = match products {
        Some(products) => split(products, cut.group).into_iter().map(Some).collect(),
        None => groups.iter().map(|_| None).collect(),
    };
    let mut reciprocals = vec![0.0; classes];
    let work = groups.into_iter().zip(reciprocals.chunks_mut(cut.group)).zip(outs.drain(..)).collect();
    let partials = map(executor, work, |((group, reciprocals), mut out): ((_, &mut [f64]), _)| {
        let rows = cut.block.min(classes);
        let mut centred = vec![T::default(); rows * width];
        let mut tile = vec![T::default(); rows * batch];
        let mut sums = vec![0.0; width];
        let mut toward = vec![T::default(); if fused { batch * width } else { 0 }];
        let mut powers = (0.0, 0.0);
        // sum_c (zbar . b_c) b_c, and the sum of its weights
        let mut along = (vec![0.0; if fused { width } else { 0 }], 0.0);
        for (index, (range, reciprocals)) in
            cut.blocks(group).into_iter().zip(reciprocals.chunks_mut(cut.block)).enumerate()
        {
            let rows = range.len();
            let (centred, tile) = (&mut centred[..rows * width], &mut tile[..rows * batch]);
            let start = range.start;
            let block = band(proxies, &range);
            reciprocal_lengths(&block, reciprocals);
            centre_block(&block, reciprocals, &centre_at, centred);
            add_column_sums(centred, &mut sums);
            // zbar . b_c
            let mut levels = unit_dots(&block, reciprocals, &units.mean);
            levels.iter_mut().for_each(|level| *level -= centre);
            let centred = Operand::new(centred, rows, width);
            T::multiply(tile, Update::Replace, T::from_f64(1.0), centred, units.operand().t());
            let own = &pairs[pairs.partition_point(|pair| pair.0 < start)..];
            let own = &own[..own.partition_point(|pair| pair.0 < start + rows)];
            vectorised(
                #[inline(always)]
                || {
                    for (row, &level) in tile.chunks_exact(batch).zip(&levels) {
                        let (sum, square) = power_sums(row, &offsets, level);
                        powers = (powers.0 + sum, powers.1 + square);
                    }
                },
            );
            for &(class, sample) in own {
                let value = (tile[(class - start) * batch + sample] + offsets[sample]).to_f64() + levels[class - start];
                powers = (powers.0 - value, powers.1 - value * value);
            }
            if let Some(out) = &mut out {
                add_weighted(centred.values(), &levels, &mut along.0);
                along.1 += levels.iter().sum::<f64>();
                let tile = Operand::new(tile, rows, batch);
                T::multiply(&mut toward, Update::Add, T::from_f64(1.0), tile.t(), centred);
                let mut out = band_mut(out, index * cut.block..index * cut.block + rows);
                let one = T::from_f64(1.0);
                if let Some(out) = out.as_slice_mut() {
                    T::multiply(out, Update::Replace, one, tile, units.operand());
                } else {
                    let mut product = vec![T::default(); rows * width];
                    T::multiply(&mut product, Update::Replace, one, tile, units.operand());
                    out.iter_mut().zip(product).for_each(|(out, value)| *out = value);
                }
            }
        }
        (powers, sums, toward, along)
    });
    let mut off = vec![0.0; width];
    let (mut sum, mut square) = (0.0, 0.0);
    let mut along_mean = (vec![0.0; width], 0.0);
    for (powers, sums, _, along) in &partials {
        along_mean.0.iter_mut().zip(&along.0).for_each(|(total, value)| *total += value);
        along_mean.1 += along.1;
        (sum, square) = (sum + powers.0, square + powers.1);
        off.iter_mut().zip(sums).for_each(|(off, sum)| *off += sum / classes as f64);
    }
    let mean = shift.iter().zip(&off).map(|(shift, off)| shift.to_f64() + off).collect();
    let count = (batch * classes - pairs.len()) as f64;
    let impostor = Summary::about(centre, count, sum, square);
    let along = dots(&units.centred, &off);
    let products = toward(partials.into_iter().map(|(_, _, toward, _)| toward), &along, &off, classes, fused);
    let (mut along_mean, weight) = along_mean;
    along_mean.iter_mut().zip(&off).for_each(|(value, off)| *value -= weight * off);
    Sums { reciprocals, mean, along_shift, impostor, products, along_mean }
}

/// `out += sum_i weights_i rows_i` of a row-major matrix, in `f64`.
fn add_weighted<T: Real>(rows: &[T], weights: &[f64], out: &mut [f64]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, weight) in rows.chunks_exact(out.len()).zip(weights) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out = weight.mul_add(value.to_f64(), *out);
                }
            }
        },
    );
}

/// Adds up the groups' shares of `K_q a_i` in order and takes out what the estimate of the mean put in.
fn toward<T: Real>(
    mut partials: impl Iterator<Item = Vec<T>>,
    along: &[f64],
    off: &[f64],
    classes: usize,
    wanted: bool,
) -> Vec<T> {
    let Some(mut total) = partials.next().filter(|_| wanted) else {
        return Vec::new();
    };
    vectorised(
        #[inline(always)]
        || {
            for partial in partials {
                total.iter_mut().zip(partial).for_each(|(total, value)| *total += value);
            }
            for (row, along) in total.chunks_exact_mut(off.len()).zip(along) {
                let factor = along * classes as f64;
                row.iter_mut().zip(off).for_each(|(value, off)| *value = T::from_f64(value.to_f64() - factor * off));
            }
        },
    );
    total
}

/// Cuts a matrix into bands of `rows` rows.
pub(crate) fn split<T>(matrix: ArrayViewMut2<'_, T>, rows: usize) -> Vec<ArrayViewMut2<'_, T>> {
    let (mut bands, mut rest) = (Vec::new(), matrix);
    while rest.nrows() > rows {
        let (band, below) = rest.split_at(Axis(0), rows);
        bands.push(band);
        rest = below;
    }
    bands.push(rest);
    bands
}

/// The backward pass that computes the tiles again: writes the proxies' gradient, returns `K_q a_i`, `[B, D]`.
pub(crate) fn backward<T: Real>(
    units: &Units<T>,
    side: &Side<'_, T>,
    slope: f64,
    opposite: &Opposite<'_, T>,
    links: &Links<'_, T>,
    out: ArrayViewMut2<'_, T>,
    executor: &dyn Executor,
) -> Vec<T> {
    let ((classes, width), batch) = (side.rows.dim(), units.reciprocals.len());
    let cut = cut::<T>(classes, width);
    let work = cut.groups(classes).into_iter().zip(split(out, cut.group)).collect();
    let partials = map(executor, work, |(group, mut out): (std::ops::Range<usize>, ArrayViewMut2<'_, T>)| {
        let rows = cut.block.min(classes);
        let mut centred = vec![T::default(); rows * width];
        let mut tile = vec![T::default(); rows * batch];
        let mut product = vec![T::default(); rows * width];
        let mut toward = vec![T::default(); batch * width];
        let start = group.start;
        for range in cut.blocks(group) {
            let rows = range.len();
            let (centred, tile) = (&mut centred[..rows * width], &mut tile[..rows * batch]);
            let product = &mut product[..rows * width];
            let block = band(&side.rows, &range);
            centre_block(&block, &side.reciprocals[range.clone()], side.centre, centred);
            let block = Operand::new(centred, rows, width);
            T::multiply(tile, Update::Replace, T::from_f64(1.0), block, units.operand().t());
            let tile = Operand::new(tile, rows, batch);
            T::multiply(&mut toward, Update::Add, T::from_f64(1.0), tile.t(), block);
            T::multiply(product, Update::Replace, T::from_f64(slope), tile, units.operand());
            let mut out = band_mut(&mut out, range.start - start..range.end - start);
            finish_block(side, range, centred, product, opposite, links, &mut out);
        }
        toward
    });
    let none = vec![0.0; width];
    toward(partials.into_iter(), &[], &none, classes, true)
}
