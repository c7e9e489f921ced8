//! Gradients of what moves a window over one or two axes: `ConvWeightGrad`, `ConvInputGrad` and `MaxPoolGrad`.
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
        // With `ceil_mode` the last windows reach beyond the padding.
        let window = Window { end: self.window.end.map(|end| end + i32::MAX as usize), ..self.window };
        Shape::of(window, channels.max(1), ("x", x), ("grad", grad))
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
        _ => input_grad::<T>(signature, of, run),
    }
}

/// `ConvWeightGrad(grad, x) -> weight_grad`
fn weight_grad<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (grad, x) = (input("grad")?, input("x")?);
    of.check_axes("x", x.shape())?;
    let shape = Shape::of(of.window, of.groups, ("x", x.shape()), ("grad", grad.shape()))?;
    let kernel = &shape.window.kernel[2 - of.axes..];
    let lengths = [&[shape.groups * shape.each_out, shape.each_in], kernel].concat();
    let (values, grads) = (x.as_slice::<T>()?, grad.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, &lengths)? else { return Ok(()) };
    if values.is_empty() || grads.is_empty() {
        fill_with_zeros(out);
        return Ok(());
    }
    let threads = cpu::threads(run);
    if shape.each_in == 1 && shape.each_out <= FEW {
        depthwise::weight_grad(&shape, (grads, values), out, &threads);
    } else {
        dense::weight_grad(&shape, (grads, values), out, &threads);
    }
    Ok(())
}

/// `ConvInputGrad(grad, weights) -> x_grad`
fn input_grad<T: Real>(signature: &Signature, of: &Convolution, run: &Run<'_>) -> Result<()> {
    let input = |name| run.required(signature.input(name), name);
    let (grad, weights) = (input("grad")?, input("weights")?);
    let wrong = |wanted: String| Error::tensor("weights", wanted, format!("{:?}", weights.shape()));
    let kernel = &of.window.kernel[2 - of.axes..];
    of.check_axes("grad", grad.shape())?;
    let &[batch, channels, ref places @ ..] = grad.shape() else {
        return Err(Error::tensor("grad", "[N, M, ...]", format!("{:?}", grad.shape())));
    };
    let each_in = weights.shape().get(1).copied().unwrap_or(0);
    if *weights.shape() != [&[channels, each_in], kernel].concat() || each_in == 0 {
        let kernel: Vec<String> = kernel.iter().map(ToString::to_string).collect();
        return Err(wrong(format!("[{channels}, C / groups, {}]", kernel.join(", "))));
    }
    let first = 2 - of.axes;
    let lengths: Option<Vec<usize>> = (places.iter().enumerate())
        .map(|(axis, &places)| {
            let (axis, window) = (first + axis, &of.window);
            let met = if places == 0 { 0 } else { window.span(axis, places) };
            met.checked_add(of.beyond[axis])?.checked_sub(window.begin[axis] + window.end[axis])
        })
        .collect();
    let Some(lengths) = lengths else {
        let wanted = "places whose windows reach over more than the padding".to_owned();
        return Err(Error::tensor("grad", wanted, format!("{:?}", grad.shape())));
    };
    let x = [&[batch, of.groups * each_in], lengths.as_slice()].concat();
    let shape = Shape::of(of.window, of.groups, ("x_grad", &x), ("grad", grad.shape()))?;
    let (grads, values) = (grad.as_slice::<T>()?, weights.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, &x)? else { return Ok(()) };
    if out.is_empty() || grads.is_empty() {
        fill_with_zeros(out);
    } else if each_in == 1 {
        depthwise::input_grad(&shape, (grads, values), out, &cpu::threads(run));
    } else {
        dense::input_grad(&shape, (grads, values), out, &cpu::threads(run));
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
