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
    if !low.is_finite() || high <= low {
        let middle = if low.is_finite() { low } else { 0.0 };
        (low, high) = (middle - 0.5, middle + 0.5);
    }
    let width = (high - low) / BINS as f64;
    let bin =
        |n: usize| Bin { from: low + n as f64 * width, to: low + (n + 1) as f64 * width, genuine: 0.0, impostor: 0.0 };
    let mut bins: Vec<Bin> = (0..BINS).map(bin).collect();
    tally.sweep(|s| {
        #[allow(clippy::cast_possible_truncation)] // held between the first bin and the last
        let at = ((sign * s.score - low) / width).clamp(0.0, (BINS - 1) as f64) as usize;
        bins[at].genuine += s.genuine as f64 / tally.genuine() as f64;
        bins[at].impostor += s.impostor as f64 / tally.impostor() as f64;
    });
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

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
