//! Gradients of graphs, on onnxruntime.
#![cfg(feature = "onnx")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "tests draw small numbers")]
#![allow(
    clippy::print_stdout,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "tests report what they measured"
)]

#[path = "../common/environment.rs"]
mod environment;
mod fuzz;
mod model;
mod refusals;
mod rules;
#[path = "../common/runtime.rs"]
mod runtime;
mod training;
