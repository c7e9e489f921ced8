//! Over the last axes: a mean and a variance for each row. A task has a block of rows, and sums of its own for scale and bias.

use std::{mem::MaybeUninit, sync::Mutex};

use pdloss::loss::Executor as _;

use super::{Node, same_shape, sums::Sums};
use crate::{
    cpu::{self, Float},
    error::{Error, Result},
    ort_api::Tensor,
};

/// The most blocks that rows are cut into, each of which has its own sums.
const BLOCKS: usize = 64;

/// `LayerNormGrad(grad, x, scale, mean, inverse_deviation) -> (x_grad, scale_grad, bias_grad)`: the scale, and so its gradient, has
/// the shape of the last axes of `x`; mean and inverse deviation have a number for each row.
pub(super) fn backward<T: Float>(node: &Node<'_, '_>) -> Result<()> {
    let (x, grad, scale) = (node.input("x")?, node.input("grad")?, node.input("scale")?);
    let (rows, width) = rows_of(&x, &grad, &scale)?;
    let (values, grads, factors) = (x.as_slice::<T>()?, grad.as_slice::<T>()?, scale.as_slice::<T>()?);
    let (means, deviations) = (node.numbers::<T>("mean", rows)?, node.numbers::<T>("inverse_deviation", rows)?);
    let height = rows.div_ceil(BLOCKS).max(8);
    let block = height * width;
    let outs: Vec<Option<&mut [MaybeUninit<T>]>> = match node.output("x_grad", x.shape())? {
        Some(out) => out.chunks_mut(block).map(Some).collect(),
        None => (0..rows.div_ceil(height)).map(|_| None).collect(),
    };
    let blocks = grads.chunks(block).zip(values.chunks(block)).zip(outs);
    let tasks: Vec<_> = blocks.map(|block| Mutex::new((Some(block), [vec![0.0; width], vec![0.0; width]]))).collect();
    let arch = pulp::Arch::new();
    cpu::threads(node.run).run(tasks.len(), &|index| {
        let Ok(mut task) = tasks[index].lock() else { return };
        let (given, sums) = &mut *task;
        let Some(((grad, values), out)) = given.take() else { return };
        let rows = index * height..;
        arch.dispatch(Rows {
            grad,
            values,
            factors,
            means: &means[rows.clone()],
            deviations: &deviations[rows],
            sums,
            out,
        });
    });
    // Block by block, whoever was first.
    let mut totals = [vec![0.0; width], vec![0.0; width]];
    for task in tasks {
        let Ok((_, sums)) = task.into_inner() else { continue };
        for (totals, sums) in totals.iter_mut().zip(&sums) {
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
    for (name, totals) in ["scale_grad", "bias_grad"].into_iter().zip(&totals) {
        for (out, &total) in node.output::<T>(name, scale.shape())?.into_iter().flatten().zip(totals) {
            out.write(T::of(total));
        }
    }
    Ok(())
}

/// How many rows are normalized, and how many numbers each has.
pub(crate) fn rows_of(x: &Tensor<'_>, grad: &Tensor<'_>, scale: &Tensor<'_>) -> Result<(usize, usize)> {
    same_shape(x, grad)?;
    if !x.shape().ends_with(scale.shape()) || scale.shape().is_empty() {
        let wanted = format!("the last axes of {:?}", x.shape());
        return Err(Error::tensor("scale", wanted, format!("{:?}", scale.shape())));
    }
    let width = scale.shape().iter().product::<usize>();
    if width == 0 {
        return Err(Error::tensor("scale", "a number at least", format!("{:?}", scale.shape())));
    }
    Ok((x.shape().iter().product::<usize>() / width, width))
}

/// A block of rows; with the instructions that the machine has.
struct Rows<'a, 'o, T> {
    grad: &'a [T],
    values: &'a [T],
    /// The scale.
    factors: &'a [T],
    /// Of these rows and those behind.
    means: &'a [T],
    deviations: &'a [T],
    /// Of scale and bias.
    sums: &'a mut [Vec<f64>; 2],
    out: Option<&'o mut [MaybeUninit<T>]>,
}

impl<T: Float> pulp::WithSimd for Rows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { grad, values, factors, means, deviations, sums: [of_scale, of_bias], out } = self;
        let width = factors.len();
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let count = width as f64;
        let mut outs = out.map(|out| out.chunks_mut(width));
        let (mut normal, mut upstream) = (vec![T::zero(); width], vec![T::zero(); width]);
        let rows = grad.chunks(width).zip(values.chunks(width)).zip(means.iter().zip(deviations));
        for ((grad, row), (&mean, &r)) in rows {
            normal.iter_mut().zip(row).for_each(|(normal, &x)| *normal = (x - mean) * r);
            for ((upstream, &g), &scale) in upstream.iter_mut().zip(grad).zip(factors) {
                *upstream = g * scale;
            }
            let mut totals = Sums::<2>::ZERO;
            totals.add(&upstream, &normal, |h, n| [h, h * n]);
            let [middle, bend] = totals.totals().map(|total| T::of(total / count));
            if let Some(out) = outs.as_mut().and_then(Iterator::next) {
                for ((out, &h), &n) in out.iter_mut().zip(&upstream).zip(&normal) {
                    out.write((h - middle - n * bend) * r);
                }
            }
            for ((sum, &g), &n) in of_scale.iter_mut().zip(grad).zip(&normal) {
                *sum += g.wide() * n.wide();
            }
            for (sum, &g) in of_bias.iter_mut().zip(grad) {
                *sum += g.wide();
            }
        }
    }
}
