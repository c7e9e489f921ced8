//! The forward pass as a sequence of launches. CPU twin: `forward.rs` and `dloss.rs` of `pdloss::loss`.

use pdloss::loss::Config;

use super::{
    Problem,
    layout::Layout,
    params::{Address, Conclude, Cosines, ScatterProducts, Settings, SumTile, TILE_SUMS, Tile},
    queue::{Grid, Queue, THREADS, int, plain, transposed},
    sides::{along, band, band_rows, bands, centre, measure, scatter, scatter_along},
    tensor::{self, Swept},
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

/// What is left for a gradient that follows at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// On the Gram path without tensor cores: see [`alongs`].
    pub(crate) alongs: Option<[Address; 2]>,
    /// On the Gram path with them.
    pub(crate) swept: Option<Swept>,
    /// What is not launched yet, because the gradient has more to do in the same launch.
    pub(crate) conclude: Option<Conclude>,
}

/// On the Gram path, each side's scatter matrix times the mean of the other, and the spread behind it (see
/// [`scatter_along`]), from the rows.
pub(crate) fn alongs(queue: &Queue<'_>, layout: &Layout) -> Result<[Address; 2]> {
    let (z, q) = (&layout.embeddings, &layout.proxies);
    Ok([scatter_along(queue, z, q.mean)?, scatter_along(queue, q, z.mean)?])
}

/// Loss, moments and the saved state. `gradient`: one follows at once.
pub(crate) fn run(
    queue: &Queue<'_>,
    config: &Config,
    problem: &Problem,
    layout: &Layout,
    (gram, gradient): (bool, bool),
    out: Outputs,
) -> Result<Left> {
    let (z, q) = (layout.embeddings, layout.proxies);
    let (form, mode) = state::codes(config);
    let mut conclude = Conclude {
        header: layout.header,
        summaries: layout.summaries,
        moments: out.moments,
        loss: out.loss,
        cosines: layout.cosines,
        alongs: [Address::NULL; 2],
        centres: Address::NULL,
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
    let mut left = Left::default();
    if gram && tensor::takes(queue, problem.shape.dim)? {
        let swept = tensor::sweep(queue, problem, layout, gradient)?;
        (conclude.alongs, conclude.centres) = (swept.alongs, swept.centres);
        (conclude.products, conclude.blocks) = (swept.inner, int(swept.parts)?);
        if gradient {
            return Ok(Left { swept: Some(swept), conclude: Some(conclude), alongs: None });
        }
        queue.launch_wide("conclude", 1, &conclude)?;
        return Ok(left);
    }
    measure(queue, &z)?;
    if problem.shape.classes.is_some() {
        measure(queue, &q)?;
        let cosines = Cosines { embeddings: z, proxies: q, labels: problem.labels, out: layout.cosines };
        queue.launch_typed("cosines", Grid::Warps(problem.shape.batch), &cosines)?;
    }
    if gram {
        let dim = problem.shape.dim;
        scatter(queue, &z, layout.embedding_scatter)?;
        scatter(queue, &q, layout.proxy_scatter)?;
        conclude.alongs = alongs(queue, layout)?;
        left.alongs = Some(conclude.alongs);
        (conclude.products, conclude.blocks) = (queue.scratch(dim, F64)?, z.dim);
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
    Ok(left)
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
