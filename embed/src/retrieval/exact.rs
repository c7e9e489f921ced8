//! Similarities in f64, as the mathematics states them. The oracle of the tests, and the judge of near-ties that f32
//! arithmetic cannot order.

use std::borrow::Cow;

use ndarray::{ArrayView1, ArrayView2};

use super::Metric;

/// Similarities between the rows of two matrices, in f64; greater is closer.
#[derive(Debug)]
pub struct Similarity<'a> {
    metric: Metric,
    queries: ArrayView2<'a, f32>,
    gallery: ArrayView2<'a, f32>,
    query_norms: Vec<f64>,
    gallery_norms: Cow<'a, [f64]>,
}

impl<'a> Similarity<'a> {
    /// Between rows of `queries` and rows of `gallery`, both `[rows, dim]`.
    pub fn new(metric: Metric, queries: ArrayView2<'a, f32>, gallery: ArrayView2<'a, f32>) -> Self {
        Self { metric, queries, gallery, query_norms: norms(queries), gallery_norms: norms(gallery).into() }
    }

    /// The same, with the lengths of the gallery's rows known.
    pub(super) fn with_norms(
        metric: Metric,
        queries: ArrayView2<'a, f32>,
        gallery: ArrayView2<'a, f32>,
        gallery_norms: &'a [f64],
    ) -> Self {
        Self { metric, queries, gallery, query_norms: norms(queries), gallery_norms: gallery_norms.into() }
    }

    /// Similarity of one query and one gallery row: cosine, inner product, or minus the squared distance.
    pub fn of(&self, query: usize, other: usize) -> f64 {
        let (q, g) = (self.queries.row(query), self.gallery.row(other));
        match self.metric {
            Metric::Cosine => dot(q, g) / (self.query_norms[query] * self.gallery_norms[other]),
            Metric::Ip => dot(q, g),
            Metric::L2 => -q.iter().zip(g).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>(),
        }
    }

    /// Rows of the gallery.
    pub fn gallery_len(&self) -> usize {
        self.gallery.nrows()
    }
}

/// Length of each row.
pub(super) fn norms(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    rows.rows().into_iter().map(|row| dot(row, row).sqrt()).collect()
}

fn dot(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    // Eight sums: the order is fixed, so equal rows give equal values, and the processor need not wait for each addition.
    let (Some(a), Some(b)) = (a.as_slice(), b.as_slice()) else {
        return a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
    };
    let mut sums = [0.0_f64; 8];
    let (blocks_a, blocks_b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 =
        blocks_a.remainder().iter().zip(blocks_b.remainder()).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
    for (x, y) in blocks_a.zip(blocks_b) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The whole gallery in order of similarity to one query, ties by the lower row; `without` leaves one row out.
pub fn rank_all(similarity: &Similarity<'_>, query: usize, without: Option<usize>) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> =
        (0..similarity.gallery_len()).filter(|&g| Some(g) != without).map(|g| (similarity.of(query, g), g)).collect();
    scored.sort_by(closer_first);
    scored.into_iter().map(|(_, g)| g).collect()
}

/// Orders by similarity, greatest first, then by row.
pub(super) fn closer_first(a: &(f64, usize), b: &(f64, usize)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
