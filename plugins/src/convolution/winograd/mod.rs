//! Kernels of three by three places that move by one, by Winograd's algorithm F(2 x 2, 3 x 3) (Lavin and Gray, arXiv:1509.09308): tiles
//! of two by two places take 16 products a pair of channels instead of 36. With elements of `x` under a tile, four by four, `d`, kernels
//! `w`, gradients of a tile `g`, and `.` for the product of elements:
//!
//! - `y = A' [(G w G') . (B' d B)] A`, the convolution and, with the kernels turned round, the gradient of its input;
//! - `dw = G' [sum over tiles of (A g A') . (B' d B)] G`.
//!
//! Each of the 16 elements is a matrix product over channels or tiles, of blocks that stay in a core's cache from the images to the places:
//! what one core makes and another one reads costs more than it saves. Work is cut up by shapes alone.

mod kernels;
mod places;
mod tiles;
mod weights;

use std::ops::Range;

use super::shape::Shape;
pub(super) use places::{forward, input_grad};
pub(super) use weights::weight_grad;

/// Elements of a tile as it is multiplied.
const ELEMENTS: usize = 16;
/// Channels of either side from which on fewer products save more than the tiles' form costs.
const FEWEST: usize = 32;
/// Places of an image from which on rows of tiles are long enough: seven by seven fill three quarters of theirs.
const FEWEST_PLACES: usize = 100;
/// Tiles from which on they also save more than the kernels' form costs.
const FEWEST_TILES: usize = 256;
/// Tiles that are multiplied together, nearly, and channels of either side.
const TILES: usize = 64;
const CHANNELS: usize = 64;
/// Tasks that a gradient is cut into where its channels, or its tiles, are few.
const TASKS: usize = 16;

/// Channels in parts as equal as can be.
fn parts_of(channels: usize, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let part = channels.div_ceil(channels.div_ceil(most));
    (0..channels).step_by(part).map(move |first| first..(first + part).min(channels))
}

/// Whether the gradients of a convolution are sooner made so.
pub(super) fn suits(shape: &Shape) -> bool {
    let window = &shape.window;
    window.kernel == [3, 3]
        && window.strides == [1, 1]
        && window.dilations == [1, 1]
        // The gradient of the input has the rest of two as its padding.
        && window.begin.iter().all(|&begin| begin <= 2)
        && shape.groups == 1
        && shape.each_in.min(shape.each_out) >= FEWEST
        && shape.count() >= FEWEST_PLACES
        && shape.batch * shape.places.iter().map(|places| places.div_ceil(2)).product::<usize>() >= FEWEST_TILES
}
