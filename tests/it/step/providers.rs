//! Which nodes of training steps have CUDA kernels, by the table of one release of onnxruntime-gpu.

use std::{fs, path::Path};

use pdloss::{
    graph::{
        build::{Dim, Element, Value, attribute, declare, floats, node},
        file,
        head::Spelling,
        losses::Loss,
        proto::{AttributeProto, GraphProto, ModelProto, NodeProto},
        providers::{OWN, without_cuda_kernel},
        step::{Half, Operators, Optimizer, Precision, Ranks, StepOptions, build},
    },
    loss::Config,
};

use crate::step::{
    backbones::{convolutional, linear, model},
    losses::losses,
};

const CLASSES: usize = 6;

/// Operator, opset and type of each node without a kernel.
fn without(model: &ModelProto) -> Vec<(String, i64, Option<&'static str>)> {
    let found = without_cuda_kernel(model, OWN).expect("it is there");
    found.without.into_iter().map(|node| (node.operator, node.opset, node.element)).collect()
}

fn options(loss: Loss, precision: Option<Half>) -> StepOptions {
    let precision = precision.map(|half| Precision::new(half, false));
    StepOptions { spelling: Spelling::Inline, precision, ..StepOptions::new(loss, CLASSES) }
}

/// In float32, float16 and bfloat16, which needs an opset that has it.
fn precisions(backbone: &ModelProto) -> Vec<Option<Half>> {
    let knows_bfloat16 = backbone.opset_import.iter().any(|set| set.domain().is_empty() && set.version() >= 22);
    let mut all = vec![None, Some(Half::F16)];
    all.extend(knows_bfloat16.then_some(Some(Half::Bf16)));
    all
}

fn at_opset(opset: i64) -> ModelProto {
    let mut backbone = convolutional(Dim::Named("batch".to_owned()));
    backbone.opset_import[0].version = Some(opset);
    backbone
}

#[test]
fn all_nodes_of_the_fixtures_steps_have_kernels() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut paths = vec![folder.join("backbone.onnx")];
    for name in ["exports", "torch"] {
        paths.extend(
            fs::read_dir(folder.join(name)).expect("it is there").map(|entry| entry.expect("it is there").path()),
        );
    }
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "onnx"));
    paths.retain(|path| !path.to_str().expect("it is there").ends_with(".expected.onnx"));
    let (mut steps, mut nodes) = (0, 0);
    for path in paths {
        let backbone = file::read(&path).expect("it is there");
        let ways = [Operators::Standard, Operators::Cuda];
        for (precision, operators) in precisions(&backbone).into_iter().flat_map(|of| ways.map(|way| (of, way))) {
            let options = StepOptions { operators, ..options(Loss::Pd(Config::default()), precision) };
            // Some do not give their embedding's length.
            let of_length = |dim| build(backbone.clone(), &StepOptions { dim, ..options.clone() }).ok();
            let step = std::iter::once(None).chain((1..=64).map(Some)).find_map(of_length);
            let step = step.unwrap_or_else(|| panic!("{}", path.display()));
            assert_eq!(without(&step), [], "{}, {precision:?}, {operators:?}", path.display());
            (steps, nodes) = (steps + 1, nodes + without_cuda_kernel(&step, OWN).expect("it is there").nodes);
        }
    }
    assert!(steps > 100 && nodes > 30_000, "{steps} steps, {nodes} nodes");
}

#[test]
fn all_nodes_of_all_losses_and_optimisers_have_kernels() {
    for loss in losses() {
        for precision in precisions(&at_opset(21)) {
            let step = build(at_opset(21), &options(loss, precision)).expect("it is there");
            assert_eq!(without(&step), [], "{loss:?}, {precision:?}");
        }
    }
    let optimizers = [
        Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 },
        Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 },
        Optimizer::Lion { beta1: 0.9, beta2: 0.99, weight_decay: 0.1 },
        Optimizer::Lamb { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, weight_decay: 0.1 },
    ];
    for optimizer in optimizers {
        for spelling in [Spelling::Inline, Spelling::Operator] {
            let loss = Loss::Pd(Config::default());
            let options = StepOptions { optimizer, spelling, clip: Some(1.0), ema: Some(0.99), ..options(loss, None) };
            assert_eq!(without(&build(at_opset(17), &options).expect("it is there")), [], "{options:?}");
            let of_library = StepOptions { operators: Operators::Cuda, ..options };
            assert_eq!(without(&build(at_opset(17), &of_library).expect("it is there")), [], "{of_library:?}");
        }
    }
}

/// The kernel of `MaxPool` is of its version 12, which opset 22 replaced; bfloat16 takes opset 22.
#[test]
fn a_pool_of_opset_22_has_none() {
    let loss = Loss::Pd(Config::default());
    for precision in precisions(&at_opset(22)) {
        let found = without(&build(at_opset(22), &options(loss, precision)).expect("it is there"));
        assert_eq!(found, [("MaxPool".to_owned(), 22, Some("float32"))], "{precision:?}");
    }
}

#[test]
fn exchanges_between_ranks_and_operators_of_float64_have_none() {
    let loss = Loss::Pd(Config::default());
    let operator = StepOptions { spelling: Spelling::Operator, ..options(loss, None) };
    let found = without(&build(linear(4, 3), &operator).expect("it is there"));
    let of_float64 = |name: &str| (format!("com.pdloss.{name}"), 1, Some("float64"));
    assert_eq!(found, ["PDLoss", "PDLossGrad"].map(of_float64));
    let on_ranks = StepOptions { ranks: Some(Ranks::new(false)), ..operator.clone() };
    let found = without(&build(at_opset(17), &on_ranks).expect("it is there"));
    let names: Vec<&str> = found.iter().map(|(operator, ..)| operator.as_str()).collect();
    assert!(names.contains(&"com.pdloss.AllGather") && names.contains(&"com.pdloss.AllReduce"), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("com.pdloss.All")), "{names:?}");
    let step = build(at_opset(17), &operator).expect("it is there");
    assert_eq!(without_cuda_kernel(&step, &[]).expect("it is there").without.len(), 2, "by the list given");
}

fn small(nodes: Vec<NodeProto>) -> ModelProto {
    let float = Element::F32;
    let rows = [Dim::Named("batch".to_owned()), Dim::Known(3)];
    model(17, (float, &rows), (float, &rows), nodes, vec![floats("weights", float, &[2, 3], &[1.0; 6])])
}

#[test]
fn constants_and_the_arithmetic_of_shapes_want_no_kernel() {
    let hardmax = |input: &str| {
        vec![node("Hardmax", &[input], &["h"], vec![]), node("Add", &["images", "h"], &["features"], vec![])]
    };
    assert_eq!(without(&small(hardmax("images"))), [("Hardmax".to_owned(), 17, Some("float32"))]);
    assert_eq!(without(&small(hardmax("weights"))), [], "computed once");
    let product = |last: &[NodeProto]| {
        let mut nodes = vec![
            node("Shape", &["images"], &["shape"], vec![]),
            node("ReduceProd", &["shape"], &["count"], vec![attribute("keepdims", Value::Int(1))]),
        ];
        nodes.extend_from_slice(last);
        small(nodes)
    };
    let reshaped = node("Reshape", &["images", "count"], &["features"], vec![]);
    assert_eq!(without(&product(std::slice::from_ref(&reshaped))), []);
    let number = [
        node("Cast", &["count"], &["number"], vec![attribute("to", Value::Int(1))]),
        node("Mul", &["images", "number"], &["features"], vec![]),
    ];
    assert_eq!(without(&product(&number)), [("ReduceProd".to_owned(), 17, Some("int64"))]);
    let both = [
        node("Mul", &["images", "number"], &["more"], vec![]),
        node("Reshape", &["images", "count"], &["again"], vec![]),
        node("Add", &["more", "again"], &["features"], vec![]),
    ];
    let both = [&number[..1], &both].concat();
    assert_eq!(without(&product(&both)).len(), 1, "a shape, and a number too");
}

#[test]
fn types_of_16_bits_and_graphs_inside_nodes_are_followed() {
    let to = |code| vec![attribute("to", Value::Int(code))];
    let log = |code| {
        small(vec![
            node("Cast", &["images"], &["narrow"], to(code)),
            node("Relu", &["narrow"], &["positive"], vec![]),
            node("Log", &["positive"], &["log"], vec![]),
            node("Cast", &["log"], &["features"], to(1)),
        ])
    };
    assert_eq!(without(&log(10)), []);
    assert_eq!(without(&log(16)), [("Log".to_owned(), 17, Some("bfloat16"))]);
    let branch = |name: &str, operator: &str| {
        let graph = GraphProto {
            name: Some(name.to_owned()),
            node: vec![node(operator, &["images"], &[name], vec![])],
            output: vec![declare(name, Element::F32, &[])],
            ..GraphProto::default()
        };
        let name = Some(format!("{name}_branch"));
        AttributeProto { name, g: Some(Box::new(graph)), r#type: Some(5), ..AttributeProto::default() }
    };
    let chosen = small(vec![
        node("ReduceSum", &["images"], &["sum"], vec![attribute("keepdims", Value::Int(0))]),
        node("Cast", &["sum"], &["condition"], to(9)),
        node("If", &["condition"], &["features"], vec![branch("then", "Hardmax"), branch("else", "Relu")]),
    ]);
    let found = without_cuda_kernel(&chosen, OWN).expect("it is there");
    assert_eq!((found.nodes, found.without.len()), (5, 1), "{found:?}");
    assert_eq!((found.without[0].operator.as_str(), found.without[0].name.as_str()), ("Hardmax", "then"));
}
