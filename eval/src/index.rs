//! Search through FAISS, flat and exact by default, any factory string on request. What the flat index finds is brought into
//! the true order by [`Gallery::finish`]. Rows that are searched among themselves are not given to the flat index: [`among`]
//! forms each product once.

use faiss::cluster::{Clustering, ClusteringParameters};
use faiss::index::{Idx, IndexImpl, flat::FlatIndex};
use faiss::{ConcurrentIndex, Index as _, MetricType};
use ndarray::ArrayView2;
use pdloss_embed::console::Progress;
use pdloss_embed::retrieval::{Gallery, Index, Metric, Neighbours, among};

use crate::factory::Factory;
use crate::{Error, Result};

/// The factory string of exact search.
pub const FLAT: &str = "Flat";

/// A gallery in a FAISS index.
pub struct FaissIndex {
    factory: String,
    gallery: Gallery,
    store: Store,
}

impl std::fmt::Debug for FaissIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaissIndex")
            .field("factory", &self.factory)
            .field("rows", &self.gallery.rows().nrows())
            .finish_non_exhaustive()
    }
}

/// Whether this string names an index that is supported, before there are rows to store.
///
/// # Errors
/// [`Error::Index`] naming the part that is not understood.
pub fn check(factory: &str) -> Result<()> {
    Factory::parse(factory).map(drop)
}

enum Store {
    /// Filled by the first search, which a gallery that is searched among itself never comes to.
    Flat(Option<FlatIndex>),
    Factory(Box<IndexImpl>),
}

impl FaissIndex {
    /// Builds an index over the rows of `gallery` (trained on them where it needs training); `name` names a row.
    ///
    /// # Errors
    /// [`Error::Index`] naming the factory string; [`Error::Embeddings`] for rows without direction under cosine.
    pub fn build(
        factory: &str,
        metric: Metric,
        gallery: ArrayView2<'_, f32>,
        name: &dyn Fn(usize) -> String,
    ) -> Result<Self> {
        let wrong = |problem: String| Error::Index { index: factory.into(), problem };
        let gallery = Gallery::new(metric, gallery, name)?;
        let (rows, dim) = gallery.rows().dim();
        let dim = u32::try_from(dim).map_err(|_| wrong(format!("dimension {dim} is too large")))?;
        let failed = |e: faiss::error::Error| wrong(e.to_string());
        let store = if factory == FLAT {
            Store::Flat(None)
        } else {
            let compared = gallery.compared()?;
            let data = compared.as_slice().unwrap_or_default();
            let checked = Factory::parse(factory)?;
            checked.check(rows as u64, u64::from(dim))?;
            if checked.wants_l2() && metric != Metric::L2 {
                return Err(wrong("LSH compares by Euclidean distance; wanted --metric l2, or another index".into()));
            }
            fits(factory, data)?;
            let mut index = faiss::index_factory(dim, checked.for_faiss(), kind(metric)).map_err(failed)?;
            if !index.is_trained() {
                index.train(data).map_err(failed)?;
            }
            if checked.has_ids() {
                let ids: Vec<Idx> = (0..rows as u64).map(Idx::new).collect();
                index.add_with_ids(data, &ids).map_err(failed)?;
            } else {
                index.add(data).map_err(failed)?;
            }
            Store::Factory(Box::new(index))
        };
        Ok(Self { factory: factory.into(), gallery, store })
    }

    /// What FAISS finds: `(similarity, row)`, greatest first.
    fn candidates(&mut self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<(f64, usize)>>> {
        let k = self.gallery.candidates(k);
        let data = queries.as_slice().unwrap_or_default();
        let failed = |e: faiss::error::Error| Error::Index { index: self.factory.clone(), problem: e.to_string() };
        let result = match &mut self.store {
            Store::Flat(index) => {
                let index = match index {
                    Some(index) => index,
                    None => index.insert(flat(&self.gallery)?),
                };
                ConcurrentIndex::search(index, data, k)
            }
            Store::Factory(index) => {
                fits(&self.factory, data)?;
                index.search(data, k)
            }
        }
        .map_err(failed)?;
        let sign = if self.gallery.metric() == Metric::L2 { -1.0 } else { 1.0 };
        let pairs = result.distances.chunks_exact(k).zip(result.labels.chunks_exact(k));
        let list = |(distances, labels): (&[f32], &[Idx])| {
            let both = distances.iter().zip(labels);
            both.filter_map(|(&d, id)| Some((sign * f64::from(d), usize::try_from(id.get()?).ok()?))).collect()
        };
        Ok(pairs.map(list).collect())
    }
}

fn kind(metric: Metric) -> MetricType {
    if metric == Metric::L2 { MetricType::L2 } else { MetricType::InnerProduct }
}

/// Refuses numbers whose squares FAISS, which computes in float32, cannot add up: it crashes, or does not come to an end.
fn fits(factory: &str, data: &[f32]) -> Result<()> {
    /// Room for sums over dimensions and over rows.
    const MOST: f32 = 1e15;
    let largest = data.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest <= MOST {
        return Ok(());
    }
    let problem = format!(
        "the embeddings have numbers up to {largest:e}, of which float32 has no squares to add up; wanted at most {MOST:e}: divide them by one \
         number, or take --metric cosine, or the index {FLAT}"
    );
    Err(Error::Index { index: factory.into(), problem })
}

/// The flat index of these rows.
fn flat(gallery: &Gallery) -> Result<FlatIndex> {
    let wrong = |problem: String| Error::Index { index: FLAT.into(), problem };
    let rows = gallery.compared()?;
    let dim = u32::try_from(rows.ncols()).map_err(|_| wrong(format!("dimension {} is too large", rows.ncols())))?;
    let mut index = FlatIndex::new(dim, kind(gallery.metric())).map_err(|e| wrong(e.to_string()))?;
    index.add(rows.as_slice().unwrap_or_default()).map_err(|e| wrong(e.to_string()))?;
    Ok(index)
}

/// How k-means is run.
#[derive(Clone, Copy, Debug)]
pub struct KMeans {
    /// Clusters.
    pub clusters: usize,
    /// Times that the centres are moved.
    pub iterations: u32,
    /// Seed of the first centres.
    pub seed: u32,
}

/// Rows whose largest number is beyond this, or beyond its inverse, are scaled before they are clustered.
const LEAST_SCALE: f32 = 1e-6;

/// The cluster of each row by FAISS's k-means, on rows of unit length under cosine; the nearest centre is the nearest in
/// Euclidean distance.
///
/// # Errors
/// [`Error::Embeddings`] for rows without direction under cosine; [`Error::Measure`] for more clusters than rows;
/// [`Error::Index`] with what FAISS said.
pub fn k_means(metric: Metric, rows: ArrayView2<'_, f32>, name: Name<'_>, how: KMeans) -> Result<Vec<usize>> {
    let gallery = Gallery::new(metric, rows, name)?;
    let (count, dim) = gallery.rows().dim();
    if how.clusters > count || how.clusters == 0 {
        return Err(Error::Measure(format!("k-means: {} clusters of {count} rows; wanted 1 to {count}", how.clusters)));
    }
    let wrong = |problem: String| Error::Index { index: "k-means".into(), problem };
    let failed = |e: faiss::error::Error| wrong(e.to_string());
    let number = |n: usize| u32::try_from(n).map_err(|_| wrong(format!("{n} is too large")));
    let mut parameters = ClusteringParameters::new();
    parameters.set_niter(how.iterations);
    parameters.set_seed(how.seed);
    // Every row counts, however few or many a cluster has; FAISS would warn, or draw some.
    parameters.set_min_points_per_centroid(1);
    parameters.set_max_points_per_centroid(number(count)?);
    let mut compared = gallery.compared()?;
    // Clusters are the same at any scale, and squares of very large or small numbers are none that FAISS can compare: where none is
    // finite it never ends.
    let largest = compared.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest > 0.0 && !(LEAST_SCALE..=1.0 / LEAST_SCALE).contains(&largest) {
        let scale = f64::from(largest).log2().floor();
        #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
        compared.mapv_inplace(|value| (f64::from(value) * (-scale).exp2()) as f32);
    }
    let data = compared.as_slice().unwrap_or_default();
    let mut centres = FlatIndex::new(number(dim)?, MetricType::L2).map_err(failed)?;
    let mut clustering =
        Clustering::new_with_params(number(dim)?, number(how.clusters)?, &parameters).map_err(failed)?;
    clustering.train(data, &mut centres).map_err(failed)?;
    let found = ConcurrentIndex::search(&centres, data, 1).map_err(failed)?;
    let nearest = |id: &Idx| id.get().and_then(|id| usize::try_from(id).ok());
    found.labels.iter().map(|id| nearest(id).ok_or_else(|| wrong("a row has no nearest centre".into()))).collect()
}

/// Names a row of a gallery.
type Name<'a> = &'a dyn Fn(usize) -> String;

/// Makes an index of this factory string, for [`measure`](pdloss_embed::retrieval::measure()).
pub fn by(factory: &str) -> impl for<'a, 'b> Fn(Metric, ArrayView2<'a, f32>, Name<'b>) -> Result<Box<dyn Index>> + '_ {
    move |metric, rows, name| Ok(Box::new(FaissIndex::build(factory, metric, rows, name)?))
}

impl Index for FaissIndex {
    fn is_exact(&self) -> bool {
        matches!(self.store, Store::Flat(_))
    }

    /// # Errors
    /// [`Error::Index`] with what FAISS said.
    fn search(&mut self, queries: ArrayView2<'_, f32>, k: usize, first_self: Option<usize>) -> Result<Neighbours> {
        let prepared = self.gallery.prepare(queries)?;
        let found = self.candidates(prepared.view(), k + usize::from(first_self.is_some()))?;
        Ok(self.gallery.finish(queries, found, k, first_self, self.is_exact()))
    }

    fn search_itself(&mut self, k: usize, progress: &Progress) -> Result<Option<Neighbours>> {
        if self.is_exact() { among(&self.gallery, k, progress) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_the_same_at_any_scale() {
        let rows = |scale: f32| {
            ndarray::Array2::from_shape_fn((60, 3), |(row, column)| {
                scale * ((row % 4 * 5) as f32 + ((row * 3 + column) as f32 * 7.3).sin())
            })
        };
        let how = KMeans { clusters: 4, iterations: 20, seed: 7 };
        let found = |scale| k_means(Metric::L2, rows(scale).view(), &|row| row.to_string(), how).unwrap();
        let usual = found(1.0);
        for exponent in [-100_i32, -60, 60, 120] {
            assert_eq!(found(2.0_f32.powi(exponent)), usual, "2^{exponent}");
        }
    }

    #[test]
    fn the_order_of_centres_changes_nothing_that_is_found() {
        let rows = ndarray::Array2::from_shape_fn((200, 8), |(row, column)| ((row * 8 + column) as f32 * 7.3).sin());
        let data = rows.as_slice().expect("row by row");
        let found = |factory: &str| {
            let mut index = faiss::index_factory(8, factory, MetricType::L2).expect("known to FAISS");
            index.train(data).expect("rows enough");
            index.add(data).expect("trained");
            let found = index.search(data, 5).expect("filled");
            (found.distances, found.labels)
        };
        let factory = Factory::parse("IVF4,PQ2x4").expect("in the grammar").for_faiss();
        assert_eq!(factory, "IVF4,PQ2x4np");
        assert!(found("IVF4,PQ2x4") == found(&factory));
    }
}
