//! Confidence intervals of figures over queries, by bootstrap over classes (people, in identification). What is found for queries of one
//! class hangs together, so classes are drawn with replacement, as many as there are, each with all its queries; queries without a
//! class of their own are drawn one by one. The gallery stays as it is. Intervals are percentiles (Efron 1979).
//!
//! A mean over queries is `sum of w_c s_c / sum of w_c n_c` over classes `c` that were drawn `w_c` times, with `s_c` the sum of the
//! figure over the `n_c` queries of the class. DIR at FAR is taken anew in each draw, threshold and all, of mated queries and unmated
//! ones that count as often as their class was drawn.

use super::open_set::{NEVER, Nearest};
use super::verification::{Bootstrap, Figures, Interval, Step, Tally, at_fmr, carries, percentiles};

/// What of each class goes into the means.
#[derive(Clone, Debug)]
pub struct Sums {
    names: Vec<String>,
    /// Of each class the number of its queries, then the sum of each figure.
    of: Vec<Vec<f64>>,
}

impl Sums {
    /// Nothing yet, of figures of these names over so many classes.
    pub fn new(names: Vec<String>, classes: usize) -> Self {
        Self { of: vec![vec![0.0; names.len() + 1]; classes], names }
    }

    /// Adds a query of a class.
    ///
    /// # Panics
    /// Where there are other than as many figures as names.
    pub fn add(&mut self, class: usize, figures: &[f64]) {
        assert_eq!(figures.len(), self.names.len(), "a figure for each name");
        self.of[class][0] += 1.0;
        self.of[class][1..].iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }

    /// Intervals of the means.
    pub fn intervals(&self, how: &Bootstrap) -> Vec<Interval> {
        let means = |weights: &[u64]| -> Option<Figures> {
            let mut sums = vec![0.0; self.names.len() + 1];
            for (of, &weight) in self.of.iter().zip(weights).filter(|(_, weight)| **weight > 0) {
                sums.iter_mut().zip(of).for_each(|(sum, value)| *sum += weight as f64 * value);
            }
            let mean = |sum: &f64| (sums[0] > 0.0).then(|| sum / sums[0]);
            Some(self.names.iter().cloned().zip(sums[1..].iter().map(mean)).collect())
        };
        percentiles(&how.draw(self.of.len(), &means), how)
    }
}

/// The class of each query of an open set, in the order of [`Nearest`].
#[derive(Clone, Debug, Default)]
pub struct ClassOf {
    /// Of those whose nearest image is of their class.
    pub right: Vec<usize>,
    /// Of mated queries whose nearest image is of another.
    pub wrong: Vec<usize>,
    /// Of unmated queries.
    pub unmated: Vec<usize>,
}

/// Intervals of DIR at each target FAR that the unmated queries carry; `name` names a target's figure.
pub fn open_set_intervals(
    nearest: &Nearest,
    (of, classes): (&ClassOf, usize),
    targets: &[f64],
    name: &(dyn Fn(f64) -> String + Sync),
    how: &Bootstrap,
) -> Vec<Interval> {
    let right = nearest.right.iter().zip(&of.right).map(|(&score, &class)| (score, class, true));
    let unmated = nearest.unmated.iter().zip(&of.unmated).map(|(&score, &class)| (score, class, false));
    let wrong = of.wrong.iter().map(|&class| (NEVER, class, true));
    let mut scores: Vec<(f64, usize, bool)> = right.chain(wrong).chain(unmated).collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Whether a target is carried is a matter of the queries that there are, not of those that are drawn.
    let carried = |target| carries(nearest.unmated.len() as u64, target);
    let figures = |weights: &[u64]| -> Option<Figures> {
        let step = |&(score, class, mated): &(f64, usize, bool)| {
            let weight = weights[class];
            Step { score, genuine: if mated { weight } else { 0 }, impostor: if mated { 0 } else { weight } }
        };
        let tally = Tally::of_sorted(scores.iter().map(step).collect()).ok()?;
        let reached = at_fmr(&tally, targets).into_iter().zip(targets);
        Some(reached.map(|(at, &target)| (name(target), carried(target).then_some(1.0 - at.fnmr))).collect())
    };
    percentiles(&how.draw(classes, &figures), how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const HOW: Bootstrap = Bootstrap { replicates: 300, seed: 3, level: 0.95 };

    fn name(target: f64) -> String {
        format!("dir@far={target}")
    }

    #[test]
    fn classes_are_drawn_with_all_their_queries() {
        let mut sums = Sums::new(vec!["one".into(), "half".into()], 2);
        // 1, 1 of the first class, 0 of the second: a draw has both, the first twice or the second twice.
        for (class, hit) in [(0, 1.0), (0, 1.0), (1, 0.0)] {
            sums.add(class, &[1.0, hit]);
        }
        let found = sums.intervals(&HOW);
        let ends = |at: usize| (found[at].name.as_str(), found[at].low, found[at].high);
        assert_eq!((ends(0), ends(1)), (("one", 1.0, 1.0), ("half", 0.0, 1.0)));
        assert_eq!(found, sums.intervals(&HOW));
    }

    #[test]
    fn dir_is_taken_anew_in_each_draw() {
        // The case of the measure itself, whose DIR is 2/5; all unmated queries are of one class.
        let nearest = Nearest {
            right: vec![0.2, 0.355, 0.38, 0.9],
            wrong: 1,
            unmated: (1..=40).map(|n| f64::from(n) / 100.0).collect(),
        };
        let of = ClassOf { right: vec![0, 1, 2, 3], wrong: vec![4], unmated: vec![5; 40] };
        let found = open_set_intervals(&nearest, (&of, 6), &[0.1, 0.01], &name, &HOW);
        assert_eq!(found.len(), 1, "forty unmated queries carry a FAR of 0.1 alone: {found:?}");
        assert!(found[0].name == "dir@far=0.1" && found[0].low < 0.4 && found[0].high > 0.4, "{found:?}");
        // Of many queries that do as these two did, drawn one by one, half are identified.
        let many = Nearest {
            right: (0..400).map(|n| if n % 2 == 0 { 0.9 } else { 0.1 }).collect(),
            wrong: 0,
            unmated: vec![0.5; 60],
        };
        let of = ClassOf { right: (0..400).collect(), wrong: Vec::new(), unmated: (400..460).collect() };
        let found = &open_set_intervals(&many, (&of, 460), &[0.1], &name, &HOW)[0];
        assert!((0.43..0.49).contains(&found.low) && (0.51..0.57).contains(&found.high), "{found:?}");
    }

    /// How many of `times` simulated intervals hold the truth.
    fn covered(times: u64, truth: f64, simulate: impl Fn(&mut Pcg64) -> Interval) -> f64 {
        let held = (0..times).filter(|&time| {
            let found = simulate(&mut Pcg64::seed_from_u64(1000 + time));
            found.low <= truth && truth <= found.high
        });
        held.count() as f64 / times as f64
    }

    #[test]
    fn intervals_cover_as_often_as_they_say() {
        // Classes of five queries with hit rates of their own, from 0.4 to 1: by single queries intervals would be too narrow.
        let recall = |random: &mut Pcg64| {
            let mut sums = Sums::new(vec!["recall@1".into()], 80);
            for class in 0..80 {
                let rate = 0.4 + 0.6 * random.random::<f64>();
                (0..5).for_each(|_| sums.add(class, &[f64::from(u8::from(random.random::<f64>() < rate))]));
            }
            sums.intervals(&HOW).swap_remove(0)
        };
        let held = covered(200, 0.7, recall);
        assert!((0.90..=0.985).contains(&held), "recall@1: {held}");
        // Unmated queries score evenly from 0 to 1, so that the threshold of FAR 0.1 is 0.9; nine of ten mated queries find themselves
        // first, with scores from 0.7 to 1.2, of which three fifths are accepted.
        let dir = |random: &mut Pcg64| {
            let mut nearest = Nearest { unmated: (0..200).map(|_| random.random()).collect(), ..Nearest::default() };
            let mut of = ClassOf { unmated: (0..200).collect(), ..ClassOf::default() };
            for class in 200..400 {
                if random.random::<f64>() < 0.9 {
                    nearest.right.push(0.7 + 0.5 * random.random::<f64>());
                    of.right.push(class);
                } else {
                    nearest.wrong += 1;
                    of.wrong.push(class);
                }
            }
            open_set_intervals(&nearest, (&of, 400), &[0.1], &name, &HOW).swap_remove(0)
        };
        let held = covered(100, 0.9 * 0.6, dir);
        assert!((0.88..=0.99).contains(&held), "dir@far=0.1: {held}");
    }
}
