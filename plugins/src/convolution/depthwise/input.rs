//! The gradient of the input: what each element of `x` was multiplied with, times the gradients at those places.

use std::mem::MaybeUninit;

use pdloss::loss::Executor;

use super::{Layout, Phase};
use crate::{
    convolution::shape::Shape,
    cpu::{Float, each},
};

/// Places in the kernel whose rows are added while a sum is at hand.
const TAPS: usize = 5;

/// The gradient of the input, as `x`. A task has some images of a channel.
pub(in crate::convolution) fn input_grad<T: Float>(
    shape: &Shape,
    (grad, weights): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let layout = Layout::of(shape);
    // The planes of each channel, in the order of the images.
    let mut planes: Vec<Vec<&mut [MaybeUninit<T>]>> = (0..shape.groups).map(|_| Vec::new()).collect();
    for (index, plane) in out.chunks_mut(shape.area()).enumerate() {
        planes[index % shape.groups].push(plane);
    }
    each(threads, planes.into_iter(), |channel, planes| of_channel(shape, &layout, channel, (grad, weights), planes));
}

fn of_channel<T: Float>(
    shape: &Shape,
    layout: &Layout,
    channel: usize,
    (grad, weights): (&[T], &[T]),
    mut planes: Vec<&mut [MaybeUninit<T>]>,
) {
    let arch = pulp::Arch::new();
    let (count, apart, taps) = (shape.count(), layout.area(), shape.taps());
    let weights = &weights[channel * shape.each_out * taps..][..shape.each_out * taps];
    // In front of the first image lies as much as a place in the kernel looks back; what is not written stays zero.
    let back = layout.taps.iter().map(|&(_, start)| start).max().unwrap_or(0);
    let mut spread = vec![T::zero(); back + layout.images * apart];
    let mut sums: Vec<Vec<T>> = layout.phases.iter().map(|_| vec![T::zero(); layout.images * apart]).collect();
    for (round, planes) in planes.chunks_mut(layout.images).enumerate() {
        let length = planes.len() * apart;
        for sums in &mut sums {
            sums[..length].fill(T::zero());
        }
        for (each, weights) in weights.chunks(taps).enumerate() {
            for (image, spread) in spread[back..].chunks_mut(apart).take(planes.len()).enumerate() {
                let image = round * layout.images + image;
                let plane = (image * shape.groups + channel) * shape.each_out + each;
                layout.spread(shape, &grad[plane * count..][..count], spread);
            }
            for (phase, sums) in sums.iter_mut().enumerate() {
                let of_phase = layout.taps.iter().zip(weights).filter(|((of, _), _)| *of == phase);
                let mut of_phase = of_phase.map(|(&(_, start), &weight)| (&spread[back - start..][..length], weight));
                let sums = &mut sums[..length];
                loop {
                    let next = [(); TAPS].map(|()| of_phase.next());
                    if next[0].is_none() {
                        break;
                    }
                    arch.dispatch(Sums { out: sums, rows: next });
                }
            }
        }
        for (image, plane) in planes.iter_mut().enumerate() {
            // Elements that no place meets.
            plane.fill(MaybeUninit::new(T::zero()));
            for (phase, sums) in layout.phases.iter().zip(&sums) {
                write_phase(shape, layout, phase, &sums[image * apart..][..apart], plane);
            }
        }
    }
}

/// Writes the elements of an image that are of this phase.
#[inline(always)]
fn write_phase<T: Float>(shape: &Shape, layout: &Layout, phase: &Phase, sums: &[T], image: &mut [MaybeUninit<T>]) {
    let (stride, columns) = (shape.window.strides[1], phase.inside[1].len());
    for (to, from) in phase.rows(shape, layout.size[1]) {
        let sums = &sums[from..][..columns];
        let out = &mut image[to..][..(columns - 1) * stride + 1];
        match stride {
            1 => out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = MaybeUninit::new(sum)),
            stride => {
                out.iter_mut().step_by(stride).zip(sums).for_each(|(out, &sum)| *out = MaybeUninit::new(sum));
            }
        }
    }
}

/// Adds each of the rows that there are, all of one length, times a number.
struct Sums<'a, T> {
    out: &'a mut [T],
    rows: [Option<(&'a [T], T)>; TAPS],
}

impl<T: Float> pulp::WithSimd for Sums<'_, T> {
    type Output = ();

    // A closure would not be compiled for the instruction set that it is called with.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        match self.rows {
            [Some(a), Some(b), Some(c), Some(d), Some(e)] => add_scaled(self.out, [a, b, c, d, e]),
            [Some(a), Some(b), Some(c), Some(d), None] => add_scaled(self.out, [a, b, c, d]),
            [Some(a), Some(b), Some(c), None, ..] => add_scaled(self.out, [a, b, c]),
            [Some(a), Some(b), None, ..] => add_scaled(self.out, [a, b]),
            [Some(a), None, ..] => add_scaled(self.out, [a]),
            [None, ..] => {}
        }
    }
}

#[inline(always)]
fn add_scaled<T: Float, const N: usize>(out: &mut [T], rows: [(&[T], T); N]) {
    let rows = rows.map(|(row, factor)| (&row[..out.len()], factor));
    for index in 0..out.len() {
        let mut sum = out[index];
        for (row, factor) in &rows {
            sum += row[index] * *factor;
        }
        out[index] = sum;
    }
}
