//! Equal error rate. Rates over finite lists seldom meet, so its definition has to be said: the mean of FMR and FNMR at
//! the observed threshold where they are closest; of two equally close thresholds, the lower.
//!
//! Where many scores are tied, the rates jump across each other. The bracket tells how far: it spans both rates at the two
//! thresholds beside the crossing, the last with `FMR >= FNMR` and the next. Other definitions (interpolated, or with
//! pairs at the threshold rejected) give values inside it. Where the rates meet exactly, it is that one value.

use super::{Point, Tally};

/// Equal error rate, and the jump at the crossing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eer {
    /// `(FMR + FNMR) / 2` at `threshold`.
    pub value: f64,
    /// Where the two rates are closest.
    pub threshold: f64,
    /// Lower end of the bracket.
    pub low: f64,
    /// Upper end of the bracket.
    pub high: f64,
}

/// The equal error rate of a tally.
pub fn eer(tally: &Tally) -> Eer {
    let (genuine, impostor) = (u128::from(tally.genuine()), u128::from(tally.impostor()));
    // Rates over a common denominator, so that comparing them is exact.
    let scaled = |p: &Point| (u128::from(p.false_matches) * genuine, u128::from(p.false_non_matches) * impostor);
    let mut before: Option<Point> = None;
    let mut after: Option<Point> = None;
    tally.points(|point| {
        let (fmr, fnmr) = scaled(point);
        if fmr >= fnmr {
            before = Some(*point);
        } else if after.is_none() {
            after = Some(*point);
        }
    });
    // At the lowest threshold all is accepted, so `before` exists; beyond the highest all is rejected.
    let beyond = Point { threshold: f64::INFINITY, false_matches: 0, false_non_matches: tally.genuine() };
    let before =
        before.unwrap_or(Point { threshold: f64::NEG_INFINITY, false_matches: tally.impostor(), false_non_matches: 0 });
    let next = after.unwrap_or(beyond);
    let distance = |p: &Point| {
        let (fmr, fnmr) = scaled(p);
        fmr.abs_diff(fnmr)
    };
    let closest = match after {
        Some(after) if distance(&after) < distance(&before) => after,
        _ => before,
    };
    let (low, high) = if distance(&before) == 0 {
        (tally.fmr(&before), tally.fmr(&before))
    } else {
        (tally.fmr(&next).min(tally.fnmr(&before)), tally.fmr(&before).max(tally.fnmr(&next)))
    };
    Eer { value: (tally.fmr(&closest) + tally.fnmr(&closest)) / 2.0, threshold: closest.threshold, low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // thresholds 1 2 3 4 5 6; genuine 3 5 6, impostor 1 2 4; at 4: FMR 1/3, FNMR 1/3
        let found = eer(&Tally::of_scores(&[3.0, 5.0, 6.0], &[1.0, 2.0, 4.0]).unwrap());
        assert_eq!(found, Eer { value: 1.0 / 3.0, threshold: 4.0, low: 1.0 / 3.0, high: 1.0 / 3.0 });
    }

    #[test]
    fn separable_scores_have_none() {
        let found = eer(&Tally::of_scores(&[0.8, 0.9], &[0.1, 0.2, 0.3]).unwrap());
        assert_eq!((found.value, found.threshold, found.low, found.high), (0.0, 0.8, 0.0, 0.0));
    }

    #[test]
    fn ties_at_the_crossing_show_as_a_bracket() {
        // at 1: FMR 3/4, FNMR 1/4; at 2: FMR 0, FNMR 3/4
        let found = eer(&Tally::of_scores(&[0.0, 1.0, 1.0, 2.0], &[0.0, 1.0, 1.0, 1.0]).unwrap());
        assert_eq!(found, Eer { value: 0.5, threshold: 1.0, low: 0.0, high: 0.75 });
    }

    #[test]
    fn scores_all_equal_tell_nothing() {
        let found = eer(&Tally::of_scores(&[1.0, 1.0], &[1.0]).unwrap());
        assert_eq!(found, Eer { value: 0.5, threshold: 1.0, low: 0.0, high: 1.0 });
    }
}
