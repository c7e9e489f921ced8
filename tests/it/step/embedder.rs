//! From a state back to an embedder, and class means as first proxies.

use std::collections::BTreeMap;

use ndarray::Array2;
use pdloss::graph::{
    build::{Element, Value, attribute, floats, node},
    losses::{Loss, MultiSimilarity, NormalizedSoftmax},
    proto::ModelProto,
    step::{StepOptions, build, export_embedder, set_class_mean_proxies},
};

use crate::{
    step::backbones::{linear, normal},
    step::driver::{Array, Driver, assert_close, open, run},
    step::losses::plain,
};

fn features(model: &ModelProto, data: &Array) -> Vec<f64> {
    let feeds = BTreeMap::from([("images".to_owned(), data.clone())]);
    run(&mut open(model), &feeds)["features"].values()
}

/// The embeddings of the next step are those of the embedder exported before it.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn has_the_weights_of_the_state() {
    let mut driver = Driver::new(linear(4, 3), &plain(Loss::Softmax(NormalizedSoftmax::default()), 3));
    let data = Array::f64(&[5, 4], &normal(20, 1));
    driver.step(&data, &[0, 1, 2, 0, 1], 0.5);
    let embedder = export_embedder(&linear(4, 3), |name| Some(driver.state.get(name)?.tensor(name))).expect("exported");
    let before = features(&linear(4, 3), &data);
    let after = features(&embedder, &data);
    let seen = driver.step(&data, &[0, 1, 2, 0, 1], 0.5)["pdloss.embeddings"].values();
    assert_close("embeddings", &after, &seen, 1e-12);
    assert!(before != after);
    let names = |model: &ModelProto| {
        let graph = model.graph.clone().expect("a graph");
        (graph.input, graph.output, graph.node, model.metadata_props.clone())
    };
    assert_eq!(names(&embedder), names(&linear(4, 3)));
}

#[test]
fn refuses_tensors_that_do_not_fit() {
    let wrong = Array::f64(&[3, 5], &[0.0; 15]);
    let error = export_embedder(&linear(4, 3), |name| (name == "weight").then(|| wrong.tensor(name)));
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("'weight'") && error.contains("[3, 4]") && error.contains("[3, 5]"), "{error}");
}

#[test]
fn leaves_training_mode() {
    let mut model = linear(4, 3);
    let graph = model.graph.as_mut().expect("a graph");
    let training = attribute("training_mode", Value::Int(1));
    let inputs = ["middle", "scale", "shift", "mean", "variance"];
    graph.node.push(node("BatchNormalization", &inputs, &["features", "m", "v"], vec![training]));
    let truth = floats("", Element::F32, &[], &[1.0]);
    graph.node.push(node("Constant", &[], &["is_training"], vec![attribute("value", Value::Tensor(Box::new(truth)))]));
    graph.node.push(node("Dropout", &["features", "ratio", "is_training"], &["dropped"], vec![]));
    let graph = export_embedder(&model, |_| None).expect("exported").graph.expect("a graph");
    assert_eq!((graph.node[1].output.len(), graph.node[1].attribute.len()), (1, 0));
    assert_eq!(graph.node[3].input, ["features", "ratio"]);
}

#[test]
fn class_means_become_proxies() {
    let mut step =
        build(linear(4, 2), &StepOptions::new(Loss::Softmax(NormalizedSoftmax::default()), 3)).expect("built");
    let embeddings = Array2::from_shape_vec((3, 2), vec![3.0_f32, 0.0, 0.0, 5.0, 4.0, 0.0]).expect("a matrix");
    set_class_mean_proxies(&mut step, embeddings.view(), &[0, 2, 0]).expect("set");
    let graph = step.graph.as_ref().expect("a graph");
    let proxies = graph.initializer.iter().find(|tensor| tensor.name() == "pdloss.proxies").expect("proxies");
    let values = Array::of(proxies).values();
    assert_eq!((&values[..2], &values[4..]), (&[1.0, 0.0][..], &[0.0, 1.0][..]));

    let refused = |model: &mut ModelProto, labels: &[i64], part: &str| {
        let error = set_class_mean_proxies(model, embeddings.view(), labels).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&mut step, &[0, 3, 0], "3");
    let mut without =
        build(linear(4, 2), &StepOptions::new(Loss::MultiSimilarity(MultiSimilarity::default()), 3)).expect("built");
    refused(&mut without, &[0, 1, 0], "multi-similarity");
    let mut other =
        build(linear(4, 3), &StepOptions::new(Loss::Softmax(NormalizedSoftmax::default()), 3)).expect("built");
    refused(&mut other, &[0, 1, 0], "wanted 3 numbers a row, got 2");
}
