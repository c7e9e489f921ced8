//! From weights on similarities to gradients of rows.
//!
//! With `zbar`, `qbar` the mean unit rows and `a_i`, `b_c` the deviations from them, every impostor similarity weighs
//! `k + b (s_ic - mu_m)` where `k = pull / n_m` and `b = 2 squeeze / n_m`. Summed over the other side, without ever
//! forming a similarity:
//!
//! ```text
//! dL/dz_i = C qbar (k + b (s_i. - mu_m)) + b (K_q zbar + K_q a_i) + w_i q_yi        s_i. = zbar.qbar + a_i.qbar
//! dL/dq_c = B zbar (k + b (s_.c - mu_m)) + b (K_z qbar + K_z b_c) + sum_{y_i = c} w_i z_i
//! ```
//!
//! `K_z`, `K_q` are the scatter matrices; `w_i` turns the impostor weight that the first terms gave a genuine pair into
//! the genuine one. Written with deviations, the large common part of nearly parallel rows has cancelled on paper. The
//! last step, the same for both sides, is the derivative of `x / |x|`: take out the component along the row, divide by
//! the length.

use super::decidability::Decidability;
use super::moments::Summary;
use super::rows::{add_unit, dot, row, vectorised};
use super::scalar::Real;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Weights of the similarities, already multiplied by the upstream gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    /// `k`: what an impostor pair at the impostor mean weighs.
    pub(crate) level: f64,
    /// `b`: how that weight grows with the similarity.
    pub(crate) slope: f64,
    impostor_mean: f64,
    genuine_level: f64,
    genuine_slope: f64,
    genuine_mean: f64,
}

impl Weights {
    pub(crate) fn new(at: &Decidability, upstream: f64, genuine: &Summary, impostor: &Summary) -> Self {
        let (pull, squeeze) = (at.pull * upstream, at.squeeze * upstream);
        // One number has no variance, whatever it is. The deviation it is multiplied with would be rounding alone.
        let slope = |count: f64| {
            if count == 1.0 { 0.0 } else { 2.0 * squeeze / count }
        };
        Self {
            level: pull / impostor.count,
            slope: slope(impostor.count),
            impostor_mean: impostor.mean,
            genuine_level: -pull / genuine.count,
            genuine_slope: slope(genuine.count),
            genuine_mean: genuine.mean,
        }
    }

    /// What an impostor pair of this similarity weighs.
    pub(crate) fn impostor(&self, similarity: f64) -> f64 {
        self.level + self.slope * (similarity - self.impostor_mean)
    }

    /// `w`: what a genuine pair of this similarity weighs more than an impostor pair would.
    pub(crate) fn genuine_excess(&self, similarity: f64) -> f64 {
        self.genuine_level + self.genuine_slope * (similarity - self.genuine_mean) - self.impostor(similarity)
    }
}

/// A genuine pair, seen from one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<T> {
    /// The row whose gradient the pair adds to.
    pub(crate) row: usize,
    /// The row of the other side.
    pub(crate) partner: usize,
    /// `w` of the pair.
    pub(crate) weight: T,
}

/// Genuine pairs in the order of their rows, and the rows of the other side.
#[derive(Debug)]
pub(crate) struct Links<'a, T> {
    pub(crate) links: Vec<Link<T>>,
    pub(crate) partners: ArrayView2<'a, T>,
    pub(crate) reciprocals: &'a [f64],
}

impl<'a, T: Real> Links<'a, T> {
    pub(crate) fn new(mut links: Vec<Link<T>>, partners: ArrayView2<'a, T>, reciprocals: &'a [f64]) -> Self {
        links.sort_by_key(|link| link.row);
        Self { links, partners, reciprocals }
    }

    fn within(&self, rows: &Range<usize>) -> &[Link<T>] {
        let start = self.links.partition_point(|link| link.row < rows.start);
        let end = self.links.partition_point(|link| link.row < rows.end);
        &self.links[start..end]
    }
}

/// One side's rows as the passes see them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a, T> {
    pub(crate) rows: ArrayView2<'a, T>,
    pub(crate) reciprocals: &'a [f64],
    /// Where rows are centred: close to the mean.
    pub(crate) shift: &'a [T],
}

/// The part of a side's gradient that is affine in the centred row, beside the product with the scatter matrix.
#[derive(Clone, Debug)]
pub(crate) struct Affine<T> {
    /// Mean of the other side; empty where the product already covers it.
    pub(crate) direction: Vec<T>,
    /// Its coefficient where the centred row is zero.
    pub(crate) level: f64,
    /// How the coefficient grows with the dot product of centred row and direction.
    pub(crate) slope: f64,
    /// What every row gets.
    pub(crate) constant: Vec<T>,
}

impl<T: Real> Affine<T> {
    /// For a side whose rows are centred by `mean - off`, against `others` rows of mean `direction`; `constant` is
    /// `K direct`, before the slope.
    pub(crate) fn new(
        weights: &Weights,
        others: f64,
        direction: &[f64],
        mean: &[f64],
        off: &[f64],
        constant: impl Iterator<Item = f64>,
    ) -> Self {
        let plain = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(l, r)| l * r).sum::<f64>();
        let at_shift = plain(direction, mean) - plain(direction, off);
        Self {
            direction: super::rows::narrowed(direction),
            level: others * weights.impostor(at_shift),
            slope: others * weights.slope,
            constant: constant.map(|value| T::from_f64(weights.slope * value)).collect(),
        }
    }
}

/// Writes the gradient of a block of rows. `product` holds the scatter matrix times the centred rows, times the slope;
/// it is used up.
pub(crate) fn finish_block<T: Real>(
    side: &Side<'_, T>,
    range: Range<usize>,
    centred: &[T],
    product: &mut [T],
    affine: &Affine<T>,
    links: &Links<'_, T>,
    out: &mut ArrayViewMut2<'_, T>,
) {
    vectorised(
        #[inline(always)]
        || {
            let width = side.shift.len();
            let mut links_left = links.within(&range);
            let rows = centred.chunks_exact(width).zip(product.chunks_exact_mut(width));
            for ((index, (centred, sum)), mut out) in range.zip(rows).zip(out.rows_mut()) {
                if affine.direction.is_empty() {
                    sum.iter_mut().zip(&affine.constant).for_each(|(sum, &constant)| *sum += constant);
                } else {
                    let along = dot(&affine.direction, centred).to_f64();
                    let coefficient = T::from_f64(affine.level + affine.slope * along);
                    for ((sum, &direction), &constant) in sum.iter_mut().zip(&affine.direction).zip(&affine.constant) {
                        *sum = coefficient.fused(direction, *sum + constant);
                    }
                }
                while let Some((link, rest)) = links_left.split_first().filter(|(link, _)| link.row == index) {
                    let partner = row(&links.partners, link.partner);
                    add_unit(&partner, links.reciprocals[link.partner], link.weight, sum);
                    links_left = rest;
                }
                let reciprocal = T::from_f64(side.reciprocals[index]);
                match out.as_slice_mut() {
                    Some(out) => project(centred, side.shift, sum, reciprocal, out),
                    None => {
                        let mut whole = vec![T::default(); width];
                        project(centred, side.shift, sum, reciprocal, &mut whole);
                        out.iter_mut().zip(whole).for_each(|(out, value)| *out = value);
                    }
                }
            }
        },
    );
}

/// `out = (sum - q (q . sum)) / |p|` with the unit row `q = centred + shift`.
#[inline(always)]
fn project<T: Real>(centred: &[T], shift: &[T], sum: &[T], reciprocal: T, out: &mut [T]) {
    if reciprocal == T::default() || out.len() == 1 {
        // No direction, or none to turn to: what is left of `q` is the rounding of the shift. NaN must still show.
        let silent = sum.iter().fold(T::default(), |silent, &value| silent + value * T::default());
        return out.iter_mut().for_each(|out| *out = silent);
    }
    let along = -(dot(centred, sum) + dot(shift, sum));
    for (((out, &sum), &centred), &shift) in out.iter_mut().zip(sum).zip(centred).zip(shift) {
        *out = along.fused(centred + shift, sum) * reciprocal;
    }
}
