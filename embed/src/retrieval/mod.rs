//! Who is nearest to whom, and the measures of retrieval: one measure a file, each the mean over queries of a pure function
//! of one ranked list.

mod among;
mod apart;
mod average_precision;
mod best;
mod by_blocks;
mod exact;
mod map_at_r;
mod measure;
mod metric;
mod ndcg;
mod over_ranks;
mod parts;
mod precision;
mod product;
mod r_precision;
mod recall;
mod reciprocal_rank;
mod settle;
mod wide;

use ndarray::{ArrayView2, s};

use crate::console::Progress;
use crate::error::Result;
pub use among::among;
pub use apart::{check, deepest};
pub use average_precision::average_precision;
pub use by_blocks::{measure_by_blocks, rows_within};
pub use exact::{Similarity, rank_all};
pub use map_at_r::average_precision_at_r;
pub use measure::{AtK, Build, Query, Retrieval, Search, measure};
pub use metric::{Metric, unit_rows};
pub use ndcg::ndcg;
pub use over_ranks::measure_over_ranks;
pub use precision::precision;
pub use product::ProductIndex;
pub use r_precision::r_precision;
pub use recall::first_hit;
pub use reciprocal_rank::reciprocal_rank;
pub use settle::Gallery;

/// For each query, rows of the gallery from the closest on, ties by the lower row; fewer where the index found fewer.
pub type Neighbours = Vec<Vec<usize>>;

/// A gallery that can be searched.
pub trait Index {
    /// Whether the neighbours are the true ones.
    fn is_exact(&self) -> bool;

    /// The `k` nearest rows to each row of `queries`; `first_self` is the gallery row of the first query where queries
    /// are gallery rows in order, each left out of its own neighbours.
    ///
    /// # Errors
    /// What the index's library said.
    fn search(&mut self, queries: ArrayView2<'_, f32>, k: usize, first_self: Option<usize>) -> Result<Neighbours>;

    /// The `k` nearest of every row of the gallery among the others, where all of them are found sooner together than as queries one
    /// after the other; otherwise `None`. `progress` counts rows.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn search_itself(&mut self, _k: usize, _progress: &Progress) -> Result<Option<Neighbours>> {
        Ok(None)
    }
}

/// An exact index over these rows: what [`measure()`] takes where nothing else is asked for.
///
/// # Errors
/// Those of [`ProductIndex::build`].
pub fn exact(metric: Metric, rows: ArrayView2<'_, f32>, name: &dyn Fn(usize) -> String) -> Result<Box<dyn Index>> {
    Ok(Box::new(ProductIndex::build(metric, rows, name)?))
}

/// Share of the true `k` nearest that an approximate index finds, on a sample of queries evenly spread over the rows.
fn recall_of(
    index: &mut dyn Index,
    metric: Metric,
    gallery: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    k: usize,
    self_search: bool,
    sample: usize,
) -> Result<f64> {
    let count = queries.nrows().min(sample);
    let mut exact = ProductIndex::build(metric, gallery, &|row| format!("row {row}"))?;
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
