//! Several channels of `x` in a group: matrix products of blocks of places that stay in the cache.

mod input;
mod weights;

use std::ops::Range;

use super::{
    product::{Real, Rows},
    shape::Shape,
};
pub(super) use input::input_grad;
pub(super) use weights::weight_grad;

/// Rows of a block: a channel's places in the kernel lie together.
const ROWS: usize = 288;
/// Places in a block.
const PLACES: usize = 256;
/// Tasks that a gradient is cut into where its channels are few: then batches, too, are divided.
const TASKS: usize = 16;

/// Channels of `x` in a block, and blocks, of equal size or nearly.
fn blocks_of_channels(shape: &Shape) -> (usize, usize) {
    let channels = (ROWS / shape.taps()).clamp(1, shape.each_in);
    let blocks = shape.each_in.div_ceil(channels);
    (shape.each_in.div_ceil(blocks), blocks)
}

/// The gradients of a group at these places of the batch, `[M / groups, places]`; copied to `joined` where they are of several images.
fn at_places<'a, T: Real>(
    shape: &Shape,
    group: usize,
    grad: &'a [T],
    places: Range<usize>,
    joined: &'a mut Vec<T>,
) -> Rows<'a, T> {
    let (height, count) = (shape.each_out, shape.count());
    let plane = |image: usize| &grad[(image * shape.groups + group) * height * count..][..height * count];
    let image = places.start / count;
    if places.end <= (image + 1) * count {
        let values = &plane(image)[places.start - image * count..];
        return Rows { values, count: height, length: places.len(), stride: count };
    }
    joined.clear();
    for row in 0..height {
        for (image, part) in by_image(places.clone(), count) {
            joined.extend_from_slice(&plane(image)[row * count..][part]);
        }
    }
    Rows { values: joined, count: height, length: places.len(), stride: places.len() }
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
