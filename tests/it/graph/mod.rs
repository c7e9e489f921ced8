//! Gradients of graphs, on onnxruntime.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "tests draw small numbers")]
#![allow(
    clippy::print_stdout,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "tests report what they measured"
)]

mod exported;
mod external;
mod fuzz;
mod model;
mod moves;
mod refusals;
mod rules;
mod training;
mod written_out;
