//! Files that hold several pictures, of which the first is taken: animations and pages.

/// Whether the bytes are a GIF, PNG, WebP or TIFF of more than one picture, as far as their structure says.
pub(super) fn are_several(bytes: &[u8]) -> bool {
    let several = match bytes {
        [b'G', b'I', b'F', b'8', ..] => gif(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(bytes),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => tiff(bytes),
        _ => None,
    };
    several.unwrap_or(false)
}

/// A second image descriptor.
fn gif(bytes: &[u8]) -> Option<bool> {
    let table = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut pictures = 0;
    loop {
        match *bytes.get(at)? {
            b'!' => at += 2,
            b',' => {
                pictures += 1;
                if pictures > 1 {
                    return Some(true);
                }
                at += 11 + table(*bytes.get(at + 9)?);
            }
            _ => return Some(false),
        }
        // Blocks of data, each behind its length.
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

/// The chunk of an animation, which says how many pictures follow.
fn png(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let mut at = 8_usize;
    loop {
        let kind = bytes.get(at + 4..at + 8)?;
        match kind {
            b"acTL" => return Some(number(at + 8)? > 1),
            b"IDAT" | b"IEND" => return Some(false),
            _ => at = at.checked_add(12 + number(at)? as usize)?,
        }
    }
}

/// The flag of an animation.
fn webp(bytes: &[u8]) -> Option<bool> {
    Some(bytes.get(12..16)? == b"VP8X" && bytes.get(20)? & 2 != 0)
}

/// A second directory.
fn tiff(bytes: &[u8]) -> Option<bool> {
    let is_big = bytes[0] == b'M';
    let number = |at: usize, length: usize| {
        let field = bytes.get(at..at.checked_add(length)?)?;
        let add = |n: usize, byte: &u8| n << 8 | usize::from(*byte);
        Some(if is_big { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    };
    let first = number(4, 4)?;
    let next = first.checked_add(2 + 12 * number(first, 2)?)?;
    Some(number(next, 4)? != 0)
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Frame, RgbaImage};

    use super::*;

    #[test]
    fn animations_and_pages_are_told_from_single_pictures() {
        let gif = |count: usize| {
            let mut bytes = Vec::new();
            let frame = || Frame::new(RgbaImage::new(9, 9));
            GifEncoder::new(&mut bytes).encode_frames((0..count).map(|_| frame())).unwrap();
            bytes
        };
        assert!(!are_several(&gif(1)) && are_several(&gif(2)) && are_several(&gif(5)));
        let png = |chunk: &[u8; 4], count: u8| {
            let head = [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0, 8];
            [&head[..], chunk, &[0, 0, 0, count, 0, 0, 0, 0, 1, 2, 3, 4], &[0, 0, 0, 0], b"IDAT"].concat()
        };
        assert!(are_several(&png(b"acTL", 2)) && !are_several(&png(b"acTL", 1)) && !are_several(&png(b"gAMA", 2)));
        let webp = |kind: &[u8; 4], flags: u8| [b"RIFF\0\0\0\0WEBP", kind.as_slice(), &[10, 0, 0, 0, flags]].concat();
        assert!(are_several(&webp(b"VP8X", 2)) && !are_several(&webp(b"VP8X", 16)) && !are_several(&webp(b"VP8 ", 2)));
        let tiff = |next: u8| [&b"II*\0\x08\0\0\0\x01\0"[..], &[0; 12], &[next, 0, 0, 0]].concat();
        assert!(are_several(&tiff(40)) && !are_several(&tiff(0)));
        let big = [&b"MM\0*\0\0\0\x08\0\0"[..], &[0, 0, 0, 9]].concat();
        assert!(are_several(&big));
        for cut in 0..tiff(40).len() {
            assert!(!are_several(&tiff(40)[..cut]), "{cut}");
        }
    }
}
