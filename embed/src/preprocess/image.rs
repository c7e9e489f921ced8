//! One image through a [`Recipe`]: decode, turn, recolour, resample, crop, pad, normalise.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Limits, RgbImage};

use super::align::Landmarks;
use super::boxes::Boxes;
use super::corrupt::Corruption;
use super::gif;
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
    /// Look at a part of the image alone.
    pub part: Option<Arc<Boxes>>,
    /// Turn faces upright by their landmarks before anything else.
    pub align: Option<Arc<Landmarks>>,
    /// Mirror the prepared image.
    pub mirror: bool,
    /// Corrupt it.
    pub corruption: Option<Corruption>,
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
        // Until it is resized.
        let turn = is_huge(bytes).then(|| HUGE.lock().unwrap_or_else(PoisonError::into_inner));
        let image = self.decode(name, bytes)?;
        let image = match &self.steps.part {
            Some(boxes) => boxes.crop(name, image)?,
            None => image,
        };
        let image = match &self.steps.align {
            Some(landmarks) => landmarks.align(name, &image)?,
            None => image,
        };
        let image = self.resize(name, image)?;
        drop(turn);
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
        if let Some(corruption) = &self.steps.corruption {
            image = corruption.apply(name, &image)?;
            if self.recipe.color == Color::Gray {
                // Its pixels are one number each.
                image.pixels_mut().for_each(|pixel| pixel.0 = [pixel.0[0]; 3]);
            }
        }
        Ok(image)
    }

    /// The image as it is in its file, turned as the recipe says; for a model of one channel made grey, as three equal ones.
    ///
    /// # Errors
    /// [`Error::Image`] naming the image.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<RgbImage> {
        let mut image = decode_within(name, bytes, self.recipe.orientation, self.recipe.max_pixels)?;
        if self.recipe.color == Color::Gray {
            image.pixels_mut().for_each(|pixel| pixel.0 = [luma(&pixel.0); 3]);
        }
        Ok(image)
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
                // It is grey already, and its luma what it is, unless it was changed since.
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

/// Decodes an image of any supported kind to 8-bit RGB: grey is repeated, of 16 bits the upper 8 are taken, alpha is dropped.
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
    // Pillow turns TIFF as it decodes, and no other format.
    if orientation == Orientation::Exif || format == image::ImageFormat::Tiff {
        image.apply_orientation(turn);
    }
    let mut image = in_8_bits(image).into_rgb8();
    if format == image::ImageFormat::Gif {
        gif::fill_canvas(bytes, &mut image);
    }
    Ok(image)
}

/// Of colours in 16 bits the upper 8, as Pillow takes them; `image` would round.
fn in_8_bits(image: DynamicImage) -> DynamicImage {
    let upper = |values: Vec<u16>| values.into_iter().map(|value| (value >> 8) as u8).collect::<Vec<u8>>();
    let (width, height) = (image.width(), image.height());
    let made = match image {
        DynamicImage::ImageRgb16(of) => {
            ImageBuffer::from_raw(width, height, upper(of.into_raw())).map(DynamicImage::ImageRgb8)
        }
        DynamicImage::ImageRgba16(of) => {
            ImageBuffer::from_raw(width, height, upper(of.into_raw())).map(DynamicImage::ImageRgba8)
        }
        DynamicImage::ImageLuma16(of) => {
            ImageBuffer::from_raw(width, height, upper(of.into_raw())).map(DynamicImage::ImageLuma8)
        }
        DynamicImage::ImageLumaA16(of) => {
            ImageBuffer::from_raw(width, height, upper(of.into_raw())).map(DynamicImage::ImageLumaA8)
        }
        other => return other,
    };
    made.expect("as many numbers as there were")
}

/// One of these is decoded at a time, so that threads do not fill the memory with them: a progressive JPEG takes some nine bytes
/// a pixel.
static HUGE: Mutex<()> = Mutex::new(());

/// Whether an image has so many pixels, as its header says, that one at a time is enough.
fn is_huge(bytes: &[u8]) -> bool {
    const FROM: u64 = 1 << 25;
    let size = || {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        match reader.format()? {
            image::ImageFormat::Jpeg => jpeg::size(bytes),
            _ => reader.into_dimensions().ok().map(|(width, height)| u64::from(width) * u64::from(height)),
        }
    };
    size().is_some_and(|pixels| pixels >= FROM)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_images_are_known_by_their_headers() {
        let encoded = |width: u32, height: u32, format: image::ImageFormat| {
            let mut bytes = Cursor::new(Vec::new());
            DynamicImage::new_luma8(width, height).write_to(&mut bytes, format).unwrap();
            bytes.into_inner()
        };
        for format in
            [image::ImageFormat::Png, image::ImageFormat::Bmp, image::ImageFormat::Tiff, image::ImageFormat::Pnm]
        {
            assert!(!is_huge(&encoded(64, 64, format)), "{format:?}");
        }
        let mut png = encoded(64, 64, image::ImageFormat::Png);
        png[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x10, 0]); // 8192x4096
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert!(is_huge(&png));
        let jpeg = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/odd/rgb.jpg")).unwrap();
        assert!(!is_huge(&jpeg));
        let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        let large = [&jpeg[..frame + 5], &[0x20, 0, 0x20, 0], &jpeg[frame + 9..]].concat();
        assert!(is_huge(&large));
        assert!(!is_huge(b"") && !is_huge(b"no image"));
    }

    /// PNG's checksum, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        };
        !bytes.iter().fold(u32::MAX, step)
    }
}
