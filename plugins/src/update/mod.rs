//! `Update(learning_rate, step, gradient_norm, settings, tensors...) -> (tensors...)`: the optimiser's step of all weights in one
//! node.
//!
//! `settings`, float64 `[n, 3]`, has a row for each of `n` weights: the factor on its learning rate, its weight decay, and the decay
//! of its average, 0 where it has none. `tensors` are, one after the other, all of one type: the `n` weights; their `n` gradients;
//! the optimiser's first tensor of every weight; its second, where it keeps two; the averages of the weights that have one. The
//! outputs are the next values of all of them but the gradients, in the same order.
//!
//! Each number follows from those at its own place alone, so a host may bind one buffer as a tensor and as its next value.

mod factors;
mod rule;
mod steps;

use crate::{
    cpu::{self, Float},
    error::{Error, Result},
    ort_api::{Block, NextValue, Plain, Run},
    schema::Signature,
};
use factors::{Factors, Moment, Weight};
pub(crate) use rule::Rule;

/// Numbers that one task takes: with their gradient and the optimiser's tensors they stay in a core's cache.
const BLOCK: usize = 1 << 14;

/// What messages call the variadic tensors.
const TENSORS: &str = "tensors";

/// Runs a node.
pub(crate) fn run<T: Float>(signature: &Signature, rule: &Rule, run: &Run<'_>) -> Result<()> {
    let moment = Moment {
        learning_rate: one::<f32>(signature, run, "learning_rate")?,
        step: one::<i64>(signature, run, "step")?,
        norm: one::<T>(signature, run, "gradient_norm")?,
    };
    let settings = run.required(signature.input("settings"), "settings")?;
    let &[count, 3] = settings.shape() else {
        return Err(Error::tensor("settings", "[n, 3], a row for each weight", format!("{:?}", settings.shape())));
    };
    let weights: Vec<Weight> = settings.as_slice::<f64>()?.chunks_exact(3).map(Weight::of).collect();
    let first = signature.input(TENSORS);
    let averaged: Vec<usize> = (0..count).filter(|&weight| weights[weight].average > 0.0).collect();
    let kept = rule.tensors();
    let (wanted, got) = (count * (2 + kept) + averaged.len(), run.inputs()? - first);
    if wanted != got {
        let wanted =
            format!("{wanted} ({count} weights, their gradients, {kept} more of each, {} averages)", averaged.len());
        return Err(Error::tensor(TENSORS, wanted, format!("{got}")));
    }

    // Where each is among the inputs, and its next value among the outputs.
    let weight_pairs = (0..count).map(|weight| (first + weight, weight));
    let others = (count..wanted - count).map(|output| (first + count + output, output));
    let mut next = run.next_values::<T>(TENSORS, &weight_pairs.chain(others).collect::<Vec<_>>(), BLOCK)?.into_iter();
    let mut take = |count: usize| -> Vec<Option<NextValue<'_, T>>> { next.by_ref().take(count).collect() };
    let (values, states) = (take(count), (0..kept).map(|_| take(count)).collect::<Vec<_>>());
    let mut averages: Vec<Option<NextValue<'_, T>>> = (0..count).map(|_| None).collect();
    for (&weight, average) in averaged.iter().zip(take(averaged.len())) {
        averages[weight] = Some(average.ok_or_else(left_out)?);
    }
    let mut states: Vec<_> = states.into_iter().map(Vec::into_iter).collect();

    let mut tasks = Vec::new();
    for (index, (value, average)) in values.into_iter().zip(averages).enumerate() {
        let value = value.ok_or_else(left_out)?;
        let states = states.iter_mut().map(|of_all| of_all.next().flatten().ok_or_else(left_out));
        let parts = states.chain(average.map(Ok)).collect::<Result<Vec<_>>>()?;
        let gradient = run.required(first + count + index, TENSORS)?;
        for shape in parts.iter().map(|part| part.shape.as_slice()).chain([gradient.shape()]) {
            if shape != value.shape {
                let wanted = format!("{:?} as the weight at {index} has", value.shape);
                return Err(Error::tensor(TENSORS, wanted, format!("{shape:?}")));
            }
        }
        let factors = Factors::<T>::of(rule, &moment, &weights[index]);
        let mut parts: Vec<_> = parts.into_iter().map(|part| part.blocks.into_iter()).collect();
        for (value, gradient) in value.blocks.into_iter().zip(gradient.as_slice::<T>()?.chunks(BLOCK)) {
            let parts = parts.iter_mut().filter_map(Iterator::next).collect();
            tasks.push(Task { factors, value, gradient, parts });
        }
    }
    cpu::each(&cpu::threads(run), tasks.into_iter(), |_, task| task.run(rule));
    Ok(())
}

/// A block of a weight, with all that it follows.
struct Task<'a, T> {
    factors: Factors<T>,
    value: Block<'a, T>,
    gradient: &'a [T],
    /// The optimiser's tensors, then the average where there is one.
    parts: Vec<Block<'a, T>>,
}

impl<T: Float> Task<'_, T> {
    fn run(self, rule: &Rule) {
        let value = self.value.take();
        let mut parts = self.parts.into_iter().map(Block::take);
        let mut kept: Vec<&mut [T]> = parts.by_ref().take(rule.tensors()).collect();
        rule.step(&self.factors, value, self.gradient, &mut kept);
        if let Some(average) = parts.next() {
            self.factors.follow(average, value);
        }
    }
}

fn left_out() -> Error {
    Error::tensor(TENSORS, "an output for each but the gradients", "one that is left out")
}

/// The single number of an input.
fn one<T: Plain>(signature: &Signature, run: &Run<'_>, name: &'static str) -> Result<T> {
    let tensor = run.required(signature.input(name), name)?;
    match tensor.as_slice::<T>()? {
        [number] => Ok(*number),
        _ => Err(Error::tensor(name, "one number", format!("{:?}", tensor.shape()))),
    }
}
