//! The same search of embeddings that stay in their file: the gallery goes by block by block.

use ndarray::{Array2, Axis};

use super::apart::Sides;
use super::measure::FOUND;
use super::parts::Finds;
use super::{Build, Retrieval, Search};
use crate::console::Progress;
use crate::embeddings::{Blocks, Row};
use crate::error::Result;

/// How many copies of a block's numbers a search holds at once: of the gallery as read, of unit length, in the index, and on their way between
/// these; of the queries half as many.
const COPIES: usize = 8;

/// The rows of a block with which a search holds no more than so many bytes of the gallery; 1 at least.
pub fn rows_within(bytes: usize, dim: usize) -> usize {
    (bytes / (4 * COPIES * dim.max(1))).max(1)
}

/// [`measure`](super::measure()) of embeddings in a file, `most` rows of the gallery and of the queries in memory at a time, by an exact
/// index; `prepare` makes what is searched of the rows as they are kept. Queries that are too many to be held go by in several rounds,
/// for each of which the file is read again.
///
/// # Errors
/// As [`measure`](super::measure()); [`Error::File`](crate::Error::File) where the file cannot be read,
/// [`Error::Usage`](crate::Error::Usage) for an index that is not exact.
pub fn measure_by_blocks(
    (rows, blocks): (&[Row], &mut Blocks),
    most: usize,
    prepare: &dyn Fn(Array2<f32>) -> Array2<f32>,
    search: &Search,
    build: &Build<'_>,
) -> Result<Retrieval> {
    let sides = Sides::new(rows, &search.ks)?;
    let (depth, reach) = search.depth_and_reach(&sides);
    let Sides { queries, gallery, together, relevant, .. } = sides;
    let round = (FOUND / reach.max(1)).clamp(1, most);
    let rounds = queries.len().div_ceil(round);
    let name = |place: usize| rows[gallery[place]].name.clone();
    let progress = Progress::new("searching", "rows of the gallery", rounds * gallery.len());
    let (mut each, mut lone_nearest) = (Vec::with_capacity(queries.len()), Vec::new());
    for first in (0..queries.len()).step_by(round) {
        let asked = first..(first + round).min(queries.len());
        let own = prepare(blocks.select(&queries[asked.clone()])?);
        let mut finds = Finds::new(search, build, own.view(), together.then_some(first), reach);
        for begin in (0..rows.len()).step_by(most) {
            let end = (begin + most).min(rows.len());
            let places = gallery.partition_point(|&row| row < begin)..gallery.partition_point(|&row| row < end);
            if places.is_empty() {
                continue;
            }
            let mut block = blocks.read(begin..end)?;
            if places.len() < block.nrows() {
                let kept: Vec<usize> = gallery[places.clone()].iter().map(|row| row - begin).collect();
                block = block.select(Axis(0), &kept);
            }
            finds.search(places.start, prepare(block).view(), &name)?;
            progress.advance(places.len());
        }
        let (measured, lone) = finds.measured(rows, (&queries[asked.clone()], &relevant[asked]), &gallery, depth);
        each.extend(measured);
        lone_nearest.extend(lone);
    }
    let mut found = search.mean_of(each, (queries.len(), gallery.len()), depth);
    found.lone_nearest = lone_nearest;
    Ok(found)
}
