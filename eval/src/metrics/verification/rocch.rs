//! Equal error rate of the ROC's convex hull: where the straight lines between the hull's corners have `FMR = FNMR`
//! (Brümmer and de Villiers 2011, the BOSARIS toolkit). Unlike other equal error rates it depends on no rule for ties and
//! gaps: it is the error that the best mixture of two thresholds has at the prior that is worst for it.
//!
//! The corners are the ends of the [`pav`](super::pav()) blocks. With `a` the corner before the crossing and `b` the one behind it,
//! `EER = (FMR_a FNMR_b - FMR_b FNMR_a) / (FMR_a - FNMR_a - FMR_b + FNMR_b)`.

use super::{Block, Tally};

/// The equal error rate of the hull whose corners are the ends of these blocks. Pairs without a score do not count.
pub fn eer_rocch(tally: &Tally, blocks: &[Block]) -> f64 {
    let (genuine, impostor) = tally.acquired();
    let (genuine, impostor) = (genuine as f64, impostor as f64);
    let (mut rejected, mut impostor_rejected) = (0, 0);
    let mut before = (1.0, 0.0);
    for block in blocks {
        rejected += block.genuine;
        impostor_rejected += block.impostor;
        let (fmr, fnmr) = (1.0 - impostor_rejected as f64 / impostor, rejected as f64 / genuine);
        if fnmr >= fmr {
            let (fmr_before, fnmr_before) = before;
            return (fmr_before * fnmr - fmr * fnmr_before) / (fmr_before - fnmr_before - fmr + fnmr);
        }
        before = (fmr, fnmr);
    }
    // The last corner rejects all: its FNMR is 1, its FMR 0.
    0.5
}

#[cfg(test)]
mod tests {
    use super::super::iris;
    use super::super::pav;
    use super::*;

    fn of(genuine: &[f64], impostor: &[f64]) -> f64 {
        let tally = Tally::of_scores(genuine, impostor).unwrap();
        eer_rocch(&tally, &pav(&tally))
    }

    #[test]
    fn agrees_with_bosaris() {
        // BOSARIS 1.06 of Fisher's irises, as bob.measure's tests have it
        assert!((of(&iris::VERSICOLOR_SEPAL, &iris::SETOSA_SEPAL) - 0.116_363_636_363_636).abs() < 1e-12);
        assert_eq!(of(&iris::VIRGINICA_PETAL, &iris::SETOSA_PETAL), 0.0);
    }

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // corners (FMR, FNMR): (1, 0), (3/4, 0), (1/4, 1/4), ...: they meet at 1/4
        assert_eq!(of(&[2.0, 4.0, 5.0, 5.0], &[1.0, 3.0, 3.0, 4.0]), 0.25);
        // corners (1, 0), (0, 1): nothing is told apart
        assert_eq!(of(&[1.0, 1.0], &[1.0]), 0.5);
        // worst of all, the hull is still the diagonal
        assert_eq!(of(&[0.0, 1.0], &[2.0, 3.0]), 0.5);
        // corners (1, 0), (1/2, 0), (0, 1/3): 1/2 1/3 / (1/2 + 1/3)
        assert!((of(&[1.0, 2.0, 2.0], &[0.0, 1.5]) - 0.2).abs() < 1e-15);
    }
}
