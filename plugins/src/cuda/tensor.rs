//! The Gram path on tensor cores: two passes over the rows, of which nothing in between is written. `sides` and
//! `backward::through_scatter` are the same in f32 through cuBLAS.
//!
//! ```text
//! prepare -> sweep, or measure and tensor_gram -> settle -> judge -> tensor_gradient of embeddings -> of proxies
//! ```

use std::env;

use super::{
    ElementType, Problem,
    layout::Layout,
    links::{self, PIECE},
    params::{
        Address, Cosines, Finish, GatherLinks, Links, PIVOT, Settle, Side, SplitScatter, Sweep, TensorGradient,
        TensorGram, Weigh, padded,
    },
    queue::{Grid, Queue, THREADS, int},
};
use crate::error::{Error, Result};

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();
const WORD: usize = size_of::<u32>();

/// Columns of a strip; a block of `tensor_gram` multiplies two.
const EDGE: usize = 128;
/// Rows of a tile, of which a slab is made up.
const TILE_ROWS: usize = 32;
/// Blocks that go through rows once: one for each multiprocessor of a large device. Fixed, so that results are the same to the bit
/// on all devices of a kind.
const SWEEP_BLOCKS: usize = 132;
/// Blocks that multiply strips.
const GRAM_BLOCKS: usize = 264;
const MOST_STRIPS: usize = 4;
/// Shared memory of a tile of a strip, high or low parts, of `sweep`, which has two of three, and of `tensor_gram`, two of four.
const PLANE: usize = TILE_ROWS / 4 * (EDGE / 2 + 2) * 16;
const SWEEP_BYTES: usize = 6 * PLANE;
const GRAM_BYTES: usize = 8 * PLANE;
/// Blocks that settle a pair of strips.
const SQUARES: usize = 64;
/// Of so many rows of a 16-bit type on, the Gram matrix is made of high parts alone. Each of the n D of them is rounded by at most
/// 2^-12 of itself, independently, which changes the sum of squares of the similarities by about 2^-11 / sqrt(n D), relatively: with
/// this many rows and D = 2 by 2e-6, half of what float32 is allowed.
const COARSE: usize = 32_768;

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
    Ok(strips <= MOST_STRIPS
        && queue.tensor_memory().is_some_and(|most| Shape::of(strips).bytes().max(GRAM_BYTES) <= most))
}

/// Whether gradients multiply low parts, too. One product of f16 parts is too coarse for those of float16, whose own rounding is as
/// fine: of 204 cases one missed the budget by a twentieth.
fn splits(queue: &Queue<'_>) -> bool {
    queue.element != ElementType::BF16
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

    /// Dynamic shared memory: the rows in two parts.
    fn bytes(self) -> usize {
        self.rows * self.strips * EDGE * WORD
    }
}

/// How the rows of both sides are cut into slabs.
#[derive(Clone, Copy, Debug)]
struct Cut {
    rows: [usize; 2],
    slabs: [usize; 2],
}

impl Cut {
    /// Into about so many slabs together, each side at least one, whole tiles; large ones such that tiles of the gradient fit, too.
    fn new(counts: [usize; 2], most: usize) -> Self {
        let shares = ((most * counts[0] + (counts[0] + counts[1]) / 2) / (counts[0] + counts[1])).clamp(1, most - 1);
        let rows = [counts[0].div_ceil(shares), counts[1].div_ceil(most - shares)];
        let rows = rows.map(|rows| rows.next_multiple_of(if rows < 512 { TILE_ROWS } else { 128 }));
        Self { rows, slabs: [counts[0].div_ceil(rows[0]), counts[1].div_ceil(rows[1])] }
    }

    fn all(&self) -> usize {
        self.slabs[0] + self.slabs[1]
    }

    fn slab_rows(&self) -> Result<[u32; 2]> {
        Ok([int(self.rows[0])?, int(self.rows[1])?])
    }
}

fn ints([first, second]: [usize; 2]) -> Result<[u32; 2]> {
    Ok([int(first)?, int(second)?])
}

/// What the forward pass found out beside the saved state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swept {
    /// Each side's scatter matrix times the other's centre, and the sum of squares along that.
    pub(crate) alongs: [Address; 2],
    /// `[2, dim]`
    pub(crate) centres: Address,
    /// Of all entries of both scatter matrices, the shares in the sum of squares, and how many parts they were added up in.
    pub(crate) inner: Address,
    pub(crate) parts: usize,
    /// The scatter matrices as factors, and how far they were scaled up.
    matrices: [Address; 2],
    scales: Address,
    /// Sorted samples, where a gradient follows.
    pub(crate) links: Links,
    /// Slabs of proxies that were read last, and their rows.
    last: (usize, usize),
}

/// Lengths, means, scatter matrices and cosines, in two or three launches.
pub(crate) fn sweep(queue: &Queue<'_>, problem: &Problem, layout: &Layout, gradient: bool) -> Result<Swept> {
    let (z, q) = (layout.embeddings, layout.proxies);
    let dim = z.dim as usize;
    let counts = [z.count as usize, q.count as usize];
    let strips = dim.div_ceil(EDGE);
    let pairs = strips * (strips + 1) / 2;
    let (probes, links) = links::prepare(queue, [z, q], problem.labels, true, gradient)?;
    let cut = Cut::new(counts, SWEEP_BLOCKS);
    let centres = queue.scratch(2 * dim, F64)?;
    let sums = queue.scratch(cut.all() * (2 * dim + 3), F64)?;
    let of_grams = if strips == 1 { cut } else { Cut::new(counts, GRAM_BLOCKS.div_ceil(pairs)) };
    let grams = queue.scratch(of_grams.all() * pairs * EDGE * EDGE, F32)?;
    let coarse = |side: usize| u32::from(queue.element != ElementType::F32 && counts[side] >= COARSE) << side;
    let coarse = coarse(0) | coarse(1);
    let (slab_rows, slabs) = (cut.slab_rows()?, int(cut.slabs[0])?);
    let parameters = Sweep { embeddings: z, proxies: q, probes, centres, sums, grams, slab_rows, slabs, coarse };
    if strips == 1 {
        queue.launch_shared("sweep", Grid::Blocks(cut.all()), SWEEP_BYTES, &parameters)?;
    } else {
        queue.launch_typed("measure", Grid::Blocks(cut.all()), &parameters)?;
        let about = |side: Side, mean| Side { mean, ..side };
        let gram = TensorGram {
            embeddings: about(z, centres),
            proxies: about(q, centres.after(dim, F64)),
            partials: grams,
            slab_rows: of_grams.slab_rows()?,
            slabs: int(of_grams.slabs[0])?,
            coarse,
        };
        queue.launch_shared("tensor_gram", Grid::Rectangle(pairs, of_grams.all()), GRAM_BYTES, &gram)?;
    }

    let alongs = [queue.scratch(dim + 1, F64)?, queue.scratch(dim + 1, F64)?];
    let mut matrices = [Address::NULL; 2];
    if gradient {
        matrices = [fragments(queue, strips)?, fragments(queue, strips)?];
    }
    let scales = queue.scratch(2, F64)?;
    let settle_blocks = pairs * SQUARES;
    let inner = queue.scratch(settle_blocks, F64)?;
    let cosine_blocks = counts[0].div_ceil(8);
    let head_blocks = if gradient { counts[0].div_ceil(THREADS as usize) } else { 0 };
    let parameters = Settle {
        cosines: Cosines { embeddings: z, proxies: q, labels: problem.labels, out: layout.cosines },
        links,
        sums,
        centres,
        grams,
        alongs,
        scatters: [layout.embedding_scatter, layout.proxy_scatter],
        matrices,
        scales,
        inner,
        sum_slabs: ints(cut.slabs)?,
        gram_slabs: ints(of_grams.slabs)?,
        settle_blocks: int(settle_blocks)?,
        cosine_blocks: int(cosine_blocks)?,
        split: u32::from(splits(queue)),
        unused: 0,
    };
    queue.launch_typed("settle", Grid::Blocks(settle_blocks + cosine_blocks + head_blocks), &parameters)?;
    let last = (of_grams.slabs[1], of_grams.rows[1]);
    Ok(Swept { alongs, centres, inner, parts: settle_blocks, matrices, scales, links, last })
}

/// A scatter matrix as fragments.
fn fragments(queue: &Queue<'_>, strips: usize) -> Result<Address> {
    let words = if splits(queue) { 4 } else { 2 };
    queue.scratch(strips * (EDGE / 16) * strips * (EDGE / 8) * 32 * words, WORD)
}

/// Has `weigh` find out where rows are centred before they are multiplied, and what goes with that.
pub(crate) fn pivot(queue: &Queue<'_>, weigh: &mut Weigh, swept: Option<&Swept>) -> Result<()> {
    let dim = weigh.dim as usize;
    (weigh.centred, weigh.pivots) = (queue.scratch(2 * 2 * padded(dim), F32)?, queue.scratch(2, PIVOT)?);
    if let Some(swept) = swept {
        (weigh.alongs, weigh.centres, weigh.scales) = (swept.alongs, swept.centres, swept.scales);
        (weigh.factors, weigh.constants) = (queue.scratch(2, F32)?, queue.scratch(2 * padded(dim), F32)?);
    }
    Ok(())
}

/// What rows are multiplied with, and what goes with that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor {
    matrix: Address,
    factor: Address,
    constant: Address,
}

impl Factor {
    /// As the pass before left it.
    pub(crate) fn left(swept: &Swept, weigh: &Weigh, side: usize) -> Self {
        let dim = weigh.dim as usize;
        Self {
            matrix: swept.matrices[1 - side],
            factor: weigh.factors.after(side, F32),
            constant: weigh.constants.after(side * padded(dim), F32),
        }
    }

    /// Of the other side's scatter matrix, and that times the own mean.
    pub(crate) fn of(queue: &Queue<'_>, scatter: Address, along: Address, finish: &Finish) -> Result<Self> {
        let dim = finish.own.dim as usize;
        let strips = dim.div_ceil(EDGE);
        let matrix = fragments(queue, strips)?;
        let (factor, constant) = (queue.scratch(1, F32)?, queue.scratch(padded(dim), F32)?);
        let split = SplitScatter {
            scatter,
            along,
            mean: finish.own.mean,
            weights: finish.weights,
            matrix,
            factor,
            constant,
            dim: finish.own.dim,
            split: u32::from(splits(queue)),
        };
        queue.launch("split_scatter", Grid::Blocks(strips * (EDGE / 16)), &split)?;
        Ok(Self { matrix, factor, constant })
    }
}

/// The gradient of `finish.own`; beside it, what `gather` names, for the other side's. `swept`: how the rows were read before.
pub(crate) fn gradient(
    queue: &Queue<'_>,
    factor: &Factor,
    weigh: &Weigh,
    finish: Finish,
    gather: Option<GatherLinks>,
    swept: Option<&Swept>,
) -> Result<()> {
    let (count, dim) = (finish.own.count as usize, finish.own.dim as usize);
    let shape = Shape::of(dim.div_ceil(EDGE));
    let tiles = count.div_ceil(shape.rows);
    let (slabs, slab_tiles) = match swept.map(|swept| swept.last) {
        Some((slabs, rows)) if rows.is_multiple_of(shape.rows) => (slabs, rows / shape.rows),
        _ => (1, tiles),
    };
    let blocks = slabs * slab_tiles;
    let pieces = if gather.is_some() { finish.own.count as usize } else { 0 }.div_ceil(PIECE) * shape.strips;
    let nothing = GatherLinks {
        embeddings: finish.own,
        high: Address::NULL,
        low: Address::NULL,
        keys: Address::NULL,
        cosines: Address::NULL,
        weights: Address::NULL,
        sums: Address::NULL,
        totals: Address::NULL,
        classes: 0,
        unused: 0,
    };
    let side = finish.side as usize;
    let centre = weigh.centred.after(2 * side * padded(dim), F32);
    let parameters = TensorGradient {
        finish: Finish { constant: factor.constant, ..finish },
        matrix: factor.matrix,
        factor: factor.factor,
        centre,
        rest: centre.after(padded(dim), F32),
        pivot: weigh.pivots.after(side, PIVOT),
        gather: gather.unwrap_or(nothing),
        strips: int(shape.strips)?,
        blocks: int(blocks)?,
        slabs: int(slabs)?,
        slab_tiles: int(slab_tiles)?,
    };
    let name = if shape.wide { "tensor_gradient_wide" } else { "tensor_gradient" };
    queue.launch_shared(name, Grid::Blocks(blocks + pieces.div_ceil(8)), shape.bytes(), &parameters)
}
