//! Convolutions by Winograd's algorithm: the operator, the gradients that are made so, and steps that have it.

use crate::{
    both::{count, hold_to_standard, plain},
    common::{OPERATORS, model},
    convolution::{
        Case, alone, assert_near, backbone, drawn, given, hold_to_loops, inputs_to_loops, run, weights_to_loops,
    },
};
use pdloss::graph::{
    build::{Dim, Element, declare, node},
    proto::{GraphProto, ModelProto},
};

/// Odd lengths, padding of every kind, blocks of tiles over several images, channels in several parts, of which one is smaller.
fn cases() -> Vec<Case> {
    vec![
        Case::new(1, [33, 34], 1, &[33, 31], &[3, 3]).pads(&[1, 1, 1, 1]),
        Case::new(9, [35, 32], 1, &[11, 10], &[3, 3]).pads(&[0, 2, 2, 1]),
        Case::new(2, [129, 40], 1, &[23, 24], &[3, 3]).pads(&[2, 2, 2, 2]),
        Case::new(3, [40, 67], 1, &[20, 21], &[3, 3]),
        Case::new(1, [32, 32], 1, &[4, 300], &[3, 3]).pads(&[1, 0, 1, 0]),
    ]
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn convolution_against_plain_loops() {
    // The operator itself has no least size.
    let small = [
        Case::new(2, [3, 5], 1, &[1, 1], &[3, 3]).pads(&[1, 1, 1, 1]),
        Case::new(1, [1, 1], 1, &[3, 7], &[3, 3]),
        Case::new(3, [2, 3], 1, &[5, 2], &[3, 3]).pads(&[4, 3, 0, 2]),
    ];
    hold_to_loops(
        cases().into_iter().chain(small).collect(),
        "WinogradConv",
        (["x", "weights"], "y"),
        |case| [case.x(), case.weights()],
        |case, [x, weights]| {
            let mut sums = vec![0.0; case.y().iter().product()];
            case.products(|of_y, of_x, of_weights| sums[of_y] += x[of_x] * weights[of_weights]);
            sums
        },
    );
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn gradients_against_plain_loops() {
    weights_to_loops(cases());
    inputs_to_loops(cases());
}

/// A graph of one convolution with a bias, of either domain.
fn with_bias(case: &Case, domain: &str, operator: &str) -> ModelProto {
    let value = |name: &str, shape: &[usize]| {
        declare(name, Element::F32, &shape.iter().map(|&length| Dim::Known(length)).collect::<Vec<_>>())
    };
    let mut conv = node(operator, &["x", "weights", "bias"], &["y"], case.attributes());
    conv.domain = Some(domain.to_owned());
    model(GraphProto {
        name: Some("forward".to_owned()),
        node: vec![conv],
        input: vec![value("x", &case.x()), value("weights", &case.weights()), value("bias", &[case.channels[1]])],
        output: vec![declare("y", Element::F32, &case.y().into_iter().map(Dim::Known).collect::<Vec<_>>())],
        ..GraphProto::default()
    })
}

/// Against onnxruntime's own convolution.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn bias_is_added() {
    for case in cases() {
        let shapes = [("x", case.x()), ("weights", case.weights()), ("bias", vec![case.channels[1]])];
        let inputs = || {
            let of = |(seed, (name, shape)): (u64, &(&'static str, Vec<usize>))| {
                given(name, Element::F32, shape, &drawn(shape, seed))
            };
            (0..).zip(&shapes).map(of).collect::<Vec<_>>()
        };
        let [ours, theirs] = [("com.pdloss", "WinogradConv"), ("", "Conv")].map(|(domain, operator)| {
            run(&with_bias(&case, domain, operator), 2, inputs()).unwrap_or_else(|error| panic!("{case:?}: {error}"))
        });
        assert_near(&format!("{case:?}"), &ours["y"], &theirs["y"], 3e-6);
    }
}

/// With few channels or few places the standard's convolution is as fast.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn whole_steps() {
    let same = [1, 1, 1, 1];
    let others = [
        Case::new(4, [31, 32], 1, &[10, 10], &[3, 3]).pads(&same),
        Case::new(4, [32, 32], 1, &[9, 11], &[3, 3]).pads(&same),
        Case::new(4, [64, 64], 2, &[10, 10], &[3, 3]).pads(&same),
        Case::new(4, [32, 32], 1, &[10, 10], &[3, 3]).pads(&[3, 3, 3, 3]),
        Case::new(4, [32, 32], 1, &[17, 17], &[3, 3]).pads(&same).strides(&[2, 2]),
    ];
    let here = Case::new(7, [32, 33], 1, &[13, 12], &[3, 3]).pads(&same);
    for (case, wanted) in others.iter().map(|case| (case, 0)).chain([(&here, 1)]) {
        let what = format!("{case:?}");
        let graphs = hold_to_standard(&what, &backbone(case, false), (Element::F32, &case.x()), &plain(), 2e-5);
        assert_eq!(graphs.each_ref().map(|graph| count(graph, &["WinogradConv"])), [0, wanted], "{what} {OPERATORS:?}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_is_wrong_is_named() {
    let case = Case::new(2, [3, 4], 1, &[5, 6], &[3, 3]).pads(&[1, 1, 1, 1]);
    let values = |shape: &[usize]| vec![0.5; shape.iter().product()];
    let with = |case: &Case, x: &[usize], weights: &[usize]| {
        let graph = alone("WinogradConv", (["x", "weights"], "y"), (Element::F32, case.attributes()));
        let inputs =
            vec![given("x", Element::F32, x, &values(x)), given("weights", Element::F32, weights, &values(weights))];
        run(&graph, 1, inputs)
    };
    let (x, weights) = (case.x(), case.weights());
    assert!(with(&case, &x, &weights).is_ok());
    assert_eq!(with(&case, &[0, 3, 5, 6], &weights).expect("it runs")["y"], Vec::<f64>::new());
    let wanted = "wanted [3, 3] moved by [1, 1] without dilations or groups, got";
    for (got, wanted) in [
        (with(&case.clone().strides(&[1, 2]), &x, &weights), wanted),
        (with(&case.clone().dilations(&[2, 1]), &x, &weights), wanted),
        (with(&Case { group: 3, ..case.clone() }, &x, &weights), wanted),
        (with(&Case { kernel: vec![3, 1], ..case.clone() }, &x, &weights), wanted),
        (with(&case, &x, &[4, 3, 3, 1]), "weights: wanted [M, C, 3, 3], got [4, 3, 3, 1]"),
        (with(&case, &x, &[4, 2, 3, 3]), "weights: wanted [M, 3, 3, 3] with channels as x has, got [4, 2, 3, 3]"),
        (with(&case, &[2, 3, 5], &weights), "x: wanted two axes behind batch and channels"),
        (with(&case.clone().pads(&[0, 1, 0, 1]), &[2, 3, 2, 6], &weights), "x: wanted images that the window fits on"),
    ] {
        let error = got.expect_err(wanted);
        assert!(error.contains("WinogradConv") && error.contains(wanted), "{error}, wanted {wanted}");
    }
    let graph = with_bias(&case, "com.pdloss", "WinogradConv");
    let of = |name, shape: &[usize]| given(name, Element::F32, shape, &values(shape));
    let error = run(&graph, 1, vec![of("x", &x), of("weights", &weights), of("bias", &[3])]).expect_err("too few");
    assert!(error.contains("bias"), "{error}");
}
