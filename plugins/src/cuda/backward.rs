//! The gradient as a sequence of launches, from what the forward left in the saved state. CPU twin: `backward.rs` and
//! `dloss.rs` of `pdloss::loss`.

use super::{
    Problem,
    forward::Tiles,
    layout::Layout,
    params::{Address, Finish, Links, ScaleScatter, Side, WEIGHTS, Weigh, WeighTile},
    queue::{Grid, Queue, int, plain, transposed},
    sides::{band, band_rows, bands, centre, sum_slabs},
};
use crate::error::Result;

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();
const I32: usize = size_of::<i32>();

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

/// Gradients of `upstream * loss`; a null upstream is 1.
pub(crate) fn run(
    queue: &Queue<'_>,
    problem: &Problem,
    layout: &Layout,
    gram: bool,
    (moments, upstream): (Address, Address),
    out: Gradients,
) -> Result<()> {
    let (z, q) = (layout.embeddings, layout.proxies);
    let weights = queue.scratch(WEIGHTS, 1)?;
    let weigh = Weigh {
        header: layout.header,
        summaries: layout.summaries,
        moments,
        upstream,
        embedding_mean: z.mean,
        proxy_mean: q.mean,
        out: weights,
        batch: z.count,
        classes: if problem.shape.classes.is_some() { q.count } else { 0 },
        dim: z.dim,
        gram: u32::from(gram),
        element: queue.element.code_in_kernels(),
        unused: 0,
    };
    queue.launch("weigh", Grid::Blocks(1), &weigh)?;
    let mut finish = Finish {
        own: z,
        other: q,
        product: Address::NULL,
        constant: Address::NULL,
        tile: Address::NULL,
        row_sums: Address::NULL,
        cosines: layout.cosines,
        heads: Address::NULL,
        next: Address::NULL,
        labels: problem.labels,
        weights,
        out: Address::NULL,
        band: band(0, 0)?,
        columns: z.count,
        links: NO_LINKS,
    };
    if !gram {
        return tiles(queue, problem, layout, finish, out);
    }
    if let Some(out) = out.embeddings {
        let finish = Finish { out, links: OF_SAMPLES, ..finish };
        through_scatter(queue, layout.proxy_scatter, finish)?;
    }
    if let Some(out) = out.proxies {
        (finish.heads, finish.next) = links(queue, problem, &q)?;
        let finish = Finish { own: q, other: z, out, links: OF_CLASSES, ..finish };
        through_scatter(queue, layout.embedding_scatter, finish)?;
    }
    Ok(())
}

/// The samples of each class as lists.
fn links(queue: &Queue<'_>, problem: &Problem, proxies: &Side) -> Result<(Address, Address)> {
    let heads = queue.scratch(proxies.count as usize, I32)?;
    let next = queue.scratch(problem.shape.batch, I32)?;
    let parameters = Links { labels: problem.labels, heads, next, classes: proxies.count, unused: 0 };
    queue.launch("no_links", Grid::Elements(proxies.count as usize), &parameters)?;
    queue.launch("links", Grid::Columns(problem.shape.batch, 1), &parameters)?;
    Ok((heads, next))
}

/// The gradient of `finish.own`, by the other side's scatter matrix.
fn through_scatter(queue: &Queue<'_>, scatter: Address, finish: Finish) -> Result<()> {
    let own = finish.own;
    let (count, dim) = (own.count as usize, own.dim as usize);
    let scaled = queue.scratch(dim * dim, F32)?;
    let constant = queue.scratch(dim, F64)?;
    let weights = finish.weights;
    let scale = ScaleScatter { scatter, mean: own.mean, weights, out: scaled, constant, dim: own.dim, unused: 0 };
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
    let (z, q) = (layout.embeddings, layout.proxies);
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
            let finish = Finish { own: q, other: z, product, tile: tile.values, band: tile.band, out, ..finish };
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
