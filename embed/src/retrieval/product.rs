//! Exact search by a product of matrices: no index is built, and the candidates of each query are its greatest products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::exact::closer_first;
use super::{Gallery, Index, Metric, Neighbours};
use crate::error::{Error, Result};

/// Queries multiplied at a time, at most, and with how many rows of the gallery: 4 MiB of products, which stay in a cache, of rows that
/// are read once for all of these queries.
const BLOCK: usize = 256;
const PANEL: usize = 4096;
/// Products that are compared with the least of the best at once.
const STRIDE: usize = 32;

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
    /// Those of [`Gallery::new`].
    #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
    pub fn build(metric: Metric, rows: ArrayView2<'_, f32>, name: &dyn Fn(usize) -> String) -> Result<Self> {
        let gallery = Gallery::new(metric, rows, name)?;
        let half_square = |row: ndarray::ArrayView1<'_, f32>| {
            (row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / 2.0) as f32
        };
        let half_squares = if metric == Metric::L2 {
            gallery.rows().rows().into_iter().map(half_square).collect()
        } else {
            Vec::new()
        };
        let unit = if metric == Metric::Cosine { Some(gallery.compared()?.into_owned()) } else { None };
        Ok(Self { gallery, unit, half_squares })
    }

    /// Offers a query its products with the rows from `first` on.
    fn offer(&self, best: &mut Best, first: usize, products: &[f32]) {
        if let Some(halves) = self.half_squares.get(first..first + products.len()) {
            for (at, (&product, &half)) in products.iter().zip(halves).enumerate() {
                // -|q - g|^2 = 2 q.g - |q|^2 - |g|^2
                best.offer(2.0 * (f64::from(product) - f64::from(half)) - best.square, first + at);
            }
            return;
        }
        for (stride, products) in products.chunks(STRIDE).enumerate() {
            // Mostly there is none among so many.
            let has_one = products.iter().fold(false, |found, &product| found | (f64::from(product) > best.least));
            if has_one {
                let first = first + stride * STRIDE;
                products.iter().enumerate().for_each(|(at, &product)| best.offer(f64::from(product), first + at));
            }
        }
    }
}

/// The best of what was offered, in the order of rows.
struct Best {
    kept: Vec<(f64, usize)>,
    count: usize,
    /// What is no greater is none of them: of equals the first row goes before.
    least: f64,
    /// The square of the query's length.
    square: f64,
}

impl Best {
    fn new(count: usize, query: &[f32]) -> Self {
        let square = query.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        Self { kept: Vec::new(), count, least: f64::NEG_INFINITY, square }
    }

    fn offer(&mut self, score: f64, row: usize) {
        /// Looked through together, so that each is looked at a few times alone.
        const MORE: usize = 256;
        if score > self.least || self.least == f64::NEG_INFINITY {
            // Of zeros there is one.
            self.kept.push((score + 0.0, row));
            if self.kept.len() >= self.count + self.count.max(MORE) {
                self.cut();
            }
        }
    }

    /// Keeps the best alone.
    fn cut(&mut self) {
        if self.count < self.kept.len() {
            let (_, &mut (least, _), _) = self.kept.select_nth_unstable_by(self.count - 1, closer_first);
            self.least = least;
            self.kept.truncate(self.count);
        }
    }

    fn sorted(mut self) -> Vec<(f64, usize)> {
        self.cut();
        self.kept.sort_by(closer_first);
        self.kept
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
        let block = |queries: &[f32]| {
            let height = queries.len() / dim;
            let left = MatRef::from_row_major_slice(queries, height, dim);
            let mut best: Vec<Best> = queries.chunks_exact(dim).map(|query| Best::new(count, query)).collect();
            let mut products = vec![0.0_f32; height * rows.min(PANEL)];
            for first in (0..rows).step_by(PANEL) {
                let width = (rows - first).min(PANEL);
                let products = &mut products[..height * width];
                let out = MatMut::from_row_major_slice_mut(products, height, width);
                matmul(out, Accum::Replace, left, right.subrows(first, width).transpose(), 1.0_f32, Par::Seq);
                best.iter_mut().zip(products.chunks_exact(width)).for_each(|(best, own)| self.offer(best, first, own));
            }
            best.into_iter().map(Best::sorted).collect::<Vec<_>>()
        };
        // A few blocks for each thread, where there are so many queries.
        let height = (prepared.nrows() / (4 * rayon::current_num_threads())).clamp(16, BLOCK);
        let found = left.par_chunks(height * dim).flat_map_iter(block).collect();
        Ok(self.gallery.finish(queries, found, k, first_self, true))
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
    fn the_best_of_many_are_those_of_sorting_them_all() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract();
        for (count, rows, levels) in
            [(1, 5, 9.0), (3, 2_000, 40.0), (100, 5_000, 1e9), (300, 4_000, 7.0), (50, 20, 3.0)]
        {
            let scores: Vec<f64> = (0..rows).map(|row| (noise(row + 1) * levels).round()).collect();
            let mut all: Vec<(f64, usize)> = scores.iter().copied().zip(0..).collect();
            all.sort_by(closer_first);
            all.truncate(count);
            let mut best = Best::new(count, &[]);
            scores.iter().enumerate().for_each(|(row, &score)| best.offer(score, row));
            assert_eq!(best.sorted(), all, "{count} of {rows}");
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
