//! What can go wrong between ONNX Runtime and the loss, as values.

/// Why an operator refused to load or to run. Each message names the operator's tensor or attribute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host's ONNX Runtime has no C API table of the level that this library is written against.
    #[error("this onnxruntime is too old: the C API of level {wanted} (onnxruntime 1.{wanted}) is needed")]
    TooOld {
        /// The API level asked for.
        wanted: u32,
    },
    /// ONNX Runtime itself answered a call with an error.
    #[error("onnxruntime: {0}")]
    Runtime(String),
    /// An attribute of the node is of the wrong type or outside its range.
    #[error("attribute {name}: {reason}")]
    Attribute {
        /// The attribute's name.
        name: String,
        /// What it should have been, and what it is.
        reason: String,
    },
    /// A tensor has a type, a rank or a length that the operator cannot take.
    #[error("{tensor}: wanted {wanted}, got {got}")]
    Tensor {
        /// The tensor's name in the operator's signature.
        tensor: String,
        /// What the operator takes.
        wanted: String,
        /// What it was given.
        got: String,
    },
    /// The loss refused its arguments (a label out of range, an empty batch, fewer than two classes).
    #[error("{0}")]
    Loss(String),
    /// The device, its driver or its libraries refused.
    #[error("CUDA: {0}")]
    Device(String),
    /// The ranks of the world cannot be joined, or do not exchange the same.
    #[error("ranks: {0}")]
    Ranks(String),
    /// A panic was caught at the C boundary; it is a defect of this library.
    #[error("internal error: {0}")]
    Panic(String),
}

impl Error {
    pub(crate) fn loss(error: pdloss::loss::Error) -> Self {
        Self::Loss(error.to_string())
    }

    pub(crate) fn tensor(tensor: &str, wanted: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Tensor { tensor: tensor.to_owned(), wanted: wanted.into(), got: got.into() }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
