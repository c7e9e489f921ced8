//! Corruptions of images, to see what figures are worth on worse ones: kinds and the five severities of ImageNet-C (Hendrycks and
//! Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"), made on the image as the model
//! gets it, resized and cropped, as theirs are. A pixel is three numbers `x` from 0 to 1; what leaves that range is held in it.
//!
//! | kind | what it does | severities 1 to 5 |
//! |---|---|---|
//! | `gaussian-noise` | `x + n`, `n` normal of this deviation, each number by itself | 0.08 0.12 0.18 0.26 0.38 |
//! | `impulse-noise` | this share of the numbers becomes 0 or 1, each as often | 0.03 0.06 0.09 0.17 0.27 |
//! | `gaussian-blur` | a Gaussian of this deviation in pixels | 1 2 3 4 6 |
//! | `brightness` | HSV's value plus this | 0.1 0.2 0.3 0.4 0.5 |
//! | `contrast` | `m + c (x - m)`, `m` the mean of the image's channel | 0.4 0.3 0.2 0.1 0.05 |
//! | `pixelate` | shrunk to this share of its sides by means, and back by the nearest | 0.6 0.5 0.4 0.3 0.25 |
//! | `jpeg` | through JPEG of this quality, 4:2:0 | 25 18 15 10 7 |
//!
//! What is drawn depends on the seed, the kind, the severity and the image's name alone.

use std::fmt;

use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::jpeg;
use super::recipe::MAX_PIXELS;
use super::resample::resample;
use super::values::{Interpolation, Size};
use crate::error::{Error, Result};

/// A kind of corruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Kind {
    /// Normal noise
    GaussianNoise,
    /// Single numbers become 0 or 1
    ImpulseNoise,
    /// A Gaussian blur
    GaussianBlur,
    /// Brighter
    Brightness,
    /// Less contrast
    Contrast,
    /// Fewer, larger pixels
    Pixelate,
    /// JPEG of low quality
    Jpeg,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::GaussianNoise,
        Self::ImpulseNoise,
        Self::GaussianBlur,
        Self::Brightness,
        Self::Contrast,
        Self::Pixelate,
        Self::Jpeg,
    ];

    /// What the severities mean, from 1 to 5.
    fn amounts(self) -> [f64; 5] {
        match self {
            Self::GaussianNoise => [0.08, 0.12, 0.18, 0.26, 0.38],
            Self::ImpulseNoise => [0.03, 0.06, 0.09, 0.17, 0.27],
            Self::GaussianBlur => [1.0, 2.0, 3.0, 4.0, 6.0],
            Self::Brightness => [0.1, 0.2, 0.3, 0.4, 0.5],
            Self::Contrast => [0.4, 0.3, 0.2, 0.1, 0.05],
            Self::Pixelate => [0.6, 0.5, 0.4, 0.3, 0.25],
            Self::Jpeg => [25.0, 18.0, 15.0, 10.0, 7.0],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GaussianNoise => "gaussian-noise",
            Self::ImpulseNoise => "impulse-noise",
            Self::GaussianBlur => "gaussian-blur",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Pixelate => "pixelate",
            Self::Jpeg => "jpeg",
        })
    }
}

/// A corruption of a severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Its kind.
    pub kind: Kind,
    /// 1 to 5; what is beyond is taken for the nearest of them.
    pub severity: u8,
    /// Of what is drawn.
    pub seed: u64,
}

impl Corruption {
    /// A corrupted copy of the image, of the same size.
    ///
    /// # Errors
    /// [`Error::Image`] where it cannot be compressed or resampled.
    pub fn apply(&self, name: &str, image: &RgbImage) -> Result<RgbImage> {
        let amount = self.kind.amounts()[usize::from(self.severity.clamp(1, 5)) - 1];
        Ok(match self.kind {
            Kind::GaussianNoise => {
                let mut normal = Normal::new(self.random(name));
                changed(image, |_, value| value + amount * normal.draw())
            }
            Kind::ImpulseNoise => {
                let mut random = self.random(name);
                changed(image, |_, value| match random.random::<f64>() {
                    drawn if drawn < amount / 2.0 => 0.0,
                    drawn if drawn < amount => 1.0,
                    _ => value,
                })
            }
            Kind::GaussianBlur => blurred(image, amount),
            Kind::Brightness => brighter(image, amount),
            Kind::Contrast => {
                let count = f64::from(image.width()) * f64::from(image.height());
                let mean = |channel: usize| image.pixels().map(|pixel| number(pixel.0[channel])).sum::<f64>() / count;
                let means = [0, 1, 2].map(mean);
                changed(image, |channel, value| means[channel] + amount * (value - means[channel]))
            }
            Kind::Pixelate => pixelated(image, amount),
            Kind::Jpeg => compressed(image, amount).map_err(|problem| Error::image(name, problem))?,
        })
    }

    fn random(&self, name: &str) -> Pcg64 {
        let words = format!("{} {} {} {name}", self.seed, self.kind, self.severity);
        Pcg64::from_seed(Sha256::digest(words.as_bytes()).into())
    }
}

/// Numbers of a normal distribution, two at a time (Box and Muller).
struct Normal {
    random: Pcg64,
    other: Option<f64>,
}

impl Normal {
    fn new(random: Pcg64) -> Self {
        Self { random, other: None }
    }

    fn draw(&mut self) -> f64 {
        if let Some(other) = self.other.take() {
            return other;
        }
        let length = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.random.random::<f64>()).sin_cos();
        self.other = Some(length * sin);
        length * cos
    }
}

fn number(byte: u8) -> f64 {
    f64::from(byte) / 255.0
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
fn byte(number: f64) -> u8 {
    (number.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Every number by itself, with its channel.
fn changed(image: &RgbImage, mut change: impl FnMut(usize, f64) -> f64) -> RgbImage {
    let mut image = image.clone();
    for pixel in image.pixels_mut() {
        for (channel, value) in pixel.0.iter_mut().enumerate() {
            *value = byte(change(channel, number(*value)));
        }
    }
    image
}

/// Of HSV the value is the greatest of the three; hue and saturation stay as they are where all three grow by one factor.
fn brighter(image: &RgbImage, by: f64) -> RgbImage {
    let mut image = image.clone();
    for pixel in image.pixels_mut() {
        let rgb = pixel.0.map(number);
        let value = rgb.into_iter().fold(0.0, f64::max);
        let wanted = (value + by).min(1.0);
        let scaled = if value > 0.0 { rgb.map(|number| number * wanted / value) } else { [wanted; 3] };
        *pixel = Rgb(scaled.map(byte));
    }
    image
}

/// A Gaussian of so many pixels' deviation, up to four of it, as ImageNet-C's is; beyond the edges are their own pixels. (The crate `image`
/// cuts it off at two.)
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a few pixels
fn blurred(image: &RgbImage, deviation: f64) -> RgbImage {
    let radius = (4.0 * deviation + 0.5) as i64;
    let weights: Vec<f64> = (-radius..=radius).map(|at| (-0.5 * (at as f64 / deviation).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let (width, height) = image.dimensions();
    // Along one axis, then along the other; numbers are rounded once, behind both.
    let along = |values: &[[f64; 3]], (columns, rows): (u32, u32), step: &dyn Fn(i64, i64, i64) -> (i64, i64)| {
        let at = |column: i64, row: i64| {
            let (column, row) = (column.clamp(0, i64::from(columns) - 1), row.clamp(0, i64::from(rows) - 1));
            values[(row * i64::from(columns) + column) as usize]
        };
        let places = (0..i64::from(rows)).flat_map(|row| (0..i64::from(columns)).map(move |column| (column, row)));
        let pixel = |(column, row): (i64, i64)| {
            let mut total = [0.0; 3];
            for (by, weight) in (-radius..=radius).zip(&weights) {
                let (column, row) = step(column, row, by);
                total.iter_mut().zip(at(column, row)).for_each(|(total, value)| *total += weight * value);
            }
            total.map(|total| total / sum)
        };
        places.map(pixel).collect::<Vec<_>>()
    };
    let values: Vec<[f64; 3]> = image.pixels().map(|pixel| pixel.0.map(number)).collect();
    let values = along(&values, (width, height), &|column, row, by| (column + by, row));
    let values = along(&values, (width, height), &|column, row, by| (column, row + by));
    let mut blurred = image.clone();
    blurred.pixels_mut().zip(values).for_each(|(pixel, value)| *pixel = Rgb(value.map(byte)));
    blurred
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // less than the sides
fn pixelated(image: &RgbImage, share: f64) -> RgbImage {
    let (width, height) = image.dimensions();
    let small = |side: u32| ((f64::from(side) * share) as u32).max(1);
    let whole = |image: &RgbImage| [0.0, 0.0, f64::from(image.width()), f64::from(image.height())];
    let size = Size { width: small(width), height: small(height) };
    let shrunk = resample(image, whole(image), size, Interpolation::Box, true);
    resample(&shrunk, whole(&shrunk), Size { width, height }, Interpolation::Nearest, true)
}

fn compressed(image: &RgbImage, quality: f64) -> std::result::Result<RgbImage, String> {
    let wrong = |e: turbojpeg::Error| format!("cannot be compressed: {e}");
    let mut compressor = Compressor::new().map_err(wrong)?;
    #[allow(clippy::cast_possible_truncation)] // whole numbers up to 100
    compressor.set_quality(quality as i32).map_err(wrong)?;
    compressor.set_subsamp(Subsamp::Sub2x2).map_err(wrong)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = Image { pixels: image.as_raw().as_slice(), width, pitch: 3 * width, height, format: PixelFormat::RGB };
    let bytes = compressor.compress_to_vec(pixels).map_err(wrong)?;
    jpeg::decode(&bytes, MAX_PIXELS).map(|(image, _)| image)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // small numbers
mod tests {
    use super::*;

    fn corrupted(kind: Kind, severity: u8, image: &RgbImage) -> RgbImage {
        Corruption { kind, severity, seed: 1 }.apply("a.jpg", image).unwrap()
    }

    fn pictured() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, ((x * y) % 251) as u8]))
    }

    fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
        let squares = a.as_raw().iter().zip(b.as_raw()).map(|(&a, &b)| (number(a) - number(b)).powi(2));
        (squares.sum::<f64>() / a.as_raw().len() as f64).sqrt()
    }

    /// A line of one pixel gives the Gaussian itself: `exp(-x^2 / 2) / sum` at severity 1, rounded; scipy's `gaussian_filter` with
    /// `truncate=4` and `mode='nearest'`, which skimage has, is the same.
    #[test]
    fn a_blur_is_a_gaussian_of_four_deviations() {
        let line = RgbImage::from_fn(21, 5, |x, _| Rgb([if x == 10 { 255 } else { 0 }; 3]));
        let found = corrupted(Kind::GaussianBlur, 1, &line);
        let wanted = |x: u32| match x.abs_diff(10) {
            0 => 102,
            1 => 62,
            2 => 14,
            3 => 1,
            _ => 0,
        };
        for (x, _, pixel) in found.enumerate_pixels() {
            assert_eq!(pixel.0, [wanted(x); 3], "{x}");
        }
        // Beyond an edge are its own pixels.
        let white = RgbImage::from_pixel(4, 3, Rgb([200, 7, 255]));
        assert_eq!(corrupted(Kind::GaussianBlur, 5, &white), white);
    }

    #[test]
    fn every_kind_keeps_the_size_repeats_and_grows_with_severity() {
        let image = pictured();
        for kind in Kind::ALL {
            let found: Vec<RgbImage> = (1..=5).map(|severity| corrupted(kind, severity, &image)).collect();
            let apart: Vec<f64> = found.iter().map(|found| difference(&image, found)).collect();
            assert!(found.iter().all(|found| found.dimensions() == (40, 30)), "{kind}");
            // Where pixels that were shrunk come to lie goes up and down with the share of the sides.
            let grows = kind == Kind::Pixelate || apart.windows(2).all(|two| two[0] < two[1]);
            assert!(apart[0] > 0.005 && apart[0] < apart[4] && grows, "{kind}: {apart:?}");
            assert_eq!(corrupted(kind, 3, &image), found[2], "{kind}");
        }
        let noise = |name: &str, seed: u64| {
            Corruption { kind: Kind::GaussianNoise, severity: 1, seed }.apply(name, &image).unwrap()
        };
        assert_ne!(noise("a.jpg", 1), noise("b.jpg", 1));
        assert_ne!(noise("a.jpg", 1), noise("a.jpg", 2));
    }

    #[test]
    fn pixels_are_what_the_formulas_say() {
        let mut image = RgbImage::from_pixel(2, 1, Rgb([51, 102, 204]));
        image.put_pixel(1, 0, Rgb([0, 0, 0]));
        // V = 0.8: 0.2, 0.4, 0.8 times 1.1 / 0.8, but V ends at 1; black becomes grey
        let brighter = corrupted(Kind::Brightness, 3, &image);
        assert_eq!((brighter.get_pixel(0, 0).0, brighter.get_pixel(1, 0).0), ([64, 128, 255], [77, 77, 77]));
        // means 25.5, 51 and 102: to 0.4 of the way from there
        let faint = corrupted(Kind::Contrast, 1, &image);
        assert_eq!((faint.get_pixel(0, 0).0, faint.get_pixel(1, 0).0), ([36, 71, 143], [15, 31, 61]));
        // eight columns to two, the first the mean of four: (0 + 20 + 40 + 60) / 4
        let ramp = RgbImage::from_fn(8, 1, |x, _| Rgb([(x * 20) as u8; 3]));
        let pixelated = corrupted(Kind::Pixelate, 4, &ramp);
        let row: Vec<u8> = pixelated.pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(row, [30, 30, 30, 30, 110, 110, 110, 110]);
    }

    #[test]
    fn noise_has_the_spread_and_the_share_that_it_should() {
        let grey = RgbImage::from_pixel(200, 200, Rgb([128; 3]));
        let count = 3.0 * 40_000.0;
        let noisy = corrupted(Kind::GaussianNoise, 1, &grey);
        let mean = noisy.as_raw().iter().map(|&value| number(value)).sum::<f64>() / count;
        assert!((mean - 128.0 / 255.0).abs() < 0.001, "{mean}");
        assert!((difference(&grey, &noisy) - 0.08).abs() < 0.001, "{}", difference(&grey, &noisy));
        let impulses = corrupted(Kind::ImpulseNoise, 5, &grey);
        let share = |value: u8| impulses.as_raw().iter().filter(|&&found| found == value).count() as f64 / count;
        assert!((share(0) - 0.135).abs() < 0.004 && (share(255) - 0.135).abs() < 0.004, "{} {}", share(0), share(255));
    }
}
