//! `Update(learning_rate, step, gradient_norm, settings, tensors...) -> (tensors...)`: the optimiser's step of all weights in one
//! node.
//!
//! `settings`, float64 `[n, 3]`, has a row for each of `n` weights: the factor on its learning rate, its weight decay, and the decay
//! of its average, 0 where it has none. `tensors` are, one after the other, all of one type: the `n` weights; their `n` gradients;
//! the optimiser's first tensor of every weight; its second, where it keeps two; the averages of the weights that have one. The
//! outputs are the next values of all of them but the gradients, in the same order.
//!
//! With the attribute `skip`, which loss scaling wants, nothing changes where the norm of the gradients is not finite in float32.
//!
//! Each number follows from those at its own place alone, so a host may bind one buffer as a tensor and as its next value.

mod factors;
pub(crate) mod norm;
mod rule;
mod steps;

use crate::{
    cpu::{self, Float},
    error::{Error, Result},
    ort_api::{Block, NextValue, Plain, Run},
    schema::Signature,
};
pub(crate) use factors::Weight;
use factors::{Factors, Moment};
pub(crate) use rule::{Optimizer, Rule};

/// Numbers that one task takes: with their gradient and the optimiser's tensors they stay in a core's cache.
const BLOCK: usize = 1 << 14;

/// What messages call the variadic tensors.
pub(crate) const TENSORS: &str = "tensors";

/// Which of a node's tensors is what.
pub(crate) struct Tensors {
    /// In their order.
    pub(crate) weights: Vec<Weight>,
    /// The input of the first weight.
    first: usize,
    /// Tensors that the rule keeps of each weight.
    kept: usize,
}

impl Tensors {
    /// # Errors
    /// Where there are not as many tensors as settings and rule say.
    pub(crate) fn of(signature: &Signature, rule: &Rule, run: &Run<'_>) -> Result<Self> {
        let settings = run.required(signature.input("settings"), "settings")?;
        let &[count, 3] = settings.shape() else {
            return Err(Error::tensor("settings", "[n, 3], a row for each weight", format!("{:?}", settings.shape())));
        };
        let rows = settings.as_slice::<f64>()?.chunks_exact(3).enumerate();
        let weights = rows.map(|(row, of)| Weight::read(row, of)).collect::<Result<Vec<_>>>()?;
        let tensors = Self { weights, first: signature.input(TENSORS), kept: rule.tensors() };
        let (averages, kept) = (tensors.averaged().count(), tensors.kept);
        let (wanted, got) = (count * (2 + kept) + averages, run.inputs()? - tensors.first);
        if wanted != got {
            let wanted =
                format!("{wanted} ({count} weights, their gradients, {kept} more of each, {averages} averages)");
            return Err(Error::tensor(TENSORS, wanted, format!("{got}")));
        }
        Ok(tensors)
    }

    /// The weights that have an average.
    fn averaged(&self) -> impl Iterator<Item = usize> {
        (0..self.weights.len()).filter(|&weight| self.weights[weight].average > 0.0)
    }

    /// The input of a weight's gradient.
    pub(crate) fn gradient(&self, weight: usize) -> usize {
        self.first + self.weights.len() + weight
    }

    /// Where each tensor is among the inputs, and its next value among the outputs.
    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        let (first, count) = (self.first, self.weights.len());
        let outputs = count * (1 + self.kept) + self.averaged().count();
        let others = (count..outputs).map(|output| (first + count + output, output));
        (0..count).map(|weight| (first + weight, weight)).chain(others).collect()
    }

    /// What was made of each of `pairs`, by weights: the weight, what the rule keeps of it, and its average, where there is one.
    pub(crate) fn by_weights<A>(&self, made: Vec<A>) -> Vec<(A, Vec<A>, Option<A>)> {
        let count = self.weights.len();
        let mut made = made.into_iter();
        let mut by_weights: Vec<_> = made.by_ref().take(count).map(|weight| (weight, Vec::new(), None)).collect();
        for _ in 0..self.kept {
            for ((_, kept, _), value) in by_weights.iter_mut().zip(made.by_ref().take(count)) {
                kept.push(value);
            }
        }
        for (weight, average) in self.averaged().zip(made) {
            by_weights[weight].2 = Some(average);
        }
        by_weights
    }
}

/// Refuses tensors of another shape than their weight has.
pub(crate) fn check_shapes<'s>(
    weight: usize,
    shape: &[usize],
    others: impl Iterator<Item = &'s [usize]>,
) -> Result<()> {
    for other in others {
        if other != shape {
            let wanted = format!("{shape:?} as the weight at {weight} has");
            return Err(Error::tensor(TENSORS, wanted, format!("{other:?}")));
        }
    }
    Ok(())
}

/// Runs a node.
pub(crate) fn run<T: Float>(signature: &Signature, rule: &Rule, run: &Run<'_>) -> Result<()> {
    let moment = Moment {
        learning_rate: one::<f32>(signature, run, "learning_rate")?,
        step: one::<i64>(signature, run, "step")?,
        norm: one::<T>(signature, run, "gradient_norm")?,
    };
    if moment.step < 1 {
        return Err(Error::tensor("step", "1 or more, the number of this step", format!("{}", moment.step)));
    }
    let tensors = Tensors::of(signature, rule, run)?;
    let next = run.next_values::<T>(TENSORS, &tensors.pairs(), BLOCK)?;
    let next = next.into_iter().map(|value| value.ok_or_else(left_out)).collect::<Result<Vec<_>>>()?;

    let is_finite = moment.norm.wide() <= f64::from(f32::MAX);
    let skipped = rule.skips && !is_finite;
    let mut tasks = Vec::new();
    for (index, (value, kept, average)) in tensors.by_weights(next).into_iter().enumerate() {
        let parts: Vec<NextValue<'_, T>> = kept.into_iter().chain(average).collect();
        let gradient = run.required(tensors.gradient(index), TENSORS)?;
        check_shapes(index, &value.shape, parts.iter().map(|part| part.shape.as_slice()).chain([gradient.shape()]))?;
        let factors = Factors::<T>::of(rule, &moment, &tensors.weights[index]);
        let mut parts: Vec<_> = parts.into_iter().map(|part| part.blocks.into_iter()).collect();
        for (value, gradient) in value.blocks.into_iter().zip(gradient.as_slice::<T>()?.chunks(BLOCK)) {
            let parts = parts.iter_mut().filter_map(Iterator::next).collect();
            tasks.push(Task { factors, value, gradient, parts, skipped });
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
    /// Next values are those that there are.
    skipped: bool,
}

impl<T: Float> Task<'_, T> {
    fn run(self, rule: &Rule) {
        let value = self.value.take();
        let mut parts = self.parts.into_iter().map(Block::take);
        if self.skipped {
            return parts.for_each(|_| ());
        }
        let mut kept: Vec<&mut [T]> = parts.by_ref().take(rule.tensors()).collect();
        rule.step(&self.factors, value, self.gradient, &mut kept);
        if let Some(average) = parts.next() {
            self.factors.follow(average, value);
        }
    }
}

pub(crate) fn left_out() -> Error {
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
