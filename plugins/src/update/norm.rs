//! `GradientNorm(tensors...) -> norm`: the square root of the sum of all their numbers' squares.
//!
//! Sums are in float64, block by block in the order of the tensors, so that no bit follows from the number of threads.

use std::sync::Mutex;

use pdloss::loss::Executor as _;

use super::{BLOCK, TENSORS};
use crate::{
    cpu::{self, Float},
    error::Result,
    ort_api::{Run, Tensor},
};

/// A node's tensors.
pub(crate) fn given<'a>(run: &Run<'a>) -> Result<Vec<Tensor<'a>>> {
    (0..run.inputs()?).map(|index| run.required(index, TENSORS)).collect()
}

/// Runs a node.
pub(crate) fn run<T: Float>(run: &Run<'_>) -> Result<()> {
    let tensors = given(run)?;
    let values = tensors.iter().map(Tensor::as_slice::<T>).collect::<Result<Vec<_>>>()?;
    let blocks: Vec<&[T]> = values.iter().flat_map(|values| values.chunks(BLOCK)).collect();
    let sums: Vec<Mutex<f64>> = blocks.iter().map(|_| Mutex::new(0.0)).collect();
    cpu::threads(run).run(blocks.len(), &|at| {
        let sum = blocks[at].iter().map(|value| value.wide() * value.wide()).sum::<f64>();
        if let Ok(mut out) = sums[at].lock() {
            *out = sum;
        }
    });
    let sum = sums.into_iter().map(|sum| sum.into_inner().unwrap_or(f64::NAN)).sum::<f64>();
    for out in run.output::<T>(0, &[])?.into_iter().flatten() {
        out.write(T::of(sum.sqrt()));
    }
    Ok(())
}
