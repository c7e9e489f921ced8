//! PD-Loss (proxy-decidability), arXiv 2508.17082.
#![forbid(unsafe_code)]

#[cfg(feature = "onnx")]
pub mod graph;
pub mod loss;
pub mod reference;
#[cfg(feature = "testing")]
pub mod testing;
