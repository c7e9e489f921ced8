//! Gradients of what moves a window over one or two axes: `ConvWeightGrad`, `ConvInputGrad` and `MaxPoolGrad`; and `WinogradConv`, which
//! is the convolution itself.
//!
//! `y[n, m, p] = sum over c, k of x[n, c, stride p + dilation k - begin] W[m, c, k]`:
//! `dW[m, c, k] = sum over n, p of g[n, m, p] x[n, c, stride p + dilation k - begin]`, and
//! `dx[n, c, i] = sum over m, p, k of g[n, m, p] W[m, c, k]` where `i = stride p + dilation k - begin`
//!
//! Work and sums are cut up by shapes alone, so that no bit follows from the number of threads.

mod dense;
mod depthwise;
mod pool;
mod product;
mod shape;
mod winograd;

use std::{ffi::CStr, mem::MaybeUninit};

use crate::{
    cpu,
    error::{Error, Result},
    ort_api::{NodeInfo, Run},
    schema::{Operator, Signature},
    settings::{integers, wrong},
};
pub(crate) use product::Real;
pub(crate) use shape::Shape;
use shape::Window;

/// A node's attributes.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    groups: usize,
    /// How many axes it has: one or two.
    axes: usize,
    window: Window,
    /// Elements of an image behind all that a window meets: of `ConvInputGrad` alone.
    beyond: [usize; 2],
}

/// Channels of `y` in a group up to which it is no product of matrices, where `x` has one.
const FEW: usize = 4;

impl Convolution {
    /// Reads `kernel_shape`, and, each of which may be left out, `strides`, `dilations`, `pads` (in front of each axis, then behind
    /// each) and `group`, as those of `Conv`, and `output_padding`, as that of `ConvTranspose`.
    pub(crate) fn read(node: &NodeInfo<'_>) -> Result<Self> {
        let kernel = integers(node, c"kernel_shape")?.unwrap_or_default();
        let axes = kernel.len();
        if !(1..=2).contains(&axes) {
            return Err(wrong(c"kernel_shape", format!("wanted one or two lengths, got {kernel:?}")));
        }
        let list = |name: &'static CStr, count: usize, least: i64| {
            let values = integers(node, name)?.unwrap_or_else(|| vec![least; count]);
            let lengths: Option<Vec<usize>> = values.iter().map(|&value| length_of(value, least)).collect();
            lengths.filter(|lengths| lengths.len() == count).ok_or_else(|| {
                wrong(name, format!("wanted {count} integers of {least} or more and below 2^31, got {values:?}"))
            })
        };
        let two = |lengths: &[usize], filling: usize| match *lengths {
            [first, second] => [first, second],
            _ => [filling, lengths[0]],
        };
        let pads = list(c"pads", 2 * axes, 0)?;
        let window = Window {
            kernel: two(&list(c"kernel_shape", axes, 1)?, 1),
            strides: two(&list(c"strides", axes, 1)?, 1),
            dilations: two(&list(c"dilations", axes, 1)?, 1),
            begin: two(&pads[..axes], 0),
            end: two(&pads[axes..], 0),
        };
        let beyond = two(&list(c"output_padding", axes, 0)?, 0);
        let group = integers(node, c"group")?.unwrap_or_else(|| vec![1]);
        match group.as_slice() {
            &[group] if group > 0 => Ok(Self { groups: group.try_into().unwrap_or(usize::MAX), axes, window, beyond }),
            _ => Err(wrong(c"group", format!("wanted an integer above 0, got {group:?}"))),
        }
    }

    /// The lengths of a pool; every channel of `x` is a group.
    pub(crate) fn pool(&self, x: &[usize], grad: &[usize]) -> Result<Shape> {
        self.check_axes("x", x)?;
        let channels = x[1];
        if grad.get(1) != Some(&channels) {
            return Err(Error::tensor("grad", format!("{channels} channels as x has"), format!("{grad:?}")));
        }
        let window = &self.window;
        for (axis, (&length, &places)) in x[2..].iter().zip(&grad[2..]).enumerate() {
            let axis = 2 - self.axes + axis;
            let room = (length + window.begin[axis] + window.end[axis]).checked_sub(window.reach(axis));
            let (least, most) = match room {
                Some(room) => (room / window.strides[axis] + 1, room.div_ceil(window.strides[axis]) + 1),
                None => (0, 1),
            };
            if length > 0 && x[0] > 0 && !(least..=most).contains(&places) {
                let wanted = format!("{least} places (with ceil_mode {most}) over the {length} elements of x");
                return Err(Error::tensor("grad", wanted, format!("{grad:?}")));
            }
        }
        // With `ceil_mode` the last windows reach beyond the padding.
        let window = Window { end: self.window.end.map(|end| end + i32::MAX as usize), ..self.window };
        Shape::of(window, channels.max(1), ("x", x), ("grad", grad))
    }

    /// The lengths of the convolution that `ConvWeightGrad` is of, and those of the weights.
    pub(crate) fn of_weights(&self, x: &[usize], grad: &[usize]) -> Result<(Shape, Vec<usize>)> {
        self.check_axes("x", x)?;
        let shape = Shape::of(self.window, self.groups, ("x", x), ("grad", grad))?;
        let kernel = &shape.window.kernel[2 - self.axes..];
        let lengths = [&[shape.groups * shape.each_out, shape.each_in], kernel].concat();
        Ok((shape, lengths))
    }

    /// The lengths of the convolution that `ConvInputGrad` is of, and those of `x`.
    pub(crate) fn of_input(&self, grad: &[usize], weights: &[usize]) -> Result<(Shape, Vec<usize>)> {
        let wrong = |wanted: String| Error::tensor("weights", wanted, format!("{weights:?}"));
        let first = 2 - self.axes;
        let kernel = &self.window.kernel[first..];
        self.check_axes("grad", grad)?;
        let &[batch, channels, ref places @ ..] = grad else {
            return Err(Error::tensor("grad", "[N, M, ...]", format!("{grad:?}")));
        };
        let each_in = weights.get(1).copied().unwrap_or(0);
        if *weights != [&[channels, each_in], kernel].concat() || each_in == 0 {
            let kernel: Vec<String> = kernel.iter().map(ToString::to_string).collect();
            return Err(wrong(format!("[{channels}, C / groups, {}]", kernel.join(", "))));
        }
        let lengths: Option<Vec<usize>> = (places.iter().enumerate())
            .map(|(axis, &places)| {
                let (axis, window) = (first + axis, &self.window);
                let met = if places == 0 { 0 } else { window.span(axis, places) };
                met.checked_add(self.beyond[axis])?.checked_sub(window.begin[axis] + window.end[axis])
            })
            .collect();
        let Some(lengths) = lengths else {
            let wanted = "places whose windows reach over more than the padding".to_owned();
            return Err(Error::tensor("grad", wanted, format!("{grad:?}")));
        };
        let x = [&[batch, self.groups * each_in], lengths.as_slice()].concat();
        Ok((Shape::of(self.window, self.groups, ("x_grad", &x), ("grad", grad))?, x))
    }

    /// The lengths of the convolution that `WinogradConv` is, and those of `y`.
    pub(crate) fn of_output(&self, x: &[usize], weights: &[usize]) -> Result<(Shape, Vec<usize>)> {
        self.check_axes("x", x)?;
        let &[channels_out, each_in, 3, 3] = weights else {
            return Err(Error::tensor("weights", "[M, C, 3, 3]", format!("{weights:?}")));
        };
        if x[1] != each_in || each_in == 0 {
            let wanted = format!("[M, {}, 3, 3] with channels as x has", x[1]);
            return Err(Error::tensor("weights", wanted, format!("{weights:?}")));
        }
        let places: Option<Vec<usize>> = (x[2..].iter().enumerate())
            .map(|(axis, &length)| (length + self.window.begin[axis] + self.window.end[axis]).checked_sub(2))
            .collect();
        let Some(places) = places.filter(|places| !places.contains(&0)) else {
            return Err(Error::tensor("x", "images that the window fits on", format!("{x:?}")));
        };
        let y = [&[x[0], channels_out], places.as_slice()].concat();
        Ok((Shape::of(self.window, 1, ("x", x), ("y", &y))?, y))
    }

    /// Refuses what `WinogradConv` is not.
    pub(crate) fn check_for_winograd(&self) -> Result<()> {
        let Window { kernel, strides, dilations, .. } = self.window;
        if self.axes == 2 && kernel == [3, 3] && strides == [1, 1] && dilations == [1, 1] && self.groups == 1 {
            return Ok(());
        }
        let got = format!("{kernel:?} moved by {strides:?} with dilations of {dilations:?} in {} groups", self.groups);
        Err(wrong(c"kernel_shape", format!("wanted [3, 3] moved by [1, 1] without dilations or groups, got {got}")))
    }

    /// Refuses padding with which cuDNN has a convolution of no length; of some lengths it has none all the same.
    pub(crate) fn check_for_cudnn(&self, operator: Operator) -> Result<()> {
        for axis in 0..2 {
            let (window, stride) = (&self.window, self.window.strides[axis]);
            let (begin, end) = (window.begin[axis], window.end[axis]);
            let has = match operator {
                // What is left behind the windows, were both ends padded as the front is.
                Operator::ConvInputGrad => {
                    (self.beyond[axis] + begin).checked_sub(end).is_some_and(|rest| rest < stride)
                }
                _ => begin.abs_diff(end) < stride,
            };
            if !has {
                let rest = self.beyond[axis];
                return Err(window.not_of_cudnn(axis, &format!("output_padding of {rest}")));
            }
        }
        Ok(())
    }

    /// Refuses images of other axes than the kernel has.
    fn check_axes(&self, name: &str, shape: &[usize]) -> Result<()> {
        if shape.len() == self.axes + 2 {
            return Ok(());
        }
        let axes = if self.axes == 1 { "one axis" } else { "two axes" };
        let wanted = format!("{axes} behind batch and channels, as kernel_shape has");
        Err(Error::tensor(name, wanted, format!("{shape:?}")))
    }
}

/// None above 2^31, so that products of two cannot overflow.
fn length_of(value: i64, least: i64) -> Option<usize> {
    i32::try_from(value).ok().filter(|&value| i64::from(value) >= least)?.try_into().ok()
}

/// Runs a node.
pub(crate) fn run<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    match signature.operator {
        Operator::ConvWeightGrad => weight_grad::<T>(signature, of, run),
        Operator::MaxPoolGrad => max_pool_grad::<T>(signature, of, run),
        Operator::WinogradConv => forward::<T>(signature, of, run),
        _ => input_grad::<T>(signature, of, run),
    }
}

/// `ConvWeightGrad(grad, x) -> weight_grad`
fn weight_grad<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (grad, x) = (input("grad")?, input("x")?);
    let (shape, lengths) = of.of_weights(x.shape(), grad.shape())?;
    let (values, grads) = (x.as_slice::<T>()?, grad.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, &lengths)? else { return Ok(()) };
    if values.is_empty() || grads.is_empty() {
        fill_with_zeros(out);
        return Ok(());
    }
    let threads = cpu::threads(run);
    if shape.each_in == 1 && shape.each_out <= FEW {
        depthwise::weight_grad(&shape, (grads, values), out, &threads);
    } else if winograd::suits(&shape) {
        winograd::weight_grad(&shape, (grads, values), out, &threads);
    } else {
        dense::weight_grad(&shape, (grads, values), out, &threads);
    }
    Ok(())
}

/// `ConvInputGrad(grad, weights) -> x_grad`
fn input_grad<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (grad, weights) = (input("grad")?, input("weights")?);
    let (shape, x) = of.of_input(grad.shape(), weights.shape())?;
    let (grads, values) = (grad.as_slice::<T>()?, weights.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, &x)? else { return Ok(()) };
    if out.is_empty() || grads.is_empty() {
        fill_with_zeros(out);
    } else if shape.each_in == 1 {
        depthwise::input_grad(&shape, (grads, values), out, &cpu::threads(run));
    } else if winograd::suits(&shape) {
        winograd::input_grad(&shape, (grads, values), out, &cpu::threads(run));
    } else {
        dense::input_grad(&shape, (grads, values), out, &cpu::threads(run));
    }
    Ok(())
}

/// `WinogradConv(x, weights, bias) -> y`
fn forward<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (x, weights) = (input("x")?, input("weights")?);
    let (shape, y) = of.of_output(x.shape(), weights.shape())?;
    let bias = run.input(signature.input("bias"), "bias")?;
    let bias = match &bias {
        Some(bias) if bias.shape() != [shape.each_out] => {
            return Err(Error::tensor("bias", format!("[{}]", shape.each_out), format!("{:?}", bias.shape())));
        }
        Some(bias) => Some(bias.as_slice::<T>()?),
        None => None,
    };
    let (values, kernels) = (x.as_slice::<T>()?, weights.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, &y)? else { return Ok(()) };
    if !out.is_empty() {
        winograd::forward(&shape, (values, kernels), bias, out, &cpu::threads(run));
    }
    Ok(())
}

/// `MaxPoolGrad(grad, x) -> x_grad`
fn max_pool_grad<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (grad, x) = (input("grad")?, input("x")?);
    let shape = of.pool(x.shape(), grad.shape())?;
    let (values, grads) = (x.as_slice::<T>()?, grad.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, x.shape())? else { return Ok(()) };
    if values.is_empty() || grads.is_empty() {
        fill_with_zeros(out);
    } else {
        pool::max_pool_grad(&shape, (grads, values), out, &cpu::threads(run));
    }
    Ok(())
}

fn fill_with_zeros<T: Real>(out: &mut [MaybeUninit<T>]) {
    out.fill(MaybeUninit::new(T::zero()));
}
