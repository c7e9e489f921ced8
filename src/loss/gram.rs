//! Sums over all rows of one side: mean and centred Gram matrix.
//!
//! Rows are centred before they are multiplied, by an estimate of their mean: the mean of a few hundred rows spread
//! over the whole. That saves a pass over the rows, and `sum (q - m)(q - m)' = scatter + n (mean - m)(mean - m)'` makes
//! up for the difference in `f64`. Where the estimate turns out to be a poor one, the pass is made again with the mean
//! that the first pass found, so that no arrangement of rows costs accuracy.

use super::executor::{Executor, map};
use super::product::{Operand, Update};
use super::rows::{
    Centre, Cut, add_column_sums, band, centre_block, mean_of, narrowed, reciprocal_lengths, remainder, vectorised,
};
use super::scalar::Real;
use ndarray::{Array2, ArrayView2, Axis};

/// Count, mean and scatter matrix of unit rows: all that the loss needs of one side beside the genuine pairs.
///
/// Merges across shards of the rows, so that classes or samples may live on different machines; what they exchange is
/// `D x D`, whatever the number of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMoments {
    /// Number of rows.
    pub count: f64,
    /// Mean of the unit rows, `[D]`.
    pub mean: Vec<f64>,
    /// Sum over rows of the outer product of the deviation from the mean with itself, `[D, D]`, symmetric.
    pub scatter: Array2<f64>,
}

impl RowMoments {
    /// Of the rows of a matrix `[n, D]`, each divided by its length.
    pub fn of<T: Real>(rows: ArrayView2<'_, T>, executor: &dyn Executor) -> Self {
        collect(&rows, executor).1
    }

    /// Of the rows of both.
    ///
    /// # Panics
    /// If the two have different dimensions.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        assert_eq!(self.mean.len(), other.mean.len(), "row moments of different dimensions");
        if other.count == 0.0 {
            return self;
        }
        if self.count == 0.0 {
            return other.clone();
        }
        let count = self.count + other.count;
        let step: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(other, own)| other - own).collect();
        self.scatter += &other.scatter;
        add_outer(&mut self.scatter, self.count * other.count / count, &step);
        for (mean, step) in self.mean.iter_mut().zip(&step) {
            *mean += step * other.count / count;
        }
        self.count = count;
        self
    }

    /// The scatter matrix about another mean than that of these rows: then those of several shards add up.
    #[must_use]
    pub fn scatter_about(&self, mean: &[f64]) -> Array2<f64> {
        let step: Vec<f64> = self.mean.iter().zip(mean).map(|(own, other)| own - other).collect();
        let mut scatter = self.scatter.clone();
        add_outer(&mut scatter, self.count, &step);
        scatter
    }

    /// Of no rows.
    #[must_use]
    pub fn none(dim: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; dim], scatter: Array2::zeros((dim, dim)) }
    }

    /// `scatter * vector`.
    pub(crate) fn apply(&self, vector: &[f64]) -> Vec<f64> {
        self.scatter.rows().into_iter().map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum()).collect()
    }
}

fn add_outer(matrix: &mut Array2<f64>, weight: f64, vector: &[f64]) {
    for (mut row, &left) in matrix.rows_mut().into_iter().zip(vector) {
        let factor = weight * left;
        row.iter_mut().zip(vector).for_each(|(out, right)| *out += factor * right);
    }
}

/// Rows that the first estimate of the mean looks at.
const PROBE: usize = 512;

/// Where to centre before the mean is known.
pub(crate) fn estimate_mean<T: Real>(rows: &ArrayView2<'_, T>) -> Vec<T> {
    narrowed(&mean_of(rows, (0..rows.nrows()).step_by(rows.nrows().div_ceil(PROBE).max(1))))
}

/// Whether an estimate left more of the mean in the rows than their spread can bear.
pub(crate) fn poor_estimate(off: &[f64], mean_square: f64) -> bool {
    off.iter().map(|value| value * value).sum::<f64>() > 0.25 * mean_square
}

/// Reciprocal lengths and moments of all rows.
pub(crate) fn collect<T: Real>(rows: &ArrayView2<'_, T>, executor: &dyn Executor) -> (Vec<f64>, RowMoments) {
    let mut reciprocals = vec![0.0; rows.nrows()];
    let shift = estimate_mean(rows);
    let moments = pass(rows, &Centre::exactly(shift.clone()), &mut reciprocals, executor);
    let off = remainder(&moments.mean, &shift);
    let trace: f64 = moments.scatter.diag().sum();
    // A few rows are their own sample: then there is nothing to gain.
    if rows.nrows() > PROBE && poor_estimate(&off, trace / moments.count) {
        let again = pass(rows, &Centre::exactly(narrowed(&moments.mean)), &mut reciprocals, executor);
        return (reciprocals, again);
    }
    (reciprocals, moments)
}

fn pass<T: Real>(
    rows: &ArrayView2<'_, T>,
    shift: &Centre<T>,
    reciprocals: &mut [f64],
    executor: &dyn Executor,
) -> RowMoments {
    let (count, width) = rows.dim();
    let cut = Cut::new(count, width, 4 * T::BLOCK_ELEMENTS, 8, 16 * 1024);
    let groups = cut.groups(count).into_iter().zip(reciprocals.chunks_mut(cut.group)).collect();
    let partials = map(executor, groups, |(group, reciprocals): (_, &mut [f64])| {
        let mut gram = vec![T::default(); width * width];
        let mut sums = vec![0.0; width];
        let mut centred = vec![T::default(); cut.block.min(count) * width];
        for (range, reciprocals) in cut.blocks(group).into_iter().zip(reciprocals.chunks_mut(cut.block)) {
            let centred = &mut centred[..range.len() * width];
            let block = band(rows, &range);
            reciprocal_lengths(&block, reciprocals);
            centre_block(&block, reciprocals, shift, centred);
            add_column_sums(centred, &mut sums);
            T::gram(&mut gram, Update::Add, Operand::new(centred, range.len(), width));
        }
        (gram, sums)
    });
    combine(partials, &shift.high, count, executor)
}

/// Adds the groups up in order, in `f64`, and moves the result from the shift to the mean.
fn combine<T: Real>(
    partials: Vec<(Vec<T>, Vec<f64>)>,
    shift: &[T],
    rows: usize,
    executor: &dyn Executor,
) -> RowMoments {
    let (count, width) = (rows as f64, shift.len());
    let mut off = vec![0.0; width];
    for (_, sums) in &partials {
        off.iter_mut().zip(sums).for_each(|(off, sum)| *off += sum / count);
    }
    let mut scatter = Array2::<f64>::zeros((width, width));
    let bands = scatter.axis_chunks_iter_mut(Axis(0), 64).enumerate().collect();
    super::executor::for_each(executor, bands, |(band, mut rows): (usize, ndarray::ArrayViewMut2<'_, f64>)| {
        vectorised(
            #[inline(always)]
            || {
                for (index, mut row) in rows.rows_mut().into_iter().enumerate() {
                    let index = band * 64 + index;
                    // Only what lies on or below the diagonal was accumulated.
                    let row = &mut row.as_slice_mut().unwrap_or_default()[..=index];
                    for (gram, _) in &partials {
                        let gram = &gram[index * width..][..=index];
                        row.iter_mut().zip(gram).for_each(|(sum, value)| *sum += value.to_f64());
                    }
                    let factor = count * off[index];
                    row.iter_mut().zip(&off).for_each(|(sum, off)| *sum -= factor * off);
                }
            },
        );
    });
    for row in 0..width {
        for column in row + 1..width {
            scatter[(row, column)] = scatter[(column, row)];
        }
    }
    let mean = shift.iter().zip(&off).map(|(shift, off)| shift.to_f64() + off).collect();
    RowMoments { count, mean, scatter }
}
