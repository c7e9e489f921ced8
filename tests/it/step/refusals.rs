//! What cannot be trained is refused with its name.

use pdloss::graph::{
    build::{Dim, Element, declare, floats, node},
    head::Spelling,
    losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor},
    proto::{ModelProto, OperatorSetIdProto, SparseTensorProto, TensorProto},
    step::{Description, Optimizer, StepOptions, build},
};

use crate::step::backbones::linear;

fn options() -> StepOptions {
    StepOptions::new(Loss::Softmax(NormalizedSoftmax::default()), 3)
}

fn assert_refused(backbone: ModelProto, options: &StepOptions, parts: &[&str]) {
    let error = build(backbone, options).map(|_| ()).expect_err("refused").to_string();
    for part in parts {
        assert!(error.contains(part), "'{error}' does not contain '{part}'");
    }
}

#[test]
fn sparse_weights() {
    let mut backbone = linear(4, 3);
    let graph = backbone.graph.as_mut().expect("it has one");
    let weight = graph.initializer.remove(0);
    let name = weight.name().to_owned();
    let indices =
        TensorProto { data_type: Some(7), dims: vec![12], int64_data: (0..12).collect(), ..TensorProto::default() };
    graph.sparse_initializer.push(SparseTensorProto { values: Some(weight), indices: Some(indices), dims: vec![3, 4] });
    assert_refused(backbone, &options(), &[&name, "sparse", "store it dense"]);
}

#[test]
fn settings() {
    let refused = |options: StepOptions, parts: &[&str]| assert_refused(linear(4, 3), &options, parts);
    let zero = Loss::Softmax(NormalizedSoftmax { temperature: 0.0 });
    refused(StepOptions::new(zero, 3), &["temperature", "softmax", "above 0", "got 0"]);
    let nan = Loss::ProxyAnchor(ProxyAnchor { alpha: f64::NAN, margin: 0.1 });
    refused(StepOptions::new(nan, 3), &["alpha", "proxy-anchor", "NaN"]);
    let negative = Loss::MultiSimilarity(MultiSimilarity { epsilon: -1.0, ..MultiSimilarity::default() });
    refused(StepOptions::new(negative, 3), &["epsilon", "not below 0", "-1"]);
    refused(StepOptions { classes: 1, ..options() }, &["proxies", "[1, 3]"]);
    refused(StepOptions { spelling: Spelling::Function, ..options() }, &["spelling", "function"]);
    refused(StepOptions { clip: Some(0.0), ..options() }, &["gradient norm", "above 0", "got 0"]);
    refused(StepOptions { proxies_rate: -1.0, ..options() }, &["proxies' learning rate", "-1"]);
    let sgd = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov, weight_decay: 0.0 };
    refused(StepOptions { optimizer: sgd(1.0, false), ..options() }, &["momentum", "got 1"]);
    refused(StepOptions { optimizer: sgd(0.0, true), ..options() }, &["momentum", "nesterov"]);
    let adamw = |beta2, weight_decay| Optimizer::AdamW { beta1: 0.9, beta2, epsilon: 1e-8, weight_decay };
    refused(StepOptions { optimizer: adamw(1.0, 0.0), ..options() }, &["beta2", "got 1"]);
    refused(StepOptions { optimizer: adamw(0.9, f64::INFINITY), ..options() }, &["weight_decay", "inf"]);
    refused(StepOptions { dim: Some(7), ..options() }, &["3 numbers, not 7"]);
    refused(StepOptions { embeddings: Some("other".to_owned()), ..options() }, &["'other'", "features"]);
}

#[test]
fn freeze_patterns() {
    let freeze =
        |patterns: &[&str]| StepOptions { freeze: patterns.iter().map(|&p| p.to_owned()).collect(), ..options() };
    assert_refused(linear(4, 3), &freeze(&["layer?.*"]), &["freeze pattern 'layer?.*'", "none of the 3 weights"]);
    assert_refused(linear(4, 3), &freeze(&["[a"]), &["freeze pattern '[a'"]);
    assert_refused(linear(4, 3), &freeze(&["*"]), &["nothing to train"]);
    let model = build(linear(4, 3), &freeze(&["w?ig*"])).expect("built");
    let names: Vec<String> =
        Description::of(&model).expect("described").state.into_iter().map(|state| state.name).collect();
    assert_eq!(names[..2], ["bias", "pdloss.proxies"]);
}

#[test]
fn backbones() {
    let changed = |change: &dyn Fn(&mut ModelProto)| {
        let mut model = linear(4, 3);
        change(&mut model);
        model
    };
    let two_inputs = changed(&|model| {
        let graph = model.graph.as_mut().expect("a graph");
        graph.input.push(declare("masks", Element::F32, &[Dim::Unknown]));
    });
    assert_refused(two_inputs, &options(), &["one input", "masks"]);
    let taken = changed(&|model| {
        model.graph.as_mut().expect("a graph").initializer[0].name = Some("pdloss.step".to_owned());
    });
    assert_refused(taken, &options(), &["pdloss.step"]);
    let next = changed(&|model| {
        model.graph.as_mut().expect("a graph").initializer[1].name = Some("weight.next".to_owned());
    });
    assert_refused(next, &options(), &["weight.next", "already"]);
    let old = changed(&|model| {
        model.opset_import = vec![OperatorSetIdProto { domain: None, version: Some(6) }];
    });
    assert_refused(old, &options(), &["opset"]);
    let no_graph = changed(&|model| model.graph = None);
    assert_refused(no_graph, &options(), &["no graph"]);
    let half = changed(&|model| {
        model.graph.as_mut().expect("a graph").output = vec![declare("features", Element::I64, &[Dim::Unknown])];
    });
    assert_refused(half, &options(), &["features", "float32 or float64"]);
    let unknown = changed(&|model| {
        let graph = model.graph.as_mut().expect("a graph");
        graph.node[0].output = vec!["middle".to_owned()];
        graph.node.push(node("Det", &["middle"], &["features"], vec![]));
    });
    assert_refused(unknown, &options(), &["Det 'features'", "no rule"]);
}

/// Two layers in a row of one initializer are one weight; constants of arithmetic before any layer are preprocessing, and
/// what another output needs is left out.
#[test]
fn what_is_trained() {
    let mut model = linear(4, 3);
    let graph = model.graph.as_mut().expect("a graph");
    graph.node[0].input[0] = "centred".to_owned();
    graph.node[0].output = vec!["middle".to_owned()];
    graph.node.insert(0, node("Sub", &["images", "mean"], &["centred"], vec![]));
    graph.node.push(node("Mul", &["middle", "gamma"], &["scaled"], vec![]));
    graph.node.push(node("Mul", &["scaled", "half"], &["features"], vec![]));
    graph.node.push(node("MatMul", &["features", "head"], &["logits"], vec![]));
    graph.output.push(declare("logits", Element::F64, &[Dim::Unknown, Dim::Known(2)]));
    for (name, shape) in [("mean", &[4][..]), ("gamma", &[3]), ("half", &[1]), ("head", &[3, 2])] {
        graph.initializer.push(floats(name, Element::F64, shape, &vec![0.5; shape.iter().product()]));
    }
    let options = StepOptions { embeddings: Some("features".to_owned()), ..options() };
    let step = build(model, &options).expect("built");
    let trained: Vec<String> = Description::of(&step)
        .expect("described")
        .state
        .into_iter()
        .filter(|state| state.of.is_none())
        .map(|state| state.name)
        .collect();
    assert_eq!(trained, ["weight", "bias", "gamma", "pdloss.proxies", "pdloss.step"]);
    let graph = step.graph.expect("a graph");
    assert!(!graph.initializer.iter().any(|tensor| tensor.name() == "head"), "head is not needed");
    assert!(graph.initializer.iter().any(|tensor| tensor.name() == "mean"));
}

#[test]
fn descriptions() {
    let refused = |model: &ModelProto| Description::of(model).expect_err("refused").to_string();
    assert!(refused(&linear(4, 3)).contains("not a step graph"));
    let mut step = build(linear(4, 3), &options()).expect("built");
    let text = step.metadata_props[0].value.take().expect("a description");
    step.metadata_props[0].value = Some(text.replace("\"version\":1", "\"version\":2"));
    assert!(refused(&step).contains("wanted layout 1, got 2"), "{}", refused(&step));
    step.metadata_props[0].value = Some(text.replace("\"dim\":3", "\"dim\":\"three\""));
    assert!(refused(&step).contains("three"), "{}", refused(&step));
}
