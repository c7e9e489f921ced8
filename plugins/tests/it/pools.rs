//! The gradients of pools: whole steps against standard operators, and against onnxruntime's own indices.

use crate::{
    both::{count, hold_to_standard, plain},
    common::{FLOATS, model},
    convolution::{Case, DIM, alone, assert_near, backbone, drawn, given, run},
    step::numbers,
};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    proto::{AttributeProto, GraphProto, ModelProto},
};

/// A layer, a pool, a linear layer.
fn pooled(case: &Case, operator: &str, more: Vec<AttributeProto>) -> ModelProto {
    let mut backbone = backbone(case, false);
    if let Some(graph) = backbone.graph.as_mut() {
        let mut attributes = case.attributes();
        attributes.pop();
        if operator == "AveragePool" {
            attributes.retain(|attribute| attribute.name() != "dilations");
        }
        graph.node[1] = node(operator, &["x"], &["y"], attributes.into_iter().chain(more).collect());
        graph.initializer.retain(|tensor| !["weights", "bias"].contains(&tensor.name()));
    }
    backbone
}

/// One channel makes one; windows that overlap, lie apart, reach into the padding, skip elements.
fn pools() -> Vec<Case> {
    vec![
        Case::new(3, [4, 4], 4, &[9, 8], &[3, 3]).strides(&[2, 2]).pads(&[1, 1, 1, 1]),
        Case::new(1, [2, 2], 2, &[6, 7], &[2, 2]).strides(&[2, 3]),
        Case::new(2, [3, 3], 3, &[7, 9], &[3, 2]).pads(&[0, 1, 2, 0]),
        Case::new(2, [3, 3], 3, &[17], &[4]).strides(&[3]).pads(&[1, 2]),
        Case::new(2, [1, 1], 1, &[1, 1], &[1, 1]),
        Case::new(2, [5, 5], 5, &[61, 59], &[5, 3]).strides(&[1, 2]).pads(&[2, 1, 2, 1]),
    ]
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn steps_with_pools() {
    let dilated = Case::new(2, [3, 3], 3, &[11, 12], &[3, 2]).dilations(&[2, 3]).pads(&[1, 1, 0, 1]);
    for case in pools().into_iter().chain([dilated.clone()]) {
        let what = format!("{case:?}");
        let (shape, options) = (case.x(), plain());
        let backbone = pooled(&case, "MaxPool", Vec::new());
        let graphs = hold_to_standard(&what, &backbone, (Element::F32, &shape), &options, 2e-5);
        assert_eq!(graphs.map(|graph| count(&graph, &["MaxPoolGrad"])), [0, 1], "{what}");
        if case.dilations.iter().all(|&dilation| dilation == 1) {
            let backbone = pooled(&case, "AveragePool", Vec::new());
            hold_to_standard(&what, &backbone, (Element::F32, &shape), &options, 2e-5);
        }
    }
    // Windows whose last one begins inside, and ends behind the padding.
    let case = Case::new(2, [3, 3], 3, &[8, 9], &[3, 3]).strides(&[2, 3]).pads(&[0, 1, 0, 1]);
    let mut backbone = pooled(&case, "MaxPool", vec![attribute("ceil_mode", Value::Int(1))]);
    if let Some(graph) = backbone.graph.as_mut() {
        // 4 places of ceil((8 - 3) / 2) + 1, and 4 of ceil((11 - 3) / 3) + 1.
        graph.initializer.retain(|tensor| tensor.name() != "last");
        graph.initializer.push(floats("last", Element::F32, &[DIM, 48], &numbers(DIM * 48, 4)));
    }
    hold_to_standard("ceil_mode", &backbone, (Element::F32, &case.x()), &plain(), 2e-5);
}

/// Of equal elements the first one gets the gradient, as onnxruntime's indices say; of places in the padding none.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are small")]
fn the_first_of_the_largest() {
    for case in pools() {
        let (shapes, axes) = ([case.y(), case.x()], case.lengths.len());
        // Few values, so that many are equal.
        let x: Vec<f64> = drawn(&shapes[1], 3).iter().map(|value| value.round()).collect();
        let grad = drawn(&shapes[0], 4);
        let graph = model(GraphProto {
            name: Some("indices".to_owned()),
            node: vec![
                node("MaxPool", &["x"], &["y", "places"], case.attributes().into_iter().take(4).collect()),
                node("Cast", &["places"], &["found"], vec![attribute("to", Value::Int(11))]),
            ],
            input: vec![declare("x", Element::F32, &vec![Dim::Unknown; axes + 2])],
            output: vec![declare("found", Element::F64, &vec![Dim::Unknown; axes + 2])],
            ..GraphProto::default()
        });
        let found = run(&graph, 1, vec![given("x", Element::F32, &shapes[1], &x)]).expect("it runs");
        let mut wanted = vec![0.0; x.len()];
        for (&place, grad) in found["found"].iter().zip(&grad) {
            wanted[place as usize] += grad;
        }
        let attributes: Vec<_> = case.attributes().into_iter().take(4).collect();
        let of_types = [(Element::F32, 1e-6), (Element::F64, 1e-14)].into_iter();
        for (element, tolerance) in of_types.filter(|(element, _)| FLOATS.contains(element)) {
            let graph = alone("MaxPoolGrad", (["grad", "x"], "x_grad"), (element, attributes.clone()));
            let with = |threads| {
                let inputs = vec![given("grad", element, &shapes[0], &grad), given("x", element, &shapes[1], &x)];
                run(&graph, threads, inputs).expect("it runs")
            };
            assert_near(&format!("{case:?}"), &with(1)["x_grad"], &wanted, tolerance);
            assert_eq!(with(1), with(3), "bits follow from the number of threads");
        }
    }
    let case = pools()[1].clone();
    let graph = alone(
        "MaxPoolGrad",
        (["grad", "x"], "x_grad"),
        (Element::F32, case.attributes().into_iter().take(4).collect()),
    );
    let inputs = |channels: usize| {
        let shape = [1, channels, 3, 2];
        vec![
            given("grad", Element::F32, &shape, &drawn(&shape, 1)),
            given("x", Element::F32, &case.x(), &drawn(&case.x(), 1)),
        ]
    };
    assert!(run(&graph, 1, inputs(2)).is_ok());
    let error = run(&graph, 1, inputs(3)).expect_err("it is refused");
    assert!(error.contains("MaxPoolGrad") && error.contains("grad: wanted 2 channels as x has"), "{error}");
    let more = |lengths: [usize; 2]| {
        let shape = [1, 2, lengths[0], lengths[1]];
        let grad = given("grad", Element::F32, &shape, &drawn(&shape, 1));
        run(&graph, 1, vec![grad, given("x", Element::F32, &case.x(), &drawn(&case.x(), 1))])
    };
    assert!(more([3, 3]).is_ok(), "as with ceil_mode");
    for lengths in [[4, 2], [1, 1], [6, 7]] {
        let error = more(lengths).expect_err("it is refused");
        assert!(error.contains("grad: wanted") && error.contains("elements of x"), "{error}");
    }
}
