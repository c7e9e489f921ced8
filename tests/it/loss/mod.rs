//! The loss and its gradient, without a runtime.

mod edges;
mod gradients;
#[cfg(feature = "testing")]
mod nearly_parallel;
#[cfg(feature = "testing")]
mod oracle;
mod properties;
