//! The nodes that stand for another.

use std::collections::HashSet;

use crate::graph::{
    Error, Result,
    build::{Dim, Element, Value, attribute, floats, int, integers, node},
    proto::{AttributeProto, NodeProto, StringStringEntryProto, TensorProto},
    shapes::{Shapes, dims},
};

/// Writes nodes, and follows the shapes of what they make.
pub(super) struct Writer {
    pub(super) shapes: Shapes,
    opset: i64,
    taken: HashSet<String>,
    nodes: Vec<NodeProto>,
    /// Of the node that is written out.
    label: String,
    prefix: String,
    origin: Vec<StringStringEntryProto>,
    count: usize,
}

impl Writer {
    pub(super) fn new(shapes: Shapes, opset: i64, taken: HashSet<String>) -> Self {
        let (label, prefix) = (String::new(), String::new());
        Self { shapes, opset, taken, nodes: Vec::new(), label, prefix, origin: Vec::new(), count: 0 }
    }

    pub(super) fn begin(&mut self, node: &NodeProto) {
        self.label = node.label();
        self.prefix = format!("pdloss.written.{}", node.made(0).unwrap_or_default());
        self.origin.clone_from(&node.metadata_props);
    }

    /// The nodes, with the value under the name that the graph has for it.
    pub(super) fn finish(&mut self, value: &str, name: &str) -> Vec<NodeProto> {
        self.nodes.push(node("Identity", &[value], &[name], Vec::new()));
        for node in &mut self.nodes {
            node.metadata_props.clone_from(&self.origin);
        }
        std::mem::take(&mut self.nodes)
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(self.label.as_str(), reason)
    }

    /// The node's input.
    pub(super) fn input<'a>(&self, node: &'a NodeProto, index: usize) -> Result<&'a str> {
        node.given(index).ok_or_else(|| self.error(format!("input {index} is missing")))
    }

    // Facts.

    pub(super) fn shape(&self, value: &str) -> Result<Vec<Dim>> {
        let shape = self.shapes.shape(value).map(<[Dim]>::to_vec);
        shape.ok_or_else(|| self.error(format!("the rank of '{value}' is not known, and its gradient needs it")))
    }

    pub(super) fn rank(&self, value: &str) -> Result<usize> {
        self.shape(value).map(|shape| shape.len())
    }

    /// A length that must be a number.
    pub(super) fn length(&self, value: &str, axis: usize) -> Result<usize> {
        let shape = self.shape(value)?;
        match shape.get(axis) {
            Some(Dim::Known(length)) => Ok(*length),
            _ => {
                let shape = dims::show(&shape);
                Err(self.error(format!("axis {axis} of '{value}' {shape} must have a known length for its gradient")))
            }
        }
    }

    pub(super) fn element(&self, value: &str) -> Result<Element> {
        let element = self.shapes.element(value).filter(|element| element.is_float());
        element.ok_or_else(|| self.error(format!("wanted '{value}' in float32 or float64 to have a gradient")))
    }

    // Nodes.

    pub(super) fn op(&mut self, operator: &str, inputs: &[&str]) -> Result<String> {
        self.with(operator, inputs, Vec::new())
    }

    pub(super) fn with(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Result<String> {
        let mut outputs = self.many(operator, inputs, attributes, 1)?;
        Ok(outputs.swap_remove(0))
    }

    pub(super) fn many(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        outputs: usize,
    ) -> Result<Vec<String>> {
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(operator)).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let node = node(operator, inputs, &outputs, attributes);
        self.shapes.add(&node)?;
        self.nodes.push(node);
        Ok(names)
    }

    fn fresh(&mut self, operator: &str) -> String {
        loop {
            self.count += 1;
            let name = format!("{}.{operator}_{}", self.prefix, self.count);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    fn constant(&mut self, tensor: TensorProto) -> Result<String> {
        self.with("Constant", &[], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
    }

    pub(super) fn ints(&mut self, values: &[i64]) -> Result<String> {
        self.constant(integers("", &[values.len()], values))
    }

    pub(super) fn int(&mut self, value: i64) -> Result<String> {
        self.constant(integers("", &[], &[value]))
    }

    /// A number of the type of `like`.
    pub(super) fn scalar(&mut self, value: f64, like: &str) -> Result<String> {
        self.numbers(&[], &[value], like)
    }

    /// Numbers of the type of `like`.
    pub(super) fn numbers(&mut self, shape: &[usize], values: &[f64], like: &str) -> Result<String> {
        let element = self.element(like)?;
        self.constant(floats("", element, shape, values))
    }

    /// `value` times a number.
    pub(super) fn scaled(&mut self, value: &str, factor: f64) -> Result<String> {
        let factor = self.scalar(factor, value)?;
        self.op("Mul", &[value, &factor])
    }

    /// `value` plus a number.
    pub(super) fn shifted(&mut self, value: &str, by: f64) -> Result<String> {
        let by = self.scalar(by, value)?;
        self.op("Add", &[value, &by])
    }

    /// `value` in the type of `like`.
    pub(super) fn cast_like(&mut self, value: &str, like: &str) -> Result<String> {
        let to = Value::Int(i64::from(self.element(like)?.code()));
        self.with("Cast", &[value], vec![attribute("to", to)])
    }

    pub(super) fn reshape(&mut self, value: &str, lengths: &[i64]) -> Result<String> {
        let lengths = self.ints(lengths)?;
        self.op("Reshape", &[value, &lengths])
    }

    /// `value` in the shape of `like`.
    pub(super) fn reshape_like(&mut self, value: &str, like: &str) -> Result<String> {
        let shape = self.op("Shape", &[like])?;
        self.op("Reshape", &[value, &shape])
    }

    pub(super) fn transpose(&mut self, value: &str, perm: &[usize]) -> Result<String> {
        if perm.iter().enumerate().all(|(index, &axis)| index == axis) {
            return Ok(value.to_owned());
        }
        let perm = perm.iter().map(|&axis| int(axis)).collect();
        self.with("Transpose", &[value], vec![attribute("perm", Value::Ints(perm))])
    }

    pub(super) fn unsqueeze(&mut self, value: &str, axes: &[usize]) -> Result<String> {
        if axes.is_empty() {
            return Ok(value.to_owned());
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| int(axis)).collect();
        let axes = self.ints(&axes)?;
        self.op("Unsqueeze", &[value, &axes])
    }

    pub(super) fn concat(&mut self, parts: &[&str], axis: i64) -> Result<String> {
        self.with("Concat", parts, vec![attribute("axis", Value::Int(axis))])
    }

    /// The elements from `start` to before `end` along an axis, every `step`th.
    pub(super) fn slice(&mut self, value: &str, axis: usize, (start, end, step): (i64, i64, i64)) -> Result<String> {
        let (start, end, step) = (self.ints(&[start])?, self.ints(&[end])?, self.ints(&[step])?);
        let axis = self.ints(&[int(axis)])?;
        self.op("Slice", &[value, &start, &end, &axis, &step])
    }

    /// A reduction over axes, which stay with length 1 if `keep`.
    pub(super) fn reduce(&mut self, operator: &str, value: &str, axes: &[usize], keep: bool) -> Result<String> {
        if axes.is_empty() {
            return Ok(value.to_owned());
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| int(axis)).collect();
        let keep = attribute("keepdims", Value::Int(i64::from(keep)));
        // All reductions take their axes as an input since opset 18, `ReduceSum` since 13.
        if self.opset >= 18 || operator == "ReduceSum" {
            let axes = self.ints(&axes)?;
            return self.with(operator, &[value, &axes], vec![keep]);
        }
        self.with(operator, &[value], vec![attribute("axes", Value::Ints(axes)), keep])
    }
}
