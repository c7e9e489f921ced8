//! The gradient of the weights: for a block of places the elements of `x` that their windows meet are copied side by side, as many as
//! stay in the cache, and multiplied with the gradients at those places.

use std::{mem::MaybeUninit, ops::Range, sync::Mutex};

use pdloss::loss::Executor;

use super::{PLACES, TASKS, at_places, blocks_of_channels, stretches_of};
use crate::{
    convolution::{
        product::{Real, Rows},
        shape::Shape,
    },
    cpu,
};

/// Numbers that the sums of all parts of the batch may take.
const SUMS: usize = 1 << 20;

/// Channels of `y`, and places of a kernel, that are turned round together: as many numbers as a line of the cache has.
const TILE: usize = 16;

/// Channels of `y` in a group from which on the library multiplies as fast with the gradients on the left; fewer are packed sooner on the
/// right.
const MANY: usize = 128;

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
        let (channels, blocks) = blocks_of_channels(shape);
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
pub(in crate::convolution) fn weight_grad<T: Real>(
    shape: &Shape,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let plan = Plan::of(shape);
    if plan.parts == 1 && shape.each_out >= MANY {
        return of_one_part(shape, &plan, (grad, x), out, threads);
    }
    let tasks: Vec<_> = plan.tasks(shape).into_iter().map(|task| (task, Mutex::new(Vec::new()))).collect();
    threads.run(tasks.len(), &|index| {
        let (task, sums) = &tasks[index];
        if let Ok(mut sums) = sums.lock() {
            *sums = sums_of(shape, task, (grad, x));
        }
    });
    let sums: Vec<Vec<T>> = tasks.into_iter().map(|(_, sums)| sums.into_inner().unwrap_or_default()).collect();
    let (row, width) = (shape.each_in * shape.taps(), plan.channels * shape.taps());
    let bands = out.chunks_mut(shape.each_out * row).enumerate().flat_map(|(group, out)| {
        out.chunks_mut(TILE * row).enumerate().map(move |(band, out)| (group, band * TILE, out))
    });
    cpu::each(threads, bands, |_, (group, first, out)| {
        let height = out.len() / row;
        let mut tile = [[T::zero(); TILE]; TILE];
        for block in 0..plan.blocks {
            let sums = &sums[(group * plan.blocks + block) * plan.parts..][..plan.parts];
            let columns = block * width..((block + 1) * width).min(row);
            if shape.each_out >= MANY {
                for (index, out) in out.chunks_mut(row).enumerate() {
                    let of_row = (first + index) * columns.len()..(first + index + 1) * columns.len();
                    let total = out[columns.clone()].write_copy_of_slice(&sums[0][of_row.clone()]);
                    // Part by part, whoever was first.
                    for sums in &sums[1..] {
                        total.iter_mut().zip(&sums[of_row.clone()]).for_each(|(total, &sum)| *total += sum);
                    }
                }
                continue;
            }
            for start in columns.clone().step_by(TILE) {
                let count = TILE.min(columns.end - start);
                for (place, tile) in tile[..count].iter_mut().enumerate() {
                    let from = (start - columns.start + place) * shape.each_out + first;
                    // Part by part, whoever was first.
                    tile.fill(T::zero());
                    for sums in sums {
                        tile.iter_mut().zip(&sums[from..][..height]).for_each(|(total, &sum)| *total += sum);
                    }
                }
                for (index, out) in out.chunks_mut(row).enumerate() {
                    for (out, tile) in out[start..][..count].iter_mut().zip(&tile) {
                        out.write(tile[index]);
                    }
                }
            }
        }
    });
}

/// Where the batch is not divided, and nothing is turned round: sums go where they belong as soon as they are made, and their memory
/// serves the next block.
fn of_one_part<T: Real>(
    shape: &Shape,
    plan: &Plan,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let row = shape.each_in * shape.taps();
    let mut tasks: Vec<_> = plan.tasks(shape).into_iter().map(|task| (task, Vec::new())).collect();
    for (group, out) in out.chunks_mut(shape.each_out * row).enumerate() {
        for out in out.chunks_mut(row) {
            for (block, piece) in out.chunks_mut(plan.channels * shape.taps()).enumerate() {
                tasks[group * plan.blocks + block].1.push(piece);
            }
        }
    }
    cpu::each(threads, tasks.into_iter(), |_, (task, pieces)| {
        let sums = sums_of(shape, &task, (grad, x));
        for (piece, sums) in pieces.into_iter().zip(sums.chunks(task.channels.len() * shape.taps())) {
            piece.write_copy_of_slice(sums);
        }
    });
}

/// `[M / groups, channels kernel]` where the former are many, else turned round.
fn sums_of<T: Real>(shape: &Shape, task: &Task, (grad, x): (&[T], &[T])) -> Vec<T> {
    let count = shape.count();
    let width = task.channels.len() * shape.taps();
    let mut sums = vec![T::zero(); shape.each_out * width];
    let (mut copies, mut joined) = (Vec::new(), Vec::new());
    for start in task.places.clone().step_by(PLACES) {
        let places = start..(start + PLACES).min(task.places.end);
        let image = start / count;
        let is_one_image = places.end <= (image + 1) * count;
        let grads = at_places(shape, task.group, grad, places.clone(), &mut joined);
        let area = shape.area();
        let first = task.group * shape.each_in + task.channels.start;
        let image_of = |image: usize| &x[(image * shape.groups * shape.each_in + first) * area..];
        let met = if is_one_image && shape.is_pointwise() {
            Rows { values: &image_of(image)[start - image * count..], count: width, length: places.len(), stride: area }
        } else {
            copy_windows(shape, &image_of, task.channels.len(), places.clone(), &mut copies);
            Rows { values: &copies, count: width, length: places.len(), stride: places.len() }
        };
        if shape.each_out >= MANY {
            T::add_product(&mut sums, grads, met);
        } else {
            T::add_product(&mut sums, met, grads);
        }
    }
    sums
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
    copies.resize(channels * taps * length, T::zero());
    let stride = shape.window.strides[1];
    let mut stretches = Vec::new();
    for tap in 0..taps {
        stretches_of(shape, tap, places.clone(), &mut stretches);
        for channel in 0..channels {
            let row = &mut copies[(channel * taps + tap) * length..][..length];
            let mut end = 0;
            for stretch in &stretches {
                let plane = &image_of(stretch.image)[channel * area..][..area];
                row[end..stretch.to].fill(T::zero());
                end = stretch.to + stretch.length;
                let out = &mut row[stretch.to..end];
                let from = &plane[stretch.from..][..(stretch.length - 1) * stride + 1];
                match stride {
                    1 => out.copy_from_slice(from),
                    // A number that is known, so that several are copied at once.
                    2 => {
                        let (twos, last) = from.as_chunks::<2>();
                        out.iter_mut().zip(twos).for_each(|(out, two)| *out = two[0]);
                        out[twos.len()..].copy_from_slice(last);
                    }
                    _ => out.iter_mut().zip(from.iter().step_by(stride)).for_each(|(out, &value)| *out = value),
                }
            }
            row[end..].fill(T::zero());
        }
    }
}
