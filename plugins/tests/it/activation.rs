//! The operator `ActivationGrad` against the rules in standard operators, in whole steps, and number by number.

use crate::{
    both::{count, hold_to_standard, plain},
    common::{Input, Numbers, OPERATORS, model, ours, session},
    step::numbers,
};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
    step::{StepOptions, build},
};

const INPUTS: usize = 4;
const DIM: usize = 3;
const BATCH: usize = 6;

/// A layer, an activation of `y` as `x`, another layer.
fn backbone(element: Element, hidden: usize, opset: i64, activation: Vec<NodeProto>) -> ModelProto {
    let batch = Dim::Named("batch".to_owned());
    let layer = |input: &str, weight: &str, output: &str| {
        node("Gemm", &[input, weight], &[output], vec![attribute("transB", Value::Int(1))])
    };
    let graph = GraphProto {
        name: Some("activation".to_owned()),
        input: vec![declare("images", element, &[batch.clone(), Dim::Known(INPUTS)])],
        output: vec![declare("features", element, &[batch, Dim::Known(DIM)])],
        node: [vec![layer("images", "first", "x")], activation, vec![layer("y", "second", "features")]].concat(),
        initializer: vec![
            // Wide enough for every branch of every activation.
            floats(
                "first",
                element,
                &[hidden, INPUTS],
                &numbers(hidden * INPUTS, 1).iter().map(|v| 4.0 * v).collect::<Vec<_>>(),
            ),
            floats("second", element, &[DIM, hidden], &numbers(DIM * hidden, 2)),
            floats("low", element, &[], &[-1.0]),
            floats("high", element, &[], &[1.5]),
        ],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

/// Three steps of both spellings; `tolerance` of the largest, 0 for equal bits.
fn hold(name: &str, element: Element, opset: i64, activation: &[NodeProto], tolerance: f64) {
    // More numbers than one task takes, and not a multiple of that.
    for hidden in [1, 7, 3301] {
        let backbone = backbone(element, hidden, opset, activation.to_vec());
        let graphs = hold_to_standard(name, &backbone, (element, &[BATCH, INPUTS]), &plain(), tolerance);
        assert_eq!(graphs.each_ref().map(|graph| count(graph, &["ActivationGrad"])), [0, 1], "{name}");
        let [standard, operators] = graphs.map(|graph| count(&graph, &["Greater", "Less", "And", "Where"]));
        assert!(operators <= standard, "{name}");
    }
}

fn one(operator: &str, settings: &[(&str, f32)]) -> Vec<NodeProto> {
    let settings = settings.iter().map(|&(name, value)| attribute(name, Value::Float(value)));
    vec![node(operator, &["x"], &["y"], settings.collect())]
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn one_pass_gives_the_bits_of_standard_operators() {
    let clip = |bounds: [&str; 2]| vec![node("Clip", &["x", bounds[0], bounds[1]], &["y"], Vec::new())];
    let exact = [
        ("Relu", one("Relu", &[])),
        ("Clip", clip(["low", "high"])),
        ("Clip below", clip(["low", ""])),
        ("Clip above", clip(["", "high"])),
        ("LeakyRelu", one("LeakyRelu", &[("alpha", 0.1)])),
        ("LeakyRelu that falls", one("LeakyRelu", &[("alpha", -0.5)])),
        ("Sigmoid", one("Sigmoid", &[])),
        ("Tanh", one("Tanh", &[])),
        ("HardSigmoid", one("HardSigmoid", &[("alpha", 0.3), ("beta", 0.4)])),
        ("HardSwish", one("HardSwish", &[])),
    ];
    for (name, activation) in exact {
        for element in [Element::F32, Element::F64] {
            // onnxruntime has these in float32 alone.
            let is_single = matches!(name, "HardSigmoid" | "HardSwish" | "LeakyRelu" | "LeakyRelu that falls");
            if element == Element::F32 || !is_single {
                hold(name, element, 17, &activation, 0.0);
            }
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn sums_in_another_order_stay_close() {
    let sigmoid = || node("Sigmoid", &["x"], &["s"], Vec::new());
    let silu = |inputs| vec![sigmoid(), node("Mul", inputs, &["y"], Vec::new())];
    for (element, tolerance) in [(Element::F32, 2e-6), (Element::F64, 1e-14)] {
        hold("SiLU", element, 17, &silu(&["x", "s"]), tolerance);
        hold("SiLU turned", element, 17, &silu(&["s", "x"]), tolerance);
    }
    hold("Gelu", Element::F32, 20, &one("Gelu", &[]), 2e-6);
    let tanh = node("Gelu", &["x"], &["y"], vec![attribute("approximate", Value::Text("tanh".to_owned()))]);
    hold("Gelu by tanh", Element::F32, 20, &[tanh], 2e-6);
    // As exporters write it: with the factors here and there.
    let number = |name: &str, value: f64| {
        let tensor = Value::Tensor(Box::new(floats("", Element::F32, &[], &[value])));
        node("Constant", &[], &[name], vec![attribute("value", tensor)])
    };
    let constants = vec![
        number("root", 2.0_f64.sqrt()),
        number("inverse", 0.5_f64.sqrt()),
        number("one", 1.0),
        number("half", 0.5),
    ];
    let op = |operator: &str, inputs: [&str; 2], output: &str| node(operator, &inputs, &[output], Vec::new());
    let erf = || node("Erf", &["e"], &["f"], Vec::new());
    let spellings = [
        vec![
            op("Div", ["x", "root"], "e"),
            erf(),
            op("Add", ["f", "one"], "a"),
            op("Mul", ["x", "a"], "b"),
            op("Mul", ["b", "half"], "y"),
        ],
        vec![
            op("Mul", ["inverse", "x"], "e"),
            erf(),
            op("Add", ["one", "f"], "a"),
            op("Mul", ["half", "x"], "b"),
            op("Mul", ["a", "b"], "y"),
        ],
        vec![
            op("Div", ["x", "root"], "e"),
            erf(),
            op("Add", ["f", "one"], "a"),
            op("Mul", ["a", "half"], "b"),
            op("Mul", ["b", "x"], "y"),
        ],
    ];
    for spelling in spellings {
        hold("Gelu by erf", Element::F32, 17, &[constants.clone(), spelling].concat(), 2e-6);
    }
    // Another width is no GELU.
    let other = vec![op("Div", ["x", "half"], "e"), erf(), op("Add", ["f", "one"], "a"), op("Mul", ["x", "a"], "y")];
    let options = StepOptions { operators: OPERATORS, ..plain() };
    let graph = build(backbone(Element::F32, 7, 17, [constants, other].concat()), &options).expect("built");
    assert_eq!(count(&graph, &["ActivationGrad"]), 0);
}

fn alone(activation: &str, settings: &[(&str, f32)], [grad, kept]: [&[f32]; 2]) -> Result<Vec<f64>, String> {
    let mut attributes = vec![attribute("activation", Value::Text(activation.to_owned()))];
    attributes.extend(settings.iter().map(|&(name, value)| attribute(name, Value::Float(value))));
    let value = |name: &str| declare(name, Element::F32, &[Dim::Unknown]);
    let graph = model(GraphProto {
        name: Some("alone".to_owned()),
        node: vec![ours("ActivationGrad", &["grad", "kept"], &["input_grad"], attributes)],
        input: vec![value("grad"), value("kept")],
        output: vec![value("input_grad")],
        ..GraphProto::default()
    });
    let input =
        |name: &'static str, values: &[f32]| -> Input { (name, vec![values.len()], Numbers::F32(values.to_vec())) };
    let inputs = vec![input("grad", grad), input("kept", kept)];
    let session = session::builder().and_then(|builder| session::open(builder, &graph));
    let outputs = session.and_then(|mut session| session::run(&mut session, inputs));
    outputs.map(|outputs| outputs["input_grad"].clone()).map_err(|error| error.to_string())
}

/// At a bound the slope is 0; what is no number stays none.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn at_the_bounds() {
    const NAN: f32 = f32::NAN;
    assert_eq!(alone("relu", &[], [&[3.0; 4], &[0.0, -0.0, 1e-30, NAN]]), Ok(vec![0.0, 0.0, 3.0, 0.0]));
    let bounds = [("low", 0.0), ("high", 6.0)];
    assert_eq!(alone("clip", &bounds, [&[3.0; 5], &[0.0, 6.0, 5.9, -1.0, 7.0]]), Ok(vec![0.0, 0.0, 3.0, 0.0, 0.0]));
    assert_eq!(alone("hard-swish", &[], [&[3.0; 4], &[-3.0, 3.0, 0.0, 4.0]]), Ok(vec![0.0, 3.0, 1.5, 3.0]));
    let broken = alone("relu", &[], [&[NAN, f32::INFINITY], &[-1.0, -1.0]]).expect("a run");
    assert!(broken.iter().all(|value| value.is_nan()), "{broken:?}");
    assert_eq!(alone("relu", &[], [&[], &[]]), Ok(Vec::new()));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_is_wrong_is_named() {
    for (got, wanted) in [
        (alone("mish", &[], [&[1.0], &[1.0]]), "attribute activation: wanted relu, clip"),
        (alone("leaky-relu", &[], [&[1.0], &[1.0]]), "attribute alpha: wanted a number, and it is not there"),
        (alone("silu", &[], [&[1.0], &[1.0]]), "second: wanted a tensor, got none"),
        (alone("relu", &[], [&[1.0], &[1.0, 2.0]]), "kept: wanted [1] as grad has, got [2]"),
    ] {
        let error = got.expect_err(wanted);
        assert!(error.contains("ActivationGrad") && error.contains(wanted), "{error}, wanted {wanted}");
    }
}
