//! Every rule against central differences: awkward shapes, broadcasts, symbolic batches.

use pdloss::graph::build::{
    Element::{F32, F64},
    Value::{Float, Int, Ints, Text},
};

use crate::graph::model::Case;
use crate::runtime::{open, run};

fn text(value: &str) -> pdloss::graph::build::Value {
    Text(value.to_owned())
}

/// Checks all cases and reports all that fail.
pub(super) fn check(cases: Vec<Case>) {
    let mut failures = Vec::new();
    for case in &cases {
        match case.check() {
            Ok(distance) => println!("{:<44} {distance:.1e}", case.name),
            Err(reason) => failures.push(format!("{}: {reason}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn arithmetic_with_broadcasting() {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[3, 4], &[3, 4]),
        (&[3, 4], &[4]),
        (&[3, 4], &[3, 1]),
        (&[1], &[2, 3]),
        (&[], &[2, 3]),
        (&[2, 1, 3], &[5, 1]),
        (&[1, 1], &[1, 1, 1]),
        (&[2, 3, 1, 2], &[3, 4, 1]),
    ];
    let mut cases = Vec::new();
    for (left, right) in shapes {
        for operator in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"] {
            for symbolic in [false, true] {
                let name = format!("{operator} {left:?} {right:?} {}", if symbolic { "symbolic" } else { "" });
                // Everything away from 0 and, for Max and Min, from each other.
                let case = Case::new(&name, F64).input("x", left, 0.5, 1.0).input("x2", right, 1.1, 2.0);
                let case = case.op(operator, &["x", "x2"], "y", &[]);
                cases.push(if symbolic && !left.is_empty() && left[0] == right.first().copied().unwrap_or(0) {
                    case.symbolic()
                } else {
                    case
                });
            }
        }
    }
    cases.push(Case::new("Mul by itself", F64).input("x", &[3, 2], -1.0, 1.0).op("Mul", &["x", "x"], "y", &[]));
    let three = Case::new("Sum of three", F64).input("x", &[3, 2], -1.0, 1.0).input("b", &[2], -1.0, 1.0);
    cases.push(three.input("c", &[1], -1.0, 1.0).op("Sum", &["x", "b", "c"], "y", &[]));
    let three = Case::new("Max of three", F64).apart("x", &[3, 2], 0.1).given("b", &[2], &[0.051, -0.04]);
    cases.push(three.given("c", &[1], &[0.017]).op("Max", &["x", "b", "c"], "y", &[]));
    let three = Case::new("Min of three", F64).apart("x", &[3, 2], 0.1).given("b", &[2], &[0.051, -0.04]);
    cases.push(three.given("c", &[1], &[0.017]).op("Min", &["x", "b", "c"], "y", &[]));
    let mean = Case::new("Mean of two", F32).input("x", &[3, 2], -1.0, 1.0).input("b", &[2], -1.0, 1.0);
    cases.push(mean.op("Mean", &["x", "b"], "y", &[]));
    for exponent in [2.0, 3.0, 0.5, 1.0, -1.0] {
        let case = Case::new(&format!("Pow {exponent}"), F64).input("x", &[2, 3], 0.5, 2.0).number("p", exponent);
        cases.push(case.op("Pow", &["x", "p"], "y", &[]));
    }
    let square = Case::new("Pow 2 of negative numbers", F64).input("x", &[7], -2.0, 2.0).number("p", 2.0);
    cases.push(square.op("Pow", &["x", "p"], "y", &[]));
    let masked = Case::new("Where", F64).apart("x", &[3, 4], 0.3).input("b", &[4], -1.0, 1.0).number("zero", 0.0);
    cases.push(masked.op("Less", &["x", "zero"], "c", &[]).op("Where", &["c", "x", "b"], "y", &[]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn lengths_that_are_known_only_when_run() {
    let pair = |operator: &str, left: &[usize], right: &[usize]| {
        let case = Case::new(&format!("{operator} {left:?} {right:?} loose"), F64).loose();
        case.input("x", left, 0.5, 1.0).input("w", right, 1.1, 2.0).op(operator, &["x", "w"], "y", &[])
    };
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 6] =
        [(&[3, 4], &[3, 4]), (&[3, 4], &[4]), (&[3, 1], &[3, 4]), (&[1], &[2, 3]), (&[2, 1, 3], &[5, 1]), (&[], &[2])];
    for (left, right) in shapes {
        cases.extend(["Add", "Sub", "Mul", "Div", "Max"].map(|operator| pair(operator, left, right)));
    }
    let products: [(&[usize], &[usize]); 5] =
        [(&[3, 4], &[4, 2]), (&[5, 3, 4], &[4, 2]), (&[1, 3, 4], &[5, 4, 2]), (&[4], &[4, 2]), (&[2, 3, 4], &[4])];
    cases.extend(products.map(|(left, right)| pair("MatMul", left, right)));
    let x = |name: &str| Case::new(&format!("{name} loose"), F64).loose().input("x", &[2, 3, 4], -1.0, 1.0);
    for operator in ["ReduceSum", "ReduceMean", "ReduceLogSumExp", "ReduceMax"] {
        for keep in [0, 1] {
            let case = x(&format!("{operator} keep {keep}"));
            cases.push(case.opset(18).ints("axes", &[1]).op(operator, &["x", "axes"], "y", &[("keepdims", Int(keep))]));
        }
    }
    cases.push(x("Softmax").op("Softmax", &["x"], "y", &[]));
    cases.push(x("Transpose").op("Transpose", &["x"], "y", &[]));
    cases.push(x("Flatten").op("Flatten", &["x"], "y", &[]));
    cases.push(x("Reshape").ints("to", &[0, -1]).op("Reshape", &["x", "to"], "y", &[]));
    cases.push(x("Concat").input("w", &[2, 1, 4], -1.0, 1.0).op("Concat", &["x", "w"], "y", &[("axis", Int(1))]));
    cases.push(x("Gather").ints("at", &[1, 0, 1]).op("Gather", &["x", "at"], "y", &[("axis", Int(1))]));
    let slice = x("Slice").ints("starts", &[1]).ints("ends", &[2]).ints("axes", &[2]);
    cases.push(slice.op("Slice", &["x", "starts", "ends", "axes"], "y", &[]));
    cases.push(x("Pad").ints("pads", &[0, 1, 2, 0, 0, 1]).op("Pad", &["x", "pads"], "y", &[]));
    let norm = x("LayerNormalization").input("scale", &[4], 0.5, 2.0).input("bias", &[4], -1.0, 1.0);
    cases.push(norm.op("LayerNormalization", &["x", "scale", "bias"], "y", &[]));
    let expand = x("Expand").input("w", &[3, 1], -1.0, 1.0).op("Shape", &["x"], "to", &[]);
    cases.push(expand.op("Expand", &["w", "to"], "a", &[]).op("Mul", &["a", "x"], "y", &[]));
    let pool = Case::new("GlobalAveragePool loose", F32).loose().input("x", &[2, 3, 4, 5], -1.0, 1.0).budget(0.5, 1e-5);
    cases.push(pool.op("GlobalAveragePool", &["x"], "y", &[]));
    let pool = Case::new("MaxPool loose", F64).loose().apart("x", &[2, 3, 4, 4], 0.1);
    cases.push(pool.op("MaxPool", &["x"], "y", &[("kernel_shape", Ints(vec![2, 2]))]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn functions_of_one_number() {
    let mut cases = Vec::new();
    for operator in ["Neg", "Identity", "Exp", "Sin", "Cos"] {
        cases.push(Case::new(operator, F64).input("x", &[2, 3], -1.0, 1.0).op(operator, &["x"], "y", &[]));
    }
    for operator in ["Sqrt", "Log", "Reciprocal"] {
        cases.push(Case::new(operator, F64).input("x", &[2, 3], 0.5, 2.0).op(operator, &["x"], "y", &[]));
    }
    cases.push(Case::new("Abs", F64).apart("x", &[2, 3], 0.4).op("Abs", &["x"], "y", &[]));
    let cast =
        Case::new("Cast there and back", F64).input("x", &[4], -1.0, 1.0).op("Cast", &["x"], "a", &[("to", Int(11))]);
    cases.push(cast.op("Mul", &["a", "x"], "y", &[]));
    let cast = Case::new("CastLike", F64).input("x", &[4], -1.0, 1.0).op("CastLike", &["x", "x"], "a", &[]);
    cases.push(cast.op("Mul", &["a", "x"], "y", &[]));
    // A whole number in the type of what has a gradient, as PyTorch's exporter writes 0 and 1.
    let like = Case::new("CastLike of a constant", F64).input("x", &[4], -1.0, 1.0).ints("two", &[2]);
    cases.push(like.op("CastLike", &["two", "x"], "a", &[]).op("Mul", &["a", "x"], "y", &[]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn activations() {
    let mut cases = Vec::new();
    let apart = |name: &str, element| Case::new(name, element).apart("x", &[3, 5], 0.45);
    cases.push(apart("Relu", F64).op("Relu", &["x"], "y", &[]));
    cases.push(apart("LeakyRelu", F32).op("LeakyRelu", &["x"], "y", &[("alpha", Float(0.3))]));
    cases.push(apart("LeakyRelu default", F32).op("LeakyRelu", &["x"], "y", &[]));
    for alpha in [0.0, -0.3] {
        let name = format!("LeakyRelu {alpha}");
        cases.push(apart(&name, F32).op("LeakyRelu", &["x"], "y", &[("alpha", Float(alpha))]));
    }
    cases.push(apart("PRelu", F32).input("slope", &[5], 0.1, 0.5).op("PRelu", &["x", "slope"], "y", &[]));
    cases.push(apart("PRelu shared", F32).input("slope", &[1], 0.1, 0.5).op("PRelu", &["x", "slope"], "y", &[]));
    let channels = Case::new("PRelu channels", F32).apart("x", &[2, 3, 2, 2], 0.2).input("slope", &[3, 1, 1], 0.1, 0.5);
    cases.push(channels.symbolic().op("PRelu", &["x", "slope"], "y", &[]));
    let clip = || apart("Clip", F64).number("low", -1.1).number("high", 2.0);
    cases.push(clip().op("Clip", &["x", "low", "high"], "y", &[]));
    cases.push(clip().op("Clip", &["x", "low"], "y", &[]));
    cases.push(clip().op("Clip", &["x", "", "high"], "y", &[]));
    cases.push(clip().op("Clip", &["x"], "y", &[]));
    cases.push(apart("Sigmoid", F64).op("Sigmoid", &["x"], "y", &[]));
    cases.push(apart("Tanh", F64).op("Tanh", &["x"], "y", &[]));
    // The corners of HardSigmoid stand at -2.5 and 2.5, those of HardSwish at -3 and 3: not within four steps of a value.
    cases.push(apart("HardSigmoid", F32).op("HardSigmoid", &["x"], "y", &[]));
    let other = [("alpha", Float(0.5)), ("beta", Float(0.3))];
    cases.push(apart("HardSigmoid 0.5 0.3", F32).op("HardSigmoid", &["x"], "y", &other));
    cases.push(Case::new("HardSwish", F32).apart("x", &[3, 7], 0.4).op("HardSwish", &["x"], "y", &[]));
    cases.push(apart("Erf", F32).op("Erf", &["x"], "y", &[]));
    cases.push(apart("Softplus", F32).op("Softplus", &["x"], "y", &[]));
    cases.push(apart("Elu", F32).op("Elu", &["x"], "y", &[("alpha", Float(0.7))]));
    cases.push(apart("Gelu", F32).opset(20).op("Gelu", &["x"], "y", &[]));
    cases.push(apart("Gelu tanh", F32).opset(20).op("Gelu", &["x"], "y", &[("approximate", text("tanh"))]));
    cases.push(apart("com.microsoft.Gelu", F32).op("Gelu", &["x"], "y", &[]).domain("com.microsoft"));
    cases.push(apart("Dropout in inference", F64).op("Dropout", &["x"], "y", &[]));
    for axis in [0, 1, -1] {
        for operator in ["Softmax", "LogSoftmax"] {
            let case = Case::new(&format!("{operator} {axis}"), F64).input("x", &[3, 4], -2.0, 2.0);
            cases.push(case.symbolic().op(operator, &["x"], "y", &[("axis", Int(axis))]));
        }
    }
    cases.push(
        Case::new("Softmax of one", F64)
            .input("x", &[3, 1], -2.0, 2.0)
            .input("b", &[3, 1], 1.0, 2.0)
            .op("Softmax", &["x"], "a", &[])
            .op("Mul", &["a", "b"], "y", &[]),
    );
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn at_a_bound_nothing_passes() {
    let at = [-2.0, -1.0, 0.0, 1.0, 1.5, f64::NAN];
    for (operator, inputs, wanted) in [
        ("Clip", &["x", "low", "high"][..], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        ("Clip", &["x", "low"], [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]),
        ("Clip", &["x", "", "high"], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        ("Clip", &["x", "high", "low"], [0.0; 6]),
        ("Relu", &["x"], [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
    ] {
        let case = Case::new(operator, F64).given("x", &[6], &at).number("low", -1.0).number("high", 1.0);
        let (model, names) = case.op(operator, inputs, "y", &[]).differentiated().unwrap();
        let feeds = Case::new("", F64).given("x", &[6], &at).given("loss.weights", &[6], &[1.0; 6]).feeds();
        let gradients = run(&mut open(&model).unwrap(), &feeds).unwrap();
        assert_eq!(gradients[&names[0]].values(), wanted, "{operator} {inputs:?}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn matrix_products() {
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[3, 4], &[4, 2]),
        (&[1, 1], &[1, 1]),
        (&[5, 3, 4], &[4, 2]),
        (&[5, 3, 4], &[5, 4, 2]),
        (&[2, 1, 3, 4], &[5, 4, 2]),
        (&[3, 4], &[2, 4, 5]),
        (&[4], &[4, 2]),
        (&[3, 4], &[4]),
        (&[2, 3, 4], &[4]),
    ];
    for (left, right) in shapes {
        let case = Case::new(&format!("MatMul {left:?} {right:?}"), F64).input("x", left, -1.0, 1.0);
        cases.push(case.input("w", right, -1.0, 1.0).op("MatMul", &["x", "w"], "y", &[]));
    }
    let vectors = Case::new("MatMul of vectors", F64).input("x", &[4], -1.0, 1.0).input("w", &[4], -1.0, 1.0);
    cases.push(vectors.op("MatMul", &["x", "w"], "y", &[]));
    let stack =
        Case::new("MatMul vector with stack", F64).input("x", &[4], -1.0, 1.0).input("w", &[3, 4, 2], -1.0, 1.0);
    cases.push(stack.op("MatMul", &["x", "w"], "y", &[]));
    let tokens =
        Case::new("MatMul tokens, symbolic", F64).input("x", &[2, 3, 4], -1.0, 1.0).input("w", &[4, 5], -1.0, 1.0);
    cases.push(tokens.symbolic().op("MatMul", &["x", "w"], "y", &[]));
    for (turn_a, turn_b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for bias in [&[][..], &[1], &[2], &[3, 1], &[3, 2], &[1, 2]] {
            let (a, b) = (if turn_a == 0 { [3, 4] } else { [4, 3] }, if turn_b == 0 { [4, 2] } else { [2, 4] });
            let case = Case::new(&format!("Gemm {turn_a} {turn_b} {bias:?}"), F64).input("x", &a, -1.0, 1.0);
            let settings =
                [("transA", Int(turn_a)), ("transB", Int(turn_b)), ("alpha", Float(0.5)), ("beta", Float(1.5))];
            let case = case.input("w", &b, -1.0, 1.0).input("c", bias, -1.0, 1.0);
            cases.push(case.op("Gemm", &["x", "w", "c"], "y", &settings));
        }
    }
    let plain = Case::new("Gemm without bias", F64).input("x", &[3, 4], -1.0, 1.0).input("w", &[4, 2], -1.0, 1.0);
    cases.push(plain.symbolic().op("Gemm", &["x", "w"], "y", &[]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn convolutions() {
    struct Shape {
        x: &'static [usize],
        out: usize,
        kernel: &'static [usize],
        stride: &'static [i64],
        pads: &'static [i64],
        dilation: &'static [i64],
        group: usize,
    }
    let one = |x, out, kernel, stride, pads, dilation, group| Shape { x, out, kernel, stride, pads, dilation, group };
    let shapes = [
        one(&[2, 3, 5, 4], 2, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[1, 1, 4, 4], 1, &[1, 1], &[1, 1], &[0, 0, 0, 0], &[1, 1], 1),
        one(&[2, 3, 7, 6], 4, &[3, 2], &[2, 2], &[1, 0, 1, 1], &[1, 1], 1),
        one(&[2, 3, 8, 7], 4, &[3, 3], &[2, 3], &[0, 0, 0, 0], &[1, 1], 1),
        one(&[2, 2, 8, 7], 2, &[3, 2], &[1, 1], &[2, 1, 0, 1], &[2, 3], 1),
        one(&[2, 2, 9, 9], 2, &[2, 3], &[2, 2], &[1, 1, 1, 1], &[2, 2], 1),
        one(&[2, 3, 2, 2], 5, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[2, 3, 4, 4], 5, &[3, 3], &[2, 2], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[2, 3, 6, 6], 5, &[1, 1], &[2, 2], &[0, 0, 0, 0], &[1, 1], 1),
        one(&[2, 3, 6, 6], 5, &[1, 1], &[3, 2], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[2, 4, 5, 5], 6, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 2),
        one(&[2, 4, 5, 5], 4, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 4),
        one(&[2, 4, 6, 5], 4, &[3, 3], &[2, 2], &[1, 1, 1, 1], &[1, 1], 4),
        one(&[2, 4, 7, 8], 4, &[3, 2], &[2, 3], &[1, 0, 0, 1], &[2, 1], 4),
        one(&[2, 3, 5, 5], 6, &[3, 3], &[1, 1], &[0, 1, 0, 1], &[1, 1], 3),
        one(&[2, 2, 6, 28], 2, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 2),
        one(&[2, 2, 6, 21], 2, &[2, 4], &[1, 1], &[0, 1, 0, 2], &[2, 1], 2),
        one(&[1, 2, 5, 49], 2, &[3, 3], &[2, 2], &[1, 1, 1, 1], &[1, 1], 2),
        one(&[3, 2, 9], 2, &[3], &[2], &[1, 1], &[1], 2),
        one(&[3, 2, 9], 2, &[3], &[1], &[1, 0], &[1], 2),
        one(&[1, 3, 4, 4], 3, &[4, 4], &[1, 1], &[0, 0, 0, 0], &[1, 1], 3),
        // A kernel that sticks out on both sides of what it is moved over, and one padded by more than it covers.
        one(&[1, 2, 3, 3], 2, &[2, 2], &[1, 1], &[2, 2, 2, 2], &[1, 1], 1),
        // Enough places for a spelling of its own.
        one(&[1, 5, 15, 14], 2, &[3, 3], &[1, 1], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[2, 5, 30, 29], 2, &[2, 3], &[2, 2], &[1, 1, 1, 1], &[1, 1], 1),
        one(&[1, 2, 16, 15], 3, &[1, 1], &[1, 1], &[0, 0, 0, 0], &[1, 1], 1),
        one(&[2, 2, 20, 21], 2, &[5, 4], &[2, 2], &[2, 2, 2, 2], &[1, 1], 1),
        one(&[2, 3, 10], 4, &[3], &[2], &[1, 1], &[1], 1),
        one(&[2, 2, 3, 4, 3], 2, &[2, 2, 2], &[1, 2, 1], &[0, 1, 0, 1, 0, 1], &[1, 1, 1], 1),
    ];
    let mut cases = Vec::new();
    for shape in &shapes {
        for symbolic in [false, true] {
            let Shape { x, out, kernel, stride, pads, dilation, group } = shape;
            let name = format!(
                "Conv {x:?} -> {out} {kernel:?} stride {stride:?} pads {pads:?} dilation {dilation:?} groups {group} {symbolic}"
            );
            let weights = [&[*out, x[1] / group], *kernel].concat();
            let settings = [
                ("strides", Ints(stride.to_vec())),
                ("pads", Ints(pads.to_vec())),
                ("dilations", Ints(dilation.to_vec())),
                ("group", Int(*group as i64)),
            ];
            let case = Case::new(&name, F32).input("x", x, -1.0, 1.0).input("w", &weights, -1.0, 1.0);
            let case = case.input("b", &[*out], -1.0, 1.0).op("Conv", &["x", "w", "b"], "y", &settings);
            // Linear in each input: a long step loses nothing and divides the rounding.
            let case = case.budget(0.5, 1e-5);
            cases.push(if symbolic { case.symbolic() } else { case });
        }
    }
    // As in Inception's branches: both are spelt as products, and share their input with channels last.
    let case = Case::new("Conv, two of one value", F32).input("x", &[2, 5, 4, 3], -1.0, 1.0);
    let case = case.input("w", &[2, 5, 3, 3], -1.0, 1.0).input("w2", &[2, 5, 1, 3], -1.0, 1.0).budget(0.5, 1e-5);
    let case = case.op("Conv", &["x", "w"], "high", &[("pads", Ints(vec![1, 1, 1, 1]))]);
    let case = case.op("Conv", &["x", "w2"], "flat", &[("pads", Ints(vec![0, 1, 0, 1]))]);
    cases.push(case.op("Add", &["high", "flat"], "y", &[]));
    for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        let case = Case::new(&format!("Conv {auto}"), F32).input("x", &[1, 2, 5, 6], -1.0, 1.0);
        let case = case.input("w", &[3, 2, 2, 3], -1.0, 1.0).budget(0.5, 1e-5);
        cases.push(case.op("Conv", &["x", "w"], "y", &[("auto_pad", text(auto)), ("strides", Ints(vec![2, 1]))]));
    }
    let settings: [&[(&str, pdloss::graph::build::Value)]; 3] = [
        &[("strides", Ints(vec![2, 2])), ("pads", Ints(vec![1, 1, 1, 1])), ("output_padding", Ints(vec![1, 0]))],
        &[],
        &[("strides", Ints(vec![2, 1])), ("dilations", Ints(vec![1, 2])), ("group", Int(2))],
    ];
    for settings in settings {
        let grouped = settings.iter().any(|(name, _)| *name == "group");
        let case = Case::new(&format!("ConvTranspose {settings:?}"), F32).input("x", &[2, 4, 3, 4], -1.0, 1.0);
        let case = case.input("w", &[4, if grouped { 1 } else { 3 }, 3, 2], -1.0, 1.0);
        let case = case.input("b", &[if grouped { 2 } else { 3 }], -1.0, 1.0).budget(0.5, 1e-5);
        cases.push(case.op("ConvTranspose", &["x", "w", "b"], "y", settings));
    }
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn pools() {
    let mut cases = Vec::new();
    let window = |kernel: &[i64], strides: &[i64], pads: &[i64]| {
        vec![
            ("kernel_shape", Ints(kernel.to_vec())),
            ("strides", Ints(strides.to_vec())),
            ("pads", Ints(pads.to_vec())),
        ]
    };
    let windows = [
        window(&[3, 3], &[2, 2], &[1, 1, 1, 1]),
        window(&[2, 2], &[2, 2], &[0, 0, 0, 0]),
        window(&[2, 3], &[1, 2], &[0, 1, 1, 0]),
        window(&[3, 2], &[3, 2], &[0, 0, 0, 0]),
    ];
    for settings in &windows {
        for extra in [None, Some(("ceil_mode", Int(1)))] {
            let settings: Vec<_> = settings.iter().cloned().chain(extra.clone()).collect();
            for shape in [&[2, 3, 6, 6][..], &[1, 2, 7, 5]] {
                let max = Case::new(&format!("MaxPool {shape:?} {settings:?}"), F64).apart("x", shape, 0.1);
                cases.push(max.op("MaxPool", &["x"], "y", &settings));
                let average =
                    Case::new(&format!("AveragePool {shape:?} {settings:?}"), F32).input("x", shape, -1.0, 1.0);
                let average = average.symbolic().budget(0.5, 1e-5);
                cases.push(average.op("AveragePool", &["x"], "y", &settings));
            }
        }
        let settings: Vec<_> = settings.iter().cloned().chain([("count_include_pad", Int(1))]).collect();
        let average = Case::new(&format!("AveragePool {settings:?}"), F32).input("x", &[2, 3, 7, 5], -1.0, 1.0);
        cases.push(average.budget(0.5, 1e-5).op("AveragePool", &["x"], "y", &settings));
    }
    let symbolic = Case::new("MaxPool symbolic", F64).apart("x", &[2, 3, 6, 6], 0.1).symbolic();
    cases.push(symbolic.op("MaxPool", &["x"], "y", &windows[0]));
    let line = Case::new("MaxPool of a line", F64).apart("x", &[2, 3, 6], 0.1).symbolic();
    cases.push(line.op("MaxPool", &["x"], "y", &[("kernel_shape", Ints(vec![2])), ("dilations", Ints(vec![2]))]));
    for shape in [&[2, 3, 4, 5][..], &[2, 3, 7], &[1, 1, 1, 1]] {
        let case =
            Case::new(&format!("GlobalAveragePool {shape:?}"), F32).input("x", shape, -1.0, 1.0).budget(0.5, 1e-5);
        cases.push(case.symbolic().op("GlobalAveragePool", &["x"], "y", &[]));
    }
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn normalizations() {
    let mut cases = Vec::new();
    for (shape, axis, scale) in
        [(&[3, 4, 5][..], -1, &[5][..]), (&[3, 4, 5], 1, &[4, 5]), (&[2, 6], 1, &[6]), (&[3, 4, 5], 2, &[1])]
    {
        for element in [F64, F32] {
            for symbolic in [false, true] {
                let name = format!("LayerNormalization {shape:?} {axis} {scale:?} {element:?} {symbolic}");
                let case = Case::new(&name, element).input("x", shape, -1.0, 1.0).input("scale", scale, 0.5, 2.0);
                let case = case.input("bias", scale, -1.0, 1.0);
                let case = case.op("LayerNormalization", &["x", "scale", "bias"], "y", &[("axis", Int(axis))]);
                cases.push(if symbolic { case.symbolic() } else { case });
            }
        }
    }
    let plain = Case::new("LayerNormalization without bias", F64).input("x", &[3, 4], -1.0, 1.0);
    cases.push(plain.input("scale", &[4], 0.5, 2.0).op("LayerNormalization", &["x", "scale"], "y", &[]));
    for shape in [&[2, 3, 4, 5][..], &[2, 3, 6], &[1, 2, 3, 3]] {
        let channels = [shape[1]];
        let per_channel = |case: Case| case.input("scale", &channels, 0.5, 2.0).input("bias", &channels, -1.0, 1.0);
        let case =
            per_channel(Case::new(&format!("InstanceNormalization {shape:?}"), F32).input("x", shape, -1.0, 1.0));
        cases.push(case.symbolic().op("InstanceNormalization", &["x", "scale", "bias"], "y", &[]));
        let case = per_channel(Case::new(&format!("BatchNormalization {shape:?}"), F64).input("x", shape, -1.0, 1.0));
        let case = case.input("mean", &channels, -1.0, 1.0).input("variance", &channels, 0.5, 2.0);
        cases.push(case.op("BatchNormalization", &["x", "scale", "bias", "mean", "variance"], "y", &[]));
    }
    for p in [1, 2] {
        for axis in [0, 1, -1] {
            let case = Case::new(&format!("LpNormalization {p} {axis}"), F64).apart("x", &[3, 4], 0.3);
            cases.push(case.op("LpNormalization", &["x"], "y", &[("p", Int(p)), ("axis", Int(axis))]));
        }
    }
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn reductions() {
    let mut cases = Vec::new();
    let operators = [
        "ReduceSum",
        "ReduceMean",
        "ReduceSumSquare",
        "ReduceL1",
        "ReduceL2",
        "ReduceMax",
        "ReduceMin",
        "ReduceLogSumExp",
        "ReduceLogSum",
    ];
    for operator in operators {
        for axes in [&[0][..], &[1], &[-1], &[0, 2], &[0, 1, 2], &[]] {
            for keep in [0, 1] {
                for opset in [17, 18] {
                    let name = format!("{operator} {axes:?} keep {keep} opset {opset}");
                    let positive = operator == "ReduceLogSum";
                    let f32_only = matches!(operator, "ReduceL1" | "ReduceL2" | "ReduceLogSum");
                    let mut case = Case::new(&name, if f32_only { F32 } else { F64 }).opset(opset).symbolic();
                    case =
                        if positive { case.input("x", &[2, 3, 4], 0.5, 2.0) } else { case.apart("x", &[2, 3, 4], 0.2) };
                    let mut settings = vec![("keepdims", Int(keep))];
                    let mut inputs = vec!["x"];
                    if !axes.is_empty() {
                        if opset == 18 || operator == "ReduceSum" {
                            case = case.ints("axes", axes);
                            inputs.push("axes");
                        } else {
                            settings.push(("axes", Ints(axes.to_vec())));
                        }
                    }
                    cases.push(case.op(operator, &inputs, "y", &settings));
                }
            }
        }
    }
    let nothing = Case::new("ReduceSum over nothing", F64).input("x", &[2, 3], -1.0, 1.0);
    cases.push(nothing.op("ReduceSum", &["x"], "y", &[("noop_with_empty_axes", Int(1))]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn layout() {
    let x = |name: &str| Case::new(name, F64).input("x", &[2, 3, 4], -1.0, 1.0);
    let mut cases = vec![
        x("Reshape").ints("to", &[4, -1]).op("Reshape", &["x", "to"], "y", &[]),
        x("Reshape keeps").symbolic().ints("to", &[0, -1]).op("Reshape", &["x", "to"], "y", &[]),
        x("Reshape by its own shape").symbolic().op("Shape", &["x"], "shape", &[]).op(
            "Reshape",
            &["x", "shape"],
            "y",
            &[],
        ),
        x("Flatten 0").op("Flatten", &["x"], "y", &[("axis", Int(0))]),
        x("Flatten 2").symbolic().op("Flatten", &["x"], "y", &[("axis", Int(2))]),
        x("Transpose").op("Transpose", &["x"], "y", &[]),
        x("Transpose 1 2 0").symbolic().op("Transpose", &["x"], "y", &[("perm", Ints(vec![1, 2, 0]))]),
        x("Unsqueeze").symbolic().ints("axes", &[0, -1]).op("Unsqueeze", &["x", "axes"], "y", &[]),
        Case::new("Squeeze", F64).input("x", &[2, 1, 3, 1], -1.0, 1.0).ints("axes", &[1, -1]).op(
            "Squeeze",
            &["x", "axes"],
            "y",
            &[],
        ),
        Case::new("Squeeze all", F64).input("x", &[2, 1, 3, 1], -1.0, 1.0).op("Squeeze", &["x"], "y", &[]),
        x("Expand").input("w", &[1, 4], -1.0, 1.0).ints("to", &[2, 3, 4]).op("Expand", &["w", "to"], "a", &[]).op(
            "Mul",
            &["a", "x"],
            "y",
            &[],
        ),
        x("Expand to a shape known when it runs")
            .symbolic()
            .input("w", &[3, 1], -1.0, 1.0)
            .op("Shape", &["x"], "to", &[])
            .op("Expand", &["w", "to"], "a", &[])
            .op("Mul", &["a", "x"], "y", &[]),
        x("Pad").number("zero", 0.5).ints("pads", &[0, 1, 2, 0, 0, 1]).op("Pad", &["x", "pads", "zero"], "y", &[]),
        x("Pad symbolic").symbolic().ints("pads", &[1, 1, 0, 0, 0, 1]).op("Pad", &["x", "pads"], "y", &[]),
        x("Split")
            .symbolic()
            .ints("parts", &[1, 2])
            .ops("Split", &["x", "parts"], &["a", "b"], &[("axis", Int(1))])
            .ops("Exp", &["b"], &["y"], &[]),
        x("Split in two").ops("Split", &["x"], &["a", "b"], &[("axis", Int(-1))]).op("Mul", &["a", "b"], "y", &[]),
        x("Split in two, opset 18")
            .opset(18)
            .ops("Split", &["x"], &["a", "b"], &[("axis", Int(-1)), ("num_outputs", Int(2))])
            .op("Mul", &["a", "b"], "y", &[]),
        x("Concat").input("x2", &[2, 1, 4], -1.0, 1.0).symbolic().op(
            "Concat",
            &["x", "x2", "x"],
            "y",
            &[("axis", Int(1))],
        ),
        x("Concat of batches").input("x2", &[2, 3, 4], -1.0, 1.0).symbolic().op(
            "Concat",
            &["x", "x2"],
            "y",
            &[("axis", Int(0))],
        ),
        x("Concat of one").op("Concat", &["x"], "a", &[("axis", Int(0))]).op("Mul", &["a", "x"], "y", &[]),
    ];
    let slices: [(&str, &[i64], &[i64], &[i64], &[i64]); 7] = [
        ("Slice", &[1], &[3], &[2], &[1]),
        ("Slice from behind", &[-3, -2], &[-1, 100], &[2, 1], &[1, 1]),
        ("Slice of everything", &[0], &[i64::MAX], &[0], &[1]),
        ("Slice in steps", &[0, 1], &[4, 3], &[2, 1], &[2, 1]),
        ("Slice backwards", &[-1], &[i64::MIN + 1], &[2], &[-1]),
        ("Slice backwards in steps", &[3], &[0], &[2], &[-2]),
        ("Slice of nothing beside something", &[1], &[2], &[1], &[1]),
    ];
    for (name, starts, ends, axes, steps) in slices {
        let case = x(name).ints("starts", starts).ints("ends", ends).ints("axes", axes).ints("steps", steps);
        let case = case.op("Slice", &["x", "starts", "ends", "axes", "steps"], "y", &[]);
        cases.push(if steps.iter().all(|&step| step == 1) { case.symbolic() } else { case });
    }
    let batch = x("Slice of the batch").symbolic().ints("starts", &[1]).ints("ends", &[2]).ints("axes", &[0]);
    cases.push(batch.op("Slice", &["x", "starts", "ends", "axes"], "y", &[]));
    for axis in [0, 1, -1] {
        let gather = |name: &str| x(&format!("{name} {axis}")).symbolic();
        let along = [("axis", Int(axis))];
        cases.push(gather("Gather").ints("at", &[1, 0, 1]).op("Gather", &["x", "at"], "y", &along));
        cases.push(gather("Gather one").int("at", 1).op("Gather", &["x", "at"], "y", &along));
        cases.push(gather("Gather last").int("at", -1).op("Gather", &["x", "at"], "y", &along));
        let wide = gather("Gather a matrix").index("index", &[2, 2], &[0, -1, 1, 1]);
        cases.push(wide.op("Gather", &["x", "index"], "y", &along));
        let elements = gather("GatherElements").index("index", &[2, 3, 4], &[0, 1, 1, 0, -1].repeat(5)[..24]);
        cases.push(elements.op("GatherElements", &["x", "index"], "y", &along));
    }
    let labels = Case::new("GatherElements of labels", F64).symbolic().input("x", &[4, 3], -1.0, 1.0);
    let labels = labels.index("labels", &[4, 1], &[2, 0, 2, 1]);
    cases.push(labels.op("GatherElements", &["x", "labels"], "y", &[("axis", Int(1))]));
    let rows = x("GatherND").index("index", &[3, 2], &[0, 1, 1, 2, 0, 1]).op("GatherND", &["x", "index"], "y", &[]);
    cases.push(rows);
    let embedding = Case::new("Gather of an embedding", F64).input("w", &[5, 3], -1.0, 1.0);
    cases.push(embedding.index("tokens", &[2, 4], &[0, 4, 4, 1, 2, 4, 0, 3]).op("Gather", &["w", "tokens"], "y", &[]));
    check(cases);
}
