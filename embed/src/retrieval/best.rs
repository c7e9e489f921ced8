//! The greatest of scores that come one by one.

use super::exact::closer_first;

/// Candidates that are kept beyond those wanted before the least are dropped: looked through together, each is looked at a few times
/// alone.
const MORE: usize = 128;
/// Scores that are compared with the least of the best at once.
pub(super) const STRIDE: usize = 32;

/// So many rows with the greatest scores, out of what was offered. Of equal scores at the end any may be kept.
#[derive(Debug)]
pub(super) struct Best {
    kept: Vec<(f32, u32)>,
    count: usize,
    /// What is no greater is none of them.
    least: f32,
}

impl Best {
    /// Nothing yet, of `count`.
    pub(super) fn new(count: usize) -> Self {
        Self { kept: Vec::with_capacity(Self::room(count)), count, least: f32::NEG_INFINITY }
    }

    /// The most candidates that are kept on the way to `count`.
    pub(super) fn room(count: usize) -> usize {
        count + count.max(MORE)
    }

    /// The bytes of as many.
    pub(super) fn bytes(count: usize) -> usize {
        Self::room(count) * size_of::<(f32, u32)>()
    }

    /// What an offer must exceed.
    pub(super) fn least(&self) -> f32 {
        self.least
    }

    /// A row and its score.
    pub(super) fn offer(&mut self, score: f32, row: u32) {
        if score > self.least {
            // Of zeros there is one.
            self.kept.push((score + 0.0, row));
            if self.kept.len() >= Self::room(self.count) {
                self.cut();
            }
        }
    }

    /// The scores of the rows from `first` on, which `u32` counts.
    #[allow(clippy::cast_possible_truncation)] // no more rows than that
    pub(super) fn offer_all(&mut self, scores: &[f32], first: usize) {
        for (stride, some) in scores.chunks(STRIDE).enumerate() {
            // Mostly there is none among so many.
            let least = self.least;
            if some.iter().fold(false, |found, &score| found | (score > least)) {
                let first = first + stride * STRIDE;
                some.iter().enumerate().for_each(|(at, &score)| self.offer(score, (first + at) as u32));
            }
        }
    }

    /// Keeps the best alone.
    fn cut(&mut self) {
        if self.count < self.kept.len() {
            let (_, &mut (least, _), _) =
                self.kept.select_nth_unstable_by(self.count - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            self.least = least;
            self.kept.truncate(self.count);
        }
    }

    /// The best, the greatest first, their scores times `scale`.
    pub(super) fn sorted(mut self, scale: f64) -> Vec<(f64, usize)> {
        self.cut();
        let mut sorted: Vec<_> =
            self.kept.iter().map(|&(score, row)| (f64::from(score) * scale, row as usize)).collect();
        sorted.sort_by(closer_first);
        sorted
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use super::*;

    #[test]
    fn the_best_of_many_are_those_of_sorting_them_all() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract();
        for (count, rows, levels) in
            [(1, 5, 9.0), (3, 2_000, 40.0), (100, 5_000, 1e9), (300, 4_000, 7.0), (50, 20, 3.0)]
        {
            let scores: Vec<f32> = (0..rows).map(|row| (noise(row + 1) * levels).round() as f32).collect();
            let mut all: Vec<(f64, usize)> = scores.iter().map(|&score| f64::from(score)).zip(0..).collect();
            all.sort_by(closer_first);
            all.truncate(count);
            let mut best = Best::new(count);
            scores.iter().zip(0..).for_each(|(&score, row)| best.offer(score, row));
            assert_eq!(best.sorted(1.0), all, "{count} of {rows}");
        }
    }
}
