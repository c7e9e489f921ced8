//! One image through a [`Recipe`]: decode, turn, recolour, resample, crop, pad, normalise.

use std::io::Cursor;
use std::sync::Arc;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::align::Landmarks;
use super::jpeg;
use super::recipe::{MAX_PIXELS, Recipe, check_pixels};
use super::resample::resample;
use super::values::{Color, Layout, Orientation, Pad, Size};
use crate::error::{Error, Result};

/// Applies one recipe to many images.
#[derive(Debug)]
pub struct Preprocessor {
    recipe: Recipe,
    layout: Layout,
    /// For each channel of the model's input, the value of each of the 256 pixel values.
    tables: Vec<[f32; 256]>,
    steps: Steps,
}

/// Steps beside the recipe, which the command and not the model asks for.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Turn faces upright by their landmarks before anything else.
    pub align: Option<Arc<Landmarks>>,
    /// Mirror the prepared image.
    pub mirror: bool,
}

impl Preprocessor {
    /// A preprocessor of this recipe, writing in this layout.
    #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
    pub fn new(recipe: &Recipe, layout: Layout) -> Self {
        let channels = recipe.color.channels();
        let of = |values: &[f64], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        let table = |channel: usize| {
            let (mean, std) = (of(&recipe.mean, channel), of(&recipe.std, channel));
            std::array::from_fn(|pixel| ((pixel as f64 * recipe.scale - mean) / std) as f32)
        };
        Self { recipe: recipe.clone(), layout, tables: (0..channels).map(table).collect(), steps: Steps::default() }
    }

    /// The same with steps beside the recipe.
    #[must_use]
    pub fn with(mut self, steps: &Steps) -> Self {
        self.steps = steps.clone();
        self
    }

    /// Runs the bytes of one image file through the recipe and appends the values to `out`; returns the size reached.
    ///
    /// # Errors
    /// [`Error::Image`] naming the image: empty, truncated, unknown format, too small for the crop, too large for the pad.
    pub fn append(&self, name: &str, bytes: &[u8], out: &mut Vec<f32>) -> Result<Size> {
        let image = self.pixels(name, bytes)?;
        self.normalise(&image, out);
        Ok(Size { width: image.width(), height: image.height() })
    }

    /// The image as it is before its values are scaled.
    ///
    /// # Errors
    /// As [`Preprocessor::append`].
    pub fn pixels(&self, name: &str, bytes: &[u8]) -> Result<RgbImage> {
        let image = self.decode(name, bytes)?;
        let image = match &self.steps.align {
            Some(landmarks) => landmarks.align(name, &image)?,
            None => image,
        };
        let image = self.resize(name, image)?;
        let image = match self.recipe.crop {
            Some(size) => centre_crop(name, &image, size)?,
            None => image,
        };
        let mut image = match self.recipe.pad {
            Some(pad) => paste(name, &image, pad, &self.recipe.fill)?,
            None => image,
        };
        if self.steps.mirror {
            image::imageops::flip_horizontal_in_place(&mut image);
        }
        Ok(image)
    }

    /// The image as it is in its file, turned as the recipe says.
    ///
    /// # Errors
    /// [`Error::Image`] naming the image.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<RgbImage> {
        decode_within(name, bytes, self.recipe.orientation, self.recipe.max_pixels)
    }

    fn resize(&self, name: &str, image: RgbImage) -> Result<RgbImage> {
        let (width, height) = image.dimensions();
        let Some((across, down)) = self.recipe.resize.target(width, height) else { return Ok(image) };
        let size = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
        let target = Size { width: size(across), height: size(down) };
        if (target.width, target.height) == (width, height) {
            return Ok(image);
        }
        self.resample(name, &image, [0.0, 0.0, f64::from(width), f64::from(height)], target)
    }

    /// A region of an image (left, top, width and height in pixels), resampled to a size by the recipe's filter.
    ///
    /// # Errors
    /// [`Error::Image`] where the region is empty or leaves the image, or the size has too many pixels.
    pub fn resample(&self, name: &str, image: &RgbImage, region: [f64; 4], target: Size) -> Result<RgbImage> {
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        let [left, top, across, down] = region;
        // Rounding may leave the image by less than any pixel.
        let (right, bottom) = (left + across, top + down);
        let inside = left >= 0.0 && top >= 0.0 && right <= width + 1e-3 && bottom <= height + 1e-3;
        if !(inside && across > 0.0 && down > 0.0) {
            return Err(Error::image(
                name,
                format!("is {width}x{height}; its part {across}x{down}+{left}+{top} is empty or leaves it"),
            ));
        }
        // Between its passes the image may have the new width and the old height.
        let pixels = u64::from(target.width) * u64::from(target.height.max(image.height()));
        if pixels > self.recipe.max_pixels {
            return Err(Error::image(
                name,
                format!(
                    "is {width}x{height}; resizing it to {target} takes {pixels} pixels, more than --max-pixels {}",
                    self.recipe.max_pixels
                ),
            ));
        }
        let region = [left, top, right.min(width), bottom.min(height)];
        Ok(resample(image, region, target, self.recipe.interpolation, self.recipe.antialias))
    }

    /// Appends an image's values, scaled and in the layout, to `out`.
    pub fn normalise(&self, image: &RgbImage, out: &mut Vec<f32>) {
        let pixels = image.as_raw().chunks_exact(3);
        // Position in the RGB pixel of each channel of the model's input.
        let order: &[usize] = match self.recipe.color {
            Color::Rgb => &[0, 1, 2],
            Color::Bgr => &[2, 1, 0],
            Color::Gray => {
                let table = &self.tables[0];
                out.extend(pixels.map(|p| table[usize::from(luma(p))]));
                return;
            }
        };
        match self.layout {
            Layout::Nchw => {
                for (table, &at) in self.tables.iter().zip(order) {
                    out.extend(pixels.clone().map(|p| table[usize::from(p[at])]));
                }
            }
            Layout::Nhwc => {
                let values = |p: &[u8]| std::array::from_fn::<f32, 3, _>(|c| self.tables[c][usize::from(p[order[c]])]);
                out.extend(pixels.flat_map(values));
            }
        }
    }
}

/// ITU-R 601 luma in Pillow's fixed-point rounding.
fn luma(p: &[u8]) -> u8 {
    let sum = u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 0x8000;
    u8::try_from(sum >> 16).unwrap_or(u8::MAX)
}

/// Decodes an image of any supported kind to 8-bit RGB: grey is repeated, 16 bits are scaled to 8, alpha is dropped.
///
/// # Errors
/// [`Error::Image`] naming the image; also for one of more than [`MAX_PIXELS`].
pub fn decode(name: &str, bytes: &[u8], orientation: Orientation) -> Result<RgbImage> {
    decode_within(name, bytes, orientation, MAX_PIXELS)
}

/// [`decode`], with another limit. Nothing is allocated for an image whose header asks for more.
fn decode_within(name: &str, bytes: &[u8], orientation: Orientation, max_pixels: u64) -> Result<RgbImage> {
    if bytes.is_empty() {
        return Err(Error::image(name, "the file is empty (0 bytes)"));
    }
    let wrong = |e: image::ImageError| Error::image(name, format!("cannot be decoded: {e}"));
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::image(name, format!("cannot be read: {e}")))?;
    let Some(format) = reader.format() else {
        return Err(Error::image(name, "is none of JPEG, PNG, BMP, GIF, WebP, TIFF, PNM"));
    };
    let (mut image, turn) = if format == image::ImageFormat::Jpeg {
        let (image, turn) = jpeg::decode(bytes, max_pixels).map_err(|problem| Error::image(name, problem))?;
        (DynamicImage::from(image), turn)
    } else {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(max_pixels.saturating_mul(WIDEST_PIXEL));
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(wrong)?;
        let (width, height) = decoder.dimensions();
        check_pixels(width.into(), height.into(), max_pixels).map_err(|problem| Error::image(name, problem))?;
        let turn = decoder.orientation().map_err(wrong)?;
        (DynamicImage::from_decoder(decoder).map_err(wrong)?, turn)
    };
    if orientation == Orientation::Exif {
        image.apply_orientation(turn);
    }
    Ok(image.into_rgb8())
}

/// Bytes of a pixel in the widest format that is decoded: four channels of 32 bits.
const WIDEST_PIXEL: u64 = 16;

fn centre_crop(name: &str, image: &RgbImage, size: Size) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    if width < size.width || height < size.height {
        return Err(Error::image(
            name,
            format!("is {width}x{height} when it is to be cropped to {size}; resize it first"),
        ));
    }
    // Half of an odd margin is rounded to even, as torchvision's centre crop does.
    let middle = |have: u32, want: u32| {
        let margin = have - want;
        margin / 2 + u32::from(margin % 4 == 3)
    };
    let (left, top) = (middle(width, size.width), middle(height, size.height));
    Ok(image::imageops::crop_imm(image, left, top, size.width, size.height).to_image())
}

fn paste(name: &str, image: &RgbImage, pad: Pad, fill: &[u8]) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    let size = pad.size;
    let (left, top) = pad.at.unwrap_or((size.width.saturating_sub(width) / 2, size.height.saturating_sub(height) / 2));
    let fits = |at: u32, side: u32, canvas: u32| at.checked_add(side).is_some_and(|end| end <= canvas);
    if !fits(left, width, size.width) || !fits(top, height, size.height) {
        return Err(Error::image(name, format!("is {width}x{height}, which does not fit on a canvas of {pad}")));
    }
    let color = if let [r, g, b] = *fill { [r, g, b] } else { [fill[0]; 3] };
    let mut canvas = RgbImage::from_pixel(size.width, size.height, image::Rgb(color));
    image::imageops::replace(&mut canvas, image, i64::from(left), i64::from(top));
    Ok(canvas)
}
