//! JPEG through libjpeg-turbo, which Pillow and OpenCV use too: the same pixels, to the level.

use image::RgbImage;
use image::metadata::Orientation;
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

use super::recipe::check_pixels;

/// Progressive scans that an image may have: encoders write about ten, and each costs a pass over all pixels.
const MOST_SCANS: u32 = 500;

/// The pixels of a file that begins as a JPEG does, and how its EXIF tag would turn them.
///
/// # Errors
/// A sentence without the image's name: truncated, damaged, of more than `max_pixels` by its header.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Orientation), String> {
    let segments = Segments::of(bytes);
    if !segments.is_complete {
        return Err(format!("the JPEG is truncated: no end marker in its {} bytes", bytes.len()));
    }
    let wrong = |e: turbojpeg::Error| format!("cannot be decoded: {e}");
    let mut decoder = Decompressor::new().map_err(wrong)?;
    decoder.set_scan_limit(MOST_SCANS).map_err(wrong)?;
    let header = decoder.read_header(bytes).map_err(wrong)?;
    let (width, height) = (header.width, header.height);
    check_pixels(width as u64, height as u64, max_pixels)?;
    let is_cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    let output = Image { pixels: pixels.as_mut_slice(), width, pitch, height, format };
    match decoder.decompress(bytes, output) {
        Ok(()) => {}
        // Cameras and editors leave bytes between segments; no pixel depends on them.
        Err(e) if e.to_string().contains("extraneous bytes before marker") => {}
        Err(e) => return Err(wrong(e)),
    }
    if is_cmyk {
        pixels = pixels.chunks_exact(4).flat_map(|p| rgb_of_inverted_cmyk([p[0], p[1], p[2], p[3]])).collect();
    }
    let size = |side: usize| u32::try_from(side).unwrap_or_default();
    let image = RgbImage::from_raw(size(width), size(height), pixels).ok_or("has more pixels than fit in memory")?;
    Ok((image, segments.orientation))
}

/// How many pixels a file has, by its header.
pub(super) fn size(bytes: &[u8]) -> Option<u64> {
    let header = Decompressor::new().ok()?.read_header(bytes).ok()?;
    Some((header.width as u64).saturating_mul(header.height as u64))
}

/// How a file's EXIF tag would turn it, and its colour profile, if it has one.
pub(super) fn metadata(bytes: &[u8]) -> (Orientation, Option<Vec<u8>>) {
    let segments = Segments::of(bytes);
    (segments.orientation, (!segments.profile.is_empty()).then_some(segments.profile))
}

/// Adobe stores CMYK inverted; Pillow takes all of it so. Its fixed-point product, too.
fn rgb_of_inverted_cmyk([cyan, magenta, yellow, key]: [u8; 4]) -> [u8; 3] {
    let white = i32::from(key); // 255 less the ink
    [cyan, magenta, yellow].map(|channel| {
        let product = i32::from(255 - channel) * white + 128;
        let share = ((product >> 8) + product) >> 8;
        u8::try_from((white - share).clamp(0, 255)).unwrap_or_default()
    })
}

/// What the segments before the first scan say.
struct Segments {
    orientation: Orientation,
    /// Whether an end-of-image marker follows the first scan. The decoder fills what is missing with grey.
    is_complete: bool,
    /// The colour profile, whose parts are put together in the order of the file.
    profile: Vec<u8>,
}

impl Segments {
    fn of(bytes: &[u8]) -> Self {
        let mut segments = Self { orientation: Orientation::NoTransforms, is_complete: false, profile: Vec::new() };
        let mut at = 2;
        // Each carries its length; a thumbnail inside one has an end marker of its own.
        while at + 4 <= bytes.len() && bytes[at] == 0xFF {
            let (marker, length) = (bytes[at + 1], usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])));
            match marker {
                0xFF => at += 1,
                0xDA => {
                    segments.is_complete = bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]);
                    break;
                }
                _ => {
                    let content = bytes.get(at + 4..at + 2 + length).unwrap_or_default();
                    if let (0xE1, Some(exif)) = (marker, content.strip_prefix(b"Exif\0\0")) {
                        segments.orientation = Orientation::from_exif_chunk(exif).unwrap_or(segments.orientation);
                    }
                    // Behind the name, the number of the part and how many there are.
                    if let (0xE2, Some([_, _, part @ ..])) = (marker, content.strip_prefix(b"ICC_PROFILE\0")) {
                        segments.profile.extend_from_slice(part);
                    }
                    at += 2 + length;
                }
            }
        }
        segments
    }
}
