//! The trained embedder.

use std::collections::{HashMap, HashSet};

use super::{in_place::inputs, sharing, tensors::describe};
use crate::graph::{
    Error, Result, branches,
    build::{Dim, Element, Value, attribute, declare},
    literal,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto, TypeProtoTensor, TypeProtoValue, ValueInfoProto},
    shapes::Shapes,
    training_mode,
};

/// The backbone with the weights and running statistics of a state: the same graph and names, ready for inference.
///
/// `state` answers with the tensor of that name, or `None` for initializers and `Constant` nodes that stay as they are
/// (constants, frozen weights). Running statistics that other nodes of the backbone read, too, become one each, where the state has
/// them, or what they are read from. Tensors that are float16 or bfloat16 in the backbone are rounded to that from the state's
/// float32. BatchNormalization and Dropout nodes in training mode are put into inference mode.
///
/// # Errors
/// When a tensor of the state has another type or shape than the backbone's, or a number too large for its float16.
pub fn export_embedder(backbone: &ModelProto, state: impl Fn(&str) -> Option<TensorProto>) -> Result<ModelProto> {
    let mut model = backbone.clone();
    branches::inline(&mut model)?;
    // Also where they stay and what they were read from has moved.
    sharing::own_statistics(&mut model, &|copy| state(&copy.name).is_some() || state(&copy.of).is_some())?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    for old in &mut graph.initializer {
        let Some(new) = state(old.name()) else { continue };
        *old = replacement(old, new)?;
    }
    for node in &mut graph.node {
        let Some(old) = literal::of_node(node) else { continue };
        let Some(new) = state(old.name()) else { continue };
        let tensor = TensorProto {
            name: node.tensor("value").and_then(|tensor| tensor.name.clone()),
            ..replacement(&old, new)?
        };
        node.attribute = vec![attribute("value", Value::Tensor(Box::new(tensor)))];
    }
    infer_only(graph);
    training_mode::into_inference(graph);
    Ok(model)
}

/// The model with one of its values as the only output, and nothing that this does not need; with the names of the tensors that are left
/// away.
///
/// # Errors
/// When the model has no graph, or the types of its values contradict each other.
pub fn only(model: &ModelProto, output: &str) -> Result<(ModelProto, Vec<String>)> {
    let shapes = Shapes::of(model)?;
    let mut model = model.clone();
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let is_declared = |value: &&ValueInfoProto| value.name() == output && value.r#type.is_some();
    if let [alone] = graph.output.as_slice()
        && is_declared(&alone)
    {
        return Ok((model, Vec::new()));
    }
    let known = graph.output.iter().chain(&graph.value_info).find(is_declared).cloned();
    let lengths = || shapes.shape(output).unwrap_or(&[Dim::Unknown, Dim::Unknown]);
    let made = || {
        let mut value = declare(output, shapes.element(output).unwrap_or(Element::F32), lengths());
        // Of a model in float16 the types of inner values may not be known; its outputs have one.
        let own = graph.output.iter().find_map(element_code);
        if let (None, Some(code), Some(tensor)) = (shapes.element(output), own, tensor_type(&mut value)) {
            tensor.elem_type = Some(code);
        }
        value
    };
    graph.output = vec![known.unwrap_or_else(made)];
    let mut needed: HashSet<String> = HashSet::from([output.to_owned()]);
    let mut is_needed: Vec<bool> = graph
        .node
        .iter()
        .rev()
        .map(|node| {
            let makes = node.output.iter().any(|made| needed.contains(made));
            if makes {
                needed.extend(inputs(node).into_iter().map(str::to_owned));
            }
            makes
        })
        .collect();
    is_needed.reverse();
    let mut is_needed = is_needed.into_iter();
    graph.node.retain(|_| is_needed.next() == Some(true));
    let left = graph.initializer.iter().map(TensorProto::name).filter(|name| !needed.contains(*name));
    let left = left.map(str::to_owned).collect();
    graph.initializer.retain(|tensor| needed.contains(tensor.name()));
    graph
        .sparse_initializer
        .retain(|tensor| tensor.values.as_ref().is_none_or(|values| needed.contains(values.name())));
    graph.input.retain(|input| needed.contains(input.name()));
    graph.value_info.retain(|value| needed.contains(value.name()));
    Ok((model, left))
}

fn tensor_type(value: &mut ValueInfoProto) -> Option<&mut TypeProtoTensor> {
    match value.r#type.as_mut()?.value.as_mut()? {
        TypeProtoValue::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

fn element_code(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeProtoValue::TensorType(tensor) => tensor.elem_type,
        _ => None,
    }
}

/// How far training has moved a backbone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Numbers that are not what they were.
    pub values: u64,
    /// Numbers in all.
    pub of: u64,
    /// Tensors of which no number is.
    pub still: Vec<String>,
}

/// How far the embedder's tensors of these names are from what they are in its backbone.
///
/// # Errors
/// As [`export_embedder`].
pub fn moved(backbone: &ModelProto, embedder: &ModelProto, names: &[String]) -> Result<Moved> {
    let before = export_embedder(backbone, |_| None)?;
    let (before, after) = (tensors(&before), tensors(embedder));
    let mut moved = Moved::default();
    for name in names {
        let numbers = |tensors: &HashMap<String, TensorProto>| tensors.get(name).and_then(literal::any_floats);
        let (Some(old), Some(new)) = (numbers(&before), numbers(&after)) else { continue };
        let count = old.iter().zip(&new).filter(|(old, new)| old != new).count();
        moved.values += count as u64;
        moved.of += new.len() as u64;
        if count == 0 {
            moved.still.push(name.clone());
        }
    }
    Ok(moved)
}

/// The tensors that a model holds, by name.
fn tensors(model: &ModelProto) -> HashMap<String, TensorProto> {
    let graph = model.graph.iter();
    let initializers = graph.clone().flat_map(|graph| graph.initializer.iter().cloned());
    let constants = graph.flat_map(|graph| graph.node.iter().filter_map(literal::of_node));
    initializers.chain(constants).map(|tensor| (tensor.name().to_owned(), tensor)).collect()
}

/// A tensor of the state in the type of the backbone's.
fn replacement(old: &TensorProto, new: TensorProto) -> Result<TensorProto> {
    let wrong = |reason: String| Error::model(format!("'{}'", old.name()), reason);
    let is_float32 = new.data_type() == Element::F32.code();
    if let (Some(half), true) = (literal::Half::of(old), is_float32 && new.dims == old.dims) {
        let values = literal::numbers(&new).ok_or_else(|| wrong("its values do not fill its shape".to_owned()))?;
        let rounded: Vec<[u8; 2]> = values.iter().map(|&value| half.bytes(value)).collect();
        let tensor = TensorProto {
            name: old.name.clone(),
            data_type: old.data_type,
            dims: new.dims,
            raw_data: Some(rounded.concat()),
            ..TensorProto::default()
        };
        let written = literal::any_floats(&tensor).unwrap_or_default();
        return match values.iter().zip(&written).find(|(value, written)| value.is_finite() && !written.is_finite()) {
            Some((value, _)) => {
                Err(wrong(format!("it was trained in float32 to {value}, above what its {half} holds")))
            }
            None => Ok(tensor),
        };
    }
    if (new.data_type, &new.dims) != (old.data_type, &old.dims) {
        return Err(wrong(format!("wanted {} as in the backbone, got {}", describe(old), describe(&new))));
    }
    Ok(TensorProto { name: old.name.clone(), ..new })
}

fn infer_only(graph: &mut GraphProto) {
    let is_constant = |name: &str, graph: &GraphProto| graph.initializer.iter().any(|tensor| tensor.name() == name);
    for index in 0..graph.node.len() {
        match graph.node[index].op_type() {
            "BatchNormalization" => {
                graph.node[index].attribute.retain(|attribute| attribute.name() != "training_mode");
                graph.node[index].output.truncate(1);
            }
            // The third input says whether to drop.
            "Dropout" if graph.node[index].input.len() > 2 => {
                let flag = graph.node[index].input[2].clone();
                if is_constant(&flag, graph) || made_by_constant(&flag, &graph.node) {
                    graph.node[index].input.truncate(2);
                }
            }
            _ => {}
        }
    }
}

fn made_by_constant(name: &str, nodes: &[NodeProto]) -> bool {
    nodes.iter().any(|node| node.op_type() == "Constant" && node.output.iter().any(|output| output == name))
}
