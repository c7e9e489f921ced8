//! The numbers that all of a weight is multiplied with: from learning rate, step and gradient norm, once a run.
//!
//! As `pdloss::graph::step` has it in standard operators: the rate and the powers in float64, what meets the tensors in their type.

use super::rule::{Optimizer, Rule};
use crate::{
    cpu::Float,
    error::{Error, Result},
};

/// What is of the step, and not of a weight.
pub(super) struct Moment<T> {
    pub(super) learning_rate: f32,
    /// Counted from 1.
    pub(super) step: i64,
    /// Of all gradients together.
    pub(super) norm: T,
}

/// A row of the settings.
pub(crate) struct Weight {
    /// Factor on the learning rate.
    pub(crate) rate: f64,
    pub(crate) decay: f64,
    /// How much of an average stays; 0 where there is none.
    pub(crate) average: f64,
}

impl Weight {
    /// # Errors
    /// Where a number of the row is none that a step can be made with.
    pub(super) fn read(row: usize, of: &[f64]) -> Result<Self> {
        let [rate, decay, average] = [of[0], of[1], of[2]];
        let is_right = rate.is_finite() && decay.is_finite() && decay >= 0.0 && (0.0..=1.0).contains(&average);
        if !is_right {
            let wanted = "a finite rate, a finite decay not below 0 and an average from 0 to 1 in each row";
            return Err(Error::tensor("settings", wanted, format!("{rate}, {decay}, {average} in row {row}")));
        }
        Ok(Self { rate, decay, average })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Factors<T> {
    /// What a gradient is multiplied with, 1 where it is short enough.
    pub(super) clip: T,
    /// What the direction is multiplied with.
    pub(super) size: T,
    /// AdamW's, as it is under the bias correction.
    pub(super) epsilon: T,
    /// What is left of the weight: AdamW's and Lion's decay.
    pub(super) keep: T,
    /// SGD's decay, part of the gradient.
    pub(super) decay: Option<T>,
    /// What stays of an average, and what is new.
    average: (T, T),
}

impl<T: Float> Factors<T> {
    pub(super) fn of(rule: &Rule, moment: &Moment<T>, weight: &Weight) -> Self {
        let rate = f64::from(moment.learning_rate) * weight.rate;
        let mut size = rate;
        let mut epsilon_of_step = 0.0;
        if let Optimizer::AdamW { beta1, beta2, epsilon } = rule.optimizer {
            let bias = |beta: f64| 1.0 - power(beta, moment.step);
            let root = bias(beta2).sqrt();
            size = rate * root / bias(beta1);
            epsilon_of_step = root * epsilon;
        }
        let decays = weight.decay > 0.0;
        let is_of_gradient = matches!(rule.optimizer, Optimizer::Sgd { .. });
        let keep = if decays && !is_of_gradient { rate * -weight.decay + 1.0 } else { 1.0 };
        Self {
            clip: rule.clip.map_or(T::one(), |limit| clip(limit, moment.norm)),
            size: T::of(size),
            epsilon: T::of(epsilon_of_step),
            keep: T::of(keep),
            decay: (decays && is_of_gradient).then(|| T::of(weight.decay)),
            average: (T::of(weight.average), T::of(1.0 - weight.average)),
        }
    }

    /// Moves an average on to the next value.
    pub(super) fn follow(&self, average: &mut [T], next: &[T]) {
        let (kept, added) = self.average;
        for (average, &next) in average.iter_mut().zip(next) {
            *average = *average * kept + next * added;
        }
    }
}

/// `min(1, limit / (norm + 1e-6))`, NaN where the norm is.
fn clip<T: Float>(limit: f64, norm: T) -> T {
    let ratio = T::of(limit) / (norm + T::of(1e-6));
    if ratio > T::one() { T::one() } else { ratio }
}

/// `base ^ exponent`; onnxruntime multiplies where the exponent is 2 or 3.
fn power(base: f64, exponent: i64) -> f64 {
    match exponent {
        2 => base * base,
        3 => base * base * base,
        #[expect(clippy::cast_precision_loss, reason = "a number of steps")]
        _ => base.powf(exponent as f64),
    }
}
