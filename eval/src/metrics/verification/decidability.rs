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

/// Means and deviations of a tally, in two sweeps: the second about the means of the first.
pub fn decidability(tally: &Tally) -> Decidability {
    let (genuine, impostor) = (tally.genuine() as f64, tally.impostor() as f64);
    let mut sums = [0.0_f64; 2];
    tally.sweep(|step| {
        sums[0] += step.genuine as f64 * step.score;
        sums[1] += step.impostor as f64 * step.score;
    });
    let (mu_genuine, mu_impostor) = (sums[0] / genuine, sums[1] / impostor);
    let mut squares = [0.0_f64; 2];
    tally.sweep(|step| {
        // a count of zero must not meet an infinite score
        if step.genuine > 0 {
            squares[0] += step.genuine as f64 * (step.score - mu_genuine).powi(2);
        }
        if step.impostor > 0 {
            squares[1] += step.impostor as f64 * (step.score - mu_impostor).powi(2);
        }
    });
    let (var_genuine, var_impostor) = (squares[0] / genuine, squares[1] / impostor);
    let spread = ((var_genuine + var_impostor) / 2.0).sqrt();
    Decidability {
        d_prime: (spread > 0.0).then(|| (mu_genuine - mu_impostor) / spread),
        mu_genuine,
        mu_impostor,
        sd_genuine: var_genuine.sqrt(),
        sd_impostor: var_impostor.sqrt(),
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
        let found = |genuine: &[f64], impostor: &[f64]| decidability(&Tally::of_scores(genuine, impostor).unwrap()).d_prime;
        let right = found(&[1.0, 3.0], &[0.0; 3]).unwrap();
        assert_eq!(found(&[0.0; 3], &[1.0, 3.0]), Some(-right));
    }

    #[test]
    fn no_spread_has_no_unit() {
        assert_eq!(decidability(&Tally::of_scores(&[1.0], &[0.0, 0.0]).unwrap()).d_prime, None);
    }
}
