//! `ConvWeightGrad` and `ConvInputGrad`, by cuDNN.

use super::Step;
use crate::{
    convolution::{Convolution, Shape},
    cuda::{
        cudnn::{Problem, Wanted},
        params::Address,
        provider,
    },
    error::Result,
    ort_api::Tensor,
};

/// `ConvWeightGrad(grad, x) -> weight_grad`
pub(super) fn weight_grad(step: &Step<'_, '_>, of: &Convolution) -> Result<()> {
    let (grad, x) = (step.input("grad")?, step.input("x")?);
    let (shape, lengths) = of.of_weights(x.shape(), grad.shape())?;
    gradient(step, &shape, Wanted::Weights, [&x, &grad], ("weight_grad", &lengths))
}

/// `ConvInputGrad(grad, weights) -> x_grad`
pub(super) fn input_grad(step: &Step<'_, '_>, of: &Convolution) -> Result<()> {
    let (grad, weights) = (step.input("grad")?, step.input("weights")?);
    let (shape, lengths) = of.of_input(grad.shape(), weights.shape())?;
    gradient(step, &shape, Wanted::Input, [&weights, &grad], ("x_grad", &lengths))
}

fn gradient(
    step: &Step<'_, '_>,
    shape: &Shape,
    wanted: Wanted,
    given: [&Tensor<'_>; 2],
    (name, lengths): (&str, &[usize]),
) -> Result<()> {
    let out = step.output(name, lengths)?;
    let elements = lengths.iter().product::<usize>();
    if out == Address::NULL || elements == 0 {
        return Ok(());
    }
    let stream = step.queue.stream();
    if given.iter().any(|tensor| tensor.shape().contains(&0)) {
        return stream.fill_with_zeros(out, elements * step.queue.element.size());
    }
    shape.check_for_cudnn()?;
    let problem = Problem::new(wanted, shape, step.queue.element, provider::allows_tf32(step.run))?;
    let [operand, grad] = [step.address(given[0])?, step.address(given[1])?];
    let scratch = |bytes| step.queue.scratch(bytes, 1);
    provider::dnn(step.run, stream)?.gradient(&problem, [operand, grad, out], scratch)
}
