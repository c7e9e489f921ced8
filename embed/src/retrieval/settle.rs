//! From candidates that f32 arithmetic found to the true order.
//!
//! Candidates whose true similarities differ by less than f32's rounding may come in any order, and the order may change
//! with the library and the number of threads. Wherever neighbouring candidates are closer than the rounding can tell, they are
//! brought into the true order of the rows as they were given (under cosine f32 arithmetic sees them brought to length one, which
//! rounds them). If a row that is not among the candidates could still belong among the first k, the query is ranked against the
//! whole gallery.

use ndarray::{Array2, ArrayView1, ArrayView2, CowArray, Ix2};
use rayon::prelude::*;

use super::exact::{Similarity, closer_first, norms, rank_first, squares};
use super::metric::no_direction;
use super::wide::Wide;
use super::{Metric, Neighbours, unit_rows};
use crate::error::Result;

/// The rows that are searched, and how far f32 arithmetic can be off.
#[derive(Debug)]
pub struct Gallery {
    metric: Metric,
    rows: Array2<f32>,
    /// What cosines want of the rows.
    squares: Vec<Wide>,
    /// The length of the longest row as it is compared.
    longest: f64,
}

impl Gallery {
    /// Of these rows; `name` names a row.
    ///
    /// # Errors
    /// [`Error::Embeddings`](crate::Error::Embeddings) for rows without direction under cosine.
    pub fn new(metric: Metric, rows: ArrayView2<'_, f32>, name: &dyn Fn(usize) -> String) -> Result<Self> {
        let rows = rows.as_standard_layout().into_owned();
        let squares = squares(metric, rows.view());
        if let Some(row) = squares.iter().position(|square| square.rounded() == 0.0) {
            return Err(no_direction(&name(row)));
        }
        let longest = if metric == Metric::Cosine { 1.0 } else { norms(rows.view()).into_iter().fold(0.0, f64::max) };
        Ok(Self { metric, rows, squares, longest })
    }

    /// How rows are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The rows in standard layout.
    pub fn rows(&self) -> &Array2<f32> {
        &self.rows
    }

    /// The rows as f32 arithmetic compares them, in standard layout: of unit length under cosine.
    ///
    /// # Errors
    /// None: rows without direction were refused.
    pub fn compared(&self) -> Result<CowArray<'_, f32, Ix2>> {
        self.prepare(self.rows.view())
    }

    /// Queries as the gallery's rows are compared: of unit length under cosine.
    ///
    /// # Errors
    /// As [`Gallery::new`].
    pub fn prepare<'q>(&self, queries: ArrayView2<'q, f32>) -> Result<CowArray<'q, f32, Ix2>> {
        if self.metric != Metric::Cosine {
            return Ok(standard(queries));
        }
        Ok(unit_rows(queries, |row| format!("query {row}"))?.into())
    }

    /// More candidates than `k`, so that the last one is nearly always surely farther than the k-th; `k` counts the query's
    /// own row where it will be left out.
    pub fn candidates(&self, k: usize) -> usize {
        (k + (k / 8).max(16)).min(self.rows.nrows())
    }

    /// The `k` nearest rows of each query, as it was given, out of its candidates, `(similarity, row)` with the greatest first.
    /// With `exact`, no row outside the candidates may be closer than the last of them, and the order is made true;
    /// otherwise the candidates' own similarities decide. `first_self` is the gallery row of the first query where queries
    /// are gallery rows in order, each left out of its own neighbours.
    pub fn finish(
        &self,
        queries: ArrayView2<'_, f32>,
        found: Vec<Vec<(f64, usize)>>,
        k: usize,
        first_self: Option<usize>,
        exact: bool,
    ) -> Neighbours {
        let similarity = Similarity::with_squares(self.metric, queries, self.rows.view(), &self.squares);
        let one = |(query, mut list): (usize, Vec<(f64, usize)>)| {
            let own = first_self.map(|first| first + query);
            let reach = list.last().map_or(f64::NEG_INFINITY, |&(score, _)| score);
            list.retain(|&(_, row)| Some(row) != own);
            list.sort_by(closer_first);
            if exact {
                list = settle(&similarity, query, own, list, k, self.rounding(queries.row(query)), reach);
            }
            list.into_iter().take(k).map(|(_, row)| row).collect()
        };
        found.into_par_iter().enumerate().map(one).collect()
    }

    /// Bound on how far an f32 similarity of this query may be from the true one: each of the `dim` products and sums
    /// rounds by at most 2^-24 of the sum of magnitudes, which Cauchy and Schwarz bound by the norms; bringing rows to unit
    /// length rounds each factor once more, and half the squares of two lengths and taking them off round four times.
    fn rounding(&self, query: ArrayView1<'_, f32>) -> f64 {
        let steps = (self.rows.ncols() + 4) as f64 * 2.0_f64.powi(-24);
        let length = || query.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        let norm = if self.metric == Metric::Cosine { 1.0 } else { length() };
        // What underflow takes of each product.
        let least = self.rows.ncols() as f64 * f64::from(f32::MIN_POSITIVE);
        let most = match self.metric {
            Metric::Cosine | Metric::Ip => norm * self.longest,
            Metric::L2 => (norm + self.longest).powi(2),
        };
        // Sums that overflow on their way say nothing.
        if most > f64::from(f32::MAX) { f64::INFINITY } else { steps * most + least }
    }
}

/// Orders candidates truly, as far as the first `k`. `doubt` bounds the error of each given similarity, `reach` is the
/// similarity of the last candidate, which no row that is not among them exceeds.
fn settle(
    similarity: &Similarity<'_>,
    query: usize,
    own: Option<usize>,
    mut list: Vec<(f64, usize)>,
    k: usize,
    doubt: f64,
    reach: f64,
) -> Vec<(f64, usize)> {
    let mut start = 0;
    while start < list.len().min(k) {
        let mut end = start + 1;
        let is_apart = |end: usize| list[end - 1].0 - list[end].0 > 2.0 * doubt;
        while end < list.len() && !is_apart(end) {
            end += 1;
        }
        if end - start > 1 {
            similarity.order(query, &mut list[start..end]);
        }
        start = end;
    }
    let others = similarity.gallery_len() - usize::from(own.is_some());
    let sure = list.len() == others || list.get(k - 1).is_some_and(|&(score, _)| score - doubt > reach + doubt);
    if sure { list } else { rank_first(similarity, query, own, k).into_iter().map(|row| (0.0, row)).collect() }
}

/// Half the square of each row's length, where squared distances are wanted.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub(super) fn half_squares(metric: Metric, rows: ArrayView2<'_, f32>) -> Vec<f32> {
    if metric != Metric::L2 {
        return Vec::new();
    }
    let half_square =
        |row: ArrayView1<'_, f32>| (row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / 2.0) as f32;
    rows.rows().into_iter().map(half_square).collect()
}

/// Makes products of a row with others minus half their squared distances, of half the squares of the lengths of both:
/// `-|a - b|^2 / 2 = a.b - |a|^2 / 2 - |b|^2 / 2`.
pub(super) fn to_scores(products: &mut [f32], half: f32, halves: &[f32]) {
    products.iter_mut().zip(halves).for_each(|(score, other)| *score = *score - other - half);
}

/// How often such a score, or a product, goes into the similarity that it is of.
pub(super) fn of_score(metric: Metric) -> f64 {
    if metric == Metric::L2 { 2.0 } else { 1.0 }
}

/// Rows in standard layout, copied where they are not.
fn standard(rows: ArrayView2<'_, f32>) -> CowArray<'_, f32, Ix2> {
    if rows.is_standard_layout() { rows.into() } else { rows.as_standard_layout().into_owned().into() }
}
