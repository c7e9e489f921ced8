//! What must hold for any scores: order decides, not scale; distance is similarity upside down; ties are fair.

use pdloss_eval::metrics::verification::{Decisions, Folds, Rates, Tally, cross_validate, curve, eer};
use proptest::prelude::*;

/// Score lists with many ties: whole numbers from a small range.
fn lists() -> impl Strategy<Value = (Vec<i32>, Vec<i32>)> {
    (1_i32..60).prop_flat_map(|range| {
        (prop::collection::vec(-range..=range + 10, 1..80), prop::collection::vec(-range - 10..=range, 1..200))
    })
}

fn rates(genuine: &[i32], impostor: &[i32], score: impl Fn(i32) -> f64) -> Rates {
    let scores = |list: &[i32]| list.iter().map(|&s| score(s)).collect::<Vec<_>>();
    Rates::of(&Tally::of_scores(&scores(genuine), &scores(impostor)).unwrap())
}

/// Everything that a change of scale must leave alone.
fn by_rank(rates: &Rates) -> Vec<f64> {
    let at = rates.at.iter().filter_map(|at| at.reached).flat_map(|r| [r.fmr, r.fnmr]);
    [rates.eer.value, rates.eer.low, rates.eer.high, rates.auc, rates.zero_fmr, rates.zero_fnmr]
        .into_iter()
        .chain(at)
        .collect()
}

/// EER straight from its definition.
fn slow_eer(genuine: &[i32], impostor: &[i32]) -> f64 {
    let mut thresholds: Vec<i32> = genuine.iter().chain(impostor).copied().collect();
    thresholds.sort_unstable();
    let rate = |t: i32| {
        let fmr = impostor.iter().filter(|&&s| s >= t).count() as f64 / impostor.len() as f64;
        let fnmr = genuine.iter().filter(|&&s| s < t).count() as f64 / genuine.len() as f64;
        ((fmr - fnmr).abs(), (fmr + fnmr) / 2.0)
    };
    thresholds
        .iter()
        .map(|&t| rate(t))
        .reduce(|best, next| if next.0 < best.0 - 1e-12 { next } else { best })
        .unwrap()
        .1
}

proptest! {
    // Nothing is written beside the sources; a failure prints its case.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn monotone_transforms_change_no_rate((genuine, impostor) in lists()) {
        let plain = rates(&genuine, &impostor, f64::from);
        for other in [
            rates(&genuine, &impostor, |s| (f64::from(s) / 20.0).exp()),
            rates(&genuine, &impostor, |s| f64::from(s).powi(3)),
            rates(&genuine, &impostor, |s| (f64::from(s) / 50.0).atan()),
        ] {
            prop_assert_eq!(by_rank(&plain), by_rank(&other));
        }
        // d' is unchanged by affine ones
        let affine = rates(&genuine, &impostor, |s| 3.0 * f64::from(s) + 7.0);
        prop_assert_eq!(by_rank(&plain), by_rank(&affine));
        match (plain.decidability.d_prime, affine.decidability.d_prime) {
            (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9 * (1.0 + a.abs())),
            (a, b) => prop_assert_eq!(a.is_some(), b.is_some()),
        }
    }

    #[test]
    fn swapping_roles_and_sign_mirrors_the_curve((genuine, impostor) in lists()) {
        let plain = rates(&genuine, &impostor, f64::from);
        let mirrored = rates(&impostor, &genuine, |s| -f64::from(s));
        prop_assert!((plain.auc - mirrored.auc).abs() < 1e-12);
        match (plain.decidability.d_prime, mirrored.decidability.d_prime) {
            (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12 * (1.0 + a.abs())),
            (a, b) => prop_assert_eq!(a.is_some(), b.is_some()),
        }
    }

    #[test]
    fn the_eer_is_its_definition_and_lies_in_its_bracket((genuine, impostor) in lists()) {
        let found = rates(&genuine, &impostor, f64::from).eer;
        prop_assert!((found.value - slow_eer(&genuine, &impostor)).abs() < 1e-12);
        prop_assert!(found.low <= found.value + 1e-15 && found.value <= found.high + 1e-15, "{:?}", found);
    }

    #[test]
    fn the_auc_is_its_definition((genuine, impostor) in lists()) {
        let twice: i64 = genuine.iter().flat_map(|g| impostor.iter().map(move |i| 1 + i64::from(g.cmp(i) as i8))).sum();
        let by_hand = twice as f64 / (2 * genuine.len() * impostor.len()) as f64;
        prop_assert!((rates(&genuine, &impostor, f64::from).auc - by_hand).abs() < 1e-12);
    }

    #[test]
    fn targets_are_held_by_the_smallest_threshold((genuine, impostor) in lists()) {
        let tally = Tally::of_scores(
            &genuine.iter().map(|&s| f64::from(s)).collect::<Vec<_>>(),
            &impostor.iter().map(|&s| f64::from(s)).collect::<Vec<_>>(),
        ).unwrap();
        for at in Rates::of(&tally).at {
            prop_assert_eq!(at.reached.is_some(), at.target * impostor.len() as f64 >= 3.0 - 1e-9);
            let Some(reached) = at.reached else { continue };
            prop_assert!(reached.fmr <= at.target);
            let accepted = |t: f64| impostor.iter().filter(|&&s| f64::from(s) >= t).count() as f64 / impostor.len() as f64;
            let below = genuine.iter().chain(&impostor).map(|&s| f64::from(s)).filter(|&s| s < reached.threshold).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(accepted(below) > at.target || below == f64::NEG_INFINITY);
            let rejected = genuine.iter().filter(|&&s| f64::from(s) < reached.threshold).count() as f64 / genuine.len() as f64;
            prop_assert_eq!(reached.fnmr, rejected);
        }
    }

    #[test]
    fn curves_fall_and_rise((genuine, impostor) in lists()) {
        let scores = |list: &[i32]| list.iter().map(|&s| f64::from(s)).collect::<Vec<_>>();
        let tally = Tally::of_scores(&scores(&genuine), &scores(&impostor)).unwrap();
        let curve = curve(&tally);
        prop_assert!(curve.windows(2).all(|p| p[0].threshold < p[1].threshold && p[0].false_matches >= p[1].false_matches && p[0].false_non_matches <= p[1].false_non_matches));
        prop_assert_eq!((curve[0].false_matches, curve[0].false_non_matches), (impostor.len() as u64, 0));
    }

    #[test]
    fn folds_hold_every_pair_once(same in prop::collection::vec(any::<bool>(), 4..200)) {
        if let Some(folds) = Folds::make(&same) {
            prop_assert!(folds.of.iter().all(|&f| f < folds.count));
            let scores: Vec<f64> = same.iter().enumerate().map(|(at, &same)| f64::from(u8::from(same)) + (at as f64 * 0.7).sin() * 0.3).collect();
            let found = cross_validate(&Decisions { scores: &scores, same: &same }, &folds).unwrap();
            prop_assert_eq!(found.folds.iter().map(|f| f.genuine + f.impostor).sum::<usize>(), same.len());
            // these scores part the classes
            prop_assert!(found.mean > 0.8);
        }
    }
}

#[test]
fn one_genuine_pair_is_enough() {
    let rates = Rates::of(&Tally::of_scores(&[0.9], &[0.1, 0.2, 0.3, 0.95]).unwrap());
    assert_eq!((rates.auc, rates.zero_fmr, rates.zero_fnmr), (0.75, 1.0, 0.25));
    assert!(rates.decidability.d_prime.is_some());
    assert_eq!(eer(&Tally::of_scores(&[0.9], &[0.1]).unwrap()).value, 0.0);
}

#[test]
fn no_impostor_pair_and_nan_are_errors() {
    assert!(Tally::of_scores(&[0.9], &[]).unwrap_err().to_string().contains("0 impostor"));
    assert!(Tally::of_scores(&[0.9], &[f64::NAN]).unwrap_err().to_string().contains("impostor score 1"));
}
