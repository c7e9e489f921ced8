//! The gradient as a sequence of launches, from what the forward left in the saved state. CPU twin: `backward.rs` and
//! `dloss.rs` of `pdloss::loss`.

use super::{
    Problem,
    forward::{Left, Tiles, alongs},
    layout::Layout,
    links::{self, PIECE, PIECE_COLUMNS},
    params::{Address, Finish, GatherLinks, Judge, ScaleScatter, Vectors, WEIGHTS, Weigh, WeighTile, padded},
    queue::{Grid, Queue, int, plain, transposed},
    sides::{band, band_rows, bands, centre, sum_slabs},
    tensor::{self, Factor},
};
use crate::error::Result;

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();
/// How the kernel `finish` finds genuine pairs.
const NO_LINKS: u32 = 0;
const OF_SAMPLES: u32 = 1;
const OF_CLASSES: u32 = 2;

/// Where the gradients go; None where nobody asked for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gradients {
    pub(crate) embeddings: Option<Address>,
    pub(crate) proxies: Option<Address>,
}

/// What comes in beside the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) moments: Address,
    /// What is to be multiplied with; null: 1.
    pub(crate) upstream: Address,
    /// Of a forward pass that was just made.
    pub(crate) left: Left,
}

/// Gradients of `upstream * loss`.
pub(crate) fn run(
    queue: &Queue<'_>,
    problem: &Problem,
    layout: &Layout,
    gram: bool,
    given: Given,
    out: Gradients,
) -> Result<()> {
    let (z, q) = (layout.embeddings, layout.proxies);
    let weights = queue.scratch(WEIGHTS, 1)?;
    let dim = problem.shape.dim;
    let vectors = queue.scratch(2 * 3 * padded(dim), F32)?;
    let mut weigh = Weigh {
        header: layout.header,
        summaries: layout.summaries,
        moments: given.moments,
        upstream: given.upstream,
        embedding_mean: z.mean,
        proxy_mean: q.mean,
        out: weights,
        vectors,
        alongs: [Address::NULL; 2],
        centres: Address::NULL,
        scales: Address::NULL,
        centred: Address::NULL,
        pivots: Address::NULL,
        factors: Address::NULL,
        constants: Address::NULL,
        batch: z.count,
        classes: if problem.shape.classes.is_some() { q.count } else { 0 },
        dim: z.dim,
        gram: u32::from(gram),
        element: queue.element.code_in_kernels(),
        unused: 0,
    };
    let on_tensor_cores = gram && tensor::takes(queue, dim)?;
    let swept = given.left.swept.as_ref();
    if on_tensor_cores {
        tensor::pivot(queue, &mut weigh, swept)?;
    }
    match given.left.conclude {
        Some(conclude) => queue.launch_wide("judge", 1, &Judge { conclude, weigh })?,
        None => queue.launch("weigh", Grid::Blocks(1), &weigh)?,
    }
    let vectors_of = |side: usize| {
        let part = |index: usize| vectors.after((3 * side + index) * padded(dim), F32);
        Vectors { high: part(0), low: part(1), rest: part(2) }
    };
    let mut finish = Finish {
        own: z,
        other: q,
        vectors: vectors_of(0),
        others: vectors_of(1),
        product: Address::NULL,
        constant: Address::NULL,
        tile: Address::NULL,
        row_sums: Address::NULL,
        cosines: layout.cosines,
        heads: Address::NULL,
        keys: Address::NULL,
        sums: Address::NULL,
        totals: Address::NULL,
        labels: problem.labels,
        weights,
        out: Address::NULL,
        band: band(0, 0)?,
        columns: z.count,
        links: NO_LINKS,
        side: 0,
        unused: 0,
    };
    if !gram {
        return tiles(queue, problem, layout, finish, out);
    }
    let links = match swept {
        Some(swept) => swept.links,
        None if out.proxies.is_some() => {
            let (_, links) = links::prepare(queue, [z, q], problem.labels, false, true)?;
            queue.launch("heads", Grid::Columns(problem.shape.batch, 1), &links)?;
            links
        }
        None => links::none(problem.labels),
    };
    let mut gather = out.proxies.map(|_| links::gather(queue, &links, &mut finish)).transpose()?;
    let alongs = match (swept, given.left.alongs) {
        (Some(swept), _) => swept.alongs,
        (None, Some(alongs)) => alongs,
        (None, None) => alongs(queue, layout)?,
    };
    let sides = [
        out.embeddings.map(|out| (0, layout.proxy_scatter, Finish { out, links: OF_SAMPLES, ..finish })),
        out.proxies.map(|out| (1, layout.embedding_scatter, Finish { out, links: OF_CLASSES, ..of_proxies(finish) })),
    ];
    for (side, scatter, finish) in sides.into_iter().flatten() {
        let along = alongs[1 - side];
        // The gradient of embeddings takes it along.
        if let Some(gather) = gather.take_if(|_| side == 1 || !on_tensor_cores) {
            gather_links(queue, &gather)?;
        }
        if on_tensor_cores {
            let factor = match swept {
                Some(swept) => Factor::left(swept, &weigh, side),
                None => Factor::of(queue, scatter, along, &finish)?,
            };
            tensor::gradient(queue, &factor, &weigh, finish, gather.take(), swept.filter(|_| side == 1))?;
        } else {
            through_scatter(queue, scatter, along, finish)?;
        }
    }
    Ok(())
}

/// The same from the other side.
fn of_proxies(finish: Finish) -> Finish {
    let Finish { own, other, vectors, others, .. } = finish;
    Finish { own: other, other: own, vectors: others, others: vectors, side: 1, ..finish }
}

/// What the samples of each class add to its gradient, in pieces.
fn gather_links(queue: &Queue<'_>, gather: &GatherLinks) -> Result<()> {
    let (batch, dim) = (gather.embeddings.count as usize, gather.embeddings.dim as usize);
    queue.launch_warps("gather_links", (batch.div_ceil(PIECE), dim.div_ceil(PIECE_COLUMNS)), gather)
}

/// The gradient of `finish.own`, by the other side's scatter matrix, and that times the own mean.
fn through_scatter(queue: &Queue<'_>, scatter: Address, along: Address, finish: Finish) -> Result<()> {
    let own = finish.own;
    let (count, dim) = (own.count as usize, own.dim as usize);
    let scaled = queue.scratch(dim * dim, F32)?;
    let constant = queue.scratch(dim, F32)?;
    let weights = finish.weights;
    let scale = ScaleScatter { scatter, along, weights, out: scaled, constant, dim: own.dim, unused: 0 };
    queue.launch("scale_scatter", Grid::Blocks(dim), &scale)?;
    let rows = band_rows(count, dim);
    let centred = queue.scratch(rows * dim, F32)?;
    let product = queue.scratch(rows * dim, F32)?;
    for (first, rows) in bands(count, rows) {
        let band = band(first, rows)?;
        centre(queue, &own, band, rows, centred)?;
        queue.multiply(product, [rows, dim, dim], plain(centred), plain(scaled), false)?;
        queue.launch_typed("finish", Grid::Warps(rows), &Finish { product, constant, band, ..finish })?;
    }
    Ok(())
}

/// Both gradients from tiles of weights.
fn tiles(queue: &Queue<'_>, problem: &Problem, layout: &Layout, finish: Finish, out: Gradients) -> Result<()> {
    let (batch, dim) = (problem.shape.batch, problem.shape.dim);
    let tiles = Tiles::new(queue, problem, layout)?;
    let slab = tiles.rows().div_ceil(1024).max(32);
    let product = queue.scratch(tiles.rows() * dim, F32)?;
    // D-Loss's bands are of the embeddings themselves, so its gradient is the one of the bands.
    let (of_bands, of_columns) = match problem.shape.classes {
        Some(_) => (out.proxies, out.embeddings),
        None => (out.embeddings, None),
    };
    let (mut toward, mut totals, mut sums) = (Address::NULL, Address::NULL, Address::NULL);
    if of_columns.is_some() {
        toward = queue.scratch(batch * dim, F32)?;
        totals = queue.scratch(batch, F64)?;
        sums = queue.scratch(tiles.rows().div_ceil(slab) * batch, F64)?;
    }
    tiles.for_each(|tile, rows| {
        let slabs = rows.div_ceil(slab);
        let weigh = WeighTile { tile, weights: finish.weights, column_sums: sums, slab: int(slab)?, unused: 0 };
        queue.launch("weigh_tile", Grid::Columns(batch, slabs), &weigh)?;
        if of_columns.is_some() {
            let add = tile.band.first > 0;
            sum_slabs(queue, sums, slabs, batch, totals, 1.0, add)?;
            queue.multiply(toward, [batch, dim, rows], transposed(tile.values), plain(tiles.band), add)?;
        }
        if let Some(out) = of_bands {
            queue.multiply(product, [rows, dim, batch], plain(tile.values), plain(tiles.embeddings), false)?;
            let finish = of_proxies(finish);
            let finish = Finish { product, tile: tile.values, band: tile.band, out, ..finish };
            queue.launch_typed("finish", Grid::Warps(rows), &finish)?;
        }
        Ok(())
    })?;
    if let Some(out) = of_columns {
        let band = band(0, batch)?;
        let finish = Finish { product: toward, row_sums: totals, band, out, ..finish };
        queue.launch_typed("finish", Grid::Warps(batch), &finish)?;
    }
    Ok(())
}
