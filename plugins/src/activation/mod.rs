//! `ActivationGrad(grad, kept, second) -> input_grad`: from the gradient of an activation's output that of its input, in one pass
//! over what the forward pass keeps, without masks in memory.
//!
//! With `g` the gradient, and the attribute `activation`:
//!
//! | | kept | gradient |
//! |---|---|---|
//! | `relu` | output `y` | `g` where `y > 0`, else 0 |
//! | `clip` (`low`, `high`, each optional) | output `y` | `g` where `low < y < high`, else 0 |
//! | `leaky-relu` (`alpha`) | output or input, whose sign is the same | `g` where it is above 0, else `alpha g` |
//! | `sigmoid` | output `y` | `g y (1 - y)` |
//! | `tanh` | output `y` | `g (1 - y y)` |
//! | `hard-sigmoid` (`alpha`) | output `y` | `alpha g` where `0 < y < 1`, else 0 |
//! | `hard-swish` | input `x` | 0 below -3, `g` above 3, `g (x / 3 + 1 / 2)` between |
//! | `silu` | input `x`, second its sigmoid `s` | `g s (1 + x (1 - s))` |
//! | `gelu` (`factor`, 1 if left out) | input `x` | `factor g ((1 + erf(x / sqrt 2)) / 2 + x exp(-x x / 2) / sqrt(2 pi))` |
//! | `gelu-tanh` | input `x` | `g ((1 + t) / 2 + x (1 - t t) c (1 + 3 a x x) / 2)`, `t = tanh(c (x + a x^3))`, `c = sqrt(2 / pi)`, `a = 0.044715` |
//!
//! All in float32 and float64, the last two in float32 alone. The order of operations is that of `pdloss::graph::gradient` in standard
//! operators.

mod functions;

use std::mem::MaybeUninit;

use crate::{
    cpu::{self, Float},
    error::{Error, Result},
    ort_api::{NodeInfo, Plain, Run, Tensor, TypeCode, type_name},
    schema::Signature,
    settings::{decimal, text, wrong},
    types::ElementType,
};
use functions::{gelu_slope, gelu_tanh_slope};

/// Numbers that one task takes.
const BLOCK: usize = 1 << 14;

/// A node's attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    Relu,
    Clip {
        low: f64,
        high: f64,
    },
    LeakyRelu {
        alpha: f64,
    },
    Sigmoid,
    Tanh,
    HardSigmoid {
        alpha: f64,
    },
    HardSwish,
    Silu,
    /// Times a factor.
    Gelu {
        factor: f64,
    },
    GeluTanh,
}

impl Activation {
    pub(crate) fn read(node: &NodeInfo<'_>) -> Result<Self> {
        let alpha =
            || decimal(node, c"alpha")?.ok_or_else(|| wrong(c"alpha", "wanted a number, and it is not there".into()));
        let name = text(node, c"activation")?;
        Ok(match name.as_deref() {
            Some("relu") => Self::Relu,
            Some("clip") => Self::Clip {
                low: decimal(node, c"low")?.unwrap_or(f64::NEG_INFINITY),
                high: decimal(node, c"high")?.unwrap_or(f64::INFINITY),
            },
            Some("leaky-relu") => Self::LeakyRelu { alpha: alpha()? },
            Some("sigmoid") => Self::Sigmoid,
            Some("tanh") => Self::Tanh,
            Some("hard-sigmoid") => Self::HardSigmoid { alpha: alpha()? },
            Some("hard-swish") => Self::HardSwish,
            Some("silu") => Self::Silu,
            Some("gelu") => Self::Gelu { factor: decimal(node, c"factor")?.unwrap_or(1.0) },
            Some("gelu-tanh") => Self::GeluTanh,
            other => {
                let got = other.map_or_else(|| "none".to_owned(), |name| format!("'{name}'"));
                return Err(wrong(
                    c"activation",
                    format!(
                        "wanted relu, clip, leaky-relu, sigmoid, tanh, hard-sigmoid, hard-swish, silu, gelu or gelu-tanh, got {got}"
                    ),
                ));
            }
        })
    }
}

/// A node's tensors, of one shape.
pub(crate) struct Given<'a> {
    pub(crate) grad: Tensor<'a>,
    pub(crate) kept: Tensor<'a>,
    pub(crate) second: Option<Tensor<'a>>,
}

impl<'a> Given<'a> {
    pub(crate) fn of(signature: &Signature, activation: Activation, run: &Run<'a>) -> Result<Self> {
        let input = |name| run.required(signature.input(name), name);
        let (grad, kept) = (input("grad")?, input("kept")?);
        let second = matches!(activation, Activation::Silu).then(|| input("second")).transpose()?;
        for other in [&kept].into_iter().chain(&second) {
            if grad.shape() != other.shape() {
                let wanted = format!("{:?} as grad has", grad.shape());
                return Err(Error::tensor(other.name(), wanted, format!("{:?}", other.shape())));
            }
        }
        Ok(Self { grad, kept, second })
    }
}

/// Runs a node of this type, float32 or float64.
pub(crate) fn run(signature: &Signature, activation: Activation, element: ElementType, run: &Run<'_>) -> Result<()> {
    let Given { grad, kept, second } = Given::of(signature, activation, run)?;
    match (element, activation) {
        (ElementType::F32, Activation::Gelu { factor }) => {
            let factor = f32::of(factor);
            each(run, &grad, &kept, move |g: f32, x| g * (gelu_slope(x) * factor))
        }
        (ElementType::F32, Activation::GeluTanh) => each(run, &grad, &kept, move |g: f32, x| g * gelu_tanh_slope(x)),
        (ElementType::F32, _) => run_as::<f32>(activation, run, (&grad, &kept, second.as_ref())),
        _ => run_as::<f64>(activation, run, (&grad, &kept, second.as_ref())),
    }
}

fn run_as<T: Float>(
    activation: Activation,
    run: &Run<'_>,
    (grad, kept, second): (&Tensor<'_>, &Tensor<'_>, Option<&Tensor<'_>>),
) -> Result<()> {
    let (zero, one) = (T::zero(), T::one());
    // A product, as in standard operators: what is not finite stays so.
    let gate = move |holds: bool| if holds { one } else { zero };
    match activation {
        Activation::Relu => each::<T>(run, grad, kept, move |g, y| g * gate(y > zero)),
        Activation::Clip { low, high } => {
            let (low, high) = (T::of(low), T::of(high));
            each::<T>(run, grad, kept, move |g, y| g * gate((y > low) & (y < high)))
        }
        Activation::LeakyRelu { alpha } => {
            let alpha = T::of(alpha);
            each::<T>(run, grad, kept, move |g, y| if y > zero { g } else { g * alpha })
        }
        Activation::Sigmoid => each::<T>(run, grad, kept, move |g, y| g * (y * (one - y))),
        Activation::Tanh => each::<T>(run, grad, kept, move |g, y| g * (one - y * y)),
        Activation::HardSigmoid { alpha } => {
            let alpha = T::of(alpha);
            each::<T>(run, grad, kept, move |g, y| g * alpha * gate((y > zero) & (y < one)))
        }
        Activation::HardSwish => {
            let (end, third, half) = (T::of(3.0), T::of(1.0 / 3.0), T::of(0.5));
            each::<T>(run, grad, kept, move |g, x| {
                let (middle, outside) = (g * (x * third + half), g * gate(x > zero));
                if (x > -end) & (x < end) { middle } else { outside }
            })
        }
        Activation::Silu => {
            let second = second.ok_or_else(|| Error::tensor("second", "a tensor", "none"))?;
            let second = second.as_slice::<T>()?;
            over_blocks::<T>(run, grad, kept, |start, grad, kept, out| {
                for (((out, &g), &x), &s) in out.iter_mut().zip(grad).zip(kept).zip(&second[start..]) {
                    out.write(g * (s * (one + x * (one - s))));
                }
            })
        }
        Activation::Gelu { .. } | Activation::GeluTanh => {
            Err(Error::tensor("grad", "float32 of the activation gelu", type_name(<f64 as Plain>::TYPE as TypeCode)))
        }
    }
}

/// Number by number. What `of` holds must be its own: a number behind a reference is read again after each result, and the loop made no
/// vectors of.
fn each<T: Float>(
    run: &Run<'_>,
    grad: &Tensor<'_>,
    kept: &Tensor<'_>,
    of: impl Fn(T, T) -> T + Copy + Sync,
) -> Result<()> {
    let arch = pulp::Arch::new();
    over_blocks(run, grad, kept, |_, grad, kept, out| arch.dispatch(Block { grad, kept, out, of }))
}

struct Block<'a, T, F> {
    grad: &'a [T],
    kept: &'a [T],
    out: &'a mut [MaybeUninit<T>],
    of: F,
}

impl<T: Float, F: Fn(T, T) -> T + Copy> pulp::WithSimd for Block<'_, T, F> {
    type Output = ();

    // A closure would not be compiled for the instruction set that it is called with.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let of = self.of;
        for ((out, &g), &kept) in self.out.iter_mut().zip(self.grad).zip(self.kept) {
            out.write(of(g, kept));
        }
    }
}

/// Block by block, on the host's threads. `of` writes all of the block that it is given, whose first number is at its first
/// argument.
fn over_blocks<T: Float>(
    run: &Run<'_>,
    grad: &Tensor<'_>,
    kept: &Tensor<'_>,
    of: impl Fn(usize, &[T], &[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<()> {
    let (values, keeps) = (grad.as_slice::<T>()?, kept.as_slice::<T>()?);
    let Some(out) = run.output::<T>(0, grad.shape())? else { return Ok(()) };
    let blocks = values.chunks(BLOCK).zip(keeps.chunks(BLOCK)).zip(out.chunks_mut(BLOCK));
    cpu::each(&cpu::threads(run), blocks, |index, ((grad, kept), out)| of(index * BLOCK, grad, kept, out));
    Ok(())
}
