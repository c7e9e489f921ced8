//! Confidence intervals by bootstrap over subjects. Pairs that share a person are not independent, so people are drawn
//! with replacement, not pairs (Bolle et al. 2004, the subsets bootstrap): a person drawn `w` times gives its genuine
//! pairs weight `w`, and two people drawn `v` and `w` times give theirs weight `v w`. Intervals are percentiles.
//!
//! Each replicate has a random stream of its own, so the result depends on the seed alone, not on threads.

use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::{Asked, Assessment, Rates, Step, Tally, carries};
use crate::{Error, Result};

/// A pair's score, and who is on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubjectPair {
    /// Greater is more alike.
    pub score: f64,
    /// The person on one side ...
    pub a: u32,
    /// ... and on the other.
    pub b: u32,
    /// Whether the pair is genuine.
    pub same: bool,
}

/// How often, from which seed, how wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Replicates.
    pub replicates: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Confidence, such as 0.95.
    pub level: f64,
}

/// Percentile interval of one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// The figure's name, as [`Rates::figures`] or [`Assessment::figures`] has it, or `accuracy`.
    pub name: String,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What is to be said of intervals that do not hold their figure; `value` has the figures by name.
pub fn beside_their_figures(intervals: &[Interval], value: impl Fn(&str) -> Option<f64>) -> Option<String> {
    /// What sums in another order may differ by.
    const ROUNDING: f64 = 1e-9;
    let is_beside = |interval: &&Interval| {
        let of = |value: f64| value < interval.low - ROUNDING || value > interval.high + ROUNDING;
        value(&interval.name).is_some_and(of)
    };
    let names: Vec<&str> = intervals.iter().filter(is_beside).map(|interval| interval.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "the interval of {} does not hold the figure itself: what is drawn with replacement has fewer different units than there \
             are, and other figures; do not read it as a range about the figure",
            names.join(", ")
        )
    })
}

/// Figures by name; without a value where a draw gives them none.
pub(in crate::metrics) type Figures = Vec<(String, Option<f64>)>;

impl Bootstrap {
    /// What each replicate gives, of those that give something: figures are a function of how often each unit was drawn.
    pub(in crate::metrics) fn draw(
        &self,
        units: usize,
        figures: &(dyn Fn(&[u64]) -> Option<Figures> + Sync),
    ) -> Vec<Figures> {
        let replicates = (0..self.replicates).into_par_iter();
        replicates.filter_map(|replicate| figures(&self.weights(replicate, units))).collect()
    }

    /// How often each of `subjects` people is drawn in one replicate.
    pub(super) fn weights(&self, replicate: usize, subjects: usize) -> Vec<u64> {
        let mut random = Pcg64::new(u128::from(self.seed), replicate as u128);
        let mut weights = vec![0; subjects];
        for _ in 0..subjects {
            weights[random.random_range(0..subjects)] += 1;
        }
        weights
    }

    /// How often a pair counts where its subjects are drawn so often.
    pub(super) fn weight(&self, weights: &[u64], pair: &SubjectPair) -> u64 {
        let own = weights[pair.a as usize];
        if pair.a == pair.b { own } else { own * weights[pair.b as usize] }
    }
}

/// Intervals of every figure, of those that are `asked` for, and of the share of right decisions where `right` tells them pair by pair (thresholds are
/// then those of the run itself: they are not chosen again).
///
/// # Errors
/// [`Error::Measure`] where more than half of the replicates draw no genuine or no impostor pair.
pub fn bootstrap(
    pairs: &[SubjectPair],
    subjects: usize,
    right: Option<&[bool]>,
    asked: Option<&Asked>,
    how: &Bootstrap,
) -> Result<Vec<Interval>> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_unstable_by(|&a, &b| pairs[a].score.total_cmp(&pairs[b].score));
    let impostor = pairs.iter().filter(|p| !p.same).count() as u64;
    let figures = |weights: &[u64]| -> Option<Figures> {
        let weight = |pair: &SubjectPair| how.weight(weights, pair);
        let step = |&at: &usize| {
            let (pair, weight) = (&pairs[at], weight(&pairs[at]));
            let (genuine, impostor) = if pair.same { (weight, 0) } else { (0, weight) };
            Step { score: pair.score, genuine, impostor }
        };
        let tally = Tally::of_sorted(order.iter().map(step).filter(|s| s.genuine + s.impostor > 0).collect()).ok()?;
        let mut figures = Rates::over(&tally, |target| carries(impostor, target)).figures();
        if let Some(asked) = asked {
            figures.extend(Assessment::over(&tally, asked, |part| carries(impostor, part)).figures());
        }
        if let Some(right) = right {
            let good: u64 = pairs.iter().zip(right).filter(|(_, right)| **right).map(|(pair, _)| weight(pair)).sum();
            figures.push(("accuracy".into(), Some(good as f64 / (tally.genuine() + tally.impostor()) as f64)));
        }
        Some(figures)
    };
    let drawn = how.draw(subjects, &figures);
    if drawn.len() * 2 < how.replicates || drawn.is_empty() {
        return Err(Error::Measure(format!(
            "--bootstrap: only {} of {} replicates over {subjects} subjects drew both genuine and impostor pairs",
            drawn.len(),
            how.replicates
        )));
    }
    Ok(percentiles(&drawn, how))
}

/// The interval of each figure over what was drawn; none of one that has no value in any draw.
pub(in crate::metrics) fn percentiles(drawn: &[Figures], how: &Bootstrap) -> Vec<Interval> {
    let mut intervals = Vec::new();
    for (at, (name, _)) in drawn.first().into_iter().flatten().enumerate() {
        let mut values: Vec<f64> = drawn.iter().filter_map(|figures| figures[at].1).collect();
        values.sort_unstable_by(f64::total_cmp);
        if !values.is_empty() {
            let tail = (1.0 - how.level) / 2.0;
            intervals.push(Interval {
                name: name.clone(),
                low: quantile(&values, tail),
                high: quantile(&values, 1.0 - tail),
            });
        }
    }
    intervals
}

/// A quantile of sorted values, linear between neighbours.
pub(in crate::metrics) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = at * (sorted.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation)] // a place in the list
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Bootstrap = Bootstrap { replicates: 400, seed: 7, level: 0.95 };

    #[test]
    fn an_interval_that_does_not_hold_its_figure_is_said() {
        let interval = |name: &str, low, high| Interval { name: name.into(), low, high };
        let intervals = [interval("eer", 0.1, 0.2), interval("auc", 0.5, 0.5), interval("d_prime", 1.0, 2.0)];
        let said = |of: [Option<f64>; 3]| {
            beside_their_figures(&intervals, |name| {
                of[["eer", "auc", "d_prime"].iter().position(|n| *n == name).unwrap()]
            })
        };
        assert_eq!(said([Some(0.1), Some(0.5 + 1e-12), None]), None);
        let found = said([Some(0.21), Some(0.5), Some(0.9)]).unwrap();
        assert!(found.starts_with("the interval of eer, d_prime does not hold"), "{found}");
    }

    /// `people` with two genuine scores each, and an impostor score for each two neighbours.
    fn pairs(people: u32) -> Vec<SubjectPair> {
        let noise = |n: u32| f64::from(n * 7919 % 101) / 101.0;
        let genuine =
            (0..people * 2).map(|n| SubjectPair { score: 0.4 + 0.6 * noise(n), a: n / 2, b: n / 2, same: true });
        let impostor =
            (0..people).map(|n| SubjectPair { score: 0.6 * noise(n + 13), a: n, b: (n + 1) % people, same: false });
        genuine.chain(impostor).collect()
    }

    #[test]
    fn intervals_hold_the_value_and_repeat() {
        let pairs = pairs(60);
        let intervals = bootstrap(&pairs, 60, None, None, &HOW).unwrap();
        let score = |same: bool| pairs.iter().filter(|p| p.same == same).map(|p| p.score).collect::<Vec<_>>();
        let rates = Rates::of(&Tally::of_scores(&score(true), &score(false)).unwrap());
        for (name, value) in rates.figures() {
            let Some(value) = value else { continue };
            let found = intervals.iter().find(|i| i.name == name).unwrap();
            assert!(found.low <= value && value <= found.high, "{name}: {value} is not in {found:?}");
        }
        assert_eq!(bootstrap(&pairs, 60, None, None, &HOW).unwrap(), intervals);
        assert_ne!(bootstrap(&pairs, 60, None, None, &Bootstrap { seed: 8, ..HOW }).unwrap(), intervals);
    }

    #[test]
    fn people_are_drawn_not_pairs() {
        // One person brings 200 alike genuine scores: drawing people, the mean leans on whether that one is drawn.
        let mut pairs = pairs(30);
        pairs.extend((0..200).map(|_| SubjectPair { score: 1.0, a: 0, b: 0, same: true }));
        let intervals = bootstrap(&pairs, 30, None, None, &HOW).unwrap();
        let mean = intervals.iter().find(|i| i.name == "mu_genuine").unwrap();
        assert!(mean.high - mean.low > 0.2, "{mean:?}");
    }

    #[test]
    fn too_few_people_are_an_error() {
        let pairs =
            [SubjectPair { score: 0.9, a: 0, b: 0, same: true }, SubjectPair { score: 0.1, a: 0, b: 1, same: false }];
        assert!(bootstrap(&pairs[..1], 1, None, None, &HOW).is_err());
    }

    #[test]
    fn accuracy_is_weighted_by_the_same_draws() {
        let pairs = pairs(40);
        let right = vec![true; pairs.len()];
        let intervals = bootstrap(&pairs, 40, Some(&right), None, &HOW).unwrap();
        let accuracy = intervals.iter().find(|i| i.name == "accuracy").unwrap();
        assert_eq!((accuracy.low, accuracy.high), (1.0, 1.0));
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.25), 1.0);
        assert_eq!(quantile(&[0.0, 1.0], 0.25), 0.25);
        assert_eq!(quantile(&[5.0], 0.9), 5.0);
    }
}
