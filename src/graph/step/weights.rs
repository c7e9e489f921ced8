//! Which initializers of a backbone are weights, and which of those are trained.

use std::collections::{HashMap, HashSet};

use glob::Pattern;

use crate::graph::{
    Error, Result,
    build::Element,
    proto::{GraphProto, NodeProto, TensorProto},
};

/// The weights of a graph, in the order of their initializers.
///
/// A weight is a floating-point initializer, through `Identity`, `Reshape` and the like, in a place where layers have their
/// weights. Constants of arithmetic count from two elements on, unless they meet the data before any layer does: those are
/// preprocessing.
pub(super) fn find(graph: &GraphProto, data: &str) -> Vec<String> {
    let is_float = |tensor: &&TensorProto| Element::from_code(tensor.data_type()).is_some_and(Element::is_float);
    let sizes: HashMap<&str, i64> = graph
        .initializer
        .iter()
        .filter(is_float)
        .map(|tensor| (tensor.name(), tensor.dims.iter().product::<i64>()))
        .collect();
    let mut source: HashMap<&str, &str> = sizes.keys().map(|&name| (name, name)).collect();
    let mut constant: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let mut raw = HashSet::from([data]);
    let mut found = HashSet::new();
    for node in &graph.node {
        let output = node.output.first().map_or("", String::as_str);
        if passes_on(node)
            && let Some(&weight) = node.input.first().and_then(|input| source.get(input.as_str()))
        {
            source.insert(output, weight);
        }
        let is_arithmetic = matches!(node.op_type(), "Add" | "Sub" | "Mul" | "Div");
        let meets_data = is_arithmetic && node.input.iter().any(|input| raw.contains(input.as_str()));
        for (index, input) in node.input.iter().enumerate() {
            let Some(&weight) = source.get(input.as_str()) else { continue };
            if holds_weight(node, index) || (is_arithmetic && !meets_data && sizes[weight] > 1) {
                found.insert(weight);
            }
        }
        let known = |input: &String| constant.contains(input.as_str()) || raw.contains(input.as_str());
        let is_elementary = is_elementary(node) && node.input.first().is_some_and(|input| raw.contains(input.as_str()));
        if node.op_type() == "Constant" {
            constant.insert(output);
        } else if (meets_data || is_elementary) && node.input.iter().all(known) {
            raw.insert(output);
        }
    }
    graph.initializer.iter().map(TensorProto::name).filter(|name| found.contains(name)).map(str::to_owned).collect()
}

/// Operators whose output is their first input in another layout.
fn passes_on(node: &NodeProto) -> bool {
    let layout = ["Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
    layout.contains(&node.op_type())
}

/// What preprocessing is made of, beside arithmetic.
fn is_elementary(node: &NodeProto) -> bool {
    passes_on(node) || matches!(node.op_type(), "Cast" | "Clip" | "Gather" | "Slice" | "Pad" | "Resize")
}

fn holds_weight(node: &NodeProto, input: usize) -> bool {
    match node.op_type() {
        "Conv"
        | "ConvTranspose"
        | "BatchNormalization"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LayerNormalization" => matches!(input, 1 | 2),
        "Gemm" | "MatMul" | "Concat" => true,
        "PRelu" => input == 1,
        "Gather" => input == 0,
        _ => false,
    }
}

/// Patterns of names.
pub(super) struct Frozen(Vec<Pattern>);

impl Frozen {
    /// # Errors
    /// When a pattern is none, or matches none of the names.
    pub(super) fn new(patterns: &[String], names: &[&str]) -> Result<Self> {
        let parse = |text: &String| {
            let subject = format!("freeze pattern '{text}'");
            let pattern = Pattern::new(text).map_err(|error| Error::model(subject.as_str(), error.to_string()))?;
            if names.iter().any(|name| pattern.matches(name)) {
                return Ok(pattern);
            }
            let reason = format!("it matches none of the {} weights, such as {:?}", names.len(), names.first());
            Err(Error::model(subject, reason))
        };
        patterns.iter().map(parse).collect::<Result<_>>().map(Self)
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}
