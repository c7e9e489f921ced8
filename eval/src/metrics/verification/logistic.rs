//! Logistic calibration (Platt 2000; Brümmer and du Preez 2006): the straight line `llr(s) = slope s + offset` that makes
//! scores into natural log-likelihood ratios with the least [`cllr_of`](super::cllr_of()). It is logistic regression in which genuine
//! and impostor pairs weigh the same in all, so that its line does not depend on how many of each there are.
//!
//! Newton's method, each step halved until the cost falls; scores are first moved and scaled about their means.

use std::f64::consts::LN_2;

use super::{Tally, cllr_of, decidability};

/// A line from scores to natural log-likelihood ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Ratio gained for each unit of score.
    pub slope: f64,
    /// Ratio of a score of 0.
    pub offset: f64,
}

impl Line {
    /// The log-likelihood ratio of a score.
    pub fn llr(&self, score: f64) -> f64 {
        self.slope * score + self.offset
    }
}

/// Steps that are made at most; a handful is usual.
const STEPS: usize = 100;
/// The cost is at its least once a step would lower it by less than this, in bits.
const DONE: f64 = 1e-14;

/// The line that is best on these pairs; `None` where there is none: scores without spread or not finite, or genuine and
/// impostor scores that do not overlap, for which a steeper line is always better.
pub fn logistic(tally: &Tally) -> Option<Line> {
    let about = decidability(tally);
    let middle = (about.mu_genuine + about.mu_impostor) / 2.0;
    let spread = about.sd_genuine.hypot(about.sd_impostor).hypot(about.mu_genuine - about.mu_impostor);
    if !(middle.is_finite() && spread.is_finite() && spread > 0.0) || is_apart(tally) {
        return None;
    }
    let (genuine, impostor) = tally.acquired();
    let (genuine, impostor) = (0.5 / genuine as f64, 0.5 / impostor as f64);
    let unit = |score: f64| (score - middle) / spread;
    let cost = |line: (f64, f64)| cllr_of(tally, |score| line.0 * unit(score) + line.1);
    let mut line = (0.0, 0.0);
    let mut least = cost(line);
    for _ in 0..STEPS {
        // slope and curvature of the cost, in nats
        let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 0.0, 0.0, 0.0);
        tally.sweep(|step| {
            let x = unit(step.score);
            let is_genuine = 1.0 / (1.0 + (-(line.0 * x + line.1)).exp());
            let (of_genuine, of_impostor) = (step.genuine as f64 * genuine, step.impostor as f64 * impostor);
            let slope = (of_genuine + of_impostor) * is_genuine - of_genuine;
            let bend = (of_genuine + of_impostor) * is_genuine * (1.0 - is_genuine);
            g0 += slope * x;
            g1 += slope;
            h00 += bend * x * x;
            h01 += bend * x;
            h11 += bend;
        });
        let determinant = h00 * h11 - h01 * h01;
        if determinant <= 0.0 {
            break;
        }
        let step = ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant);
        // What the whole step should gain, of which half is the quadratic part.
        if (step.0 * g0 + step.1 * g1) / 2.0 < DONE * LN_2 {
            break;
        }
        let halved = (0..60).map(|n| 0.5_f64.powi(n)).find_map(|part| {
            let next = (line.0 - part * step.0, line.1 - part * step.1);
            let cost = cost(next);
            (cost < least).then_some((next, cost))
        });
        let Some((next, cost)) = halved else { break };
        (line, least) = (next, cost);
    }
    Some(Line { slope: line.0 / spread, offset: line.1 - line.0 * middle / spread })
}

/// Whether a threshold has all genuine pairs on its one side, or on it, and all impostor pairs on the other.
fn is_apart(tally: &Tally) -> bool {
    let mut ends = [(f64::INFINITY, f64::NEG_INFINITY); 2];
    tally.sweep(|step| {
        for (ends, count) in ends.iter_mut().zip([step.genuine, step.impostor]) {
            if count > 0 {
                *ends = (ends.0.min(step.score), ends.1.max(step.score));
            }
        }
    });
    ends[0].0 >= ends[1].1 || ends[1].0 >= ends[0].1
}

#[cfg(test)]
mod tests {
    use super::super::{cllr, iris};
    use super::*;

    #[test]
    fn agrees_with_scikit_learn() {
        // LogisticRegression(C=inf, class_weight="balanced") of 1.9.1, and its Cllr
        let tally = Tally::of_scores(&iris::VERSICOLOR_SEPAL, &iris::SETOSA_SEPAL).unwrap();
        let line = logistic(&tally).unwrap();
        assert!(
            (line.slope - 5.140336137856077).abs() < 1e-5 && (line.offset - -27.831450986851603).abs() < 1e-4,
            "{line:?}"
        );
        assert!((cllr_of(&tally, |score| line.llr(score)) - 0.4631864010059168).abs() < 1e-10);
    }

    #[test]
    fn two_scores_have_the_ratio_of_their_counts() {
        // at 1: 3 of 4 genuine, 1 of 4 impostor: ln 3; at 0: ln 1/3
        let tally = Tally::of_scores(&[1.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 0.0, 1.0]).unwrap();
        let line = logistic(&tally).unwrap();
        let ln3 = 3.0_f64.ln();
        assert!((line.llr(1.0) - ln3).abs() < 1e-9 && (line.llr(0.0) + ln3).abs() < 1e-9, "{line:?}");
        // how many impostors there are changes nothing
        let more = Tally::of_scores(&[1.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).unwrap();
        assert!((logistic(&more).unwrap().llr(1.0) - ln3).abs() < 1e-9);
    }

    #[test]
    fn any_scale_of_scores_is_calibrated_alike() {
        let scaled = |list: &[f64], by: f64| list.iter().map(|s| s * by + 3.0 * by).collect::<Vec<_>>();
        let of = |by: f64| {
            let (genuine, impostor) = (scaled(&iris::VERSICOLOR_SEPAL, by), scaled(&iris::SETOSA_SEPAL, by));
            let tally = Tally::of_scores(&genuine, &impostor).unwrap();
            let line = logistic(&tally).unwrap();
            cllr_of(&tally, |score| line.llr(score))
        };
        assert!((of(1.0) - of(1e-9)).abs() < 1e-10 && (of(1.0) - of(-1e9)).abs() < 1e-10);
    }

    #[test]
    fn what_no_line_fits_best_has_none() {
        let of = |genuine: &[f64], impostor: &[f64]| logistic(&Tally::of_scores(genuine, impostor).unwrap());
        assert_eq!(of(&iris::VIRGINICA_PETAL, &iris::SETOSA_PETAL), None);
        assert_eq!(of(&[1.0, 2.0], &[0.5, 1.0]), None);
        assert_eq!(of(&[1.0, 1.0], &[1.0]), None);
        assert_eq!(of(&[f64::INFINITY, 0.0], &[1.0]), None);
    }

    #[test]
    fn calibrated_scores_cost_no_more_than_plain_ones() {
        let tally = Tally::of_scores(&iris::VERSICOLOR_SEPAL, &iris::SETOSA_SEPAL).unwrap();
        let line = logistic(&tally).unwrap();
        assert!(cllr_of(&tally, |score| line.llr(score)) < cllr(&tally));
    }
}
