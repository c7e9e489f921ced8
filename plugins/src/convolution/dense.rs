//! Several channels of `x` in a group: matrix products. For a block of places the elements of `x` that their windows meet are
//! copied side by side, as many as stay in the cache, and multiplied with the gradients at those places.

use std::{mem::MaybeUninit, ops::Range, sync::Mutex};

use pdloss::loss::Executor;

use super::{
    product::{Real, Rows},
    shape::Shape,
};

/// Rows of copies in a block: a channel's places in the kernel lie together.
const ROWS: usize = 288;
/// Places in a block.
const PLACES: usize = 256;
/// Tasks that a gradient is cut into where its channels are few: then batches, too, are divided.
const TASKS: usize = 16;
/// Numbers that the sums of all parts of the batch may take.
const SUMS: usize = 1 << 20;

/// Some channels of a group, over a part of the places of the batch.
struct Task {
    group: usize,
    channels: Range<usize>,
    places: Range<usize>,
}

/// How the work is cut up, by shapes alone.
struct Plan {
    /// Channels of `x` in a block.
    channels: usize,
    blocks: usize,
    /// Parts of the batch.
    parts: usize,
    /// Places in a part.
    part: usize,
}

impl Plan {
    fn of(shape: &Shape) -> Self {
        let channels = (ROWS / shape.taps()).clamp(1, shape.each_in);
        let blocks = shape.each_in.div_ceil(channels);
        // Of equal size, or nearly.
        let channels = shape.each_in.div_ceil(blocks);
        let all = shape.batch * shape.count();
        let size = shape.groups * shape.each_out * shape.each_in * shape.taps();
        let parts = TASKS.div_ceil(shape.groups * blocks).min(SUMS / size.max(1)).min(all.div_ceil(2 * PLACES)).max(1);
        let part = all.div_ceil(parts).next_multiple_of(PLACES).max(PLACES);
        Self { channels, blocks, parts: all.div_ceil(part), part }
    }

    /// The tasks, those of a block together.
    fn tasks(&self, shape: &Shape) -> Vec<Task> {
        let all = shape.batch * shape.count();
        let mut tasks = Vec::with_capacity(shape.groups * self.blocks * self.parts);
        for group in 0..shape.groups {
            for block in 0..self.blocks {
                let start = block * self.channels;
                let channels = start..(start + self.channels).min(shape.each_in);
                tasks.extend((0..self.parts).map(|part| {
                    let start = part * self.part;
                    Task { group, channels: channels.clone(), places: start..(start + self.part).min(all) }
                }));
            }
        }
        tasks
    }
}

/// The gradient of the weights, `[M, C / groups, kernel...]`.
pub(super) fn weight_grad<T: Real>(
    shape: &Shape,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let plan = Plan::of(shape);
    let tasks: Vec<_> = plan.tasks(shape).into_iter().map(|task| (task, Mutex::new(Vec::new()))).collect();
    threads.run(tasks.len(), &|index| {
        let (task, sums) = &tasks[index];
        if let Ok(mut sums) = sums.lock() {
            *sums = sums_of(shape, task, (grad, x));
        }
    });
    let sums: Vec<Vec<T>> = tasks.into_iter().map(|(_, sums)| sums.into_inner().unwrap_or_default()).collect();
    let (row, width) = (shape.each_in * shape.taps(), plan.channels * shape.taps());
    for (index, out) in out.chunks_mut(row).enumerate() {
        let (group, index) = (index / shape.each_out, index % shape.each_out);
        for (block, out) in out.chunks_mut(width).enumerate() {
            let first = (group * plan.blocks + block) * plan.parts;
            let width = out.len();
            // Part by part, whoever was first.
            for (place, out) in out.iter_mut().enumerate() {
                let parts = sums[first..first + plan.parts].iter().map(|sums| sums[index * width + place]);
                out.write(parts.fold(T::zero(), |total, sum| total + sum));
            }
        }
    }
}

/// `[M / groups, channels kernel]`
fn sums_of<T: Real>(shape: &Shape, task: &Task, (grad, x): (&[T], &[T])) -> Vec<T> {
    let (height, count) = (shape.each_out, shape.count());
    let width = task.channels.len() * shape.taps();
    let mut sums = vec![T::zero(); height * width];
    let (mut copies, mut grads) = (Vec::new(), Vec::new());
    for start in task.places.clone().step_by(PLACES) {
        let places = start..(start + PLACES).min(task.places.end);
        let image = start / count;
        let is_one_image = places.end <= (image + 1) * count;
        let plane = |image: usize| &grad[(image * shape.groups + task.group) * height * count..][..height * count];
        let left = if is_one_image {
            Rows { values: &plane(image)[start - image * count..], count: height, length: places.len(), stride: count }
        } else {
            grads.clear();
            for row in 0..height {
                for (image, part) in by_image(places.clone(), count) {
                    grads.extend_from_slice(&plane(image)[row * count..][part]);
                }
            }
            Rows { values: &grads, count: height, length: places.len(), stride: places.len() }
        };
        let area = shape.area();
        let first = task.group * shape.each_in + task.channels.start;
        let image_of = |image: usize| &x[(image * shape.groups * shape.each_in + first) * area..];
        let right = if is_one_image && shape.is_pointwise() {
            Rows { values: &image_of(image)[start - image * count..], count: width, length: places.len(), stride: area }
        } else {
            copy_windows(shape, &image_of, task.channels.len(), places.clone(), &mut copies);
            Rows { values: &copies, count: width, length: places.len(), stride: places.len() }
        };
        T::add_product(&mut sums, left, right);
    }
    sums
}

/// Places of the batch as places of images.
fn by_image(places: Range<usize>, count: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let images = places.start / count..places.end.div_ceil(count);
    images.map(move |image| {
        let first = image * count;
        (image, places.start.max(first) - first..places.end.min(first + count) - first)
    })
}

/// A stretch of places along a row of an image, and of the elements that they meet.
struct Stretch {
    /// Which image of the batch.
    image: usize,
    /// Its first element in the image.
    from: usize,
    /// Its first place in the block.
    to: usize,
    length: usize,
}

/// For each channel and place in the kernel a row of what it meets at these places of the batch.
fn copy_windows<'a, T: Real>(
    shape: &Shape,
    image_of: &dyn Fn(usize) -> &'a [T],
    channels: usize,
    places: Range<usize>,
    copies: &mut Vec<T>,
) {
    let (length, taps, area) = (places.len(), shape.taps(), shape.area());
    copies.clear();
    copies.resize(channels * taps * length, T::zero());
    let stride = shape.window.strides[1];
    let mut stretches = Vec::new();
    for tap in 0..taps {
        stretches_of(shape, tap, places.clone(), &mut stretches);
        for channel in 0..channels {
            let out = &mut copies[(channel * taps + tap) * length..][..length];
            for stretch in &stretches {
                let plane = &image_of(stretch.image)[channel * area..][..area];
                let out = &mut out[stretch.to..][..stretch.length];
                let from = &plane[stretch.from..][..(stretch.length - 1) * stride + 1];
                if stride == 1 {
                    out.copy_from_slice(from);
                } else {
                    out.iter_mut().zip(from.iter().step_by(stride)).for_each(|(out, &value)| *out = value);
                }
            }
        }
    }
}

/// What a place in the kernel meets of the images at these places of the batch; the rest is zeros.
fn stretches_of(shape: &Shape, tap: usize, places: Range<usize>, stretches: &mut Vec<Stretch>) {
    stretches.clear();
    let [_, columns] = shape.places;
    let (row, column) = (tap / shape.window.kernel[1], tap % shape.window.kernel[1]);
    for (image, part) in by_image(places.clone(), shape.count()) {
        for line in part.start / columns..part.end.div_ceil(columns) {
            let first = line * columns;
            let (inside, from_row) = shape.inside(0, row, line..line + 1);
            let along = part.start.max(first) - first..part.end.min(first + columns) - first;
            let (along, from) = shape.inside(1, column, along);
            if !inside.is_empty() && !along.is_empty() {
                let to = image * shape.count() + first + along.start - places.start;
                stretches.push(Stretch { image, from: from_row * shape.lengths[1] + from, to, length: along.len() });
            }
        }
    }
}
