//! `BatchNormTraining`, `BatchNormGrad` and `LayerNormGrad`: sums by slabs, then what is made of them.

use super::{
    F64, Step,
    params::{BatchNorm, LayerNorm},
};
use crate::{
    cuda::{
        params::Address,
        queue::{Grid, int},
    },
    error::Result,
    normalization::{Node, Normalization, batch::Layout, layer::rows_of},
    ort_api::Tensor,
};

/// Numbers of a channel that are worth a block, and blocks that keep any device busy.
const SLAB: usize = 4096;
const BLOCKS: usize = 2048;

/// `BatchNormTraining(x, scale, bias, running_mean, running_variance) -> (y, mean, variance, next_mean, next_variance)`
pub(super) fn batch(step: &Step<'_, '_>, of: &Normalization) -> Result<()> {
    let x = step.input("x")?;
    let layout = Layout::of(&x)?;
    let channels = [layout.channels];
    let input = |name| per_channel(step, name, layout);
    let parameters = BatchNorm {
        scale: input("scale")?,
        bias: input("bias")?,
        mean: input("running_mean")?,
        variance: input("running_variance")?,
        out: step.output("y", x.shape())?,
        first: step.output("mean", &channels)?,
        second: step.output("variance", &channels)?,
        next_mean: step.output("next_mean", &channels)?,
        next_variance: step.output("next_variance", &channels)?,
        widened: of.widened(layout.count()),
        ..given(step, of, layout, &x)?
    };
    launch(step, layout, ["batch_sums", "batch_norm"], &parameters)
}

/// `BatchNormGrad(grad, x, scale, mean, variance) -> (x_grad, scale_grad, bias_grad)`
pub(super) fn batch_grad(step: &Step<'_, '_>, of: &Normalization) -> Result<()> {
    let (x, grad) = (step.input("x")?, step.input("grad")?);
    let layout = Layout::of_both(&x, &grad)?;
    let channels = [layout.channels];
    let input = |name| per_channel(step, name, layout);
    let parameters = BatchNorm {
        grad: step.address(&grad)?,
        scale: input("scale")?,
        mean: input("mean")?,
        variance: input("variance")?,
        out: step.output("x_grad", x.shape())?,
        first: step.output("scale_grad", &channels)?,
        second: step.output("bias_grad", &channels)?,
        ..given(step, of, layout, &x)?
    };
    launch(step, layout, ["batch_grad_sums", "batch_grad"], &parameters)
}

fn per_channel(step: &Step<'_, '_>, name: &'static str, layout: Layout) -> Result<Address> {
    let node = Node { signature: step.signature, run: step.run };
    step.address(&node.of_count(name, layout.channels)?)
}

/// What both directions have.
fn given(step: &Step<'_, '_>, of: &Normalization, layout: Layout, x: &Tensor<'_>) -> Result<BatchNorm> {
    let count = layout.count();
    let slabs = count.div_ceil(SLAB).min(BLOCKS.div_ceil(layout.channels.max(1)));
    let slab = count.div_ceil(slabs).next_multiple_of(4);
    let slabs = count.div_ceil(slab);
    const NULL: Address = Address::NULL;
    Ok(BatchNorm {
        x: step.address(x)?,
        grad: NULL,
        scale: NULL,
        bias: NULL,
        mean: NULL,
        variance: NULL,
        out: NULL,
        first: NULL,
        second: NULL,
        next_mean: NULL,
        next_variance: NULL,
        sums: step.queue.scratch(2 * layout.channels * slabs, F64)?,
        epsilon: of.epsilon,
        momentum: of.momentum,
        widened: 1.0,
        batch: int(layout.batch)?,
        channels: int(layout.channels)?,
        length: int(layout.length)?,
        slabs: int(slabs)?,
        slab: int(slab)?,
        unused: 0,
    })
}

fn launch(step: &Step<'_, '_>, layout: Layout, kernels: [&str; 2], parameters: &BatchNorm) -> Result<()> {
    if layout.channels == 0 {
        return Ok(());
    }
    let grid = Grid::Rectangle(layout.channels, parameters.slabs as usize);
    kernels.into_iter().try_for_each(|kernel| step.queue.launch_typed(kernel, grid, parameters))
}

/// Rows that are worth a block of columns, and slabs of rows at most.
const ROWS: usize = 32;
const SLABS: usize = 128;

/// `LayerNormGrad(grad, x, scale, mean, inverse_deviation) -> (x_grad, scale_grad, bias_grad)`
pub(super) fn layer_grad(step: &Step<'_, '_>) -> Result<()> {
    let (x, grad, scale) = (step.input("x")?, step.input("grad")?, step.input("scale")?);
    let (rows, width) = rows_of(&x, &grad, &scale)?;
    let node = Node { signature: step.signature, run: step.run };
    let per_row = |name| step.address(&node.of_count(name, rows)?);
    let slab = rows.div_ceil(SLABS).max(ROWS);
    let slabs = rows.div_ceil(slab);
    let parameters = LayerNorm {
        grad: step.address(&grad)?,
        x: step.address(&x)?,
        scale: step.address(&scale)?,
        mean: per_row("mean")?,
        deviation: per_row("inverse_deviation")?,
        out: step.output("x_grad", x.shape())?,
        scale_grad: step.output("scale_grad", scale.shape())?,
        bias_grad: step.output("bias_grad", scale.shape())?,
        sums: step.queue.scratch(2 * width * slabs, F64)?,
        rows: int(rows)?,
        width: int(width)?,
        slabs: int(slabs)?,
        slab: int(slab)?,
    };
    if parameters.out != Address::NULL && rows > 0 {
        step.queue.launch_typed("layer_grad", Grid::Warps(rows), &parameters)?;
    }
    if parameters.scale_grad == Address::NULL && parameters.bias_grad == Address::NULL {
        return Ok(());
    }
    if rows > 0 {
        step.queue.launch_typed("layer_columns", Grid::Columns(width, slabs), &parameters)?;
    }
    step.queue.launch_typed("layer_scale", Grid::Columns(width, 1), &parameters)
}
