//! The providers and types that the operators have kernels for.

use std::ffi::CStr;

use ort_sys::ONNXTensorElementDataType as Type;

use crate::ort_api::Plain;

/// Where a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Cpu,
    Cuda,
}

impl Provider {
    /// As ONNX Runtime calls it. `None`: the C API reads a null name as the CPU provider.
    pub(crate) fn name(self) -> Option<&'static CStr> {
        match self {
            Self::Cpu => None,
            Self::Cuda => Some(c"CUDAExecutionProvider"),
        }
    }

    /// The element types that it has kernels for.
    pub(crate) fn elements(self) -> &'static [ElementType] {
        match self {
            Self::Cpu => &[ElementType::F32, ElementType::F64],
            Self::Cuda => &[ElementType::F32, ElementType::F16, ElementType::BF16],
        }
    }
}

/// The type of embeddings, proxies, loss and gradients. The order is that of the codes in the CUDA kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F32,
    F16,
    BF16,
    F64,
}

impl ElementType {
    pub(crate) fn code(self) -> Type {
        match self {
            Self::F32 => <f32 as Plain>::TYPE,
            Self::F16 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
            Self::BF16 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
            Self::F64 => <f64 as Plain>::TYPE,
        }
    }
}

/// The type of class numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelType {
    I64,
    I32,
}

impl LabelType {
    pub(crate) fn code(self) -> Type {
        match self {
            Self::I64 => <i64 as Plain>::TYPE,
            Self::I32 => <i32 as Plain>::TYPE,
        }
    }
}
