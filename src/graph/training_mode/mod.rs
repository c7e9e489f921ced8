//! An inference graph rewritten for training, before the loss is attached.
//!
//! [`prepare`] brings the model to opset 17, folds what is constant, puts `BatchNormalization` into training mode and
//! `Dropout` back to work. [`free_batch`] lets a model that was exported for a fixed number of images take batches.

mod dropout;
mod fold;
mod noise;
mod random;

use std::collections::{HashMap, HashSet};

use super::{
    Error, Result, branches,
    build::{Value, attribute},
    head::PREFIX,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    sequences,
    upgrade::upgrade,
    widen::MOVES,
};

pub use super::free_batch::{cure, free_batch, is_first_of};
pub use fold::fold;
pub use noise::Rows;
pub(crate) use random::into_inference;

/// What training changes.
pub struct Options<'a> {
    /// The name of an int64 number (of rank 0, or one element), whose value decides the masks of `Dropout`: the count of steps,
    /// for one. Equal numbers make equal masks. `None` turns dropout off.
    pub dropout: Option<&'a str>,
    /// Which rows of the batch the graph is given, where it runs on several ranks: masks are then those of the whole batch.
    pub rows: Option<&'a Rows>,
    /// Which `BatchNormalization` nodes keep their running statistics and normalize by them.
    pub frozen: &'a dyn Fn(&NodeProto) -> bool,
}

impl Default for Options<'_> {
    /// No dropout, nothing frozen.
    fn default() -> Self {
        Self { dropout: None, rows: None, frozen: &|_| false }
    }
}

/// A running mean or variance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The initializer that holds it.
    pub name: String,
    /// The value that holds it after the step.
    pub next: String,
}

/// Rewrites the model's graph for training; the running statistics that change with every step.
///
/// `BatchNormalization` stays one node, with `training_mode = 1`: [`differentiate`](super::gradient::differentiate) writes it
/// out in operators that a stock onnxruntime runs. Initializers that are listed as inputs too are so no longer.
///
/// # Errors
/// When the model cannot be brought to opset 17, a running statistic is not an initializer or belongs to two nodes, or the
/// ratio of a `Dropout` is not a constant.
pub fn prepare(model: &mut ModelProto, options: &Options<'_>) -> Result<Vec<Running>> {
    branches::inline(model)?;
    sequences::split(model)?;
    upgrade(model)?;
    fold(model)?;
    if let Some(value) = options.dropout {
        let seed = noise::Seed { value, rows: options.rows };
        dropout::write_out(model, seed)?;
        random::write_out(model, seed)?;
    } else {
        dropout::turn_off(model);
        random::turn_off(model)?;
    }
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    train_statistics(graph, options.frozen)
}

/// The first outputs of those `BatchNormalization` nodes whose mean and variance the graph computes, as it does where weights
/// are standardised: they have no running statistics, and are the same in training and inference.
fn with_computed_statistics(graph: &GraphProto) -> HashSet<String> {
    let is_computed = |node: &&NodeProto| !(node.is_standard() && matches!(node.op_type(), "Constant" | "Identity"));
    let computed: HashSet<&String> = graph.node.iter().filter(is_computed).flat_map(|node| &node.output).collect();
    let has = |node: &&NodeProto| {
        node.op_type() == "BatchNormalization"
            && node.input.get(3..5).is_some_and(|of| of.iter().all(|name| computed.contains(name)))
    };
    graph.node.iter().filter(has).filter_map(|node| node.made(0)).map(str::to_owned).collect()
}

/// Whether a node only moves numbers, or widens them.
fn keeps_numbers(node: &NodeProto) -> bool {
    MOVES.contains(&node.op_type()) || matches!(node.op_type(), "Cast" | "DequantizeLinear")
}

/// The tensors that running statistics are stored as, behind other nodes: of each its `BatchNormalization`, and the operator in front of it.
fn stored(graph: &GraphProto) -> Vec<(&NodeProto, &str, &str)> {
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let computed = with_computed_statistics(graph);
    let of = graph.node.iter().filter(|node| node.made(0).is_some_and(|output| computed.contains(output)));
    of.flat_map(|node| [3, 4].into_iter().filter_map(move |index| Some((node, node.given(index)?))))
        .filter_map(|(node, first)| {
            let behind = makers.get(first)?.op_type();
            let mut name = first;
            // A graph may have a circle.
            for _ in 0..graph.node.len() {
                match makers.get(name) {
                    Some(maker) if keeps_numbers(maker) => name = maker.given(0)?,
                    Some(maker) if maker.op_type() != "Constant" => return None,
                    _ => return Some((node, name, behind)),
                }
            }
            None
        })
        .collect()
}

/// Which `BatchNormalization` nodes keep their running statistics because these are stored as something else, in a sentence.
pub(crate) fn said_of_kept(graph: &GraphProto) -> Option<String> {
    // Both of a node: where the other is computed they are no running statistics.
    let stored = stored(graph);
    let kept: Vec<_> =
        stored.windows(2).filter(|both| std::ptr::eq(both[0].0, both[1].0)).map(|both| both[0]).collect();
    let (first, _, behind) = kept.first()?;
    Some(format!(
        "{} BatchNormalization nodes keep their running statistics and normalise by them, as with --freeze-statistics all: these are stored \
         behind other nodes, in {} behind {behind}; stored as float32 initializers they would follow the batches",
        kept.len(),
        first.label()
    ))
}

/// Refuses running statistics that are made of a tensor which is trained: they would move with it.
///
/// # Errors
/// Naming the node and the tensor.
pub(crate) fn refuse_trained_statistics(graph: &GraphProto, is_trained: &dyn Fn(&str) -> bool) -> Result<()> {
    match stored(graph).into_iter().find(|(_, tensor, _)| is_trained(tensor)) {
        None => Ok(()),
        Some((node, tensor, behind)) => Err(Error::model(
            node.label(),
            format!(
                "its running statistics are '{tensor}' behind {behind}, as exporters merge equal tensors, and that is trained: they would move with \
                 it; store them apart, as float32 initializers, or --freeze '{tensor}'"
            ),
        )),
    }
}

/// Puts `BatchNormalization` into training mode.
fn train_statistics(graph: &mut GraphProto, frozen: &dyn Fn(&NodeProto) -> bool) -> Result<Vec<Running>> {
    let initializers: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let computed = with_computed_statistics(graph);
    let mut running: Vec<Running> = Vec::new();
    for node in &mut graph.node {
        if !node.is_standard() || node.op_type() != "BatchNormalization" {
            continue;
        }
        if node.made(0).is_some_and(|output| computed.contains(output)) {
            node.output.truncate(1);
            continue;
        }
        if frozen(node) {
            // The export may have been one in training mode.
            node.output.truncate(1);
            node.attribute.retain(|attribute| attribute.name() != "training_mode");
            continue;
        }
        let label = node.label();
        node.output.truncate(1);
        for (index, what) in [(3, "mean"), (4, "variance")] {
            let name = node.given(index).unwrap_or_default().to_owned();
            if !initializers.contains(name.as_str()) {
                return Err(Error::model(label, format!("its running {what} '{name}' is not an initializer")));
            }
            if running.iter().any(|other| other.name == name) {
                let reason = format!("its running {what} '{name}' belongs to another node too; give it one of its own");
                return Err(Error::model(label, reason));
            }
            // Under a prefix of our own: a node 'norm' may well have an initializer 'norm.running_mean'.
            let next = format!("{PREFIX}training.{name}");
            node.output.push(next.clone());
            running.push(Running { name, next });
        }
        node.attribute.retain(|attribute| attribute.name() != "training_mode");
        node.attribute.push(attribute("training_mode", Value::Int(1)));
    }
    Ok(running)
}
