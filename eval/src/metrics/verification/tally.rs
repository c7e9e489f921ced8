//! How many genuine and how many impostor pairs have each score: all that the measures need to know.
//!
//! Two stores behind one sweep: every distinct score with its counts, or, where pairs are too many to keep, counts on a
//! grid as fine as the scores themselves are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};
use pdloss_embed::ranks::World;

/// One distinct score and how many pairs have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The score.
    pub score: f64,
    /// Genuine pairs with it.
    pub genuine: u64,
    /// Impostor pairs with it.
    pub impostor: u64,
}

/// What a threshold does: the errors of accepting every score at or above it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The threshold, an observed score.
    pub threshold: f64,
    /// Impostor pairs accepted.
    pub false_matches: u64,
    /// Genuine pairs rejected.
    pub false_non_matches: u64,
}

/// Scores of float32, and those that are counted on the grid, differ by rounding where they differ by less than this share of
/// themselves ...
pub(super) const FLOAT32: f64 = 1e-6;
/// Those on the grid are rounded by more than a hundredth of what they differ where that is less than this share.
const ROUGH: f64 = 1e-4;
/// ... and cosines in float64 of rows in float32, of which the angle between rows is known to some 1e-7: its square.
pub(super) const FLOAT64: f64 = 1e-14;

/// Counts of genuine and impostor pairs by score; at least one of each.
#[derive(Debug)]
pub struct Tally {
    rounding: f64,
    /// Whether scores are multiples of the grid.
    is_on_grid: bool,
    genuine: u64,
    impostor: u64,
    failed: Failed,
    store: Store,
}

/// Pairs without a score, for an image could not be acquired or a template not be made: no threshold accepts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// Genuine pairs.
    pub genuine: u64,
    /// Impostor pairs.
    pub impostor: u64,
}

#[derive(Debug)]
enum Store {
    Steps(Vec<Step>),
    Grid { genuine: Counts, impostor: Counts },
}

impl Tally {
    /// Of score lists, in any order.
    ///
    /// # Errors
    /// [`Error::Measure`] where a list is empty or holds NaN (named by its position from 1).
    pub fn of_scores(genuine: &[f64], impostor: &[f64]) -> Result<Self> {
        for (kind, scores) in [("genuine", genuine), ("impostor", impostor)] {
            if let Some(at) = scores.iter().position(|s| s.is_nan()) {
                return Err(Error::Measure(format!(
                    "{kind} score {} of {} is NaN, which is neither above nor below a threshold",
                    at + 1,
                    scores.len()
                )));
            }
        }
        let genuine = genuine.iter().map(|&score| Step { score, genuine: 1, impostor: 0 });
        let impostor = impostor.iter().map(|&score| Step { score, genuine: 0, impostor: 1 });
        let mut steps: Vec<_> = genuine.chain(impostor).collect();
        steps.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
        Self::of_sorted(steps)
    }

    /// Of steps in ascending order; equal scores may come one by one.
    pub(in crate::metrics) fn of_sorted(mut steps: Vec<Step>) -> Result<Self> {
        steps.dedup_by(|next, kept| {
            let same = next.score == kept.score;
            if same {
                kept.genuine += next.genuine;
                kept.impostor += next.impostor;
            }
            same
        });
        steps.retain(|s| s.genuine + s.impostor > 0);
        let genuine = steps.iter().map(|s| s.genuine).sum();
        let impostor = steps.iter().map(|s| s.impostor).sum();
        Self::checked(genuine, impostor, Store::Steps(steps))
    }

    fn checked(genuine: u64, impostor: u64, store: Store) -> Result<Self> {
        if genuine == 0 || impostor == 0 {
            return Err(Error::Measure(format!(
                "{genuine} genuine and {impostor} impostor pairs: error rates need at least one of each"
            )));
        }
        Ok(Self { rounding: FLOAT32, is_on_grid: false, genuine, impostor, failed: Failed::default(), store })
    }

    /// With pairs that have no score. They count among all pairs in every rate, and are accepted at no threshold (ISO/IEC
    /// 19795-1: the generalised rates); what describes scores (means, areas, likelihood ratios) is of the others.
    #[must_use]
    pub fn with_failed(self, failed: Failed) -> Self {
        let (genuine, impostor) = self.acquired();
        Self { genuine: genuine + failed.genuine, impostor: impostor + failed.impostor, failed, ..self }
    }

    /// Of scores that differ by rounding where they differ by less than this share of themselves.
    #[must_use]
    pub(super) fn with_rounding(self, rounding: f64) -> Self {
        Self { rounding, ..self }
    }

    /// The share of themselves below which differences of scores are rounding, and the one below which they are known roughly.
    pub(super) fn rounding(&self) -> (f64, f64) {
        (self.rounding, if self.is_on_grid { ROUGH } else { 0.0 })
    }

    /// Genuine pairs, those without a score among them.
    pub fn genuine(&self) -> u64 {
        self.genuine
    }

    /// Impostor pairs, those without a score among them.
    pub fn impostor(&self) -> u64 {
        self.impostor
    }

    /// Pairs without a score.
    pub fn failed(&self) -> Failed {
        self.failed
    }

    /// Genuine and impostor pairs that have a score.
    pub fn acquired(&self) -> (u64, u64) {
        (self.genuine - self.failed.genuine, self.impostor - self.failed.impostor)
    }

    /// Visits every distinct score, ascending.
    pub fn sweep(&self, mut visit: impl FnMut(&Step)) {
        match &self.store {
            Store::Steps(steps) => steps.iter().for_each(visit),
            Store::Grid { genuine, impostor } => {
                genuine.sweep(impostor, |score, genuine, impostor| visit(&Step { score, genuine, impostor }))
            }
        }
    }

    /// Visits every observed threshold, ascending, with its errors.
    pub fn points(&self, mut visit: impl FnMut(&Point)) {
        let (mut genuine_below, mut impostor_below) = (self.failed.genuine, self.failed.impostor);
        self.sweep(|step| {
            visit(&Point {
                threshold: step.score,
                false_matches: self.impostor - impostor_below,
                false_non_matches: genuine_below,
            });
            genuine_below += step.genuine;
            impostor_below += step.impostor;
        });
    }

    /// The errors of any threshold.
    pub fn at(&self, threshold: f64) -> Point {
        let (mut genuine, mut impostor) = (0, 0);
        self.sweep(|step| {
            if step.score >= threshold {
                genuine += step.genuine;
                impostor += step.impostor;
            }
        });
        Point { threshold, false_matches: impostor, false_non_matches: self.genuine - genuine }
    }

    /// False match rate at a point.
    pub fn fmr(&self, point: &Point) -> f64 {
        point.false_matches as f64 / self.impostor as f64
    }

    /// False non-match rate at a point.
    pub fn fnmr(&self, point: &Point) -> f64 {
        point.false_non_matches as f64 / self.genuine as f64
    }
}

/// Width of a bin of the grid: the spacing of 32-bit floats between 1/2 and 1, where scores decide.
pub const GRID: f64 = 1.0 / (1 << 24) as f64;

/// Bins a chunk: 256 KiB of counts, which a core's own cache holds, and keys of 16 bits.
const CHUNK_BITS: u32 = 16;
/// Chunks from -1 to 1; one more holds +1 itself.
const CHUNKS: usize = (2 << 24 >> CHUNK_BITS) + 1;
/// Keys that a thread gathers for one chunk before it counts them: enough that each line of the chunk is met several
/// times while it is near, for counting key by key would wait on the memory at each.
const GATHER: usize = 32 * 1024;

/// Counts by key, in chunks that are made when first needed, each behind its own lock.
#[derive(Debug, Default)]
struct Counts {
    chunks: Vec<Mutex<Vec<u32>>>,
    /// Times that the 32-bit count of a key has wrapped.
    wrapped: Mutex<HashMap<usize, u64>>,
}

impl Counts {
    fn new() -> Self {
        Self { chunks: (0..CHUNKS).map(|_| Mutex::default()).collect(), wrapped: Mutex::default() }
    }

    fn add(&self, chunk: usize, keys: &[u16]) {
        let mut counts = self.chunks[chunk].lock().unwrap_or_else(PoisonError::into_inner);
        if counts.is_empty() {
            counts.resize(1 << CHUNK_BITS, 0);
        }
        // Of known length, it needs no check for keys of 16 bits.
        let Some(counts) = counts.first_chunk_mut::<{ 1 << CHUNK_BITS }>() else { return };
        for &key in keys {
            let count = &mut counts[usize::from(key)];
            *count = count.wrapping_add(1);
            if *count == 0 {
                *self
                    .wrapped
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry((chunk << CHUNK_BITS) + usize::from(key))
                    .or_default() += 1;
            }
        }
    }

    fn get(&self, wrapped: &HashMap<usize, u64>, chunk: usize, counts: &[u32], at: usize) -> u64 {
        let Some(&count) = counts.get(at) else { return 0 };
        let more =
            if wrapped.is_empty() { 0 } else { wrapped.get(&((chunk << CHUNK_BITS) + at)).copied().unwrap_or(0) };
        u64::from(count) + (more << 32)
    }

    fn total(&self) -> u64 {
        let chunks = self
            .chunks
            .iter()
            .map(|c| c.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|&n| u64::from(n)).sum::<u64>());
        let wrapped = self.wrapped.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.sum::<u64>() + (wrapped.values().sum::<u64>() << 32)
    }

    /// Adds up the counts of all ranks, on the first of them.
    fn over_ranks(&self, world: &World) {
        let mut wrapped = self.wrapped.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in 0..CHUNKS {
            let mut counts = self.chunks[chunk].lock().unwrap_or_else(PoisonError::into_inner);
            // Most chunks are empty on all of them.
            if !world.any(!counts.is_empty()) {
                continue;
            }
            counts.resize(1 << CHUNK_BITS, 0);
            let mut sums: Vec<u64> = (0..counts.len()).map(|at| self.get(&wrapped, chunk, &counts, at)).collect();
            world.sum(&mut sums);
            if world.is_first() {
                for (at, (count, sum)) in counts.iter_mut().zip(sums).enumerate() {
                    #[allow(clippy::cast_possible_truncation)] // the low half is what is wanted
                    let low = sum as u32;
                    *count = low;
                    if sum >> 32 > 0 {
                        wrapped.insert((chunk << CHUNK_BITS) + at, sum >> 32);
                    }
                }
            } else {
                *counts = Vec::new();
            }
        }
    }

    fn sweep(&self, other: &Self, mut visit: impl FnMut(f64, u64, u64)) {
        let wrapped = [self, other].map(|c| c.wrapped.lock().unwrap_or_else(PoisonError::into_inner));
        let none_wrapped = wrapped.iter().all(|counts| counts.is_empty());
        for chunk in 0..CHUNKS {
            let counts = [self, other].map(|c| c.chunks[chunk].lock().unwrap_or_else(PoisonError::into_inner));
            for at in 0..counts[0].len().max(counts[1].len()) {
                // Nearly all are.
                if none_wrapped && counts.iter().all(|counts| counts.get(at).is_none_or(|&count| count == 0)) {
                    continue;
                }
                let (own, others) =
                    (self.get(&wrapped[0], chunk, &counts[0], at), other.get(&wrapped[1], chunk, &counts[1], at));
                if own + others > 0 {
                    let key = (chunk << CHUNK_BITS) + at;
                    visit((key as f64 - (1 << 24) as f64) * GRID, own, others);
                }
            }
        }
    }
}

/// Counts scores from -1 to 1 on the grid, from several threads; its memory does not grow with the pairs.
#[derive(Debug)]
pub struct GridCounter {
    genuine: Counts,
    impostor: Counts,
}

impl Default for GridCounter {
    fn default() -> Self {
        Self { genuine: Counts::new(), impostor: Counts::new() }
    }
}

/// One thread's scores on their way to a [`GridCounter`].
#[derive(Debug)]
pub(crate) struct Gatherer<'a> {
    counts: &'a Counts,
    /// Keys for each chunk; none is larger than [`GATHER`].
    waiting: Vec<Vec<u16>>,
    keys: Vec<u32>,
}

impl GridCounter {
    /// A gatherer of genuine scores.
    pub(crate) fn genuine(&self) -> Gatherer<'_> {
        Gatherer::new(&self.genuine)
    }

    /// A gatherer of impostor scores.
    pub(crate) fn impostor(&self) -> Gatherer<'_> {
        Gatherer::new(&self.impostor)
    }

    /// Adds up the counts of all ranks, on the first of them; every gatherer must have been dropped.
    pub(crate) fn over_ranks(&self, world: &World) {
        if !world.is_alone() {
            self.genuine.over_ranks(world);
            self.impostor.over_ranks(world);
        }
    }

    /// What was counted; every gatherer must have been dropped.
    ///
    /// # Errors
    /// [`Error::Measure`] where one of the two kinds is missing.
    pub fn finish(self) -> Result<Tally> {
        /// So many pairs as a list take less memory than the grid, and every measure goes through them sooner.
        const FEW: u64 = 1 << 22;
        self.finish_above(FEW)
    }

    /// As a list up to so many pairs, as the grid above.
    fn finish_above(self, few: u64) -> Result<Tally> {
        let Self { genuine, impostor } = self;
        let totals = (genuine.total(), impostor.total());
        let store = if totals.0 + totals.1 <= few {
            let mut steps = Vec::new();
            genuine.sweep(&impostor, |score, genuine, impostor| steps.push(Step { score, genuine, impostor }));
            Store::Steps(steps)
        } else {
            Store::Grid { genuine, impostor }
        };
        Ok(Tally { is_on_grid: true, ..Tally::checked(totals.0, totals.1, store)? })
    }
}

impl<'a> Gatherer<'a> {
    fn new(counts: &'a Counts) -> Self {
        Self { counts, waiting: vec![Vec::new(); CHUNKS], keys: Vec::new() }
    }

    /// Counts finite scores, each rounded down to a multiple of [`GRID`] and held between -1 and 1.
    pub(crate) fn extend(&mut self, scores: &[f64]) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(scores.iter().map(|&score| key(score)));
        for &key in &keys {
            let chunk = (key >> CHUNK_BITS) as usize;
            let waiting = &mut self.waiting[chunk];
            #[allow(clippy::cast_possible_truncation)] // the low half is what is wanted
            waiting.push(key as u16);
            if waiting.len() == GATHER {
                self.flush(chunk);
            }
        }
        self.keys = keys;
    }

    fn flush(&mut self, chunk: usize) {
        let waiting = &mut self.waiting[chunk];
        if !waiting.is_empty() {
            self.counts.add(chunk, waiting);
            waiting.clear();
        }
    }
}

impl Drop for Gatherer<'_> {
    fn drop(&mut self) {
        (0..CHUNKS).for_each(|chunk| self.flush(chunk));
    }
}

/// The bin of a score, from 0 (at -1) to 2^25 (at 1): that of the multiple of [`GRID`] which is not above it, so that as a threshold it
/// accepts what is counted there and nothing else. What is less than 2^-44 below a multiple is that multiple but for rounding.
fn key(score: f64) -> u32 {
    // Adding 1.5 * 2^52 rounds a small f64 to a whole number, which its low bits then are: no branch, no library call.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const SLACK: f64 = 1.0 / (1 << 20) as f64;
    let scaled = (score + 1.0) * (1 << 24) as f64;
    let held = (scaled - 0.5 + SLACK).clamp(0.0, (2 << 24) as f64);
    #[allow(clippy::cast_possible_truncation)] // the low half is what is wanted
    let key = (held + ROUND).to_bits() as u32;
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(tally: &Tally) -> Vec<Step> {
        let mut steps = Vec::new();
        tally.sweep(|step| steps.push(*step));
        steps
    }

    #[test]
    fn equal_scores_are_one_step() {
        let tally = Tally::of_scores(&[0.5, 0.25, 0.5], &[0.5, 0.0]).unwrap();
        let step = |score, genuine, impostor| Step { score, genuine, impostor };
        assert_eq!(steps(&tally), [step(0.0, 0, 1), step(0.25, 1, 0), step(0.5, 2, 1)]);
        let mut points = Vec::new();
        tally.points(|p| points.push((p.threshold, p.false_matches, p.false_non_matches)));
        assert_eq!(points, [(0.0, 2, 0), (0.25, 1, 0), (0.5, 1, 1)]);
    }

    #[test]
    fn pairs_without_a_score_are_accepted_at_no_threshold() {
        let plain = Tally::of_scores(&[0.5, 0.9], &[0.1, 0.6, 0.2]).unwrap();
        let tally = plain.with_failed(Failed { genuine: 2, impostor: 1 });
        assert_eq!((tally.genuine(), tally.impostor(), tally.acquired()), (4, 4, (2, 3)));
        let mut points = Vec::new();
        tally.points(|p| points.push((p.threshold, p.false_matches, p.false_non_matches)));
        assert_eq!(points, [(0.1, 3, 2), (0.2, 2, 2), (0.5, 1, 2), (0.6, 1, 3), (0.9, 0, 3)]);
        let at = tally.at(0.55);
        assert_eq!((at.false_matches, at.false_non_matches), (1, 3));
        assert_eq!((tally.fmr(&at), tally.fnmr(&at)), (0.25, 0.75));
    }

    #[test]
    fn zero_has_one_sign() {
        assert_eq!(steps(&Tally::of_scores(&[-0.0, 0.0], &[0.0]).unwrap()).len(), 1);
    }

    #[test]
    fn nan_and_missing_kinds_are_refused() {
        let message = |g: &[f64], i: &[f64]| Tally::of_scores(g, i).unwrap_err().to_string();
        assert!(message(&[0.1, f64::NAN], &[0.2]).contains("genuine score 2 of 2 is NaN"));
        assert!(message(&[0.1], &[]).contains("0 impostor"));
        assert!(message(&[], &[0.1]).contains("0 genuine"));
    }

    #[test]
    fn the_grid_counts_what_the_list_counts() {
        let genuine: Vec<f64> = (0..5_000).map(|i| (f64::from(i) * 0.37).sin() * 0.5 + 0.5).collect();
        let impostor: Vec<f64> =
            (0..70_000).map(|i| (f64::from(i) * 0.73).cos()).chain([-1.0, 1.0, 0.0, 1.000_000_1]).collect();
        let counted = || {
            let grid = GridCounter::default();
            let mut gatherer = grid.genuine();
            genuine.chunks(7).for_each(|part| gatherer.extend(part));
            drop(gatherer);
            std::thread::scope(|scope| {
                for half in impostor.chunks(40_000) {
                    let mut gatherer = grid.impostor();
                    scope.spawn(move || gatherer.extend(half));
                }
            });
            grid
        };
        let rounded = |scores: &[f64]| {
            scores.iter().map(|&s| (s.clamp(-1.0, 1.0) / GRID + 1e-6).floor() * GRID).collect::<Vec<_>>()
        };
        let list = Tally::of_scores(&rounded(&genuine), &rounded(&impostor)).unwrap();
        for (few, is_list) in [(75_003, false), (75_004, true)] {
            let tally = counted().finish_above(few).unwrap();
            assert_eq!((tally.genuine(), tally.impostor()), (5_000, 70_004));
            assert_eq!(matches!(tally.store, Store::Steps(_)), is_list);
            assert_eq!(steps(&tally), steps(&list));
        }
    }

    #[test]
    fn a_count_beyond_32_bits_is_kept() {
        let counts = Counts::new();
        counts.add(3, &[5]);
        counts.chunks[3].lock().unwrap()[5] = u32::MAX;
        counts.add(3, &[5, 5]);
        assert_eq!(counts.total(), (1 << 32) + 1);
        let seen = || {
            let mut seen = Vec::new();
            counts.sweep(&Counts::new(), |_, own, _| seen.push(own));
            seen
        };
        assert_eq!(seen(), [(1 << 32) + 1]);
        // Also where it is added up over the ranks, of which there is one here.
        counts.over_ranks(pdloss_embed::ranks::world());
        assert_eq!(seen(), [(1 << 32) + 1]);
    }
}
