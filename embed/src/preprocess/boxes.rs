//! The part of an image that is looked at, where a list names one.

use std::collections::HashMap;

use image::RgbImage;
use image::imageops::crop_imm;

use crate::error::{Error, Result};

/// Left, top, right and bottom of a part, in pixels, by the name of the image; images without one are taken whole.
#[derive(Clone, Debug, Default)]
pub struct Boxes(HashMap<String, [f64; 4]>);

impl Boxes {
    /// Of these images.
    pub fn new(of: impl IntoIterator<Item = (String, [f64; 4])>) -> Self {
        Self(of.into_iter().collect())
    }

    /// The part of the image; sides are rounded to whole pixels and end with the image.
    ///
    /// # Errors
    /// [`Error::Image`] where nothing of the image is in it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // held within the image before
    pub fn crop(&self, name: &str, image: RgbImage) -> Result<RgbImage> {
        let Some(sides) = self.0.get(name) else { return Ok(image) };
        let within = |side: f64, most: u32| side.round_ties_even().clamp(0.0, f64::from(most)) as u32;
        let (width, height) = image.dimensions();
        let [left, top, right, bottom] = sides;
        let (left, right) = (within(*left, width), within(*right, width));
        let (top, bottom) = (within(*top, height), within(*bottom, height));
        if left >= right || top >= bottom {
            let problem = format!("has {width} x {height} pixels, none of which is in its part {sides:?}");
            return Err(Error::image(name, problem));
        }
        Ok(crop_imm(&image, left, top, right - left, bottom - top).to_image())
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // small numbers
mod tests {
    use super::*;

    #[test]
    fn the_part_is_cut_out_and_others_stay_whole() {
        let image = RgbImage::from_fn(6, 4, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let boxes = Boxes::new([("a".into(), [1.4, 0.6, 4.5, 9.0]), ("b".into(), [7.0, 0.0, 9.0, 2.0])]);
        let part = boxes.crop("a", image.clone()).unwrap();
        assert_eq!(part.dimensions(), (3, 3), "4.5 is rounded to the even 4");
        assert_eq!((part.get_pixel(0, 0).0, part.get_pixel(2, 2).0), ([1, 1, 0], [3, 3, 0]));
        assert_eq!(boxes.crop("c", image.clone()).unwrap().dimensions(), (6, 4));
        assert!(boxes.crop("b", image).unwrap_err().to_string().contains("b: has 6 x 4 pixels"));
    }
}
