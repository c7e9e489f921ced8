//! Exact search by a product of matrices: no index is built, and the candidates of each query are its greatest products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::exact::closer_first;
use super::{Gallery, Index, Metric, Neighbours};
use crate::error::{Error, Result};

/// Queries multiplied at a time: 64 rows of products of 100,000 images take 26 MB.
const BLOCK: usize = 64;

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

    /// The candidates of one query out of its products with every row.
    fn best(&self, products: &[f32], query: &[f32], count: usize) -> Vec<(f64, usize)> {
        let square: f64 = query.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let score = |(row, &product): (usize, &f32)| match self.half_squares.get(row) {
            // -|q - g|^2 = 2 q.g - |q|^2 - |g|^2
            Some(&half) => (2.0 * (f64::from(product) - f64::from(half)) - square, row),
            None => (f64::from(product), row),
        };
        let mut all: Vec<(f64, usize)> = products.iter().enumerate().map(score).collect();
        if count < all.len() {
            all.select_nth_unstable_by(count - 1, closer_first);
            all.truncate(count);
        }
        all.sort_by(closer_first);
        all
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
            let mut products = vec![0.0_f32; height * rows];
            let out = MatMut::from_row_major_slice_mut(&mut products, height, rows);
            let left = MatRef::from_row_major_slice(queries, height, dim);
            matmul(out, Accum::Replace, left, right.transpose(), 1.0_f32, Par::Seq);
            let both = products.chunks_exact(rows).zip(queries.chunks_exact(dim));
            both.map(|(products, query)| self.best(products, query, count)).collect::<Vec<_>>()
        };
        let found = left.par_chunks(BLOCK * dim).flat_map_iter(block).collect();
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
        // Every third row is the row before, so that ties are many; 150 queries are more than two blocks.
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
}
