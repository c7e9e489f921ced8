//! Small models that tests make.

use std::path::{Path, PathBuf};

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// Free batch.
pub(crate) const N: i64 = -1;

pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: op.into(),
        input: names(inputs),
        output: names(outputs),
        attribute: attributes,
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: AttributeType::Int as i32, ..Default::default() }
}

pub(crate) fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { name: name.into(), g: Some(graph), r#type: AttributeType::Graph as i32, ..Default::default() }
}

pub(crate) fn value(tensor: TensorProto) -> AttributeProto {
    AttributeProto { name: "value".into(), t: Some(tensor), r#type: AttributeType::Tensor as i32, ..Default::default() }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: DataType::Float as i32,
        raw_data,
        ..Default::default()
    }
}

/// Numbers that look random and are the same each time.
pub(crate) fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + 11) % 101) as f32 / 101.0 - 0.5).collect();
    floats(name, dims, &values)
}

pub(crate) fn ints(name: &str, values: &[i64]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims = vec![values.len() as i64];
    TensorProto { name: name.into(), dims, data_type: DataType::Int64 as i32, raw_data, ..Default::default() }
}

pub(crate) fn boolean(name: &str, is_true: bool) -> TensorProto {
    let raw_data = vec![u8::from(is_true)];
    TensorProto { name: name.into(), data_type: DataType::Bool as i32, raw_data, ..Default::default() }
}

/// The same tensor, its values in a file.
pub(crate) fn external(mut tensor: TensorProto, entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
    tensor.raw_data = Vec::new();
    tensor.external_data = entries.iter().map(entry).collect();
    tensor.data_location = Some(DataLocation::External as i32);
    tensor
}

fn info(name: &str, element: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| {
        let value = if size == N { dimension::Value::DimParam("N".into()) } else { dimension::Value::DimValue(size) };
        Dimension { value: Some(value), ..Default::default() }
    };
    let shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: element as i32, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: name.into(), r#type, ..Default::default() }
}

pub(crate) fn graph(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> GraphProto {
    GraphProto { name: "g".into(), node: nodes, initializer: initializers, ..Default::default() }
}

/// From `x`, images of this shape, to `y`, an embedding of float32.
pub(crate) fn model(shape: &[i64], opset: i64, nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let mut graph = graph(nodes, initializers);
    graph.input = vec![info("x", DataType::Float, shape)];
    graph.output = vec![info("y", DataType::Float, &[shape[0], 4])];
    let import = OperatorSetIdProto { domain: String::new(), version: opset };
    ModelProto { ir_version: 8, opset_import: vec![import], graph: Some(graph), ..Default::default() }
}

/// With another type of output.
pub(crate) fn giving(mut model: ModelProto, element: DataType) -> ModelProto {
    if let Some(graph) = &mut model.graph {
        graph.output = vec![info("y", element, &[N, 4])];
    }
    model
}

/// A function of one node, to be called as `local.NAME`.
pub(crate) fn function(
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    nodes: Vec<NodeProto>,
    opset: i64,
) -> FunctionProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: names(inputs),
        output: names(outputs),
        node: nodes,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        ..Default::default()
    }
}

pub(crate) fn save(folder: &Path, name: &str, model: &ModelProto) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// `x [N, 3, 8, 8]` flattened and multiplied to `to [N, 4]`.
pub(crate) fn projection(to: &str) -> (Vec<NodeProto>, Vec<TensorProto>) {
    let nodes = vec![node("Flatten", &["x"], &["f"], vec![]), node("MatMul", &["f", "w"], &[to], vec![])];
    (nodes, vec![weights("w", &[192, 4])])
}
