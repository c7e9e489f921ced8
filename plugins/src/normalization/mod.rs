//! Normalization in training: `BatchNormTraining`, `BatchNormGrad` and `LayerNormGrad`.
//!
//! With `c = x - mean`, `r = 1 / sqrt(variance + epsilon)` and `n = c r`, where mean and variance are those of the elements that are
//! normalized together:
//!
//! `y = scale n + bias: dbias = sum g, dscale = sum g n, dx = r (h - mean h - n mean(h n))` with `h = scale g`
//!
//! Sums are in float64, and cut up by shapes alone, so that no bit follows from the number of threads.

pub(crate) mod batch;
pub(crate) mod layer;
mod sums;

use std::mem::MaybeUninit;

use crate::{
    cpu::Float,
    error::{Error, Result},
    ort_api::{NodeInfo, Plain, Run, Tensor},
    schema::{Operator, Signature},
    settings::{decimal, wrong},
};

/// A node's attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalization {
    /// Added to the variance.
    pub(crate) epsilon: f64,
    /// How much of a running statistic stays.
    pub(crate) momentum: f64,
    /// Whether the running variance follows that of the sample, divided by `n - 1`.
    of_sample: bool,
}

impl Normalization {
    /// Reads `epsilon` (1e-5), `momentum` (0.9) and `sample` (0).
    pub(crate) fn read(node: &NodeInfo<'_>) -> Result<Self> {
        let number = |name, usual| decimal(node, name).map(|value| value.unwrap_or(usual));
        let (epsilon, momentum, sample) =
            (number(c"epsilon", 1e-5)?, number(c"momentum", 0.9)?, number(c"sample", 0.0)?);
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(wrong(c"epsilon", format!("wanted a finite number not below 0, got {epsilon}")));
        }
        if !(0.0..=1.0).contains(&momentum) {
            return Err(wrong(c"momentum", format!("wanted a number from 0 to 1, got {momentum}")));
        }
        Ok(Self { epsilon, momentum, of_sample: sample != 0.0 })
    }

    /// What the variance of so many values is multiplied with before the running one follows it.
    pub(crate) fn widened(&self, count: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let count = count as f64;
        if self.of_sample { count / (count - 1.0).max(1.0) } else { 1.0 }
    }
}

/// Runs a node.
pub(crate) fn run<T: Float>(signature: &Signature, of: &Normalization, run: &Run<'_>) -> Result<()> {
    let node = Node { signature, run };
    match signature.operator {
        Operator::BatchNormTraining => batch::forward::<T>(of, &node),
        Operator::BatchNormGrad => batch::backward::<T>(of, &node),
        _ => layer::backward::<T>(&node),
    }
}

/// The tensors of a run by their names in the signature.
pub(crate) struct Node<'n, 'a> {
    pub(crate) signature: &'n Signature,
    pub(crate) run: &'n Run<'a>,
}

impl<'a> Node<'_, 'a> {
    pub(crate) fn input(&self, name: &'static str) -> Result<Tensor<'a>> {
        self.run.required(self.signature.input(name), name)
    }

    /// An input of this many numbers.
    pub(crate) fn of_count(&self, name: &'static str, count: usize) -> Result<Tensor<'a>> {
        let tensor = self.input(name)?;
        if tensor.shape().iter().product::<usize>() == count {
            return Ok(tensor);
        }
        Err(Error::tensor(name, format!("{count} numbers"), format!("{:?}", tensor.shape())))
    }

    fn numbers<T: Plain>(&self, name: &'static str, count: usize) -> Result<&'a [T]> {
        self.of_count(name, count)?.as_slice::<T>()
    }

    /// An output, where anybody asked for it.
    fn output<T: Plain>(&self, name: &str, shape: &[usize]) -> Result<Option<&'a mut [MaybeUninit<T>]>> {
        match self.signature.output(name) {
            Some(index) => self.run.output(index, shape),
            None => Ok(None),
        }
    }
}

fn same_shape(x: &Tensor<'_>, grad: &Tensor<'_>) -> Result<()> {
    if grad.shape() == x.shape() {
        return Ok(());
    }
    Err(Error::tensor("grad", format!("{:?} as x has", x.shape()), format!("{:?}", grad.shape())))
}
