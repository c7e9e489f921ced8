//! `If` nodes whose condition is known before they run: the branch that is taken, in their place.

use std::collections::{HashMap, HashSet};

use super::{
    Result,
    build::node,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    shapes::Shapes,
};

/// Puts the nodes of the branch that is taken in the place of every `If` whose condition is a constant, or follows from shapes.
/// Names that the graph around it has already get a number behind them, and nodes are called as what they make.
///
/// # Errors
/// When a node's inputs contradict each other.
pub fn inline(model: &mut ModelProto) -> Result<()> {
    let is_if = |node: &NodeProto| node.is_standard() && node.op_type() == "If";
    // A branch can hold further nodes of the kind, and decide the conditions of those behind it.
    while model.graph.iter().flat_map(|graph| &graph.node).any(is_if) {
        let shapes = Shapes::of(model)?;
        let Some(graph) = model.graph.as_mut() else { return Ok(()) };
        let mut taken = names(graph);
        let (mut nodes, mut initializers, mut changed) = (Vec::new(), Vec::new(), false);
        for node in std::mem::take(&mut graph.node) {
            let condition = node.given(0).and_then(|name| shapes.integers(name));
            let branch = match condition.as_deref() {
                Some([truth]) if is_if(&node) => branch(&node, *truth != 0),
                _ => None,
            };
            match branch {
                Some(branch) => {
                    changed = true;
                    put(branch, &node, &mut taken, &mut nodes, &mut initializers);
                }
                None => nodes.push(node),
            }
        }
        graph.node = nodes;
        graph.initializer.extend(initializers);
        if !changed {
            break;
        }
    }
    Ok(())
}

/// Every name that the graph has for a value, those in its subgraphs among them.
fn names(graph: &GraphProto) -> HashSet<String> {
    let mut names: HashSet<String> = graph.input.iter().map(|input| input.name().to_owned()).collect();
    names.extend(graph.initializer.iter().map(|tensor| tensor.name().to_owned()));
    names.extend(graph.node.iter().flat_map(|node| &node.output).cloned());
    names
}

/// The branch that the condition takes.
fn branch(node: &NodeProto, truth: bool) -> Option<GraphProto> {
    let graph = node.attr(if truth { "then_branch" } else { "else_branch" })?.g.as_deref()?;
    (graph.output.len() >= node.output.len()).then(|| graph.clone())
}

fn put(
    mut branch: GraphProto,
    place: &NodeProto,
    taken: &mut HashSet<String>,
    nodes: &mut Vec<NodeProto>,
    initializers: &mut Vec<TensorProto>,
) {
    let mut renamed: HashMap<String, String> = HashMap::new();
    for name in names(&branch) {
        let mut free = name.clone();
        let mut number = 1;
        while !taken.insert(free.clone()) {
            free = format!("{name}_{number}");
            number += 1;
        }
        if free != name {
            renamed.insert(name, free);
        }
    }
    rename(&mut branch, &renamed);
    initializers.append(&mut branch.initializer);
    nodes.append(&mut branch.node);
    for (output, inner) in place.output.iter().zip(&branch.output) {
        if !output.is_empty() {
            nodes.push(node("Identity", &[inner.name()], &[output], Vec::new()));
        }
    }
}

/// Renames values throughout a graph and its subgraphs.
fn rename(graph: &mut GraphProto, names: &HashMap<String, String>) {
    let change = |name: &mut String| {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    };
    for tensor in &mut graph.initializer {
        tensor.name.iter_mut().for_each(change);
    }
    for output in &mut graph.output {
        output.name.iter_mut().for_each(change);
    }
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(change);
        // Two nodes of one name are no model.
        node.name = node.output.first().cloned();
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().for_each(|graph| rename(graph, names));
            attribute.graphs.iter_mut().for_each(|graph| rename(graph, names));
        }
    }
}
