//! FNMR where FMR is held at a target, and its other face, TAR at FAR (`TAR = 1 - FNMR`).
//!
//! Conservative: the smallest observed threshold whose FMR does not exceed the target; the FMR reached there may be
//! lower, and is reported. By the rule of three, `n` impostor pairs without an error say no more than `FMR < 3/n` with
//! 95 % confidence: a target below `3/n` is not carried, and has no value.

use super::{Point, Tally};

/// The targets that are reported.
pub const TARGETS: [f64; 6] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

/// What holding FMR at a target costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtFmr {
    /// The FMR not to be exceeded.
    pub target: f64,
    /// Rates at the threshold; `None` where the impostor pairs are too few for the target.
    pub reached: Option<Reached>,
}

/// A threshold and its two rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// Smallest observed threshold that holds the target; infinite where none does and every pair is rejected.
    pub threshold: f64,
    /// FMR there.
    pub fmr: f64,
    /// FNMR there.
    pub fnmr: f64,
}

/// Whether this many impostor pairs can carry a target, by the rule of three.
pub fn carries(impostor: u64, target: f64) -> bool {
    // a hair's breadth of room, for 3000 * 0.001 is not quite 3
    target * impostor as f64 >= 3.0 * (1.0 - 1e-12)
}

/// Rates at each target FMR, whether it is carried or not.
pub fn at_fmr(tally: &Tally, targets: &[f64]) -> Vec<Reached> {
    let mut found: Vec<Option<Reached>> = vec![None; targets.len()];
    tally.points(|point| {
        let fmr = tally.fmr(point);
        for (slot, _) in found.iter_mut().zip(targets).filter(|(slot, target)| slot.is_none() && fmr <= **target) {
            *slot = Some(Reached { threshold: point.threshold, fmr, fnmr: tally.fnmr(point) });
        }
    });
    let rejected = Reached { threshold: f64::INFINITY, fmr: 0.0, fnmr: 1.0 };
    found.into_iter().map(|found| found.unwrap_or(rejected)).collect()
}

/// ZeroFMR: the lowest FNMR at which no impostor pair is accepted (1 where an impostor pair has the highest score).
pub fn zero_fmr(tally: &Tally) -> f64 {
    let mut first: Option<Point> = None;
    tally.points(|p| {
        if first.is_none() && p.false_matches == 0 {
            first = Some(*p);
        }
    });
    first.map_or(1.0, |p| tally.fnmr(&p))
}

/// ZeroFNMR: the lowest FMR at which no genuine pair is rejected.
pub fn zero_fnmr(tally: &Tally) -> f64 {
    let mut last: Option<Point> = None;
    tally.points(|p| {
        if p.false_non_matches == 0 {
            last = Some(*p);
        }
    });
    last.map_or(1.0, |p| tally.fmr(&p))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 impostor scores 0..99, genuine at 50.5, 90, 95.5, 200
    fn tally() -> Tally {
        Tally::of_scores(&[50.5, 90.0, 95.5, 200.0], &(0..100).map(f64::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_smallest_threshold_that_holds_the_target_counts() {
        let found = at_fmr(&tally(), &[0.1, 0.05]);
        // at 90 ten impostor scores (90..99) are accepted: exactly 0.1
        assert_eq!(found[0], Reached { threshold: 90.0, fmr: 0.1, fnmr: 0.25 });
        assert_eq!(found[1], Reached { threshold: 95.0, fmr: 0.05, fnmr: 0.5 });
    }

    #[test]
    fn too_few_impostors_carry_no_target() {
        assert!(carries(100, 0.03) && carries(3_000, 0.001));
        assert!(!carries(99, 0.03) && !carries(100, 0.01));
    }

    #[test]
    fn tied_top_impostors_leave_nothing_to_accept() {
        let tally = Tally::of_scores(&[0.5, 1.0], &[1.0; 40]).unwrap();
        assert_eq!(at_fmr(&tally, &[0.1])[0], Reached { threshold: f64::INFINITY, fmr: 0.0, fnmr: 1.0 });
        assert_eq!((zero_fmr(&tally), zero_fnmr(&tally)), (1.0, 1.0));
    }

    #[test]
    fn zero_errors_on_either_side() {
        assert_eq!(zero_fmr(&tally()), 0.75);
        assert_eq!(zero_fnmr(&tally()), 0.49);
    }
}
