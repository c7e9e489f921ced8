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

fn weight(name: &str, shape: &[usize], seed: u64) -> TensorProto {
    let fan_in: usize = shape[1..].iter().product();
    let values = scaled(normal(shape.iter().product(), seed), (2.0 / fan_in as f64).sqrt());
    floats(name, Element::F32, shape, &values)
}

fn normalization(name: &str, input: &str, channels: usize) -> (NodeProto, Vec<TensorProto>) {
    let parts = ["weight", "bias", "running_mean", "running_variance"].map(|part| format!("{name}.{part}"));
    let inputs = [input, &parts[0], &parts[1], &parts[2], &parts[3]];
    let tensors = parts.iter().zip([1.0, 0.0, 0.0, 1.0]);
    let tensors =
        tensors.map(|(part, value)| floats(part, Element::F32, &[channels], &vec![value; channels])).collect();
    (node("BatchNormalization", &inputs, &[name], vec![attribute("momentum", Value::Float(0.8))]), tensors)
}

/// The lengths of [`convolutional`]'s data but for the batch.
pub(crate) const IMAGE: [usize; 3] = [3, 12, 10];
/// The length of its embeddings.
pub(crate) const FEATURES: usize = 8;

/// Two convolutions with BatchNormalization, a pool between them, Dropout before the last layer; in float32.
pub(crate) fn convolutional(first: Dim) -> ModelProto {
    let convolution = |input: &str, weight: &str, output: &str, stride: i64| {
        let attributes =
            vec![attribute("pads", Value::Ints(vec![1; 4])), attribute("strides", Value::Ints(vec![stride; 2]))];
        node("Conv", &[input, weight], &[output], attributes)
    };
    let (norm1, tensors1) = normalization("norm1", "conv1", 6);
    let (norm2, tensors2) = normalization("norm2", "conv2", 10);
    let square = |length: i64| Value::Ints(vec![length; 2]);
    let nodes = vec![
        convolution("images", "conv1.weight", "conv1", 1),
        norm1,
        node("Relu", &["norm1"], &["relu1"], vec![]),
        node(
            "MaxPool",
            &["relu1"],
            &["pool1"],
            vec![attribute("kernel_shape", square(2)), attribute("strides", square(2))],
        ),
        convolution("pool1", "conv2.weight", "conv2", 2),
        norm2,
        node("Relu", &["norm2"], &["relu2"], vec![]),
        node("GlobalAveragePool", &["relu2"], &["pool2"], vec![]),
        node("Flatten", &["pool2"], &["flat"], vec![]),
        node("Dropout", &["flat", "ratio"], &["dropped"], vec![]),
        node("Gemm", &["dropped", "last.weight", "last.bias"], &["features"], vec![attribute("transB", Value::Int(1))]),
    ];
    let mut initializers = vec![
        weight("conv1.weight", &[6, 3, 3, 3], 1),
        weight("conv2.weight", &[10, 6, 3, 3], 2),
        weight("last.weight", &[FEATURES, 10], 3),
        floats("last.bias", Element::F32, &[FEATURES], &[0.0; FEATURES]),
        floats("ratio", Element::F32, &[], &[0.25]),
    ];
    initializers.extend(tensors1);
    initializers.extend(tensors2);
    let shape = |lengths: &[usize]| [vec![first.clone()], lengths.iter().map(|&l| Dim::Known(l)).collect()].concat();
    let (data, features) = (shape(&IMAGE), shape(&[FEATURES]));
    model(17, (Element::F32, &data), (Element::F32, &features), nodes, initializers)
}
