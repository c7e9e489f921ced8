//! Both distributions of scores in equal bins.

use super::Tally;

const BINS: usize = 100;

/// A bar of both histograms, as shares of its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Lower end.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// Share of the genuine pairs.
    pub genuine: f64,
    /// Share of the impostor pairs.
    pub impostor: f64,
}

/// Equal bins over the observed range; distances come with their sign swapped, and `sign` swaps it back.
pub(crate) fn histogram(tally: &Tally, sign: f64) -> Vec<Bin> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    tally.sweep(|s| {
        if s.score.is_finite() {
            low = low.min(sign * s.score);
            high = high.max(sign * s.score);
        }
    });
    if !low.is_finite() || high / BINS as f64 <= low / BINS as f64 {
        let middle = if low.is_finite() { low } else { 0.0 };
        // In the middle of a bin, which is around it.
        (low, high) = (middle - 0.505, middle + 0.495);
    }
    // In quarters where the distance of two scores is beyond what numbers hold.
    let part = if (high - low).is_finite() { 1.0 } else { 0.25 };
    let width = (high * part - low * part) / BINS as f64;
    let end = |n: usize| if n == BINS { high } else { (low * part + n as f64 * width) / part };
    let bin = |n: usize| Bin { from: end(n), to: end(n + 1), genuine: 0.0, impostor: 0.0 };
    let mut bins: Vec<Bin> = (0..BINS).map(bin).collect();
    let (genuine, impostor) = tally.acquired();
    tally.sweep(|s| {
        #[allow(clippy::cast_possible_truncation)] // held between the first bin and the last
        let at = ((sign * s.score * part - low * part) / width).clamp(0.0, (BINS - 1) as f64) as usize;
        bins[at].genuine += s.genuine as f64 / genuine as f64;
        bins[at].impostor += s.impostor as f64 / impostor as f64;
    });
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_and_the_narrowest_scores_have_bins() {
        for (low, high) in [(-1e308, 1e308), (f64::MIN, f64::MAX), (0.0, 5e-324), (1e16, 1e16 + 2.0)] {
            let bins = histogram(&Tally::of_scores(&[high, high], &[low]).unwrap(), 1.0);
            assert!(bins.iter().all(|b| b.from.is_finite() && b.to.is_finite() && b.from <= b.to), "{low} {high}");
            assert!((bins.iter().map(|b| b.genuine).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let bins = histogram(&Tally::of_scores(&[1e308], &[-1e308]).unwrap(), 1.0);
        assert_eq!((bins[0].impostor, bins[BINS - 1].genuine), (1.0, 1.0));
    }

    #[test]
    fn histograms_hold_every_pair_once() {
        let tally = Tally::of_scores(&[0.5, 0.9, 1.0], &[0.0, 0.1]).unwrap();
        for sign in [1.0, -1.0] {
            let bins = histogram(&tally, sign);
            let sum = |share: fn(&Bin) -> f64| bins.iter().map(share).sum::<f64>();
            assert!((sum(|b| b.genuine) - 1.0).abs() < 1e-12 && (sum(|b| b.impostor) - 1.0).abs() < 1e-12);
        }
    }
}
