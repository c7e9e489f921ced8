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
//!
//! The repository's pages: `docs/measures.md` has each measure with its formula, an example by hand and its source,
//! `docs/verification.md` the protocols of pairs, `docs/runs.md` what is done with kept runs, `docs/columns.md` every column,
//! `docs/extending.md` how a measure is added.
#![deny(unsafe_code)]

pub mod commands;
pub mod factory;
pub mod index;
pub mod level;
pub mod metrics;
pub mod pairs;
pub mod plot;
#[allow(unsafe_code)]
pub mod process;
pub mod runs;
pub mod table;

pub use pdloss_embed::{Error, Result};
