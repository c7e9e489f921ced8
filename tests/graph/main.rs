//! Gradients of graphs, on onnxruntime.
#![cfg(feature = "onnx")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::unwrap_used, reason = "tests")]

mod fuzz;
mod model;
mod refusals;
mod rules;
mod runtime;
mod training;
