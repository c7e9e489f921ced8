//! Exact search by a product of matrices: no index is built, and the candidates of each query are its greatest products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::among::among;
use super::best::Best;
use super::settle::{half_squares, of_score, to_scores};
use super::{Gallery, Index, Metric, Neighbours};
use crate::console::Progress;
use crate::error::{Error, Result};

/// Queries multiplied at a time, at most, and with how many rows of the gallery: 4 MiB of products, which stay in a cache, of rows that
/// are read once for all of these queries.
const BLOCK: usize = 256;
const PANEL: usize = 4096;

/// All rows of a gallery, searched one by one.
#[derive(Debug)]
pub struct ProductIndex {
    gallery: Gallery,
    /// The rows as they are multiplied, where that is not as they are.
    unit: Option<Array2<f32>>,
    /// Half the square of each row's length, where squared distances are wanted.
    half_squares: Vec<f32>,
}

impl ProductIndex {
    /// Over these rows; `name` names one of them.
    ///
    /// # Errors
    /// Those of [`Gallery::new`], and [`Error::Embeddings`] for more rows than `u32` counts.
    pub fn build(metric: Metric, rows: ArrayView2<'_, f32>, name: &dyn Fn(usize) -> String) -> Result<Self> {
        let gallery = Gallery::new(metric, rows, name)?;
        if u32::try_from(rows.nrows()).is_err() {
            return Err(Error::Embeddings(format!("{} rows; wanted at most {}", rows.nrows(), u32::MAX)));
        }
        let half_squares = half_squares(metric, gallery.rows().view());
        let unit = if metric == Metric::Cosine { Some(gallery.compared()?.into_owned()) } else { None };
        Ok(Self { gallery, unit, half_squares })
    }

    /// Offers a query, half the square of whose length is `half`, its products with the rows from `first` on.
    fn offer(&self, best: &mut Best, half: f32, first: usize, products: &mut [f32]) {
        if let Some(halves) = self.half_squares.get(first..first + products.len()) {
            to_scores(products, half, halves);
        }
        best.offer_all(products, first);
    }
}

impl Index for ProductIndex {
    fn is_exact(&self) -> bool {
        true
    }

    fn search(&mut self, queries: ArrayView2<'_, f32>, k: usize, first_self: Option<usize>) -> Result<Neighbours> {
        let prepared = self.gallery.prepare(queries)?;
        let compared = self.unit.as_ref().unwrap_or(self.gallery.rows());
        let (rows, dim) = compared.dim();
        let count = self.gallery.candidates(k + usize::from(first_self.is_some()));
        let contiguous = || Error::Embeddings("rows are not contiguous".into());
        let (left, right) = (prepared.as_slice().ok_or_else(contiguous)?, compared.as_slice().ok_or_else(contiguous)?);
        let right = MatRef::from_row_major_slice(right, rows, dim);
        let metric = self.gallery.metric();
        let scale = of_score(metric);
        let block = |queries: &[f32]| {
            let height = queries.len() / dim;
            let left = MatRef::from_row_major_slice(queries, height, dim);
            let halves = ArrayView2::from_shape((height, dim), queries).map(|queries| half_squares(metric, queries));
            let halves = halves.unwrap_or_default();
            let mut best: Vec<Best> = (0..height).map(|_| Best::new(count)).collect();
            let mut products = vec![0.0_f32; height * rows.min(PANEL)];
            for first in (0..rows).step_by(PANEL) {
                let width = (rows - first).min(PANEL);
                let products = &mut products[..height * width];
                let out = MatMut::from_row_major_slice_mut(products, height, width);
                matmul(out, Accum::Replace, left, right.subrows(first, width).transpose(), 1.0_f32, Par::Seq);
                for (at, (best, own)) in best.iter_mut().zip(products.chunks_exact_mut(width)).enumerate() {
                    self.offer(best, halves.get(at).copied().unwrap_or(0.0), first, own);
                }
            }
            best.into_iter().map(|best| best.sorted(scale)).collect::<Vec<_>>()
        };
        // A few blocks for each thread, where there are so many queries.
        let height = (prepared.nrows() / (4 * rayon::current_num_threads())).clamp(16, BLOCK);
        let found = left.par_chunks(height * dim).flat_map_iter(block).collect();
        Ok(self.gallery.finish(queries, found, k, first_self, true))
    }

    fn search_itself(&mut self, k: usize, progress: &Progress) -> Result<Option<Neighbours>> {
        among(&self.gallery, k, progress)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use super::*;
    use crate::retrieval::{Similarity, rank_all};

    #[test]
    fn finds_what_the_definition_says_ties_included() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        // Every third row is the row before, so that ties are many; 150 queries are some blocks.
        let rows = Array2::from_shape_fn((150, 7), |(r, c)| noise((r - usize::from(r % 3 == 2)) * 7 + c + 1));
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let mut index = ProductIndex::build(metric, rows.view(), &|row| row.to_string()).unwrap();
            let found = index.search(rows.view(), 20, Some(0)).unwrap();
            let truth = Similarity::new(metric, rows.view(), rows.view());
            for (query, neighbours) in found.iter().enumerate() {
                assert_eq!(*neighbours, rank_all(&truth, query, Some(query))[..20], "{metric} {query}");
            }
        }
    }

    #[test]
    fn rows_beyond_a_panel_are_found() {
        let noise = |n: usize| ((n as f64 * 78.233).sin() * 43_758.545_3).fract() as f32;
        let rows = Array2::from_shape_fn((PANEL + 70, 3), |(r, c)| noise(r * 3 + c + 1));
        let queries = rows.slice(ndarray::s![PANEL - 9..PANEL + 9, ..]);
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let mut index = ProductIndex::build(metric, rows.view(), &|row| row.to_string()).unwrap();
            let found = index.search(queries, 5, None).unwrap();
            let truth = Similarity::new(metric, queries, rows.view());
            for (query, neighbours) in found.iter().enumerate() {
                assert_eq!(*neighbours, rank_all(&truth, query, None)[..5], "{metric} {query}");
            }
        }
    }
}
