//! Image files to model inputs: the recipe as data, and the code that follows it.

mod align;
mod image;
mod jpeg;
mod recipe;
mod resample;

pub use align::{Landmarks, TEMPLATE};
pub use image::{Preprocessor, Steps, decode};
pub use recipe::{
    Color, Interpolation, Layout, MAX_PIXELS, Number, Orientation, Origin, Pad, Patch, Preset, Recipe, Resize, Size,
};
