//! `Update`: all weights, as many at once as a launch's parameters hold.

use super::{
    Step,
    params::{UPDATED, Update, Updated},
};
use crate::{
    cuda::{
        params::Address,
        queue::{Grid, int},
    },
    error::{Error, Result},
    ort_api::{Plain, Tensor, TypeCode},
    update::{Optimizer, Rule, TENSORS, Tensors, check_shapes, left_out},
};

/// Numbers of a weight that a block has.
const BLOCK: usize = 4096;

pub(super) fn run(step: &Step<'_, '_>, rule: &Rule) -> Result<()> {
    let one = |name, code| -> Result<Address> {
        let tensor = step.input(name)?;
        if tensor.shape().iter().product::<usize>() != 1 {
            return Err(Error::tensor(name, "one number", format!("{:?}", tensor.shape())));
        }
        tensor.address(code).map(Address)
    };
    let (optimizer, betas, epsilon, nesterov) = match rule.optimizer {
        Optimizer::Sgd { momentum, nesterov } => (0, [momentum, 0.0], 0.0, nesterov),
        Optimizer::AdamW { beta1, beta2, epsilon } => (1, [beta1, beta2], epsilon, false),
        Optimizer::Lion { beta1, beta2 } => (2, [beta1, beta2], 0.0, false),
    };
    let mut parameters = Update {
        learning_rate: one("learning_rate", <f32 as Plain>::TYPE as TypeCode)?,
        step: one("step", <i64 as Plain>::TYPE as TypeCode)?,
        norm: one("gradient_norm", step.code)?,
        betas,
        epsilon,
        clip: rule.clip.unwrap_or(0.0),
        optimizer,
        nesterov: u32::from(nesterov),
        weights: 0,
        skips: u32::from(rule.skips),
        of: [Updated::NONE; UPDATED],
    };
    let tensors = Tensors::of(step.signature, rule, step.run)?;
    let next = step.run.next_tensors(TENSORS, &tensors.pairs())?;
    let both = |(old, new): (Tensor<'_>, Option<Tensor<'_>>)| -> Result<Both> {
        let next = step.address(&new.ok_or_else(left_out)?)?;
        Ok(Both { old: step.address(&old)?, next, shape: old.shape().to_vec() })
    };
    let next = next.into_iter().map(both).collect::<Result<Vec<_>>>()?;

    let mut blocks = 0;
    for (index, (weight, kept, average)) in tensors.by_weights(next).into_iter().enumerate() {
        let gradient = step.run.required(tensors.gradient(index), TENSORS)?;
        let parts = kept.iter().chain(&average).map(|part| part.shape.as_slice());
        check_shapes(index, &weight.shape, parts.chain([gradient.shape()]))?;
        let count = weight.shape.iter().product::<usize>();
        if count == 0 {
            continue;
        }
        let settings = &tensors.weights[index];
        let mut of = Updated {
            weight: weight.old,
            gradient: step.address(&gradient)?,
            next_weight: weight.next,
            count: count as u64,
            rate: settings.rate,
            decay: settings.decay,
            stays: settings.average,
            block: blocks as u64,
            ..Updated::NONE
        };
        for (place, part) in kept.iter().enumerate() {
            (of.kept[place], of.next_kept[place]) = (part.old, part.next);
        }
        if let Some(part) = average {
            (of.average, of.next_average) = (part.old, part.next);
        }
        parameters.of[parameters.weights as usize] = of;
        parameters.weights += 1;
        blocks += count.div_ceil(BLOCK);
        if parameters.weights as usize == UPDATED {
            step.queue.launch_typed("update", Grid::Blocks(blocks), &parameters)?;
            (parameters.weights, blocks) = (0, 0);
        }
    }
    if parameters.weights == 0 {
        return Ok(());
    }
    int(blocks)?;
    step.queue.launch_typed("update", Grid::Blocks(blocks), &parameters)
}

/// A tensor, and where its next value is made.
struct Both {
    old: Address,
    next: Address,
    shape: Vec<usize>,
}
