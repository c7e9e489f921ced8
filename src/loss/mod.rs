//! PD-Loss, exactly, without ever holding a similarity matrix.
mod backward;
mod config;
mod decidability;
mod error;
mod executor;
mod forward;
mod gradient;
mod gram;
mod moments;
mod product;
mod rows;
mod saved;
mod scalar;
mod tiles;

pub use backward::{Gradients, backward, backward_into, forward_backward, forward_backward_into};
pub use config::{Config, FloorMode, Form, Path};
pub use decidability::VARIANCE_FLOOR;
pub use error::Error;
pub use executor::{Executor, Serial, Threads};
pub use forward::{Forward, forward};
pub use gram::RowMoments;
pub use moments::{Moments, Summary};
pub use rows::LENGTH_FLOOR;
pub use saved::{Saved, SavedParts};
pub use scalar::{Label, Real};
