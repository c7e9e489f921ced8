//! Element types of values, those of 16 bits and fewer among them, which [`shapes`](crate::graph::shapes) does not follow.

use std::collections::HashMap;

use crate::graph::{
    literal,
    proto::{GraphProto, NodeProto, TypeProtoValue, ValueInfoProto},
    shapes::Shapes,
};

const F32: i32 = 1;
const U8: i32 = 2;
const I64: i32 = 7;
const BOOL: i32 = 9;

/// The format's number of each value's element type, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<String, i32>);

impl Types {
    pub(super) fn get(&self, name: &str) -> Option<i32> {
        self.0.get(name).copied()
    }

    /// Takes down what a graph declares.
    pub(super) fn declare(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            self.set(tensor.name(), Some(tensor.data_type()));
        }
        for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
            self.set(value.name(), declared(value));
        }
    }

    /// Follows a node, by what `shapes` knows of its results where that is of the node's graph.
    pub(super) fn follow(&mut self, node: &NodeProto, shapes: Option<&Shapes>) {
        for (index, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let known = shapes.and_then(|shapes| shapes.element(name)).map(|element| element.code());
            let code = known.or_else(|| self.get(name)).or_else(|| self.made(node, index));
            self.set(name, code);
        }
    }

    fn set(&mut self, name: &str, code: Option<i32>) {
        if let Some(code) = code.filter(|&code| code != 0) {
            self.0.insert(name.to_owned(), code);
        }
    }

    /// The type of an output that follows from the operator.
    fn made(&self, node: &NodeProto, output: usize) -> Option<i32> {
        let of_input = |index: usize| node.given(index).and_then(|name| self.get(name));
        let of_attribute = |name: &str| node.attr(name).and_then(|attribute| i32::try_from(attribute.i()).ok());
        match (node.op_type(), output) {
            ("Cast", _) => of_attribute("to"),
            ("CastLike" | "Where" | "DequantizeLinear", _) => of_input(1),
            ("OneHot", _) => of_input(2),
            ("QuantizeLinear", _) => of_input(2).or(Some(U8)),
            ("Constant", _) => literal::of_node(node).map(|tensor| tensor.data_type()),
            ("ConstantOfShape", _) => Some(node.tensor("value").map_or(F32, |tensor| tensor.data_type())),
            ("RandomNormal" | "RandomUniform", _) => of_attribute("dtype").or(Some(F32)),
            ("EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli", _) => {
                of_attribute("dtype").or_else(|| of_input(0))
            }
            ("Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "SequenceLength" | "NonMaxSuppression", _)
            | ("TopK" | "MaxPool", 1) => Some(I64),
            ("Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual", _)
            | ("And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf", _)
            | ("Dropout", 1) => Some(BOOL),
            ("LayerNormalization", 1 | 2) => Some(F32),
            ("BatchNormalization", 1 | 2) => of_input(3),
            ("If", _) => {
                let branch = node.attr("then_branch").and_then(|attribute| attribute.g.as_deref())?;
                branch.output.get(output).and_then(declared)
            }
            ("Loop" | "Scan", _) => None,
            _ => of_input(0),
        }
    }
}

/// The type of a tensor's elements, as it is declared.
fn declared(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeProtoValue::TensorType(tensor) => tensor.elem_type,
        _ => None,
    }
}
