//! Measures of verification, one a file, each a pure function of genuine and impostor scores (greater is more alike).
//!
//! A pair is accepted at threshold `t` where its score is at least `t`. Then
//! `FMR(t) = impostor pairs accepted / impostor pairs` and `FNMR(t) = genuine pairs rejected / genuine pairs`.
//! Thresholds are observed scores, so every rate is a whole count over a whole count; none is interpolated.

mod assessment;
mod at_fmr;
mod auc;
mod best;
mod bootstrap;
mod cllr;
mod curve;
mod dcf;
mod decidability;
mod eer;
mod folds;
mod groups;
mod histogram;
mod hter;
#[cfg(test)]
mod iris;
mod logistic;
mod partial_auc;
mod pav;
mod rates;
mod rocch;
mod similarities;
mod streamed;
mod tally;

pub use assessment::{Asked, Assessment, PARTS};
pub use at_fmr::{AtFmr, Reached, TARGETS, at_fmr, carries, zero_fmr, zero_fnmr};
pub use auc::auc;
pub use best::{Best, BestOf, best};
pub use bootstrap::{Bootstrap, Interval, SubjectPair, beside_their_figures, bootstrap};
pub(super) use bootstrap::{Figures, percentiles, quantile};
pub use cllr::{cllr, cllr_of, min_cllr};
pub use curve::curve;
pub use dcf::{Cost, actual_dcf, actual_dcf_of, min_dcf};
pub use decidability::{Decidability, decidability};
pub use eer::{Eer, eer};
pub use folds::{Accuracy, Decisions, Division, Fold, Folds, best_threshold, cross_validate, test_at};
pub use groups::{Ends, GroupErrors, by_group, group_intervals};
pub use histogram::Bin;
pub(crate) use histogram::histogram;
pub use hter::{Hter, hter};
pub use logistic::{Line, logistic};
pub use partial_auc::partial_auc;
pub use pav::{Block, pav};
pub use rates::Rates;
pub use rocch::eer_rocch;
pub use similarities::{
    KEPT_PAIRS, MOST_PAIRS, all_rows, are_copies, cosines, keep_all, of_pairs, pair_count, tally, tally_all,
    tally_alone,
};
pub use streamed::count_all;
pub use tally::{Failed, GRID, GridCounter, Point, Step, Tally};
