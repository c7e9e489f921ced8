//! Moments of the genuine and impostor similarities, as values that merge.

use super::{Config, Error};
use ndarray::ArrayView1;

/// Count, mean and sum of squared deviations of some numbers: what can be combined exactly across shards.
///
/// Merging and its inverse follow the pairwise update of Chan, Golub and LeVeque, in `f64`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// How many numbers.
    pub count: f64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub squares: f64,
}

impl Summary {
    /// Of these numbers, in two passes.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { count, mean, squares }
    }

    /// Of `count` numbers with this sum, and sum of squares, of their differences to `centre`.
    pub(crate) fn about(centre: f64, count: f64, sum: f64, squares: f64) -> Self {
        Self { count, mean: centre + sum / count, squares: tidy(count, squares - sum * sum / count) }
    }

    /// Of both sets of numbers together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let step = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + step * other.count / count,
            squares: self.squares + other.squares + step * step * self.count * other.count / count,
        }
    }

    /// Of the numbers that are left when `part`, which must be among them, is taken out.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        let count = self.count - part.count;
        if part.count == 0.0 || count <= 0.0 {
            return if part.count == 0.0 { self } else { Self::default() };
        }
        let mean = self.mean + (self.mean - part.mean) * part.count / count;
        let step = part.mean - mean;
        let squares = self.squares - part.squares - step * step * part.count * count / self.count;
        Self { count, mean, squares: tidy(count, squares) }
    }

    pub(crate) fn to_array(self) -> [f64; 3] {
        [self.count, self.mean, self.squares]
    }

    /// Genuine and impostor summary from `[6]` numbers.
    pub(crate) fn pair(values: ArrayView1<'_, f64>) -> Result<[Self; 2], Error> {
        if values.len() != 6 {
            return Err(Error::shape("summaries", "[6]", values.shape()));
        }
        let at = |at| Self { count: values[at], mean: values[at + 1], squares: values[at + 2] };
        Ok([at(0), at(3)])
    }

    /// Population variance; 0 of none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0.0 { 0.0 } else { self.squares / self.count }
    }
}

/// A difference of sums of squares without what only rounding left in it: one number is its own mean, and no sum of
/// squares is negative. `f64::max` would turn NaN into 0.
fn tidy(count: f64, squares: f64) -> f64 {
    if count == 1.0 {
        0.0 * squares
    } else if squares < 0.0 {
        0.0
    } else {
        squares
    }
}

/// What the loss is a function of, reported beside it. Means and variances carry the temperature; `d_prime` does not
/// depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Mean similarity of samples to their own class.
    pub mu_genuine: f64,
    /// Mean similarity of samples to all other classes.
    pub mu_impostor: f64,
    /// Population variance of the genuine similarities.
    pub var_genuine: f64,
    /// Population variance of the impostor similarities.
    pub var_impostor: f64,
    /// Decidability index: the gap of the means over the root of the mean variance.
    pub d_prime: f64,
    /// Genuine pairs.
    pub n_genuine: f64,
    /// Impostor pairs.
    pub n_impostor: f64,
}

impl Moments {
    /// In the order of the fields, as the operator returns them.
    #[must_use]
    pub fn to_array(&self) -> [f64; 7] {
        [
            self.mu_genuine,
            self.mu_impostor,
            self.var_genuine,
            self.var_impostor,
            self.d_prime,
            self.n_genuine,
            self.n_impostor,
        ]
    }

    pub(crate) fn report(config: &Config, genuine: &Summary, impostor: &Summary, d_prime: f64) -> Self {
        let (scale, square) = (1.0 / config.temperature(), 1.0 / (config.temperature() * config.temperature()));
        Self {
            mu_genuine: genuine.mean * scale,
            mu_impostor: impostor.mean * scale,
            var_genuine: genuine.variance() * square,
            var_impostor: impostor.variance() * square,
            d_prime,
            n_genuine: genuine.count,
            n_impostor: impostor.count,
        }
    }
}
