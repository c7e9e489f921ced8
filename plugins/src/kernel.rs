//! A node of the graph: its attributes, checked once when the session is made, and the dispatch on its types.

use ort_sys::ONNXTensorElementDataType as Type;
use pdloss::loss::Config;

use crate::{
    backward,
    cpu::{Element, Label},
    error::Result,
    forward,
    ort_api::{NodeInfo, Plain, Run},
    schema::{Operator, Signature},
    settings,
};

/// The type of embeddings, proxies, loss and gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F32,
    F64,
}

impl ElementType {
    pub(crate) fn code(self) -> Type {
        match self {
            Self::F32 => <f32 as Plain>::TYPE,
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
    signature: &'static Signature,
    element: ElementType,
    label: LabelType,
    config: Config,
}

impl Kernel {
    pub(crate) fn new(
        signature: &'static Signature,
        element: ElementType,
        label: LabelType,
        node: &NodeInfo<'_>,
    ) -> Result<Self> {
        let config = settings::read(node, signature.operator)?;
        Ok(Self { signature, element, label, config })
    }

    pub(crate) fn label(&self) -> &'static str {
        self.signature.label()
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<()> {
        match (self.element, self.label) {
            (ElementType::F32, LabelType::I64) => self.run_as::<f32, i64>(run),
            (ElementType::F32, LabelType::I32) => self.run_as::<f32, i32>(run),
            (ElementType::F64, LabelType::I64) => self.run_as::<f64, i64>(run),
            (ElementType::F64, LabelType::I32) => self.run_as::<f64, i32>(run),
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
