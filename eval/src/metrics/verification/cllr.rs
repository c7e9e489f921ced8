//! Cost of log-likelihood ratios (Brümmer and du Preez 2006): how far scores that are taken for natural log-likelihood
//! ratios are from saying the right thing, in bits; 0 at best, 1 for scores that say nothing, more for misleading ones.
//!
//! `Cllr = 1/2 [ mean over genuine s of log2(1 + e^-s) + mean over impostor s of log2(1 + e^s) ]`
//!
//! Its minimum is the same of the best log-likelihood ratios that a rising map can make of the scores
//! ([`pav`](super::pav())): what is left is the fault of the scores' order alone, the rest is calibration.

use std::f64::consts::LN_2;

use super::{Block, Tally};

/// `ln(1 + e^x)`, without leaving what numbers hold.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// Cllr of `llr(score)`, a log-likelihood ratio. Pairs without a score do not count.
pub fn cllr_of(tally: &Tally, llr: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0_f64; 2];
    tally.sweep(|step| {
        let llr = llr(step.score);
        // a count of zero must not meet an infinite cost
        if step.genuine > 0 {
            sums[0] += step.genuine as f64 * softplus(-llr);
        }
        if step.impostor > 0 {
            sums[1] += step.impostor as f64 * softplus(llr);
        }
    });
    let (genuine, impostor) = tally.acquired();
    (sums[0] / genuine as f64 + sums[1] / impostor as f64) / (2.0 * LN_2)
}

/// Cllr of the scores as they are.
pub fn cllr(tally: &Tally) -> f64 {
    cllr_of(tally, |score| score)
}

/// The least Cllr that a rising map of the scores can have, of the tally's blocks.
pub fn min_cllr(tally: &Tally, blocks: &[Block]) -> f64 {
    let (genuine, impostor) = tally.acquired();
    let cost = |block: &Block| {
        let llr = block.llr(tally);
        let of_genuine = if block.genuine > 0 { block.genuine as f64 * softplus(-llr) / genuine as f64 } else { 0.0 };
        let of_impostor =
            if block.impostor > 0 { block.impostor as f64 * softplus(llr) / impostor as f64 } else { 0.0 };
        of_genuine + of_impostor
    };
    blocks.iter().map(cost).sum::<f64>() / (2.0 * LN_2)
}

#[cfg(test)]
mod tests {
    use super::super::{iris, pav};
    use super::*;

    fn both(genuine: &[f64], impostor: &[f64]) -> (f64, f64) {
        let tally = Tally::of_scores(genuine, impostor).unwrap();
        (cllr(&tally), min_cllr(&tally, &pav(&tally)))
    }

    #[test]
    fn agrees_with_other_packages() {
        // as bob.measure's tests have it
        let (plain, least) = both(&iris::VERSICOLOR_SEPAL, &iris::SETOSA_SEPAL);
        assert!((plain - 3.618_33).abs() < 1e-5, "{plain}");
        // scikit-learn 1.9.1's IsotonicRegression, which keeps equal scores together; bob.measure's 0.33736 sorts equal
        // scores by their kind, which no map of scores can do
        assert!((least - 0.403_062_010_535_587_14).abs() < 1e-12, "{least}");
        let (plain, least) = both(&iris::VIRGINICA_PETAL, &iris::SETOSA_PETAL);
        assert!((plain - 1.209_794_212_9).abs() < 1e-10, "{plain}");
        assert_eq!(least, 0.0);
    }

    #[test]
    fn agrees_with_cases_worked_by_hand() {
        assert_eq!(both(&[0.0, 0.0], &[0.0]), (1.0, 1.0));
        // genuine ln 3 and -ln 3, impostor -ln 3: (log2(4/3) + log2(4)) / 2 and log2(4/3), halved
        let ln3 = 3.0_f64.ln();
        let (plain, least) = both(&[ln3, -ln3], &[-ln3]);
        let third = (4.0_f64 / 3.0).log2();
        assert!((plain - ((third + 2.0) / 2.0 + third) / 2.0).abs() < 1e-15);
        // blocks: 1 genuine and 1 impostor (llr ln 1/2), 1 genuine: (log2(3) / 2 + log2(3/2)) / 2
        assert!((least - (3.0_f64.log2() / 2.0 + 1.5_f64.log2()) / 2.0).abs() < 1e-15, "{least}");
    }

    #[test]
    fn large_and_infinite_scores_have_their_cost() {
        assert_eq!(both(&[f64::INFINITY], &[f64::NEG_INFINITY]), (0.0, 0.0));
        assert_eq!(both(&[f64::NEG_INFINITY, 1.0], &[-1.0]).0, f64::INFINITY);
        let (plain, _) = both(&[-1e6], &[-1e6]);
        assert!((plain - 5e5 / LN_2).abs() < 1e-6, "{plain}");
    }
}
