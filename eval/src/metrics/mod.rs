//! Measures of [`verification`], [`clustering`] and [`open_set`] identification, [`templates`] of several images,
//! [`revisited`] Oxford and Paris, [`confusion`] of classes, and whether
//! differences are more than chance. Those of retrieval are in [`pdloss_embed::retrieval`].

pub mod clustering;
pub mod confusion;
pub mod open_set;
pub mod projection;
pub mod query_intervals;
pub mod revisited;
pub mod significance;
pub mod templates;
pub mod tsne;
pub mod verification;
