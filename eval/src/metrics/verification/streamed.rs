//! All pairs of a large set, counted as they come: rows of length one are multiplied in f64, tile by tile, and each product is counted
//! on a grid as fine as f32 between 1/2 and 1 ([`GRID`](super::GRID)), so that equal cosines are counted together. The counts, and every
//! rate made of them, are then exact; the scores are rounded to the grid. Memory holds the rows and the grid, however many the pairs.
//!
//! Of several ranks each has some whole tiles of rows. Parts go half round, so that each two of them meet on one rank; the counts are added
//! up. The products are those of one process, and so are the counts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, Axis, s};

use super::{GridCounter, Tally};
use crate::{Error, Result};
use pdloss_embed::console::Progress;
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::ranks::{World, agree, alone, world};

/// Rows and columns of a tile of products: 256 KiB, which stays in a core's own cache until it is counted.
pub(super) const TILE: usize = 256;

/// All unordered pairs but those of copies; of several ranks, the first one has the answer.
///
/// # Errors
/// [`Error::Embeddings`] naming a row without direction; [`Error::Measure`] where there is no genuine or no impostor pair. On every
/// one of several ranks.
pub fn count_all(embeddings: &Embeddings) -> Result<Option<Tally>> {
    count(embeddings, world())
}

/// [`count_all`] of embeddings that this process has whole, whatever others do.
///
/// # Errors
/// As [`count_all`].
pub(super) fn count_alone(embeddings: &Embeddings) -> Result<Tally> {
    let counted = count(embeddings, alone())?;
    counted.ok_or_else(|| Error::Measure("nothing was counted".into()))
}

fn count(embeddings: &Embeddings, world: &World) -> Result<Option<Tally>> {
    let sorted = Sorted::new(&embeddings.rows);
    settle(world, have_directions(embeddings))?;
    let rows = embeddings.matrix.as_standard_layout().into_owned();
    let own = own_tiles(world, &sorted, embeddings.first, rows);
    let counter = GridCounter::default();
    let parts = rounds(world.size());
    let progress = Progress::new("comparing", "rows", parts * own.rows.nrows());
    sorted.count(&counter, own.tiles(), &own, &own, &progress);
    let mut part = Tiles { first: own.first, rows: own.rows.clone() };
    for round in 1..parts {
        part = part.pass_on(world);
        let other = (world.rank() + world.size() - round) % world.size();
        let (left, right) = if other < world.rank() { (&part, &own) } else { (&own, &part) };
        let tiles = shared(left.tiles(), round, world.size(), other < world.rank());
        sorted.count(&counter, tiles, left, right, &progress);
    }
    progress.finish();
    counter.over_ranks(world);
    settle(world, if world.is_first() { counter.finish().map(Some) } else { Ok(None) })
}

/// Refuses a row of zeros among those that this process has.
pub(super) fn have_directions(embeddings: &Embeddings) -> Result<()> {
    let mut rows = embeddings.matrix.rows().into_iter();
    let Some(at) = rows.position(|row| row.iter().all(|&value| value == 0.0)) else { return Ok(()) };
    let name = &embeddings.rows[embeddings.first + at].name;
    Err(Error::Embeddings(format!("{name} is all zeros, which has no cosine with anything")))
}

fn settle<T>(world: &World, own: Result<T>) -> Result<T> {
    if world.is_alone() { own } else { agree(own) }
}

/// How many parts a rank compares its own with, which is the first of them.
fn rounds(size: usize) -> usize {
    size / 2 + 1
}

/// Of the tiles of the earlier one of two parts, those that this rank compares with the later one. Where parts meet half way round,
/// they meet on both ranks, and each takes half; `is_later` on the rank of the later part.
fn shared(tiles: Range<usize>, round: usize, size: usize, is_later: bool) -> Range<usize> {
    let middle = usize::midpoint(tiles.start, tiles.end);
    match (2 * round == size, is_later) {
        (false, _) => tiles,
        (true, false) => tiles.start..middle,
        (true, true) => middle..tiles.end,
    }
}

/// Some whole tiles of the rows in the order of their classes.
struct Tiles {
    /// The first tile.
    first: usize,
    rows: Array2<f32>,
}

impl Tiles {
    fn tiles(&self) -> Range<usize> {
        self.first..self.first + self.rows.nrows().div_ceil(TILE)
    }

    /// The first row of a tile in the whole order, and the tile, its rows of length one.
    fn tile<'a>(&self, tile: usize, out: &'a mut Vec<f64>) -> (usize, MatRef<'a, f64>) {
        let (count, dim) = self.rows.dim();
        let first = (tile - self.first) * TILE;
        let last = (first + TILE).min(count);
        out.clear();
        for row in self.rows.slice(s![first..last, ..]).rows() {
            let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            out.extend(row.iter().map(|&value| f64::from(value) / length));
        }
        (tile * TILE, MatRef::from_row_major_slice(out, last - first, dim))
    }

    /// Gives the tiles to the next rank, and takes those of the one before.
    fn pass_on(self, world: &World) -> Self {
        let dim = self.rows.ncols();
        let first = (self.first as u64).to_le_bytes();
        let bytes: Vec<u8> = first.into_iter().chain(bytes_of(&self.rows)).collect();
        let bytes = world.pass(&bytes);
        let (first, values) = bytes.split_at(8);
        let first = u64::from_le_bytes(first.try_into().expect("eight bytes"));
        Self { first: usize::try_from(first).expect("a tile in memory"), rows: rows_of(values, dim) }
    }
}

fn bytes_of(rows: &Array2<f32>) -> impl Iterator<Item = u8> {
    rows.iter().flat_map(|value| value.to_le_bytes())
}

fn rows_of(bytes: &[u8], dim: usize) -> Array2<f32> {
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Array2::from_shape_vec((values.len() / dim, dim), values).expect("whole rows")
}

/// The rows of this rank's tiles, out of what the ranks have of the rows in their own order, from `first` on.
fn own_tiles(world: &World, sorted: &Sorted, first: usize, rows: Array2<f32>) -> Tiles {
    let count = sorted.order.len();
    let tiles = world.share(count.div_ceil(TILE));
    let wanted = &sorted.order[(tiles.start * TILE).min(count)..(tiles.end * TILE).min(count)];
    if world.is_alone() {
        return Tiles { first: 0, rows: rows.select(Axis(0), wanted) };
    }
    let mut own = Array2::zeros((wanted.len(), rows.ncols()));
    let (mut first, mut rows) = (first, rows);
    for round in 0..world.size() {
        for (mut row, &at) in own.rows_mut().into_iter().zip(wanted) {
            if (first..first + rows.nrows()).contains(&at) {
                row.assign(&rows.row(at - first));
            }
        }
        if round + 1 < world.size() {
            // The place travels as tiles' does.
            let passed = Tiles { first, rows }.pass_on(world);
            (first, rows) = (passed.first, passed.rows);
        }
    }
    Tiles { first: tiles.start, rows: own }
}

/// Rows of a class beside each other: the genuine columns of a row are then one run, and no product needs a question.
struct Sorted {
    /// Which row is at each place.
    order: Vec<usize>,
    /// Where the class of each place ends.
    ends: Vec<usize>,
    /// The image at each place, where it has copies ...
    images: Vec<Option<u32>>,
    /// ... and the places of these.
    copies: HashMap<u32, Vec<usize>>,
}

impl Sorted {
    fn new(rows: &[Row]) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&at| rows[at].class);
        let class = |place: usize| rows[order[place]].class;
        let mut ends = vec![rows.len(); rows.len()];
        for at in (0..rows.len().saturating_sub(1)).rev() {
            ends[at] = if class(at) == class(at + 1) { ends[at + 1] } else { at + 1 };
        }
        let images: Vec<Option<u32>> = order.iter().map(|&at| rows[at].image).collect();
        let mut copies: HashMap<u32, Vec<usize>> = HashMap::new();
        for (place, image) in images.iter().enumerate() {
            if let Some(image) = image {
                copies.entry(*image).or_default().push(place);
            }
        }
        Self { order, ends, images, copies }
    }

    /// Counts the pairs of rows of these tiles of `left` with later ones of `right`.
    fn count(&self, counter: &GridCounter, tiles: Range<usize>, left: &Tiles, right: &Tiles, progress: &Progress) {
        let next = AtomicUsize::new(tiles.start);
        rayon::broadcast(|_| {
            let (mut genuine, mut impostor) = (counter.genuine(), counter.impostor());
            let (mut products, mut ours, mut theirs) = (vec![0.0_f64; TILE * TILE], Vec::new(), Vec::new());
            loop {
                let tile = next.fetch_add(1, Ordering::Relaxed);
                if tile >= tiles.end {
                    return;
                }
                let (first, rows) = left.tile(tile, &mut ours);
                let others = right.tiles();
                for other in others.start.max(tile)..others.end {
                    let (start, columns) = right.tile(other, &mut theirs);
                    let (height, width) = (rows.nrows(), columns.nrows());
                    let out = MatMut::from_row_major_slice_mut(&mut products[..height * width], height, width);
                    matmul(out, Accum::Replace, rows, columns.transpose(), 1.0, Par::Seq);
                    for (at, scores) in products[..height * width].chunks_exact(width).enumerate() {
                        let row = first + at;
                        // Only pairs with a later row; of those, first the same class, then others.
                        let from = (row + 1).saturating_sub(start).min(width);
                        let to = self.ends[row].saturating_sub(start).clamp(from, width);
                        let mut at = from;
                        let of_row =
                            self.images[row].and_then(|image| self.copies.get(&image)).map_or(&[][..], Vec::as_slice);
                        let here = of_row
                            .iter()
                            .filter_map(|copy| copy.checked_sub(start).filter(|c| (from..width).contains(c)));
                        for stop in here.chain([width]) {
                            let middle = to.clamp(at, stop);
                            genuine.extend(&scores[at..middle]);
                            impostor.extend(&scores[middle..stop]);
                            at = stop + 1;
                        }
                    }
                }
                progress.advance(rows.nrows());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_parts_meet_once_and_whole() {
        for size in 1..8 {
            // Parts of 0, 1, 2 ... tiles.
            let starts: Vec<usize> = (0..=size).map(|rank| rank * (rank + 1) / 2).collect();
            let mut met = HashMap::new();
            for rank in 0..size {
                for round in 0..rounds(size) {
                    let other = (rank + size - round) % size;
                    let (left, right) = (rank.min(other), rank.max(other));
                    let tiles = match round {
                        0 => starts[rank]..starts[rank + 1],
                        _ => shared(starts[left]..starts[left + 1], round, size, other < rank),
                    };
                    for tile in tiles {
                        *met.entry((tile, right)).or_insert(0) += 1;
                    }
                }
            }
            let wanted: usize = (0..size).map(|left| (starts[left + 1] - starts[left]) * (size - left)).sum();
            assert_eq!((met.len(), met.values().all(|&times| times == 1)), (wanted, true), "{size} ranks");
        }
    }
}
