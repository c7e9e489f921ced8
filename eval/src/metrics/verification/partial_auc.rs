//! Area under the part of the ROC curve that has `FMR <= T`, brought to the scale of the whole area (McClish 1989): 1 where
//! every genuine pair scores above every impostor pair, 0.5 where scores say nothing.
//!
//! `pAUC = 1/2 [1 + (A - T^2/2) / (T - T^2/2)]`, `A` being the area under the curve from `FMR = 0` to `T`, whose points are
//! joined by straight lines. With `T = 1` it is the [`auc`](super::auc()).

use super::Tally;

/// The area up to each of these `most`, each above 0 and at most 1. Pairs without a score do not count.
pub fn partial_auc(tally: &Tally, most: &[f64]) -> Vec<f64> {
    let (genuine, impostor) = tally.acquired();
    let (genuine, impostor) = (genuine as f64, impostor as f64);
    // The curve from the strictest threshold on is the scores from the highest on; what lies below a score is known only at
    // the end of an ascending sweep, so areas are what is left of the right end.
    let mut areas = vec![0.0_f64; most.len()];
    let (mut genuine_below, mut impostor_below) = (0_u64, 0_u64);
    tally.sweep(|step| {
        let rates = |g: u64, i: u64| (1.0 - i as f64 / impostor, 1.0 - g as f64 / genuine);
        let (right, upper) = rates(genuine_below, impostor_below);
        genuine_below += step.genuine;
        impostor_below += step.impostor;
        let (left, lower) = rates(genuine_below, impostor_below);
        if step.impostor > 0 {
            for (area, &most) in areas.iter_mut().zip(most).filter(|(_, most)| left < **most) {
                let end = right.min(most);
                let at_end = lower + (upper - lower) * (end - left) / (right - left);
                *area += (end - left) * (lower + at_end) / 2.0;
            }
        }
    });
    let scaled = |(area, &most): (f64, &f64)| {
        let diagonal = most * most / 2.0;
        0.5 * (1.0 + (area - diagonal) / (most - diagonal))
    };
    areas.into_iter().zip(most).map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{auc, iris};
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // ROC: (0, 1/2), (1/2, 1/2), (1/2, 1), (1, 1); up to 3/4: 1/4 + 1/4 = 1/2; (1/2 - 9/32) / (3/4 - 9/32) = 7/15
        let tally = Tally::of_scores(&[4.0, 2.0], &[3.0, 1.0]).unwrap();
        let found = partial_auc(&tally, &[0.75, 1.0, 0.25]);
        assert!((found[0] - 0.5 * (1.0 + 7.0 / 15.0)).abs() < 1e-15, "{found:?}");
        assert!((found[1] - 0.75).abs() < 1e-15);
        // up to 1/4: 1/8; (1/8 - 1/32) / (1/4 - 1/32) = 3/7
        assert!((found[2] - 0.5 * (1.0 + 3.0 / 7.0)).abs() < 1e-15);
    }

    #[test]
    fn agrees_with_scikit_learn() {
        // roc_auc_score(max_fpr=...), 1.9.1
        let tally = Tally::of_scores(&iris::VERSICOLOR_SEPAL, &iris::SETOSA_SEPAL).unwrap();
        let found = partial_auc(&tally, &[0.1, 0.01, 1.0]);
        for (found, wanted) in found.iter().zip([0.8389473684210527, 0.7663316582914573, 0.9326]) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        assert!((found[2] - auc(&tally)).abs() < 1e-12);
    }
}
