//! What a model would make of its input, before a runtime tries: a file of a few bytes can ask for tensors that fill any
//! memory, and runtimes abort on these. Shapes follow in 128 bits, operator by operator; what an unknown operator gives is
//! unknown, and so is what follows from it.

mod known;
mod operator;
mod work;

use std::collections::HashMap;
use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use crate::error::{Error, Result};
pub(super) use known::of_tensor;
use known::{Known, claims};
use operator::Operator;
pub use work::Work;
pub(super) use work::work;

/// Values that a tensor may hold: 8 GiB of float32.
const MOST: u128 = 1 << 31;
/// The same where it follows from constants alone, which runtimes compute at once and keep.
const MOST_OF_CONSTANTS: u128 = 1 << 28;

/// Checks the tensors of the main graph where its input has this shape, in the order of `nodes`.
///
/// # Errors
/// [`Error::Model`] naming an initializer that claims more than it holds, or the node that makes too much.
pub(super) fn check(path: &Path, proto: &ModelProto, input: Option<(&str, &[usize])>) -> Result<()> {
    follow(path, proto, input, |_, _| ())
}

/// The same, and calls `seen` with each node and all that is known of tensors when its own result has been followed.
fn follow<'a>(
    path: &Path,
    proto: &'a ModelProto,
    input: Option<(&'a str, &[usize])>,
    mut seen: impl FnMut(&'a NodeProto, &HashMap<&'a str, Known>),
) -> Result<()> {
    let Some(graph) = &proto.graph else { return Ok(()) };
    let mut known: HashMap<&str, Known> = HashMap::new();
    for tensor in &graph.initializer {
        claims(path, tensor)?;
        known.insert(&tensor.name, of_tensor(tensor));
    }
    if let Some((name, shape)) = input {
        known.insert(name, Known::of(shape.iter().map(|&dim| dim as u128).collect()));
    }
    for at in order(path, graph)? {
        let node = &graph.node[at];
        for tensor in node.attribute.iter().flat_map(|a| a.t.iter().chain(&a.tensors)) {
            claims(path, tensor)?;
        }
        let Some(mut made) = Operator { node, known: &known }.result() else {
            seen(node, &known);
            continue;
        };
        made.is_constant =
            node.input.iter().filter(|i| !i.is_empty()).all(|i| known.get(i.as_str()).is_some_and(|k| k.is_constant));
        let (count, most) = (made.count(), if made.is_constant { MOST_OF_CONSTANTS } else { MOST });
        if count > most {
            return Err(Error::model(
                path,
                format!(
                    "node '{}' ({}) makes a tensor of {count} values, {:?}; at most {most} are computed",
                    name(node),
                    node.op_type,
                    made.shape
                ),
            ));
        }
        let outputs = if node.op_type == "Split" { node.output.len() } else { 1 };
        for output in node.output.iter().take(outputs) {
            known.insert(output, made.clone());
        }
        seen(node, &known);
    }
    Ok(())
}

/// A node for people: its name, else its first output's.
pub(super) fn name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// Positions of the nodes, each after those that it takes from.
///
/// # Errors
/// [`Error::Model`] where nodes take from each other in a circle.
pub(super) fn order(path: &Path, graph: &GraphProto) -> Result<Vec<usize>> {
    let makers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.output.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), at)))
        .collect();
    let mut takers = vec![Vec::new(); graph.node.len()];
    let mut open = vec![0_usize; graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        let mut sources: Vec<usize> = needs(node).iter().filter_map(|name| makers.get(name).copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        open[at] = sources.len();
        sources.into_iter().for_each(|source| takers[source].push(at));
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..open.len()).filter(|&at| open[at] == 0).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &taker in &takers[at] {
            open[taker] -= 1;
            if open[taker] == 0 {
                ready.insert(taker);
            }
        }
    }
    match open.iter().position(|&count| count > 0) {
        Some(at) if order.len() < open.len() => {
            Err(Error::model(path, format!("node '{}' takes what follows from itself", name(&graph.node[at]))))
        }
        _ => Ok(order),
    }
}

/// The tensors that a node takes, also inside its subgraphs.
pub(super) fn needs(node: &NodeProto) -> Vec<&str> {
    let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).flat_map(|graph| {
        graph.node.iter().flat_map(needs).chain(graph.output.iter().map(|output| output.name.as_str()))
    });
    node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).chain(inner).collect()
}
