//! A node of the graph: its attributes, checked once when the session is made, and the dispatch on its types.

use std::ffi::CStr;

use ort_sys::ONNXTensorElementDataType as Type;
use pdloss::loss::Config;

use crate::{
    backward,
    cpu::{Element, Label},
    cuda,
    error::{Error, Result},
    forward,
    ort_api::{NodeInfo, Plain, Run, TypeCode, type_name},
    schema::{Operator, Signature},
    settings,
};

/// Where a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Cpu,
    Cuda,
}

impl Provider {
    /// As ONNX Runtime calls it; the CPU is what it takes a kernel without a name for.
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

/// One node of a session. It holds nothing that a run changes, so that runs may overlap.
#[derive(Debug)]
pub(crate) struct Kernel {
    provider: Provider,
    signature: &'static Signature,
    element: ElementType,
    label: LabelType,
    config: Config,
}

impl Kernel {
    pub(crate) fn new(
        provider: Provider,
        signature: &'static Signature,
        element: ElementType,
        label: LabelType,
        node: &NodeInfo<'_>,
    ) -> Result<Self> {
        let config = settings::read(node, signature.operator)?;
        Ok(Self { provider, signature, element, label, config })
    }

    pub(crate) fn label(&self) -> &'static str {
        self.signature.label()
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<()> {
        if self.provider == Provider::Cuda {
            return cuda::run(self.signature, &self.config, self.element, self.label, run);
        }
        match (self.element, self.label) {
            (ElementType::F32, LabelType::I64) => self.run_as::<f32, i64>(run),
            (ElementType::F32, LabelType::I32) => self.run_as::<f32, i32>(run),
            (ElementType::F64, LabelType::I64) => self.run_as::<f64, i64>(run),
            (ElementType::F64, LabelType::I32) => self.run_as::<f64, i32>(run),
            (ElementType::F16 | ElementType::BF16, _) => {
                let got = type_name(self.element.code() as TypeCode);
                Err(Error::tensor("embeddings", "float32 or float64 on the CPU", got))
            }
        }
    }

    fn run_as<T: Element, L: Label>(&self, run: &Run<'_>) -> Result<()> {
        match self.signature.operator {
            Operator::PdLoss | Operator::DLoss => forward::run::<T, L>(self.signature, &self.config, run),
            Operator::PdLossGrad | Operator::DLossGrad => backward::run::<T, L>(self.signature, run),
            Operator::PdLossWithGrad => backward::run_with_loss::<T, L>(self.signature, &self.config, run),
        }
    }
}
