//! The convolution and the gradient of its input: products of the kernels' form with the tiles', channels in front and behind.

use std::{mem::MaybeUninit, ops::Range};

use pdloss::loss::Executor;

use super::{
    CHANNELS, ELEMENTS, TASKS, TILES, kernels, parts_of,
    tiles::{Gathered, Images, Part, Tiles},
};
use crate::{
    convolution::{
        product::{Real, Rows},
        shape::Shape,
    },
    cpu,
};

/// What is made of images and kernels.
struct Made<'a, T> {
    batch: usize,
    channels: usize,
    lengths: [usize; 2],
    /// `[M, C, 3, 3]`.
    weights: &'a [T],
    /// Whether its channels are `C`, and kernels are turned round.
    is_backwards: bool,
    bias: Option<&'a [T]>,
}

/// `y = conv(x, W) + bias`.
pub(in crate::convolution) fn forward<T: Real>(
    shape: &Shape,
    (x, weights): (&[T], &[T]),
    bias: Option<&[T]>,
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let images = Images { values: x, channels: shape.each_in, lengths: shape.lengths };
    let (batch, channels, lengths) = (shape.batch, shape.each_out, shape.places);
    let made = Made { batch, channels, lengths, weights, is_backwards: false, bias };
    correlate(images, shape.window.begin, &made, out, threads);
}

/// The gradient of the input, as `x`.
pub(in crate::convolution) fn input_grad<T: Real>(
    shape: &Shape,
    (grad, weights): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let images = Images { values: grad, channels: shape.each_out, lengths: shape.places };
    let (batch, channels, lengths) = (shape.batch, shape.each_in, shape.lengths);
    let made = Made { batch, channels, lengths, weights, is_backwards: true, bias: None };
    correlate(images, shape.window.begin.map(|begin| 2 - begin), &made, out, threads);
}

/// Some channels of what is made, of some rows of tiles.
struct Task<'a, T> {
    rows: Range<usize>,
    channels: Range<usize>,
    /// Where each row of each channel goes: image by image, channel by channel.
    pieces: Vec<&'a mut [MaybeUninit<T>]>,
}

fn correlate<T: Real>(
    images: Images<'_, T>,
    begin: [usize; 2],
    made: &Made<'_, T>,
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let tiles = Tiles::of(made.batch, made.lengths);
    let columns = if made.is_backwards { made.channels } else { images.channels };
    let form = kernels::form(made.weights, columns, made.is_backwards, threads);
    let blocks = tiles.blocks(TILES);
    // Parts of the channels meet the same tiles, whose form each of them makes.
    let parts = TASKS.div_ceil(blocks.clone().count()).min(made.channels.div_ceil(CHANNELS));
    let of_channels = parts_of(made.channels, made.channels.div_ceil(parts));
    let parts = of_channels.clone().count();
    let mut tasks: Vec<Task<'_, T>> = blocks
        .flat_map(|rows| {
            let task = move |channels| Task { rows: rows.clone(), channels, pieces: Vec::new() };
            of_channels.clone().map(task)
        })
        .collect();
    let (rows, each) = (tasks[0].rows.len(), tasks[0].channels.len());
    for (plane, values) in out.chunks_mut(made.lengths[0] * made.lengths[1]).enumerate() {
        let (image, channel) = (plane / made.channels, plane % made.channels);
        for (row, piece) in values.chunks_mut(2 * made.lengths[1]).enumerate() {
            let block = (image * tiles.rows + row) / rows;
            tasks[block * parts + channel / each].pieces.push(piece);
        }
    }
    cpu::each(threads, tasks.into_iter(), |_, Task { rows, channels, pieces }| {
        let part = Part { images, tiles, rows: (rows.start, rows.end) };
        let (count, height) = (part.count(), channels.len());
        let mut products = vec![T::zero(); ELEMENTS * height * count];
        let mut met = Vec::new();
        for these in parts_of(images.channels, CHANNELS) {
            part.met(begin, these.clone(), &mut met);
            for (element, products) in products.chunks_exact_mut(height * count).enumerate() {
                let right = Rows {
                    values: &met[element * count..],
                    count: these.len(),
                    length: count,
                    stride: ELEMENTS * count,
                };
                let stride = ELEMENTS * columns;
                if made.is_backwards {
                    let values = &form[these.start * stride + element * columns + channels.start..];
                    T::add_product_of_columns(
                        products,
                        Rows { values, count: these.len(), length: height, stride },
                        right,
                    );
                } else {
                    let values = &form[channels.start * stride + element * columns + these.start..];
                    T::add_product_of_rows(
                        products,
                        Rows { values, count: height, length: these.len(), stride },
                        right,
                    );
                }
            }
        }
        let mut pieces = pieces.into_iter();
        let mut first = rows.start;
        while first < rows.end {
            let end = ((first / tiles.rows + 1) * tiles.rows).min(rows.end);
            for (index, channel) in channels.clone().enumerate() {
                let bias = made.bias.map_or(T::zero(), |bias| bias[channel]);
                for (row, out) in (first..end).zip(pieces.by_ref()) {
                    let products = &products[index * count + (row - rows.start) * tiles.columns..];
                    let (apart, places) = (height * count, made.lengths[1]);
                    pulp::Arch::new().dispatch(Gathered { products, apart, places, bias, out });
                }
            }
            first = end;
        }
    });
}
