//! Changes of an image's colours, as torchvision defines them; a pixel is three numbers from 0 to 1.

use image::{Rgb, RgbImage};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Times a factor.
    Brightness(f64),
    /// Away from the image's mean grey by a factor.
    Contrast(f64),
    /// Away from each pixel's own grey by a factor.
    Saturation(f64),
    /// Round the circle of hues, of which the whole is 1.
    Hue(f64),
    /// Each pixel's own grey.
    Grey,
}

impl Change {
    /// Makes the change in place. Each number is rounded to a byte once.
    pub(crate) fn apply(self, image: &mut RgbImage) {
        let mean = match self {
            Self::Contrast(_) => {
                let sum: f64 = image.pixels().map(|pixel| grey(numbers(*pixel))).sum();
                sum / (f64::from(image.width()) * f64::from(image.height())).max(1.0)
            }
            _ => 0.0,
        };
        for pixel in image.pixels_mut() {
            let rgb = numbers(*pixel);
            let away = |from: f64, factor: f64| rgb.map(|value| from + factor * (value - from));
            let changed = match self {
                Self::Brightness(factor) => away(0.0, factor),
                Self::Contrast(factor) => away(mean, factor),
                Self::Saturation(factor) => away(grey(rgb), factor),
                Self::Hue(by) => turned(rgb, by),
                Self::Grey => [grey(rgb); 3],
            };
            *pixel = Rgb(changed.map(byte));
        }
    }
}

fn numbers(pixel: Rgb<u8>) -> [f64; 3] {
    pixel.0.map(|byte| f64::from(byte) / 255.0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
fn byte(number: f64) -> u8 {
    (number.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// ITU-R 601-2 luma with torchvision's digits.
fn grey([r, g, b]: [f64; 3]) -> f64 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

/// The colour with its hue, as HSV has it, turned.
fn turned([r, g, b]: [f64; 3], by: f64) -> [f64; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return [r, g, b];
    }
    // In sixths of the circle.
    let hue = if most == r {
        (g - b) / range
    } else if most == g {
        2.0 + (b - r) / range
    } else {
        4.0 + (r - g) / range
    };
    let hue = (hue + 6.0 * by).rem_euclid(6.0);
    // How far each of the three is below the largest, by its distance on the circle.
    [5.0, 3.0, 1.0].map(|shift| {
        let place = (shift + hue).rem_euclid(6.0);
        most - range * place.min(4.0 - place).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORCHVISION: [(Change, [u8; 6]); 10] = [
        (Change::Brightness(0.5), [100, 50, 25, 5, 10, 120]),
        (Change::Brightness(1.6), [255, 160, 80, 16, 32, 255]),
        (Change::Contrast(0.3), [118, 88, 73, 61, 64, 130]),
        (Change::Contrast(1.7), [255, 112, 27, 0, 0, 255]),
        (Change::Saturation(0.25), [143, 118, 106, 34, 37, 92]),
        (Change::Saturation(1.5), [238, 88, 13, 0, 9, 255]),
        (Change::Hue(-0.1), [200, 50, 90, 10, 158, 240]),
        (Change::Hue(0.3), [50, 200, 70, 240, 10, 66]),
        (Change::Hue(0.5), [50, 150, 200, 240, 230, 10]),
        (Change::Grey, [124, 124, 124, 42, 42, 42]),
    ];

    /// Values of torchvision 0.29.2 `adjust_*` and `rgb_to_grayscale` on a float tensor of these two pixels, times 255 and rounded.
    #[test]
    fn changes_are_torchvision_s() {
        let pixels = [Rgb([200, 100, 50]), Rgb([10, 20, 240])];
        let image = RgbImage::from_fn(2, 1, |x, _| pixels[x as usize]);
        for (change, wanted) in TORCHVISION {
            let mut changed = image.clone();
            change.apply(&mut changed);
            assert_eq!(changed.into_raw(), wanted.to_vec(), "{change:?}");
        }
    }

    #[test]
    fn no_change_is_none() {
        let image =
            RgbImage::from_vec(16, 16, (0..=255).flat_map(|at: u8| [at, at.rotate_left(4), at ^ 0x5a]).collect())
                .unwrap();
        for change in [
            Change::Brightness(1.0),
            Change::Contrast(1.0),
            Change::Saturation(1.0),
            Change::Hue(0.0),
            Change::Hue(1.0),
        ] {
            let mut changed = image.clone();
            change.apply(&mut changed);
            assert_eq!(changed, image, "{change:?}");
        }
    }
}
