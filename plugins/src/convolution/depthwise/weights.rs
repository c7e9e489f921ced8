//! The gradient of the weights: for each place in the kernel the dot product of two rows.

use std::mem::MaybeUninit;

use pdloss::loss::Executor;

use super::{Layout, copy_phase};
use crate::{
    convolution::shape::Shape,
    cpu::{Float, each},
};

/// Sums side by side: enough that compilers make vectors of the loop over them.
const LANES: usize = 64;
/// Products that are added to each sum while it is at hand.
const TERMS: usize = 4;

/// The gradient of the weights, `[M, 1, kernel...]`. A task has a channel of `x`.
pub(in crate::convolution) fn weight_grad<T: Float>(
    shape: &Shape,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let layout = Layout::of(shape);
    let channels = out.chunks_mut(shape.each_out * shape.taps());
    each(threads, channels, |channel, out| of_channel(shape, &layout, channel, (grad, x), out));
}

fn of_channel<T: Float>(
    shape: &Shape,
    layout: &Layout,
    channel: usize,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
) {
    let arch = pulp::Arch::new();
    let (area, count, apart) = (shape.area(), shape.count(), layout.area());
    // What is not written stays zero.
    let mut copies: Vec<Vec<T>> = layout.phases.iter().map(|_| vec![T::zero(); layout.images * apart]).collect();
    let mut spread = vec![T::zero(); layout.images * apart];
    // Of some images in the numbers' own type, of all in float64.
    let (mut sums, mut totals) = (vec![T::zero(); LANES], vec![0.0; out.len()]);
    for first in (0..shape.batch).step_by(layout.images) {
        let images = layout.images.min(shape.batch - first);
        for (phase, copy) in layout.phases.iter().zip(&mut copies) {
            for (image, copy) in copy.chunks_mut(apart).take(images).enumerate() {
                let plane = &x[((first + image) * shape.groups + channel) * area..][..area];
                copy_phase(shape, layout, phase, plane, copy);
            }
        }
        let length = layout.length(shape, images);
        for (each, totals) in totals.chunks_mut(layout.taps.len()).enumerate() {
            for (image, spread) in spread.chunks_mut(apart).take(images).enumerate() {
                let plane = ((first + image) * shape.groups + channel) * shape.each_out + each;
                layout.spread(shape, &grad[plane * count..][..count], spread);
            }
            for (&(phase, start), total) in layout.taps.iter().zip(totals) {
                sums.fill(T::zero());
                let right = &copies[phase][start..][..length];
                arch.dispatch(Products { left: &spread[..length], right, sums: &mut sums });
                *total += sums.iter().map(|sum| sum.wide()).sum::<f64>();
            }
        }
    }
    for (out, &total) in out.iter_mut().zip(&totals) {
        out.write(T::of(total));
    }
}

/// Adds the products of two rows of one length to sums side by side: each a place further, and from the first again.
struct Products<'a, T> {
    left: &'a [T],
    right: &'a [T],
    sums: &'a mut [T],
}

impl<T: Float> pulp::WithSimd for Products<'_, T> {
    type Output = ();

    // A closure would not be compiled for the instruction set that it is called with.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let sums = &mut self.sums[..LANES];
        let (left, left_rest) = self.left.as_chunks::<{ TERMS * LANES }>();
        let (right, right_rest) = self.right.as_chunks::<{ TERMS * LANES }>();
        for (left, right) in left.iter().zip(right) {
            for lane in 0..LANES {
                let mut sum = sums[lane];
                for term in 0..TERMS {
                    sum += left[term * LANES + lane] * right[term * LANES + lane];
                }
                sums[lane] = sum;
            }
        }
        for (left, right) in left_rest.chunks(LANES).zip(right_rest.chunks(LANES)) {
            for ((sum, &left), &right) in sums.iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
    }
}
