//! The validated settings of the loss.

use super::Error;
use std::fmt;
use std::str::FromStr;

/// Which decreasing function of the decidability index is the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// `-log d' + log(2) / 2`, the loss PD-Loss is named for.
    #[default]
    Log,
    /// `-d'`.
    Negative,
    /// `1 / d'`.
    Inverse,
}

/// How the forms `log` and `inverse` go on where the index is too small for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FloorMode {
    /// By their tangent at `d' = floor`: value and slope continuous, and the classes keep being pulled apart.
    #[default]
    Tangent,
    /// By `max(gap / temperature, eps)` and `V / temperature^2 + eps`, as the paper's text has it. Below `eps` the gap
    /// has no slope.
    Clamp,
}

/// How the sums over all similarities are computed. Both ways are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Whichever needs fewer operations for the shapes at hand.
    #[default]
    Auto,
    /// Two centred `D x D` Gram matrices.
    Gram,
    /// Tiles of the similarity matrix, streamed over the classes and computed again in the backward pass.
    Tiles,
}

macro_rules! names {
    ($kind:ty, $attribute:literal, $wanted:literal, $($name:literal => $variant:expr),+) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(value if *value == $variant => $name,)+ _ => "" })
            }
        }

        impl FromStr for $kind {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($name => Ok($variant),)+
                    _ => Err(Error::Attribute { attribute: $attribute, wanted: $wanted, given: format!("{text:?}") }),
                }
            }
        }
    };
}

names!(Form, "form", "log, negative or inverse",
    "log" => Form::Log, "negative" => Form::Negative, "inverse" => Form::Inverse);
names!(FloorMode, "floor_mode", "tangent or clamp",
    "tangent" => FloorMode::Tangent, "clamp" => FloorMode::Clamp);
names!(Algorithm, "algorithm", "auto, gram or tiles",
    "auto" => Algorithm::Auto, "gram" => Algorithm::Gram, "tiles" => Algorithm::Tiles);

/// The settings of the loss, checked when they are set.
///
/// ```
/// use pdloss::loss::{Config, Form};
/// let config = Config::default().with_form(Form::Inverse).with_floor(0.5)?;
/// assert_eq!(config.floor(), 0.5);
/// assert!(config.with_temperature(0.0).is_err());
/// # Ok::<(), pdloss::loss::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    form: Form,
    floor_mode: FloorMode,
    algorithm: Algorithm,
    temperature: f64,
    floor: f64,
    eps: f64,
}

impl Default for Config {
    /// Form `log`, tangent floor at 1, temperature 1, `eps` 1e-6, path by operation count.
    fn default() -> Self {
        Self {
            form: Form::Log,
            floor_mode: FloorMode::Tangent,
            algorithm: Algorithm::Auto,
            temperature: 1.0,
            floor: 1.0,
            eps: 1e-6,
        }
    }
}

fn positive(attribute: &'static str, value: f64) -> Result<f64, Error> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Attribute { attribute, wanted: "a finite number above 0", given: value.to_string() })
    }
}

impl Config {
    /// Sets the form.
    #[must_use]
    pub fn with_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// Sets how `log` and `inverse` go on below the floor. `negative` needs no floor and ignores it.
    #[must_use]
    pub fn with_floor_mode(self, floor_mode: FloorMode) -> Self {
        Self { floor_mode, ..self }
    }

    /// Sets how sums are computed, for tests; [`Algorithm::Auto`] decides by operation count.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Sets the temperature that divides the cosines in the paper.
    ///
    /// It cancels exactly in the index, so the loss and its gradient do not depend on it; it scales the reported
    /// moments and enters the clamped floor mode.
    ///
    /// # Errors
    /// Unless `temperature` is finite and above 0.
    pub fn with_temperature(self, temperature: f64) -> Result<Self, Error> {
        Ok(Self { temperature: positive("temperature", temperature)?, ..self })
    }

    /// Sets the index below which the tangent takes over.
    ///
    /// # Errors
    /// Unless `floor` is finite and above 0.
    pub fn with_floor(self, floor: f64) -> Result<Self, Error> {
        Ok(Self { floor: positive("floor", floor)?, ..self })
    }

    /// Sets the smallest gap, and the addend of the variance, of the clamped floor mode.
    ///
    /// # Errors
    /// Unless `eps` is finite and above 0.
    pub fn with_eps(self, eps: f64) -> Result<Self, Error> {
        Ok(Self { eps: positive("eps", eps)?, ..self })
    }

    /// The form.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// How the form goes on below the floor.
    #[must_use]
    pub fn floor_mode(&self) -> FloorMode {
        self.floor_mode
    }

    /// How sums are computed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The temperature.
    #[must_use]
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The index below which the tangent takes over.
    #[must_use]
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// The smallest gap of the clamped floor mode.
    #[must_use]
    pub fn eps(&self) -> f64 {
        self.eps
    }
}
