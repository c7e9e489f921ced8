//! `ActivationGrad`.

use super::{Step, params::ActivationGrad};
use crate::{
    activation::{Activation, Given},
    cuda::{params::Address, queue::Grid},
    error::Result,
};

pub(super) fn run(step: &Step<'_, '_>, of: Activation) -> Result<()> {
    let Given { grad, kept, second } = Given::of(step.signature, of, step.run)?;
    let out = step.output("input_grad", grad.shape())?;
    let count = grad.shape().iter().product::<usize>();
    if out == Address::NULL || count == 0 {
        return Ok(());
    }
    let (activation, [low, high, factor]) = in_kernels(of);
    let parameters = ActivationGrad {
        grad: step.address(&grad)?,
        kept: step.address(&kept)?,
        second: second.map_or(Ok(Address::NULL), |second| step.address(&second))?,
        out,
        count: count as u64,
        low,
        high,
        factor,
        activation,
        unused: 0,
    };
    step.queue.launch_typed("activation_grad", Grid::Elements(count.div_ceil(4)), &parameters)
}

/// As kernels number it, and its numbers: the bounds of Clip, and alpha or the factor of GELU.
fn in_kernels(of: Activation) -> (u32, [f64; 3]) {
    match of {
        Activation::Relu => (0, [0.0; 3]),
        Activation::Clip { low, high } => (1, [low, high, 0.0]),
        Activation::LeakyRelu { alpha } => (2, [0.0, 0.0, alpha]),
        Activation::Sigmoid => (3, [0.0; 3]),
        Activation::Tanh => (4, [0.0; 3]),
        Activation::HardSigmoid { alpha } => (5, [0.0, 0.0, alpha]),
        Activation::HardSwish => (6, [0.0; 3]),
        Activation::Silu => (7, [0.0; 3]),
        Activation::Gelu { factor } => (8, [0.0, 0.0, factor]),
        Activation::GeluTanh => (9, [0.0; 3]),
    }
}
