//! PD-Loss, exactly, without ever holding a similarity matrix.
//!
//! [`forward()`] gives the loss, its [`Moments`] and a [`Saved`] state; [`backward()`] turns that state and the same inputs
//! into gradients. [`forward_backward`] does both. The `_into` variants write to the caller's memory. All take a
//! [`Batch`], views of any strides, and an [`Executor`] that runs their blocks: [`Threads`] for the `rayon` pool, [`Serial`], or a host's
//! own. Results are the same to the bit whatever the number of threads.
//!
//! [`d_loss`] is the same index over the pairs of a batch. [`Statistics`] are what shards on different machines merge.

mod backward;
mod batch;
mod config;
mod decidability;
mod dloss;
mod error;
mod executor;
mod forward;
mod gradient;
mod gram;
mod moments;
mod product;
mod proxies;
mod rows;
mod saved;
mod scalar;
mod shard;
mod tiles;

pub use backward::{backward, backward_into, forward_backward, forward_backward_into};
pub use batch::{Batch, Gradients, GradientsMut, Samples};
pub use config::{Algorithm, Config, FloorMode, Form};
pub use decidability::VARIANCE_FLOOR;
pub use dloss::{DForward, DSaved, DSavedParts, d_loss, d_loss_backward, d_loss_backward_into};
pub use error::Error;
pub use executor::{Executor, Serial, Threads};
pub use forward::{Forward, forward};
pub use gram::RowMoments;
pub use moments::{Moments, Summary};
pub use proxies::{ClassMeans, class_mean_proxies, random_proxies, random_proxies_of};
pub use rows::LENGTH_FLOOR;
pub use saved::{Saved, SavedParts};
pub use scalar::{Label, Real};
pub use shard::{Statistics, genuine_summary};
