//! Random changes of images in training, each off unless asked for. What is drawn depends on seed, epoch and image alone.

use clap::Args;
use image::imageops::{blur, flip_horizontal_in_place};
use image::{Rgb, RgbImage};
use imageproc::geometric_transformations::Projection;
use pdloss_embed::preprocess::{Preprocessor, Size, warped};
use pdloss_embed::{Error, Result};
use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::color::Change;
use crate::rand_augment;

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
    /// Brightness, contrast and saturation times 1 - this to 1 + this, hue turned by up to this share of the circle, in random
    /// order: 0.4,0.4,0.4,0.1
    #[arg(long, value_delimiter = ',', value_name = "B,C,S,H")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) color_jitter: Vec<f64>,
    /// Share of the images that become grey
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) grey: f64,
    /// Share of the images that are blurred, by a Gaussian of 0.1 to 2 pixels
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) blur: f64,
    /// RandAugment: N changes out of fourteen, one after the other, each of magnitude M from 0 to 30: 2,9
    #[arg(long, value_delimiter = ',', value_name = "N,M")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rand_augment: Vec<u32>,
    /// Share of the images in which a rectangle of 0.02 to 0.33 of the area becomes as what lies beyond an image's edge
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) erase: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_zero(share: &f64) -> bool {
    *share == 0.0
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
            ("--grey", self.grey, 0.0, 1.0, "a share from 0 to 1"),
            ("--blur", self.blur, 0.0, 1.0, "a share from 0 to 1"),
            ("--erase", self.erase, 0.0, 1.0, "a share from 0 to 1"),
        ];
        match self.color_jitter.as_slice() {
            [] => {}
            [b, c, s, h] if [b, c, s].iter().all(|most| (0.0..=1.0).contains(*most)) && (0.0..=0.5).contains(h) => {}
            given => {
                let given: Vec<String> = given.iter().map(ToString::to_string).collect();
                return Err(Error::Usage(format!(
                    "--color-jitter {}: wanted four numbers, brightness, contrast and saturation from 0 to 1, hue from 0 to 0.5",
                    given.join(",")
                )));
            }
        }
        match self.rand_augment.as_slice() {
            [] => {}
            [count, magnitude] if (1..=14).contains(count) && *magnitude <= rand_augment::MOST => {}
            given => {
                let given: Vec<String> = given.iter().map(ToString::to_string).collect();
                return Err(Error::Usage(format!(
                    "--rand-augment {}: wanted two numbers, how many changes, 1 to 14, and their magnitude, 0 to {}",
                    given.join(","),
                    rand_augment::MOST
                )));
            }
        }
        match ranges.into_iter().find(|(_, value, low, high, _)| !(low..=high).contains(&value)) {
            Some((flag, value, .., wanted)) => Err(Error::Usage(format!("{flag} {value}: wanted {wanted}"))),
            None => Ok(()),
        }
    }

    /// Refuses changes of colours that images without colours do not have.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub(crate) fn refuse_colors(&self) -> Result<()> {
        let of_colors = self.color_jitter.get(2..).is_some_and(|most| most.iter().any(|most| *most > 0.0));
        let flag = if of_colors { "--color-jitter, saturation and hue" } else { "--grey" };
        if of_colors || self.grey > 0.0 {
            return Err(Error::Usage(format!("{flag}: changes nothing here, the model takes images of one channel")));
        }
        Ok(())
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
            image = warped(&image, way, image.dimensions(), fill);
        }
        if self.flip && random.random::<bool>() {
            flip_horizontal_in_place(&mut image);
        }
        if let [count, magnitude] = self.rand_augment[..] {
            rand_augment::apply(random, &mut image, (count, magnitude), fill);
        }
        self.recolor(random, &mut image);
        if self.blur > 0.0 && random.random::<f64>() < self.blur {
            image = blur(&image, 0.1 + 1.9 * random.random::<f32>());
        }
        if self.erase > 0.0 && random.random::<f64>() < self.erase {
            erase(random, &mut image, fill);
        }
        Ok(image)
    }

    /// Colour jitter and grey. A change that is asked for with 0 draws its number and its place, too.
    fn recolor(&self, random: &mut Pcg64, image: &mut RgbImage) {
        if let [brightness, contrast, saturation, hue] = self.color_jitter[..] {
            let mut within = |most: f64| most * (2.0 * random.random::<f64>() - 1.0);
            let mut changes = [
                Change::Brightness(1.0 + within(brightness)),
                Change::Contrast(1.0 + within(contrast)),
                Change::Saturation(1.0 + within(saturation)),
                Change::Hue(within(hue)),
            ];
            // Fisher and Yates's shuffle, written out as that of the sampler.
            for last in (1..changes.len()).rev() {
                changes.swap(last, random.random_range(0..=last));
            }
            changes.iter().for_each(|change| change.apply(image));
        }
        if self.grey > 0.0 && random.random::<f64>() < self.grey {
            Change::Grey.apply(image);
        }
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

/// Fills a random rectangle (Zhong et al. 2020, "Random Erasing Data Augmentation", Algorithm 1): 0.02 to 0.33 of the area, sides
/// 0.3 to 3.3. One that does not fit is drawn again, ten times; then nothing is erased.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels within the image
fn erase(random: &mut Pcg64, image: &mut RgbImage, fill: Rgb<u8>) {
    let (width, height) = image.dimensions();
    let between = |random: &mut Pcg64, low: f64, high: f64| low + (high - low) * random.random::<f64>();
    for _ in 0..10 {
        let area = f64::from(width) * f64::from(height) * between(random, 0.02, 0.33);
        let ratio = between(random, 0.3_f64.ln(), 3.3_f64.ln()).exp();
        let (across, down) = ((area * ratio).sqrt().round() as u32, (area / ratio).sqrt().round() as u32);
        if !(1..width).contains(&across) || !(1..height).contains(&down) {
            continue;
        }
        let (left, top) = (random.random_range(0..=width - across), random.random_range(0..=height - down));
        for (x, y) in (top..top + down).flat_map(|y| (left..left + across).map(move |x| (x, y))) {
            image.put_pixel(x, y, fill);
        }
        return;
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

    /// Whole colours: what is grey, blurred, erased can be seen by itself.
    #[test]
    fn colours_blur_and_erasing_come_as_often_as_asked() {
        let red = RgbImage::from_pixel(32, 24, Rgb([200, 40, 10]));
        let edge = RgbImage::from_fn(32, 24, |x, _| if x < 16 { Rgb([200, 40, 10]) } else { Rgb([0, 0, 250]) });
        let make = |augment: &Augment, image: &RgbImage, place: u64| {
            let mut preprocessor = Preprocessor::new(&Recipe::default(), Layout::Nchw);
            let mut random = stream(5, Purpose::Augment, [0, place, 0]);
            augment.apply(&mut random, "image", image, (SIZE, FILL), &mut preprocessor).unwrap()
        };
        let nothing = Augment::default();
        let grey = Augment { grey: 0.3, ..nothing.clone() };
        let blur = Augment { blur: 0.3, ..nothing.clone() };
        let eraser = Augment { erase: 0.3, ..nothing.clone() };
        let jitter = Augment { color_jitter: vec![0.4, 0.4, 0.4, 0.1], ..nothing };
        let mut counts = [0; 4];
        for place in 0..400 {
            let [a, b, c, d] = [(&grey, &red), (&blur, &edge), (&eraser, &red), (&jitter, &red)]
                .map(|(augment, image)| (make(augment, image, place), image.clone()));
            counts[0] += u32::from(a.0 != a.1);
            assert!(a.0 == a.1 || a.0.pixels().all(|p| p.0 == [84; 3]), "{:?}", a.0.get_pixel(0, 0));
            counts[1] += u32::from(b.0 != b.1);
            assert!(
                [0, 31].iter().all(|&x| b
                    .0
                    .get_pixel(x, 12)
                    .0
                    .iter()
                    .zip(b.1.get_pixel(x, 12).0)
                    .all(|(a, b)| a.abs_diff(b) < 2))
            );
            counts[2] += u32::from(c.0 != c.1);
            let erased: Vec<(u32, u32)> =
                c.0.enumerate_pixels().filter(|(.., p)| **p == FILL).map(|(x, y, _)| (x, y)).collect();
            if c.0 != c.1 {
                let (xs, ys) = (erased.iter().map(|p| p.0), erased.iter().map(|p| p.1));
                let (across, down) = (
                    xs.clone().max().unwrap() - xs.min().unwrap() + 1,
                    ys.clone().max().unwrap() - ys.min().unwrap() + 1,
                );
                assert_eq!(erased.len(), (across * down) as usize, "a rectangle");
                assert!((10..270).contains(&erased.len()), "{}", erased.len());
            }
            counts[3] += u32::from(d.0 != d.1);
            assert_eq!(make(&jitter, &red, place), d.0);
            let value = f64::from(*d.0.get_pixel(0, 0).0.iter().max().unwrap());
            assert!((60.0..=255.0).contains(&value));
        }
        assert!(counts[..3].iter().all(|count| (85..155).contains(count)) && counts[3] > 390, "{counts:?}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let nothing = Augment::default();
        assert!(nothing.check().is_ok());
        let refused = |augment: Augment| augment.check().unwrap_err().to_string();
        assert!(refused(Augment { random_crop: Some(0.0), ..nothing.clone() }).contains("--random-crop 0"));
        assert!(refused(Augment { rotate: f64::NAN, ..nothing.clone() }).contains("--rotate NaN"));
        assert!(refused(Augment { zoom: 1.5, ..nothing.clone() }).contains("--zoom 1.5"));
        assert!(refused(Augment { blur: 1.5, ..nothing.clone() }).contains("--blur 1.5"));
        for given in [vec![0.4], vec![0.4, 0.4, 0.4, 0.6], vec![f64::NAN, 0.0, 0.0, 0.0], vec![0.1; 5]] {
            assert!(refused(Augment { color_jitter: given, ..nothing.clone() }).contains("--color-jitter"));
        }
        let refused =
            |augment: Augment| augment.refuse_colors().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(Augment { grey: 0.1, ..nothing.clone() }).contains("--grey: changes nothing here"));
        assert!(
            refused(Augment { color_jitter: vec![0.0, 0.0, 0.1, 0.0], ..nothing.clone() }).contains("--color-jitter")
        );
        assert_eq!(refused(Augment { color_jitter: vec![0.1, 0.1, 0.0, 0.0], ..nothing.clone() }), "");
    }
}
