//! Over the batch: a mean and a variance for each channel of `[N, C, ...]`. A task has a channel.

use std::{mem::MaybeUninit, sync::Mutex};

use pdloss::loss::Executor as _;

use super::{Node, Normalization, same_shape, sums::Sums};
use crate::{
    cpu::{self, Float},
    error::{Error, Result},
    ort_api::Tensor,
};

/// `[N, C, ...]` as `batch` images of `channels` rows of `length` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) length: usize,
}

impl Layout {
    /// Of x, and of the gradient beside it.
    pub(crate) fn of_both(x: &Tensor<'_>, grad: &Tensor<'_>) -> Result<Self> {
        same_shape(x, grad)?;
        Self::of(x)
    }

    pub(crate) fn of(x: &Tensor<'_>) -> Result<Self> {
        let &[batch, channels, ref rest @ ..] = x.shape() else {
            return Err(Error::tensor("x", "[N, C, ...]", format!("{:?}", x.shape())));
        };
        let layout = Self { batch, channels, length: rest.iter().product() };
        if layout.count() == 0 {
            return Err(Error::tensor("x", "a value for each channel", format!("{:?}", x.shape())));
        }
        Ok(layout)
    }

    /// Values of a channel.
    pub(crate) fn count(&self) -> usize {
        self.batch * self.length
    }

    /// The rows of a channel, in order.
    fn rows<T>(self, x: &[T], channel: usize) -> impl Iterator<Item = &[T]> {
        (0..self.batch).map(move |image| &x[(image * self.channels + channel) * self.length..][..self.length])
    }

    /// The rows of every channel of an output.
    fn rows_of_each<T>(self, mut out: &mut [T]) -> Vec<Vec<&mut [T]>> {
        let mut channels: Vec<Vec<&mut [T]>> = (0..self.channels).map(|_| Vec::with_capacity(self.batch)).collect();
        for _ in 0..self.batch {
            for channel in &mut channels {
                let (row, rest) = std::mem::take(&mut out).split_at_mut(self.length);
                channel.push(row);
                out = rest;
            }
        }
        channels
    }
}

/// Calls `task` for every channel with its rows of an output, and gives what it answers.
fn each_channel<T: Float, A: Copy + Default + Send>(
    node: &Node<'_, '_>,
    layout: Layout,
    out: Option<&mut [MaybeUninit<T>]>,
    task: impl Fn(usize, Option<Vec<&mut [MaybeUninit<T>]>>) -> A + Sync,
) -> Vec<A> {
    let rows: Vec<Option<Vec<_>>> = match out {
        Some(out) => layout.rows_of_each(out).into_iter().map(Some).collect(),
        None => (0..layout.channels).map(|_| None).collect(),
    };
    let tasks: Vec<_> = rows.into_iter().map(|rows| Mutex::new((Some(rows), A::default()))).collect();
    cpu::threads(node.run).run(tasks.len(), &|channel| {
        if let Ok(mut of_channel) = tasks[channel].lock()
            && let Some(rows) = of_channel.0.take()
        {
            of_channel.1 = task(channel, rows);
        }
    });
    tasks.into_iter().map(|task| task.into_inner().map(|(_, answer)| answer).unwrap_or_default()).collect()
}

fn write<T: Float>(out: Option<&mut [MaybeUninit<T>]>, values: impl Iterator<Item = f64>) {
    for (out, value) in out.into_iter().flatten().zip(values) {
        out.write(T::of(value));
    }
}

/// `BatchNormTraining(x, scale, bias, running_mean, running_variance) -> (y, mean, variance, next_mean, next_variance)`
pub(super) fn forward<T: Float>(of: &Normalization, node: &Node<'_, '_>) -> Result<()> {
    let x = node.input("x")?;
    let layout = Layout::of(&x)?;
    let per_channel = |name| node.numbers::<T>(name, layout.channels);
    let (scale, bias) = (per_channel("scale")?, per_channel("bias")?);
    let (running_mean, running_variance) = (per_channel("running_mean")?, per_channel("running_variance")?);
    let values = x.as_slice::<T>()?;
    let arch = pulp::Arch::new();
    let statistics = each_channel::<T, (f64, f64)>(node, layout, node.output("y", x.shape())?, |channel, out| {
        let (scale, bias) = (scale[channel], bias[channel]);
        arch.dispatch(Forward { layout, values, channel, scale, bias, epsilon: of.epsilon, out })
    });
    let channels = [layout.channels];
    write::<T>(node.output("mean", &channels)?, statistics.iter().map(|(mean, _)| *mean));
    write::<T>(node.output("variance", &channels)?, statistics.iter().map(|(_, variance)| *variance));
    let widened = of.widened(layout.count());
    let (keep, take) = (T::of(of.momentum), T::of(1.0 - of.momentum));
    let follow = |old: &[T], new: &dyn Fn(&(f64, f64)) -> f64, out: Option<&mut [MaybeUninit<T>]>| {
        for ((out, &old), statistic) in out.into_iter().flatten().zip(old).zip(&statistics) {
            out.write(old * keep + T::of(new(statistic)) * take);
        }
    };
    follow(running_mean, &|(mean, _)| *mean, node.output("next_mean", &channels)?);
    follow(running_variance, &|(_, variance)| variance * widened, node.output("next_variance", &channels)?);
    Ok(())
}

/// A channel; with the instructions that the machine has, as [`Backward`].
struct Forward<'a, 'o, T> {
    layout: Layout,
    values: &'a [T],
    channel: usize,
    scale: T,
    bias: T,
    epsilon: f64,
    out: Option<Vec<&'o mut [MaybeUninit<T>]>>,
}

impl<T: Float> pulp::WithSimd for Forward<'_, '_, T> {
    /// Mean and variance.
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> (f64, f64) {
        let Self { layout, values, channel, scale, bias, epsilon, out } = self;
        let (mean, variance) = statistics(layout, values, channel);
        // As the gradient will read them.
        let (mean, variance) = (T::of(mean), T::of(variance));
        let factor = scale * inverse_deviation(variance, epsilon);
        for (row, out) in layout.rows(values, channel).zip(out.into_iter().flatten()) {
            for (out, &x) in out.iter_mut().zip(row) {
                out.write((x - mean) * factor + bias);
            }
        }
        (mean.wide(), variance.wide())
    }
}

/// Mean and variance of a channel in one pass, about the mean of its first row: so nothing is lost where the mean is far from 0.
#[inline(always)]
fn statistics<T: Float>(layout: Layout, x: &[T], channel: usize) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let (length, count) = (layout.length as f64, layout.count() as f64);
    let mut first = Sums::<1>::ZERO;
    layout.rows(x, channel).take(1).for_each(|row| first.add(row, row, |x, _| [x]));
    let about = first.totals()[0] / length;
    let mut sums = Sums::<2>::ZERO;
    layout.rows(x, channel).for_each(|row| sums.add(row, row, |x, _| [x - about, (x - about) * (x - about)]));
    let [sum, squares] = sums.totals().map(|sum| sum / count);
    (about + sum, (squares - sum * sum).max(0.0))
}

fn inverse_deviation<T: Float>(variance: T, epsilon: f64) -> T {
    T::one() / (variance + T::of(epsilon)).sqrt()
}

/// `BatchNormGrad(grad, x, scale, mean, variance) -> (x_grad, scale_grad, bias_grad)`
pub(super) fn backward<T: Float>(of: &Normalization, node: &Node<'_, '_>) -> Result<()> {
    let (x, grad) = (node.input("x")?, node.input("grad")?);
    let layout = Layout::of_both(&x, &grad)?;
    let per_channel = |name| node.numbers::<T>(name, layout.channels);
    let (scale, mean, variance) = (per_channel("scale")?, per_channel("mean")?, per_channel("variance")?);
    let (values, grads) = (x.as_slice::<T>()?, grad.as_slice::<T>()?);
    let arch = pulp::Arch::new();
    let sums = each_channel::<T, (f64, f64)>(node, layout, node.output("x_grad", x.shape())?, |channel, out| {
        let (scale, mean, variance) = (scale[channel], mean[channel], variance[channel]);
        let r = inverse_deviation(variance, of.epsilon).wide();
        arch.dispatch(Backward { layout, grads, values, channel, scale, mean, r, out })
    });
    write::<T>(node.output("scale_grad", &[layout.channels])?, sums.iter().map(|(_, along)| *along));
    write::<T>(node.output("bias_grad", &[layout.channels])?, sums.iter().map(|(sum, _)| *sum));
    Ok(())
}

/// The gradient of a channel, whose inverse deviation is `r`.
struct Backward<'a, 'o, T> {
    layout: Layout,
    grads: &'a [T],
    values: &'a [T],
    channel: usize,
    scale: T,
    mean: T,
    r: f64,
    out: Option<Vec<&'o mut [MaybeUninit<T>]>>,
}

impl<T: Float> pulp::WithSimd for Backward<'_, '_, T> {
    /// The gradients of bias and scale.
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> (f64, f64) {
        let Self { layout, grads, values, channel, scale, mean, r, out } = self;
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let count = layout.count() as f64;
        let pairs = || layout.rows(grads, channel).zip(layout.rows(values, channel));
        let mut sums = Sums::<2>::ZERO;
        let about = mean.wide();
        pairs().for_each(|(grad, row)| sums.add(grad, row, |g, x| [g, g * (x - about)]));
        let [sum, along] = sums.totals();
        // dx = scale r (g - mean g - c r^2 mean(g c))
        let (size, middle) = (T::of(scale.wide() * r), T::of(sum / count));
        let bend = T::of(r * r * along / count);
        for ((grad, row), out) in pairs().zip(out.into_iter().flatten()) {
            for ((out, &g), &x) in out.iter_mut().zip(grad).zip(row) {
                out.write((g - middle - (x - mean) * bend) * size);
            }
        }
        (sum, along * r)
    }
}
