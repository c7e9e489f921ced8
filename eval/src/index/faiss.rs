//! Search through FAISS, flat and exact by default, any factory string on request.
//!
//! FAISS computes in f32, so candidates whose true similarities differ by less than its rounding may come in any order,
//! and the order may change with the BLAS and the number of threads. The flat index is therefore finished here: wherever
//! neighbouring candidates are closer than the rounding can tell, their similarities are computed in f64 and ordered by
//! (similarity, row). If a row that FAISS left out could still belong among the first k, the query is ranked against the
//! whole gallery.

use faiss::index::{Idx, IndexImpl, flat::FlatIndex};
use faiss::{ConcurrentIndex, Index as _, MetricType};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::exact::{Similarity, closer_first, norms, rank_all};
use super::{Metric, unit_rows};
use crate::error::{Error, Result};

/// The factory string of exact search.
pub const FLAT: &str = "Flat";

/// More candidates than asked for, so that the last one is nearly always surely farther than the k-th.
fn with_margin(k: usize) -> usize {
    k + (k / 8).max(16)
}

/// A gallery that can be searched.
pub struct Index {
    metric: Metric,
    factory: String,
    /// As FAISS sees it: unit rows for cosine.
    gallery: ndarray::Array2<f32>,
    /// Lengths of its rows, and the greatest.
    norms: Vec<f64>,
    longest: f64,
    store: Store,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("factory", &self.factory)
            .field("rows", &self.gallery.nrows())
            .finish_non_exhaustive()
    }
}

enum Store {
    Flat(FlatIndex),
    Factory(Box<IndexImpl>),
}

/// For each query, rows of the gallery from the closest on, ties by the lower row; fewer where the index found fewer.
pub type Neighbours = Vec<Vec<usize>>;

impl Index {
    /// Builds an index over the rows of `gallery` (trained on them where it needs training).
    ///
    /// # Errors
    /// [`Error::Index`] naming the factory string; [`Error::Embeddings`] for rows without direction under cosine.
    pub fn build(
        factory: &str,
        metric: Metric,
        gallery: ArrayView2<'_, f32>,
        name: impl Fn(usize) -> String,
    ) -> Result<Self> {
        let wrong = |problem: String| Error::Index { index: factory.into(), problem };
        let rows = gallery.to_owned();
        let gallery =
            if metric == Metric::Cosine { unit_rows(&rows, name)? } else { rows.as_standard_layout().into_owned() };
        let dim =
            u32::try_from(gallery.ncols()).map_err(|_| wrong(format!("dimension {} is too large", gallery.ncols())))?;
        let kind = if metric == Metric::L2 { MetricType::L2 } else { MetricType::InnerProduct };
        let data = gallery.as_slice().unwrap_or_default();
        let failed = |e: faiss::error::Error| wrong(e.to_string());
        let store = if factory == FLAT {
            let mut index = FlatIndex::new(dim, kind).map_err(failed)?;
            index.add(data).map_err(failed)?;
            Store::Flat(index)
        } else {
            let mut index = faiss::index_factory(dim, factory, kind).map_err(failed)?;
            if !index.is_trained() {
                index.train(data).map_err(failed)?;
            }
            if factory.starts_with("IDMap") {
                let ids: Vec<Idx> = (0..gallery.nrows() as u64).map(Idx::new).collect();
                index.add_with_ids(data, &ids).map_err(failed)?;
            } else {
                index.add(data).map_err(failed)?;
            }
            Store::Factory(Box::new(index))
        };
        let norms = norms(gallery.view());
        let longest = norms.iter().copied().fold(0.0, f64::max);
        Ok(Self { metric, factory: factory.into(), gallery, norms, longest, store })
    }

    /// Whether the neighbours are the true ones.
    pub fn is_exact(&self) -> bool {
        matches!(self.store, Store::Flat(_))
    }

    /// The `k` nearest rows to each row of `queries`; `first_self` is the gallery row of the first query where queries
    /// are gallery rows in order, each left out of its own neighbours.
    ///
    /// # Errors
    /// [`Error::Index`] with what FAISS said.
    pub fn search(&mut self, queries: ArrayView2<'_, f32>, k: usize, first_self: Option<usize>) -> Result<Neighbours> {
        let owned = queries.to_owned();
        let unit = if self.metric == Metric::Cosine { unit_rows(&owned, |row| format!("query {row}"))? } else { owned };
        let found = self.candidates(unit.view(), k + usize::from(first_self.is_some()))?;
        let similarity = Similarity::with_norms(self.metric, unit.view(), self.gallery.view(), &self.norms);
        let exact = self.is_exact();
        let finish = |(query, mut list): (usize, Vec<(f64, usize)>)| {
            let own = first_self.map(|first| first + query);
            let reach = list.last().map_or(f64::NEG_INFINITY, |&(score, _)| score);
            list.retain(|&(_, row)| Some(row) != own);
            list.sort_by(closer_first);
            if exact {
                let doubt = self.rounding(unit.row(query));
                list = settle(&similarity, query, own, list, k, doubt, reach);
            }
            list.into_iter().take(k).map(|(_, row)| row).collect()
        };
        Ok(found.into_par_iter().enumerate().map(finish).collect())
    }

    /// What FAISS finds: `(similarity, row)`, greatest first.
    fn candidates(&mut self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<(f64, usize)>>> {
        let k = with_margin(k).min(self.gallery.nrows());
        let data = queries.as_slice().unwrap_or_default();
        let result = match &mut self.store {
            Store::Flat(index) => ConcurrentIndex::search(index, data, k),
            Store::Factory(index) => index.search(data, k),
        }
        .map_err(|e| Error::Index { index: self.factory.clone(), problem: e.to_string() })?;
        let sign = if self.metric == Metric::L2 { -1.0 } else { 1.0 };
        let pairs = result.distances.chunks_exact(k).zip(result.labels.chunks_exact(k));
        let list = |(distances, labels): (&[f32], &[Idx])| {
            let both = distances.iter().zip(labels);
            both.filter_map(|(&d, id)| Some((sign * f64::from(d), usize::try_from(id.get()?).ok()?))).collect()
        };
        Ok(pairs.map(list).collect())
    }

    /// Bound on how far an f32 similarity of this query may be from the true one: each of the `dim` products and sums
    /// rounds by at most 2^-24 of the sum of magnitudes, which Cauchy and Schwarz bound by the norms; normalising rounds
    /// each factor once more.
    fn rounding(&self, query: ndarray::ArrayView1<'_, f32>) -> f64 {
        let steps = (self.gallery.ncols() + 4) as f64 * 2.0_f64.powi(-24);
        let norm = norm(query);
        match self.metric {
            Metric::Cosine | Metric::Ip => steps * norm * self.longest,
            Metric::L2 => steps * (norm + self.longest).powi(2),
        }
    }
}

fn norm(row: ndarray::ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
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
        while end < list.len() && list[end - 1].0 - list[end].0 <= 2.0 * doubt {
            end += 1;
        }
        if end - start > 1 {
            list[start..end].iter_mut().for_each(|(score, row)| *score = similarity.of(query, *row));
            list[start..end].sort_by(closer_first);
        }
        start = end;
    }
    let others = similarity.gallery_len() - usize::from(own.is_some());
    let sure = list.len() == others || list.get(k - 1).is_some_and(|&(score, _)| score - doubt > reach + doubt);
    if sure { list } else { rank_all(similarity, query, own).into_iter().map(|row| (0.0, row)).collect() }
}

/// Share of the true `k` nearest that an approximate index finds, on a sample of queries evenly spread over the rows.
///
/// # Errors
/// Those of [`Index::search`].
pub(crate) fn recall_of(
    index: &mut Index,
    queries: ArrayView2<'_, f32>,
    k: usize,
    self_search: bool,
    sample: usize,
) -> Result<f64> {
    let count = queries.nrows().min(sample);
    let gallery = index.gallery.clone();
    let mut exact = Index::build(FLAT, index.metric, gallery.view(), |row| format!("row {row}"))?;
    let (mut hits, mut total) = (0_usize, 0_usize);
    for at in 0..count {
        let row = at * queries.nrows() / count;
        let query = queries.slice(s![row..=row, ..]);
        let own = self_search.then_some(row);
        let (found, truth) = (index.search(query, k, own)?, exact.search(query, k, own)?);
        total += truth[0].len();
        hits += truth[0].iter().filter(|row| found[0].contains(row)).count();
    }
    Ok(hits as f64 / total.max(1) as f64)
}
