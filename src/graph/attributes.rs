//! Reads a node's attributes and its place in the standard.

use super::{
    Error, Result,
    proto::{AttributeProto, ModelProto, NodeProto, TensorProto},
};

impl NodeProto {
    /// Whether the operator is one of the standard's.
    pub(crate) fn is_standard(&self) -> bool {
        matches!(self.domain(), "" | "ai.onnx")
    }

    /// The operator with its domain, where that is not the standard's.
    pub(crate) fn operator(&self) -> String {
        if self.is_standard() { self.op_type().to_owned() } else { format!("{}.{}", self.domain(), self.op_type()) }
    }

    /// What messages call this node: its operator and its name, or its first output where it has none.
    pub(crate) fn label(&self) -> String {
        let name = if self.name().is_empty() { self.output.first().map_or("", String::as_str) } else { self.name() };
        format!("{} '{name}'", self.operator())
    }

    /// An input's name; `None` where it is left out.
    pub(crate) fn given(&self, index: usize) -> Option<&str> {
        self.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of an input that may not be left out.
    pub(crate) fn needed(&self, index: usize) -> Result<&str> {
        self.given(index).ok_or_else(|| self.error(format!("input {index} is missing")))
    }

    /// Why something cannot be done to this node.
    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(self.label(), reason)
    }

    /// An output's name; `None` where it is left out.
    pub(crate) fn made(&self, index: usize) -> Option<&str> {
        self.output.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(crate) fn attr(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).map_or(default, |attribute| attribute.i())
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attr(name).map_or(default, |attribute| attribute.f()))
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attr(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(crate) fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.attr(name).and_then(|attribute| std::str::from_utf8(attribute.s()).ok()).unwrap_or(default)
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attr(name).and_then(|attribute| attribute.t.as_ref())
    }
}

impl ModelProto {
    /// The version of the standard operators; 0 where the model names none.
    pub(crate) fn opset(&self) -> i64 {
        self.opset_import.iter().find(|set| matches!(set.domain(), "" | "ai.onnx")).map_or(0, |set| set.version())
    }
}
