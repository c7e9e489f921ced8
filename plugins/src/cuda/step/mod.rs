//! The operators of a training step, beside the losses, on the CUDA provider: their CPU twins are `crate::{update, activation,
//! normalization, convolution}`, which also read the attributes and check the shapes.
//!
//! As the loss's, they enqueue and return. All sums have an order that follows from the shapes.

mod activation;
mod convolution;
mod norm;
mod normalization;
mod params;
mod pool;
mod update;

use super::{ElementType, params::Address, provider, queue::Queue};
use crate::{
    activation::Activation,
    convolution::Convolution,
    error::{Error, Result},
    normalization::Normalization,
    ort_api::{Place, Run, Tensor, TypeCode},
    schema::{Operator, Signature},
    update::Rule,
};

const F64: usize = size_of::<f64>();

/// A node's attributes.
#[derive(Clone, Copy)]
pub(crate) enum Settings<'a> {
    Norm,
    Update(&'a Rule),
    Activation(Activation),
    Normalization(&'a Normalization),
    Convolution(&'a Convolution),
}

/// A run of a node: its tensors by their names, and where its work is put.
struct Step<'n, 'a> {
    signature: &'n Signature,
    run: &'n Run<'a>,
    queue: Queue<'n>,
    code: TypeCode,
}

/// Refuses a node that no run of could be.
pub(crate) fn check(operator: Operator, settings: Settings<'_>) -> Result<()> {
    match (operator, settings) {
        (Operator::ConvWeightGrad | Operator::ConvInputGrad, Settings::Convolution(of)) => of.check_for_cudnn(operator),
        (Operator::WinogradConv, _) => Err(Error::Device(
            "it is the processor's; wanted Conv, as `pdloss train --device cuda` and `pdloss export --train --device cuda` write it"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Runs one node.
pub(crate) fn run(
    signature: &Signature,
    settings: Settings<'_>,
    element: ElementType,
    place: &Place,
    run: &Run<'_>,
) -> Result<()> {
    let queue = Queue::new(provider::stream(run)?, None, run.memory(place)?, element);
    let step = Step { signature, run, queue, code: element.code() as TypeCode };
    match settings {
        Settings::Norm => norm::run(&step),
        Settings::Update(rule) => update::run(&step, rule),
        Settings::Activation(activation) => activation::run(&step, activation),
        Settings::Normalization(of) => match signature.operator {
            Operator::BatchNormTraining => normalization::batch(&step, of),
            Operator::BatchNormGrad => normalization::batch_grad(&step, of),
            _ => normalization::layer_grad(&step),
        },
        Settings::Convolution(of) => match signature.operator {
            Operator::MaxPoolGrad => pool::max_pool_grad(&step, of),
            Operator::ConvWeightGrad => convolution::weight_grad(&step, of),
            _ => convolution::input_grad(&step, of),
        },
    }
}

impl<'a> Step<'_, 'a> {
    fn input(&self, name: &'static str) -> Result<Tensor<'a>> {
        self.run.required(self.signature.input(name), name)
    }

    /// Where the numbers of a tensor of the node's type are.
    fn address(&self, tensor: &Tensor<'_>) -> Result<Address> {
        tensor.address(self.code).map(Address)
    }

    /// Where an output is made, null where nobody asked for it.
    fn output(&self, name: &str, shape: &[usize]) -> Result<Address> {
        let index = self.signature.output(name);
        let tensor = index.map(|index| self.run.output_tensor(index, shape)).transpose()?.flatten();
        tensor.map_or(Ok(Address::NULL), |tensor| self.address(&tensor))
    }
}
