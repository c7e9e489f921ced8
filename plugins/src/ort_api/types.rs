//! Number types that tensors of ours can hold.
#![allow(unsafe_code)]

use ort_sys::ONNXTensorElementDataType as Type;

use crate::error::{Error, Result};

/// A number type that a tensor of ours can hold.
///
/// # Safety
/// Every bit pattern of `Self` is a value, and `TYPE` is the host's name of exactly this type.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {
    /// The host's name for this type.
    const TYPE: Type;
}

/// The host's number of an element type. A number, not the enum: a newer host may know types that the enum does not.
pub(crate) type TypeCode = i32;

/// Half precision, which only devices compute in.
pub(crate) const FLOAT16: TypeCode = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 as TypeCode;

/// The upper half of a float32, which only devices compute in.
pub(crate) const BFLOAT16: TypeCode = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 as TypeCode;

// SAFETY: f32 is the host's FLOAT, any 32 bits are an f32.
unsafe impl Plain for f32 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}
// SAFETY: f64 is the host's DOUBLE, any 64 bits are an f64.
unsafe impl Plain for f64 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
}
// SAFETY: i32 is the host's INT32, any 32 bits are an i32.
unsafe impl Plain for i32 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
}
// SAFETY: i64 is the host's INT64, any 64 bits are an i64.
unsafe impl Plain for i64 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

const KNOWN: [(Type, &str); 6] = [
    (f32::TYPE, "float32"),
    (f64::TYPE, "float64"),
    (Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, "float16"),
    (Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, "bfloat16"),
    (i32::TYPE, "int32"),
    (i64::TYPE, "int64"),
];

/// Bytes of one number.
pub(super) fn size_of_type(element: TypeCode) -> Option<usize> {
    let sizes = [(f32::TYPE, 4), (f64::TYPE, 8), (i32::TYPE, 4), (i64::TYPE, 8)];
    let halves = [FLOAT16, BFLOAT16].map(|code| (code, 2));
    let mut known = sizes.into_iter().map(|(known, size)| (known as TypeCode, size)).chain(halves);
    known.find(|(known, _)| *known == element).map(|(_, size)| size)
}

pub(crate) fn type_name(element: TypeCode) -> String {
    let name = KNOWN.iter().find(|(known, _)| *known as TypeCode == element);
    name.map_or_else(|| format!("element type {element}"), |(_, name)| (*name).to_owned())
}

pub(super) fn element_type(code: TypeCode) -> Result<Type> {
    let known = KNOWN.iter().map(|(known, _)| *known).find(|known| *known as TypeCode == code);
    known.ok_or_else(|| Error::tensor("output", "a known element type", type_name(code)))
}
