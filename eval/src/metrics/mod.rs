//! Measures of retrieval, one a file, each the mean over queries of a pure function of one ranked list; and those of
//! [`verification`].

mod map_at_r;
mod r_precision;
mod recall;
mod retrieval;
pub mod significance;
pub mod verification;

pub use map_at_r::average_precision_at_r;
pub use r_precision::r_precision;
pub use recall::first_hit;
pub use retrieval::{Query, Retrieval, Search, measure};
