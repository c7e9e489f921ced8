//! From weights on similarities to gradients of rows.
//!
//! With `zbar`, `qbar` the mean unit rows and `a_i`, `b_c` the deviations from them, every impostor similarity weighs
//! `k + b (s_ic - mu_m)` where `k = pull / n_m` and `b = 2 squeeze / n_m`, and a genuine one `w_i` more. A row's gradient
//! is the weighted sum of the other side's rows, written with deviations:
//!
//! ```text
//! dL/dz_i = W_i qbar + h_i          W_i = C (k + b (z_i.qbar - mu_m)) + w_i
//!                                   h_i = b (K_q zbar + K_q a_i) + w_i b_yi
//! dL/dq_c = V_c zbar + g_c          V_c = B (k + b (q_c.zbar - mu_m)) + sum_{y_i = c} w_i
//!                                   g_c = b (K_z qbar + K_z b_c) + sum_{y_i = c} w_i a_i
//! ```
//!
//! `K_z`, `K_q` are the scatter matrices, so no similarity is ever formed. The last step, the same for both sides, is the
//! derivative of `x / |x|`: take out the component along the unit row `u`, divide by the length. Of nearly parallel rows
//! it takes out nearly all of `W qbar`. So `qbar` is first written as `share zbar + rest`, and with `u = zbar + a_i`
//!
//! ```text
//! qbar - u (u.qbar) = (share - u.qbar) zbar + rest - (u.qbar) a_i
//! ```
//!
//! where every term is as small as the result: the large common part has cancelled on paper, and where it could not, in
//! `f64`. That holds for rows of any spread: with all rows equal, the gradient is zero.

use super::decidability::Decidability;
use super::moments::Summary;
use super::rows::{Centre, add_centred, dot, dot_wide, narrowed, row, vectorised};
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
pub(crate) struct Link {
    /// The row whose gradient the pair adds to.
    pub(crate) row: usize,
    /// The row of the other side.
    pub(crate) partner: usize,
    /// `w` of the pair.
    pub(crate) weight: f64,
}

/// Genuine pairs in the order of their rows, and the rows of the other side.
#[derive(Debug)]
pub(crate) struct Links<'a, T> {
    pub(crate) links: Vec<Link>,
    pub(crate) partners: ArrayView2<'a, T>,
    pub(crate) reciprocals: &'a [f64],
}

impl<'a, T: Real> Links<'a, T> {
    pub(crate) fn new(mut links: Vec<Link>, partners: ArrayView2<'a, T>, reciprocals: &'a [f64]) -> Self {
        links.sort_by_key(|link| link.row);
        Self { links, partners, reciprocals }
    }

    fn within(&self, rows: &Range<usize>) -> &[Link] {
        let start = self.links.partition_point(|link| link.row < rows.start);
        let end = self.links.partition_point(|link| link.row < rows.end);
        &self.links[start..end]
    }
}

/// One side's rows, and their mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a, T> {
    pub(crate) rows: ArrayView2<'a, T>,
    pub(crate) reciprocals: &'a [f64],
    pub(crate) mean: &'a [f64],
    /// `mean`, to centre rows at.
    pub(crate) centre: &'a Centre<T>,
}

/// The other side, as the gradient of a row sees it beside the product with the scatter matrix.
#[derive(Debug)]
pub(crate) struct Opposite<'a, T> {
    weights: &'a Weights,
    /// Number of rows.
    count: f64,
    mean: &'a [f64],
    /// `mean`, to centre the partners of genuine pairs at.
    centre: Centre<T>,
    /// `mean = share * (mean of the own side) + rest`.
    share: f64,
    rest: Vec<T>,
    /// The slope times the scatter matrix times the mean of the own side.
    constant: Vec<T>,
}

impl<'a, T: Real> Opposite<'a, T> {
    /// `count` rows of mean `mean`, whose scatter matrix times `own_mean` is `along_mean`.
    pub(crate) fn new(
        weights: &'a Weights,
        (count, mean): (f64, &'a [f64]),
        own_mean: &[f64],
        along_mean: &[f64],
    ) -> Self {
        let square = dot_wide(own_mean, own_mean);
        let share = if square == 0.0 { 0.0 } else { dot_wide(own_mean, mean) / square };
        let rest: Vec<f64> = mean.iter().zip(own_mean).map(|(mean, own)| mean - share * own).collect();
        let constant: Vec<f64> = along_mean.iter().map(|value| weights.slope * value).collect();
        Self {
            weights,
            count,
            mean,
            centre: Centre::at(mean),
            share,
            rest: narrowed(&rest),
            constant: narrowed(&constant),
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
    opposite: &Opposite<'_, T>,
    links: &Links<'_, T>,
    out: &mut ArrayViewMut2<'_, T>,
) {
    vectorised(
        #[inline(always)]
        || {
            let width = side.mean.len();
            let mut links_left = links.within(&range);
            let rows = centred.chunks_exact(width).zip(product.chunks_exact_mut(width));
            for ((index, (centred, sum)), mut out) in range.zip(rows).zip(out.rows_mut()) {
                let reciprocal = side.reciprocals[index];
                let at = dot_wide(&row(&side.rows, index), opposite.mean) * reciprocal;
                let mut coefficient = opposite.count * opposite.weights.impostor(at);
                sum.iter_mut().zip(&opposite.constant).for_each(|(sum, &constant)| *sum += constant);
                while let Some((link, rest)) = links_left.split_first().filter(|(link, _)| link.row == index) {
                    let partner = row(&links.partners, link.partner);
                    let partner_reciprocal = links.reciprocals[link.partner];
                    add_centred(&partner, partner_reciprocal, &opposite.centre, T::from_f64(link.weight), sum);
                    coefficient += link.weight;
                    links_left = rest;
                }
                let turn = Turn { coefficient, at, reciprocal: T::from_f64(reciprocal) };
                match out.as_slice_mut() {
                    Some(out) => turn.write(centred, side, opposite, sum, out),
                    None => {
                        let mut whole = vec![T::default(); width];
                        turn.write(centred, side, opposite, sum, &mut whole);
                        out.iter_mut().zip(whole).for_each(|(out, value)| *out = value);
                    }
                }
            }
        },
    );
}

/// The last step of one row.
struct Turn<T> {
    /// `W`.
    coefficient: f64,
    /// The unit row's dot product with the other side's mean.
    at: f64,
    reciprocal: T,
}

impl<T: Real> Turn<T> {
    /// `out = (g - u (u . g)) / |x|` with `g = W mean of the other side + sum` and the unit row `u = mean + centred`.
    #[inline(always)]
    fn write(&self, centred: &[T], side: &Side<'_, T>, opposite: &Opposite<'_, T>, sum: &[T], out: &mut [T]) {
        if self.reciprocal == T::default() || out.len() == 1 {
            // No direction, or none to turn to: what is left of `u` is the rounding of the mean. NaN must still show.
            let silent = sum.iter().fold(T::default(), |silent, &value| silent + value * T::default());
            return out.iter_mut().for_each(|out| *out = silent);
        }
        let mean = &side.centre.high;
        let along = (dot(centred, sum) + dot(mean, sum)).to_f64();
        let of_rest = T::from_f64(self.coefficient);
        let of_mean = T::from_f64(self.coefficient * (opposite.share - self.at) - along);
        let of_centred = T::from_f64(-self.coefficient * self.at - along);
        let terms = sum.iter().zip(&opposite.rest).zip(mean).zip(centred);
        for (out, (((&sum, &rest), &mean), &centred)) in out.iter_mut().zip(terms) {
            let value = of_centred.fused(centred, of_mean.fused(mean, of_rest.fused(rest, sum)));
            *out = value * self.reciprocal;
        }
    }
}
