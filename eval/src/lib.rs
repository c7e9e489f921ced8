//! Measures exported ONNX embedders: Recall@K, R-precision and MAP@R on labelled images, and verification of pairs,
//! exactly and without Python.
//!
//! The data flows one way:
//!
//! ```text
//! images ─▶ embeddings (crate pdloss-embed) ─▶ index ─▶ metrics ─▶ runs ─▶ table, plot ─▶ commands
//! ```
//!
//! The binary `pdloss-eval` is a thin shell over [`commands`]; see its `--help`.
#![deny(unsafe_code)]

pub mod commands;
pub mod factory;
pub mod index;
pub mod metrics;
pub mod pairs;
pub mod plot;
#[allow(unsafe_code)]
pub mod process;
pub mod runs;
pub mod table;

pub use pdloss_embed::{Error, Result};
