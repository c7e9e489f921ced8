//! The same search by several ranks, none of which holds all rows: each keeps its queries, and the parts of the gallery go round.
//!
//! The nearest of all are the nearest among the nearest of each part, in the true order (similarity in f64, then row), which is
//! the order of one process, too: the results are the same bits.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};

use super::apart::{Sides, apart};
use super::{AtK, Build, Index, Metric, Query, Retrieval, Search, Similarity, unit_rows};
use crate::console::Progress;
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::ranks::{agree, world};

/// Queries searched at a time.
const BLOCK: usize = 4096;

/// A candidate: its similarity as the order has it, its place in the gallery, its similarity as it is reported.
type Near = (f64, usize, f64);

/// [`measure`](super::measure()) of embeddings of which each rank has a part, by an exact index; the answer is on every rank.
///
/// # Errors
/// As [`measure`](super::measure()), on every rank; [`Error::Usage`] for an index that is not exact.
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
    let mut part = Part { first: own_gallery.start, rows: select(&gallery[own_gallery]) };

    let progress = Progress::new("searching", "parts of the gallery", world.size());
    let mut nearest: Vec<Vec<Near>> = vec![Vec::new(); own_queries.len()];
    let name = |place: usize| rows[gallery[place]].name.clone();
    for round in 0..world.size() {
        let is_own = together && round == 0;
        agree(part.search(search, build, query_matrix.view(), is_own, reach, &name, &mut nearest))?;
        progress.advance(1);
        if round + 1 < world.size() {
            part = Part::of_bytes(&world.pass(&part.bytes()), embeddings.dim());
        }
    }
    progress.finish();

    let (mut own, mut lone) = (Vec::new(), Vec::new());
    for ((&at, &r), mut found) in queries[own_queries.clone()].iter().zip(&relevant[own_queries]).zip(nearest) {
        found.retain(|&(_, place, _)| !apart(&rows[at], &rows[gallery[place]]));
        if r == 0 {
            lone.extend(found.first().filter(|_| search.keep > 0).map(|near| near.2.to_bits()));
            continue;
        }
        found.truncate(depth);
        let is_relevant: Vec<bool> = found.iter().map(|&(_, n, _)| rows[gallery[n]].class == rows[at].class).collect();
        let kept = found.iter().take(search.keep).map(|&(_, place, similarity)| (gallery[place], similarity)).collect();
        own.extend(Query::of((at, r), &is_relevant, search, kept).numbers());
    }
    let told = |numbers: Vec<u64>| world.gather(&numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
    let each = told(own).iter().flat_map(|bytes| Query::of_bytes(bytes, search)).collect();
    let mut found = search.mean_of(each, (queries.len(), gallery.len()), depth);
    let lone = told(lone).concat();
    found.lone_nearest = lone.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
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

    /// Puts what is near among these rows to what each query has found so far.
    #[allow(clippy::too_many_arguments)] // all are of one loop
    fn search(
        &self,
        search: &Search,
        build: &Build<'_>,
        queries: ArrayView2<'_, f32>,
        is_own: bool,
        reach: usize,
        name: &dyn Fn(usize) -> String,
        nearest: &mut [Vec<Near>],
    ) -> Result<()> {
        let count = self.rows.nrows();
        let most = reach.min(count - usize::from(is_own && count > 0));
        if count == 0 {
            return Ok(());
        }
        let mut index = build(search.metric, self.rows.view(), &|row| name(self.first + row))?;
        if !index.is_exact() {
            return Err(Error::Usage("--index: several ranks search exactly; wanted Flat".into()));
        }
        if most == 0 {
            return Ok(());
        }
        let own_rows = ordered(search.metric, self.rows.view())?;
        for first in (0..queries.nrows()).step_by(BLOCK) {
            let block = first..(first + BLOCK).min(queries.nrows());
            self.search_block(search, index.as_mut(), queries, block, is_own, most, reach, &own_rows, nearest)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // all are of one loop
    fn search_block(
        &self,
        search: &Search,
        index: &mut dyn Index,
        queries: ArrayView2<'_, f32>,
        block: Range<usize>,
        is_own: bool,
        most: usize,
        reach: usize,
        rows: &Array2<f32>,
        nearest: &mut [Vec<Near>],
    ) -> Result<()> {
        let raw = queries.slice(s![block.clone(), ..]);
        let found = index.search(raw, most, is_own.then_some(block.start))?;
        let prepared = ordered(search.metric, raw)?;
        let order = Similarity::new(search.metric, prepared.view(), rows.view());
        let report = Similarity::new(search.metric, raw, self.rows.view());
        for (at, found) in found.into_iter().enumerate() {
            let list = &mut nearest[block.start + at];
            let reported = |row: usize| if search.keep > 0 { report.of(at, row) } else { 0.0 };
            list.extend(found.into_iter().map(|row| (order.of(at, row), self.first + row, reported(row))));
            list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            list.truncate(reach);
        }
        Ok(())
    }
}

/// Rows as the order compares them: of unit length under cosine, as [`Gallery`](super::Gallery) has them.
fn ordered(metric: Metric, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let rows = rows.to_owned();
    if metric == Metric::Cosine { unit_rows(&rows, |row| format!("query {row}")) } else { Ok(rows) }
}

impl Query {
    /// As whole numbers, so that no bit is lost on the way.
    fn numbers(&self) -> Vec<u64> {
        let head =
            [self.row, self.relevant, self.first_hit.unwrap_or(0), self.nearest.len()].map(|number| number as u64);
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
            let (relevant, first_hit, count) = (place(next()), place(next()), next());
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
            found.push(Self { row: place(row), relevant, first_hit, r_precision, ap_at_r, at, ap, nearest });
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
            nearest: nearest.to_vec(),
        };
        let queries = [query(7, None, &[]), query(9, Some(2), &[(4, 0.1), (5, -0.0)])];
        let bytes: Vec<u8> = queries.iter().flat_map(Query::numbers).flat_map(u64::to_le_bytes).collect();
        assert_eq!(Query::of_bytes(&bytes, &Search::cosine(&[1])), queries);
        let part = Part { first: 5, rows: Array2::from_shape_fn((3, 2), |(r, c)| r as f32 - c as f32 / 3.0) };
        let again = Part::of_bytes(&part.bytes(), 2);
        assert_eq!((again.first, again.rows), (5, part.rows));
    }

    #[test]
    fn parts_one_after_the_other_find_what_the_whole_gallery_does() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        // Every third row is the row before, so that ties cross the parts' borders.
        let rows = Array2::from_shape_fn((60, 5), |(r, c)| noise((r - usize::from(r % 3 == 2)) * 5 + c + 1));
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let search = Search { metric, ks: vec![1], keep: 20, whole: false };
            let mut whole = super::super::exact(metric, rows.view(), &|row| row.to_string()).unwrap();
            let wanted = whole.search(rows.view(), 20, Some(0)).unwrap();
            let mut nearest: Vec<Vec<Near>> = vec![Vec::new(); 60];
            let part = Part { first: 0, rows: rows.clone() };
            part.search(&search, &super::super::exact, rows.view(), true, 20, &|_| String::new(), &mut nearest)
                .unwrap();
            let found = |lists: &[Vec<Near>]| -> Vec<Vec<usize>> {
                lists.iter().map(|list| list.iter().map(|near| near.1).collect()).collect()
            };
            assert_eq!(found(&nearest), wanted, "{metric}");
            // Rows 0 to 20 search: their own part, then the two that come round.
            let queries = rows.slice(s![..21, ..]);
            let mut nearest: Vec<Vec<Near>> = vec![Vec::new(); 21];
            for (at, (first, last)) in [(0, 21), (40, 60), (21, 40)].into_iter().enumerate() {
                let part = Part { first, rows: rows.slice(s![first..last, ..]).to_owned() };
                part.search(&search, &super::super::exact, queries, at == 0, 20, &|_| String::new(), &mut nearest)
                    .unwrap();
            }
            assert_eq!(found(&nearest), wanted[..21], "{metric}");
        }
    }
}
