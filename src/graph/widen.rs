//! Models that compute in 16 bits, made float32: what is trained has numbers that small steps change.

use std::collections::HashSet;

use super::{
    build::{Element, floats},
    literal::{self, Half},
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProtoValue, ValueInfoProto},
};

/// Operators that only move the elements of their first input.
pub(super) const MOVES: &[&str] = &[
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Makes float32 of everything in the model that is float16 or bfloat16, where it computes in these, or takes or gives them; whether it
/// did. Tensors that are only kept in 16 bits, with a `Cast` before they are used, stay as they are, and so do all names.
pub fn widen(model: &mut ModelProto) -> bool {
    let Some(graph) = model.graph.as_mut().filter(|graph| is_narrow(graph)) else { return false };
    widen_graph(graph);
    true
}

/// Whether a graph computes in 16 bits, or takes or gives them.
fn is_narrow(graph: &GraphProto) -> bool {
    if graph.input.iter().chain(&graph.output).any(|value| is_half(element(value))) {
        return true;
    }
    let kept = graph.initializer.iter().filter(|tensor| Half::of(tensor).is_some());
    let mut narrow: HashSet<&str> = kept.map(TensorProto::name).collect();
    for node in &graph.node {
        let gives = match node.op_type() {
            "Cast" => i32::try_from(node.int("to", 0)).is_ok_and(|code| is_half(Some(code))),
            "Constant" | "ConstantOfShape" => node.tensor("value").is_some_and(|tensor| Half::of(tensor).is_some()),
            _ if !node.input.iter().any(|name| narrow.contains(name.as_str())) => false,
            "Shape" | "Size" => false,
            operator if MOVES.contains(&operator) => true,
            _ => return true,
        };
        if gives {
            narrow.extend(node.output.iter().map(String::as_str));
        }
        if inner(node).any(is_narrow) {
            return true;
        }
    }
    false
}

fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

fn is_half(code: Option<i32>) -> bool {
    matches!(code, Some(10 | 16))
}

fn element(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        TypeProtoValue::TensorType(tensor) => tensor.elem_type,
        _ => None,
    }
}

fn widen_graph(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).for_each(widen_type);
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        widen_attribute(attribute);
    }
}

fn widen_attribute(attribute: &mut AttributeProto) {
    attribute.t.iter_mut().for_each(widen_tensor);
    attribute.g.iter_mut().for_each(|graph| widen_graph(graph));
    attribute.graphs.iter_mut().for_each(widen_graph);
    let is_type = matches!(attribute.name(), "to" | "dtype" | "stash_type" | "softmax_precision");
    if is_type && matches!(attribute.i, Some(10 | 16)) {
        attribute.i = Some(i64::from(Element::F32.code()));
    }
}

fn widen_type(value: &mut ValueInfoProto) {
    let kind = value.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(TypeProtoValue::TensorType(tensor)) = kind
        && is_half(tensor.elem_type)
    {
        tensor.elem_type = Some(Element::F32.code());
    }
}

fn widen_tensor(tensor: &mut TensorProto) {
    if Half::of(tensor).is_none() {
        return;
    }
    if let (Some(values), Some(lengths)) = (literal::any_floats(tensor), literal::lengths(tensor)) {
        *tensor = TensorProto {
            doc_string: tensor.doc_string.clone(),
            ..floats(tensor.name(), Element::F32, &lengths, &values)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::{Value, attribute, declare, node};

    fn half(name: &str, values: &[f64]) -> TensorProto {
        let raw: Vec<[u8; 2]> = values.iter().map(|&value| Half::Float16.bytes(value)).collect();
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(10),
            dims: vec![i64::try_from(values.len()).unwrap()],
            raw_data: Some(raw.concat()),
            ..TensorProto::default()
        }
    }

    fn model(nodes: Vec<NodeProto>, code: i32) -> ModelProto {
        let mut input = declare("x", Element::F32, &[]);
        if let Some(TypeProtoValue::TensorType(tensor)) = input.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
            tensor.elem_type = Some(code);
        }
        let graph = GraphProto {
            node: nodes,
            initializer: vec![half("w", &[0.1, 2.0])],
            input: vec![input],
            ..GraphProto::default()
        };
        ModelProto { graph: Some(graph), ..ModelProto::default() }
    }

    fn cast(from: &str, to: &str, code: i64) -> NodeProto {
        node("Cast", &[from], &[to], vec![attribute("to", Value::Int(code))])
    }

    #[test]
    fn what_computes_in_16_bits_becomes_float32_and_what_is_kept_in_them_stays() {
        let kept = vec![
            node("Identity", &["w"], &["again"], vec![]),
            cast("again", "wide", 1),
            node("Add", &["x", "wide"], &["y"], vec![]),
        ];
        assert!(!widen(&mut model(kept.clone(), 1)));
        assert!(widen(&mut model(kept, 10)), "it takes float16");
        let mut computes =
            model(vec![cast("x", "narrow", 10), node("Add", &["narrow", "w"], &["y"], vec![]), cast("y", "z", 1)], 1);
        assert!(widen(&mut computes));
        let graph = computes.graph.as_ref().unwrap();
        assert!(graph.node.iter().filter(|node| node.op_type() == "Cast").all(|node| node.int("to", 0) == 1));
        let tensor = &graph.initializer[0];
        assert_eq!((tensor.data_type(), tensor.name()), (1, "w"));
        assert_eq!(literal::numbers(tensor).unwrap(), [f64::from(half::f16::from_f32(0.1).to_f32()), 2.0]);
        assert!(!widen(&mut computes), "once is enough");
    }
}
