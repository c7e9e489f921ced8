//! Kernels and their gradients: `G w G'` and `G' s G`.

use pdloss::loss::Executor;

use super::ELEMENTS;
use crate::cpu::{self, Float};

/// Places of a kernel.
pub(super) const PLACES: usize = 9;

/// `G w G'`, `[row, element, column]` for weights of `[row, column, 3, 3]`; turned round, where that is wanted.
pub(super) fn form<T: Float>(weights: &[T], columns: usize, turned: bool, threads: &dyn Executor) -> Vec<T> {
    let mut out = vec![T::zero(); weights.len() / PLACES * ELEMENTS];
    let rows = out.chunks_mut(ELEMENTS * columns).zip(weights.chunks(PLACES * columns));
    cpu::each(threads, rows, |_, (out, kernels)| pulp::Arch::new().dispatch(Form { kernels, turned, out }));
    out
}

struct Form<'a, T> {
    kernels: &'a [T],
    turned: bool,
    out: &'a mut [T],
}

impl<T: Float> pulp::WithSimd for Form<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { kernels, turned, out } = self;
        let kernels = kernels.as_chunks::<PLACES>().0;
        let width = kernels.len();
        // A row for each place, so that what follows runs along rows.
        let mut places = vec![T::zero(); PLACES * width];
        for (place, row) in places.chunks_exact_mut(width).enumerate() {
            let place = if turned { PLACES - 1 - place } else { place };
            row.iter_mut().zip(kernels).for_each(|(out, kernel)| *out = kernel[place]);
        }
        let half = T::of(0.5);
        // `G` times three rows.
        let four = |rows: [&[T]; 3], out: &mut [T]| {
            let mut outs = out.chunks_exact_mut(width);
            for place in 0..4 {
                let (Some(out), [first, second, third]) = (outs.next(), rows) else { continue };
                match place {
                    0 => out.copy_from_slice(first),
                    3 => out.copy_from_slice(third),
                    _ => {
                        let sign = if place == 1 { half } else { -half };
                        let rows = first.iter().zip(second).zip(third);
                        for (out, ((&first, &second), &third)) in out.iter_mut().zip(rows) {
                            *out = (first + third) * half + second * sign;
                        }
                    }
                }
            }
        };
        let mut columns = vec![T::zero(); 12 * width];
        for (column, out) in columns.chunks_exact_mut(4 * width).enumerate() {
            four([0, 3, 6].map(|row| &places[(row + column) * width..][..width]), out);
        }
        for (row, out) in out.chunks_exact_mut(4 * width).enumerate() {
            four([0, 4, 8].map(|column| &columns[(column + row) * width..][..width]), out);
        }
    }
}

/// `G' s G` of sums `[element, row, column]` in `out`, `[row, column, 3, 3]`.
pub(super) fn gradients<T: Float>(sums: &[T], width: usize) -> Vec<T> {
    let apart = sums.len() / ELEMENTS;
    let mut out = vec![T::zero(); apart * PLACES];
    for (row, out) in out.chunks_mut(width * PLACES).enumerate() {
        let rows = std::array::from_fn(|element| &sums[element * apart + row * width..][..width]);
        pulp::Arch::new().dispatch(Gradients { rows, out });
    }
    out
}

struct Gradients<'a, T> {
    rows: [&'a [T]; ELEMENTS],
    out: &'a mut [T],
}

impl<T: Float> pulp::WithSimd for Gradients<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { rows, out } = self;
        let kernels = out.as_chunks_mut::<PLACES>().0;
        let width = kernels.len();
        let half = T::of(0.5);
        // `G'` times four rows.
        let three = |rows: [&[T]; 4], out: &mut [T]| {
            let [first, second, third, fourth] = rows;
            let inner = || second.iter().zip(third);
            for (place, out) in out.chunks_exact_mut(width).enumerate() {
                let sign = if place == 1 { -half } else { half };
                for (out, (&second, &third)) in out.iter_mut().zip(inner()) {
                    *out = second * half + third * sign;
                }
                if let Some(outer) = [Some(first), None, Some(fourth)][place] {
                    out.iter_mut().zip(outer).for_each(|(out, &outer)| *out += outer);
                }
            }
        };
        let mut columns = vec![T::zero(); 12 * width];
        for (column, out) in columns.chunks_exact_mut(3 * width).enumerate() {
            three([0, 4, 8, 12].map(|row| rows[row + column]), out);
        }
        let mut places = vec![T::zero(); PLACES * width];
        for (row, out) in places.chunks_exact_mut(3 * width).enumerate() {
            three([0, 3, 6, 9].map(|column| &columns[(column + row) * width..][..width]), out);
        }
        let places: [&[T]; PLACES] = std::array::from_fn(|place| &places[place * width..][..width]);
        for (index, kernel) in kernels.iter_mut().enumerate() {
            for (out, place) in kernel.iter_mut().zip(places) {
                *out = place[index];
            }
        }
    }
}
