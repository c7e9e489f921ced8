//! The figures of a tally beside the usual ones ([`Rates`](super::Rates)): at the best threshold, at stated priors and costs,
//! of the ROC's convex hull and of a part of the ROC, and of scores as log-likelihood ratios.

use super::{
    BestOf, Cost, Hter, Tally, actual_dcf, best, carries, cllr, eer_rocch, hter, min_cllr, min_dcf, partial_auc, pav,
};

/// The parts of the ROC, from FMR 0 on, whose area is reported.
pub const PARTS: [f64; 3] = [1e-1, 1e-2, 1e-3];

/// What an assessment is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What errors cost at each of these priors.
    pub costs: Vec<Cost>,
    /// Whether scores may be taken for natural log-likelihood ratios, as distances may not.
    pub ratios: bool,
    /// A threshold that was chosen on other pairs.
    pub threshold: Option<f64>,
}

/// Figures of one tally.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Accuracy, balanced accuracy and F1, each at its best threshold.
    pub best: BestOf,
    /// Equal error rate of the ROC's convex hull.
    pub eer_rocch: f64,
    /// Partial AUC for each of [`PARTS`]; `None` where the impostor pairs are too few for it.
    pub partial_auc: Vec<Option<f64>>,
    /// Each cost, its minimum, and where scores are ratios what it actually is.
    pub dcf: Vec<(Cost, f64, Option<f64>)>,
    /// Cost of the scores as log-likelihood ratios.
    pub cllr: Option<f64>,
    /// The least that it can be.
    pub min_cllr: f64,
    /// Rates at the threshold that was chosen on other pairs.
    pub hter: Option<Hter>,
}

impl Assessment {
    /// Takes every figure.
    pub fn of(tally: &Tally, asked: &Asked) -> Self {
        Self::over(tally, asked, |part| carries(tally.impostor(), part))
    }

    /// Takes every figure, with the partial areas that `carried` names.
    pub(super) fn over(tally: &Tally, asked: &Asked, carried: impl Fn(f64) -> bool) -> Self {
        let blocks = pav(tally);
        let areas = PARTS.iter().zip(partial_auc(tally, &PARTS));
        let dcf = asked.costs.iter().zip(min_dcf(tally, &asked.costs));
        Self {
            best: best(tally),
            eer_rocch: eer_rocch(tally, &blocks),
            partial_auc: areas.map(|(&part, area)| carried(part).then_some(area)).collect(),
            dcf: dcf.map(|(cost, least)| (*cost, least, asked.ratios.then(|| actual_dcf(tally, cost)))).collect(),
            cllr: asked.ratios.then(|| cllr(tally)),
            min_cllr: min_cllr(tally, &blocks),
            hter: asked.threshold.map(|threshold| hter(tally, threshold)),
        }
    }

    /// The figures by name; `None` where one has no value on these pairs.
    pub fn figures(&self) -> Vec<(String, Option<f64>)> {
        let mut figures = vec![
            ("best_accuracy".to_owned(), Some(self.best.accuracy.value)),
            ("best_balanced_accuracy".into(), Some(self.best.balanced_accuracy.value)),
            ("best_f1".into(), Some(self.best.f1.value)),
            ("eer_rocch".into(), Some(self.eer_rocch)),
        ];
        figures.extend(PARTS.iter().zip(&self.partial_auc).map(|(part, area)| (format!("pauc@fmr={part}"), *area)));
        figures.extend(self.dcf.iter().map(|(cost, least, _)| (format!("min_dcf@prior={}", cost.prior), Some(*least))));
        figures.extend(self.dcf.iter().map(|(cost, _, actual)| (format!("act_dcf@prior={}", cost.prior), *actual)));
        figures.extend([("cllr".to_owned(), self.cllr), ("min_cllr".into(), Some(self.min_cllr))]);
        figures.extend(self.hter.map(|found| ("hter".to_owned(), Some(found.value))));
        figures
    }
}
