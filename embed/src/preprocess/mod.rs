//! Image files to model inputs: the recipe as data, and the code that follows it.

mod align;
mod boxes;
mod corrupt;
mod frames;
mod gif;
mod image;
mod jpeg;
mod origin;
mod patch;
mod preset;
mod profile;
mod recipe;
mod resample;
mod traits;
mod values;
mod warp;

pub use align::{Landmarks, TEMPLATE};
pub use boxes::Boxes;
pub use corrupt::{Corruption, Kind};
pub use image::{Preprocessor, Steps, decode};
pub use origin::Origin;
pub use patch::Patch;
pub use preset::Preset;
pub use recipe::{MAX_PIXELS, Recipe};
pub use traits::Traits;
pub use values::{Color, Interpolation, Layout, Number, Orientation, Pad, Resize, Size};
pub use warp::warped;
