//! Slopes of GELU in float32, in arithmetic that compilers turn into vector instructions: calls of the system's `expf` and `erff`
//! would take longer than all passes of the standard operators together.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// `1 / sqrt(2 pi)`
const BELL: f32 = 0.398_942_3;

/// `(1 + erf(x / sqrt 2)) / 2 + x exp(-x x / 2) / sqrt(2 pi)`
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    erf(x * FRAC_1_SQRT_2) * 0.5 + 0.5 + x * (exp(x * x * -0.5) * BELL)
}

/// `(1 + t) / 2 + x (1 - t t) c (1 + 3 a x x) / 2`, `t = tanh(c (x + a x^3))`, `c = sqrt(2 / pi)`, `a = 0.044715`
#[inline(always)]
pub(super) fn gelu_tanh_slope(x: f32) -> f32 {
    const C: f32 = 0.797_884_6;
    const A: f32 = 0.044_715;
    let square = x * x;
    let t = tanh(x * (square * (C * A) + C));
    t * 0.5 + 0.5 + x * ((1.0 - t * t) * (square * (1.5 * C * A) + 0.5 * C))
}

/// `1 - 2 / (exp(2 x) + 1)`: to 1e-7 of 1, not of itself.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// To two units in the last place between -87 and 88, and its value there beyond: Cephes' `expf` (Moshier), with the rounding by a
/// number that leaves no room for fractions.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0; // 1.5 * 2^23
    // `clamp` keeps what is not a number.
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        p = p * r + coefficient;
    }
    // The last bits of `shifted` are those of `n`.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

/// To 2e-7: N. Juffa's polynomials, which onnxruntime has, too.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let mut near = -5.967_617e-4;
    for coefficient in [4.991_194e-3, -2.676_813_5e-2, 0.112_819_925, -0.376_125_34, 0.128_379_17] {
        near = near * s + coefficient;
    }
    let near = near * x + x;
    // From here on it is 1 in float32.
    let t = t.min(4.0);
    let mut far = (-1.728_534_7e-5 * t + 3.831_971_3e-4) * (t * t) + (-3.883_964_4e-3 * t + 2.425_462_2e-2);
    for coefficient in [-0.106_777_88, -0.634_846_7, -0.128_717_51] {
        far = far * t + coefficient;
    }
    let far = (1.0 - exp(far * t - t)).copysign(x);
    // What is not a number goes by `near`.
    if x.abs() > 0.927_734_4 { far } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Simpson's rule, in f64.
    fn erf_of(x: f64) -> f64 {
        const PARTS: i32 = 2000;
        let width = x / f64::from(PARTS);
        let bell = |i: i32| (-(f64::from(i) * width).powi(2)).exp();
        let inside: f64 = (1..PARTS).map(|i| bell(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (bell(0) + inside + bell(PARTS)) * width / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn close_to_their_integrals_everywhere() {
        for step in -900..=900 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x);
            assert!((f64::from(erf(x)) - erf_of(exact)).abs() < 2e-7, "erf({x})");
            assert!((f64::from(exp(x)) / exact.exp() - 1.0).abs() < 3e-7, "exp({x})");
            assert!((f64::from(tanh(x)) - exact.tanh()).abs() < 2e-7, "tanh({x})");
        }
        assert!(exp(-200.0) < 1e-37 && exp(100.0) > 1e38 && erf(50.0) == 1.0 && erf(f32::NEG_INFINITY) == -1.0);
        assert!([exp, erf, tanh, gelu_slope, gelu_tanh_slope].iter().all(|function| function(f32::NAN).is_nan()));
        for (got, wanted) in [(gelu_slope(20.0), 1.0), (gelu_slope(-20.0), 0.0), (gelu_tanh_slope(20.0), 1.0)] {
            assert!((got - wanted).abs() < 1e-30, "{got}, wanted {wanted}");
        }
    }
}
