//! Sums of many numbers in float64.

use crate::cpu::Float;

/// Side by side, so that compilers make vectors of them.
const LANES: usize = 8;

/// `N` sums over the same places; `of` gives what each place adds to them.
#[derive(Clone, Copy)]
pub(super) struct Sums<const N: usize>([[f64; LANES]; N]);

impl<const N: usize> Sums<N> {
    pub(super) const ZERO: Self = Self([[0.0; LANES]; N]);

    /// Adds what follows from two rows of equal length.
    #[inline(always)]
    pub(super) fn add<T: Float>(&mut self, left: &[T], right: &[T], of: impl Fn(f64, f64) -> [f64; N]) {
        let (rows, other_rows) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
        let rest = rows.remainder().iter().zip(other_rows.remainder());
        for (left, right) in rows.zip(other_rows) {
            for lane in 0..LANES {
                let added = of(left[lane].wide(), right[lane].wide());
                for (sum, added) in self.0.iter_mut().zip(added) {
                    sum[lane] += added;
                }
            }
        }
        for (lane, (&left, &right)) in rest.enumerate() {
            let added = of(left.wide(), right.wide());
            for (sum, added) in self.0.iter_mut().zip(added) {
                sum[lane] += added;
            }
        }
    }

    #[inline(always)]
    pub(super) fn totals(&self) -> [f64; N] {
        self.0.map(|lanes| lanes.iter().sum())
    }
}
