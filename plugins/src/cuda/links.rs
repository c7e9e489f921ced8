//! Genuine pairs as the proxies' gradient takes them: samples sorted by label, and what they add in pieces.

use super::{
    params::{Address, Finish, GatherLinks, Labels, Links, Prepare, Side, padded},
    queue::{Grid, Queue, int},
};
use crate::error::Result;

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();
const I32: usize = size_of::<i32>();
const KEY: usize = size_of::<u64>();

/// Keys that one block of `prepare` brings in order.
const SORTED: usize = 1024;
/// Keys whose samples one warp adds up.
pub(crate) const PIECE: usize = 32;
/// Columns that it adds up.
pub(crate) const PIECE_COLUMNS: usize = 128;
/// Blocks that look for one side's centre, and what clears the heads at most.
const PROBE_BLOCKS: usize = 32;
const CLEAR_BLOCKS: usize = 256;

/// No samples are sorted.
pub(crate) fn none(labels: Labels) -> Links {
    Links { labels, keys: Address::NULL, merged: Address::NULL, heads: Address::NULL, classes: 0, run: 0 }
}

/// Launches `prepare`: what centres are made of, where `probes` is wanted, and sorted samples, where `sorted` is.
pub(crate) fn prepare(
    queue: &Queue<'_>,
    [embeddings, proxies]: [Side; 2],
    labels: Labels,
    probes: bool,
    sorted: bool,
) -> Result<(Address, Links)> {
    let (batch, classes) = (embeddings.count as usize, proxies.count as usize);
    let mut links = none(labels);
    if sorted {
        links.heads = queue.scratch(classes, I32)?;
        links.keys = queue.scratch(batch, KEY)?;
        links.merged = if batch > SORTED { queue.scratch(batch, KEY)? } else { Address::NULL };
        links.classes = proxies.count;
    }
    let probe_blocks = if probes { 2 * PROBE_BLOCKS } else { 0 };
    let sort_blocks = if sorted { batch.div_ceil(SORTED) } else { 0 };
    let clear_blocks = if sorted { classes.div_ceil(1024).min(CLEAR_BLOCKS) } else { 0 };
    let probes = queue.scratch(probe_blocks.max(1) * embeddings.dim as usize, F64)?;
    let parameters = Prepare {
        embeddings,
        proxies,
        links,
        probes,
        probe_blocks: int(probe_blocks)?,
        sort_blocks: int(sort_blocks)?,
        clear_blocks: int(clear_blocks)?,
        unused: 0,
    };
    queue.launch_typed("prepare", Grid::Blocks(probe_blocks + sort_blocks + clear_blocks), &parameters)?;
    let mut run = SORTED;
    while sorted && run < batch {
        links.run = int(run)?;
        queue.launch("merge_labels", Grid::Columns(batch, 1), &links)?;
        (links.keys, links.merged) = (links.merged, links.keys);
        run *= 2;
    }
    Ok((probes, links))
}

/// What the kernel `gather_links` takes, and where `finish` finds its results.
pub(crate) fn gather(queue: &Queue<'_>, links: &Links, finish: &mut Finish) -> Result<GatherLinks> {
    let (z, q) = (finish.own, finish.other);
    (finish.heads, finish.keys) = (links.heads, links.keys);
    let batch = z.count as usize;
    (finish.sums, finish.totals) = (queue.scratch(batch * padded(z.dim as usize), F32)?, queue.scratch(batch, F64)?);
    Ok(GatherLinks {
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
    })
}
