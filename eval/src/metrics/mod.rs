//! Measures of [`verification`] and of [`clustering`], and whether differences are more than chance. Those of retrieval are in
//! [`pdloss_embed::retrieval`].

pub mod clustering;
pub mod significance;
pub mod verification;
