//! The gradient of the input: for a block of places the weights times the gradients there, a row for each channel and place in the
//! kernel, which are added where the windows meet the images.

use std::{mem::MaybeUninit, ops::Range};

use pdloss::loss::Executor;

use super::{PLACES, Stretch, TASKS, at_places, blocks_of_channels, stretches_of};
use crate::{
    convolution::{
        product::{Real, Rows},
        shape::Shape,
    },
    cpu,
};

/// Some channels of a group, of some images.
struct Task<'a, T> {
    group: usize,
    channels: Range<usize>,
    images: Range<usize>,
    /// Their planes, image by image.
    planes: Vec<&'a mut [MaybeUninit<T>]>,
}

/// The gradient of the input, as `x`.
pub(in crate::convolution) fn input_grad<T: Real>(
    shape: &Shape,
    (grad, weights): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let (channels, blocks) = blocks_of_channels(shape);
    // Images whose places make up a block, and how many such a task has.
    let round = (PLACES / shape.count()).max(1);
    let parts = TASKS.div_ceil(shape.groups * blocks).min(shape.batch.div_ceil(round));
    let images = shape.batch.div_ceil(parts).next_multiple_of(round);
    let parts = shape.batch.div_ceil(images);
    let mut tasks = Vec::with_capacity(shape.groups * blocks * parts);
    for group in 0..shape.groups {
        for block in 0..blocks {
            let channels = block * channels..((block + 1) * channels).min(shape.each_in);
            tasks.extend((0..parts).map(|part| {
                let images = part * images..((part + 1) * images).min(shape.batch);
                Task { group, channels: channels.clone(), images, planes: Vec::new() }
            }));
        }
    }
    for (index, plane) in out.chunks_mut(shape.area()).enumerate() {
        let (image, channel) = (index / (shape.groups * shape.each_in), index % (shape.groups * shape.each_in));
        let (group, block) = (channel / shape.each_in, channel % shape.each_in / channels);
        tasks[(group * blocks + block) * parts + image / images].planes.push(plane);
    }
    cpu::each(threads, tasks.into_iter(), |_, task| of_task(shape, round, task, (grad, weights)));
}

fn of_task<T: Real>(shape: &Shape, round: usize, task: Task<'_, T>, (grad, weights): (&[T], &[T])) {
    let (count, taps, area) = (shape.count(), shape.taps(), shape.area());
    let (channels, row) = (task.channels.len(), shape.each_in * taps);
    let weights = &weights[task.group * shape.each_out * row + task.channels.start * taps..];
    let weights = Rows { values: weights, count: shape.each_out, length: channels * taps, stride: row };
    let mut planes = task.planes.into_iter();
    let (mut parts, mut joined, mut stretches) = (Vec::new(), Vec::new(), Vec::new());
    let mut sums = vec![T::zero(); round * channels * area];
    let arch = pulp::Arch::new();
    for first in task.images.clone().step_by(round) {
        let images = first..(first + round).min(task.images.end);
        sums.fill(T::zero());
        for start in (images.start * count..images.end * count).step_by(PLACES) {
            let places = start..(start + PLACES).min(images.end * count);
            let grads = at_places(shape, task.group, grad, places.clone(), &mut joined);
            parts.resize(channels * taps * places.len(), T::zero());
            T::product_of_columns(&mut parts, weights, grads);
            for tap in 0..taps {
                stretches_of(shape, tap, places.clone(), &mut stretches);
                for channel in 0..channels {
                    arch.dispatch(Added {
                        parts: &parts[(channel * taps + tap) * places.len()..][..places.len()],
                        stretches: &stretches,
                        stride: shape.window.strides[1],
                        sums: &mut sums[channel * area..],
                        // From an image's plane to the next one's.
                        apart: channels * area,
                        first,
                        area,
                    });
                }
            }
        }
        for (sums, plane) in sums.chunks(area).zip(planes.by_ref().take(images.len() * channels)) {
            plane.write_copy_of_slice(sums);
        }
    }
}

/// What a channel's places in the kernel give, added where it belongs.
struct Added<'a, T> {
    parts: &'a [T],
    stretches: &'a [Stretch],
    stride: usize,
    sums: &'a mut [T],
    apart: usize,
    first: usize,
    area: usize,
}

impl<T: Real> pulp::WithSimd for Added<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for stretch in self.stretches {
            let plane = &mut self.sums[(stretch.image - self.first) * self.apart..][..self.area];
            let sums = &mut plane[stretch.from..][..(stretch.length - 1) * self.stride + 1];
            let parts = &self.parts[stretch.to..][..stretch.length];
            if self.stride == 1 {
                sums.iter_mut().zip(parts).for_each(|(sum, &part)| *sum += part);
            } else {
                sums.iter_mut().step_by(self.stride).zip(parts).for_each(|(sum, &part)| *sum += part);
            }
        }
    }
}
