//! Detection cost: what decisions cost where genuine pairs come with probability `P`, a false non-match costs `C_miss` and a
//! false match `C_fm` (NIST's speaker recognition evaluations; Brümmer 2010), as a share of the cost of the better of
//! accepting all and rejecting all:
//!
//! `DCF(t) = [C_miss P FNMR(t) + C_fm (1 - P) FMR(t)] / min(C_miss P, C_fm (1 - P))`
//!
//! Its minimum is over all thresholds. The actual cost is at the threshold that a log-likelihood ratio should have,
//! `t = ln(C_fm (1 - P) / (C_miss P))`: it is above the minimum where scores are no such ratios.

use super::{Point, Tally};

/// How likely genuine pairs are, and what errors cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Probability that a pair is genuine, between 0 and 1.
    pub prior: f64,
    /// Cost of a false non-match.
    pub miss: f64,
    /// Cost of a false match.
    pub false_match: f64,
}

impl Cost {
    /// The cost at a point, as a share of that of the better default.
    fn at(&self, tally: &Tally, point: &Point) -> f64 {
        let (miss, false_match) = (self.miss * self.prior, self.false_match * (1.0 - self.prior));
        (miss * tally.fnmr(point) + false_match * tally.fmr(point)) / miss.min(false_match)
    }

    /// The threshold of a log-likelihood ratio.
    pub fn threshold(&self) -> f64 {
        (self.false_match * (1.0 - self.prior)).ln() - (self.miss * self.prior).ln()
    }
}

/// The least cost over the observed thresholds and rejecting all; for each of these costs.
pub fn min_dcf(tally: &Tally, costs: &[Cost]) -> Vec<f64> {
    let none = Point { threshold: f64::INFINITY, false_matches: 0, false_non_matches: tally.genuine() };
    let mut least: Vec<f64> = costs.iter().map(|cost| cost.at(tally, &none)).collect();
    tally.points(|point| {
        for (least, cost) in least.iter_mut().zip(costs) {
            *least = least.min(cost.at(tally, point));
        }
    });
    least
}

/// The cost where scores are taken for natural log-likelihood ratios.
pub fn actual_dcf(tally: &Tally, cost: &Cost) -> f64 {
    cost.at(tally, &tally.at(cost.threshold()))
}

/// The cost where `llr(score)` is a natural log-likelihood ratio.
pub fn actual_dcf_of(tally: &Tally, cost: &Cost, llr: impl Fn(f64) -> f64) -> f64 {
    let threshold = cost.threshold();
    let (mut genuine, mut impostor) = (0, 0);
    tally.sweep(|step| {
        if llr(step.score) >= threshold {
            genuine += step.genuine;
            impostor += step.impostor;
        }
    });
    cost.at(tally, &Point { threshold, false_matches: impostor, false_non_matches: tally.genuine() - genuine })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: Cost = Cost { prior: 0.5, miss: 1.0, false_match: 1.0 };

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // thresholds -2 -1 0 1 2: FMR 1 2/3 1/3 1/3 0, FNMR 0 0 0 1/2 1/2
        let tally = Tally::of_scores(&[0.0, 2.0], &[-2.0, -1.0, 1.0]).unwrap();
        // even: FMR + FNMR, least 1/3 at 0, which is also the threshold of a ratio
        assert!((min_dcf(&tally, &[EVEN])[0] - 1.0 / 3.0).abs() < 1e-15);
        assert!((actual_dcf(&tally, &EVEN) - 1.0 / 3.0).abs() < 1e-15);
        // P 0.1: FNMR + 9 FMR, least 1/2 at 2; the threshold ln 9 = 2.197 rejects all, which costs 1
        let rare = Cost { prior: 0.1, ..EVEN };
        assert!((min_dcf(&tally, &[EVEN, rare])[1] - 0.5).abs() < 1e-15);
        assert!((actual_dcf(&tally, &rare) - 1.0).abs() < 1e-15);
        assert!((actual_dcf_of(&tally, &EVEN, |score| -score) - 3.0 / 2.0 + 1.0 / 3.0).abs() < 1e-15);
        // a miss that costs nine times as much evens that prior out
        let dear = Cost { prior: 0.1, miss: 9.0, false_match: 1.0 };
        assert!((min_dcf(&tally, &[dear])[0] - 1.0 / 3.0).abs() < 1e-15 && dear.threshold().abs() < 1e-15);
    }

    #[test]
    fn rejecting_all_is_one_of_the_choices() {
        // an impostor on top, as in bob.measure's test of minDCF: at P 0.01 nothing is better than rejecting all
        let tally = Tally::of_scores(&[0.5, 3.0], &[-3.0, -2.0, -1.0, -0.5, 4.0]).unwrap();
        assert_eq!(min_dcf(&tally, &[Cost { prior: 0.01, ..EVEN }]), [1.0]);
    }
}
