//! The same search by several ranks, none of which holds all rows: each keeps its queries, and the parts of the gallery go round.
//!
//! The parts are searched one after the other (`parts.rs`), so that the results are the same bits as those of one process.

use ndarray::Array2;

use super::apart::Sides;
use super::parts::Finds;
use super::{AtK, Build, Query, Retrieval, Search};
use crate::console::Progress;
use crate::embeddings::Embeddings;
use crate::error::Result;
use crate::ranks::{agree, world};

/// [`measure`](super::measure()) of embeddings of which each rank has a part, by an exact index; the answer is on every rank.
///
/// # Errors
/// As [`measure`](super::measure()), on every rank; [`Error::Usage`](crate::Error::Usage) for an index that is not exact.
pub fn measure_over_ranks(embeddings: &Embeddings, search: &Search, build: &Build<'_>) -> Result<Retrieval> {
    let world = world();
    if world.is_alone() {
        return super::measure(embeddings, search, build);
    }
    let rows = &embeddings.rows;
    let sides = agree(Sides::new(rows, &search.ks))?;
    let (depth, reach) = search.depth_and_reach(&sides);
    let Sides { queries, gallery, together, relevant, .. } = sides;

    let here = embeddings.first..embeddings.first + embeddings.matrix.nrows();
    let within =
        |rows: &[usize]| rows.partition_point(|&row| row < here.start)..rows.partition_point(|&row| row < here.end);
    let select = |rows: &[usize]| {
        let own: Vec<usize> = rows.iter().map(|row| row - here.start).collect();
        embeddings.matrix.select(ndarray::Axis(0), &own)
    };
    let (own_queries, own_gallery) = (within(&queries), within(&gallery));
    let query_matrix = select(&queries[own_queries.clone()]);
    let own_place = together.then_some(own_queries.start);
    let mut part = Part { first: own_gallery.start, rows: select(&gallery[own_gallery]) };

    let progress = Progress::new("searching", "parts of the gallery", world.size());
    let name = |place: usize| rows[gallery[place]].name.clone();
    let mut finds = Finds::new(search, build, query_matrix.view(), own_place, reach);
    for round in 0..world.size() {
        agree(finds.search(part.first, part.rows.view(), &name))?;
        progress.advance(1);
        if round + 1 < world.size() {
            part = Part::of_bytes(&world.pass(&part.bytes()), embeddings.dim());
        }
    }
    progress.finish();

    let own_relevant = &relevant[own_queries.clone()];
    let (each, lone) = finds.measured(rows, (&queries[own_queries], own_relevant), &gallery, depth);
    let own: Vec<u64> = each.iter().flat_map(Query::numbers).collect();
    let lone: Vec<u64> = lone.into_iter().flat_map(|(row, nearest)| [row as u64, nearest.to_bits()]).collect();
    let told = |numbers: Vec<u64>| world.gather(&numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
    let each = told(own).iter().flat_map(|bytes| Query::of_bytes(bytes, search)).collect();
    let mut found = search.mean_of(each, (queries.len(), gallery.len()), depth);
    let lone = told(lone).concat();
    let numbers: Vec<u64> = lone.as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
    let row = |row: u64| usize::try_from(row).expect("a row in memory");
    found.lone_nearest = numbers.as_chunks::<2>().0.iter().map(|&[at, bits]| (row(at), f64::from_bits(bits))).collect();
    Ok(found)
}

/// Some rows of the gallery, in their order.
struct Part {
    /// The place of the first in the gallery.
    first: usize,
    rows: Array2<f32>,
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        let first = (self.first as u64).to_le_bytes();
        first.into_iter().chain(self.rows.iter().flat_map(|value| value.to_le_bytes())).collect()
    }

    fn of_bytes(bytes: &[u8], dim: usize) -> Self {
        let (first, values) = bytes.split_at(8);
        let first = u64::from_le_bytes(first.try_into().expect("eight bytes"));
        let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let shape = (values.len() / dim, dim);
        let rows = Array2::from_shape_vec(shape, values).expect("whole rows");
        Self { first: usize::try_from(first).expect("a place in memory"), rows }
    }
}

impl Query {
    /// As whole numbers, so that no bit is lost on the way.
    fn numbers(&self) -> Vec<u64> {
        let head = [self.row, self.relevant, self.first_hit.unwrap_or(0), usize::from(self.tied), self.nearest.len()];
        let head = head.map(|number| number as u64);
        let nearest = self.nearest.iter().flat_map(|&(row, similarity)| [row as u64, similarity.to_bits()]);
        let ap = [u64::from(self.ap.is_some()), self.ap.unwrap_or(0.0).to_bits()];
        let at = self.at.iter().flat_map(|at| [at.precision, at.average_precision, at.ndcg].map(f64::to_bits));
        let means = [self.r_precision.to_bits(), self.ap_at_r.to_bits()];
        head.into_iter().chain(means).chain(ap).chain(at).chain(nearest).collect()
    }

    fn of_bytes(bytes: &[u8], search: &Search) -> Vec<Self> {
        let mut numbers = bytes.as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes));
        let place = |number: u64| usize::try_from(number).expect("a number of rows in memory");
        let mut found = Vec::new();
        while let Some(row) = numbers.next() {
            let mut next = || numbers.next().expect("whole queries");
            let (relevant, first_hit, tied, count) = (place(next()), place(next()), next() == 1, next());
            let (r_precision, ap_at_r) = (f64::from_bits(next()), f64::from_bits(next()));
            let (has_ap, ap) = (next() == 1, f64::from_bits(next()));
            let mut at_k = |k: usize| AtK {
                k,
                precision: f64::from_bits(next()),
                average_precision: f64::from_bits(next()),
                ndcg: f64::from_bits(next()),
            };
            let at = search.ks.iter().map(|&k| at_k(k)).collect();
            let nearest = (0..count).map(|_| (place(next()), f64::from_bits(next()))).collect();
            let first_hit = (first_hit > 0).then_some(first_hit);
            let ap = has_ap.then_some(ap);
            found.push(Self { row: place(row), relevant, first_hit, r_precision, ap_at_r, at, ap, tied, nearest });
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use super::*;

    #[test]
    fn queries_and_parts_come_back_as_they_were() {
        let query = |row, first_hit, nearest: &[(usize, f64)]| Query {
            row,
            relevant: 3,
            first_hit,
            r_precision: 0.1 + 0.2,
            ap_at_r: 1.0 / 3.0,
            at: vec![AtK { k: 1, precision: 0.1, average_precision: 0.7, ndcg: 0.3 }],
            ap: first_hit.map(|_| 0.9),
            tied: first_hit.is_none(),
            nearest: nearest.to_vec(),
        };
        let queries = [query(7, None, &[]), query(9, Some(2), &[(4, 0.1), (5, -0.0)])];
        let bytes: Vec<u8> = queries.iter().flat_map(Query::numbers).flat_map(u64::to_le_bytes).collect();
        assert_eq!(Query::of_bytes(&bytes, &Search::cosine(&[1])), queries);
        let part = Part { first: 5, rows: Array2::from_shape_fn((3, 2), |(r, c)| r as f32 - c as f32 / 3.0) };
        let again = Part::of_bytes(&part.bytes(), 2);
        assert_eq!((again.first, again.rows), (5, part.rows));
    }
}
