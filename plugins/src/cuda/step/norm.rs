//! `GradientNorm`: sums by blocks, of as many tensors at once as a launch's parameters hold; then one block adds them up.

use super::{
    F64, Step,
    params::{GradientNorm, SUMMED, SquareSums, Summed},
};
use crate::{
    cuda::{
        params::Address,
        queue::{Grid, int},
    },
    error::Result,
    ort_api::Tensor,
    update::norm::given,
};

/// Numbers of a tensor that a block has.
const BLOCK: usize = 16384;

pub(super) fn run(step: &Step<'_, '_>) -> Result<()> {
    let tensors = given(step.run)?;
    let out = step.output("norm", &[])?;
    if out == Address::NULL {
        return Ok(());
    }
    let count = |tensor: &Tensor<'_>| tensor.shape().iter().product::<usize>();
    let all = tensors.iter().map(|tensor| count(tensor).div_ceil(BLOCK)).sum::<usize>();
    let sums = step.queue.scratch(all, F64)?;
    let mut parameters = SquareSums { out: sums, tensors: 0, unused: 0, of: [Summed::NONE; SUMMED] };
    let (mut done, mut blocks) = (0, 0);
    let mut rest = tensors.iter().filter(|tensor| count(tensor) > 0).peekable();
    while let Some(tensor) = rest.next() {
        let values = step.address(tensor)?;
        parameters.of[parameters.tensors as usize] =
            Summed { values, count: count(tensor) as u64, block: blocks as u64 };
        parameters.tensors += 1;
        blocks += count(tensor).div_ceil(BLOCK);
        if parameters.tensors as usize == SUMMED || rest.peek().is_none() {
            int(blocks)?;
            step.queue.launch_typed("square_sums", Grid::Blocks(blocks), &parameters)?;
            done += blocks;
            (parameters.out, parameters.tensors, blocks) = (sums.after(done, F64), 0, 0);
        }
    }
    let parameters = GradientNorm { sums, out, count: all as u64 };
    step.queue.launch_typed("gradient_norm", Grid::Blocks(1), &parameters)
}
