//! Labels as a loss may use them: nothing in a graph of standard operators stops where one is wrong.
//!
//! There must be one for each row of the embeddings; the run ends with an error where there is not. Where labels name
//! rows of the proxies, one that names none takes part as class 0 and makes the loss NaN: the choice of the NaN passes
//! no gradient on, so that all gradients are zero. That is what the CUDA operators answer.

use super::Nodes;
use crate::graph::build::{Element, Value, attribute, int};

/// Labels, one for each row of the embeddings.
pub(super) struct Labels {
    /// `[batch]`, int64; those that name no row of the proxies replaced by 0.
    pub(super) values: String,
    /// The number of those, a scalar of the expressions' type; `None` where any integer is a label.
    pub(super) bad: Option<String>,
}

impl Labels {
    /// Of a loss that only compares them.
    pub(super) fn compared(nodes: &mut Nodes, labels: &str, embeddings: &str) -> Self {
        let batch = first_length(nodes, embeddings);
        // An error unless there are as many; where they agreed by broadcasting, one label would count for every row.
        let each = nodes.op("Reshape", &[labels, &batch]);
        Self { values: nodes.cast(&each, Element::I64), bad: None }
    }

    /// Of a loss in which they name rows of the proxies.
    pub(super) fn of_rows(nodes: &mut Nodes, labels: &str, embeddings: &str, proxies: &str) -> Self {
        let labels = Self::compared(nodes, labels, embeddings).values;
        let classes = first_length(nodes, proxies);
        Self::below(nodes, &labels, &classes)
    }

    /// Of a loss in which they name one of so many classes.
    pub(super) fn of_classes(nodes: &mut Nodes, labels: &str, embeddings: &str, classes: usize) -> Self {
        let labels = Self::compared(nodes, labels, embeddings).values;
        let classes = nodes.integers(&[int(classes)]);
        Self::below(nodes, &labels, &classes)
    }

    fn below(nodes: &mut Nodes, labels: &str, classes: &str) -> Self {
        let zero = nodes.integers(&[0]);
        let counted = nodes.op("GreaterOrEqual", &[labels, &zero]);
        let below = nodes.op("Less", &[labels, classes]);
        let is_row = nodes.op("And", &[&counted, &below]);
        let values = nodes.op("Where", &[&is_row, labels, &zero]);
        let is_none = nodes.op("Not", &[&is_row]);
        let each = nodes.cast(&is_none, nodes.element);
        Self { values, bad: Some(nodes.sum(&each)) }
    }

    /// The value, or NaN where a label is bad.
    pub(super) fn guard(&self, nodes: &mut Nodes, value: &str) -> String {
        let Some(bad) = &self.bad else { return value.to_owned() };
        let zero = nodes.number(0.0);
        let any = nodes.op("Greater", &[bad, &zero]);
        let nan = nodes.number(f64::NAN);
        nodes.op("Where", &[&any, &nan, value])
    }
}

/// The length of the first axis, `[1]`.
fn first_length(nodes: &mut Nodes, value: &str) -> String {
    nodes.with("Shape", &[value], vec![attribute("end", Value::Int(1))])
}
