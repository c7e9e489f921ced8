//! Operators that are written out in others before they are differentiated: gradients against central differences of the
//! operators themselves.

use pdloss::graph::build::{
    Element::{F32, F64},
    Value::{self, Float, Int, Ints, Text},
};

use super::rules::check;
use crate::graph::model::Case;

fn text(value: &str) -> Value {
    Text(value.to_owned())
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn einsums() {
    let mut cases = Vec::new();
    let equations: [(&str, &[&[usize]]); 15] = [
        ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        ("bhid,bhjd->bhij", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]),
        ("bhij,bhjd->bhid", &[&[2, 2, 3, 4], &[2, 2, 4, 3]]),
        ("nchw,nhwck->nhwk", &[&[2, 3, 2, 4], &[2, 2, 4, 3, 2]]),
        ("bchw,kc->bkhw", &[&[2, 3, 2, 2], &[4, 3]]),
        ("...ij,jk->...ik", &[&[2, 3, 2, 4], &[4, 2]]),
        ("i,j->ij", &[&[3], &[4]]),
        ("ij,ij->", &[&[2, 3], &[2, 3]]),
        ("ij->ji", &[&[2, 3]]),
        ("ijk->j", &[&[2, 3, 4]]),
        ("ij,kj", &[&[2, 3], &[4, 3]]),
        ("bij,bj->bi", &[&[2, 3, 4], &[2, 4]]),
        ("bij,k->bk", &[&[2, 3, 4], &[5]]),
        ("ab,bc,cd->ad", &[&[2, 3], &[3, 2], &[2, 4]]),
        ("abcd,cdef->abef", &[&[2, 2, 3, 2], &[3, 2, 2, 3]]),
    ];
    for (equation, shapes) in equations {
        for symbolic in [false, true] {
            let mut case = Case::new(&format!("Einsum {equation} {symbolic}"), F64);
            let names: Vec<String> =
                (0..shapes.len()).map(|index| format!("{}{index}", if index == 0 { "x" } else { "w" })).collect();
            for (name, shape) in names.iter().zip(shapes) {
                case = case.input(name, shape, -1.0, 1.0);
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let case = case.op("Einsum", &names, "y", &[("equation", text(equation))]);
            cases.push(if symbolic { case.symbolic() } else { case });
        }
    }
    check(cases);
}

#[test]
fn a_diagonal_is_refused_by_name() {
    let case = Case::new("diagonal", F32).input("x", &[3, 3], -1.0, 1.0);
    let reason = case.op("Einsum", &["x"], "y", &[("equation", text("ii->i"))]).differentiated().unwrap_err();
    assert!(reason.contains("Einsum 'y'") && reason.contains("takes a diagonal of operand 0"), "{reason}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn normalizations_of_groups_and_lengths() {
    let mut cases = Vec::new();
    for (shape, groups, opset) in
        [(&[2, 6, 3, 4][..], 3, 21), (&[2, 4, 5], 2, 21), (&[1, 6, 2, 2], 1, 21), (&[2, 3, 4], 3, 21)]
    {
        let channels = [shape[1]];
        let case = Case::new(&format!("GroupNormalization {shape:?} {groups}"), F32).opset(opset).symbolic();
        let case =
            case.input("x", shape, -1.0, 1.0).input("scale", &channels, 0.5, 2.0).input("bias", &channels, -1.0, 1.0);
        let settings = [("num_groups", Int(groups)), ("epsilon", Float(1e-2))];
        cases.push(case.op("GroupNormalization", &["x", "scale", "bias"], "y", &settings));
    }
    let old = Case::new("GroupNormalization 18", F32).opset(18).input("x", &[2, 4, 3], -1.0, 1.0);
    let old = old.input("scale", &[2], 0.5, 2.0).input("bias", &[2], -1.0, 1.0);
    cases.push(old.op("GroupNormalization", &["x", "scale", "bias"], "y", &[("num_groups", Int(2))]));
    for (axis, scale) in [(-1, &[4][..]), (1, &[3, 4])] {
        let case =
            Case::new(&format!("RMSNormalization {axis}"), F64).opset(23).symbolic().input("x", &[2, 3, 4], -1.0, 1.0);
        let case = case.input("scale", scale, 0.5, 2.0);
        cases.push(case.op("RMSNormalization", &["x", "scale"], "y", &[("axis", Int(axis))]));
    }
    let moments = Case::new("MeanVarianceNormalization", F32).input("x", &[2, 3, 2, 3], -1.0, 1.0);
    cases.push(moments.op("MeanVarianceNormalization", &["x"], "y", &[("axes", Ints(vec![0, 2, 3]))]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn attentions() {
    let mut cases = Vec::new();
    let four = |name: &str, heads: usize| {
        let case = Case::new(name, F32).opset(23).symbolic().input("x", &[2, 4, 3, 5], -1.0, 1.0);
        case.input("x_k", &[2, heads, 6, 5], -1.0, 1.0).input("x_v", &[2, heads, 6, 2], -1.0, 1.0)
    };
    let inputs = ["x", "x_k", "x_v"];
    cases.push(four("Attention", 4).op("Attention", &inputs, "y", &[]));
    cases.push(four("Attention, scaled, capped", 4).op(
        "Attention",
        &inputs,
        "y",
        &[("scale", Float(0.7)), ("softcap", Float(1.5))],
    ));
    cases.push(four("Attention, causal", 4).op("Attention", &inputs, "y", &[("is_causal", Int(1))]));
    cases.push(four("Attention, heads shared", 2).op("Attention", &inputs, "y", &[]));
    let masked = four("Attention, a mask of numbers", 4).input("mask", &[3, 6], -1.0, 1.0);
    cases.push(masked.op("Attention", &["x", "x_k", "x_v", "mask"], "y", &[]));
    let flat = Case::new("Attention of three axes", F32).opset(23).symbolic().input("x", &[2, 3, 8], -1.0, 1.0);
    let flat = flat.input("x_k", &[2, 5, 4], -1.0, 1.0).input("x_v", &[2, 5, 6], -1.0, 1.0);
    cases.push(flat.op("Attention", &inputs, "y", &[("q_num_heads", Int(4)), ("kv_num_heads", Int(2))]));
    for interleaved in [0, 1] {
        for turned in [0, 2] {
            let case = Case::new(&format!("RotaryEmbedding {interleaved} {turned}"), F32).opset(23).symbolic();
            let case = case.input("x", &[2, 3, 5, 4], -1.0, 1.0);
            let width = if turned == 0 { 2 } else { 1 };
            let case = case.input("cos", &[7, width], -1.0, 1.0).input("sin", &[7, width], -1.0, 1.0);
            let case = case.index("places", &[2, 5], &[0, 1, 2, 3, 4, 6, 5, 4, 3, 2]);
            let settings =
                [("interleaved", Int(interleaved)), ("rotary_embedding_dim", Int(turned)), ("num_heads", Int(3))];
            let settings = if turned == 0 { &settings[..2] } else { &settings };
            cases.push(case.op("RotaryEmbedding", &["x", "cos", "sin", "places"], "y", settings));
        }
    }
    let flat = Case::new("RotaryEmbedding of three axes", F32).opset(23).symbolic().input("x", &[2, 5, 12], -1.0, 1.0);
    let flat = flat.input("x_cos", &[2, 5, 2], -1.0, 1.0).input("x_sin", &[2, 5, 2], -1.0, 1.0);
    cases.push(flat.op("RotaryEmbedding", &["x", "x_cos", "x_sin"], "y", &[("num_heads", Int(3))]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn pools_by_a_norm_and_over_images() {
    let mut cases = Vec::new();
    let x = |name: &str| Case::new(name, F32).apart("x", &[2, 2, 5, 6], 0.2);
    for p in [1, 2, 3] {
        let settings = [
            ("kernel_shape", Ints(vec![2, 3])),
            ("strides", Ints(vec![2, 1])),
            ("pads", Ints(vec![1, 0, 0, 1])),
            ("p", Int(p)),
        ];
        cases.push(x(&format!("LpPool {p}")).symbolic().op("LpPool", &["x"], "y", &settings));
        cases.push(x(&format!("GlobalLpPool {p}")).symbolic().op("GlobalLpPool", &["x"], "y", &[("p", Int(p))]));
    }
    cases.push(x("GlobalMaxPool").symbolic().op("GlobalMaxPool", &["x"], "y", &[]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn images_read_on_a_grid() {
    let mut cases = Vec::new();
    // No place within four steps of an element or an edge, where the slopes change.
    let grid: Vec<f64> = [-1.31, -0.83, -0.52, -0.11, 0.29, 0.64, 0.87, 1.27, 0.17, -0.39, 0.71, -0.93].to_vec();
    for (mode, padding, corners) in [
        ("linear", "zeros", 0),
        ("linear", "zeros", 1),
        ("linear", "border", 0),
        ("linear", "border", 1),
        ("linear", "reflection", 0),
        ("linear", "reflection", 1),
        ("cubic", "zeros", 0),
        ("cubic", "zeros", 1),
        ("nearest", "zeros", 0),
        ("nearest", "border", 1),
        ("nearest", "reflection", 0),
    ] {
        let case = Case::new(&format!("GridSample {mode} {padding} {corners}"), F32).opset(20).symbolic();
        let case = case.input("x", &[1, 2, 4, 5], -1.0, 1.0).budget(2e-3, 5e-3);
        let settings = [("mode", text(mode)), ("padding_mode", text(padding)), ("align_corners", Int(corners))];
        let case = if mode == "nearest" {
            case.budget(0.5, 1e-4).constant("grid", &[1, 2, 3, 2], &grid)
        } else {
            case.given("x_grid", &[1, 2, 3, 2], &grid)
        };
        let places = if mode == "nearest" { "grid" } else { "x_grid" };
        cases.push(case.op("GridSample", &["x", places], "y", &settings));
    }
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn activations_and_rearrangements() {
    let apart = |name: &str| Case::new(name, F32).apart("x", &[3, 5], 0.45);
    let mut cases = vec![
        apart("Mish").opset(18).op("Mish", &["x"], "y", &[]),
        apart("Swish").opset(24).op("Swish", &["x"], "y", &[]),
        apart("Swish 1.7").opset(24).op("Swish", &["x"], "y", &[("alpha", Float(1.7))]),
        apart("Softsign").op("Softsign", &["x"], "y", &[]),
        apart("Selu").op("Selu", &["x"], "y", &[]),
        apart("Celu").op("Celu", &["x"], "y", &[("alpha", Float(0.6))]),
        apart("ThresholdedRelu").op("ThresholdedRelu", &["x"], "y", &[("alpha", Float(0.4))]),
        Case::new("Tile", F64).input("x", &[2, 3, 1], -1.0, 1.0).ints("times", &[1, 2, 3]).op(
            "Tile",
            &["x", "times"],
            "y",
            &[],
        ),
        Case::new("Tile of one", F64).input("x", &[1, 1], -1.0, 1.0).ints("times", &[2, 3]).op(
            "Tile",
            &["x", "times"],
            "y",
            &[],
        ),
    ];
    // A token for every image, as many as there are.
    let token = Case::new("Tile to the batch", F64).symbolic().input("x", &[3, 2, 4], -1.0, 1.0);
    let token =
        token.input("w", &[1, 1, 4], -1.0, 1.0).op("Shape", &["x"], "batch", &[("start", Int(0)), ("end", Int(1))]);
    let token = token.ints("ones", &[1, 1]).op("Concat", &["batch", "ones"], "times", &[("axis", Int(0))]);
    let token = token.op("Tile", &["w", "times"], "tokens", &[]);
    cases.push(token.op("Concat", &["tokens", "x"], "y", &[("axis", Int(1))]));
    for mode in ["DCR", "CRD"] {
        let case = Case::new(&format!("DepthToSpace {mode}"), F32).symbolic().input("x", &[2, 8, 2, 3], -1.0, 1.0);
        cases.push(case.op("DepthToSpace", &["x"], "y", &[("blocksize", Int(2)), ("mode", text(mode))]));
    }
    let case = Case::new("SpaceToDepth", F32).symbolic().input("x", &[2, 2, 4, 6], -1.0, 1.0);
    cases.push(case.op("SpaceToDepth", &["x"], "y", &[("blocksize", Int(2))]));
    check(cases);
}
