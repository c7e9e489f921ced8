//! All measures of one tally.

use super::{AtFmr, Decidability, Eer, TARGETS, Tally, at_fmr, auc, carries, decidability, eer, zero_fmr, zero_fnmr};

/// Error rates and separation of genuine and impostor scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Genuine pairs.
    pub genuine: u64,
    /// Impostor pairs.
    pub impostor: u64,
    /// Equal error rate.
    pub eer: Eer,
    /// Area under the ROC curve.
    pub auc: f64,
    /// FNMR at each of [`TARGETS`].
    pub at: Vec<AtFmr>,
    /// Lowest FNMR without a false match.
    pub zero_fmr: f64,
    /// Lowest FMR without a false non-match.
    pub zero_fnmr: f64,
    /// Means, deviations and d'.
    pub decidability: Decidability,
    /// The share of themselves below which differences of scores are rounding, and the one below which they are known roughly.
    rounding: (f64, f64),
}

impl Rates {
    /// Takes every measure.
    pub fn of(tally: &Tally) -> Self {
        Self::over(tally, |target| carries(tally.impostor(), target))
    }

    /// Takes every measure, with a value at those targets that `carried` names.
    pub(super) fn over(tally: &Tally, carried: impl Fn(f64) -> bool) -> Self {
        let at = |(&target, reached)| AtFmr { target, reached: carried(target).then_some(reached) };
        Self {
            genuine: tally.genuine(),
            impostor: tally.impostor(),
            eer: eer(tally),
            auc: auc(tally),
            at: TARGETS.iter().zip(at_fmr(tally, &TARGETS)).map(at).collect(),
            zero_fmr: zero_fmr(tally),
            zero_fnmr: zero_fnmr(tally),
            decidability: decidability(tally),
            rounding: tally.rounding(),
        }
    }

    /// What makes these figures doubtful, in sentences: scores that look swapped, and scores that are all equal.
    pub fn doubts(&self) -> Vec<String> {
        let d = &self.decidability;
        let widest = d.sd_genuine.max(d.sd_impostor).max((d.mu_genuine - d.mu_impostor).abs());
        let pairs = self.genuine + self.impostor;
        if widest == 0.0 {
            return vec![format!("all {pairs} scores are equal: they tell nothing apart, and no figure says anything")];
        }
        let (size, (rounding, rough)) = (d.mu_genuine.abs().max(d.mu_impostor.abs()), self.rounding);
        let exact = "scores of fewer pairs are exact (a list of pairs, or up to 4096 images)";
        if widest < rounding * size {
            let cure = if rough > 0.0 { format!("; {exact}") } else { String::new() };
            return vec![format!(
                "all {pairs} scores are equal but for {widest:.1e}, which is rounding: no figure says anything{cure}"
            )];
        }
        let mut doubts = Vec::new();
        if widest < rough * size {
            doubts.push(format!(
                "all {pairs} scores are equal but for {widest:.1e}, and so many are counted to some 1e-7 only: every figure is rough; {exact}"
            ));
        }
        // Two deviations of the AUC of scores of one distribution (Mann and Whitney 1947): less may be chance.
        let (m, n) = (self.genuine as f64, self.impostor as f64);
        if 0.5 - self.auc <= 2.0 * ((m + n + 1.0) / (12.0 * m * n)).sqrt() {
            return doubts;
        }
        let d_prime = d.d_prime.map_or(String::new(), |d_prime| format!(" and d' {d_prime:.3}"));
        doubts.push(format!(
            "the scores look swapped: AUC is {:.3}{d_prime}, genuine pairs score lower than impostor pairs; are the two kinds \
             exchanged, or are these distances where scores are wanted, or scores where distances are?",
            self.auc
        ));
        doubts
    }

    /// The figures by name; `None` where one has no value on these pairs.
    pub fn figures(&self) -> Vec<(String, Option<f64>)> {
        let d = &self.decidability;
        let mut figures = vec![
            ("eer".to_owned(), Some(self.eer.value)),
            ("auc".into(), Some(self.auc)),
            ("d_prime".into(), d.d_prime),
        ];
        figures.extend(self.at.iter().map(|at| (format!("fnmr@fmr={}", at.target), at.reached.map(|r| r.fnmr))));
        figures.extend(self.at.iter().map(|at| (format!("tar@far={}", at.target), at.reached.map(|r| 1.0 - r.fnmr))));
        figures.extend([
            ("zero_fmr".into(), Some(self.zero_fmr)),
            ("zero_fnmr".into(), Some(self.zero_fnmr)),
            ("mu_genuine".into(), Some(d.mu_genuine)),
            ("mu_impostor".into(), Some(d.mu_impostor)),
            ("sd_genuine".into(), Some(d.sd_genuine)),
            ("sd_impostor".into(), Some(d.sd_impostor)),
        ]);
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::FLOAT64;
    use super::*;
    use crate::metrics::verification::{GRID, GridCounter};

    fn doubts(genuine: &[f64], impostor: &[f64]) -> Vec<String> {
        Rates::of(&Tally::of_scores(genuine, impostor).unwrap()).doubts()
    }

    #[test]
    fn swapped_and_equal_scores_are_doubtful() {
        assert_eq!(doubts(&[0.5, 0.9], &[0.1, 0.6]), [""; 0]);
        let swapped = doubts(&[0.1, 0.2, 0.3, 0.6], &[0.5, 0.7, 0.8, 0.9]);
        assert!(swapped[0].contains("look swapped: AUC is 0.06") && swapped[0].contains(" and d' -"), "{swapped:?}");
        assert_eq!(doubts(&[0.1, 0.6], &[0.5, 0.9]), [""; 0], "of so few it may be chance");
        let equal = doubts(&[0.5; 3], &[0.5; 4]);
        assert!(equal.len() == 1 && equal[0].contains("all 7 scores are equal:"), "{equal:?}");
        let rounded = doubts(&[0.5, 0.5 + 1e-9, 0.5], &[0.5 - 1e-9; 4]);
        assert!(rounded.len() == 1 && rounded[0].contains("all 7 scores are equal but for"), "{rounded:?}");
        assert_eq!(doubts(&[0.5, 0.5 + 1e-5, 0.5], &[0.5 - 1e-5; 4]), [""; 0]);
    }

    #[test]
    fn scores_are_equal_but_for_what_their_own_arithmetic_rounds() {
        // Cosines in float64 tell apart what float32 does not.
        let cosines = |apart: f64| {
            let tally = Tally::of_scores(&[1.0, 1.0 - apart], &[1.0 - 2.0 * apart, 1.0 - 3.0 * apart]).unwrap();
            Rates::of(&tally.with_rounding(FLOAT64)).doubts()
        };
        assert_eq!(cosines(1e-9), [""; 0]);
        assert!(cosines(1e-15)[0].contains("which is rounding"), "{:?}", cosines(1e-15));
        // Counted scores are rounded to the grid.
        let counted = |steps: f64| {
            let counter = GridCounter::default();
            let score = |step: f64| 0.75 - step * steps * GRID;
            counter.genuine().extend(&[score(0.0), score(1.0)]);
            counter.impostor().extend(&[score(2.0), score(3.0)]);
            Rates::of(&counter.finish().unwrap()).doubts()
        };
        assert!(counted(2.0)[0].contains("which is rounding"), "{:?}", counted(2.0));
        assert!(counted(2.0)[0].contains("scores of fewer pairs are exact"), "{:?}", counted(2.0));
        assert!(counted(200.0)[0].contains("every figure is rough"), "{:?}", counted(200.0));
        assert_eq!(counted(2000.0), [""; 0]);
    }
}
