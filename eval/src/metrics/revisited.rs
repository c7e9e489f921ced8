//! Mean average precision and mean precision of Revisited Oxford and Paris (Radenović et al. 2018, "Revisiting Oxford and Paris:
//! Large-Scale Image Retrieval Benchmarking"), as their evaluation code has them.
//!
//! What a query should find (its *positives*) and what is passed over (its *junk*) depend on the setup:
//!
//! | setup | positives | junk |
//! |---|---|---|
//! | easy | easy | junk, hard |
//! | medium | easy, hard | junk |
//! | hard | hard | junk, easy |
//!
//! Junk is taken out of the ranked list before ranks are counted. With `r_j` the rank, from 0, of the `j`-th of `n` positives,
//! `AP = (1/n) sum for j = 0 to n - 1 of (p_j + (j + 1) / (r_j + 1)) / 2`, where `p_j = j / r_j`, and 1 for `r_j = 0`: the area under
//! precision and recall by trapezoids, as Oxford's first code has it, not the sum of TREC.
//! `P@K = (positives among the first k) / k` with `k = min(K, rank of the last positive, from 1)`. Queries without positives are left
//! out of the means.

use crate::pairs::Judged;

/// The K of precision that the benchmark reports.
pub const KS: [usize; 3] = [1, 5, 10];

/// Which images are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The easy ones.
    Easy,
    /// The easy and the hard ones.
    Medium,
    /// The hard ones.
    Hard,
}

impl Setup {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Easy, Self::Medium, Self::Hard];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }

    /// Positives and junk of a query.
    fn sides(self, of: &Judged) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::Easy => (of.easy.clone(), [of.junk.as_slice(), &of.hard].concat()),
            Self::Medium => ([of.easy.as_slice(), &of.hard].concat(), of.junk.clone()),
            Self::Hard => (of.hard.clone(), [of.junk.as_slice(), &of.easy].concat()),
        }
    }
}

/// Means over the queries that have positives.
#[derive(Clone, Debug, PartialEq)]
pub struct Revisited {
    /// Mean average precision.
    pub map: f64,
    /// Mean precision at each of [`KS`].
    pub precision: [f64; 3],
    /// AP and P@K of each query that has positives.
    pub each: Vec<Figures>,
}

/// AP and P@K of one query.
pub type Figures = (f64, [f64; 3]);

/// Those of a query of which `ranked` is the whole gallery in order; `None` where it has no positives.
fn query(ranked: &[usize], judged: &Judged, setup: Setup) -> Option<Figures> {
    let (positives, junk) = setup.sides(judged);
    let mut kinds = vec![0_u8; ranked.len()];
    positives.iter().for_each(|&place| kinds[place] = 1);
    junk.iter().for_each(|&place| kinds[place] = 2);
    let counted = ranked.iter().map(|&place| kinds[place]).filter(|&kind| kind != 2);
    let ranks: Vec<usize> = counted.enumerate().filter(|(_, kind)| *kind == 1).map(|(rank, _)| rank).collect();
    let last = 1 + *ranks.last()?;
    let area = |(j, &rank): (usize, &usize)| {
        let before = if rank == 0 { 1.0 } else { j as f64 / rank as f64 };
        f64::midpoint(before, (j + 1) as f64 / (rank + 1) as f64)
    };
    let ap = ranks.iter().enumerate().map(area).sum::<f64>() / ranks.len() as f64;
    let precision = KS.map(|k| {
        let k = k.min(last);
        ranks.iter().filter(|&&rank| rank < k).count() as f64 / k as f64
    });
    Some((ap, precision))
}

/// The means of a setup; `ranked` is the whole gallery in order for each query. `None` where no query has positives.
pub fn revisited(ranked: &[Vec<usize>], judged: &[Judged], setup: Setup) -> Option<Revisited> {
    let each: Vec<_> = ranked.iter().zip(judged).filter_map(|(ranked, judged)| query(ranked, judged, setup)).collect();
    let mean = |value: &dyn Fn(&Figures) -> f64| each.iter().map(value).sum::<f64>() / each.len() as f64;
    (!each.is_empty()).then(|| Revisited {
        map: mean(&|of| of.0),
        precision: std::array::from_fn(|at| mean(&|of| of.1[at])),
        each: each.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // Ranked: 4 (junk), 0 (easy), 5 (neither), 2 (hard), 1 (easy), 3 (neither).
        let judged = Judged { easy: vec![0, 1], hard: vec![2], junk: vec![4], ..Judged::default() };
        let ranked = [4, 0, 5, 2, 1, 3];
        let close = |found: Option<Figures>, ap: f64, precision: [f64; 3]| {
            let (found_ap, found_precision) = found.unwrap();
            assert!((found_ap - ap).abs() < 1e-12, "{found_ap}, wanted {ap}");
            assert_eq!(found_precision, precision);
        };
        // Without 4 and 2: 0, 5, 1, 3; ranks 0 and 2: ((1 + 1/1) + (1/2 + 2/3)) / 2 / 2
        close(query(&ranked, &judged, Setup::Easy), (2.0 + 0.5 + 2.0 / 3.0) / 4.0, [1.0, 2.0 / 3.0, 2.0 / 3.0]);
        // Without 4: 0, 5, 2, 1, 3; ranks 0, 2, 3: ((1 + 1) + (1/2 + 2/3) + (2/3 + 3/4)) / 2 / 3
        let medium = (2.0 + 0.5 + 2.0 / 3.0 + 2.0 / 3.0 + 0.75) / 6.0;
        close(query(&ranked, &judged, Setup::Medium), medium, [1.0, 0.75, 0.75]);
        // Without 4, 0 and 1: 5, 2, 3; rank 1: (0/1 + 1/2) / 2; the last positive is the second image.
        close(query(&ranked, &judged, Setup::Hard), 0.25, [0.0, 0.5, 0.5]);
        // A query without hard images is in no mean of that setup.
        let easy = Judged { easy: vec![3], ..Judged::default() };
        let both = [ranked.to_vec(), ranked.to_vec()];
        let hard = revisited(&both, &[judged.clone(), easy.clone()], Setup::Hard).unwrap();
        assert_eq!((hard.each.len(), hard.map), (1, 0.25));
        assert_eq!(revisited(&both[..1], &[easy], Setup::Hard), None);
    }
}
