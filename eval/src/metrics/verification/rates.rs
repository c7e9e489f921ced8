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
        }
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
