//! A gallery searched part by part, for where it is not in memory as a whole.
//!
//! The nearest of all are the nearest among the nearest of each part, in the true order, which is the order of a search in one
//! piece, too: the results are the same bits.

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::apart::apart;
use super::exact::{ranks_first, squares};
use super::measure::{BEYOND, hangs_on_order};
use super::wide::Wide;
use super::{Build, Query, Search, Similarity};
use crate::embeddings::Row;
use crate::error::{Error, Result};

/// Queries searched at a time.
const BLOCK: usize = 4096;

/// A candidate: where it stands in the order, its place in the gallery, its similarity.
type Near = (Wide, usize, f64);

/// What some queries have found so far.
pub(super) struct Finds<'a> {
    search: &'a Search,
    build: &'a Build<'a>,
    queries: ArrayView2<'a, f32>,
    /// The place of the first query in the gallery, where they are rows of it in order.
    first_self: Option<usize>,
    /// How many neighbours each query wants.
    reach: usize,
    nearest: Vec<Vec<Near>>,
}

impl<'a> Finds<'a> {
    /// Nothing yet.
    pub(super) fn new(
        search: &'a Search,
        build: &'a Build<'a>,
        queries: ArrayView2<'a, f32>,
        first_self: Option<usize>,
        reach: usize,
    ) -> Self {
        Self { search, build, queries, first_self, reach, nearest: vec![Vec::new(); queries.nrows()] }
    }

    /// Searches the rows of the gallery from the place `first` on; `name` names a place.
    ///
    /// # Errors
    /// Those of the index, and [`Error::Usage`] where it is not exact.
    pub(super) fn search(
        &mut self,
        first: usize,
        part: ArrayView2<'_, f32>,
        name: &dyn Fn(usize) -> String,
    ) -> Result<()> {
        if part.nrows() == 0 {
            return Ok(());
        }
        let metric = self.search.metric;
        let mut index = (self.build)(metric, part, &|row| name(first + row))?;
        if !index.is_exact() {
            return Err(Error::Usage("--index: a gallery in parts is searched exactly; wanted Flat".into()));
        }
        // A query that is among these rows finds itself, too.
        let most = (self.reach + usize::from(self.first_self.is_some())).min(part.nrows());
        if self.reach == 0 {
            return Ok(());
        }
        let squares = squares(metric, part);
        let Self { search, queries, first_self, reach, ref mut nearest, .. } = *self;
        for begin in (0..queries.nrows()).step_by(BLOCK) {
            let end = (begin + BLOCK).min(queries.nrows());
            let raw = queries.slice(s![begin..end, ..]);
            let found = index.search(raw, most, None)?;
            let similarity = Similarity::with_squares(metric, raw, part, &squares);
            nearest[begin..end].par_iter_mut().zip(found).enumerate().for_each(|(at, (list, found))| {
                let own = first_self.map(|place| place + begin + at);
                let reported = |row: usize| if search.keep > 0 { similarity.of(at, row) } else { 0.0 };
                let others = found.into_iter().filter(|row| Some(first + row) != own);
                list.extend(others.map(|row| (similarity.rank(at, row), first + row, reported(row))));
                list.sort_by(|a, b| ranks_first((&a.0, a.1), (&b.0, b.1)));
                list.truncate(reach);
            });
        }
        Ok(())
    }

    /// The queries measured, and how similar the nearest image is to each of those that have no other image of their class, where
    /// neighbours are kept. `asked` are the rows of the queries and how many rows of the gallery each should find.
    pub(super) fn measured(
        self,
        rows: &[Row],
        asked: (&[usize], &[usize]),
        gallery: &[usize],
        depth: usize,
    ) -> (Vec<Query>, Vec<(usize, f64)>) {
        let (mut each, mut lone) = (Vec::new(), Vec::new());
        for ((&at, &r), mut found) in asked.0.iter().zip(asked.1).zip(self.nearest) {
            found.retain(|&(_, place, _)| !apart(&rows[at], &rows[gallery[place]]));
            if r == 0 {
                // A query that finds nobody is like none.
                let nearest = found.first().map_or(f64::NEG_INFINITY, |near| near.2);
                lone.extend((self.search.keep > 0).then_some((at, nearest)));
                continue;
            }
            let deep = self.search.deep(r, depth);
            let ranks: Vec<Wide> = found.iter().take(deep + BEYOND).map(|near| near.0).collect();
            let mut relevant: Vec<bool> =
                found.iter().map(|near| rows[gallery[near.1]].class == rows[at].class).collect();
            let tied = hangs_on_order(&ranks, &relevant, (deep, r));
            found.truncate(depth);
            relevant.truncate(depth);
            let kept = found.iter().take(self.search.keep);
            let kept = kept.map(|&(_, place, similarity)| (gallery[place], similarity)).collect();
            each.push(Query { tied, ..Query::of((at, r), &relevant, self.search, kept) });
        }
        (each, lone)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use ndarray::Array2;

    use super::super::Metric;
    use super::*;

    #[test]
    fn parts_one_after_the_other_find_what_the_whole_gallery_does() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        // Every third row is the row before, so that ties cross the parts' borders.
        let rows = Array2::from_shape_fn((60, 5), |(r, c)| noise((r - usize::from(r % 3 == 2)) * 5 + c + 1));
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let search = Search { metric, ks: vec![1], keep: 20, whole: false };
            let mut whole = super::super::exact(metric, rows.view(), &|row| row.to_string()).unwrap();
            let wanted = whole.search(rows.view(), 20, Some(0)).unwrap();
            let find = |queries: std::ops::Range<usize>, parts: &[(usize, usize)]| -> Vec<Vec<usize>> {
                let own = rows.slice(s![queries.clone(), ..]);
                let mut finds = Finds::new(&search, &super::super::exact, own, Some(queries.start), 20);
                for &(first, last) in parts {
                    finds.search(first, rows.slice(s![first..last, ..]), &|_| String::new()).unwrap();
                }
                finds.nearest.iter().map(|list| list.iter().map(|near| near.1).collect()).collect()
            };
            assert_eq!(find(0..60, &[(0, 60)]), wanted, "{metric}");
            // Rows 0 to 20 search: their own part, then the two that come round.
            assert_eq!(find(0..21, &[(0, 21), (40, 60), (21, 40)]), wanted[..21], "{metric}");
            // Queries that lie in several parts, and parts of fewer rows than are wanted.
            let sevens: Vec<(usize, usize)> = (0..60).step_by(7).map(|first| (first, (first + 7).min(60))).collect();
            assert_eq!(find(5..40, &sevens), wanted[5..40], "{metric}");
        }
    }
}
