//! The loss as a function of the gap between the means and of the variances, and its two slopes.
//!
//! With `gap = mu_genuine - mu_impostor`, `V = var_genuine + var_impostor + 1e-12` and `d' = gap / sqrt(V / 2)`, a loss
//! `L(d')` has
//!
//! ```text
//! -dL/dgap = -L'(d') / sqrt(V / 2)          dL/dV = -L'(d') d' / (2 V)
//! ```
//!
//! so one number, `-L'(d')`, is all that tells the forms and the branches of the tangent floor apart.

use super::{Config, FloorMode, Form, Summary};
use std::f64::consts::LN_2;

/// Keeps the variance a divisor where all similarities agree.
pub const VARIANCE_FLOOR: f64 = 1e-12;

/// The loss at given moments, and what the gradient needs of it. On cosines: the temperature is not in the slopes'
/// arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decidability {
    pub(crate) loss: f64,
    pub(crate) d_prime: f64,
    /// `-dL/dgap`.
    pub(crate) pull: f64,
    /// `dL/dV`.
    pub(crate) squeeze: f64,
}

impl Decidability {
    pub(crate) fn at(config: &Config, genuine: &Summary, impostor: &Summary) -> Self {
        let gap = genuine.mean - impostor.mean;
        let variance = genuine.variance() + impostor.variance();
        let spread = ((variance + VARIANCE_FLOOR) / 2.0).sqrt();
        let d_prime = gap / spread;
        let (loss, pull, squeeze) = match (config.form(), config.floor_mode()) {
            (Form::Log | Form::Inverse, FloorMode::Clamp) => clamped(config, gap, variance),
            _ => {
                let (loss, steepness) = curve(config.form(), config.floor(), d_prime);
                (loss, steepness / spread, steepness * d_prime / (2.0 * (variance + VARIANCE_FLOOR)))
            }
        };
        Self { loss, d_prime, pull, squeeze }
    }
}

/// `L(d')` and `-L'(d')`.
fn curve(form: Form, floor: f64, d_prime: f64) -> (f64, f64) {
    match form {
        Form::Negative => (-d_prime, 1.0),
        Form::Log if d_prime <= floor => (-floor.ln() - (d_prime - floor) / floor + 0.5 * LN_2, 1.0 / floor),
        Form::Log => (-d_prime.ln() + 0.5 * LN_2, 1.0 / d_prime),
        Form::Inverse if d_prime <= floor => (1.0 / floor - (d_prime - floor) / (floor * floor), 1.0 / (floor * floor)),
        Form::Inverse => (1.0 / d_prime, 1.0 / (d_prime * d_prime)),
    }
}

/// The clamped floor mode: loss, `-dL/dgap`, `dL/dV`.
///
/// `log`: `-log(max(gap / t, eps)) + log(V / t^2 + eps) / 2`. `inverse` clamps the same two quantities:
/// `sqrt((V / t^2 + eps) / 2) / max(gap / t, eps)`.
fn clamped(config: &Config, gap: f64, variance: f64) -> (f64, f64, f64) {
    let (temperature, eps) = (config.temperature(), config.eps());
    let scaled = gap / temperature;
    let below = scaled <= eps;
    let held = if below { eps } else { scaled };
    let widened = variance / (temperature * temperature) + eps;
    let (loss, pull, squeeze) = if config.form() == Form::Log {
        (-held.ln() + 0.5 * widened.ln(), 1.0 / held, 0.5 / widened)
    } else {
        let spread = (widened / 2.0).sqrt();
        (spread / held, spread / (held * held), 0.25 / (spread * held))
    };
    (loss, if below { 0.0 } else { pull / temperature }, squeeze / (temperature * temperature))
}
