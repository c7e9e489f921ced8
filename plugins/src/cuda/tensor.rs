//! The Gram path's two products on tensor cores, each in one kernel from rows to results: the rows are read, nothing in between
//! is written. `sides::scatter` and `backward::through_scatter` are the same in f32 through cuBLAS.

use std::env;

use super::{
    ElementType,
    params::{AddGram, Address, Finish, Side, SplitScatter, TensorGradient, TensorGram},
    queue::{Grid, Queue, int},
};
use crate::error::{Error, Result};

const F32: usize = size_of::<f32>();
const WORD: usize = size_of::<u32>();

/// Columns of a strip; a block of `tensor_gram` multiplies two.
const EDGE: usize = 128;
/// Rows of a tile, of which a slab is made up.
const TILE_ROWS: usize = 32;
/// Blocks that make the products of one side: about two for each multiprocessor of a large device.
const BLOCKS: usize = 264;
const MOST_STRIPS: usize = 4;

/// Chooses how products of the Gram path are made.
const CHOICE: &str = "PDLOSS_CUDA_PRODUCTS";

/// Whether the products of rows this long are made here: on devices that can, up to 512 columns, unless the person wants f32.
pub(crate) fn takes(queue: &Queue<'_>, dim: usize) -> Result<bool> {
    match env::var(CHOICE) {
        Ok(choice) if choice == "f32" => return Ok(false),
        Ok(choice) if choice != "tensor" => {
            return Err(Error::Device(format!("{CHOICE}: wanted tensor or f32, got '{choice}'")));
        }
        _ => {}
    }
    let strips = dim.div_ceil(EDGE);
    Ok(strips <= MOST_STRIPS && queue.tensor_memory().is_some_and(|most| Shape::of(strips).bytes() <= most))
}

/// The same for gradients. One product of f16 parts is too coarse for those of float16, whose own rounding is as fine: of 204 cases one
/// missed the budget by a twentieth.
pub(crate) fn takes_gradient(queue: &Queue<'_>, dim: usize) -> Result<bool> {
    Ok(queue.element != ElementType::F16 && takes(queue, dim)?)
}

/// How `tensor_gradient` is cut for so many strips.
#[derive(Clone, Copy, Debug)]
struct Shape {
    strips: usize,
    /// Rows of a block.
    rows: usize,
    wide: bool,
}

impl Shape {
    fn of(strips: usize) -> Self {
        let groups = strips.next_power_of_two();
        let wide = groups == 4;
        Self { strips, rows: 16 * (8 / groups) * if wide { 2 } else { 1 }, wide }
    }

    /// Dynamic shared memory: the rows in two parts, or the products.
    fn bytes(self) -> usize {
        self.rows * (self.strips * EDGE + 8) * WORD
    }
}

/// Sum of the outer products of the centred rows with themselves, `[dim, dim]` in f64.
pub(crate) fn scatter(queue: &Queue<'_>, side: &Side, out: Address) -> Result<()> {
    let (count, dim) = (side.count as usize, side.dim as usize);
    let strips = dim.div_ceil(EDGE);
    let pairs = strips * (strips + 1) / 2;
    let slab = count.div_ceil(BLOCKS.div_ceil(pairs)).next_multiple_of(TILE_ROWS);
    let slabs = count.div_ceil(slab);
    let partials = queue.scratch(slabs * pairs * EDGE * EDGE, F32)?;
    let gram = TensorGram { side: *side, partials, slab: int(slab)?, unused: 0 };
    queue.launch_typed("tensor_gram", Grid::Rectangle(pairs, slabs), &gram)?;
    let add = AddGram { partials, scatter: out, dim: side.dim, pairs: int(pairs)?, slabs: int(slabs)?, unused: 0 };
    queue.launch("add_gram", Grid::Columns(EDGE * EDGE, pairs), &add)
}

/// The gradient of `finish.own`, by the other side's scatter matrix, and that times the own mean.
pub(crate) fn gradient(queue: &Queue<'_>, scatter: Address, along: Address, finish: Finish) -> Result<()> {
    let (count, dim) = (finish.own.count as usize, finish.own.dim as usize);
    let shape = Shape::of(dim.div_ceil(EDGE));
    let (steps, tiles) = (shape.strips * (EDGE / 16), shape.strips * (EDGE / 8));
    let split = queue.element == ElementType::F32;
    let words = if split { 4 } else { 2 };
    let matrix = queue.scratch(steps * tiles * 32 * words, WORD)?;
    let (factor, constant) = (queue.scratch(1, F32)?, queue.scratch(dim, F32)?);
    let split = SplitScatter {
        scatter,
        along,
        weights: finish.weights,
        matrix,
        factor,
        constant,
        dim: finish.own.dim,
        split: u32::from(split),
    };
    queue.launch("split_scatter", Grid::Blocks(steps), &split)?;
    let finish = Finish { constant, ..finish };
    let parameters = TensorGradient { finish, matrix, factor, strips: int(shape.strips)?, unused: 0 };
    let name = if shape.wide { "tensor_gradient_wide" } else { "tensor_gradient" };
    queue.launch_shared(name, count.div_ceil(shape.rows), shape.bytes(), &parameters)
}
