//! Measures of verification, one a file, each a pure function of genuine and impostor scores (greater is more alike).
//!
//! A pair is accepted at threshold `t` where its score is at least `t`. Then
//! `FMR(t) = impostor pairs accepted / impostor pairs` and `FNMR(t) = genuine pairs rejected / genuine pairs`.
//! Thresholds are observed scores, so every rate is a whole count over a whole count; none is interpolated.

mod at_fmr;
mod auc;
mod bootstrap;
mod curve;
mod decidability;
mod eer;
mod folds;
mod histogram;
mod rates;
mod similarities;
mod tally;

pub use at_fmr::{AtFmr, Reached, TARGETS, at_fmr, carries, zero_fmr, zero_fnmr};
pub use auc::auc;
pub(super) use bootstrap::quantile;
pub use bootstrap::{Bootstrap, Interval, SubjectPair, bootstrap};
pub use curve::curve;
pub use decidability::{Decidability, decidability};
pub use eer::{Eer, eer};
pub use folds::{Accuracy, Decisions, Division, Fold, Folds, best_threshold, cross_validate, test_at};
pub use histogram::Bin;
pub(crate) use histogram::histogram;
pub use rates::Rates;
pub use similarities::{
    KEPT_PAIRS, are_copies, count_all, keep_all, of_pairs, pair_count, tally, tally_all, unit_rows,
};
pub use tally::{GRID, GridCounter, Point, Step, Tally};
