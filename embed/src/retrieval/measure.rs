//! All measures of retrieval over one search.

use ndarray::{ArrayView2, Axis, s};

use super::apart::{Sides, apart};
use super::wide::Wide;
use super::{
    Index, Metric, Similarity, average_precision, average_precision_at_r, first_hit, ndcg, precision, r_precision,
    recall_of, reciprocal_rank,
};
use crate::console::Progress;
use crate::embeddings::Embeddings;
use crate::error::Result;

/// What to search with, and for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Similarity of two embeddings.
    pub metric: Metric,
    /// The K of Recall@K, ascending.
    pub ks: Vec<usize>,
    /// How many of its nearest each query keeps, with their similarities.
    pub keep: usize,
    /// Whether the whole gallery is brought into order for every query, which mAP and MRR want.
    pub whole: bool,
}

/// Figures of the K nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtK {
    /// K.
    pub k: usize,
    /// Precision@K.
    pub precision: f64,
    /// AP@K, or its mean.
    pub average_precision: f64,
    /// nDCG@K.
    pub ndcg: f64,
}

/// One query, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its row.
    pub row: usize,
    /// Images of its class that could be found (R).
    pub relevant: usize,
    /// Rank, from 1, of the first of them among the nearest; `None` beyond the depth of the search.
    pub first_hit: Option<usize>,
    /// R-precision.
    pub r_precision: f64,
    /// AP@R.
    pub ap_at_r: f64,
    /// Figures at each K.
    pub at: Vec<AtK>,
    /// Average precision, where the whole gallery was brought into order.
    pub ap: Option<f64>,
    /// Whether images of its class and others are equally near, so that the order of the rows decides; looked at for a sample of the queries.
    pub tied: bool,
    /// As many of the nearest as were to be kept: their rows and similarities (in f64), nearest first.
    pub nearest: Vec<(usize, f64)>,
}

/// Measures of one data set, and what they were taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// `(K, Recall@K)`.
    pub recall: Vec<(usize, f64)>,
    /// Mean R-precision.
    pub r_precision: f64,
    /// Mean of AP@R.
    pub map_at_r: f64,
    /// Means at each K.
    pub at: Vec<AtK>,
    /// Mean average precision and mean reciprocal rank, where the whole gallery was brought into order.
    pub whole: Option<(f64, f64)>,
    /// Query by query, in order of rows.
    pub each: Vec<Query>,
    /// Neighbours looked at of each query: as many as the largest R or K, or as are to be kept.
    pub depth: usize,
    /// Queries measured.
    pub queries: usize,
    /// Images searched.
    pub gallery: usize,
    /// Queries left out because no other image has their class.
    pub lone_queries: usize,
    /// The row of each of these, and how similar (in f64) the nearest image is to it, where neighbours are kept: whoever it is, it is
    /// the wrong one. Minus infinity where none that counts was found.
    pub lone_nearest: Vec<(usize, f64)>,
    /// How many of a sample of queries are [`Query::tied`], and how many queries the sample has. An approximate search is not looked at.
    pub tied: (usize, usize),
    /// Share of the true neighbours that an approximate index finds, on a sample; `None` where the search is exact.
    pub index_recall: Option<f64>,
    /// The K and the number of queries that `index_recall` was estimated on.
    pub index_sample: Option<(usize, usize)>,
}

/// Makes an index over the rows of a gallery; the last argument names a row.
pub type Build<'a> = dyn Fn(Metric, ArrayView2<'_, f32>, &dyn Fn(usize) -> String) -> Result<Box<dyn Index>> + 'a;

/// Queries searched at a time: enough for a full matrix product, few enough for small memory.
const BLOCK: usize = 4096;
/// Neighbours that are found at a time, over all queries of a block: some 100 MiB of them.
pub(super) const FOUND: usize = 1 << 22;
/// Neighbours beyond the last that are looked at for ties: copies of an image are rarely more.
pub(super) const BEYOND: usize = 8;
/// Queries on which an approximate index is checked, and which are looked at for ties.
const SAMPLE: usize = 500;

/// Searches every query among the gallery (the query itself left out by row) by the index that `build` makes of it, and
/// takes all measures.
///
/// Ties are broken by the lower row. Copies of the query's image ([`Row::image`](crate::embeddings::Row::image)) and images of
/// its class by its camera do not count as neighbours, neither as right nor as wrong ones. Queries without another image of
/// their class that counts are left out and counted.
///
/// # Errors
/// [`Error::Measure`](crate::Error::Measure) where there is nothing to measure (one class, no query with a match) or K exceeds the gallery;
/// [`Error::Index`](crate::Error::Index), [`Error::Embeddings`](crate::Error::Embeddings) from the search.
pub fn measure(embeddings: &Embeddings, search: &Search, build: &Build<'_>) -> Result<Retrieval> {
    let rows = &embeddings.rows;
    let sides = Sides::new(rows, &search.ks)?;
    let (depth, reach) = search.depth_and_reach(&sides);
    let Sides { queries, gallery, together, relevant, .. } = sides;

    // In self-search the queries are the gallery, lone ones too: rows then number both alike.
    let select = |rows: &[usize]| embeddings.matrix.select(Axis(0), rows);
    let gallery_matrix = select(&gallery);
    let query_matrix = if together { None } else { Some(select(&queries)) };
    let query_matrix = query_matrix.as_ref().unwrap_or(&gallery_matrix);
    let mut index = build(search.metric, gallery_matrix.view(), &|row| rows[gallery[row]].name.clone())?;

    let progress = Progress::new("searching", "queries", queries.len());
    let mut each = Vec::with_capacity(queries.len());
    let mut lone_nearest = Vec::new();
    let block = (FOUND / reach.max(1)).clamp(1, BLOCK);
    let step = of_sample(relevant.iter().filter(|&&r| r > 0).count());
    let mut all = if together { index.search_itself(reach, &progress)? } else { None };
    for first in (0..queries.len()).step_by(block) {
        let last = (first + block).min(queries.len());
        let block = query_matrix.slice(s![first..last, ..]);
        let found = match &mut all {
            Some(all) => all[first..last].iter_mut().map(std::mem::take).collect(),
            None => index.search(block, reach, together.then_some(first))?,
        };
        let similarity = (search.keep > 0).then(|| Similarity::new(search.metric, block, gallery_matrix.view()));
        for (in_block, (&at, mut neighbours)) in queries[first..last].iter().zip(found).enumerate() {
            let r = relevant[first + in_block];
            neighbours.retain(|&n| !apart(&rows[at], &rows[gallery[n]]));
            if r == 0 {
                // A query that finds nobody is like none.
                let nearest =
                    |of: &Similarity<'_>| neighbours.first().map_or(f64::NEG_INFINITY, |&n| of.of(in_block, n));
                lone_nearest.extend(similarity.as_ref().map(|similarity| (at, nearest(similarity))));
                continue;
            }
            let is_relevant = |n: &usize| rows[gallery[*n]].class == rows[at].class;
            let is_looked_at = each.len().is_multiple_of(step) && index.is_exact();
            let tied = is_looked_at && {
                let deep = search.deep(r, depth);
                let nearest = &neighbours[..neighbours.len().min(deep + BEYOND)];
                let near = gallery_matrix.select(Axis(0), nearest);
                let similarity = Similarity::new(search.metric, block.slice(s![in_block..=in_block, ..]), near.view());
                let ranks: Vec<Wide> = (0..nearest.len()).map(|n| similarity.rank(0, n)).collect();
                hangs_on_order(&ranks, &nearest.iter().map(is_relevant).collect::<Vec<_>>(), (deep, r))
            };
            neighbours.truncate(depth);
            let relevant: Vec<bool> = neighbours.iter().map(is_relevant).collect();
            let kept = |similarity: &Similarity<'_>| {
                neighbours.iter().take(search.keep).map(|&n| (gallery[n], similarity.of(in_block, n))).collect()
            };
            let kept = similarity.as_ref().map(kept).unwrap_or_default();
            each.push(Query { tied, ..Query::of((at, r), &relevant, search, kept) });
        }
        if all.is_none() {
            progress.advance(last - first);
        }
    }
    let deepest = search.ks.last().copied().unwrap_or(1);
    let index_recall = if index.is_exact() {
        None
    } else {
        Some(recall_of(
            index.as_mut(),
            search.metric,
            gallery_matrix.view(),
            query_matrix.view(),
            deepest,
            together,
            SAMPLE,
        )?)
    };
    let mut found = search.mean_of(each, (queries.len(), gallery.len()), depth);
    found.lone_nearest = lone_nearest;
    found.index_sample = index_recall.map(|_| (deepest, SAMPLE.min(queries.len())));
    found.index_recall = index_recall;
    Ok(found)
}

impl Query {
    /// Of which of the nearest of a row are of its class, of `r` that could be found.
    pub(super) fn of((row, r): (usize, usize), relevant: &[bool], search: &Search, nearest: Vec<(usize, f64)>) -> Self {
        Self {
            row,
            relevant: r,
            first_hit: first_hit(relevant),
            r_precision: r_precision(relevant, r),
            ap_at_r: average_precision_at_r(relevant, r),
            at: search.ks.iter().map(|&k| at_k(relevant, r, k)).collect(),
            ap: search.whole.then(|| average_precision(relevant, r, usize::MAX)),
            tied: false,
            nearest,
        }
    }
}

/// Every how many-th of so many queries is of a sample.
fn of_sample(queries: usize) -> usize {
    queries.div_ceil(SAMPLE).max(1)
}

/// Whether the order of rows of one rank decides the figures of a query's `deep` nearest, which are looked at with up to [`BEYOND`] more: where
/// some of them are of its class and others are not, or where more follow than were looked at and not all `r` of its class are found.
pub(super) fn hangs_on_order(ranks: &[Wide], relevant: &[bool], (deep, r): (usize, usize)) -> bool {
    let is_tie = |at: usize| ranks[at].total_cmp(&ranks[at + 1]).is_eq();
    let ties = (0..ranks.len().saturating_sub(1)).take_while(|&at| at < deep || (deep.max(1) - 1..at).all(is_tie));
    if ties.clone().any(|at| is_tie(at) && relevant[at] != relevant[at + 1]) {
        return true;
    }
    let is_cut = ranks.len() == deep + BEYOND && (deep.max(1) - 1..ranks.len() - 1).all(is_tie);
    is_cut && relevant[..ranks.len()].iter().filter(|&&is_relevant| is_relevant).count() < r
}

/// Figures of the `k` nearest of one query, of `r` relevant ones.
fn at_k(relevant: &[bool], r: usize, k: usize) -> AtK {
    AtK {
        k,
        precision: precision(relevant, k),
        average_precision: average_precision(relevant, r, k),
        ndcg: ndcg(relevant, r, k),
    }
}

impl Search {
    /// How many neighbours each query is looked at, and how many are to be found for that: whatever is passed over must not take
    /// the place of a neighbour.
    pub(super) fn depth_and_reach(&self, sides: &Sides) -> (usize, usize) {
        let others = sides.gallery.len() - usize::from(sides.together);
        let wanted = sides.relevant.iter().chain(&self.ks).copied();
        let depth = wanted.chain([self.keep.min(others)]).max().unwrap_or(1);
        let depth = if self.whole { others } else { depth };
        // Those beyond show whether the last one is tied with them.
        (depth, (depth + sides.passed_over + BEYOND).min(others))
    }

    /// How many neighbours figures at K and R go by, of a query that should find `r`.
    pub(super) fn deep(&self, r: usize, depth: usize) -> usize {
        depth.min(self.ks.last().map_or(r, |&k| r.max(k)))
    }

    /// The measures of these queries, of so many queries and images searched.
    pub(super) fn mean_of(&self, each: Vec<Query>, (queries, gallery): (usize, usize), depth: usize) -> Retrieval {
        let mean = |value: &dyn Fn(&Query) -> f64| each.iter().map(value).sum::<f64>() / each.len() as f64;
        let hit_within = |k: usize| move |q: &Query| f64::from(u8::from(q.first_hit.is_some_and(|rank| rank <= k)));
        let mean_at = |at: usize| AtK {
            k: self.ks[at],
            precision: mean(&|q| q.at[at].precision),
            average_precision: mean(&|q| q.at[at].average_precision),
            ndcg: mean(&|q| q.at[at].ndcg),
        };
        let sample = each.iter().step_by(of_sample(each.len()));
        Retrieval {
            tied: (sample.clone().filter(|query| query.tied).count(), sample.count()),
            recall: self.ks.iter().map(|&k| (k, mean(&hit_within(k)))).collect(),
            r_precision: mean(&|q| q.r_precision),
            map_at_r: mean(&|q| q.ap_at_r),
            at: (0..self.ks.len()).map(mean_at).collect(),
            whole: self.whole.then(|| (mean(&|q| q.ap.unwrap_or(0.0)), mean(&|q| reciprocal_rank(q.first_hit)))),
            queries: each.len(),
            gallery,
            lone_queries: queries - each.len(),
            lone_nearest: Vec::new(),
            index_sample: None,
            index_recall: None,
            depth,
            each,
        }
    }

    /// Cosine search for these K.
    pub fn cosine(ks: &[usize]) -> Self {
        Self { metric: Metric::Cosine, ks: ks.to_vec(), keep: 0, whole: false }
    }
}
