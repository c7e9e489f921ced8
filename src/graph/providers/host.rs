//! Nodes that are the processor's work anyway: constants, which onnxruntime computes once, and the arithmetic of shapes.

use std::collections::{HashMap, HashSet};

use crate::graph::proto::{GraphProto, NodeProto};

/// From what a value is computed; of several the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Constants,
    Shapes,
    Data,
}

/// Of each node of a graph, whether it computes a constant, or is computed from shapes alone and for shapes alone.
pub(super) fn of_host(graph: &GraphProto, defaults_hold: bool) -> Vec<bool> {
    let of_shapes = for_shapes(&graph.node, graph.output.iter().map(|value| value.name()));
    let mut origins: HashMap<&str, Origin> = HashMap::new();
    for tensor in &graph.initializer {
        origins.insert(tensor.name(), Origin::Constants);
    }
    if !defaults_hold {
        for input in &graph.input {
            origins.insert(input.name(), Origin::Data);
        }
    }
    let found = graph.node.iter().zip(of_shapes).map(|(node, for_shapes)| {
        let origin = origin(node, &origins);
        origins.extend(node.output.iter().map(|name| (name.as_str(), origin)));
        origin == Origin::Constants || (for_shapes && origin == Origin::Shapes)
    });
    found.collect()
}

fn origin(node: &NodeProto, origins: &HashMap<&str, Origin>) -> Origin {
    match node.op_type() {
        "Shape" | "Size" => Origin::Shapes,
        "Constant" => Origin::Constants,
        _ if node.input.is_empty() || subgraphs(node).next().is_some() => Origin::Data,
        _ => {
            let given = node.input.iter().filter(|name| !name.is_empty());
            given.map(|name| origins.get(name.as_str()).copied().unwrap_or(Origin::Data)).max().unwrap_or(Origin::Data)
        }
    }
}

/// Of each node, whether its results go where shapes are read, by way of others, and nowhere else.
fn for_shapes<'a>(nodes: &'a [NodeProto], outputs: impl Iterator<Item = &'a str>) -> Vec<bool> {
    let mut data: HashSet<&str> = outputs.collect();
    let mut found = vec![false; nodes.len()];
    for (node, found) in nodes.iter().zip(&mut found).rev() {
        *found = node.output.iter().all(|name| !data.contains(name.as_str()));
        let inputs = node.input.iter().enumerate().filter(|(index, _)| !*found && !reads_shape(node, *index));
        data.extend(inputs.map(|(_, name)| name.as_str()));
        for inner in subgraphs(node) {
            captured(inner, &mut data);
        }
    }
    found
}

fn captured<'a>(graph: &'a GraphProto, names: &mut HashSet<&'a str>) {
    names.extend(graph.output.iter().map(|value| value.name()));
    for node in &graph.node {
        names.extend(node.input.iter().map(String::as_str));
        subgraphs(node).for_each(|inner| captured(inner, names));
    }
}

/// The graphs inside a node.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Whether CUDA's kernel of an operator reads an input in the processor's memory.
fn reads_shape(node: &NodeProto, input: usize) -> bool {
    match node.op_type() {
        "ConstantOfShape" | "Range" | "Shape" | "Size" => true,
        "Expand" | "Pad" | "Reshape" | "Resize" | "Slice" | "Split" | "Squeeze" | "Tile" | "TopK" | "Trilu"
        | "Unsqueeze" | "Upsample" => input > 0,
        "CumSum" | "OneHot" => input == 1,
        operator => operator.starts_with("Reduce") && input == 1,
    }
}
