//! Accuracy as LFW's protocol states it (Huang et al. 2007, View 2): the threshold of each fold is the one most accurate
//! on all other folds; the result is the mean over folds with its standard error.
//!
//! Candidate thresholds are the midpoints between neighbouring distinct scores of the training folds, and the two ends
//! (accept all, reject all). Of equally accurate thresholds the lowest is taken.

use crate::{Error, Result};

/// How pairs were divided into folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// As the list itself says.
    Listed,
    /// Contiguous parts of the list.
    Contiguous,
    /// Each class cut into contiguous parts by itself.
    Balanced,
}

/// A fold for each pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// The fold of each pair, from 0.
    pub of: Vec<usize>,
    /// How many.
    pub count: usize,
    /// How they were made.
    pub division: Division,
}

/// Folds where a list names none: as many as LFW has.
const USUAL: usize = 10;

impl Folds {
    /// Folds that a list names.
    pub fn listed(of: Vec<usize>) -> Self {
        let count = of.iter().max().map_or(0, |last| last + 1);
        Self { of, count, division: Division::Listed }
    }

    /// Ten contiguous parts; where one of them would hold a single class (lists with all genuine pairs first), ten parts of
    /// each class instead. Fewer where a class has fewer than ten pairs; `None` where it has fewer than two.
    pub fn make(same: &[bool]) -> Option<Self> {
        let genuine = same.iter().filter(|&&s| s).count();
        let count = USUAL.min(genuine).min(same.len() - genuine);
        if count < 2 {
            return None;
        }
        let part = |at: usize, of: usize| at * count / of;
        let contiguous: Vec<usize> = (0..same.len()).map(|at| part(at, same.len())).collect();
        let mut seen = vec![[false; 2]; count];
        contiguous.iter().zip(same).for_each(|(&fold, &same)| seen[fold][usize::from(same)] = true);
        if seen.iter().all(|both| both[0] && both[1]) {
            return Some(Self { of: contiguous, count, division: Division::Contiguous });
        }
        let mut passed = [0_usize; 2];
        let totals = [same.len() - genuine, genuine];
        let balanced = same.iter().map(|&same| {
            let class = usize::from(same);
            passed[class] += 1;
            part(passed[class] - 1, totals[class])
        });
        Some(Self { of: balanced.collect(), count, division: Division::Balanced })
    }

    /// What is to be said of folds of very different size, of which accuracy is the mean all the same.
    pub fn doubt(&self) -> Option<String> {
        /// Parts of one list differ by a pair; folds of people, by some.
        const APART: usize = 3;
        let mut sizes = vec![0_usize; self.count];
        self.of.iter().for_each(|&fold| sizes[fold] += 1);
        let (least, most) = (sizes.iter().min()?, sizes.iter().max()?);
        (*most >= APART * least).then(|| {
            format!("folds have {least} to {most} pairs: accuracy is the mean of folds, in which a pair of a small one counts for more")
        })
    }

    /// In words, for the table.
    pub fn describe(&self) -> String {
        match self.division {
            Division::Listed => format!("{} from the list", self.count),
            Division::Contiguous => format!("{} contiguous parts of the list", self.count),
            Division::Balanced => {
                format!("{} CLASS-BALANCED parts (contiguous ones would hold one class only)", self.count)
            }
        }
    }
}

/// One fold's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fold {
    /// Genuine pairs tested.
    pub genuine: usize,
    /// Impostor pairs tested.
    pub impostor: usize,
    /// The threshold, chosen elsewhere.
    pub threshold: f64,
    /// Share of right decisions.
    pub accuracy: f64,
}

/// Accuracy over folds.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// Fold by fold.
    pub folds: Vec<Fold>,
    /// Mean over folds.
    pub mean: f64,
    /// Sample standard deviation over folds, divided by the root of their number; `None` for one fold.
    pub standard_error: Option<f64>,
    /// Standard deviation over folds as `numpy.std` has it; `None` for one fold.
    pub std_population: Option<f64>,
}

impl Accuracy {
    fn of(folds: Vec<Fold>) -> Self {
        let count = folds.len() as f64;
        let mean = folds.iter().map(|f| f.accuracy).sum::<f64>() / count;
        let squares = folds.iter().map(|f| (f.accuracy - mean).powi(2)).sum::<f64>();
        let several = folds.len() > 1;
        Self {
            mean,
            standard_error: several.then(|| (squares / (count - 1.0)).sqrt() / count.sqrt()),
            std_population: several.then(|| (squares / count).sqrt()),
            folds,
        }
    }
}

/// Scores of pairs, and whether they are genuine.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// One a pair, none NaN; greater is more alike.
    pub scores: &'a [f64],
    /// Whether the pair is genuine.
    pub same: &'a [bool],
}

impl Decisions<'_> {
    fn right(&self, at: usize, threshold: f64) -> bool {
        (self.scores[at] >= threshold) == self.same[at]
    }

    /// Pairs in ascending order of score.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_unstable_by(|&a, &b| self.scores[a].total_cmp(&self.scores[b]));
        order
    }
}

/// The most accurate threshold on all pairs.
pub fn best_threshold(on: &Decisions<'_>) -> f64 {
    best_among(on, &on.order(), |_| true)
}

/// The most accurate threshold on the pairs that `wanted` accepts, at least one.
fn best_among(on: &Decisions<'_>, order: &[usize], wanted: impl Fn(usize) -> bool) -> f64 {
    let training: Vec<usize> = order.iter().copied().filter(|&at| wanted(at)).collect();
    let score = |rank: usize| on.scores[training[rank]];
    // Everything accepted: right where genuine. Each score that falls below the threshold changes that by one.
    let mut right: i64 = training.iter().map(|&at| i64::from(on.same[at])).sum();
    let mut best = (right, training.first().map_or(f64::INFINITY, |&at| on.scores[at]));
    for rank in 0..training.len() {
        right += if on.same[training[rank]] { -1 } else { 1 };
        let threshold = match training.get(rank + 1) {
            Some(_) if score(rank + 1) == score(rank) => continue,
            Some(_) => between(score(rank), score(rank + 1)),
            None => score(rank).next_up(),
        };
        if right > best.0 {
            best = (right, threshold);
        }
    }
    best.1
}

/// The midpoint of two scores; the upper one where no number lies between, so that the lower is still rejected.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    if middle > low && middle <= high { middle } else { high }
}

/// Each fold tested at the threshold that is best on all others.
///
/// # Errors
/// [`Error::Measure`] for fewer than two folds, an empty one, or folds whose others hold one class only.
pub fn cross_validate(on: &Decisions<'_>, folds: &Folds) -> Result<Accuracy> {
    if folds.count < 2 {
        return Err(Error::Measure(
            "one fold has no others to choose its threshold on; give --threshold-pairs, or a list of two folds or more"
                .into(),
        ));
    }
    let order = on.order();
    let mut done = Vec::with_capacity(folds.count);
    for fold in 0..folds.count {
        let (test, training): (Vec<usize>, Vec<usize>) = (0..on.scores.len()).partition(|&at| folds.of[at] == fold);
        let genuine = training.iter().filter(|&&at| on.same[at]).count();
        if test.is_empty() || genuine == 0 || genuine == training.len() {
            return Err(Error::Measure(format!(
                "fold {} of {}: {} pairs to test, {genuine} genuine and {} impostor pairs to choose its threshold on; all must be there",
                fold + 1,
                folds.count,
                test.len(),
                training.len() - genuine
            )));
        }
        let threshold = best_among(on, &order, |at| folds.of[at] != fold);
        done.push(tested(on, &test, threshold));
    }
    Ok(Accuracy::of(done))
}

/// Every fold tested at one threshold that was chosen on other pairs.
pub fn test_at(on: &Decisions<'_>, folds: Option<&Folds>, threshold: f64) -> Accuracy {
    let all: Vec<usize> = (0..on.scores.len()).collect();
    let parts: Vec<Vec<usize>> = match folds {
        None => vec![all],
        Some(folds) => {
            (0..folds.count).map(|fold| all.iter().copied().filter(|&at| folds.of[at] == fold).collect()).collect()
        }
    };
    Accuracy::of(parts.iter().filter(|part| !part.is_empty()).map(|part| tested(on, part, threshold)).collect())
}

fn tested(on: &Decisions<'_>, test: &[usize], threshold: f64) -> Fold {
    let genuine = test.iter().filter(|&&at| on.same[at]).count();
    let right = test.iter().filter(|&&at| on.right(at, threshold)).count();
    Fold { genuine, impostor: test.len() - genuine, threshold, accuracy: right as f64 / test.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_lowest_best_midpoint() {
        let on = Decisions { scores: &[0.1, 0.4, 0.6, 0.8], same: &[false, false, true, true] };
        assert_eq!(best_threshold(&on), 0.5);
        // cutting below 0.4 or above 0.6 is right three times of four
        let tied = Decisions { scores: &[0.2, 0.4, 0.6, 0.8], same: &[false, true, false, true] };
        assert!((best_threshold(&tied) - 0.3).abs() < 1e-15);
    }

    #[test]
    fn the_ends_accept_or_reject_all() {
        assert_eq!(best_threshold(&Decisions { scores: &[0.3, 0.2], same: &[true, true] }), 0.2);
        assert_eq!(best_threshold(&Decisions { scores: &[0.3, 0.2], same: &[false, false] }), 0.3_f64.next_up());
    }

    #[test]
    fn neighbouring_numbers_have_no_midpoint() {
        let low = 0.5_f64;
        assert_eq!(between(low, low.next_up()), low.next_up());
    }

    #[test]
    fn a_fold_is_judged_by_the_others() {
        // two folds with different best thresholds: each is tested at the other's
        let scores = [0.1, 0.9, 0.1, 0.3];
        let same = [false, true, false, true];
        let folds = Folds::listed(vec![0, 0, 1, 1]);
        let found = cross_validate(&Decisions { scores: &scores, same: &same }, &folds).unwrap();
        assert_eq!(found.folds[0].threshold, 0.2);
        assert_eq!(found.folds[1].threshold, 0.5);
        assert_eq!((found.folds[0].accuracy, found.folds[1].accuracy), (1.0, 0.5));
        assert_eq!(found.mean, 0.75);
        assert_eq!(found.std_population, Some(0.25));
        // sample deviation 0.25 * sqrt(2), over sqrt(2)
        assert!((found.standard_error.unwrap() - 0.25).abs() < 1e-15);
    }

    #[test]
    fn one_class_blocks_are_balanced() {
        let blocks: Vec<bool> = (0..40).map(|at| at < 20).collect();
        let folds = Folds::make(&blocks).unwrap();
        assert_eq!((folds.count, folds.division), (10, Division::Balanced));
        for fold in 0..10 {
            let of: Vec<bool> = blocks.iter().zip(&folds.of).filter(|(_, f)| **f == fold).map(|(s, _)| *s).collect();
            assert_eq!(of.iter().filter(|&&s| s).count(), 2);
            assert_eq!(of.len(), 4);
        }
        let mixed: Vec<bool> = (0..40).map(|at| at % 2 == 0).collect();
        assert_eq!(Folds::make(&mixed).unwrap().division, Division::Contiguous);
        assert_eq!(Folds::make(&[true, true, false]), None);
    }

    #[test]
    fn a_fold_without_pairs_is_an_error() {
        let on = Decisions { scores: &[0.1, 0.9], same: &[false, true] };
        assert!(cross_validate(&on, &Folds::listed(vec![0, 2])).unwrap_err().to_string().contains("fold 1 of 3"));
    }
}
