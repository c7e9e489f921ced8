//! What can be wrong with a call.

use thiserror::Error;

/// Why a loss could not be computed. Every variant names the tensor or attribute and the values at fault.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the others ask for.
    #[error("{tensor} has shape {given:?}, wanted {wanted}")]
    Shape {
        /// The tensor at fault.
        tensor: &'static str,
        /// What would be accepted, in symbols and numbers.
        wanted: String,
        /// The shape that was given.
        given: Vec<usize>,
    },
    /// A label names no row of the proxies.
    #[error("labels[{row}] is {label}, wanted 0 <= label < {classes}")]
    Label {
        /// The sample.
        row: usize,
        /// Its label, as it was given.
        label: String,
        /// The number of classes.
        classes: usize,
    },
    /// An attribute is outside its range.
    #[error("attribute {attribute} is {given}, wanted {wanted}")]
    Attribute {
        /// The attribute's name.
        attribute: &'static str,
        /// What would be accepted.
        wanted: &'static str,
        /// What was given.
        given: String,
    },
    /// The batch holds no pair of this kind, so that its mean does not exist.
    #[error("labels hold no {kind} pair among {samples} samples, wanted at least one")]
    Pairs {
        /// `genuine` or `impostor`.
        kind: &'static str,
        /// Samples in the batch.
        samples: usize,
    },
}

impl Error {
    pub(crate) fn shape(tensor: &'static str, wanted: impl Into<String>, given: &[usize]) -> Self {
        Self::Shape { tensor, wanted: wanted.into(), given: given.to_vec() }
    }
}
