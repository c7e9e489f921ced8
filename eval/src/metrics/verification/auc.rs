//! Area under the ROC curve: the chance that a genuine pair scores above an impostor pair, ties counting half:
//! `AUC = (1 / GI) sum over pairs of pairs of [g > i] + [g = i] / 2`.

use super::Tally;

/// The area, from whole counts. Pairs without a score do not count.
pub fn auc(tally: &Tally) -> f64 {
    let mut impostor_below = 0_u128;
    // twice the area, in pairs of pairs
    let mut twice = 0_u128;
    tally.sweep(|step| {
        twice += u128::from(step.genuine) * (2 * impostor_below + u128::from(step.impostor));
        impostor_below += u128::from(step.impostor);
    });
    let (genuine, impostor) = tally.acquired();
    twice as f64 / (2.0 * genuine as f64 * impostor as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_pairs_of_pairs_and_half_the_ties() {
        let (genuine, impostor) = ([0.2, 0.7, 0.7, 0.9], [0.1, 0.2, 0.7]);
        let one = |g: f64, i: f64| if g > i { 1.0 } else { f64::from(u8::from(g == i)) / 2.0 };
        let by_hand: f64 = genuine.iter().flat_map(|&g| impostor.iter().map(move |&i| one(g, i))).sum::<f64>() / 12.0;
        let found = auc(&Tally::of_scores(&genuine, &impostor).unwrap());
        assert!((found - by_hand).abs() < 1e-15, "{found} {by_hand}");
    }
}
