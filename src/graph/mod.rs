//! ONNX models as data: read, extend by the loss, write.
//!
//! [`proto`] declares every message of the format, so that what is read is written again whole; [`mod@file`] reads and writes
//! files; [`build`] makes nodes, constants and types; [`head`] puts PD-Loss behind an embedder, as this project's operator
//! or spelt out in standard operators. [`shapes`] infers types and shapes, [`upgrade`] brings older models to opset 17,
//! [`widen`] those of 16 bits to float32, [`training_mode`] rewrites an inference graph for training, [`gradient`] differentiates it. [`losses`] has PD-Loss and its baselines in
//! standard operators, [`step`] puts it all into one graph that trains. [`providers`] says which nodes have CUDA kernels.

mod attributes;
pub mod branches;
pub mod build;
mod collective;
mod external;
pub mod file;
mod free_batch;
pub mod gradient;
pub mod head;
mod literal;
pub mod losses;
mod names;
mod nodes;
/// The message types of ONNX files, as `prost` writes them: the models that everything here reads, extends and writes.
pub mod proto;
pub mod providers;
mod proxies;
mod sequences;
pub mod shapes;
pub mod step;
pub mod training_mode;
pub mod upgrade;
pub mod widen;

/// Why a model could not be read, extended or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error("{path}: not an ONNX model")]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// Where decoding failed.
        source: prost::DecodeError,
    },
    /// The model is an ONNX model, but not one this can be done to.
    #[error("{subject}: {reason}")]
    Model {
        /// The graph, node or value that it is about.
        subject: String,
        /// What it should be, and what it is.
        reason: String,
    },
}

impl Error {
    pub(crate) fn model(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Model { subject: subject.into(), reason: reason.into() }
    }
}

/// The result of everything in this module that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
