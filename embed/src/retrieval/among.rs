//! The nearest of every row among all others. The product of two rows counts for both, so each is formed once, where a search of the
//! rows as queries forms it twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::s;
use rayon::prelude::*;

use super::best::{Best, STRIDE};
use super::settle::{half_squares, of_score, to_scores};
use super::{Gallery, Neighbours};
use crate::console::Progress;
use crate::error::{Error, Result};

/// Rows that are multiplied with a panel of others at a time: 4 MiB of products, which stay in a cache.
const BLOCK: usize = 256;
/// Blocks of a panel.
const PANEL: usize = 16;
/// Bytes of candidates that are always held; more where the rows themselves are as many.
const ALWAYS: usize = 256 << 20;

/// The `k` nearest of each row of the gallery among the others; `None` where the candidates of all rows at once would take too much
/// memory. `progress` counts rows.
///
/// # Errors
/// None: rows without direction were refused.
pub fn among(gallery: &Gallery, k: usize, progress: &Progress) -> Result<Option<Neighbours>> {
    let (rows, dim) = gallery.rows().dim();
    let count = gallery.candidates(k + 1);
    let held = rows.saturating_mul(Best::bytes(count));
    if rows == 0
        || dim == 0
        || u32::try_from(rows).is_err()
        || held > ALWAYS.max(size_of_val(gallery.rows().as_slice().unwrap_or(&[])))
    {
        return Ok(None);
    }
    let found = Candidates::of(gallery, count, progress)?;
    let scale = of_score(gallery.metric());
    let mut neighbours = Vec::with_capacity(rows);
    // Some at a time: as they are settled they take four times the memory.
    for (at, some) in found.into_iter().enumerate() {
        let first = at * BLOCK;
        let lists: Vec<_> = some.into_par_iter().map(|best| best.sorted(scale)).collect();
        let queries = gallery.rows().slice(s![first..first + lists.len(), ..]);
        neighbours.extend(gallery.finish(queries, lists, k, Some(first), true));
    }
    Ok(Some(neighbours))
}

/// What the rows of a block have found.
struct Candidates {
    best: Vec<Best>,
    /// What an offer must exceed, side by side.
    least: Vec<f32>,
}

impl Candidates {
    /// Of all rows of a gallery, `count` each, themselves among them, block by block.
    fn of(gallery: &Gallery, count: usize, progress: &Progress) -> Result<Vec<Vec<Best>>> {
        let compared = gallery.compared()?;
        let (rows, dim) = compared.dim();
        let halves = half_squares(gallery.metric(), compared.view());
        let data = compared.as_slice().ok_or_else(|| Error::Embeddings("rows are not contiguous".into()))?;
        let all = MatRef::from_row_major_slice(data, rows, dim);
        let new = |first: usize| {
            let height = (rows - first).min(BLOCK);
            Mutex::new(Self {
                best: (0..height).map(|_| Best::new(count)).collect(),
                least: vec![f32::NEG_INFINITY; height],
            })
        };
        let blocks: Vec<Mutex<Self>> = (0..rows).step_by(BLOCK).map(new).collect();
        let told = Told { progress, rows, done: Mutex::default() };
        (0..blocks.len()).into_par_iter().with_max_len(1).for_each_init(Vec::new, |products: &mut Vec<f32>, own| {
            let first = own * BLOCK;
            let height = (rows - first).min(BLOCK);
            let mut pairs = 0;
            for panel in (own..blocks.len()).step_by(PANEL) {
                let begin = panel * BLOCK;
                let width = (rows - begin).min(PANEL * BLOCK);
                products.resize(height * width, 0.0);
                let out = MatMut::from_row_major_slice_mut(&mut products[..height * width], height, width);
                let (left, right) = (all.subrows(first, height), all.subrows(begin, width));
                matmul(out, Accum::Replace, left, right.transpose(), 1.0_f32, Par::Seq);
                if !halves.is_empty() {
                    for (line, &half) in products.chunks_exact_mut(width).zip(&halves[first..]) {
                        to_scores(line, half, &halves[begin..]);
                    }
                }
                for (at, other) in (panel..blocks.len().min(panel + PANEL)).enumerate() {
                    let lines = products.chunks_exact(width).map(|line| {
                        let line = &line[at * BLOCK..];
                        &line[..line.len().min(BLOCK)]
                    });
                    // The lower block first, always, so that no two threads wait for each other.
                    let mut mine = lock(&blocks[own]);
                    if other == own {
                        lines.enumerate().for_each(|(row, line)| mine.offer_line(row, line, first));
                        continue;
                    }
                    let mut theirs = lock(&blocks[other]);
                    lines.enumerate().for_each(|(row, line)| {
                        mine.offer_line(row, line, other * BLOCK);
                        theirs.offer_across(line, first + row);
                    });
                }
                pairs += height * width;
            }
            told.pairs(pairs);
        });
        told.end();
        Ok(blocks.into_iter().map(|block| block.into_inner().unwrap_or_else(PoisonError::into_inner).best).collect())
    }

    /// Offers one row of the block its scores with the rows from `first` on.
    fn offer_line(&mut self, row: usize, scores: &[f32], first: usize) {
        self.best[row].offer_all(scores, first);
        self.least[row] = self.best[row].least();
    }

    /// Offers each row of the block its score with one row.
    #[allow(clippy::cast_possible_truncation)] // no more rows than u32 counts
    fn offer_across(&mut self, scores: &[f32], row: usize) {
        let strides = scores.chunks(STRIDE).zip(self.least.chunks_mut(STRIDE)).zip(self.best.chunks_mut(STRIDE));
        for ((scores, least), best) in strides {
            if scores.iter().zip(&*least).fold(false, |found, (score, least)| found | (score > least)) {
                for ((&score, least), best) in scores.iter().zip(least).zip(best) {
                    best.offer(score, row as u32);
                    *least = best.least();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows that are done, as far as pairs of rows are.
struct Told<'a> {
    progress: &'a Progress,
    rows: usize,
    /// Pairs that were formed, and rows that progress was told of.
    done: Mutex<(usize, usize)>,
}

impl Told<'_> {
    fn pairs(&self, pairs: usize) {
        let mut done = lock(&self.done);
        done.0 += pairs;
        // Of each two products of a square one is formed, those of the diagonal blocks apart.
        let all = self.rows * (self.rows + BLOCK) / 2;
        let share = done.0 as f64 / all as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between none and all
        let rows = ((share * self.rows as f64) as usize).min(self.rows);
        self.progress.advance(rows - done.1);
        done.1 = rows;
    }

    fn end(&self) {
        let told = lock(&self.done).1;
        self.progress.advance(self.rows - told);
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::retrieval::{Metric, Similarity, rank_all};

    fn noise(n: usize) -> f32 {
        ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32
    }

    /// Rows of which every third is the row before, so that ties are many, also across blocks and panels.
    fn rows(count: usize) -> Array2<f32> {
        Array2::from_shape_fn((count, 7), |(r, c)| noise((r - usize::from(r % 3 == 2)) * 7 + c + 1))
    }

    #[test]
    fn finds_what_the_definition_says_whatever_the_threads() {
        for (count, threads) in [(2, 1), (150, 1), (BLOCK, 2), (2 * BLOCK + 1, 3), (PANEL * BLOCK + 300, 2)] {
            let rows = rows(count);
            let k = 20.min(count - 1);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
                let gallery = Gallery::new(metric, rows.view(), &|row| row.to_string()).unwrap();
                let progress = Progress::new("searching", "queries", count);
                let found = pool.install(|| among(&gallery, k, &progress)).unwrap().unwrap();
                assert_eq!(found.len(), count);
                let truth = Similarity::new(metric, rows.view(), rows.view());
                for query in (0..count).step_by(1 + count / 200) {
                    assert_eq!(found[query], rank_all(&truth, query, Some(query))[..k], "{metric} {query} of {count}");
                }
            }
        }
    }

    #[test]
    fn codes_that_nearly_all_tie_are_in_the_true_order() {
        // 16 signs, and the same in three lengths.
        let rows = Array2::from_shape_fn((700, 16), |(r, c)| noise(r * 16 + c + 1).signum() * [1.0, 3.0, 0.7][r % 3]);
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let gallery = Gallery::new(metric, rows.view(), &|row| row.to_string()).unwrap();
            let found = among(&gallery, 9, &Progress::new("searching", "queries", 700)).unwrap().unwrap();
            let truth = Similarity::new(metric, rows.view(), rows.view());
            for (query, found) in found.iter().enumerate() {
                assert_eq!(*found, rank_all(&truth, query, Some(query))[..9], "{metric} {query}");
            }
        }
    }

    #[test]
    fn candidates_that_do_not_fit_are_left_to_a_search_query_by_query() {
        // Two numbers a row, and every row wanted of each.
        let rows = Array2::from_shape_fn((6_000, 2), |(r, c)| noise(r * 2 + c + 1));
        let gallery = Gallery::new(Metric::Ip, rows.view(), &|row| row.to_string()).unwrap();
        assert_eq!(among(&gallery, 5_999, &Progress::new("searching", "queries", 6_000)).unwrap(), None);
    }
}
