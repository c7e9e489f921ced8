//! What lies around the first picture of a GIF that is smaller than its canvas.

use image::RgbImage;

/// Fills the canvas around the first picture as Pillow does: with the transparent color of its palette, or the first one. The decoder
/// leaves it black.
pub(super) fn fill_canvas(bytes: &[u8], image: &mut RgbImage) {
    let Some(([left, top, width, height], color)) = first_picture(bytes) else { return };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !((left..left + width).contains(&x) && (top..top + height).contains(&y)) {
            pixel.0 = color;
        }
    }
}

/// Left, top, width and height of the first picture, and the color around it.
fn first_picture(bytes: &[u8]) -> Option<([u32; 4], [u8; 3])> {
    let mut decoder = ::gif::DecodeOptions::new().read_info(bytes).ok()?;
    let global = decoder.global_palette().unwrap_or_default().to_vec();
    let frame = decoder.next_frame_info().ok()??;
    let colors = frame.palette.as_deref().unwrap_or(&global);
    let color =
        colors.chunks_exact(3).nth(frame.transparent.unwrap_or(0).into()).map_or([0; 3], |c| [c[0], c[1], c[2]]);
    Some(([frame.left, frame.top, frame.width, frame.height].map(u32::from), color))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GIF of 3x2 pixels with one picture of one pixel, the second color of its palette, at 1,1.
    fn gif(transparent: Option<u8>, local: bool) -> Vec<u8> {
        let (colors, others) =
            ([9, 8, 7, 60, 50, 40, 1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
        let mut bytes = [&b"GIF89a\x03\0\x02\0\x81\0\0"[..], &colors].concat();
        bytes.extend(transparent.into_iter().flat_map(|color| [0x21, 0xF9, 4, 1, 0, 0, color, 0]));
        bytes.extend_from_slice(&[0x2C, 1, 0, 1, 0, 1, 0, 1, 0, if local { 0x81 } else { 0 }]);
        bytes.extend(others.iter().filter(|_| local));
        // Codes of three bits: clear, the second color, end.
        bytes.extend_from_slice(&[2, 2, 0b0100_1100, 0b0000_0001, 0, 0x3B]);
        bytes
    }

    #[test]
    fn the_canvas_around_a_picture_has_the_color_that_pillow_gives_it() {
        // Pillow 13: convert('RGB') of these files.
        for (transparent, local, around, inside) in [
            (None, false, [9, 8, 7], [60, 50, 40]),
            (Some(2), false, [1, 2, 3], [60, 50, 40]),
            (None, true, [11, 12, 13], [14, 15, 16]),
            (Some(3), true, [20, 21, 22], [14, 15, 16]),
            (Some(9), false, [0, 0, 0], [60, 50, 40]),
        ] {
            let bytes = gif(transparent, local);
            let image = crate::preprocess::decode("a.gif", &bytes, crate::preprocess::Orientation::Exif).unwrap();
            assert_eq!(image.dimensions(), (3, 2));
            for (x, y, pixel) in image.enumerate_pixels() {
                let wanted = if (x, y) == (1, 1) { inside } else { around };
                assert_eq!(pixel.0, wanted, "{transparent:?} {local} at {x},{y}");
            }
            for cut in 0..bytes.len() {
                first_picture(&bytes[..cut]);
            }
        }
    }
}
