//! Error rates by group at one threshold. The group of a pair is that of its two images: of one group, or of two. At the
//! threshold that all share, `FMR_g = impostor pairs of g accepted / impostor pairs of g`, and `FNMR_g` likewise, as ISO/IEC
//! 19795-10 wants differences between groups shown.
//!
//! Intervals draw subjects over all groups at once ([`bootstrap`](super::bootstrap())'s draws), since a subject's pairs hang
//! together whichever groups they are in; the threshold stays.

use std::collections::HashSet;

use rayon::prelude::*;

use super::bootstrap::quantile;
use super::{Bootstrap, SubjectPair};

/// The errors of one group of pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupErrors {
    /// Genuine pairs.
    pub genuine: u64,
    /// Impostor pairs.
    pub impostor: u64,
    /// Impostor pairs accepted.
    pub false_matches: u64,
    /// Genuine pairs rejected.
    pub false_non_matches: u64,
}

/// Lower and upper end of an interval.
pub type Ends = (f64, f64);

impl GroupErrors {
    /// False match rate; `None` without impostor pairs.
    pub fn fmr(&self) -> Option<f64> {
        (self.impostor > 0).then(|| self.false_matches as f64 / self.impostor as f64)
    }

    /// False non-match rate; `None` without genuine pairs.
    pub fn fnmr(&self) -> Option<f64> {
        (self.genuine > 0).then(|| self.false_non_matches as f64 / self.genuine as f64)
    }
}

/// The errors of each of `count` groups; `groups` has the group of each pair, `weight` how often it counts.
fn errors(
    pairs: &[SubjectPair],
    groups: &[Option<u32>],
    count: usize,
    threshold: f64,
    weight: impl Fn(&SubjectPair) -> u64,
) -> Vec<GroupErrors> {
    let mut found = vec![GroupErrors::default(); count];
    for (pair, group) in pairs.iter().zip(groups) {
        let Some(group) = group else { continue };
        let (errors, weight) = (&mut found[*group as usize], weight(pair));
        let accepted = pair.score >= threshold;
        if pair.same {
            errors.genuine += weight;
            errors.false_non_matches += if accepted { 0 } else { weight };
        } else {
            errors.impostor += weight;
            errors.false_matches += if accepted { weight } else { 0 };
        }
    }
    found
}

/// The errors of each of `count` groups of pairs at a threshold; pairs of no group count nowhere.
pub fn by_group(pairs: &[SubjectPair], groups: &[Option<u32>], count: usize, threshold: f64) -> Vec<GroupErrors> {
    errors(pairs, groups, count, threshold, |_| 1)
}

/// For each group the intervals of FMR and FNMR; `None` where more than half of the draws have no such pair, and where every draw has the
/// same: of one or two subjects.
pub fn group_intervals(
    pairs: &[SubjectPair],
    groups: &[Option<u32>],
    count: usize,
    threshold: f64,
    subjects: usize,
    how: &Bootstrap,
) -> Vec<(Option<Ends>, Option<Ends>)> {
    let drawn: Vec<Vec<GroupErrors>> = (0..how.replicates)
        .into_par_iter()
        .map(|replicate| {
            let weights = how.weights(replicate, subjects);
            errors(pairs, groups, count, threshold, |pair| how.weight(&weights, pair))
        })
        .collect();
    let ends = |group: usize, rate: &dyn Fn(&GroupErrors) -> Option<f64>| {
        let mut values: Vec<f64> = drawn.iter().filter_map(|found| rate(&found[group])).collect();
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - how.level) / 2.0;
        (values.len() * 2 > drawn.len()).then(|| (quantile(&values, tail), quantile(&values, 1.0 - tail)))
    };
    let subjects = subjects_of(pairs, groups, count);
    let of_group = |group: usize| {
        let (genuine, impostor) = subjects[group];
        let fmr = if impostor > 2 { ends(group, &GroupErrors::fmr) } else { None };
        let fnmr = if genuine > 2 { ends(group, &GroupErrors::fnmr) } else { None };
        (fmr, fnmr)
    };
    (0..count).map(of_group).collect()
}

/// How many subjects the genuine pairs of each group are of, and the impostor pairs.
fn subjects_of(pairs: &[SubjectPair], groups: &[Option<u32>], count: usize) -> Vec<(usize, usize)> {
    let mut found = vec![(HashSet::new(), HashSet::new()); count];
    for (pair, group) in pairs.iter().zip(groups).filter_map(|(pair, group)| Some((pair, (*group)? as usize))) {
        let of = if pair.same { &mut found[group].0 } else { &mut found[group].1 };
        of.extend([pair.a, pair.b]);
    }
    found.iter().map(|(genuine, impostor)| (genuine.len(), impostor.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(score: f64, a: u32, b: u32) -> SubjectPair {
        SubjectPair { score, a, b, same: a == b }
    }

    #[test]
    fn subjects_too_few_to_draw_from_have_no_interval() {
        // Group 0: three subjects; group 1: genuine pairs of one, impostor pairs of two.
        let of = [(0.9, 0, 0), (0.4, 1, 1), (0.6, 2, 2), (0.7, 0, 1), (0.3, 1, 2), (0.2, 0, 2)];
        let small = [(0.9, 3, 3), (0.4, 3, 3), (0.7, 3, 4), (0.2, 4, 3)];
        let pairs: Vec<SubjectPair> = of.iter().chain(&small).map(|&(score, a, b)| pair(score, a, b)).collect();
        let groups: Vec<Option<u32>> = (0..10).map(|at| Some(u32::from(at >= 6))).collect();
        let how = Bootstrap { replicates: 200, level: 0.95, seed: 1 };
        let found = group_intervals(&pairs, &groups, 2, 0.5, 5, &how);
        assert!(found[0].0.is_some() && found[0].1.is_some() && found[1] == (None, None), "{found:?}");
    }

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        let pairs =
            [pair(0.9, 0, 0), pair(0.4, 1, 1), pair(0.6, 2, 2), pair(0.7, 0, 1), pair(0.5, 1, 2), pair(0.1, 0, 2)];
        let groups = [Some(0), Some(0), Some(1), Some(0), Some(2), None];
        let found = by_group(&pairs, &groups, 3, 0.5);
        let errors = |genuine, impostor, false_matches, false_non_matches| GroupErrors {
            genuine,
            impostor,
            false_matches,
            false_non_matches,
        };
        assert_eq!(found, [errors(2, 1, 1, 1), errors(1, 0, 0, 0), errors(0, 1, 1, 0)]);
        assert_eq!((found[0].fmr(), found[0].fnmr()), (Some(1.0), Some(0.5)));
        assert_eq!((found[1].fmr(), found[2].fnmr()), (None, None));
    }

    /// A share of subjects whose genuine pairs all fail: its interval from draws of subjects covers the truth as often as it
    /// says, which one from draws of pairs, as if they were independent, would not.
    #[test]
    fn intervals_cover_as_often_as_they_say() {
        use rand::RngExt;
        use rand_pcg::Pcg64;
        const TRUTH: f64 = 0.3;
        let how = Bootstrap { replicates: 200, seed: 3, level: 0.9 };
        let covered = (0..200_u64)
            .filter(|&run| {
                let mut random = Pcg64::new(u128::from(run), 77);
                let mut pairs = Vec::new();
                for subject in 0..80 {
                    let score = f64::from(u8::from(random.random_range(0.0..1.0) >= TRUTH));
                    pairs.extend((0..10).map(|_| pair(score, subject, subject)));
                }
                let groups = vec![Some(0); pairs.len()];
                let (from, to) = group_intervals(&pairs, &groups, 1, 0.5, 80, &how)[0].1.unwrap();
                (from..=to).contains(&TRUTH)
            })
            .count();
        // 180 of 200 are meant; three deviations are 13
        assert!((165..=193).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn a_group_that_is_seldom_drawn_has_no_interval() {
        let mut pairs: Vec<SubjectPair> = (0..40).map(|subject| pair(0.9, subject, subject)).collect();
        pairs.push(pair(0.1, 0, 1));
        let groups: Vec<Option<u32>> = pairs.iter().map(|pair| Some(u32::from(!pair.same))).collect();
        let how = Bootstrap { replicates: 100, seed: 1, level: 0.95 };
        let found = group_intervals(&pairs, &groups, 2, 0.5, 40, &how);
        assert_eq!((found[0], found[1]), ((None, Some((0.0, 0.0))), (None, None)));
    }
}
