//! Measures exported ONNX embedders: Recall@K, R-precision and MAP@R on labelled images, and verification of pairs,
//! exactly and without Python.
//!
//! The data flows one way:
//!
//! ```text
//! dataset + preprocess ─▶ pipeline (embedder) ─▶ embeddings ─▶ index ─▶ metrics ─▶ report
//!                                                                              └─▶ runs ─▶ page, compare, tabulate
//! ```
//!
//! The binary `pdloss-eval` is a thin shell over this library; see its `--help`.
#![deny(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod dataset;
pub mod embedder;
pub mod embeddings;
mod error;
pub mod index;
pub mod inspect;
pub mod metrics;
pub mod page;
pub mod pairs;
pub mod pipeline;
pub mod preprocess;
#[allow(unsafe_code)]
pub mod process;
pub mod progress;
pub mod recall;
mod records;
pub mod report;
pub mod runs;
pub mod scores;
pub mod similarities;
pub mod tabulate;
pub mod verification;
pub mod verify;

pub use error::{Error, Result};
