//! What is known of a tensor without computing it, and what a tensor in a file claims.

use std::path::Path;

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

use crate::error::{Error, Result};

/// Constants of up to this many values are followed by value: shapes, sizes, pads.
pub(super) const FOLLOWED: usize = 64;

/// What is known of a tensor.
#[derive(Clone, Debug)]
pub(in super::super) struct Known {
    pub(super) shape: Vec<u128>,
    pub(in super::super) values: Option<Vec<f64>>,
    pub(super) is_constant: bool,
}

impl Known {
    pub(super) fn of(shape: Vec<u128>) -> Self {
        Self { shape, values: None, is_constant: false }
    }

    pub(super) fn vector(values: Vec<f64>) -> Self {
        Self { shape: vec![values.len() as u128], values: Some(values), is_constant: false }
    }

    pub(super) fn count(&self) -> u128 {
        self.shape.iter().fold(1, |product: u128, &dim| product.saturating_mul(dim))
    }
}

/// Bytes of an element, where they are whole.
fn element(tensor: &TensorProto) -> Option<u128> {
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

/// Whether a tensor holds the values that its shape claims; those in other files are checked with their files.
pub(super) fn claims(path: &Path, tensor: &TensorProto) -> Result<()> {
    let wrong = |problem: String| Err(Error::model(path, format!("tensor '{}' {problem}", tensor.name)));
    if let Some(dim) = tensor.dims.iter().find(|dim| **dim < 0) {
        return wrong(format!("has a dimension of {dim}"));
    }
    let (Some(size), true) = (element(tensor), tensor.external_data.is_empty()) else { return Ok(()) };
    let count = of_tensor(tensor).count();
    let listed = [tensor.float_data.len(), tensor.int32_data.len(), tensor.int64_data.len(), tensor.double_data.len()];
    let listed = listed.into_iter().max().unwrap_or(0).max(tensor.string_data.len()) as u128;
    let held = if tensor.raw_data.is_empty() { listed } else { tensor.raw_data.len() as u128 / size };
    if count > held {
        return wrong(format!("claims {count} values, {:?}, and holds {held}", tensor.dims));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // sizes beyond 2^53 are too large all the same
pub(in super::super) fn of_tensor(tensor: &TensorProto) -> Known {
    let shape: Vec<u128> = tensor.dims.iter().map(|&dim| u128::try_from(dim).unwrap_or(0)).collect();
    let known = Known { shape, values: None, is_constant: true };
    if known.count() > FOLLOWED as u128 {
        return known;
    }
    let raw = &tensor.raw_data;
    let values = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int64) if raw.is_empty() => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        Ok(DataType::Int32) if raw.is_empty() => tensor.int32_data.iter().map(|&v| f64::from(v)).collect(),
        Ok(DataType::Float) if raw.is_empty() => tensor.float_data.iter().map(|&v| f64::from(v)).collect(),
        Ok(DataType::Double) if raw.is_empty() => tensor.double_data.clone(),
        Ok(DataType::Int64) => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Ok(DataType::Int32) => raw.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        Ok(DataType::Float) => raw.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        Ok(DataType::Double) => raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        _ => return known,
    };
    Known { values: Some(values), ..known }
}
