//! Small embedders.

use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto},
};
use rand_distr::{Distribution as _, StandardNormal};
use rand_pcg::{Pcg64Mcg, rand_core::SeedableRng as _};

/// Standard normal numbers.
pub(crate) fn normal(count: usize, seed: u64) -> Vec<f64> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
}

pub(crate) fn scaled(values: Vec<f64>, factor: f64) -> Vec<f64> {
    values.into_iter().map(|value| value * factor).collect()
}

pub(crate) fn model(
    opset: i64,
    input: (Element, &[Dim]),
    output: (Element, &[Dim]),
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
) -> ModelProto {
    let graph = GraphProto {
        name: Some("backbone".to_owned()),
        input: vec![declare("images", input.0, input.1)],
        output: vec![declare("features", output.0, output.1)],
        node: nodes,
        initializer: initializers,
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn batch() -> Dim {
    Dim::Named("batch".to_owned())
}

/// Embeddings that are the weight `rows` itself, where the identity matrix goes in: their gradient is the weight's.
pub(crate) fn table(batch: usize, dim: usize, rows: &[f64]) -> ModelProto {
    let shape = [Dim::Named("batch".to_owned()), Dim::Known(batch)];
    model(
        17,
        (Element::F64, &shape),
        (Element::F64, &[Dim::Named("batch".to_owned()), Dim::Known(dim)]),
        vec![node("MatMul", &["images", "rows"], &["features"], vec![])],
        vec![floats("rows", Element::F64, &[batch, dim], rows)],
    )
}

pub(crate) fn identity(size: usize) -> Vec<f64> {
    (0..size * size).map(|index| if index / size == index % size { 1.0 } else { 0.0 }).collect()
}

/// `features = images weight' + bias`, in float64.
pub(crate) fn linear(inputs: usize, dim: usize) -> ModelProto {
    let weight = scaled(normal(dim * inputs, 11), 0.4);
    let bias = scaled(normal(dim, 12), 0.1);
    model(
        17,
        (Element::F64, &[batch(), Dim::Known(inputs)]),
        (Element::F64, &[batch(), Dim::Known(dim)]),
        vec![node("Gemm", &["images", "weight", "bias"], &["features"], vec![attribute("transB", Value::Int(1))])],
        vec![floats("weight", Element::F64, &[dim, inputs], &weight), floats("bias", Element::F64, &[dim], &bias)],
    )
}
