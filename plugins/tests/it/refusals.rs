//! What is wrong is refused with a sentence that names it, what is not a number becomes one that is not, and the process lives.

use crate::common::{Input, Numbers, Outputs, gradient_alone, model, ours, session};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare},
    proto::{AttributeProto, GraphProto, ModelProto},
};

/// Loss and gradient with nothing declared of the shapes, so that only the operators check them.
fn loose(operator: &str, attributes: Vec<AttributeProto>) -> ModelProto {
    let rank = |count: usize| vec![Dim::Unknown; count];
    let mut inputs = vec![declare("embeddings", Element::F32, &rank(2))];
    let mut given = vec!["embeddings"];
    let mut gradients = vec!["embeddings_grad"];
    if operator == "PDLoss" {
        inputs.push(declare("proxies", Element::F32, &rank(2)));
        given.push("proxies");
        gradients.push("proxies_grad");
    }
    inputs.push(declare("labels", Element::I64, &rank(1)));
    given.push("labels");
    inputs.push(declare("loss_grad", Element::F32, &[]));
    let to_gradient = [&["loss_grad"], given.as_slice(), &["moments", "saved"]].concat();
    let nodes = vec![
        ours(operator, &given, &["loss", "moments", "saved"], attributes),
        ours(&format!("{operator}Grad"), &to_gradient, &gradients, Vec::new()),
    ];
    let outputs = ["loss", "embeddings_grad"].map(|name| declare(name, Element::F32, &[]));
    let mut outputs = outputs.to_vec();
    outputs[1] = declare("embeddings_grad", Element::F32, &rank(2));
    model(GraphProto {
        name: Some("loose".to_owned()),
        node: nodes,
        input: inputs,
        output: outputs,
        ..GraphProto::default()
    })
}

fn floats(name: &'static str, shape: &[usize], values: impl Fn(usize) -> f32) -> Input {
    (name, shape.to_vec(), Numbers::F32((0..shape.iter().product()).map(values).collect()))
}

fn wave(index: usize) -> f32 {
    (index as f32 * 0.7 + 0.3).sin()
}

fn pd(embeddings: &[usize], proxies: &[usize], labels: &[i64]) -> Vec<Input> {
    vec![
        floats("embeddings", embeddings, wave),
        floats("proxies", proxies, |index| wave(index + 5)),
        ("labels", vec![labels.len()], Numbers::I64(labels.to_vec())),
        floats("loss_grad", &[], |_| 1.0),
    ]
}

fn run(operator: &str, inputs: Vec<Input>) -> Result<Outputs, String> {
    let builder = session::builder().map_err(|error| error.to_string())?;
    let mut session = session::open(builder, &loose(operator, Vec::new())).map_err(|error| error.to_string())?;
    session::run(&mut session, inputs).map_err(|error| error.to_string())
}

fn refused(operator: &str, inputs: Vec<Input>, words: &[&str]) {
    let error = run(operator, inputs).expect_err("it is refused");
    for word in words.iter().chain(&[operator]) {
        assert!(error.contains(word), "'{word}' is not in: {error}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn shapes_and_labels() {
    assert!(run("PDLoss", pd(&[3, 4], &[5, 4], &[0, 1, 4])).is_ok());
    refused("PDLoss", pd(&[3, 4], &[5, 6], &[0, 1, 4]), &["proxies", "[classes, 4]", "[5, 6]"]);
    refused("PDLoss", pd(&[3, 4], &[5, 4], &[0, 1]), &["labels", "[3]", "[2]"]);
    refused("PDLoss", pd(&[3, 4], &[1, 4], &[0, 0, 0]), &["proxies", "[1, 4]"]);
    refused("PDLoss", pd(&[3, 4], &[0, 4], &[0, 0, 0]), &["proxies", "[0, 4]"]);
    refused("PDLoss", pd(&[0, 4], &[5, 4], &[]), &["embeddings", "[0, 4]"]);
    refused("PDLoss", pd(&[3, 0], &[5, 0], &[0, 1, 2]), &["embeddings", "[3, 0]"]);
    refused("PDLoss", pd(&[3, 4], &[5, 4], &[0, 5, 1]), &["labels[1]", "5"]);
    refused("PDLoss", pd(&[3, 4], &[5, 4], &[0, 1, -1]), &["labels[2]", "-1"]);
    refused("PDLoss", pd(&[3, 4], &[5, 4], &[0, i64::MIN, i64::MAX]), &["labels[1]"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn pairs() {
    let pairs = |embeddings: &[usize], labels: &[i64]| {
        pd(embeddings, &[2, 2], labels).into_iter().filter(|(name, ..)| *name != "proxies").collect::<Vec<_>>()
    };
    assert!(run("DLoss", pairs(&[4, 3], &[0, 0, 1, 1])).is_ok());
    refused("DLoss", pairs(&[4, 3], &[0, 1, 2, 3]), &["genuine"]);
    refused("DLoss", pairs(&[4, 3], &[7, 7, 7, 7]), &["impostor"]);
    refused("DLoss", pairs(&[1, 3], &[0]), &["embeddings", "[1, 3]"]);
    refused("DLoss", pairs(&[0, 3], &[]), &["embeddings", "[0, 3]"]);
    refused("DLoss", pairs(&[4, 3], &[0, 0, 1]), &["labels", "[4]", "[3]"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn not_a_number() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in ["embeddings", "proxies"] {
            let mut inputs = pd(&[3, 4], &[5, 4], &[0, 1, 4]);
            for (name, _, numbers) in &mut inputs {
                if let (true, Numbers::F32(values)) = (*name == place, numbers) {
                    values[6] = poison;
                }
            }
            let outputs = run("PDLoss", inputs).expect("it runs");
            assert!(outputs["loss"][0].is_nan(), "{poison} in {place}: loss {}", outputs["loss"][0]);
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn attributes() {
    let opens = |attributes: Vec<AttributeProto>| {
        let builder = session::builder().expect("a builder");
        session::open(builder, &loose("PDLoss", attributes)).map(|_| ()).map_err(|error| error.to_string())
    };
    let text = |name: &str, value: &str| vec![attribute(name, Value::Text(value.to_owned()))];
    let number = |name: &str, value: f32| vec![attribute(name, Value::Float(value))];
    assert!(opens(text("form", "inverse")).is_ok());
    assert!(opens(vec![attribute("floor", Value::Int(2))]).is_ok());
    for (attributes, words) in [
        (text("form", "cosine"), ["form", "cosine"]),
        (text("floor_mode", "none"), ["floor_mode", "none"]),
        (text("floor", "1"), ["floor", "'1'"]),
        (number("form", 1.0), ["form", "string"]),
        (number("floor", 0.0), ["floor", "0"]),
        (number("temperature", -1.0), ["temperature", "-1"]),
        (number("temperature", f32::NAN), ["temperature", "NaN"]),
        (number("eps", f32::INFINITY), ["eps", "inf"]),
        (vec![attribute("floor", Value::Ints(vec![1, 2]))], ["floor", "list"]),
    ] {
        let error = opens(attributes).expect_err("it is refused when the session is made");
        assert!(words.iter().all(|word| error.contains(word)) && error.contains("PDLoss"), "{words:?}: {error}");
    }
}

/// The saved state of other inputs, or none of ours at all, as a graph's author could wire it by mistake.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn somebody_elses_state() {
    let mut session = session::open(session::builder().expect("a builder"), &gradient_alone()).expect("it opens");
    let header = |classes: f64| vec![1.0, 0.0, 0.0, 1.0, 1.0, 1e-6, 3.0, classes, 4.0, 1.0];
    for (saved, word) in [
        (vec![], "0 numbers"),
        (vec![0.0; 10], "version"),
        (header(6.0), "6 classes"),
        (header(5.0), "numbers"),
        (vec![f64::NAN; 200], "NaN"),
    ] {
        let mut inputs = pd(&[3, 4], &[5, 4], &[0, 1, 4]);
        inputs.push(("moments", vec![8], Numbers::F64(vec![0.0; 8])));
        inputs.push(("saved", vec![saved.len()], Numbers::F64(saved)));
        let error = session::run(&mut session, inputs).expect_err("it is refused").to_string();
        assert!(error.contains("PDLossGrad") && error.contains("saved") && error.contains(word), "{word}: {error}");
    }
}
