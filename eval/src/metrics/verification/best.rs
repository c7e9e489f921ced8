//! The best that one threshold can do on these very pairs. It is chosen on the pairs that it is judged by, so it flatters:
//! accuracy over folds ([`cross_validate`](super::cross_validate())) and error rates at a threshold from elsewhere do not.
//!
//! With `TP` genuine and `FP` impostor pairs accepted, `FN` genuine and `TN` impostor pairs rejected:
//! `accuracy = (TP + TN) / all`, `balanced accuracy = 1 - (FMR + FNMR) / 2`, `F1 = 2 TP / (2 TP + FP + FN)`.
//!
//! Thresholds are observed scores and, beyond the highest, infinity. Of equally good ones the lowest is taken.

use super::{Point, Tally};

/// A figure at its best, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The figure.
    pub value: f64,
    /// The lowest threshold that has it.
    pub threshold: f64,
}

/// Each figure at its own best threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestOf {
    /// Share of right decisions.
    pub accuracy: Best,
    /// Mean of the shares of right decisions among genuine and among impostor pairs.
    pub balanced_accuracy: Best,
    /// Harmonic mean of precision and recall, genuine pairs being what is looked for.
    pub f1: Best,
}

/// The best of each figure. Where two thresholds differ by rounding alone, either may be taken.
pub fn best(tally: &Tally) -> BestOf {
    let (genuine, impostor) = (tally.genuine(), tally.impostor());
    let figures = |p: &Point| {
        let accepted = (genuine - p.false_non_matches) as f64;
        let wrong = (p.false_matches + p.false_non_matches) as f64;
        let accuracy = 1.0 - wrong / (genuine + impostor) as f64;
        [accuracy, 1.0 - (tally.fmr(p) + tally.fnmr(p)) / 2.0, 2.0 * accepted / (2.0 * accepted + wrong)]
    };
    let mut found = [Best { value: f64::NEG_INFINITY, threshold: f64::NEG_INFINITY }; 3];
    let mut look = |p: &Point| {
        for (found, value) in found.iter_mut().zip(figures(p)) {
            if value > found.value {
                *found = Best { value, threshold: p.threshold };
            }
        }
    };
    tally.points(&mut look);
    look(&Point { threshold: f64::INFINITY, false_matches: 0, false_non_matches: genuine });
    let [accuracy, balanced_accuracy, f1] = found;
    BestOf { accuracy, balanced_accuracy, f1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // thresholds  1    2    3    4    5
        // accepted   g2i3 g2i2 g1i2 g1i1 g1i0 of genuine 2, 5 and impostor 1, 3, 4
        let found = best(&Tally::of_scores(&[2.0, 5.0], &[1.0, 3.0, 4.0]).unwrap());
        // right: 2 3 2 3 4 of 5
        assert_eq!(found.accuracy, Best { value: 1.0 - 1.0 / 5.0, threshold: 5.0 });
        // at 5: (1 + 1/2) / 2; at 2: (1/3 + 1) / 2
        assert_eq!(found.balanced_accuracy, Best { value: 0.75, threshold: 5.0 });
        // 2 TP / (2 TP + wrong): 4/7, 4/6, 2/5, 2/4, 2/3: equal at 2 and 5
        assert_eq!(found.f1, Best { value: 2.0 / 3.0, threshold: 2.0 });
    }

    #[test]
    fn rejecting_all_may_be_best() {
        let found = best(&Tally::of_scores(&[0.0], &[1.0, 2.0, 3.0]).unwrap());
        assert_eq!(found.accuracy, Best { value: 0.75, threshold: f64::INFINITY });
        assert_eq!(found.balanced_accuracy, Best { value: 0.5, threshold: 0.0 });
        assert_eq!(found.f1, Best { value: 0.4, threshold: 0.0 });
    }
}
