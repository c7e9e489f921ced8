//! Over the last axes: a mean and a variance for each row. A task has a block of rows, and sums of its own for scale and bias.

use std::{mem::MaybeUninit, sync::Mutex};

use pdloss::loss::Executor as _;

use super::{Node, sums::Sums};
use crate::{
    cpu::{self, Float},
    error::{Error, Result},
};

/// The most blocks that rows are cut into, each of which has its own sums.
const BLOCKS: usize = 64;

/// `LayerNormGrad(grad, x, scale, mean, inverse_deviation) -> (x_grad, scale_grad, bias_grad)`: the scale, and so its gradient, has
/// the shape of the last axes of `x`; mean and inverse deviation have a number for each row.
pub(super) fn backward<T: Float>(node: &Node<'_, '_>) -> Result<()> {
    let (x, grad, scale) = (node.input("x")?, node.input("grad")?, node.input("scale")?);
    if grad.shape() != x.shape() {
        return Err(Error::tensor("grad", format!("{:?} as x has", x.shape()), format!("{:?}", grad.shape())));
    }
    if !x.shape().ends_with(scale.shape()) || scale.shape().is_empty() {
        let wanted = format!("the last axes of {:?}", x.shape());
        return Err(Error::tensor("scale", wanted, format!("{:?}", scale.shape())));
    }
    let (values, grads, factors) = (x.as_slice::<T>()?, grad.as_slice::<T>()?, scale.as_slice::<T>()?);
    let width = factors.len();
    if width == 0 {
        return Err(Error::tensor("scale", "a number at least", format!("{:?}", scale.shape())));
    }
    let rows = values.len() / width;
    let (means, deviations) = (node.numbers::<T>("mean", rows)?, node.numbers::<T>("inverse_deviation", rows)?);
    let height = rows.div_ceil(BLOCKS).max(8);
    let block = height * width;
    let number = |value: T| value.to_f64().unwrap_or(f64::NAN);
    let of_row = |index: usize, grad: &[T], row: &[T], sums: &mut [Vec<f64>; 2], out: Option<&mut [MaybeUninit<T>]>| {
        let (mean, r) = (means[index], deviations[index]);
        let mut along = [0.0; 2];
        let mut normal = Vec::with_capacity(width);
        let mut upstream = Vec::with_capacity(width);
        for ((&g, &x), &scale) in grad.iter().zip(row).zip(factors) {
            normal.push((x - mean) * r);
            upstream.push(g * scale);
        }
        let mut totals = Sums::<2>::ZERO;
        totals.add(&upstream, &normal, |h, n| [h, h * n]);
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let count = width as f64;
        for (along, total) in along.iter_mut().zip(totals.totals()) {
            *along = total / count;
        }
        let [middle, bend] = along.map(T::of);
        if let Some(out) = out {
            for ((out, &h), &n) in out.iter_mut().zip(&upstream).zip(&normal) {
                out.write((h - middle - n * bend) * r);
            }
        }
        let [of_scale, of_bias] = sums;
        for ((sum, &g), &n) in of_scale.iter_mut().zip(grad).zip(&normal) {
            *sum += number(g) * number(n);
        }
        for (sum, &g) in of_bias.iter_mut().zip(grad) {
            *sum += number(g);
        }
    };

    let mut outs: Vec<Option<&mut [MaybeUninit<T>]>> = match node.output("x_grad", x.shape())? {
        Some(out) => out.chunks_mut(block).map(Some).collect(),
        None => (0..rows.div_ceil(height)).map(|_| None).collect(),
    };
    let blocks = grads.chunks(block).zip(values.chunks(block)).zip(outs.drain(..));
    let tasks: Vec<_> = blocks.map(|block| Mutex::new((Some(block), [vec![0.0; width], vec![0.0; width]]))).collect();
    cpu::threads(node.run).run(tasks.len(), &|index| {
        let Ok(mut task) = tasks[index].lock() else { return };
        let (given, sums) = &mut *task;
        let Some(((grad, values), out)) = given.take() else { return };
        let mut outs = out.map(|out| out.chunks_mut(width));
        for (row, (grad, values)) in grad.chunks(width).zip(values.chunks(width)).enumerate() {
            of_row(index * height + row, grad, values, sums, outs.as_mut().and_then(Iterator::next));
        }
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
