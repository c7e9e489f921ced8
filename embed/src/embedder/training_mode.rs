//! Nodes that make an embedding depend on the batch or on chance: exported in training mode, or random by nature.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::bounds::{name, needs};

/// A node whose output is not a function of its image alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsteady {
    /// Its name, else its first output's.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Whether inference mode takes away what is unsteady about it.
    pub has_inference_mode: bool,
}

impl std::fmt::Display for Unsteady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.operator)
    }
}

const RANDOM: [&str; 6] =
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"];

/// The unsteady nodes on which the tensor `output` depends, also in subgraphs and in functions that are called.
pub(super) fn find(proto: &ModelProto, output: &str) -> Vec<Unsteady> {
    let Some(graph) = &proto.graph else { return Vec::new() };
    let scope = Scope { constants: HashMap::new(), opset: opset(proto, None), proto };
    let mut found = Vec::new();
    scope.in_graph(graph).each(needed(graph, output), &mut HashSet::new(), &mut |node, scope| {
        if let Some(has_inference_mode) = scope.unsteady(node) {
            found.push(Unsteady { name: name(node).to_owned(), operator: node.op_type.clone(), has_inference_mode });
        }
    });
    found
}

/// Puts every node that has one into its inference mode, in all graphs and functions.
pub(super) fn into_inference(proto: &mut ModelProto) {
    let whole = proto.clone();
    let main = Scope { constants: HashMap::new(), opset: opset(&whole, None), proto: &whole };
    if let (Some(graph), Some(read)) = (&mut proto.graph, &whole.graph) {
        main.in_graph(read).convert(&mut graph.node, &read.node);
    }
    for (function, read) in proto.functions.iter_mut().zip(&whole.functions) {
        main.in_function(read).convert(&mut function.node, &read.node);
    }
}

fn opset(proto: &ModelProto, function: Option<&FunctionProto>) -> i64 {
    let own = function.map(|f| &f.opset_import).filter(|imports| !imports.is_empty());
    own.unwrap_or(&proto.opset_import)
        .iter()
        .find(|import| import.domain.is_empty() || import.domain == "ai.onnx")
        .map_or(i64::MAX, |import| import.version)
}

/// The nodes that make `output`.
fn needed<'a>(graph: &'a GraphProto, output: &str) -> Vec<&'a NodeProto> {
    let makers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.output.iter().map(move |o| (o.as_str(), at)))
        .collect();
    let mut wanted: Vec<usize> = makers.get(output).copied().into_iter().collect();
    let mut seen: HashSet<usize> = wanted.iter().copied().collect();
    while let Some(at) = wanted.pop() {
        for source in needs(&graph.node[at]).into_iter().filter_map(|name| makers.get(name).copied()) {
            if seen.insert(source) {
                wanted.push(source);
            }
        }
    }
    graph.node.iter().enumerate().filter(|(at, _)| seen.contains(at)).map(|(_, node)| node).collect()
}

/// Where a node stands: what its constants are, and what its operators mean.
#[derive(Clone)]
struct Scope<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    opset: i64,
    proto: &'a ModelProto,
}

impl<'a> Scope<'a> {
    fn in_graph(&self, graph: &'a GraphProto) -> Self {
        let mut inner = self.clone();
        inner.constants.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)));
        inner.constants.extend(graph.node.iter().filter_map(constant));
        inner
    }

    fn in_function(&self, function: &'a FunctionProto) -> Self {
        let constants = function.node.iter().filter_map(constant).collect();
        Self { constants, opset: opset(self.proto, Some(function)), proto: self.proto }
    }

    /// Calls `visit` with these nodes, those in their subgraphs, and those of the functions that they call.
    fn each(
        &self,
        nodes: impl IntoIterator<Item = &'a NodeProto>,
        called: &mut HashSet<(&'a str, &'a str)>,
        visit: &mut dyn FnMut(&'a NodeProto, &Self),
    ) {
        for node in nodes {
            visit(node, self);
            for graph in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
                self.in_graph(graph).each(&graph.node, called, visit);
            }
            let named = |f: &&FunctionProto| {
                f.domain.as_deref().unwrap_or_default() == node.domain
                    && f.name.as_deref() == Some(node.op_type.as_str())
            };
            if let Some(function) = self.proto.functions.iter().find(named)
                && called.insert((node.domain.as_str(), node.op_type.as_str()))
            {
                self.in_function(function).each(&function.node, called, visit);
            }
        }
    }

    /// Whether a node is unsteady, and if so whether it has an inference mode.
    fn unsteady(&self, node: &NodeProto) -> Option<bool> {
        if !["", "ai.onnx"].contains(&node.domain.as_str()) {
            return None;
        }
        let number = |name: &str| node.attribute.iter().find(|a| a.name == name).map_or(0, |a| a.i);
        let by_caller = |name: &str| node.attribute.iter().any(|a| a.name == name && !a.ref_attr_name.is_empty());
        let more_outputs = node.output.iter().skip(1).any(|output| !output.is_empty());
        match node.op_type.as_str() {
            // Before 7 an attribute said so, then the number of outputs, since 14 an attribute again.
            "BatchNormalization" if self.opset < 7 => (number("is_test") == 0).then_some(true),
            "BatchNormalization" if self.opset < 14 => more_outputs.then_some(true),
            "BatchNormalization" => (number("training_mode") != 0 || by_caller("training_mode")).then_some(true),
            "Dropout" if self.opset < 7 => (number("is_test") == 0).then_some(true),
            "Dropout" if self.opset < 12 => None,
            "Dropout" => {
                let mode = node.input.get(2).filter(|name| !name.is_empty())?;
                // What is no constant is decided at run time.
                let is_zero = |name: &String| self.constants.get(name.as_str()).is_some_and(|tensor| !is_true(tensor));
                let drops_nothing = node.input.get(1).is_some_and(is_zero);
                (!is_zero(mode) && !drops_nothing).then_some(true)
            }
            op if RANDOM.contains(&op) => Some(false),
            _ => None,
        }
    }

    fn convert(&self, nodes: &mut [NodeProto], read: &'a [NodeProto]) {
        for (node, read) in nodes.iter_mut().zip(read) {
            if self.unsteady(read) == Some(true) {
                match (node.op_type.as_str(), self.opset) {
                    (_, ..7) => {
                        node.attribute.retain(|a| a.name != "is_test");
                        node.attribute.push(flag("is_test"));
                    }
                    ("Dropout", _) => node.input.truncate(2),
                    _ => node.attribute.retain(|a| a.name != "training_mode"),
                }
                if node.op_type == "BatchNormalization" {
                    node.output.truncate(1);
                }
            }
            for (attribute, read) in node.attribute.iter_mut().zip(&read.attribute) {
                let inner = attribute.g.iter_mut().chain(&mut attribute.graphs);
                for (graph, read) in inner.zip(read.g.iter().chain(&read.graphs)) {
                    self.in_graph(read).convert(&mut graph.node, &read.node);
                }
            }
        }
    }
}

fn constant(node: &NodeProto) -> Option<(&str, &TensorProto)> {
    let value = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref());
    Some((node.output.first()?.as_str(), value.filter(|_| node.op_type == "Constant")?))
}

/// Whether any bit of a number is set: in `True`, and in every ratio but zero.
fn is_true(tensor: &TensorProto) -> bool {
    tensor.raw_data.iter().any(|&byte| byte != 0)
        || tensor.int32_data.iter().any(|&value| value != 0)
        || tensor.float_data.iter().any(|&value| value != 0.0)
        || tensor.double_data.iter().any(|&value| value != 0.0)
        || !tensor.external_data.is_empty()
}

/// An attribute that is one.
fn flag(name: &str) -> tract_onnx::pb::AttributeProto {
    let int = tract_onnx::pb::attribute_proto::AttributeType::Int as i32;
    tract_onnx::pb::AttributeProto { name: name.into(), i: 1, r#type: int, ..Default::default() }
}
