//! Measures of [`verification`], and whether differences are more than chance. Those of retrieval are in
//! [`pdloss_embed::retrieval`].

pub mod significance;
pub mod verification;
