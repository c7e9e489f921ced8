//! What a threshold decides: for each that the page offers how many pairs of either kind are decided wrongly.

use serde::Serialize;

use super::mistakes::threshold;
use crate::plot::scale::{grouped, percent, told};
use crate::runs::{Pair, Pairs};
use crate::table::Record;

/// Thresholds that the page offers.
const OFFERED: usize = 400;

/// Counts by threshold, and which the page begins with.
#[derive(Debug, Serialize)]
pub(super) struct Decisions {
    genuine: usize,
    impostor: usize,
    /// Threshold, impostor pairs accepted from it on, genuine pairs rejected below it; ascending.
    counts: Vec<(f64, usize, usize)>,
    /// The thresholds in digits that tell each from its neighbours.
    words: Vec<String>,
    /// Place of the EER's threshold.
    first: usize,
}

impl Decisions {
    /// The EER's threshold in words.
    pub(super) fn first_word(&self) -> &str {
        &self.words[self.first]
    }

    /// What the EER's threshold decides, for where no script runs.
    pub(super) fn first_said(&self) -> String {
        let (_, accepted, rejected) = self.counts[self.first];
        let of = |wrong: usize, all: usize| {
            let share = percent(wrong as f64 / all as f64);
            format!("{share}: {} of {}", grouped(wrong as u64), grouped(all as u64))
        };
        format!(
            "At the EER's threshold {}: FMR {} impostor pairs accepted; FNMR {} genuine pairs rejected. Other thresholds want JavaScript.",
            self.first_word(),
            of(accepted, self.impostor),
            of(rejected, self.genuine)
        )
    }

    /// For the page's script.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers are JSON")
    }
}

/// Nothing where one kind of pairs is missing, or no threshold is known.
pub(super) fn decisions(pairs: &Pairs, record: &Record) -> Option<Decisions> {
    let scores = |same: bool| {
        let mut scores: Vec<f64> = pairs.pairs.iter().filter(|p| p.same == same).map(|p: &Pair| p.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let (genuine, impostor, eer) = (scores(true), scores(false), threshold(record));
    if genuine.is_empty() || impostor.is_empty() || eer.is_nan() {
        return None;
    }
    let count = |at: f64| {
        let below = |scores: &[f64]| scores.partition_point(|&score| score < at);
        (at, impostor.len() - below(&impostor), below(&genuine))
    };
    let offered = offered(&genuine, &impostor, eer);
    let words = words(&offered);
    let counts: Vec<_> = offered.into_iter().map(count).collect();
    let first = counts.iter().position(|&(at, ..)| at >= eer)?;
    Some(Decisions { genuine: genuine.len(), impostor: impostor.len(), counts, words, first })
}

/// Scores that a threshold can stand at, each deciding otherwise than the one before: all of them, or as many, evenly taken from those
/// of either kind; always the EER's.
fn offered(genuine: &[f64], impostor: &[f64], eer: f64) -> Vec<f64> {
    let evenly = |scores: &[f64]| -> Vec<f64> {
        let count = scores.len().min(OFFERED / 2);
        (0..count).map(|n| scores[n * (scores.len() - 1) / (count - 1).max(1)]).collect()
    };
    let mut all = [evenly(genuine), evenly(impostor)].concat();
    // A score that rounding alone tells from it would be the same threshold with sixteen digits.
    all.retain(|score| (score - eer).abs() > 4.0 * f64::EPSILON * eer.abs());
    all.push(eer);
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// Ascending thresholds, each in digits that tell it from its neighbours; as many as most of them need, so that few have more.
fn words(thresholds: &[f64]) -> Vec<String> {
    let gaps: Vec<f64> = thresholds.windows(2).map(|two| two[1] - two[0]).collect();
    let mut usual = gaps.clone();
    usual.sort_by(f64::total_cmp);
    let usual = usual.get(usual.len() / 2).copied().unwrap_or(1e-3);
    let gap = |at: Option<usize>| at.and_then(|at| gaps.get(at)).copied().unwrap_or(f64::INFINITY);
    let word = |(at, &threshold): (usize, &f64)| told(threshold, gap(at.checked_sub(1)).min(gap(Some(at))).min(usual));
    thresholds.iter().enumerate().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_of_the_eer_is_offered_once() {
        let eer = 0.998_734_298_575_075_2_f64;
        let near = [0.9, f64::from_bits(eer.to_bits() - 1), 0.999];
        let found = offered(&near, &[0.1, f64::from_bits(eer.to_bits() + 1)], eer);
        assert_eq!(found, [0.1, 0.9, eer, 0.999]);
        assert!(words(&found).iter().all(|word| word.len() < 8), "{:?}", words(&found));
    }

    fn pair(same: bool, score: f64) -> Pair {
        Pair { a: 0, b: 1, same, score, fold: None, right: None }
    }

    fn record() -> Record {
        let mut record = Record::new();
        record.set("eer_threshold", 0.5);
        record
    }

    #[test]
    fn counts_are_those_of_the_pairs() {
        let scored = [(true, 0.4), (true, 0.5), (true, 0.9), (false, 0.1), (false, 0.5), (false, 0.6), (false, 0.2)];
        let pairs = Pairs { pairs: scored.map(|(same, score)| pair(same, score)).to_vec(), ..Pairs::default() };
        let found = decisions(&pairs, &record()).unwrap();
        let wanted = [(0.1, 4, 0), (0.2, 3, 0), (0.4, 2, 0), (0.5, 2, 1), (0.6, 1, 2), (0.9, 0, 2)];
        assert_eq!((found.counts, found.first), (wanted.to_vec(), 3));
        assert_eq!((found.genuine, found.impostor), (3, 4));
    }

    #[test]
    fn of_many_scores_some_hundreds_are_offered_with_both_ends() {
        let many = (0..5000).map(|n| pair(n % 3 == 0, f64::from(n) / 5000.0));
        let found = decisions(&Pairs { pairs: many.collect(), ..Pairs::default() }, &record()).unwrap();
        assert!((300..=OFFERED + 1).contains(&found.counts.len()), "{}", found.counts.len());
        assert_eq!((found.counts[0], found.counts[found.first].0), ((0.0, found.impostor, 0), 0.5));
        assert_eq!(found.counts.last().unwrap().1, 1, "the greatest impostor");
    }

    #[test]
    fn thresholds_are_told_apart_however_near_they_are() {
        assert_eq!(words(&[0.1, 0.2, 0.4]), ["0.100", "0.200", "0.400"]);
        let near: Vec<f64> = (0..300).map(|n| 1.0 - 1e-9 * f64::from(300 - n)).chain([1.0]).collect();
        let tiny: Vec<f64> = (0..300).map(|n| 1e-32 * f64::from(n)).collect();
        for all in [near, tiny, vec![-1.0, 0.999_999_1, 0.999_999_2, 0.999_999_3], vec![0.5]] {
            let words = words(&all);
            let distinct: std::collections::HashSet<&String> = words.iter().collect();
            assert_eq!(distinct.len(), all.len(), "{words:?}");
        }
    }

    #[test]
    fn without_either_kind_there_is_none() {
        let alone = Pairs { pairs: vec![pair(true, 0.3)], ..Pairs::default() };
        assert!(decisions(&alone, &record()).is_none());
        assert!(decisions(&Pairs::default(), &Record::new()).is_none());
    }
}
