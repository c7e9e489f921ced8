//! Decidability (Daugman 2000): how far apart the two distributions are, in units of their spread:
//! `d' = (mu_genuine - mu_impostor) / sqrt((sigma_genuine^2 + sigma_impostor^2) / 2)`, population deviations. Daugman takes
//! its absolute value; here, as in the loss, it keeps its sign: negative where genuine pairs score lower than impostors.

use super::Tally;

/// Means, deviations and d'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decidability {
    /// `None` where neither distribution has any spread.
    pub d_prime: Option<f64>,
    /// Mean genuine score.
    pub mu_genuine: f64,
    /// Mean impostor score.
    pub mu_impostor: f64,
    /// Population standard deviation of genuine scores.
    pub sd_genuine: f64,
    /// Population standard deviation of impostor scores.
    pub sd_impostor: f64,
}

/// Scores between these need no other unit: their squares and sums are numbers.
const ORDINARY: std::ops::Range<f64> = 1e-120..1e120;

/// A power of two by which scores are multiplied so that neither their sums nor their squares leave what numbers hold.
fn unit(tally: &Tally) -> f64 {
    let mut most = 0.0_f64;
    tally.sweep(|step| {
        if step.score.is_finite() {
            most = most.max(step.score.abs());
        }
    });
    if most == 0.0 || ORDINARY.contains(&most) { 1.0 } else { 2_f64.powi(if most > 1.0 { -960 } else { 960 }) }
}

/// Means and deviations of a tally, in two sweeps: the second about the means of the first. Sums are taken of what scores
/// lie away from one of them, so that equal scores have no spread, however many they are. Pairs without a score do not count.
pub fn decidability(tally: &Tally) -> Decidability {
    let (genuine, impostor) = tally.acquired();
    let (genuine, impostor) = (genuine as f64, impostor as f64);
    let unit = unit(tally);
    let mut first = None;
    tally.sweep(|step| {
        if step.score.is_finite() {
            first.get_or_insert(step.score * unit);
        }
    });
    let first = first.unwrap_or(0.0);
    let mut sums = [0.0_f64; 2];
    tally.sweep(|step| {
        // a count of zero must not meet an infinite score
        if step.genuine > 0 {
            sums[0] += step.genuine as f64 * (step.score * unit - first);
        }
        if step.impostor > 0 {
            sums[1] += step.impostor as f64 * (step.score * unit - first);
        }
    });
    // Means, seen from the first score.
    let (mu_genuine, mu_impostor) = (sums[0] / genuine, sums[1] / impostor);
    let mut squares = [0.0_f64; 2];
    tally.sweep(|step| {
        if step.genuine > 0 {
            squares[0] += step.genuine as f64 * (step.score * unit - first - mu_genuine).powi(2);
        }
        if step.impostor > 0 {
            squares[1] += step.impostor as f64 * (step.score * unit - first - mu_impostor).powi(2);
        }
    });
    let (var_genuine, var_impostor) = (squares[0] / genuine, squares[1] / impostor);
    let spread = ((var_genuine + var_impostor) / 2.0).sqrt();
    Decidability {
        d_prime: (spread > 0.0).then(|| (mu_genuine - mu_impostor) / spread),
        mu_genuine: (first + mu_genuine) / unit,
        mu_impostor: (first + mu_impostor) / unit,
        sd_genuine: var_genuine.sqrt() / unit,
        sd_impostor: var_impostor.sqrt() / unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // genuine 1 3: mean 2, variance 1; impostor 0 0 0: mean 0, variance 0
        let found = decidability(&Tally::of_scores(&[1.0, 3.0], &[0.0, 0.0, 0.0]).unwrap());
        assert_eq!((found.mu_genuine, found.mu_impostor, found.sd_genuine, found.sd_impostor), (2.0, 0.0, 1.0, 0.0));
        assert!((found.d_prime.unwrap() - 2.0 / 0.5_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn swapped_scores_have_a_negative_one() {
        let found =
            |genuine: &[f64], impostor: &[f64]| decidability(&Tally::of_scores(genuine, impostor).unwrap()).d_prime;
        let right = found(&[1.0, 3.0], &[0.0; 3]).unwrap();
        assert_eq!(found(&[0.0; 3], &[1.0, 3.0]), Some(-right));
    }

    #[test]
    fn the_largest_and_smallest_scores_have_their_moments() {
        for unit in [1e307, 1e-307] {
            let scores = |list: &[f64]| list.iter().map(|s| s * unit).collect::<Vec<_>>();
            let found =
                decidability(&Tally::of_scores(&scores(&[5.0, 3.0, 7.0]), &scores(&[-5.0, -3.0, 1.0])).unwrap());
            let plain = decidability(&Tally::of_scores(&[5.0, 3.0, 7.0], &[-5.0, -3.0, 1.0]).unwrap());
            assert!((found.d_prime.unwrap() / plain.d_prime.unwrap() - 1.0).abs() < 1e-12, "{found:?}");
            assert!((found.mu_genuine / unit / plain.mu_genuine - 1.0).abs() < 1e-12, "{found:?}");
            assert!((found.sd_impostor / unit / plain.sd_impostor - 1.0).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn equal_scores_have_no_spread_however_many_they_are() {
        for score in [0.1, 0.7, 1.0 - f64::EPSILON / 2.0, 1e300] {
            for count in [3, 45, 108, 1001] {
                let found = decidability(&Tally::of_scores(&vec![score; count], &[score; 77]).unwrap());
                assert_eq!(
                    (found.d_prime, found.mu_genuine, found.sd_genuine),
                    (None, score, 0.0),
                    "{score} x {count}"
                );
            }
        }
    }

    #[test]
    fn no_spread_has_no_unit() {
        assert_eq!(decidability(&Tally::of_scores(&[1.0], &[0.0, 0.0]).unwrap()).d_prime, None);
    }
}
