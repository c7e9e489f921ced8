//! The gradients of convolutions: whole steps against standard operators, and each operator alone against plain loops and
//! central differences.

use crate::{
    both::{count, hold_to_standard, open, plain},
    common::{FLOATS, Input, OPERATORS, Outputs, model, session},
};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, node},
    proto::{AttributeProto, GraphProto, ModelProto},
    step::{Operators, StepOptions, build},
};

pub(crate) use crate::common::case::{Case, DIM, alone, backbone, drawn, given};

/// Whether the provider has a kernel.
fn has_kernel(case: &Case) -> bool {
    OPERATORS != Operators::Cuda || case.is_of_cudnn()
}

/// Strides above the kernel, padding on one side and more than the kernel, dilations, groups of few channels, one place, one image, one
/// channel, more places than a block has, rows that no vector divides.
fn cases() -> Vec<Case> {
    let same = [1, 1, 1, 1];
    vec![
        Case::new(3, [5, 7], 1, &[6, 5], &[3, 3]).pads(&same),
        Case::new(1, [3, 4], 1, &[9, 9], &[3, 3]).strides(&[2, 2]).pads(&same),
        Case::new(2, [3, 4], 1, &[11, 9], &[2, 1]).strides(&[3, 4]),
        Case::new(2, [3, 4], 1, &[7, 8], &[3, 2]).pads(&[0, 2, 3, 1]),
        Case::new(2, [4, 3], 1, &[9, 8], &[3, 2]).dilations(&[2, 3]).pads(&[1, 0, 2, 2]).strides(&[1, 2]),
        Case::new(4, [6, 4], 2, &[5, 6], &[3, 3]).pads(&same),
        Case::new(2, [8, 12], 4, &[5, 4], &[2, 2]),
        Case::new(5, [3, 2], 1, &[3, 3], &[3, 3]),
        Case::new(1, [1, 1], 1, &[1, 1], &[1, 1]),
        Case::new(1, [2, 1], 1, &[1, 1], &[3, 3]).pads(&same),
        Case::new(7, [9, 5], 1, &[4, 4], &[1, 1]),
        Case::new(3, [40, 3], 1, &[5, 5], &[3, 3]).pads(&same),
        Case::new(2, [3, 2], 1, &[29, 31], &[3, 3]).pads(&same),
        // One channel of the input in a group.
        Case::new(3, [5, 5], 5, &[6, 7], &[3, 3]).pads(&same),
        Case::new(2, [4, 8], 4, &[9, 7], &[3, 3]).strides(&[2, 2]).pads(&same),
        Case::new(2, [3, 3], 3, &[9, 11], &[3, 2]).strides(&[4, 3]).pads(&[2, 0, 0, 1]),
        Case::new(1, [3, 3], 3, &[10, 9], &[3, 3]).dilations(&[2, 3]).strides(&[2, 1]).pads(&[0, 1, 2, 3]),
        Case::new(4, [3, 3], 3, &[4, 5], &[4, 5]),
        Case::new(1, [1, 4], 1, &[5, 5], &[3, 3]).pads(&[3, 3, 3, 3]),
        Case::new(2, [2, 2], 2, &[58, 37], &[5, 5]).pads(&[2, 2, 2, 2]),
        // Over one axis.
        Case::new(3, [4, 6], 1, &[17], &[3]).pads(&[1, 1]),
        Case::new(2, [4, 6], 2, &[190], &[4]).strides(&[3]).dilations(&[2]).pads(&[0, 3]),
        Case::new(2, [3, 3], 3, &[23], &[5]).strides(&[2]).pads(&[2, 2]),
    ]
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn whole_steps() {
    for case in cases() {
        let what = format!("{case:?}");
        let graphs = hold_to_standard(&what, &backbone(&case, false), (Element::F32, &case.x()), &plain(), 2e-5);
        let weights = 1 + usize::from(has_kernel(&case));
        assert_eq!(graphs.each_ref().map(|graph| count(graph, &["ConvWeightGrad"])), [0, weights], "{what}");
        // On CUDA wherever there is a kernel. A kernel as large as the image is a product, number by number; else one channel a group has an operator, and so have windows of few
        // places.
        let alone = case.channels[0] == case.group;
        let (places, taps) = (case.places().iter().product::<usize>(), case.kernel.iter().product::<usize>());
        let is_whole = alone
            && case.kernel == case.lengths
            && case.channels[1] == case.group
            && case.pads.iter().all(|&pad| pad == 0);
        let has = if OPERATORS == Operators::Cuda {
            !is_whole && has_kernel(&case)
        } else {
            !is_whole && (alone || (places <= 200 && taps > 1))
        };
        assert_eq!(graphs.map(|graph| count(&graph, &["ConvInputGrad"])), [0, usize::from(has)], "{what}");
    }
}

/// Whose gradient is that of a convolution from its output to its input.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn transposed() {
    for case in [
        Case::new(3, [4, 6], 2, &[7, 6], &[3, 3]).strides(&[2, 2]).pads(&[1, 0, 1, 1]),
        Case::new(2, [4, 4], 4, &[9, 9], &[3, 3]).strides(&[2, 3]).pads(&[1, 1, 1, 1]),
        Case::new(2, [3, 5], 1, &[12], &[4]).strides(&[2]).pads(&[1, 1]),
    ] {
        let what = format!("{case:?}");
        let graphs = hold_to_standard(&what, &backbone(&case, true), (Element::F32, &case.y()), &plain(), 2e-5);
        let weights = 1 + usize::from(has_kernel(&case));
        assert_eq!(graphs.map(|graph| count(&graph, &["ConvWeightGrad"])), [0, weights], "{what}");
    }
}

/// Over three axes there is no operator.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn three_axes_stay_in_standard_operators() {
    let case = Case::new(2, [2, 3], 1, &[3, 4, 3], &[2, 2, 2]);
    let options = StepOptions { operators: OPERATORS, ..plain() };
    let graph = build(backbone(&case, false), &options).expect("built");
    assert_eq!(count(&graph, &["ConvWeightGrad"]), 0);
}

pub(crate) fn run(graph: &ModelProto, threads: usize, inputs: Vec<Input>) -> Result<Outputs, String> {
    let builder = session::builder().map_err(|error| error.to_string())?;
    let builder = builder.with_intra_threads(threads).map_err(|error| error.to_string())?;
    let mut session = session::open(builder, graph).map_err(|error| error.to_string())?;
    session::run(&mut session, inputs).map_err(|error| error.to_string())
}

/// Within `tolerance` of the largest.
pub(crate) fn assert_near(what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    for (place, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() <= tolerance * largest, "{what}: at {place} got {got}, wanted {wanted}");
    }
}

/// The operator against loops over all products in float64, and its bits on other numbers of threads.
pub(crate) fn hold_to_loops(
    cases: Vec<Case>,
    operator: &str,
    (inputs, output): ([&'static str; 2], &str),
    shapes: impl Fn(&Case) -> [Vec<usize>; 2],
    wanted: impl Fn(&Case, [&[f64]; 2]) -> Vec<f64>,
) {
    for case in cases {
        let shapes = shapes(&case);
        let values = [drawn(&shapes[0], 5), drawn(&shapes[1], 6)];
        let wanted = wanted(&case, [&values[0], &values[1]]);
        let of_types = [(Element::F32, 3e-6), (Element::F64, 1e-14)].into_iter();
        for (element, tolerance) in of_types.filter(|(element, _)| FLOATS.contains(element)) {
            let what = format!("{operator} {element:?} {case:?}");
            let graph = alone(operator, (inputs, output), (element, case.with_rest()));
            let with = |threads| {
                let given = [0, 1].map(|index| given(inputs[index], element, &shapes[index], &values[index]));
                run(&graph, threads, given.to_vec())
            };
            if !has_kernel(&case) {
                let error = with(1).expect_err(&what);
                assert!(error.contains(operator) && error.contains("cuDNN pads both ends of an axis alike"), "{error}");
                continue;
            }
            let with = |threads| with(threads).unwrap_or_else(|error| panic!("{what}: {error}"));
            let got = with(1);
            assert_near(&what, &got[output], &wanted, tolerance);
            assert!([2, 3, 5].into_iter().all(|threads| with(threads) == got), "{what}: bits follow from the threads");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn weights_against_plain_loops() {
    weights_to_loops(cases());
}

pub(crate) fn weights_to_loops(cases: Vec<Case>) {
    hold_to_loops(
        cases,
        "ConvWeightGrad",
        (["grad", "x"], "weight_grad"),
        |case| [case.y(), case.x()],
        |case, [grad, x]| {
            let mut sums = vec![0.0; case.weights().iter().product()];
            case.products(|of_y, of_x, of_weights| sums[of_weights] += grad[of_y] * x[of_x]);
            sums
        },
    );
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn inputs_against_plain_loops() {
    inputs_to_loops(cases());
}

pub(crate) fn inputs_to_loops(cases: Vec<Case>) {
    hold_to_loops(
        cases,
        "ConvInputGrad",
        (["grad", "weights"], "x_grad"),
        |case| [case.y(), case.weights()],
        |case, [grad, weights]| {
            let mut sums = vec![0.0; case.x().iter().product()];
            case.products(|of_y, of_x, of_weights| sums[of_x] += grad[of_y] * weights[of_weights]);
            sums
        },
    );
}

/// `sum g conv(x, W)` is linear in each: central differences of any width, of onnxruntime's own convolution.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn central_differences() {
    let is_small = |case: &Case| case.weights().iter().product::<usize>() <= 300;
    for case in cases().into_iter().filter(|case| is_small(case) && has_kernel(case)) {
        let (x, weights, grad) = (drawn(&case.x(), 5), drawn(&case.weights(), 7), drawn(&case.y(), 6));
        let value = |name: &str, shape: &[usize]| {
            declare(name, Element::F32, &shape.iter().map(|&length| Dim::Known(length)).collect::<Vec<_>>())
        };
        let graph = model(GraphProto {
            name: Some("forward".to_owned()),
            node: vec![node("Conv", &["x", "weights"], &["y"], case.attributes())],
            input: vec![value("x", &case.x()), value("weights", &case.weights())],
            output: vec![value("y", &case.y())],
            ..GraphProto::default()
        });
        let mut forward = open(&graph, 1);
        let mut loss = |x: &[f64], weights: &[f64]| -> f64 {
            let x = given("x", Element::F32, &case.x(), x);
            let weights = given("weights", Element::F32, &case.weights(), weights);
            let outputs = session::run(&mut forward, vec![x, weights]).expect("it runs");
            outputs["y"].iter().zip(&grad).map(|(y, grad)| y * grad).sum()
        };
        // The difference of the loss for each number, moved by one to either side.
        let mut slopes = |of_weights: bool| -> Vec<f64> {
            let count = if of_weights { weights.len() } else { x.len() };
            let mut moved = |place: usize, by: f64| {
                let (mut x, mut weights) = (x.clone(), weights.clone());
                *(if of_weights { &mut weights[place] } else { &mut x[place] }) += by;
                loss(&x, &weights)
            };
            (0..count).map(|place| (moved(place, 1.0) - moved(place, -1.0)) / 2.0).collect()
        };
        let of_grad = given("grad", Element::F32, &case.y(), &grad);
        let graph = alone("ConvWeightGrad", (["grad", "x"], "weight_grad"), (Element::F32, case.attributes()));
        let inputs = vec![of_grad.clone(), given("x", Element::F32, &case.x(), &x)];
        let got = run(&graph, 2, inputs).expect("it runs");
        assert_near(&format!("{case:?}"), &got["weight_grad"], &slopes(true), 2e-5);
        if case.channels[0] == case.group {
            let graph = alone("ConvInputGrad", (["grad", "weights"], "x_grad"), (Element::F32, case.with_rest()));
            let inputs = vec![of_grad, given("weights", Element::F32, &case.weights(), &weights)];
            let got = run(&graph, 2, inputs).expect("it runs");
            assert_near(&format!("{case:?}"), &got["x_grad"], &slopes(false), 2e-5);
        }
    }
}

/// Without images the gradient is zero, and nothing else comes to harm.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn no_images() {
    for case in [Case::new(0, [4, 6], 2, &[5, 5], &[3, 3]), Case::new(0, [3, 3], 3, &[5, 5], &[3, 3])] {
        let graph = alone("ConvWeightGrad", (["grad", "x"], "weight_grad"), (Element::F32, case.attributes()));
        let inputs = vec![given("grad", Element::F32, &case.y(), &[]), given("x", Element::F32, &case.x(), &[])];
        let got = run(&graph, 2, inputs).expect("it runs");
        assert_eq!(got["weight_grad"], vec![0.0; case.weights().iter().product()]);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_is_wrong_is_named() {
    let case = Case::new(2, [4, 6], 2, &[5, 5], &[3, 3]);
    let run = |attributes: Vec<AttributeProto>, grad: &[usize], x: &[usize]| {
        let graph = alone("ConvWeightGrad", (["grad", "x"], "weight_grad"), (Element::F32, attributes));
        let builder = session::builder().map_err(|error| error.to_string())?;
        let mut session = session::open(builder, &graph).map_err(|error| error.to_string())?;
        let inputs =
            vec![given("grad", Element::F32, grad, &drawn(grad, 1)), given("x", Element::F32, x, &drawn(x, 2))];
        session::run(&mut session, inputs).map_err(|error| error.to_string())
    };
    let (x, y) = (case.x(), case.y());
    assert!(run(case.attributes(), &y, &x).is_ok());
    for (got, wanted) in [
        (
            run(case.attributes(), &[2, 6, 4, 3], &x),
            "grad: wanted places whose windows lie inside x, [2, 4, 5, 5], got [2, 6, 4, 3]",
        ),
        (run(case.attributes(), &[3, 6, 3, 3], &x), "grad: wanted the axes and the batch of x"),
        (run(case.attributes(), &[2, 5, 3, 3], &x), "grad: wanted channels in 2 groups, got [2, 5, 3, 3]"),
        (run(case.attributes(), &y, &[2, 3, 5, 5]), "x: wanted channels in 2 groups"),
        (
            run(case.attributes(), &y, &[2, 4, 5]),
            "x: wanted two axes behind batch and channels, as kernel_shape has, got [2, 4, 5]",
        ),
        (run(case.attributes(), &[2, 6, 9], &x), "grad: wanted the axes and the batch of x"),
        (run(case.attributes(), &[2], &[2]), "x: wanted two axes behind batch and channels"),
        (run(case.attributes(), &[2, 6, 3, 3, 3], &[2, 4, 5, 5, 5]), "x: wanted two axes behind batch and channels"),
        (run(Vec::new(), &y, &x), "attribute kernel_shape: wanted one or two lengths, got []"),
        (
            run(case.clone().strides(&[0, 1]).attributes(), &y, &x),
            "attribute strides: wanted 2 integers of 1 or more and below 2^31, got [0, 1]",
        ),
        (run(case.clone().dilations(&[1]).attributes(), &y, &x), "attribute dilations: wanted 2 integers"),
        (run(case.clone().pads(&[1, 1]).attributes(), &y, &x), "attribute pads: wanted 4 integers of 0 or more"),
        (
            run(Case { group: 0, ..case.clone() }.attributes(), &y, &x),
            "attribute group: wanted an integer above 0, got [0]",
        ),
        (
            run(vec![attribute("kernel_shape", Value::Text("3x3".to_owned()))], &y, &x),
            "attribute kernel_shape: wanted integers, got the string '3x3'",
        ),
        (
            run(vec![attribute("kernel_shape", Value::Float(1.5))], &y, &x),
            "attribute kernel_shape: wanted integers, got 1.5",
        ),
    ] {
        let error = got.expect_err(wanted);
        assert!(error.contains("ConvWeightGrad") && error.contains(wanted), "{error}, wanted {wanted}");
    }
    let case = Case::new(2, [3, 6], 3, &[5, 5], &[3, 3]).pads(&[2, 2, 2, 2]);
    let input_grad = |attributes: Vec<AttributeProto>, grad: &[usize], weights: &[usize]| {
        let graph = alone("ConvInputGrad", (["grad", "weights"], "x_grad"), (Element::F32, attributes));
        let values = |shape: &[usize]| drawn(shape, 1);
        let inputs = vec![
            given("grad", Element::F32, grad, &values(grad)),
            given("weights", Element::F32, weights, &values(weights)),
        ];
        self::run(&graph, 1, inputs)
    };
    assert!(input_grad(case.attributes(), &case.y(), &case.weights()).is_ok());
    for (got, wanted) in [
        (
            input_grad(case.attributes(), &case.y(), &[5, 2, 3, 3]),
            "weights: wanted [6, C / groups, 3, 3], got [5, 2, 3, 3]",
        ),
        (input_grad(case.attributes(), &[2, 6, 7], &case.weights()), "grad: wanted two axes behind batch and channels"),
        (
            input_grad(case.attributes(), &[2, 6, 1, 7], &case.weights()),
            "grad: wanted places whose windows reach over more",
        ),
        (input_grad(case.attributes(), &[2, 4, 7, 7], &[4, 1, 3, 3]), "grad: wanted channels in 3 groups"),
    ] {
        let error = got.expect_err(wanted);
        assert!(error.contains("ConvInputGrad") && error.contains(wanted), "{error}, wanted {wanted}");
    }
}
