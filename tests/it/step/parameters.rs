//! Which tensors of a backbone are trained, how many of how many, and why the others stay.

use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, integers, node},
    head::{Head, Spelling, attach},
    losses::{Loss, MultiSimilarity, NormalizedSoftmax},
    proto::{ModelProto, NodeProto, TensorProto},
    step::{Description, Parameters, StepOptions, build, export_embedder},
};

use pdloss::loss::Config;

use crate::{
    step::backbones::{linear, model, normal},
    step::driver::{Array, Driver},
};

fn options() -> StepOptions {
    StepOptions::new(Loss::Softmax(NormalizedSoftmax::default()), 3)
}

fn described(backbone: ModelProto, options: &StepOptions) -> Description {
    Description::of(&build(backbone, options).expect("built")).expect("described")
}

fn refused(backbone: ModelProto, options: &StepOptions) -> String {
    build(backbone, options).map(|_| ()).expect_err("refused").to_string()
}

/// `features = images W`, float32, where `nodes` make `W` `[4, 3]` of the initializers.
fn with_weight(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let batch = || Dim::Named("batch".to_owned());
    let mut nodes = nodes;
    nodes.push(node("MatMul", &["images", "W"], &["features"], vec![]));
    model(17, (Element::F32, &[batch(), Dim::Known(4)]), (Element::F32, &[batch(), Dim::Known(3)]), nodes, initializers)
}

fn constant(name: &str, tensor: TensorProto) -> NodeProto {
    node("Constant", &[], &[name], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
}

fn tensor(name: &str, shape: &[usize]) -> TensorProto {
    floats(name, Element::F32, shape, &normal(shape.iter().product(), 5))
}

/// A tensor of another type by its number, all ones.
fn typed(name: &str, code: i32, shape: &[usize], one: &[u8]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(code),
        dims: shape.iter().map(|&length| length as i64).collect(),
        raw_data: Some(one.repeat(shape.iter().product())),
        ..TensorProto::default()
    }
}

fn half(name: &str, shape: &[usize]) -> TensorProto {
    typed(name, 10, shape, &0x3c00_u16.to_le_bytes())
}

fn cast(input: &str, output: &str, to: i64) -> NodeProto {
    node("Cast", &[input], &[output], vec![attribute("to", Value::Int(to))])
}

fn counts(parameters: &Parameters) -> (usize, usize, u64, u64) {
    (parameters.trained, parameters.tensors, parameters.trained_values, parameters.values)
}

/// What is tried, the tensor that is trained, what makes `W` of it, and how many numbers it has.
type Case = (&'static str, &'static str, Vec<NodeProto>, Vec<TensorProto>, u64);

fn cases() -> Vec<Case> {
    let vector = |name: &str, values: &[i64]| integers(name, &[values.len()], values);
    let bfloat = typed("W0", 16, &[4, 3], &0x3f80_u16.to_le_bytes());
    vec![
        ("initializer", "W", vec![], vec![tensor("W", &[4, 3])], 12),
        ("Constant", "W", vec![constant("W", tensor("", &[4, 3]))], vec![], 12),
        (
            "Constant behind Identity",
            "C",
            vec![constant("C", tensor("", &[4, 3])), node("Identity", &["C"], &["W"], vec![])],
            vec![],
            12,
        ),
        (
            "Constant behind Transpose",
            "C",
            vec![constant("C", tensor("", &[3, 4])), node("Transpose", &["C"], &["W"], vec![])],
            vec![],
            12,
        ),
        (
            "Reshape",
            "W0",
            vec![node("Reshape", &["W0", "to"], &["W"], vec![])],
            vec![tensor("W0", &[12]), vector("to", &[4, 3])],
            12,
        ),
        (
            "Slice",
            "W0",
            vec![node("Slice", &["W0", "from", "to"], &["W"], vec![])],
            vec![tensor("W0", &[6, 3]), vector("from", &[1]), vector("to", &[5])],
            18,
        ),
        ("float16 behind Cast", "W0", vec![cast("W0", "W", 1)], vec![half("W0", &[4, 3])], 12),
        ("bfloat16 behind Cast", "W0", vec![cast("W0", "W", 1)], vec![bfloat], 12),
        (
            "float16 Constant behind Transpose and Cast",
            "C",
            vec![constant("C", half("", &[3, 4])), node("Transpose", &["C"], &["t"], vec![]), cast("t", "W", 1)],
            vec![],
            12,
        ),
        (
            "float64 behind Cast",
            "W0",
            vec![cast("W0", "W", 1)],
            vec![floats("W0", Element::F64, &[4, 3], &normal(12, 3))],
            12,
        ),
        (
            "a weight's own arithmetic with numbers that the exporter made up",
            "W0",
            vec![
                node("Add", &["W0", "onnx::Add_3"], &["more"], vec![]),
                node("Where", &["mask", "more", "onnx::Where_4"], &["W"], vec![]),
            ],
            vec![
                tensor("W0", &[4, 3]),
                floats("onnx::Add_3", Element::F32, &[], &[1e-5]),
                floats("onnx::Where_4", Element::F32, &[1], &[0.0]),
                typed("mask", 9, &[4, 3], &[1]),
            ],
            12,
        ),
        (
            "a row of a table",
            "W0",
            vec![node("Gather", &["W0", "row"], &["W"], vec![])],
            vec![tensor("W0", &[2, 4, 3]), integers("row", &[], &[1])],
            24,
        ),
    ]
}

/// The weight, wherever it lies and whatever stands between it and the layer, is trained.
#[test]
fn weights_are_found_behind_whatever_passes_them_on() {
    for (what, name, nodes, initializers, values) in cases() {
        for loss in [options().loss, Loss::MultiSimilarity(MultiSimilarity::default())] {
            let options = StepOptions { loss, ..options() };
            let description = described(with_weight(nodes.clone(), initializers.clone()), &options);
            assert_eq!(counts(&description.parameters), (1, 1, values, values), "{what}: {}", description.parameters);
            assert_eq!(description.state[0].name, name, "{what}");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn weights_wherever_they_lie_move() {
    for (what, name, nodes, initializers, _) in cases() {
        let options = StepOptions { clip: Some(0.5), ..options() };
        let mut driver = Driver::new(with_weight(nodes, initializers), &options);
        let before = driver.weight(name);
        let outputs = driver.step(&Array::f32(&[3, 4], &normal(12, 8)), &[0, 1, 2], 0.1);
        let after = driver.weight(name);
        assert!(outputs["pdloss.gradient_norm"].number() > 0.0 && after != before, "{what}");
        assert!(after.iter().all(|value| value.is_finite()), "{what}");
    }
}

/// What was widened goes back as what it was, and constants stay constants.
#[test]
fn trained_values_are_written_where_they_came_from() {
    let new = |name: &str, shape: &[usize]| floats(name, Element::F32, shape, &vec![0.1; shape.iter().product()]);
    let backbone = with_weight(vec![constant("W", tensor("inner", &[4, 3]))], vec![]);
    let graph = export_embedder(&backbone, |name| (name == "W").then(|| new(name, &[4, 3]))).unwrap().graph.unwrap();
    let written = graph.node[0].attribute[0].t.as_ref().unwrap();
    assert_eq!((written.name(), written.raw_data.as_ref()), ("inner", new("", &[4, 3]).raw_data.as_ref()));
    assert!(graph.initializer.is_empty());

    let backbone = with_weight(vec![cast("W0", "W", 1)], vec![half("W0", &[4, 3])]);
    let description = described(backbone.clone(), &options());
    assert_eq!(description.parameters.widened, ["W0"]);
    assert_eq!(description.state[0].element, "float32");
    let graph = export_embedder(&backbone, |name| (name == "W0").then(|| new(name, &[4, 3]))).unwrap().graph.unwrap();
    let written = &graph.initializer[0];
    // 0.1 in float16 is 0x2e66.
    assert_eq!((written.data_type(), &written.raw_data), (10, &Some(0x2e66_u16.to_le_bytes().repeat(12))));
    let huge = floats("W0", Element::F32, &[4, 3], &[1e6; 12]);
    let error = export_embedder(&backbone, |name| (name == "W0").then(|| huge.clone())).unwrap_err().to_string();
    assert!(error.contains("'W0'") && error.contains("1000000") && error.contains("float16"), "{error}");
}

/// Nothing of the backbone is trained: refused with the counts, the names, the reason and what to do, with proxies or not.
#[test]
fn a_backbone_of_which_nothing_is_trained_is_refused() {
    let scale = || [floats("s", Element::F32, &[], &[0.1]), typed("z", 3, &[], &[0])];
    let dequantised = |code: i32, one: &[u8]| {
        let nodes = vec![node("DequantizeLinear", &["W0", "s", "z"], &["W"], vec![])];
        with_weight(nodes, [vec![typed("W0", code, &[4, 3], one)], scale().to_vec()].concat())
    };
    let scaled = || {
        let nodes = vec![cast("W0", "wide", 1), node("Mul", &["wide", "onnx::Mul_3"], &["W"], vec![])];
        with_weight(nodes, vec![typed("W0", 3, &[4, 3], &[1]), floats("onnx::Mul_3", Element::F32, &[], &[0.1])])
    };
    let computed_in_half = || {
        let (batch, mut model) = (Dim::Named("batch".to_owned()), with_weight(vec![], vec![half("W", &[4, 3])]));
        let graph = model.graph.as_mut().unwrap();
        graph.node = vec![
            cast("images", "small", 10),
            node("MatMul", &["small", "W"], &["product"], vec![]),
            cast("product", "features", 1),
        ];
        graph.output = vec![declare("features", Element::F32, &[batch, Dim::Known(3)])];
        model
    };
    let no_rule = || {
        let mut model = with_weight(vec![], vec![tensor("W", &[4, 3])]);
        model.graph.as_mut().unwrap().node = vec![node("LRN", &["images", "W"], &["features"], Vec::new())];
        model
    };
    let signs = || with_weight(vec![node("Sign", &["W0"], &["W"], vec![])], vec![tensor("W0", &[4, 3])]);
    let rounded = || {
        let nodes = vec![
            node("Mul", &["W0", "onnx::Mul_3"], &["wide"], vec![]),
            node("Round", &["wide"], &["whole"], vec![]),
            node("Div", &["whole", "onnx::Mul_3"], &["W"], vec![]),
        ];
        with_weight(nodes, vec![tensor("W0", &[4, 3]), floats("onnx::Mul_3", Element::F32, &[], &[16.0])])
    };
    let mask = || with_weight(vec![], vec![floats("W", Element::F32, &[4, 3], &[f64::NEG_INFINITY; 12])]);
    let cases = [
        ("int8", dequantised(3, &[1]), &["'W0' stays: quantised (int8)", "train the model in float32"][..]),
        ("uint8", dequantised(2, &[1]), &["'W0' stays: quantised (uint8)"]),
        ("int8 by a cast and a product", scaled(), &["'W0' stays: quantised (int8)"]),
        ("float16", computed_in_half(), &["MatMul 'product' computes in float16", "export it in float32"]),
        ("no rule", no_rule(), &["there is no rule to differentiate LRN 'features'"]),
        ("binary", signs(), &["'W0' stays: no gradient comes back through Sign, which has no slope"]),
        ("rounded", rounded(), &["'W0' stays: no gradient comes back through Round"]),
        ("mask", mask(), &["not all of its numbers are finite"]),
    ];
    for (what, backbone, parts) in cases {
        for loss in [options().loss, Loss::MultiSimilarity(MultiSimilarity::default())] {
            let error = refused(backbone.clone(), &StepOptions { loss, ..options() });
            for part in [&["nothing to train", "0 of 1 tensors (0 of 12 values)"][..], parts].concat() {
                assert!(error.contains(part), "{what}: '{error}' does not contain '{part}'");
            }
        }
    }
}

/// A layer of eight bits lets gradients through to those before it.
#[test]
fn what_lies_before_a_quantised_layer_is_trained() {
    let weight = [
        typed("W0", 3, &[4, 3], &[1]),
        floats("s", Element::F32, &[], &[0.1]),
        typed("z", 3, &[], &[0]),
        floats("first", Element::F32, &[4, 4], &[0.5; 16]),
    ];
    let nodes = vec![node("DequantizeLinear", &["W0", "s", "z"], &["W"], vec![])];
    let mut model = with_weight(nodes, weight.to_vec());
    let graph = model.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().input[0] = "hidden".to_owned();
    graph.node.insert(0, node("MatMul", &["images", "first"], &["hidden"], vec![]));
    for loss in [options().loss, Loss::MultiSimilarity(MultiSimilarity::default())] {
        let described = described(model.clone(), &StepOptions { loss, ..options() });
        assert_eq!(counts(&described.parameters), (1, 2, 16, 28), "{}", described.parameters);
    }
}

/// A weight that is taken as it is elsewhere has a gradient from there.
#[test]
fn a_weight_that_is_rounded_and_taken_as_it_is_is_trained() {
    let nodes = vec![node("Sign", &["W0"], &["sign"], vec![]), node("Mul", &["sign", "W0"], &["W"], vec![])];
    let parameters = described(with_weight(nodes, vec![tensor("W0", &[4, 3])]), &options()).parameters;
    assert_eq!(counts(&parameters), (1, 1, 12, 12), "{parameters}");
}

/// Those that stay are named with the reason, beside others that are trained.
#[test]
fn what_stays_is_named_with_the_reason() {
    let mut model = linear(4, 3);
    let graph = model.graph.as_mut().unwrap();
    graph.node[0].input[0] = "centred".to_owned();
    graph.node[0].output = vec!["middle".to_owned()];
    graph.node.insert(0, node("Sub", &["images", "mean"], &["centred"], vec![]));
    graph.node.push(node("Mul", &["middle", "head.scale"], &["scaled"], vec![]));
    graph.node.push(node("Div", &["scaled", "two"], &["halved"], vec![]));
    graph.node.push(constant("epsilon", floats("", Element::F64, &[], &[1e-5])));
    graph.node.push(node("Add", &["halved", "epsilon"], &["features"], vec![]));
    graph.node.push(node("MatMul", &["features", "classifier"], &["logits"], vec![]));
    graph.output.push(declare("logits", Element::F64, &[Dim::Unknown, Dim::Known(2)]));
    for (name, shape) in [
        ("mean", &[4][..]),
        ("head.scale", &[1]),
        ("two", &[]),
        ("classifier", &[3, 2]),
        ("unused", &[7]),
        ("val_3", &[1]),
    ] {
        graph.initializer.push(floats(name, Element::F64, shape, &vec![0.5; shape.iter().product()]));
    }
    let options = StepOptions { embeddings: Some("features".to_owned()), freeze: vec!["bias".to_owned()], ..options() };
    let parameters = described(model.clone(), &options).parameters;
    let stays = |name: &str| {
        let left = parameters.left.iter().find(|left| left.name == name);
        left.unwrap_or_else(|| panic!("{name} is named in: {parameters}")).reason.clone()
    };
    assert_eq!(counts(&parameters), (2, 7, 13, 34), "{parameters}");
    assert_eq!(stays("bias"), "frozen by 'bias'");
    assert!(stays("mean").contains("before any layer"));
    assert!(stays("two").contains("a single number"));
    assert_eq!(stays("classifier"), "the loss does not depend on it");
    assert_eq!(stays("unused"), "no node uses it");
    let text = parameters.to_string();
    assert!(text.starts_with("trains 2 of 7 tensors (13 of 34 values); 'bias' stays: frozen by 'bias'; "), "{text}");

    // A person may say that what looks like a constant is a weight.
    let also = StepOptions { also: vec!["t?o".to_owned(), "epsilon".to_owned()], ..options.clone() };
    let parameters = described(model.clone(), &also).parameters;
    assert_eq!(counts(&parameters), (4, 8, 15, 35), "{parameters}");
    let error = refused(model.clone(), &StepOptions { also: vec!["nothing.*".to_owned()], ..options.clone() });
    assert!(error.contains("training pattern 'nothing.*'"), "{error}");
    // What no gradient moves is not trained because a person names it.
    let error = refused(model.clone(), &StepOptions { also: vec!["unused".to_owned()], ..options.clone() });
    assert!(error.contains("none of the 1 tensors that it matches can be trained; 'unused': no node"), "{error}");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backbone.onnx");
    let statistics = StepOptions { also: vec!["norm0.running_*".to_owned()], ..self::options() };
    let error = refused(pdloss::graph::file::read(&path).expect("it is there"), &statistics);
    assert!(error.contains("none of the 2 tensors") && error.contains("running statistics follow"), "{error}");
    let error = refused(model, &StepOptions { freeze: vec!["layer1.*".to_owned()], ..options });
    assert!(error.contains("such as 'weight'") && !error.contains("Some("), "{error}");
}

/// Proxies that no file holds are refused before anything is allocated for them, however many the classes or long the rows.
#[test]
fn proxies_beyond_a_file_are_refused() {
    let long = |dim: usize| {
        let mut model = linear(4, 3);
        let batch = Dim::Named("batch".to_owned());
        model.graph.as_mut().unwrap().output = vec![declare("features", Element::F64, &[batch, Dim::Known(dim)])];
        model
    };
    for (classes, dim) in [(1 << 32, 3), (usize::MAX, 3), (3, 1 << 40), (3, 1 << 62), (100_000_000, 3)] {
        let error = refused(long(dim), &StepOptions { classes, ..options() });
        assert!(error.contains("proxies") && error.contains("2 GiB"), "{error}");
        let head = Head::new(Config::default(), Spelling::Inline, classes);
        let error = attach(&mut long(dim), &head, 0).unwrap_err().to_string();
        assert!(error.contains("proxies") && error.contains("2 GiB"), "{error}");
    }
}
