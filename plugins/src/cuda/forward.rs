//! The forward pass as a sequence of launches. CPU twin: `forward.rs` and `dloss.rs` of `pdloss::loss`.

use pdloss::loss::Config;

use super::{
    Problem,
    layout::Layout,
    params::{Address, Conclude, Cosines, ScatterProducts, Settings, SumTile, TILE_SUMS, Tile},
    queue::{Grid, Queue, THREADS, int, plain, transposed},
    sides::{along, band, band_rows, bands, centre, measure, scatter, scatter_along},
    tensor,
};
use crate::{error::Result, state};

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();

/// Blocks that sum one tile: each thread some entries, and as many blocks as keep a device busy.
fn sum_blocks(entries: usize) -> usize {
    entries.div_ceil(8 * THREADS as usize).clamp(1, 512)
}

/// Where the results go, each of the operator's own length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outputs {
    pub(crate) loss: Address,
    pub(crate) moments: Address,
}

/// On the Gram path, each side's scatter matrix times the mean of the other, and the spread behind it (see
/// [`scatter_along`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alongs {
    pub(crate) embeddings: Address,
    pub(crate) proxies: Address,
}

impl Alongs {
    /// From the rows.
    pub(crate) fn of(queue: &Queue<'_>, layout: &Layout) -> Result<Self> {
        let (z, q) = (&layout.embeddings, &layout.proxies);
        Ok(Self { embeddings: scatter_along(queue, z, q.mean)?, proxies: scatter_along(queue, q, z.mean)? })
    }
}

/// Loss, moments and the saved state.
pub(crate) fn run(
    queue: &Queue<'_>,
    config: &Config,
    problem: &Problem,
    layout: &Layout,
    gram: bool,
    out: Outputs,
) -> Result<Option<Alongs>> {
    let (z, q) = (layout.embeddings, layout.proxies);
    let (form, mode) = state::codes(config);
    let mut conclude = Conclude {
        header: layout.header,
        summaries: layout.summaries,
        moments: out.moments,
        loss: out.loss,
        cosines: layout.cosines,
        spreads: [Address::NULL; 2],
        products: Address::NULL,
        tile_sums: Address::NULL,
        embedding_mean: z.mean,
        proxy_mean: q.mean,
        labels: problem.labels,
        settings: Settings { temperature: config.temperature(), floor: config.floor(), eps: config.eps(), form, mode },
        batch: z.count,
        classes: q.count,
        dim: z.dim,
        blocks: 0,
        element: queue.element.code_in_kernels(),
        unused: 0,
    };
    measure(queue, &z)?;
    if problem.shape.classes.is_some() {
        measure(queue, &q)?;
        let cosines = Cosines { embeddings: z, proxies: q, labels: problem.labels, out: layout.cosines };
        queue.launch_typed("cosines", Grid::Warps(problem.shape.batch), &cosines)?;
    }
    let mut known = None;
    if gram {
        let dim = problem.shape.dim;
        let make = if tensor::takes(queue, dim)? { tensor::scatter } else { scatter };
        make(queue, &z, layout.embedding_scatter)?;
        make(queue, &q, layout.proxy_scatter)?;
        let alongs = Alongs::of(queue, layout)?;
        conclude.spreads = [alongs.embeddings.after(dim, F64), alongs.proxies.after(dim, F64)];
        known = Some(alongs);
        conclude.products = queue.scratch(dim, F64)?;
        let products = ScatterProducts {
            embedding_scatter: layout.embedding_scatter,
            proxy_scatter: layout.proxy_scatter,
            out: conclude.products,
            dim: z.dim,
            unused: 0,
        };
        queue.launch("scatter_products", Grid::Blocks(dim), &products)?;
    } else {
        let mut done = 0;
        let tiles = Tiles::new(queue, problem, layout)?;
        let blocks = sum_blocks(tiles.rows() * problem.shape.batch);
        conclude.tile_sums = queue.scratch(tiles.count() * blocks * TILE_SUMS, F64)?;
        conclude.blocks = int(tiles.count() * blocks)?;
        tiles.for_each(|tile, _| {
            let out = conclude.tile_sums.after(done * blocks * TILE_SUMS, F64);
            done += 1;
            queue.launch("sum_tile", Grid::Blocks(blocks), &SumTile { tile, out })
        })?;
    }
    queue.launch_wide("conclude", 1, &conclude)?;
    Ok(known)
}

/// The similarities, a band of classes after the other, each made from centred rows and overwritten by the next.
pub(crate) struct Tiles<'q, 'a> {
    queue: &'q Queue<'a>,
    layout: Layout,
    batch: usize,
    dim: usize,
    /// Rows of the side that is cut into bands: classes, or the samples again.
    count: usize,
    rows: usize,
    tile: Tile,
    /// All centred embeddings, `[batch, dim]`.
    pub(crate) embeddings: Address,
    /// The band's centred rows.
    pub(crate) band: Address,
}

impl<'q, 'a> Tiles<'q, 'a> {
    pub(crate) fn new(queue: &'q Queue<'a>, problem: &Problem, layout: &Layout) -> Result<Self> {
        let (z, q) = (layout.embeddings, layout.proxies);
        let (batch, dim, count) = (problem.shape.batch, problem.shape.dim, q.count as usize);
        let rows = band_rows(count, batch.max(dim));
        int(rows * batch)?; // kernels number a tile's entries in 32 bits
        let embeddings = queue.scratch(batch * dim, F32)?;
        centre(queue, &z, band(0, batch)?, batch, embeddings)?;
        let tile = Tile {
            values: queue.scratch(rows * batch, F32)?,
            row_along: along(queue, &q, z.mean)?,
            col_along: along(queue, &z, q.mean)?,
            labels: problem.labels,
            band: band(0, 0)?,
            columns: z.count,
            pairs: u32::from(problem.shape.classes.is_none()),
        };
        let band = queue.scratch(rows * dim, F32)?;
        Ok(Self { queue, layout: *layout, batch, dim, count, rows, tile, embeddings, band })
    }

    pub(crate) fn count(&self) -> usize {
        self.count.div_ceil(self.rows)
    }

    /// Rows of the largest tile.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Makes each tile and calls `body` with it and its number of rows.
    pub(crate) fn for_each(&self, mut body: impl FnMut(Tile, usize) -> Result<()>) -> Result<()> {
        for (first, rows) in bands(self.count, self.rows) {
            let band = band(first, rows)?;
            centre(self.queue, &self.layout.proxies, band, rows, self.band)?;
            let shape = [rows, self.batch, self.dim];
            self.queue.multiply(self.tile.values, shape, plain(self.band), transposed(self.embeddings), false)?;
            body(Tile { band, ..self.tile }, rows)?;
        }
        Ok(())
    }
}
