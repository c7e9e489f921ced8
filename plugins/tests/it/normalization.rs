//! The operators of normalization against standard operators, in whole steps.

use crate::{
    both::{count, hold_to_standard, plain},
    step::numbers,
};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto},
    step::{RunningVariance, StepOptions},
};

const DIM: usize = 3;
const INPUTS: usize = 2;
const EPSILON: f32 = 0.01;

/// A first layer from `images` to `x`, what is between `x` and `y`, and a layer behind.
fn backbone(
    element: Element,
    data: &[usize],
    width: usize,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
) -> ModelProto {
    let batch = Dim::Named("batch".to_owned());
    let lengths = data[1..].iter().map(|&length| Dim::Known(length));
    let last = vec![
        node("Flatten", &["y"], &["rows"], Vec::new()),
        node("Gemm", &["rows", "last"], &["features"], vec![attribute("transB", Value::Int(1))]),
    ];
    let graph = GraphProto {
        name: Some("normalization".to_owned()),
        input: vec![declare("images", element, &std::iter::once(batch.clone()).chain(lengths).collect::<Vec<_>>())],
        output: vec![declare("features", element, &[batch, Dim::Known(DIM)])],
        node: [nodes, last].concat(),
        initializer: [initializers, vec![floats("last", element, &[DIM, width], &numbers(DIM * width, 3))]].concat(),
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

/// A layer that makes `channels` of the inputs', with a mean that is not 0, and BatchNormalization.
fn batch_norm(element: Element, data: &[usize], channels: usize) -> ModelProto {
    let layer = if data.len() == 2 {
        node("Gemm", &["images", "first", "shift"], &["x"], vec![attribute("transB", Value::Int(1))])
    } else {
        node("Conv", &["images", "first", "shift"], &["x"], Vec::new())
    };
    let settings = vec![attribute("epsilon", Value::Float(EPSILON)), attribute("momentum", Value::Float(0.8))];
    let norm = node("BatchNormalization", &["x", "scale", "bias", "mean", "variance"], &["y"], settings);
    let kernel: Vec<usize> = [channels, INPUTS].into_iter().chain(data[2..].iter().map(|_| 1)).collect();
    let vector = |name: &str, seed| floats(name, element, &[channels], &numbers(channels + 1, seed)[..channels]);
    let initializers = vec![
        floats("first", element, &kernel, &numbers(channels * INPUTS, 1)),
        floats("shift", element, &[channels], &vec![2.0; channels]),
        vector("scale", 4),
        vector("bias", 5),
        vector("mean", 6),
        floats("variance", element, &[channels], &vec![1.5; channels]),
    ];
    let width = channels * data[2..].iter().product::<usize>();
    backbone(element, data, width, vec![layer, norm], initializers)
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn by_the_batch() {
    // One image, one place, one channel, rows no vector divides, no images but rows of numbers.
    let shapes: [(&[usize], usize); 6] = [
        (&[6, INPUTS, 5, 7], 3),
        (&[1, INPUTS, 3, 3], 5),
        (&[4, INPUTS, 1, 1], 3),
        (&[5, INPUTS, 11, 1], 1),
        (&[7, INPUTS], 9),
        (&[3, INPUTS, 13], 4),
    ];
    for (shape, channels) in shapes {
        for running_variance in [RunningVariance::Sample, RunningVariance::Population] {
            for (element, tolerance) in [(Element::F32, 2e-5), (Element::F64, 1e-11)] {
                // onnxruntime has no convolution in float64.
                if element == Element::F64 && shape.len() > 2 {
                    continue;
                }
                let options = StepOptions { running_variance, ..plain() };
                let backbone = batch_norm(element, shape, channels);
                let graphs = hold_to_standard("by the batch", &backbone, (element, shape), &options, tolerance);
                let ours = ["BatchNormTraining", "BatchNormGrad"];
                assert_eq!(graphs.each_ref().map(|graph| count(graph, &ours)), [0, 2]);
                assert_eq!(count(&graphs[1], &["BatchNormalization"]), 0);
            }
        }
    }
}

/// onnxruntime does not know the lengths of what its own layouts of convolutions come back from; then none may be declared, or what
/// it computes from them ahead (here the lengths that the gradient of the mean is spread over) is wrong.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn lengths_that_are_not_known_are_not_declared() {
    let shape = [4, INPUTS, 5, 5];
    let channels = 12;
    let mut backbone = batch_norm(Element::F32, &shape, channels);
    let graph = backbone.graph.as_mut().expect("a graph");
    graph.node[1].output = vec!["normal".to_owned()];
    let tail = vec![
        node("Relu", &["normal"], &["positive"], Vec::new()),
        node("GlobalAveragePool", &["positive"], &["y"], Vec::new()),
    ];
    graph.node.splice(2..2, tail);
    graph.initializer.retain(|tensor| tensor.name() != "last");
    graph.initializer.push(floats("last", Element::F32, &[DIM, channels], &numbers(DIM * channels, 3)));
    let graphs = hold_to_standard("pooled", &backbone, (Element::F32, &shape), &plain(), 2e-5);
    assert_eq!(graphs.map(|graph| count(&graph, &["BatchNormTraining", "ActivationGrad"])), [0, 2]);
}

/// A frozen backbone normalises by the batch all the same.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn without_a_gradient() {
    let freeze = ["first", "shift", "scale", "bias"].map(str::to_owned).to_vec();
    let options = StepOptions { freeze, ..plain() };
    let shape = [4, INPUTS, 3, 2];
    let backbone = batch_norm(Element::F32, &shape, 3);
    let graphs = hold_to_standard("frozen", &backbone, (Element::F32, &shape), &options, 2e-5);
    assert_eq!(graphs.map(|graph| count(&graph, &["BatchNormTraining"])), [0, 1]);
}

fn layer_norm(element: Element, data: &[usize], axis: i64, has_bias: bool) -> ModelProto {
    let width = 5;
    let shape: Vec<usize> = if axis == -1 { vec![width] } else { vec![data[1], width] };
    let count = shape.iter().product();
    let inputs = if has_bias { &["x", "scale", "bias"][..] } else { &["x", "scale"] };
    let settings = vec![attribute("axis", Value::Int(axis)), attribute("epsilon", Value::Float(EPSILON))];
    let nodes = vec![
        node("MatMul", &["images", "first"], &["product"], Vec::new()),
        node("Add", &["product", "shift"], &["x"], Vec::new()),
        node("LayerNormalization", inputs, &["y"], settings),
    ];
    let mut initializers = vec![
        floats("first", element, &[INPUTS, width], &numbers(INPUTS * width, 1)),
        floats("shift", element, &[width], &numbers(width, 2)),
        floats("scale", element, &shape, &numbers(count, 4)),
    ];
    if has_bias {
        initializers.push(floats("bias", element, &shape, &numbers(count, 5)));
    }
    backbone(element, data, data[1] * width, nodes, initializers)
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn by_the_row() {
    // From one row to more than are cut into one block.
    for shape in [[1, 1, INPUTS], [3, 7, INPUTS], [40, 29, INPUTS]] {
        for (axis, has_bias) in [(-1, true), (-1, false), (1, true), (1, false)] {
            let backbone = layer_norm(Element::F32, &shape, axis, has_bias);
            let graphs = hold_to_standard("by the row", &backbone, (Element::F32, &shape), &plain(), 2e-5);
            assert_eq!(graphs.map(|graph| count(&graph, &["LayerNormGrad"])), [0, 1]);
        }
    }
    // Whose mean onnxruntime would give in 32 bits.
    let (shape, backbone) = ([2, 3, INPUTS], layer_norm(Element::F64, &[2, 3, INPUTS], -1, true));
    let graphs = hold_to_standard("by the row", &backbone, (Element::F64, &shape), &plain(), 1e-12);
    assert_eq!(graphs.map(|graph| count(&graph, &["LayerNormGrad"])), [0, 0]);
}
