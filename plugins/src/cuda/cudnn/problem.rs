//! A convolution as cuDNN takes it: numbers, then descriptors.
#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    fmt::{self, Display, Formatter},
    ptr,
};

use super::library::{Destroy, Library, Opaque, call};
use crate::{
    convolution::Shape,
    cuda::ElementType,
    error::{Error, Result},
};

const FLOAT: c_int = 0;
const HALF: c_int = 2;
const BFLOAT16: c_int = 9;
/// Batch, channels, rows, columns.
const NCHW: c_int = 0;
/// The kernel is not turned round.
const CROSS_CORRELATION: c_int = 1;

/// Which products a convolution is computed by.
pub(super) const DEFAULT_MATH: c_int = 0;
pub(super) const TENSOR_OP_MATH: c_int = 1;
/// float32 without TF32.
pub(super) const FMA_MATH: c_int = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    /// Of the weights, from `x` and the gradient.
    Weights,
    /// Of the input, from the weights and the gradient.
    Input,
}

/// `y = conv(x, W)`, whose gradient is asked for. Over one axis there is a first one of length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    pub(super) wanted: Wanted,
    /// The type's number.
    element: c_int,
    x: [c_int; 4],
    weights: [c_int; 4],
    y: [c_int; 4],
    padding: [c_int; 2],
    strides: [c_int; 2],
    dilations: [c_int; 2],
    groups: c_int,
    /// By which products, to begin with.
    pub(super) math: c_int,
}

impl Problem {
    /// # Errors
    /// Where cuDNN has no such convolution.
    pub(crate) fn new(wanted: Wanted, shape: &Shape, element: ElementType, tf32: bool) -> Result<Self> {
        let number = |length: usize| {
            c_int::try_from(length)
                .map_err(|_| Error::Device(format!("cuDNN: wanted lengths below 2^31, got {length}")))
        };
        let two = |lengths: [usize; 2]| Ok([number(lengths[0])?, number(lengths[1])?]);
        let four = |first: usize, second: usize, lengths: [usize; 2]| {
            Ok([number(first)?, number(second)?, number(lengths[0])?, number(lengths[1])?])
        };
        let (channels_in, channels_out) = (shape.groups * shape.each_in, shape.groups * shape.each_out);
        let (element, math) = match element {
            ElementType::F32 => (FLOAT, if tf32 { DEFAULT_MATH } else { FMA_MATH }),
            ElementType::F16 => (HALF, TENSOR_OP_MATH),
            ElementType::BF16 => (BFLOAT16, TENSOR_OP_MATH),
            ElementType::F64 => return Err(Error::Device("float64 has no kernel for CUDA".to_owned())),
        };
        Ok(Self {
            wanted,
            element,
            x: four(shape.batch, channels_in, shape.lengths)?,
            weights: four(channels_out, shape.each_in, shape.window.kernel)?,
            y: four(shape.batch, channels_out, shape.places)?,
            padding: two(shape.window.begin)?,
            strides: two(shape.window.strides)?,
            dilations: two(shape.window.dilations)?,
            groups: number(shape.groups)?,
            math,
        })
    }

    /// Bytes of all three tensors together.
    pub(super) fn bytes(&self) -> usize {
        let size = if self.element == FLOAT { 4 } else { 2 };
        let count =
            |lengths: &[c_int; 4]| lengths.iter().map(|&length| length.unsigned_abs() as usize).product::<usize>();
        size * [&self.x, &self.weights, &self.y].map(count).iter().sum::<usize>()
    }

    /// Whether results are to be those of float32 products.
    pub(super) fn is_exact(&self) -> bool {
        self.math == FMA_MATH
    }
}

/// What errors say of it.
impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { x, weights, y, padding, strides, dilations, groups, .. } = self;
        write!(
            f,
            "x {x:?}, weights {weights:?}, y {y:?}, pads {padding:?}, strides {strides:?}, dilations {dilations:?}, groups {groups}"
        )
    }
}

/// One of cuDNN's descriptors.
struct Descriptor {
    raw: Opaque,
    destroy: Destroy,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by the function's twin and not destroyed yet. Nothing can be done about a failure.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

/// The descriptors of a problem.
pub(super) struct Descriptors {
    library: &'static Library,
    operand: Descriptor,
    grad: Descriptor,
    convolution: Descriptor,
    out: Descriptor,
}

impl Descriptors {
    pub(super) fn of(library: &'static Library, problem: &Problem) -> Result<Self> {
        let grad = tensor(library, problem.element, problem.y)?;
        let (x, weights) = (tensor(library, problem.element, problem.x)?, filter(library, problem)?);
        let convolution = convolution(library, problem)?;
        let (operand, out) = match problem.wanted {
            Wanted::Weights => (x, weights),
            Wanted::Input => (weights, x),
        };
        Ok(Self { library, operand, grad, convolution, out })
    }

    /// By which products from now on.
    pub(super) fn set_math(&self, math: c_int) -> Result<()> {
        call!(unsafe self.library, cudnnSetConvolutionMathType(self.convolution.raw, math))
    }

    /// In the order of calls: operand, gradient, convolution, result.
    pub(super) fn raw(&self) -> [Opaque; 4] {
        [self.operand.raw, self.grad.raw, self.convolution.raw, self.out.raw]
    }
}

fn tensor(library: &'static Library, element: c_int, [n, c, h, w]: [c_int; 4]) -> Result<Descriptor> {
    let mut raw = ptr::null_mut();
    call!(unsafe library, cudnnCreateTensorDescriptor(&raw mut raw))?;
    let made = Descriptor { raw, destroy: library.cudnnDestroyTensorDescriptor };
    call!(unsafe library, cudnnSetTensor4dDescriptor(raw, NCHW, element, n, c, h, w))?;
    Ok(made)
}

fn filter(library: &'static Library, problem: &Problem) -> Result<Descriptor> {
    let mut raw = ptr::null_mut();
    call!(unsafe library, cudnnCreateFilterDescriptor(&raw mut raw))?;
    let made = Descriptor { raw, destroy: library.cudnnDestroyFilterDescriptor };
    let [m, c, h, w] = problem.weights;
    call!(unsafe library, cudnnSetFilter4dDescriptor(raw, problem.element, NCHW, m, c, h, w))?;
    Ok(made)
}

fn convolution(library: &'static Library, problem: &Problem) -> Result<Descriptor> {
    let mut raw = ptr::null_mut();
    call!(unsafe library, cudnnCreateConvolutionDescriptor(&raw mut raw))?;
    let made = Descriptor { raw, destroy: library.cudnnDestroyConvolutionDescriptor };
    let ([p, q], [s, t], [d, e]) = (problem.padding, problem.strides, problem.dilations);
    // Sums are of float32 whatever the tensors hold.
    call!(unsafe library, cudnnSetConvolution2dDescriptor(raw, p, q, s, t, d, e, CROSS_CORRELATION, FLOAT))?;
    call!(unsafe library, cudnnSetConvolutionGroupCount(raw, problem.groups))?;
    call!(unsafe library, cudnnSetConvolutionMathType(raw, problem.math))?;
    Ok(made)
}
