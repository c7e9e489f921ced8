//! The gradient of the weights: sums over tiles of products of the gradients' form with the images'.

use std::{
    mem::MaybeUninit,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use pdloss::loss::Executor;

use super::{
    CHANNELS, ELEMENTS, TASKS, TILES, kernels, parts_of,
    tiles::{Images, Part, Tiles},
};
use crate::convolution::{
    product::{Real, Rows},
    shape::Shape,
};

/// Numbers that the sums of all parts of the batch may take.
const SUMS: usize = 1 << 20;

/// Some channels of each side, over some rows of tiles.
struct Task<T> {
    made: Range<usize>,
    met: Range<usize>,
    rows: Range<usize>,
    sums: Mutex<Vec<T>>,
}

/// The gradient of the weights, `[M, C, 3, 3]`.
pub(in crate::convolution) fn weight_grad<T: Real>(
    shape: &Shape,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let tiles = Tiles::of(shape.batch, shape.places);
    let [made, met] = [shape.each_out, shape.each_in].map(|channels| parts_of(channels, CHANNELS));
    let pairs = made.clone().count() * met.clone().count();
    // Where channels are few the batch is divided.
    let parts = TASKS.div_ceil(pairs).min(SUMS / out.len().max(1)).max(1);
    let of_tiles = tiles.blocks((tiles.all * tiles.columns).div_ceil(parts).next_multiple_of(TILES));
    let mut tasks = Vec::new();
    for made in made {
        for met in met.clone() {
            let task = |rows| Task { made: made.clone(), met: met.clone(), rows, sums: Mutex::new(Vec::new()) };
            tasks.extend(of_tiles.clone().map(task));
        }
    }
    threads.run(tasks.len(), &|index| {
        let task = &tasks[index];
        let sums = sums_of(shape, tiles, task, (grad, x));
        *task.sums.lock().unwrap_or_else(PoisonError::into_inner) = sums;
    });
    let parts = of_tiles.count();
    for tasks in tasks.chunks_mut(parts) {
        let Some((task, rest)) = tasks.split_first_mut() else { continue };
        let total = task.sums.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Part by part, whoever was first.
        for other in rest {
            let sums = other.sums.get_mut().unwrap_or_else(PoisonError::into_inner);
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += *sum);
        }
        let width = task.met.len() * kernels::PLACES;
        for (made, sums) in task.made.clone().zip(total.chunks_exact(width)) {
            out[(made * shape.each_in + task.met.start) * kernels::PLACES..][..width].write_copy_of_slice(sums);
        }
    }
}

/// `[M, C, 3, 3]` of the channels of a task.
fn sums_of<T: Real>(shape: &Shape, tiles: Tiles, task: &Task<T>, (grad, x): (&[T], &[T])) -> Vec<T> {
    let images = Images { values: x, channels: shape.each_in, lengths: shape.lengths };
    let grads = Images { values: grad, channels: shape.each_out, lengths: shape.places };
    let (height, width) = (task.made.len(), task.met.len());
    let mut sums = vec![T::zero(); ELEMENTS * height * width];
    let (mut met, mut spread) = (Vec::new(), Vec::new());
    let step = (TILES / tiles.columns).max(1);
    for first in task.rows.clone().step_by(step) {
        let rows = (first, (first + step).min(task.rows.end));
        let part = Part { images, tiles, rows };
        let count = part.count();
        part.met(shape.window.begin, task.met.clone(), &mut met);
        Part { images: grads, tiles, rows }.spread(task.made.clone(), &mut spread);
        let stride = ELEMENTS * count;
        for (element, sums) in sums.chunks_exact_mut(height * width).enumerate() {
            let left = Rows { values: &spread[element * count..], count: height, length: count, stride };
            let right = Rows { values: &met[element * count..], count: width, length: count, stride };
            T::add_product(sums, left, right);
        }
    }
    kernels::gradients(&sums, width)
}
