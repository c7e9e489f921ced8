//! A node of the graph: its attributes, checked once when the session is made, and the dispatch on its types.

use std::ffi::CStr;

use ort_sys::ONNXTensorElementDataType as Type;

use crate::{
    backward,
    cpu::Settings,
    error::{Error, Result},
    forward,
    ort_api::{Attribute, NodeInfo, Plain, Run},
    schema::{Operator, Signature},
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
    settings: Settings,
}

impl Kernel {
    pub(crate) fn new(
        signature: &'static Signature,
        element: ElementType,
        label: LabelType,
        node: &NodeInfo<'_>,
    ) -> Result<Self> {
        let settings = Settings::new(&Attributes(node), signature.operator)?;
        Ok(Self { signature, element, label, settings })
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

    fn run_as<T: crate::cpu::Element, L: crate::cpu::Label>(&self, run: &Run<'_>) -> Result<()> {
        let (signature, settings) = (self.signature, &self.settings);
        match signature.operator {
            Operator::PdLoss => forward::pd_loss::<T, L>(signature, settings, run),
            Operator::DLoss => forward::d_loss::<T, L>(signature, settings, run),
            Operator::PdLossGrad => backward::pd_loss::<T, L>(signature, settings, run),
            Operator::DLossGrad => backward::d_loss::<T, L>(signature, settings, run),
        }
    }
}

/// A node's attributes, by name and with a default.
pub(crate) struct Attributes<'a>(&'a NodeInfo<'a>);

impl Attributes<'_> {
    /// A number, or `None` where the node does not say.
    pub(crate) fn number(&self, name: &CStr) -> Result<Option<f64>> {
        match self.0.attribute(name)? {
            Attribute::Missing => Ok(None),
            // Written as a decimal in the graph's maker and kept there as float32: 0.05 must not become 0.0500000007.
            Attribute::Number(value) => Ok(Some(value.to_string().parse().unwrap_or(f64::from(value)))),
            Attribute::Text(text) => Err(wrong(name, format!("wanted a number, got the string '{text}'"))),
        }
    }

    /// A string, or `None` where the node does not say.
    pub(crate) fn text(&self, name: &CStr) -> Result<Option<String>> {
        match self.0.attribute(name)? {
            Attribute::Missing => Ok(None),
            Attribute::Text(text) => Ok(Some(text)),
            Attribute::Number(value) => Err(wrong(name, format!("wanted a string, got the number {value}"))),
        }
    }
}

fn wrong(name: &CStr, reason: String) -> Error {
    Error::Attribute { name: name.to_string_lossy().into_owned(), reason }
}
