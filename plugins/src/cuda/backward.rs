//! The gradient as a sequence of launches, from what the forward left in the saved state. CPU twin: `backward.rs` and
//! `dloss.rs` of `pdloss::loss`.

use super::{
    Problem,
    forward::{Alongs, Tiles},
    layout::Layout,
    params::{Address, Finish, GatherLinks, Links, ScaleScatter, Vectors, WEIGHTS, Weigh, WeighTile},
    queue::{Grid, Queue, int, plain, transposed},
    sides::{band, band_rows, bands, centre, sum_slabs},
    tensor,
};
use crate::error::Result;

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();
const I32: usize = size_of::<i32>();
const KEY: usize = size_of::<u64>();

/// Keys that one block of `sort_labels` brings in order.
const SORTED: usize = 1024;
/// Keys whose samples one block of `gather_links` adds up, and columns.
const PIECE: usize = 32;
const PIECE_COLUMNS: usize = 128;

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
    /// On the Gram path, where the forward pass was just made.
    pub(crate) alongs: Option<Alongs>,
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
    let vectors = queue.scratch(2 * 3 * dim, F32)?;
    let weigh = Weigh {
        header: layout.header,
        summaries: layout.summaries,
        moments: given.moments,
        upstream: given.upstream,
        embedding_mean: z.mean,
        proxy_mean: q.mean,
        out: weights,
        vectors,
        batch: z.count,
        classes: if problem.shape.classes.is_some() { q.count } else { 0 },
        dim: z.dim,
        gram: u32::from(gram),
        element: queue.element.code_in_kernels(),
        unused: 0,
    };
    queue.launch("weigh", Grid::Blocks(1), &weigh)?;
    let vectors_of = |side: usize| {
        let part = |index: usize| vectors.after((3 * side + index) * dim, F32);
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
    let alongs = given.alongs.map_or_else(|| Alongs::of(queue, layout), Ok)?;
    if let Some(out) = out.embeddings {
        let finish = Finish { out, links: OF_SAMPLES, ..finish };
        through_scatter(queue, layout.proxy_scatter, alongs.proxies, finish)?;
    }
    if let Some(out) = out.proxies {
        gather_links(queue, &mut finish)?;
        let finish = of_proxies(Finish { out, links: OF_CLASSES, ..finish });
        through_scatter(queue, layout.embedding_scatter, alongs.embeddings, finish)?;
    }
    Ok(())
}

/// The same from the other side.
fn of_proxies(finish: Finish) -> Finish {
    let Finish { own, other, vectors, others, .. } = finish;
    Finish { own: other, other: own, vectors: others, others: vectors, side: 1, ..finish }
}

/// What the samples of each class add to its gradient: samples sorted by label, then added up in pieces.
fn gather_links(queue: &Queue<'_>, finish: &mut Finish) -> Result<()> {
    let (z, q) = (finish.own, finish.other);
    let (batch, classes, dim) = (z.count as usize, q.count as usize, z.dim as usize);
    let heads = queue.scratch(classes, I32)?;
    let keys = queue.scratch(batch, KEY)?;
    let merged = if batch > SORTED { queue.scratch(batch, KEY)? } else { Address::NULL };
    let mut links = Links { labels: finish.labels, keys, merged, heads, classes: q.count, run: 0 };
    queue.launch_wide("sort_labels", batch.div_ceil(SORTED), &links)?;
    let mut run = SORTED;
    while run < batch {
        links.run = int(run)?;
        queue.launch("merge_labels", Grid::Columns(batch, 1), &links)?;
        (links.keys, links.merged) = (links.merged, links.keys);
        run *= 2;
    }
    queue.launch("no_heads", Grid::Elements(classes), &links)?;
    queue.launch("heads", Grid::Columns(batch, 1), &links)?;
    (finish.heads, finish.keys) = (heads, links.keys);
    (finish.sums, finish.totals) = (queue.scratch(batch * dim, F32)?, queue.scratch(batch, F64)?);
    let gather = GatherLinks {
        embeddings: z,
        high: finish.vectors.high,
        low: finish.vectors.low,
        keys: finish.keys,
        cosines: finish.cosines,
        weights: finish.weights,
        sums: finish.sums,
        totals: finish.totals,
        classes: q.count,
        unused: 0,
    };
    queue.launch_warps("gather_links", (batch.div_ceil(PIECE), dim.div_ceil(PIECE_COLUMNS)), &gather)
}

/// The gradient of `finish.own`, by the other side's scatter matrix, and that times the own mean.
fn through_scatter(queue: &Queue<'_>, scatter: Address, along: Address, finish: Finish) -> Result<()> {
    if tensor::takes_gradient(queue, finish.own.dim as usize)? {
        return tensor::gradient(queue, scatter, along, finish);
    }
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
