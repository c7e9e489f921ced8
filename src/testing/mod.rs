//! What every implementation of the loss is tested with: one list of cases, one error budget.
//!
//! Plain data, so that operators in a session and kernels on a device can run the same list. Inputs are `f32`; the
//! oracle takes the same numbers in `f64`.

mod budget;
mod cases;
mod plain;

pub use budget::{F32_SLACK, compare, compare_value};
pub use cases::{Case, Distribution, cases, d_loss_cases};
pub use plain::{Plain, plain};
