//! One image through a [`Recipe`]: decode, turn, recolour, resample, crop, pad, normalise.

use std::io::Cursor;
use std::sync::Arc;

use fast_image_resize as fir;
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

use super::align::Landmarks;
use super::recipe::{Color, Interpolation, Layout, Orientation, Pad, Recipe, Resize, Size};
use crate::error::{Error, Result};

/// Applies one recipe to many images; keeps its buffers. One a thread.
#[derive(Debug)]
pub struct Preprocessor {
    recipe: Recipe,
    layout: Layout,
    resizer: fir::Resizer,
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
        Self {
            recipe: recipe.clone(),
            layout,
            resizer: fir::Resizer::new(),
            tables: (0..channels).map(table).collect(),
            steps: Steps::default(),
        }
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
    pub fn append(&mut self, name: &str, bytes: &[u8], out: &mut Vec<f32>) -> Result<Size> {
        let image = self.pixels(name, bytes)?;
        self.normalise(&image, out);
        Ok(Size { width: image.width(), height: image.height() })
    }

    /// The image as it is before its values are scaled.
    ///
    /// # Errors
    /// As [`Preprocessor::append`].
    pub fn pixels(&mut self, name: &str, bytes: &[u8]) -> Result<RgbImage> {
        let image = decode(name, bytes, self.recipe.orientation)?;
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

    fn resize(&mut self, name: &str, image: RgbImage) -> Result<RgbImage> {
        let (width, height) = image.dimensions();
        let target = match self.recipe.resize {
            Resize::None => return Ok(image),
            Resize::Exact(size) => size,
            Resize::Shorter(side) => {
                let long = |long: u32, short: u32| {
                    u32::try_from(u64::from(side) * u64::from(long) / u64::from(short)).unwrap_or(u32::MAX)
                };
                if width <= height {
                    Size { width: side, height: long(height, width) }
                } else {
                    Size { width: long(width, height), height: side }
                }
            }
        };
        if (target.width, target.height) == (width, height) {
            return Ok(image);
        }
        self.resample(name, &image, [0.0, 0.0, f64::from(width), f64::from(height)], target)
    }

    /// A region of an image (left, top, width and height in pixels), resampled to a size by the recipe's filter.
    ///
    /// # Errors
    /// [`Error::Image`] where the region is empty or leaves the image.
    pub fn resample(&mut self, name: &str, image: &RgbImage, region: [f64; 4], target: Size) -> Result<RgbImage> {
        let (width, height) = image.dimensions();
        let filter = match self.recipe.interpolation {
            Interpolation::Nearest => None,
            Interpolation::Box => Some(fir::FilterType::Box),
            Interpolation::Bilinear => Some(fir::FilterType::Bilinear),
            Interpolation::Hamming => Some(fir::FilterType::Hamming),
            Interpolation::Bicubic => Some(fir::FilterType::CatmullRom),
            Interpolation::Lanczos => Some(fir::FilterType::Lanczos3),
        };
        let algorithm = match filter {
            None => fir::ResizeAlg::Nearest,
            Some(filter) if self.recipe.antialias => fir::ResizeAlg::Convolution(filter),
            Some(filter) => fir::ResizeAlg::Interpolation(filter),
        };
        let wrong = |e: &dyn std::fmt::Display| {
            Error::image(name, format!("cannot be resized from {width}x{height} to {target}: {e}"))
        };
        let source =
            fir::images::ImageRef::new(width, height, image.as_raw(), fir::PixelType::U8x3).map_err(|e| wrong(&e))?;
        let mut resized = fir::images::Image::new(target.width, target.height, fir::PixelType::U8x3);
        let [left, top, across, down] = region;
        let options = fir::ResizeOptions::new().resize_alg(algorithm).crop(left, top, across, down);
        self.resizer.resize(&source, &mut resized, &options).map_err(|e| wrong(&e))?;
        RgbImage::from_raw(target.width, target.height, resized.into_vec())
            .ok_or_else(|| wrong(&"the buffer is too small"))
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
/// [`Error::Image`] naming the image.
pub fn decode(name: &str, bytes: &[u8], orientation: Orientation) -> Result<RgbImage> {
    if bytes.is_empty() {
        return Err(Error::image(name, "the file is empty (0 bytes)"));
    }
    let wrong = |e: image::ImageError| Error::image(name, format!("cannot be decoded: {e}"));
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::image(name, format!("cannot be read: {e}")))?;
    let Some(format) = reader.format() else {
        return Err(Error::image(name, "is none of JPEG, PNG, BMP, GIF, WebP, TIFF, PNM"));
    };
    if format == image::ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(Error::image(name, format!("the JPEG is truncated: no end marker in its {} bytes", bytes.len())));
    }
    let mut decoder = reader.into_decoder().map_err(wrong)?;
    let turn = decoder.orientation().map_err(wrong)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(wrong)?;
    if orientation == Orientation::Exif {
        image.apply_orientation(turn);
    }
    let rgb = image.into_rgb8();
    if rgb.width() == 0 || rgb.height() == 0 {
        return Err(Error::image(name, "has no pixels"));
    }
    Ok(rgb)
}

/// Whether an end-of-image marker follows the first scan. The decoder fills what is missing with grey and says nothing.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments before the scan carry their length; a thumbnail inside one has an end marker of its own.
    while at + 4 <= bytes.len() && bytes[at] == 0xFF {
        let (marker, length) = (bytes[at + 1], usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])));
        match marker {
            0xFF => at += 1,
            0xDA => return bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            _ => at += 2 + length,
        }
    }
    false
}

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
    if left + width > size.width || top + height > size.height {
        return Err(Error::image(name, format!("is {width}x{height}, which does not fit on a canvas of {pad}")));
    }
    let color = if let [r, g, b] = *fill { [r, g, b] } else { [fill[0]; 3] };
    let mut canvas = RgbImage::from_pixel(size.width, size.height, image::Rgb(color));
    image::imageops::replace(&mut canvas, image, i64::from(left), i64::from(top));
    Ok(canvas)
}
