//! Are two models really different? Both were measured on the same units (queries, classes, pairs, or subjects), so the
//! question is asked unit by unit.
//!
//! A statistic is a function of sums over units: `theta = f(sum_u v_u)`, where `v_u` holds what both models did on unit `u`,
//! and `v'_u` the same with the models' parts exchanged.
//!
//! - **Paired randomisation test** (Fisher 1935): were the models alike, each unit could as well have had its two parts
//!   exchanged. `p` is the share of exchanges with `|theta*| >= |theta|`: of all `2^n`, where these are no more than the
//!   draws, else `(1 + hits) / (1 + draws)` of random ones, which is never 0.
//! - **Percentile bootstrap** (Efron 1979) of `theta`: units are drawn with replacement, as many as there are.
//! - **Units on two subjects** (pairs) cannot be exchanged subject by subject. Subjects are drawn as for the intervals of
//!   one model ([`bootstrap`](super::verification::bootstrap)): a pair has the product of its subjects' counts as weight,
//!   and `p` is read off the same draws: twice the share on the far side of 0, `2 min(P(theta* <= 0), P(theta* >= 0))`.
//!
//! Every draw has a random stream of its own, so results depend on the seed alone, not on threads.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::verification::quantile;

/// How often, from which seed, how wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Draws of the test, and of the interval.
    pub draws: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Confidence of the interval, such as 0.95.
    pub level: f64,
}

/// A difference, how sure it is, and how likely by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The statistic on the data as it is.
    pub value: f64,
    /// Lower end of its interval; NaN where no draw had a value.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Chance of a difference at least as great between models that are alike.
    pub p: f64,
}

/// What both models did, unit by unit.
#[derive(Clone, Debug, Default)]
pub struct Units {
    width: usize,
    parts: Vec<f64>,
    exchanged: Vec<f64>,
}

impl Units {
    /// No units yet, of `width` numbers each.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Adds a unit: its numbers, and these with the models exchanged.
    ///
    /// # Panics
    /// Where either has another width.
    pub fn push(&mut self, parts: &[f64], exchanged: &[f64]) {
        assert!(parts.len() == self.width && exchanged.len() == self.width, "a unit has {} numbers", self.width);
        self.parts.extend(parts);
        self.exchanged.extend(exchanged);
    }

    /// Adds to the numbers of a unit that is there.
    pub fn add(&mut self, unit: usize, parts: &[f64], exchanged: &[f64]) {
        let at = unit * self.width..(unit + 1) * self.width;
        self.parts[at.clone()].iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        self.exchanged[at].iter_mut().zip(exchanged).for_each(|(sum, part)| *sum += part);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.parts.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn unit(&self, at: usize) -> &[f64] {
        &self.parts[at * self.width..(at + 1) * self.width]
    }

    fn total(&self) -> Vec<f64> {
        let mut total = vec![0.0; self.width];
        (0..self.len()).for_each(|at| add(&mut total, self.unit(at), 1.0));
        total
    }
}

/// Statistics of sums over units, each a difference between two models that is 0 where they are alike.
pub type Statistics<'a> = dyn Fn(&[f64]) -> Vec<f64> + Sync + 'a;

/// Interval and test of each statistic, unit by unit.
pub fn paired(units: &Units, statistics: &Statistics<'_>, how: &Resampling) -> Vec<Difference> {
    let count = units.len();
    let observed = statistics(&units.total());
    let drawn: Vec<Vec<f64>> = (0..how.draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = stream(how.seed, draw, 0);
            let mut sums = vec![0.0; units.width];
            for _ in 0..count {
                add(&mut sums, units.unit(random.random_range(0..count)), 1.0);
            }
            statistics(&sums)
        })
        .collect();
    let p = randomisation(units, statistics, &observed, how);
    let difference = |(at, (&value, p)): (usize, (&f64, f64))| interval(value, &column(&drawn, at), p, how.level);
    observed.iter().zip(p).enumerate().map(difference).collect()
}

/// Interval and test of each statistic over units that have one or two of `count` subjects.
///
/// # Panics
/// Where `of` has another length than `units`.
pub fn over_subjects(
    units: &Units,
    of: &[(u32, u32)],
    count: usize,
    statistics: &Statistics<'_>,
    how: &Resampling,
) -> Vec<Difference> {
    assert_eq!(of.len(), units.len(), "each unit has its subjects");
    let observed = statistics(&units.total());
    let drawn: Vec<Vec<f64>> = (0..how.draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = stream(how.seed, draw, 0);
            let mut times = vec![0.0; count];
            (0..count).for_each(|_| times[random.random_range(0..count)] += 1.0);
            let mut sums = vec![0.0; units.width];
            for (at, &(a, b)) in of.iter().enumerate() {
                let weight = if a == b { times[a as usize] } else { times[a as usize] * times[b as usize] };
                if weight > 0.0 {
                    add(&mut sums, units.unit(at), weight);
                }
            }
            statistics(&sums)
        })
        .collect();
    let difference = |(at, &value): (usize, &f64)| {
        let drawn = column(&drawn, at);
        let share = |side: &dyn Fn(f64) -> bool| {
            (1 + drawn.iter().filter(|&&v| side(v)).count()) as f64 / (1 + drawn.len()) as f64
        };
        let p = 2.0 * share(&|v| v <= 0.0).min(share(&|v| v >= 0.0));
        interval(value, &drawn, p.min(1.0), how.level)
    };
    observed.iter().enumerate().map(difference).collect()
}

/// `p` values after Holm (1979), in the order given: with these, the chance that any of several true "no difference" is
/// taken for one stays below the level.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        least = least.max((p.len() - rank) as f64 * p[at]).min(1.0);
        adjusted[at] = least;
    }
    adjusted
}

/// p of each statistic.
fn randomisation(units: &Units, statistics: &Statistics<'_>, observed: &[f64], how: &Resampling) -> Vec<f64> {
    // Units whose exchange changes nothing need not be exchanged.
    let width = units.width;
    let changing: Vec<usize> =
        (0..units.len()).filter(|at| units.unit(*at) != &units.exchanged[at * width..(at + 1) * width]).collect();
    let changes: Vec<f64> = changing
        .iter()
        .flat_map(|at| (at * width..(at + 1) * width).map(|i| units.exchanged[i] - units.parts[i]))
        .collect();
    let total = units.total();
    let sums_of = |exchange: &mut dyn FnMut() -> u64| {
        let mut sums = total.clone();
        for changes in changes.chunks(64 * width) {
            let mut bits = exchange();
            for change in changes.chunks_exact(width) {
                if bits & 1 == 1 {
                    add(&mut sums, change, 1.0);
                }
                bits >>= 1;
            }
        }
        statistics(&sums)
    };
    // Sums in another order round otherwise: what is equal in exact arithmetic must count as equal.
    let reaches = |drawn: f64, observed: f64| drawn.abs() >= observed.abs() * (1.0 - 1e-9) - 1e-14;
    let exact = changing.len() < 63 && 1_u64 << changing.len() <= how.draws as u64;
    let all = if exact { 1 << changing.len() } else { how.draws };
    let hits = (0..all)
        .into_par_iter()
        .map(|draw| {
            let drawn = if exact {
                sums_of(&mut || draw as u64)
            } else {
                let mut random = stream(how.seed, draw, 1);
                sums_of(&mut || random.next_u64())
            };
            drawn.iter().zip(observed).map(|(&d, &o)| u64::from(reaches(d, o) || d.is_nan())).collect::<Vec<u64>>()
        })
        .reduce(|| vec![0; observed.len()], |a, b| a.iter().zip(&b).map(|(a, b)| a + b).collect());
    let one = u64::from(!exact);
    hits.into_iter().map(|hits| (hits + one) as f64 / (all as u64 + one) as f64).collect()
}

/// Seeded through a hash: streams of one state with neighbouring numbers begin alike, and few numbers are taken of each.
fn stream(seed: u64, draw: usize, purpose: u64) -> Pcg64 {
    let number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(2 * draw as u64 + purpose);
    Pcg64::seed_from_u64(number)
}

fn add(sums: &mut [f64], parts: &[f64], weight: f64) {
    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += weight * part);
}

/// One statistic's values, sorted; those without a value left out.
fn column(drawn: &[Vec<f64>], at: usize) -> Vec<f64> {
    let mut values: Vec<f64> = drawn.iter().map(|values| values[at]).filter(|v| !v.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn interval(value: f64, sorted: &[f64], p: f64, level: f64) -> Difference {
    let tail = (1.0 - level) / 2.0;
    let at = |place: f64| if sorted.is_empty() { f64::NAN } else { quantile(sorted, place) };
    Difference { value, low: at(tail), high: at(1.0 - tail), p }
}
