//! How close two embeddings are.

use std::fmt;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};

/// How close two embeddings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Metric {
    /// Cosine of the angle
    Cosine,
    /// Inner product
    #[cfg_attr(feature = "cli", value(aliases = ["inner-product", "dot"]))]
    Ip,
    /// Euclidean distance
    #[cfg_attr(feature = "cli", value(alias = "euclidean"))]
    L2,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Ip => "inner product",
            Self::L2 => "l2",
        })
    }
}

/// The rows divided by their length (in f64), as cosine search wants them.
///
/// # Errors
/// [`Error::Embeddings`] naming a row without direction.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub fn unit_rows(rows: ArrayView2<'_, f32>, name: impl Fn(usize) -> String) -> Result<Array2<f32>> {
    let mut unit = rows.as_standard_layout().into_owned();
    for (at, mut row) in unit.rows_mut().into_iter().enumerate() {
        let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(no_direction(&name(at)));
        }
        row.mapv_inplace(|v| (f64::from(v) / norm) as f32);
    }
    Ok(unit)
}

/// What is wrong with a row of zeros.
pub(super) fn no_direction(name: &str) -> Error {
    Error::Embeddings(format!(
        "{name} is all zeros, which has no cosine with anything (--metric l2 of recall compares it)"
    ))
}
