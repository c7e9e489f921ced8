//! Tensors that several layers read: listed, and told apart where that is asked for, or where training needs it.
//!
//! PyTorch's exporters keep one of several equal tensors, as those of a fresh net are: the layers of the others read it too,
//! directly or through `Identity`. Trained as one it stays one.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    description::listed,
    weights::{holds_weight, is_setting},
};
use crate::graph::{
    Error, Result, literal,
    proto::{GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto},
};

/// The key of the list of copies among the model's `metadata_props`, as JSON.
pub const COPIES: &str = "pdloss.copies";

/// A tensor that has its values from another, to be trained by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its name.
    pub name: String,
    /// The tensor that the backbone has.
    pub of: String,
    /// The nodes that read it, by their first output and the number of the input.
    pub reads: Vec<(String, usize)>,
}

/// A tensor that several layers read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Its name.
    pub name: String,
    /// The layers, by operator and name.
    pub layers: Vec<String>,
}

/// Gives every layer that shares its weights a copy of its own, where layers read them directly or through `Identity`; what
/// was copied. The list is kept in the model's metadata, too, under [`COPIES`].
///
/// # Errors
/// When the model has no graph.
pub fn untie(model: &mut ModelProto) -> Result<Vec<Copied>> {
    let mut copies = own_statistics(model, &|_| true)?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let mut more: Vec<Copied> = Vec::new();
    let mut names = Names::of(graph);
    let layers = Layers::of(graph);
    for (root, readers) in readers(graph) {
        let is_layer =
            |&(node, input): &(usize, usize)| layers.has(graph, node, input, layers.counts.get(&root).copied());
        // Readers by the name that they read; of one name, layers part and other readers stay with the first.
        let mut groups: Vec<(String, Vec<(usize, usize)>)> = Vec::new();
        for reader in readers {
            let name = graph.node[reader.0].input[reader.1].clone();
            let parts = |group: &Vec<(usize, usize)>| is_layer(&reader) && group.iter().any(is_layer);
            match groups.iter_mut().find(|(known, group)| *known == name && !parts(group)) {
                Some((_, group)) => group.push(reader),
                None => groups.push((name, vec![reader])),
            }
        }
        let mut taken = HashSet::from([root.clone()]);
        for (index, (name, group)) in groups.into_iter().enumerate() {
            if index == 0 {
                continue;
            }
            let name = if taken.insert(name.clone()) { name } else { names.fresh(&root) };
            let reads = group.iter().map(|&(node, input)| (first_output(&graph.node[node]), input)).collect();
            more.push(Copied { name, of: root.clone(), reads });
        }
    }
    apply(graph, &more)?;
    keep(model, &more)?;
    copies.append(&mut more);
    Ok(copies)
}

/// The backbone as a step trains it: every BatchNormalization with a running mean and variance of its own.
///
/// # Errors
/// When the model has no graph.
pub fn with_own_statistics(model: &ModelProto) -> Result<ModelProto> {
    let mut model = model.clone();
    own_statistics(&mut model, &|_| true)?;
    Ok(model)
}

/// Gives every BatchNormalization a running mean and variance that nothing else reads; what was copied, of what `is_wanted`.
pub(super) fn own_statistics(model: &mut ModelProto, is_wanted: &dyn Fn(&Copied) -> bool) -> Result<Vec<Copied>> {
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let constants: HashSet<&str> = constants(graph);
    let aliases = aliases(graph);
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for node in graph.node.iter().filter(|node| !is_identity(node)) {
        for name in &node.input {
            *uses.entry(resolve(&aliases, name)).or_default() += 1;
        }
    }
    let mut names = Names::of(graph);
    let (mut copies, mut taken): (Vec<Copied>, HashSet<&str>) = (Vec::new(), HashSet::new());
    for node in graph.node.iter().filter(|node| node.is_standard() && node.op_type() == "BatchNormalization") {
        for (index, what) in [(3, "running_mean"), (4, "running_var")] {
            let Some(name) = node.given(index) else { continue };
            let root = resolve(&aliases, name);
            let is_own = uses.get(root) == Some(&1) && root == name && !constants.contains(root);
            if is_own || !(graph.initializer.iter().any(|tensor| tensor.name() == root) || constants.contains(root)) {
                continue;
            }
            // The name in PyTorch, where the exporter left it there.
            let alias = (root != name && taken.insert(name)).then(|| name.to_owned());
            let copy = alias.unwrap_or_else(|| names.fresh(&format!("{}.{what}", first_output(node))));
            let reads = vec![(first_output(node), index)];
            copies.push(Copied { name: copy, of: root.to_owned(), reads });
        }
    }
    copies.retain(is_wanted);
    apply(graph, &copies)?;
    keep(model, &copies)?;
    Ok(copies)
}

/// The values of `Constant` nodes that one BatchNormalization alone has as its running mean or variance.
pub(super) fn constant_statistics(graph: &GraphProto) -> HashSet<String> {
    let constants = constants(graph);
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in graph.node.iter().flat_map(|node| &node.input) {
        *uses.entry(name).or_default() += 1;
    }
    let norms = graph.node.iter().filter(|node| node.is_standard() && node.op_type() == "BatchNormalization");
    let read = norms.flat_map(|node| [3, 4].into_iter().filter_map(|index| node.given(index)));
    read.filter(|name| constants.contains(name) && uses.get(name) == Some(&1)).map(str::to_owned).collect()
}

/// What [`own_statistics`] came to, in a sentence.
pub(super) fn said(copies: &[Copied]) -> Option<String> {
    let names: Vec<&str> = copies.iter().map(|copy| copy.name.as_str()).collect();
    (!copies.is_empty()).then(|| {
        format!(
            "{} running means and variances are read by other nodes too, as exporters merge equal tensors: each BatchNormalization \
             gets its own, {}",
            names.len(),
            listed(&names)
        )
    })
}

/// The weights among the tensors `names` that several layers read.
pub(super) fn shared(graph: &GraphProto, names: &[&str]) -> Vec<Shared> {
    let known = Layers::of(graph);
    let mut made: HashMap<&str, &str> = names.iter().map(|&name| (name, name)).collect();
    let mut layers: HashMap<&str, Vec<String>> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate().filter(|(_, node)| node.is_standard()) {
        for (index, name) in node.input.iter().enumerate() {
            let Some(&root) = made.get(name.as_str()) else { continue };
            if passes_on(node) && index == 0 {
                made.extend(node.output.iter().map(|output| (output.as_str(), root)));
            } else if known.has(graph, at, index, known.counts.get(root).copied()) {
                let list = layers.entry(root).or_default();
                let label = node.label();
                if !list.contains(&label) {
                    list.push(label);
                }
            }
        }
    }
    let several = |name: &&str| {
        let list = layers.get(name).filter(|list| list.len() > 1)?;
        Some(Shared { name: (*name).to_owned(), layers: list.clone() })
    };
    names.iter().filter_map(several).collect()
}

/// What tells a layer that reads a tensor from a computation on the tensor itself, as the standardisation of a weight is.
struct Layers {
    /// Values that depend on the data.
    moved: HashSet<String>,
    /// How many numbers the tensors have.
    counts: HashMap<String, usize>,
}

impl Layers {
    fn of(graph: &GraphProto) -> Self {
        let count = |tensor: &TensorProto| {
            let count = literal::lengths(tensor).and_then(|lengths| literal::count(&lengths));
            (tensor.name().to_owned(), count.unwrap_or(0))
        };
        let constants = graph.node.iter().filter_map(literal::of_node);
        let counts: HashMap<String, usize> =
            graph.initializer.iter().map(count).chain(constants.map(|tensor| count(&tensor))).collect();
        let inputs = graph.input.iter().map(|input| input.name().to_owned());
        let mut moved: HashSet<String> = inputs.filter(|name| !counts.contains_key(name)).collect();
        for node in &graph.node {
            if node.input.iter().any(|name| moved.contains(name)) {
                moved.extend(node.output.iter().cloned());
            }
        }
        Self { moved, counts }
    }

    /// Whether a node is a layer with a tensor of `count` numbers in this place. A single number of arithmetic, as the power of a
    /// pooling, may well be read by several nodes of one layer.
    fn has(&self, graph: &GraphProto, at: usize, input: usize, count: Option<usize>) -> bool {
        let node = &graph.node[at];
        if passes_on(node) {
            // Up to the layers that read what it passes on; nodes stand in the order of evaluation.
            let readers = graph.node.iter().enumerate().skip(at + 1);
            let mut places = readers.flat_map(|(at, reader)| {
                let inputs = reader.input.iter().enumerate().filter(|(_, name)| node.output.contains(name));
                inputs.map(move |(index, _)| (at, index)).collect::<Vec<_>>()
            });
            return places.any(|(at, index)| self.has(graph, at, index, count));
        }
        let meets_data = node.input.iter().any(|name| self.moved.contains(name));
        meets_data && !is_setting(node, input) && (holds_weight(node, input) || count.is_some_and(|count| count > 1))
    }
}

fn passes_on(node: &NodeProto) -> bool {
    matches!(node.op_type(), "Identity" | "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze" | "Cast")
}

fn is_identity(node: &NodeProto) -> bool {
    node.is_standard() && node.op_type() == "Identity"
}

fn first_output(node: &NodeProto) -> String {
    node.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default()
}

/// What `Identity` nodes make, by what they take.
fn aliases(graph: &GraphProto) -> HashMap<String, String> {
    let pair = |node: &NodeProto| Some((node.made(0)?.to_owned(), node.given(0)?.to_owned()));
    graph.node.iter().filter(|node| is_identity(node)).filter_map(pair).collect()
}

/// The value behind `Identity` nodes.
fn resolve<'a>(aliases: &'a HashMap<String, String>, name: &'a str) -> &'a str {
    let mut name = name;
    // A graph may have a circle.
    for _ in 0..aliases.len() {
        let Some(source) = aliases.get(name) else { break };
        name = source;
    }
    name
}

/// The names of what `Constant` nodes make.
fn constants(graph: &GraphProto) -> HashSet<&str> {
    graph
        .node
        .iter()
        .filter(|node| node.is_standard() && node.op_type() == "Constant")
        .filter_map(|node| node.made(0))
        .collect()
}

/// The nodes and inputs that read each initializer of floats, directly or through `Identity`, where several do.
fn readers(graph: &GraphProto) -> Vec<(String, Vec<(usize, usize)>)> {
    let aliases = aliases(graph);
    let mut found: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate().filter(|(_, node)| !is_identity(node)) {
        for (index, name) in node.input.iter().enumerate().filter(|(index, _)| !is_setting(node, *index)) {
            found.entry(resolve(&aliases, name)).or_default().push((at, index));
        }
    }
    let is_float = |tensor: &&TensorProto| matches!(tensor.data_type(), 1 | 10 | 11 | 16);
    let several = |tensor: &TensorProto| {
        let readers = found.get(tensor.name())?;
        (readers.len() > 1).then(|| (tensor.name().to_owned(), readers.clone()))
    };
    graph.initializer.iter().filter(is_float).filter_map(several).collect()
}

/// Makes the copies, and leaves out `Identity` nodes that made values of their names.
fn apply(graph: &mut GraphProto, copies: &[Copied]) -> Result<()> {
    for Copied { name, of, reads } in copies {
        let given = graph.initializer.iter().find(|tensor| tensor.name() == of).cloned();
        let made = || graph.node.iter().filter_map(literal::of_node).find(|tensor| tensor.name() == of);
        let Some(mut tensor) = given.or_else(made) else {
            return Err(Error::model(
                of.as_str(),
                format!("the backbone has no tensor of this name to copy to '{name}'"),
            ));
        };
        tensor.name = Some(name.clone());
        let others: Vec<usize> = (0..graph.node.len()).filter(|&at| is_identity(&graph.node[at])).collect();
        for (output, input) in reads {
            for node in graph.node.iter_mut().filter(|node| first_output(node) == *output && !is_identity(node)) {
                if let Some(place) = node.input.get_mut(*input) {
                    name.clone_into(place);
                }
            }
        }
        // What else reads the value of that name reads what it was made of.
        for at in others.into_iter().rev() {
            if graph.node[at].made(0) != Some(name) {
                continue;
            }
            let source = graph.node[at].input[0].clone();
            graph.node.remove(at);
            for node in &mut graph.node {
                let output = first_output(node);
                for (index, place) in node.input.iter_mut().enumerate() {
                    if place == name && !reads.contains(&(output.clone(), index)) {
                        source.clone_into(place);
                    }
                }
            }
        }
        graph.initializer.push(tensor);
    }
    Ok(())
}

/// Adds to the list of copies in the model's metadata.
fn keep(model: &mut ModelProto, copies: &[Copied]) -> Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    let wrong = |error: serde_json::Error| Error::model(COPIES, error.to_string());
    let entry = model.metadata_props.iter().find(|entry| entry.key() == COPIES);
    let mut all: Vec<Copied> =
        entry.map_or(Ok(Vec::new()), |entry| serde_json::from_str(entry.value())).map_err(wrong)?;
    all.extend_from_slice(copies);
    let text = serde_json::to_string(&all).map_err(wrong)?;
    model.metadata_props.retain(|entry| entry.key() != COPIES);
    model.metadata_props.push(StringStringEntryProto { key: Some(COPIES.to_owned()), value: Some(text) });
    Ok(())
}

/// Names that are taken.
struct Names(HashSet<String>);

impl Names {
    fn of(graph: &GraphProto) -> Self {
        let made = graph.node.iter().flat_map(|node| &node.output).cloned();
        let inputs = graph.input.iter().map(|input| input.name().to_owned());
        Self(graph.initializer.iter().map(|tensor| tensor.name().to_owned()).chain(made).chain(inputs).collect())
    }

    /// The name, with a number behind it where it is taken.
    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = name.to_owned();
        let mut number = 1;
        while !self.0.insert(fresh.clone()) {
            number += 1;
            fresh = format!("{name}.{number}");
        }
        fresh
    }
}
