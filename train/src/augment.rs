//! Random changes of images in training, each off unless asked for. What is drawn depends on seed, epoch and image alone.

use clap::Args;
use image::imageops::flip_horizontal_in_place;
use image::{Rgb, RgbImage};
use imageproc::geometric_transformations::{Border, Interpolation, Projection, warp_into};
use pdloss_embed::preprocess::{Preprocessor, Size};
use pdloss_embed::{Error, Result};
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// What may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Augmentation (off unless given)")]
pub(crate) struct Augment {
    /// Instead of resize, crop and pad: a random part of at least this share of the area, sides 3:4 to 4:3
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) random_crop: Option<f64>,
    /// Mirror every second image
    #[arg(long)]
    pub(crate) flip: bool,
    /// Turn by up to this many degrees, either way
    #[arg(long, default_value_t = 0.0, value_name = "DEGREES")]
    pub(crate) rotate: f64,
    /// Shift by up to this share of the sides
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) translate: f64,
    /// Scale by 1 - this to 1 + this
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) zoom: f64,
    /// Shear by up to this many degrees
    #[arg(long, default_value_t = 0.0, value_name = "DEGREES")]
    pub(crate) shear: f64,
}

impl Augment {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub(crate) fn check(&self) -> Result<()> {
        let ranges = [
            ("--random-crop", self.random_crop.unwrap_or(1.0), f64::MIN_POSITIVE, 1.0, "a share above 0 and up to 1"),
            ("--rotate", self.rotate, 0.0, 180.0, "0 to 180 degrees"),
            ("--translate", self.translate, 0.0, 1.0, "a share from 0 to 1"),
            ("--zoom", self.zoom, 0.0, 0.9, "a share from 0 to 0.9"),
            ("--shear", self.shear, 0.0, 60.0, "0 to 60 degrees"),
        ];
        match ranges.into_iter().find(|(_, value, low, high, _)| !(low..=high).contains(&value)) {
            Some((flag, value, .., wanted)) => Err(Error::Usage(format!("{flag} {value}: wanted {wanted}"))),
            None => Ok(()),
        }
    }

    /// Whether the whole image is needed, before resize and crop.
    pub(crate) fn takes_whole_images(&self) -> bool {
        self.random_crop.is_some()
    }

    /// A changed copy of an image, `size` large. `image` is whole where [`Augment::takes_whole_images`], else of that size.
    ///
    /// # Errors
    /// [`Error::Image`] where it cannot be resampled.
    pub(crate) fn apply(
        &self,
        random: &mut Pcg64,
        name: &str,
        image: &RgbImage,
        (size, fill): (Size, Rgb<u8>),
        preprocessor: &mut Preprocessor,
    ) -> Result<RgbImage> {
        let mut image = match self.random_crop {
            Some(least) => preprocessor.resample(name, image, random_part(random, image.dimensions(), least), size)?,
            None => image.clone(),
        };
        if let Some(way) = self.way(random, image.dimensions()) {
            let mut moved = RgbImage::new(image.width(), image.height());
            warp_into(&image, way, Interpolation::Bilinear, Border::Constant(fill), &mut moved);
            image = moved;
        }
        if self.flip && random.random::<bool>() {
            flip_horizontal_in_place(&mut image);
        }
        Ok(image)
    }

    /// Shear, scale and turn about the middle, then shift.
    #[allow(clippy::cast_possible_truncation)] // pixels
    fn way(&self, random: &mut Pcg64, (width, height): (u32, u32)) -> Option<Projection> {
        if [self.rotate, self.translate, self.zoom, self.shear].iter().all(|&most| most == 0.0) {
            return None;
        }
        let mut within = |most: f64| most * (2.0 * random.random::<f64>() - 1.0);
        let (angle, shear) = (within(self.rotate).to_radians(), within(self.shear).to_radians());
        let scale = 1.0 + within(self.zoom);
        let (dx, dy) = (within(self.translate) * f64::from(width), within(self.translate) * f64::from(height));
        let (x, y) = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
        let sheared = Projection::from_matrix([1.0, shear.tan() as f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])?;
        Some(
            Projection::translate(-x as f32, -y as f32)
                .and_then(sheared)
                .and_then(Projection::scale(scale as f32, scale as f32))
                .and_then(Projection::rotate(angle as f32))
                .and_then(Projection::translate((x + dx) as f32, (y + dy) as f32)),
        )
    }
}

/// Left, top, width and height of a random part of at least `least` of the area.
///
/// Area and logarithm of the ratio of the sides are uniform (Szegedy et al. 2015). A part that does not fit is drawn
/// again, ten times; then the whole image is taken.
fn random_part(random: &mut Pcg64, (width, height): (u32, u32), least: f64) -> [f64; 4] {
    let (width, height) = (f64::from(width), f64::from(height));
    let between = |random: &mut Pcg64, low: f64, high: f64| low + (high - low) * random.random::<f64>();
    for _ in 0..10 {
        let area = width * height * between(random, least, 1.0);
        let ratio = between(random, -(4.0_f64 / 3.0).ln(), (4.0_f64 / 3.0).ln()).exp();
        let (across, down) = ((area * ratio).sqrt(), (area / ratio).sqrt());
        if across <= width && down <= height {
            return [between(random, 0.0, width - across), between(random, 0.0, height - down), across, down];
        }
    }
    [0.0, 0.0, width, height]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use pdloss_embed::preprocess::{Layout, Recipe};

    const SIZE: Size = Size { width: 32, height: 24 };
    const FILL: Rgb<u8> = Rgb([9, 9, 9]);

    /// A bright square on black, off the middle.
    fn image() -> RgbImage {
        RgbImage::from_fn(32, 24, |x, y| Rgb([if (4..10).contains(&x) && (4..10).contains(&y) { 200 } else { 0 }; 3]))
    }

    fn apply(augment: &Augment, place: u64) -> RgbImage {
        let mut preprocessor = Preprocessor::new(&Recipe::default(), Layout::Nchw);
        let mut random = stream(5, Purpose::Augment, [0, place, 0]);
        augment.apply(&mut random, "image", &image(), (SIZE, FILL), &mut preprocessor).unwrap()
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        assert_eq!(apply(&Augment::default(), 0), image());
    }

    #[test]
    fn every_second_image_is_mirrored() {
        let mut mirror = image();
        flip_horizontal_in_place(&mut mirror);
        let augment = Augment { flip: true, ..Augment::default() };
        let results: Vec<RgbImage> = (0..200).map(|place| apply(&augment, place)).collect();
        assert!(results.iter().all(|r| *r == mirror || *r == image()));
        let mirrored = results.iter().filter(|r| **r == mirror).count();
        assert!((70..130).contains(&mirrored), "{mirrored} of 200");
    }

    #[test]
    fn the_same_place_gives_the_same_image_and_another_place_another() {
        let augment = Augment { random_crop: Some(0.3), flip: true, rotate: 20.0, zoom: 0.2, ..Augment::default() };
        assert_eq!(apply(&augment, 7), apply(&augment, 7));
        assert_ne!(apply(&augment, 7), apply(&augment, 8));
        assert_eq!(apply(&augment, 7).dimensions(), (32, 24));
    }

    #[test]
    fn parts_lie_inside_and_are_as_large_as_asked() {
        let mut random = stream(1, Purpose::Augment, [0; 3]);
        for _ in 0..1000 {
            let [left, top, across, down] = random_part(&mut random, (60, 40), 0.25);
            assert!(left >= 0.0 && top >= 0.0 && left + across <= 60.0 + 1e-9 && top + down <= 40.0 + 1e-9);
            let (area, ratio) = (across * down / 2400.0, across / down);
            assert!((0.25 - 1e-9..=1.0 + 1e-9).contains(&area), "{area}");
            assert!((0.74..1.34).contains(&ratio) || area == 1.0, "{ratio}");
        }
    }

    /// Where the brightness is, in pixels from the left upper corner.
    fn centre(image: &RgbImage) -> (f64, f64) {
        let (mut x, mut y, mut sum) = (0.0, 0.0, 0.0);
        for (at_x, at_y, pixel) in image.enumerate_pixels().filter(|(_, _, p)| p[0] > 20) {
            let weight = f64::from(pixel[0]);
            x += weight * f64::from(at_x);
            y += weight * f64::from(at_y);
            sum += weight;
        }
        (x / sum, y / sum)
    }

    #[test]
    fn shifts_turns_and_scales_stay_within_their_bounds() {
        let (x, y) = centre(&image());
        let (from_x, from_y) = (x - 15.5, y - 11.5);
        let shift = Augment { translate: 0.1, ..Augment::default() };
        let zoom = Augment { zoom: 0.2, ..Augment::default() };
        let turn = Augment { rotate: 15.0, ..Augment::default() };
        let (mut furthest, mut widest, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        for place in 0..60 {
            let (u, v) = centre(&apply(&shift, place));
            furthest = furthest.max((u - x).abs());
            assert!((u - x).abs() < 3.4 && (v - y).abs() < 2.6, "shift {} {}", u - x, v - y);
            let (u, v) = centre(&apply(&zoom, place));
            let scale = (u - 15.5).hypot(v - 11.5) / from_x.hypot(from_y);
            widest = widest.max((scale - 1.0).abs());
            assert!((0.77..1.23).contains(&scale), "scale {scale}");
            let (u, v) = centre(&apply(&turn, place));
            let angle = ((v - 11.5).atan2(u - 15.5) - from_y.atan2(from_x)).to_degrees();
            let angle = (angle + 540.0) % 360.0 - 180.0;
            most = most.max(angle.abs());
            assert!(angle.abs() < 17.0, "angle {angle}");
        }
        assert!(furthest > 2.0 && widest > 0.1 && most > 8.0, "{furthest} {widest} {most}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let nothing = Augment::default();
        assert!(nothing.check().is_ok());
        let refused = |augment: Augment| augment.check().unwrap_err().to_string();
        assert!(refused(Augment { random_crop: Some(0.0), ..nothing.clone() }).contains("--random-crop 0"));
        assert!(refused(Augment { rotate: f64::NAN, ..nothing.clone() }).contains("--rotate NaN"));
        assert!(refused(Augment { zoom: 1.5, ..nothing.clone() }).contains("--zoom 1.5"));
    }
}
