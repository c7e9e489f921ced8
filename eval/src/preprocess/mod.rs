//! Image files to model inputs: the recipe as data, and the code that follows it.

mod image;
mod recipe;

pub use image::{Preprocessor, decode};
pub use recipe::{Color, Interpolation, Layout, Number, Orientation, Origin, Pad, Patch, Preset, Recipe, Resize, Size};
