//! RandAugment (Cubuk et al. 2020, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space"): so many changes one
//! after the other, each drawn from fourteen, all of one magnitude. Changes and magnitudes are torchvision's, moved pixels are
//! interpolated.

use image::{Rgb, RgbImage};
use imageproc::geometric_transformations::Projection;
use pdloss_embed::preprocess::warped;
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::color::Change;

/// The largest magnitude.
pub(crate) const MOST: u32 = 30;

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Saturation,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const ALL: [Kind; 14] = [
    Kind::Nothing,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateX,
    Kind::TranslateY,
    Kind::Rotate,
    Kind::Brightness,
    Kind::Saturation,
    Kind::Contrast,
    Kind::Sharpness,
    Kind::Posterize,
    Kind::Solarize,
    Kind::AutoContrast,
    Kind::Equalize,
];

/// Makes `count` changes of this magnitude, 0 to [`MOST`]; `fill` is what lies beyond the edges. Each draws two numbers.
pub(crate) fn apply(random: &mut Pcg64, image: &mut RgbImage, (count, magnitude): (u32, u32), fill: Rgb<u8>) {
    for _ in 0..count {
        let kind = ALL[random.random_range(0..ALL.len())];
        let sign = if random.random::<bool>() { 1.0 } else { -1.0 };
        change(kind, image, f64::from(magnitude) / f64::from(MOST), sign, fill);
    }
}

/// One change; `share` is the magnitude from 0 to 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes and pixels
fn change(kind: Kind, image: &mut RgbImage, share: f64, sign: f64, fill: Rgb<u8>) {
    let factor = 1.0 + 0.9 * share * sign;
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let shift = 150.0 / 331.0 * share * sign;
    match kind {
        Kind::Nothing => {}
        Kind::ShearX => about_middle(image, [1.0, 0.3 * share * sign, 0.0, 1.0], fill),
        Kind::ShearY => about_middle(image, [1.0, 0.0, 0.3 * share * sign, 1.0], fill),
        Kind::TranslateX => warp(image, Projection::translate((shift * width) as f32, 0.0), fill),
        Kind::TranslateY => warp(image, Projection::translate(0.0, (shift * height) as f32), fill),
        Kind::Rotate => {
            let (sin, cos) = (30.0 * share * sign).to_radians().sin_cos();
            about_middle(image, [cos, -sin, sin, cos], fill);
        }
        Kind::Brightness => Change::Brightness(factor).apply(image),
        Kind::Saturation => Change::Saturation(factor).apply(image),
        Kind::Contrast => Change::Contrast(factor).apply(image),
        Kind::Sharpness => sharpen(image, factor),
        Kind::Posterize => {
            let kept = 8 - (share * f64::from(MOST) / (f64::from(MOST) / 4.0)).round() as u32;
            let mask = !(0xff_u32 >> kept) as u8;
            image.iter_mut().for_each(|byte| *byte &= mask);
        }
        Kind::Solarize => {
            let from = 255.0 * (1.0 - share);
            image.iter_mut().filter(|byte| f64::from(**byte) >= from).for_each(|byte| *byte = 255 - *byte);
        }
        Kind::AutoContrast => each_channel(image, |bytes| {
            let (low, high) = (*bytes.iter().min()?, *bytes.iter().max()?);
            let scale = 255.0 / (f64::from(high) - f64::from(low));
            let stretched = |byte: usize| ((byte as f64 - f64::from(low)) * scale).clamp(0.0, 255.0) as u8;
            (high > low).then(|| std::array::from_fn(stretched))
        }),
        Kind::Equalize => each_channel(image, equalised),
    }
}

/// Moves the pixels by a matrix about the middle.
#[allow(clippy::cast_possible_truncation)] // pixels
fn about_middle(image: &mut RgbImage, [a, b, c, d]: [f64; 4], fill: Rgb<u8>) {
    let (x, y) = ((image.width() - 1) as f32 / 2.0, (image.height() - 1) as f32 / 2.0);
    let matrix = [a as f32, b as f32, 0.0, c as f32, d as f32, 0.0, 0.0, 0.0, 1.0];
    let Some(way) = Projection::from_matrix(matrix) else { return };
    warp(image, Projection::translate(-x, -y).and_then(way).and_then(Projection::translate(x, y)), fill);
}

fn warp(image: &mut RgbImage, way: Projection, fill: Rgb<u8>) {
    *image = warped(image, way, image.dimensions(), fill);
}

/// Away from the mean of each pixel's neighbourhood, in which it counts five times; the edge stays.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
fn sharpen(image: &mut RgbImage, factor: f64) {
    let before = image.clone();
    let (width, height) = before.dimensions();
    // In float32, as torchvision has it: what is a whole number stays one when it is cut off.
    let (own, others) = (factor as f32, (1.0 - factor) as f32);
    for (x, y) in (1..height.saturating_sub(1)).flat_map(|y| (1..width.saturating_sub(1)).map(move |x| (x, y))) {
        for channel in 0..3 {
            let at = |x: u32, y: u32| f32::from(before.get_pixel(x, y)[channel]);
            let near = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y)));
            let smooth = ((near.map(|(x, y)| at(x, y)).sum::<f32>() + 4.0 * at(x, y)) / 13.0).round();
            image.get_pixel_mut(x, y)[channel] = (own * at(x, y) + others * smooth).clamp(0.0, 255.0) as u8;
        }
    }
}

/// Gives each channel's bytes the values of a table, where there is one.
fn each_channel(image: &mut RgbImage, table: impl Fn(&[u8]) -> Option<[u8; 256]>) {
    for channel in 0..3 {
        let bytes: Vec<u8> = image.pixels().map(|pixel| pixel[channel]).collect();
        let Some(table) = table(&bytes) else { continue };
        image.pixels_mut().for_each(|pixel| pixel[channel] = table[usize::from(pixel[channel])]);
    }
}

/// The table that makes a histogram even.
fn equalised(bytes: &[u8]) -> Option<[u8; 256]> {
    let mut counts = [0_usize; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let last = counts.iter().rfind(|count| **count > 0)?;
    let step = (bytes.len() - last) / 255;
    if step == 0 {
        return None;
    }
    let mut before = 0;
    Some(counts.map(|count| {
        let value = if before == 0 { 0 } else { (before + step / 2) / step };
        before += count;
        u8::try_from(value).unwrap_or(u8::MAX)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const EQUALISED: [(u8, u8); 8] =
        [(0, 0), (27, 53), (54, 109), (81, 165), (108, 221), (135, 255), (162, 255), (189, 255)];

    /// Five pixels by four.
    fn drawn() -> RgbImage {
        let byte = |x: u32, y: u32, c: u32| u8::try_from((x * 37 + y * 53 + c * 71 + x * y * 11) % 200 + 20).unwrap();
        RgbImage::from_fn(5, 4, |x, y| Rgb([0, 1, 2].map(|c| byte(x, y, c))))
    }

    fn changed(kind: Kind, share: f64, sign: f64) -> Vec<u8> {
        let mut image = drawn();
        change(kind, &mut image, share, sign, Rgb([0; 3]));
        image.into_raw()
    }

    /// Values of torchvision 0.29.2 `posterize`, `solarize`, `autocontrast`, `adjust_sharpness` on the same bytes.
    #[test]
    fn changes_are_torchvision_s() {
        let posterized = [16, 80, 160, 48, 128, 192, 80, 160, 32, 128, 192, 64];
        assert_eq!(changed(Kind::Posterize, 1.0, 1.0)[..12], posterized);
        let solarized = [20, 91, 93, 57, 127, 56, 94, 90, 36, 124, 53, 73];
        assert_eq!(changed(Kind::Solarize, 0.4985, 1.0)[..12], solarized);
        let stretched = [0, 87, 179, 47, 143, 232, 95, 199, 0, 143, 255, 52];
        assert_eq!(changed(Kind::AutoContrast, 0.0, 1.0)[..12], stretched);
        // The second row: the edge, then three pixels inside.
        let blunt = [73, 144, 215, 110, 159, 95, 147, 83, 111, 173, 98, 137];
        assert_eq!(changed(Kind::Sharpness, 0.7 / 0.9, -1.0)[15..27], blunt);
        let sharp = [134, 233, 21, 196, 0, 111, 255, 74, 186];
        assert_eq!(changed(Kind::Sharpness, 1.0, 1.0)[18..27], sharp);
    }

    /// Of torchvision's `equalize`: what some bytes of a larger image become.
    #[test]
    fn histograms_are_made_even_as_torchvision_does() {
        let byte = |x: u32, y: u32| u8::try_from((x * 7 + y * 5) % 64 * 3).unwrap();
        let mut image = RgbImage::from_fn(24, 16, |x, y| Rgb([byte(x, y); 3]));
        let before = image.clone();
        change(Kind::Equalize, &mut image, 0.0, 1.0, Rgb([0; 3]));
        for (old, new) in EQUALISED {
            let place = before.pixels().position(|pixel| pixel[0] == old).unwrap();
            assert_eq!(image.pixels().nth(place).unwrap()[0], new, "{old}");
        }
        let mut few = drawn();
        change(Kind::Equalize, &mut few, 0.0, 1.0, Rgb([0; 3]));
        assert_eq!(few, drawn(), "too few pixels to make even");
    }

    #[test]
    fn moves_go_where_they_should_and_nothing_is_nothing() {
        let image = RgbImage::from_fn(33, 33, |x, y| Rgb([if (x, y) == (16, 8) { 255 } else { 0 }; 3]));
        let brightest = |kind, sign| {
            let mut moved = image.clone();
            change(kind, &mut moved, 1.0, sign, Rgb([0; 3]));
            let (x, y, _) = moved.enumerate_pixels().max_by_key(|(_, _, pixel)| pixel[0]).unwrap();
            (x, y)
        };
        assert_eq!(brightest(Kind::TranslateX, 1.0), (31, 8));
        assert_eq!(brightest(Kind::TranslateY, 1.0), (16, 23));
        // Eight above the middle: thirty degrees are four to the side, three tenths two and a half.
        assert_eq!(brightest(Kind::Rotate, 1.0), (20, 9));
        assert!([13, 14].contains(&brightest(Kind::ShearX, 1.0).0));
        assert_eq!(brightest(Kind::ShearY, 1.0), (16, 8));
        for kind in [Kind::Nothing, Kind::Brightness, Kind::Saturation, Kind::Contrast] {
            let mut same = drawn();
            change(kind, &mut same, 0.0, 1.0, Rgb([0; 3]));
            assert_eq!(same, drawn(), "{kind:?}");
        }
    }

    #[test]
    fn what_is_drawn_follows_from_the_stream_and_is_all_of_it() {
        let draw = |place: u64| {
            let mut image = drawn();
            apply(&mut stream(3, Purpose::Augment, [0, place, 0]), &mut image, (2, 9), Rgb([0; 3]));
            image
        };
        assert_eq!(draw(4), draw(4));
        let distinct: std::collections::HashSet<Vec<u8>> = (0..200).map(|place| draw(place).into_raw()).collect();
        assert!(distinct.len() > 60, "{}", distinct.len());
    }
}
