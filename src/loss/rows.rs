//! Rows on the unit sphere, a block at a time: lengths, centring, dot products.
//!
//! No copy of all normalised rows is ever kept. A block of rows is read, divided by its lengths and centred in one
//! fused step: `fma(x, lo, fma(x, hi, -centre))`, where `hi + lo` is the reciprocal length to twice the precision. The
//! centre, too, is kept to twice the precision ([`Centre`]), and taken off before the result is rounded. The digits that
//! nearly parallel rows share cost no accuracy, and rows centred at their mean sum to zero.

use super::executor::{Executor, map};
use super::scalar::Real;
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2, Axis, Slice};
use std::borrow::Cow;
use std::ops::Range;

/// Rows shorter than this have no direction: they count as zero rows and get a zero gradient.
pub const LENGTH_FLOOR: f64 = 1e-12;

/// Runs `work`, compiled once for each instruction set and chosen for the machine at hand.
#[inline]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// A row as a slice; copied only where its elements do not lie side by side.
#[inline(always)]
pub(crate) fn row<'a, T: Real>(rows: &ArrayView2<'a, T>, index: usize) -> Cow<'a, [T]> {
    let row: ArrayView1<'a, T> = (*rows).index_axis_move(ndarray::Axis(0), index);
    match row.to_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(row.to_vec()),
    }
}

const LANES: usize = 32;

/// `left . right` in `T`, in a fixed order of additions.
#[inline(always)]
pub(crate) fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let mut sums = [T::default(); LANES];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] = left[lane].fused(right[lane], sums[lane]);
        }
    }
    for (lane, (&left, &right)) in left_rest.iter().zip(right_rest).enumerate() {
        sums[lane] = left.fused(right, sums[lane]);
    }
    sums.into_iter().fold(T::default(), |total, sum| total + sum)
}

/// `left . right` in `f64`, whatever the element types.
#[inline(always)]
pub(crate) fn dot_wide<T: Real, U: Real>(left: &[T], right: &[U]) -> f64 {
    const WIDE: usize = 16;
    let mut sums = [0.0; WIDE];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<WIDE>(), right.as_chunks::<WIDE>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..WIDE {
            sums[lane] = left[lane].to_f64().mul_add(right[lane].to_f64(), sums[lane]);
        }
    }
    for (lane, (left, right)) in left_rest.iter().zip(right_rest).enumerate() {
        sums[lane] = left.to_f64().mul_add(right.to_f64(), sums[lane]);
    }
    sums.iter().sum()
}

/// Sum and sum of squares, in `f64`, of `left + right + addend`.
#[inline(always)]
pub(crate) fn power_sums<T: Real>(left: &[T], right: &[T], addend: f64) -> (f64, f64) {
    const WIDE: usize = 16;
    let (mut sums, mut squares) = ([0.0; WIDE], [0.0; WIDE]);
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<WIDE>(), right.as_chunks::<WIDE>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..WIDE {
            let value = (left[lane] + right[lane]).to_f64() + addend;
            sums[lane] += value;
            squares[lane] = value.mul_add(value, squares[lane]);
        }
    }
    for (lane, (&left, &right)) in left_rest.iter().zip(right_rest).enumerate() {
        let value = (left + right).to_f64() + addend;
        sums[lane] += value;
        squares[lane] = value.mul_add(value, squares[lane]);
    }
    (sums.iter().sum(), squares.iter().sum())
}

/// One over the length of a row: 0 for a row without direction, NaN where the row holds NaN or infinity.
#[inline(always)]
pub(crate) fn reciprocal_length<T: Real>(row: &[T]) -> f64 {
    let mut length = dot_wide(row, row).sqrt();
    if length.is_infinite() {
        // Squares of large `f64` elements overflow before the length does.
        let largest = row.iter().fold(0.0, |largest: f64, value| largest.max(value.to_f64().abs()));
        let squares: f64 = row.iter().map(|value| (value.to_f64() / largest).powi(2)).sum();
        length = largest * squares.sqrt();
    }
    if length <= LENGTH_FLOOR {
        0.0
    } else if length.is_finite() {
        1.0 / length
    } else {
        f64::NAN
    }
}

/// A reciprocal length as the unevaluated sum of two elements.
#[inline(always)]
pub(crate) fn split<T: Real>(reciprocal: f64) -> (T, T) {
    let high = T::from_f64(reciprocal);
    (high, T::from_f64(reciprocal - high.to_f64()))
}

/// Whether a reciprocal length is too small to be split without losing digits.
#[inline(always)]
fn tiny<T: Real>(reciprocal: f64) -> bool {
    reciprocal != 0.0 && reciprocal < T::SMALLEST_RECIPROCAL
}

/// Where rows are centred: the unevaluated sum of two vectors, so that nothing of a mean in `f64` is lost.
#[derive(Clone, Debug)]
pub(crate) struct Centre<T> {
    pub(crate) high: Vec<T>,
    low: Vec<T>,
}

impl<T: Real> Centre<T> {
    /// At a mean.
    pub(crate) fn at(mean: &[f64]) -> Self {
        let high = narrowed(mean);
        let low = narrowed(&remainder(mean, &high));
        Self { high, low }
    }

    /// At a vector as it is.
    pub(crate) fn exactly(high: Vec<T>) -> Self {
        let low = vec![T::default(); high.len()];
        Self { high, low }
    }
}

/// `out = row * reciprocal - centre`.
#[inline(always)]
pub(crate) fn centre<T: Real>(row: &[T], reciprocal: f64, centre: &Centre<T>, out: &mut [T]) {
    let centre = centre.high.iter().zip(&centre.low);
    if tiny::<T>(reciprocal) {
        for ((out, value), (high, low)) in out.iter_mut().zip(row).zip(centre) {
            *out = T::from_f64(value.to_f64() * reciprocal - high.to_f64() - low.to_f64());
        }
        return;
    }
    let (hi, lo) = split::<T>(reciprocal);
    for ((out, &value), (&high, &low)) in out.iter_mut().zip(row).zip(centre) {
        *out = value.fused(lo, value.fused(hi, -high)) - low;
    }
}

/// `out += weight * (row * reciprocal - centre)`.
#[inline(always)]
pub(crate) fn add_centred<T: Real>(row: &[T], reciprocal: f64, centre: &Centre<T>, weight: T, out: &mut [T]) {
    let centre = centre.high.iter().zip(&centre.low);
    if tiny::<T>(reciprocal) {
        for ((out, value), (high, low)) in out.iter_mut().zip(row).zip(centre) {
            *out += weight * T::from_f64(value.to_f64() * reciprocal - high.to_f64() - low.to_f64());
        }
        return;
    }
    let (hi, lo) = split::<T>(reciprocal);
    for ((out, &value), (&high, &low)) in out.iter_mut().zip(row).zip(centre) {
        *out = weight.fused(value.fused(lo, value.fused(hi, -high)) - low, *out);
    }
}

/// The dot product of each row of a row-major matrix with a vector. A loop, because a closure that an iterator adaptor
/// calls may be compiled apart, without the instruction set that [`vectorised`] chose.
pub(crate) fn dots<T: Real, U: Real>(rows: &[T], vector: &[U]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len() / vector.len()];
    vectorised(
        #[inline(always)]
        || {
            for (out, row) in out.iter_mut().zip(rows.chunks_exact(vector.len())) {
                *out = dot_wide(row, vector);
            }
        },
    );
    out
}

/// The dot product of each unit row with a vector.
pub(crate) fn unit_dots<T: Real, U: Real>(rows: &ArrayView2<'_, T>, reciprocals: &[f64], vector: &[U]) -> Vec<f64> {
    let mut out = vec![0.0; reciprocals.len()];
    vectorised(
        #[inline(always)]
        || {
            for (index, (out, reciprocal)) in out.iter_mut().zip(reciprocals).enumerate() {
                *out = dot_wide(&row(rows, index), vector) * reciprocal;
            }
        },
    );
    out
}

/// `sum_i a_i (a_i . direction)` over the unit rows' deviations `a_i` from their mean: their scatter matrix times a
/// direction. The dot products are formed in `f64` from the rows themselves: along the mean of nearly parallel rows they
/// are small against the deviations, and what a matrix in `T` holds of them is rounding.
pub(crate) fn scatter_along<T: Real>(
    rows: &ArrayView2<'_, T>,
    reciprocals: &[f64],
    mean: &[f64],
    direction: &[f64],
    executor: &dyn Executor,
) -> Vec<f64> {
    let centre = Centre::<T>::at(mean);
    let at_mean = dot_wide(mean, direction);
    let partials = map(executor, light_groups(rows), |group: Range<usize>| {
        vectorised(
            #[inline(always)]
            || {
                let (mut total, mut deviation) = (vec![0.0; mean.len()], vec![T::default(); mean.len()]);
                for index in group {
                    let row = row(rows, index);
                    let along = dot_wide(&row, direction) * reciprocals[index] - at_mean;
                    self::centre(&row, reciprocals[index], &centre, &mut deviation);
                    for (total, value) in total.iter_mut().zip(&deviation) {
                        *total = along.mul_add(value.to_f64(), *total);
                    }
                }
                total
            },
        )
    });
    sum_vectors(partials, mean.len())
}

/// `sum_i (a_i . direction)^2`, formed as in [`scatter_along`].
pub(crate) fn spread_along<T: Real>(
    rows: &ArrayView2<'_, T>,
    reciprocals: &[f64],
    mean: &[f64],
    direction: &[f64],
    executor: &dyn Executor,
) -> f64 {
    let at_mean = dot_wide(mean, direction);
    let partials = map(executor, light_groups(rows), |group: Range<usize>| {
        let along = unit_dots(&band(rows, &group), &reciprocals[group], direction);
        along.into_iter().map(|along| (along - at_mean) * (along - at_mean)).sum::<f64>()
    });
    partials.into_iter().sum()
}

/// Groups of rows for passes that do little with each.
fn light_groups<T: Real>(rows: &ArrayView2<'_, T>) -> Vec<Range<usize>> {
    Cut::new(rows.nrows(), rows.ncols(), T::BLOCK_ELEMENTS, 8, 4 * 1024).groups(rows.nrows())
}

fn sum_vectors(parts: Vec<Vec<f64>>, width: usize) -> Vec<f64> {
    let mut total = vec![0.0; width];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, value)| *total += value);
    }
    total
}

/// Reciprocal lengths of a block of rows.
pub(crate) fn reciprocal_lengths<T: Real>(rows: &ArrayView2<'_, T>, out: &mut [f64]) {
    vectorised(
        #[inline(always)]
        || {
            for (index, out) in out.iter_mut().enumerate() {
                *out = reciprocal_length(&row(rows, index));
            }
        },
    );
}

/// Centred unit rows of a block, row after row in `out`.
pub(crate) fn centre_block<T: Real>(rows: &ArrayView2<'_, T>, reciprocals: &[f64], at: &Centre<T>, out: &mut [T]) {
    vectorised(
        #[inline(always)]
        || {
            let width = at.high.len();
            for (index, &reciprocal) in reciprocals.iter().enumerate() {
                centre(&row(rows, index), reciprocal, at, &mut out[index * width..][..width]);
            }
        },
    );
}

/// Adds the column sums of a block to `sums`: in `T` inside the block, in `f64` across blocks.
pub(crate) fn add_column_sums<T: Real>(block: &[T], sums: &mut [f64]) {
    vectorised(
        #[inline(always)]
        || {
            let mut partial = vec![T::default(); sums.len()];
            for row in block.chunks_exact(sums.len()) {
                for (partial, &value) in partial.iter_mut().zip(row) {
                    *partial += value;
                }
            }
            for (sum, partial) in sums.iter_mut().zip(partial) {
                *sum += partial.to_f64();
            }
        },
    );
}

/// The mean of the unit rows named by `indices`, to `f64`: good enough to centre by, whichever rows were picked.
pub(crate) fn mean_of<T: Real>(rows: &ArrayView2<'_, T>, indices: impl Iterator<Item = usize>) -> Vec<f64> {
    vectorised(
        #[inline(always)]
        || {
            let (mut sums, mut count) = (vec![0.0; rows.ncols()], 0.0);
            for index in indices {
                let row = row(rows, index);
                let reciprocal = reciprocal_length(&row);
                for (sum, value) in sums.iter_mut().zip(row.iter()) {
                    *sum += value.to_f64() * reciprocal;
                }
                count += 1.0;
            }
            sums.iter_mut().for_each(|sum| *sum /= count);
            sums
        },
    )
}

pub(crate) fn narrowed<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// `values - rounded`, exactly.
pub(crate) fn remainder<T: Real>(values: &[f64], rounded: &[T]) -> Vec<f64> {
    values.iter().zip(rounded).map(|(value, rounded)| value - rounded.to_f64()).collect()
}

/// The rows in a range.
pub(crate) fn band<'a, T>(rows: &'a ArrayView2<'_, T>, range: &Range<usize>) -> ArrayView2<'a, T> {
    rows.slice_axis(Axis(0), Slice::from(range.clone()))
}

/// The rows in a range, to write to.
pub(crate) fn band_mut<'a, T>(rows: &'a mut ArrayViewMut2<'_, T>, range: Range<usize>) -> ArrayViewMut2<'a, T> {
    rows.slice_axis_mut(Axis(0), Slice::from(range))
}

/// How rows are cut into groups of blocks: by shape alone, so that results do not depend on threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Rows in a block (fewer in the last).
    pub(crate) block: usize,
    /// Rows in a group: whole blocks (fewer in the last).
    pub(crate) group: usize,
}

impl Cut {
    /// `elements` to a block; at least `least` groups where there are as many blocks, and none above `most` rows.
    pub(crate) fn new(rows: usize, width: usize, elements: usize, least: usize, most: usize) -> Self {
        let block = (elements / width).clamp(16, 2048).next_multiple_of(16);
        let blocks = rows.div_ceil(block).max(1);
        let groups = rows.div_ceil(most).max(least.min(blocks));
        Self { block, group: blocks.div_ceil(groups) * block }
    }

    pub(crate) fn groups(self, rows: usize) -> Vec<Range<usize>> {
        ranges(0..rows, self.group)
    }

    pub(crate) fn blocks(self, group: Range<usize>) -> Vec<Range<usize>> {
        ranges(group, self.block)
    }
}

fn ranges(whole: Range<usize>, step: usize) -> Vec<Range<usize>> {
    whole.clone().step_by(step).map(|start| start..(start + step).min(whole.end)).collect()
}
