//! Images moved by a projection: bilinear, each pixel rounded once. imageproc's own cuts off after each of two means, which
//! makes every image 0.6 levels darker.

use image::{Rgb, RgbImage};
use imageproc::geometric_transformations::Projection;

/// The image as `way` moves it, `size` large (width, height), with `fill` where it does not reach.
pub fn warped(image: &RgbImage, way: Projection, (width, height): (u32, u32), fill: Rgb<u8>) -> RgbImage {
    let back = way.invert();
    let within = |at: f32, size: u32| (0.0..size as f32).contains(&at);
    let pixel = |x: f32, y: f32| {
        let inside = within(x, image.width()) && within(y, image.height());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the image
        if inside { image.get_pixel(x as u32, y as u32) } else { &fill }
    };
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = back * (x as f32, y as f32);
        let (left, top) = (x.floor(), y.floor());
        let (right, below) = (x - left, y - top);
        let corners = [(left, top), (left + 1.0, top), (left, top + 1.0), (left + 1.0, top + 1.0)];
        let corners = corners.map(|(x, y)| pixel(x, y));
        let weights = [(1.0 - right) * (1.0 - below), right * (1.0 - below), (1.0 - right) * below, right * below];
        let mean = |channel: usize| {
            let sum: f32 = corners.iter().zip(weights).map(|(pixel, weight)| f32::from(pixel[channel]) * weight).sum();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a mean of levels; casts of NaN give 0
            (sum.round() as u8)
        };
        Rgb([mean(0), mean(1), mean(2)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in plain loops and float64: the nearest level, and how far from one the mean lies.
    fn plain(image: &RgbImage, back: [f64; 6], (x, y): (u32, u32), channel: usize) -> f64 {
        let (x, y) = (f64::from(x), f64::from(y));
        let (u, v) = (back[0] * x + back[1] * y + back[2], back[3] * x + back[4] * y + back[5]);
        let mut sum = 0.0;
        for (column, weight_x) in [(u.floor(), 1.0 - u.fract()), (u.floor() + 1.0, u.fract())] {
            for (row, weight_y) in [(v.floor(), 1.0 - v.fract()), (v.floor() + 1.0, v.fract())] {
                let is_in = (0.0..40.0).contains(&column) && (0.0..30.0).contains(&row);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let level = if is_in { image.get_pixel(column as u32, row as u32)[channel] } else { 0 };
                sum += f64::from(level) * weight_x * weight_y;
            }
        }
        sum
    }

    #[test]
    #[allow(clippy::cast_possible_truncation)] // noise
    fn pixels_are_the_nearest_levels_of_bilinear_means() {
        let noise = |x: u32, y: u32, c: u32| (x * 7919 + y * 104_729 + c * 1_299_709).wrapping_mul(2_654_435_761) >> 24;
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([0, 1, 2].map(|c| noise(x, y, c) as u8)));
        // The way back: a turn, a stretch and a shift that reach beyond no edge at the top and left.
        let back = [0.6, 0.2, 1.3, 0.1, 0.55, 2.7];
        let [a, b, p, c, d, q] = back.map(|v: f64| v as f32);
        let way = Projection::from_matrix([a, b, p, c, d, q, 0.0, 0.0, 1.0]).unwrap().invert();
        let moved = warped(&image, way, (36, 36), Rgb([0; 3]));
        let (mut sum, mut most) = (0.0_f64, 0.0_f64);
        for (x, y, pixel) in moved.enumerate_pixels() {
            for channel in 0..3 {
                let apart = f64::from(pixel[channel]) - plain(&image, back, (x, y), channel);
                sum += apart;
                most = most.max(apart.abs());
            }
        }
        let mean = sum / f64::from(3 * 36 * 36);
        assert!(mean.abs() < 0.03 && most < 0.51, "mean {mean}, most {most}");
    }

    #[test]
    fn whole_steps_keep_levels_and_the_rest_is_filled() {
        let image = RgbImage::from_pixel(5, 4, Rgb([10, 20, 255]));
        let moved = warped(&image, Projection::translate(2.0, 1.0), (6, 6), Rgb([1, 2, 3]));
        for (x, y, pixel) in moved.enumerate_pixels() {
            let wanted = if x >= 2 && (1..5).contains(&y) { [10, 20, 255] } else { [1, 2, 3] };
            assert_eq!(pixel.0, wanted, "{x} {y}");
        }
    }
}
