//! Pieces of a graph, cut at values.

use std::collections::{HashMap, HashSet};

use super::{State, in_place::inputs};
use crate::graph::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// A graph to take pieces out of.
pub(super) struct Cut<'a> {
    model: &'a ModelProto,
    graph: &'a GraphProto,
    /// The names of the state, whose first values no piece has.
    pub(super) state: HashSet<&'a str>,
}

impl<'a> Cut<'a> {
    pub(super) fn new(model: &'a ModelProto, graph: &'a GraphProto, state: &'a [State]) -> Self {
        Self { model, graph, state: state.iter().map(|state| state.name.as_str()).collect() }
    }

    /// What leads from the model's own inputs, and from these values, to those: values by their names in the graph, with how they
    /// are declared, under what name, in the piece.
    pub(super) fn out(&self, from: &[(&str, ValueInfoProto)], to: &[(&str, ValueInfoProto)]) -> ModelProto {
        let given: HashSet<&str> = from.iter().map(|(value, _)| *value).collect();
        let mut needed: HashSet<&str> = to.iter().map(|(value, _)| *value).collect();
        let mut nodes: Vec<NodeProto> = Vec::new();
        for node in self.graph.node.iter().rev() {
            let makes = |name: &String| needed.contains(name.as_str()) && !given.contains(name.as_str());
            if node.output.iter().any(makes) {
                needed.extend(inputs(node));
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        let names = from.iter().chain(to).map(|(value, declared)| (*value, declared.name()));
        let names: HashMap<&str, &str> = names.filter(|(value, name)| value != name).collect();
        for name in nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
            if let Some(other) = names.get(name.as_str()) {
                (*other).clone_into(name);
            }
        }
        let taken = from.iter().filter(|(value, _)| needed.contains(value)).map(|(_, declared)| declared.clone());
        let replaced: HashSet<&str> = from.iter().map(|(_, declared)| declared.name()).collect();
        let is_own = |name: &str| needed.contains(name) && !replaced.contains(name);
        let own = self.graph.input.iter().filter(|input| is_own(input.name())).cloned();
        let is_constant = |name: &str| is_own(name) && !self.state.contains(name);
        let graph = GraphProto {
            name: self.graph.name.clone(),
            input: own.chain(taken).collect(),
            output: to.iter().map(|(_, declared)| declared.clone()).collect(),
            initializer: self.graph.initializer.iter().filter(|tensor| is_constant(tensor.name())).cloned().collect(),
            node: nodes,
            ..GraphProto::default()
        };
        ModelProto { graph: Some(graph), ..without_graph(self.model) }
    }
}

/// What a model says of its operators, without its graph and its description.
pub(super) fn without_graph(model: &ModelProto) -> ModelProto {
    ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        functions: model.functions.clone(),
        ..ModelProto::default()
    }
}

/// What the gradient of this name, as [`differentiate`](crate::graph::gradient::differentiate) returns it, is a copy of: the value
/// that goes on back through the graph.
pub(super) fn entering(graph: &GraphProto, gradient: &str) -> String {
    let copy = graph.node.iter().find(|node| node.op_type() == "Identity" && node.made(0) == Some(gradient));
    copy.and_then(|node| node.given(0)).unwrap_or(gradient).to_owned()
}
