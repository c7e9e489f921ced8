//! The points of the DET and ROC curves: all of them where they are few, else enough that no drawing shows the gap.

use super::{Point, Tally};

/// Up to this many points none is left out.
const ALL_UP_TO: usize = 4096;
/// A point is kept once a rate has moved by this much ...
const STEP: f64 = 1.0 / 500.0;
/// ... or by this factor, which a logarithmic axis shows.
const FACTOR: f64 = 1.02;

/// Observed thresholds with their errors, ascending. Where some are left out, each is within 0.002, and within 2 %, of a
/// kept one in both rates, or lies on the vertical or horizontal line between two kept ones; first and last are kept.
pub fn curve(tally: &Tally) -> Vec<Point> {
    let mut count = 0_usize;
    tally.points(|_| count += 1);
    let mut kept: Vec<Point> = Vec::new();
    let mut previous: Option<Point> = None;
    let moved = |from: u64, to: u64, of: u64| {
        let (low, high) = (from.min(to) as f64, from.max(to) as f64);
        high - low > STEP * of as f64 || (high > low && high > FACTOR * low)
    };
    let far = |a: &Point, b: &Point| {
        moved(a.false_matches, b.false_matches, tally.impostor())
            || moved(a.false_non_matches, b.false_non_matches, tally.genuine())
    };
    tally.points(|point| {
        if count <= ALL_UP_TO || kept.last().is_none_or(|last| far(last, point)) {
            // the corner before a jump
            if let Some(corner) = previous.filter(|p| kept.last().is_some_and(|last| last != p)) {
                kept.push(corner);
            }
            kept.push(*point);
        }
        previous = Some(*point);
    });
    if let Some(last) = previous.filter(|p| kept.last() != Some(p)) {
        kept.push(last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_are_all_kept() {
        let tally = Tally::of_scores(&[1.0, 2.0], &[0.0, 1.0]).unwrap();
        assert_eq!(curve(&tally).len(), 3);
    }

    #[test]
    fn many_points_are_thinned_without_gaps() {
        let scores =
            |count: u32, shift: f64| (0..count).map(|i| f64::from(i) / f64::from(count) + shift).collect::<Vec<_>>();
        let tally = Tally::of_scores(&scores(20_000, 0.5), &scores(90_000, 0.0)).unwrap();
        let kept = curve(&tally);
        assert!(kept.len() < 6_000, "{}", kept.len());
        let mut at = 0;
        tally.points(|p| {
            while kept[at].threshold < p.threshold {
                at += 1;
            }
            let near = &kept[at];
            assert!(
                (tally.fmr(p) - tally.fmr(near)).abs() <= 2.0 * STEP
                    && (tally.fnmr(p) - tally.fnmr(near)).abs() <= 2.0 * STEP
            );
        });
    }
}
