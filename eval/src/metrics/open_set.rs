//! Open-set identification (Phillips et al. 2011): a query is accepted as its nearest image's class where they are at least as
//! alike as a threshold. A **mated** query, whose class is in the gallery, is identified where its nearest image is of its
//! class and accepted; an **unmated** one raises a false alarm where it is accepted, whoever it is taken for.
//!
//! `DIR(t) = mated queries identified / mated queries` (detection and identification rate at rank 1, TPIR),
//! `FAR(t) = unmated queries accepted / unmated queries` (false alarm rate, FPIR). DIR at FAR is that of the smallest observed
//! threshold whose FAR does not exceed the target, which, as in verification, unmated queries too few do not carry.

use super::verification::{AtFmr, Tally, at_fmr, carries};
use crate::Result;

/// How similar the nearest image of each query is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearest {
    /// Of mated queries whose nearest image is of their class.
    pub right: Vec<f64>,
    /// Mated queries whose nearest image is of another.
    pub wrong: u64,
    /// Of unmated queries.
    pub unmated: Vec<f64>,
}

/// The score of a wrongly named query, which no observed threshold accepts.
pub(super) const NEVER: f64 = f64::NEG_INFINITY;

/// For each target FAR the threshold, the FAR there and `1 - DIR` there, as FMR and FNMR of a [`Tally`] in which a wrongly
/// named query is a genuine pair that no threshold accepts.
///
/// # Errors
/// [`Error::Measure`](crate::Error::Measure) where no query is mated, or none is unmated.
pub fn open_set(nearest: &Nearest, targets: &[f64]) -> Result<Vec<AtFmr>> {
    let wrong = (0..nearest.wrong).map(|_| NEVER);
    let mated: Vec<f64> = nearest.right.iter().copied().chain(wrong).collect();
    let tally = Tally::of_scores(&mated, &nearest.unmated)?;
    let found = targets.iter().zip(at_fmr(&tally, targets));
    let carried = |target| carries(tally.impostor(), target);
    Ok(found.map(|(&target, reached)| AtFmr { target, reached: carried(target).then_some(reached) }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::verification::Reached;
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // 40 unmated queries at 0.01 to 0.40; of five mated ones one is named wrongly
        let unmated = (1..=40).map(|n| f64::from(n) / 100.0).collect();
        let nearest = Nearest { right: vec![0.2, 0.355, 0.38, 0.9], wrong: 1, unmated };
        let found = open_set(&nearest, &[0.1, 0.01]).unwrap();
        // at most 4 of 40: from 0.37 on, where 0.38 and 0.9 of five are identified
        assert_eq!(found[0].reached, Some(Reached { threshold: 0.37, fmr: 0.1, fnmr: 3.0 / 5.0 }));
        assert_eq!(found[1].reached, None);
    }

    #[test]
    fn where_no_query_is_named_rightly_none_is_identified() {
        let unmated = (1..=40).map(|n| f64::from(n) / 100.0).collect();
        let found = open_set(&Nearest { right: Vec::new(), wrong: 2, unmated }, &[0.1, 0.01]).unwrap();
        assert_eq!(found[0].reached, Some(Reached { threshold: 0.37, fmr: 0.1, fnmr: 1.0 }));
        assert_eq!(found[1].reached, None);
    }

    #[test]
    fn wants_both_kinds_of_queries() {
        let nearest =
            |right: &[f64], unmated: &[f64]| Nearest { right: right.into(), wrong: 0, unmated: unmated.into() };
        assert!(open_set(&nearest(&[], &[0.1]), &[0.1]).is_err() && open_set(&nearest(&[0.1], &[]), &[0.1]).is_err());
    }
}
