//! Labelled images to embeddings by an exported ONNX model, and who is nearest to whom among them.
//!
//! The data flows one way:
//!
//! ```text
//! dataset + preprocess ─▶ pipeline (embedder) ─▶ embeddings ─▶ retrieval
//! ```
//!
//! `pdloss-eval` measures with it, `pdloss train` validates with it. Neither FAISS nor tables are needed here: the search of
//! [`retrieval`] is an exact product of matrices, and other indexes come in through [`retrieval::Index`].
//!
//! The repository's pages: `docs/data.md` has the layouts that [`dataset`] reads, `docs/preprocessing.md` the recipes of
//! [`preprocess`], `docs/extending.md` how a data set is added.
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
pub mod arguments;
mod beginnings;
pub mod console;
pub mod dataset;
pub mod delimited;
pub mod digest;
pub mod embedder;
pub mod embeddings;
mod error;
pub mod files;
pub mod guard;
pub mod npy;
pub mod pipeline;
pub mod preprocess;
pub mod process;
#[cfg(feature = "cli")]
pub mod program;
pub mod ranks;
pub mod retrieval;
pub mod tensors;

pub use error::{Error, Result};
