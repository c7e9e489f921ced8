//! Expressions of standard operators, written down as nodes.

use std::collections::HashMap;

use super::{
    build::{Element, Value, attribute, floats, integers, node},
    proto::{AttributeProto, NodeProto},
};

/// The version of the standard operators from which on all reductions take their axes as an input; `ReduceSum` does from 13.
const REDUCTIONS_TAKE_AXES: i64 = 18;

/// What the documentation of an `Identity` says which [`gradient`](super::gradient) takes for a constant.
pub(crate) const HELD: &str = "pdloss: passes no gradient on";

/// How the documentation of an `Identity` begins whose gradient [`gradient`](super::gradient) writes as a node of its own; behind it
/// stands what it is multiplied with.
pub(crate) const ENTRANCE: &str = "pdloss: a gradient enters here, times ";

/// Nodes under construction: every call appends one and returns the name of its result.
#[derive(Debug)]
pub(crate) struct Nodes {
    /// The type of the floating-point numbers.
    pub(crate) element: Element,
    /// What was written so far, in the order of evaluation.
    pub(crate) list: Vec<NodeProto>,
    prefix: String,
    opset: i64,
    constants: HashMap<(Element, u64), String>,
}

impl Nodes {
    /// Results are called `{prefix}{operator}_{number}`.
    pub(crate) fn new(prefix: &str, element: Element, opset: i64) -> Self {
        Self { element, list: Vec::new(), prefix: prefix.to_owned(), opset, constants: HashMap::new() }
    }

    fn fresh(&self, operator: &str) -> String {
        format!("{}{}_{}", self.prefix, operator.to_lowercase(), self.list.len())
    }

    pub(crate) fn op(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.with(operator, inputs, Vec::new())
    }

    pub(crate) fn with(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.fresh(operator);
        self.list.push(node(operator, inputs, &[&output], attributes));
        output
    }

    /// The second of an operator's two results.
    pub(crate) fn second(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let (first, second) = (self.fresh(operator), format!("{}.second", self.fresh(operator)));
        self.list.push(node(operator, inputs, &[&first, &second], attributes));
        second
    }

    /// The same value, which passes no gradient on.
    pub(crate) fn held(&mut self, value: &str) -> String {
        let held = self.op("Identity", &[value]);
        if let Some(node) = self.list.last_mut() {
            node.doc_string = Some(HELD.to_owned());
        }
        held
    }

    /// Gives a value a name of the caller's choice, in place of its own where it was made here; that name.
    ///
    /// onnxruntime copies a value into an output behind `Identity` where anything else reads it, too: once more through every
    /// weight's memory.
    pub(crate) fn rename(&mut self, value: String, name: &str) -> String {
        if !self.list.iter().any(|node| node.output.contains(&value)) {
            self.list.push(node("Identity", &[&value], &[name], Vec::new()));
            return name.to_owned();
        }
        for node in &mut self.list {
            for place in node.input.iter_mut().chain(&mut node.output).filter(|place| **place == value) {
                name.clone_into(place);
            }
        }
        name.to_owned()
    }

    /// A number of the expressions' type.
    pub(crate) fn number(&mut self, value: f64) -> String {
        self.number_of(self.element, value)
    }

    pub(crate) fn number_of(&mut self, element: Element, value: f64) -> String {
        if let Some(name) = self.constants.get(&(element, value.to_bits())) {
            return name.clone();
        }
        let name = self.constant(floats("", element, &[], &[value]));
        self.constants.insert((element, value.to_bits()), name.clone());
        name
    }

    /// A vector of 64-bit integers.
    pub(crate) fn integers(&mut self, values: &[i64]) -> String {
        self.constant(integers("", &[values.len()], values))
    }

    /// A 64-bit integer.
    pub(crate) fn integer(&mut self, value: i64) -> String {
        self.constant(integers("", &[], &[value]))
    }

    pub(crate) fn constant(&mut self, tensor: super::proto::TensorProto) -> String {
        self.with("Constant", &[], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
    }

    pub(crate) fn add(&mut self, left: &str, right: &str) -> String {
        self.op("Add", &[left, right])
    }

    pub(crate) fn sub(&mut self, left: &str, right: &str) -> String {
        self.op("Sub", &[left, right])
    }

    pub(crate) fn mul(&mut self, left: &str, right: &str) -> String {
        self.op("Mul", &[left, right])
    }

    pub(crate) fn div(&mut self, left: &str, right: &str) -> String {
        self.op("Div", &[left, right])
    }

    /// `value * factor`
    pub(crate) fn scale(&mut self, value: &str, factor: f64) -> String {
        let factor = self.number(factor);
        self.mul(value, &factor)
    }

    /// `value + addend`
    pub(crate) fn shift(&mut self, value: &str, addend: f64) -> String {
        let addend = self.number(addend);
        self.add(value, &addend)
    }

    pub(crate) fn cast(&mut self, value: &str, element: Element) -> String {
        self.with("Cast", &[value], vec![attribute("to", Value::Int(i64::from(element.code())))])
    }

    pub(crate) fn unsqueeze(&mut self, value: &str, axis: i64) -> String {
        let axis = self.integers(&[axis]);
        self.op("Unsqueeze", &[value, &axis])
    }

    /// The transpose of a matrix.
    pub(crate) fn transpose(&mut self, matrix: &str) -> String {
        self.with("Transpose", &[matrix], vec![attribute("perm", Value::Ints(vec![1, 0]))])
    }

    /// A reduction along one axis, which stays with length 1 if `keep`.
    pub(crate) fn reduce(&mut self, operator: &str, value: &str, axis: i64, keep: bool) -> String {
        let mut attributes = vec![attribute("keepdims", Value::Int(i64::from(keep)))];
        if operator == "ReduceSum" || self.opset >= REDUCTIONS_TAKE_AXES {
            let axes = self.integers(&[axis]);
            return self.with(operator, &[value, &axes], attributes);
        }
        attributes.push(attribute("axes", Value::Ints(vec![axis])));
        self.with(operator, &[value], attributes)
    }

    /// A reduction of all elements to a scalar.
    pub(crate) fn reduce_all(&mut self, operator: &str, value: &str) -> String {
        self.with(operator, &[value], vec![attribute("keepdims", Value::Int(0))])
    }

    pub(crate) fn sum(&mut self, value: &str) -> String {
        self.reduce_all("ReduceSum", value)
    }

    /// `rows / |rows|`. Rows shorter than 1e-12 have no direction: they become zeros, and no gradient comes back. Rows whose squares are
    /// beyond all numbers become none.
    pub(crate) fn unit_rows(&mut self, rows: &str) -> String {
        let squares = self.mul(rows, rows);
        let square = self.reduce("ReduceSum", &squares, 1, true);
        let (least, one, zero) = (self.number(1e-24), self.number(1.0), self.number(0.0));
        let is_short = self.op("Less", &[&square, &least]);
        let kept = self.op("Where", &[&is_short, &one, &square]);
        // Infinite less itself is no number.
        let held = self.held(&square);
        let nothing = self.sub(&held, &held);
        let kept = self.add(&kept, &nothing);
        let length = self.op("Sqrt", &[&kept]);
        let unit = self.div(rows, &length);
        self.op("Where", &[&is_short, &zero, &unit])
    }
}
