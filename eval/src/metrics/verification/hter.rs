//! Half total error rate, `HTER(t) = (FMR(t) + FNMR(t)) / 2`, at a threshold that was chosen on other pairs (Bengio and
//! Mariéthoz 2004: expected performance): that of the equal error rate of a development list.

use super::Tally;

/// Rates at a threshold from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hter {
    /// The threshold.
    pub threshold: f64,
    /// FMR there.
    pub fmr: f64,
    /// FNMR there.
    pub fnmr: f64,
    /// Their mean.
    pub value: f64,
}

/// The rates at a threshold, and their mean.
pub fn hter(tally: &Tally, threshold: f64) -> Hter {
    let point = tally.at(threshold);
    let (fmr, fnmr) = (tally.fmr(&point), tally.fnmr(&point));
    Hter { threshold, fmr, fnmr, value: (fmr + fnmr) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::super::eer;
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // the development list's rates meet at 4 (1/3 each)
        let development = Tally::of_scores(&[3.0, 5.0, 6.0], &[1.0, 2.0, 4.0]).unwrap();
        let tally = Tally::of_scores(&[3.9, 4.0, 7.0, 8.0], &[0.0, 4.1]).unwrap();
        let found = hter(&tally, eer(&development).threshold);
        assert_eq!(found, Hter { threshold: 4.0, fmr: 0.5, fnmr: 0.25, value: 0.375 });
    }
}
