//! Pillow 13's resampling of 8-bit images, to the level (`src/libImaging/Resample.c`, and `Geometry.c` for `nearest`): two
//! passes, mostly the horizontal one first, each with weights in fixed point and rounded to 8 bits.

use image::RgbImage;
use pulp::Arch;

use super::values::{Interpolation, Size};

/// Bits of a weight after the point: a sum of 8-bit levels times weights keeps one bit for the sign and one for filters
/// whose negative lobes let the rest exceed one.
const PRECISION: u32 = 32 - 8 - 2;
const CHANNELS: usize = 3;
/// Rows that the horizontal pass works on side by side.
const ROWS: usize = 16;
/// Sums that are kept in registers.
const LANES: usize = CHANNELS * ROWS;

/// The part of `image` between `left, top, right, bottom` (in pixels; rounded to `f32`, as Pillow does), resampled to
/// `target`. `antialias` widens the filter when shrinking, as Pillow always does; `nearest` has nothing to widen.
///
/// The region must lie in the image and be larger than nothing.
pub(super) fn resample(
    image: &RgbImage,
    region: [f64; 4],
    target: Size,
    filter: Interpolation,
    antialias: bool,
) -> RgbImage {
    #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
    let [left, top, right, bottom] = region.map(|edge| edge as f32);
    let (width, height) = image.dimensions();
    let Some((kernel, support)) = kernel(filter) else { return nearest(image, [left, top, right, bottom], target) };
    let weights = |size, from, to, out| Weights::new(kernel, support, antialias, size, (from, to), out);
    let is_whole =
        |from: f32, to: f32, size: u32, out: u32| size == out && from == 0.0 && f64::from(to) == f64::from(out);

    let arch = Arch::new();
    let across = (!is_whole(left, right, width, target.width)).then(|| weights(width, left, right, target.width));
    let down = (!is_whole(top, bottom, height, target.height)).then(|| weights(height, top, bottom, target.height));
    let row = width as usize * CHANNELS;
    let out_row = target.width as usize * CHANNELS;
    let pixels = match (&across, &down) {
        (Some(across), Some(down)) if vertical_first((width, height), target) => {
            let between = arch.dispatch(|| vertical(image.as_raw(), row, 0, down));
            Some(arch.dispatch(|| horizontal(&between, width as usize, across)))
        }
        (Some(across), Some(down)) => {
            let used = down.used();
            let rows = &image.as_raw()[used.start * row..used.end * row];
            let between = arch.dispatch(|| horizontal(rows, width as usize, across));
            Some(arch.dispatch(|| vertical(&between, out_row, used.start, down)))
        }
        (Some(across), None) => Some(arch.dispatch(|| horizontal(image.as_raw(), width as usize, across))),
        (None, Some(down)) => Some(arch.dispatch(|| vertical(image.as_raw(), row, 0, down))),
        (None, None) => None,
    };
    let pixels = pixels.unwrap_or_else(|| image.as_raw().clone());
    RgbImage::from_raw(target.width, target.height, pixels).unwrap_or_default()
}

/// Whether Pillow resamples vertically first, as it does since version 13 where the height shrinks by more than twice what
/// the width does; the whole image counts, whatever the region.
fn vertical_first((width, height): (u32, u32), target: Size) -> bool {
    let shrinks = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (across, down) = (shrinks(width, target.width), shrinks(height, target.height));
    down > 0 && down > 2 * across
}

type Kernel = fn(f64) -> f64;

/// A filter and how far it reaches to either side; `None` for nearest, which weighs nothing.
fn kernel(filter: Interpolation) -> Option<(Kernel, f64)> {
    match filter {
        Interpolation::Nearest => None,
        Interpolation::Box => Some((box_filter, 0.5)),
        Interpolation::Bilinear => Some((triangle, 1.0)),
        Interpolation::Hamming => Some((hamming, 1.0)),
        Interpolation::Bicubic => Some((bicubic, 2.0)),
        Interpolation::Lanczos => Some((lanczos, 3.0)),
    }
}

fn box_filter(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 { 1.0 - x } else { 0.0 }
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    // Pillow's constants are float32.
    x.sin() / x * (f64::from(0.54_f32) + f64::from(0.46_f32) * x.cos())
}

/// Keys' cubic with a = -0.5, in Pillow's order of operations.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        let x = x * std::f64::consts::PI;
        if x == 0.0 { 1.0 } else { x.sin() / x }
    };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

/// What each output position takes from which input positions, along one axis.
struct Weights {
    /// For each output: its first input, and how many.
    spans: Vec<(usize, usize)>,
    /// `most` weights for each output, of which the span's count is meant; in units of `2^-PRECISION`.
    values: Vec<i32>,
    most: usize,
}

impl Weights {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positions are checked, weights are small
    fn new(kernel: Kernel, support: f64, antialias: bool, size: u32, (from, to): (f32, f32), out: u32) -> Self {
        let scale = f64::from(to - from) / f64::from(out);
        let from = f64::from(from);
        let stretch = if antialias { scale.max(1.0) } else { 1.0 };
        let support = support * stretch;
        let most = support.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(out as usize);
        let mut values = vec![0; out as usize * most];
        let mut real = Vec::with_capacity(most);
        for (at, values) in values.chunks_exact_mut(most).enumerate() {
            let centre = from + (at as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5).max(0.0) as usize).min(size as usize);
            let inverse = 1.0 / stretch;
            real.clear();
            real.extend((first..end).map(|x| kernel((x as f64 - centre + 0.5) * inverse)));
            let sum: f64 = real.iter().sum();
            for (value, real) in values.iter_mut().zip(&real) {
                let share = if sum == 0.0 { *real } else { real / sum } * f64::from(1_u32 << PRECISION);
                *value = (share + if share < 0.0 { -0.5 } else { 0.5 }) as i32;
            }
            spans.push((first, end.saturating_sub(first)));
        }
        Self { spans, values, most }
    }

    /// First input and weights of each output.
    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans.iter().zip(self.values.chunks_exact(self.most)).map(|(&(first, count), w)| (first, &w[..count]))
    }

    /// The inputs that are used at all.
    fn used(&self) -> std::ops::Range<usize> {
        let first = self.spans.first().map_or(0, |span| span.0);
        first..self.spans.last().map_or(first, |span| span.0 + span.1)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Half a level: sums begin with it, so that they are rounded and not cut.
const HALF: i32 = 1 << (PRECISION - 1);

/// `sums += weight * levels`; [`PRECISION`] says why nothing overflows.
#[inline(always)]
fn add(sums: &mut [i32], levels: &[u8], weight: i32) {
    for (sum, &level) in sums.iter_mut().zip(levels) {
        *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(level)));
    }
}

/// Rows of `width` pixels, each resampled. Columns of [`ROWS`] rows are laid side by side first, so that one weight meets
/// many levels.
#[inline(always)]
fn horizontal(rows: &[u8], width: usize, weights: &Weights) -> Vec<u8> {
    let (row, out_row) = (width * CHANNELS, weights.spans.len() * CHANNELS);
    let mut out = vec![0; rows.len() / row * out_row];
    let mut columns = vec![[0_u8; LANES]; width];
    for (rows, out) in rows.chunks(row * ROWS).zip(out.chunks_mut(out_row * ROWS)) {
        for (at, row) in rows.chunks_exact(row).enumerate() {
            for (column, pixel) in columns.iter_mut().zip(row.chunks_exact(CHANNELS)) {
                column[at * CHANNELS..][..CHANNELS].copy_from_slice(pixel);
            }
        }
        for (x, (first, taps)) in weights.taps().enumerate() {
            let mut sums = [HALF; LANES];
            for (&weight, column) in taps.iter().zip(&columns[first..]) {
                add(&mut sums, column, weight);
            }
            let levels = sums.map(level);
            for (row, pixel) in out.chunks_exact_mut(out_row).zip(levels.chunks_exact(CHANNELS)) {
                row[x * CHANNELS..][..CHANNELS].copy_from_slice(pixel);
            }
        }
    }
    out
}

/// Rows of `row` bytes, of which the first is row `top` of the image, resampled from top to bottom.
#[inline(always)]
fn vertical(rows: &[u8], row: usize, top: usize, weights: &Weights) -> Vec<u8> {
    let mut out = vec![0; weights.spans.len() * row];
    for (out, (first, taps)) in out.chunks_exact_mut(row).zip(weights.taps()) {
        let rows = &rows[(first - top) * row..];
        for (at, out) in out.chunks_mut(LANES).enumerate() {
            let mut sums = [HALF; LANES];
            for (&weight, row) in taps.iter().zip(rows.chunks_exact(row)) {
                add(&mut sums, &row[at * LANES..][..out.len()], weight);
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = level(sum);
            }
        }
    }
    out
}

/// The pixel in which each output's centre lies. Centres are summed up, as Pillow does, with its rounding.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positions are clamped to the image
fn nearest(image: &RgbImage, [left, top, right, bottom]: [f32; 4], target: Size) -> RgbImage {
    let positions = |from: f32, to: f32, size: u32, out: u32| -> Vec<u32> {
        let step = f64::from(to - from) / f64::from(out);
        let mut centre = f64::from(from) + step * 0.5;
        let next = |_| {
            let at = (centre as u32).min(size - 1);
            centre += step;
            at
        };
        (0..out).map(next).collect()
    };
    let columns = positions(left, right, image.width(), target.width);
    let rows = positions(top, bottom, image.height(), target.height);
    RgbImage::from_fn(target.width, target.height, |x, y| *image.get_pixel(columns[x as usize], rows[y as usize]))
}
