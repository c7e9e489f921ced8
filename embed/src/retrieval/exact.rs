//! Similarities in f64, as the mathematics states them, and the true order by them. The oracle of the tests, and the judge of
//! near-ties that f32 arithmetic cannot order.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2};

use super::Metric;
use super::wide::Wide;

/// Cosines from which on rows are nearly parallel.
const PARALLEL: f64 = 1.0 - 1e-6;

/// Similarities between the rows of two matrices, in f64; greater is closer.
#[derive(Debug)]
pub struct Similarity<'a> {
    metric: Metric,
    queries: ArrayView2<'a, f32>,
    gallery: ArrayView2<'a, f32>,
    /// Squares of the lengths of rows, which cosines want.
    query_squares: Vec<Wide>,
    gallery_squares: Cow<'a, [Wide]>,
}

impl<'a> Similarity<'a> {
    /// Between rows of `queries` and rows of `gallery`, both `[rows, dim]`.
    pub fn new(metric: Metric, queries: ArrayView2<'a, f32>, gallery: ArrayView2<'a, f32>) -> Self {
        let gallery_squares = squares(metric, gallery).into();
        Self { metric, queries, gallery, query_squares: squares(metric, queries), gallery_squares }
    }

    /// The same, with the [`squares`] of the gallery known.
    pub(super) fn with_squares(
        metric: Metric,
        queries: ArrayView2<'a, f32>,
        gallery: ArrayView2<'a, f32>,
        gallery_squares: &'a [Wide],
    ) -> Self {
        let query_squares = squares(metric, queries);
        Self { metric, queries, gallery, query_squares, gallery_squares: gallery_squares.into() }
    }

    /// Similarity of one query and one gallery row: cosine, inner product, or minus the squared distance.
    pub fn of(&self, query: usize, other: usize) -> f64 {
        let (q, g) = (self.queries.row(query), self.gallery.row(other));
        match self.metric {
            Metric::Cosine => {
                // The square with its sign first: of rows of whole numbers it is the quotient of two that are exact, so that
                // equal cosines are equal whatever the rows' lengths.
                let product = dot(q, g);
                let squares = self.query_squares[query].rounded() * self.gallery_squares[other].rounded();
                let cosine = (product * product / squares).sqrt().copysign(product);
                if cosine.abs() < PARALLEL {
                    return cosine;
                }
                // Its last digits are all that tells it from others.
                let square = self.rank(query, other).over(self.query_squares[query]).rounded();
                square.abs().sqrt().copysign(square)
            }
            Metric::Ip => dot(q, g),
            Metric::L2 => -q.iter().zip(g).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>(),
        }
    }

    /// Where a row of the gallery stands in the order of a query; greater is closer. Of cosines it is the square with its sign,
    /// times the square of the query's length, in twice the digits: it tells rows apart whose cosines are one f64, and rows that
    /// are multiples of each other tie.
    pub(super) fn rank(&self, query: usize, other: usize) -> Wide {
        if self.metric != Metric::Cosine {
            return Wide::of(self.of(query, other));
        }
        let (q, g) = (self.queries.row(query), self.gallery.row(other));
        wide_dot(q, g).signed_square().over(self.gallery_squares[other])
    }

    /// Brings rows of the gallery into the true order, the closest to a query first, ties by the lower row; with their
    /// similarities.
    pub(super) fn order(&self, query: usize, rows: &mut [(f64, usize)]) {
        rows.iter_mut().for_each(|(similarity, row)| *similarity = self.of(query, *row));
        rows.sort_by(closer_first);
        if self.metric != Metric::Cosine {
            return;
        }
        let doubt = self.doubt();
        for near in rows.chunk_by_mut(|a, b| a.0 - b.0 <= 2.0 * doubt).filter(|near| near.len() > 1) {
            let mut ranked: Vec<_> = near.iter().map(|&(of, row)| (self.rank(query, row), of, row)).collect();
            ranked.sort_by(|a, b| ranks_first((&a.0, a.2), (&b.0, b.2)));
            near.iter_mut().zip(ranked).for_each(|(to, (_, of, row))| *to = (of, row));
        }
    }

    /// Bounds what f64 rounds of a cosine, which ranks tell: of the product, of two lengths, and of what is made of them. Others are ranked as
    /// they are.
    fn doubt(&self) -> f64 {
        let is_cosine = self.metric == Metric::Cosine;
        if is_cosine { (2 * self.gallery.ncols() + 16) as f64 * f64::EPSILON / 2.0 } else { 0.0 }
    }

    /// Rows of the gallery.
    pub fn gallery_len(&self) -> usize {
        self.gallery.nrows()
    }
}

/// The squares of the lengths of rows, where cosines are wanted.
pub(super) fn squares(metric: Metric, rows: ArrayView2<'_, f32>) -> Vec<Wide> {
    if metric != Metric::Cosine {
        return Vec::new();
    }
    rows.rows().into_iter().map(|row| wide_dot(row, row)).collect()
}

/// Length of each row.
pub(super) fn norms(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    rows.rows().into_iter().map(|row| dot(row, row).sqrt()).collect()
}

fn wide_dot(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> Wide {
    match (a.as_slice(), b.as_slice()) {
        (Some(a), Some(b)) => Wide::dot(a, b),
        _ => Wide::dot(&a.to_vec(), &b.to_vec()),
    }
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
    let others = (0..similarity.gallery_len()).filter(|&g| Some(g) != without);
    let mut scored: Vec<(f64, usize)> = others.map(|g| (0.0, g)).collect();
    similarity.order(query, &mut scored);
    scored.into_iter().map(|(_, g)| g).collect()
}

/// The first `k` of [`rank_all`], at least: those that are surely behind them are not brought into order, of which there are most where many
/// tie.
pub(super) fn rank_first(similarity: &Similarity<'_>, query: usize, without: Option<usize>, k: usize) -> Vec<usize> {
    let others = (0..similarity.gallery_len()).filter(|&g| Some(g) != without);
    let mut scored: Vec<(f64, usize)> = others.map(|g| (similarity.of(query, g), g)).collect();
    if (1..scored.len()).contains(&k) {
        let (_, &mut (last, _), _) = scored.select_nth_unstable_by(k - 1, closer_first);
        let least = last - 2.0 * similarity.doubt();
        scored.retain(|(of, _)| *of >= least);
    }
    similarity.order(query, &mut scored);
    scored.into_iter().map(|(_, g)| g).collect()
}

/// Orders by similarity, greatest first, then by row.
pub(super) fn closer_first(a: &(f64, usize), b: &(f64, usize)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The same by ranks.
pub(super) fn ranks_first(a: (&Wide, usize), b: (&Wide, usize)) -> Ordering {
    b.0.total_cmp(a.0).then(a.1.cmp(&b.1))
}
