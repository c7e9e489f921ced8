//! Rules of operators that resample, pad, cut, read and write by indices, against central differences.

use pdloss::graph::build::{
    Element::{F32, F64},
    Value::{self, Float, Int, Ints, Text},
};

use super::rules::check;
use crate::graph::model::Case;

fn text(value: &str) -> Value {
    Text(value.to_owned())
}

/// Linear in every input: a long step loses nothing and divides the rounding.
fn linear(name: &str, shape: &[usize]) -> Case {
    Case::new(name, F32).input("x", shape, -1.0, 1.0).budget(0.5, 1e-5)
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn resizes() {
    let mut cases = Vec::new();
    let coordinates = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"];
    for mode in ["nearest", "linear", "cubic"] {
        for coordinate in coordinates {
            let settings = vec![("mode", text(mode)), ("coordinate_transformation_mode", text(coordinate))];
            let case = |name: &str| linear(&format!("Resize {mode} {coordinate} {name}"), &[2, 3, 4, 5]).opset(19);
            let by_scales = case("scales").symbolic().numbers("scales", &[1.0, 1.0, 2.0, 1.7]);
            cases.push(by_scales.op("Resize", &["x", "", "scales"], "y", &settings));
            let by_sizes = case("sizes").ints("sizes", &[2, 3, 7, 3]);
            cases.push(by_sizes.op("Resize", &["x", "", "", "sizes"], "y", &settings));
        }
    }
    for nearest in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
        let case = linear(&format!("Resize nearest {nearest}"), &[1, 2, 4, 6]).numbers("scales", &[1.0, 1.0, 2.5, 0.5]);
        let settings = [("nearest_mode", text(nearest)), ("coordinate_transformation_mode", text("asymmetric"))];
        cases.push(case.op("Resize", &["x", "", "scales"], "y", &settings));
    }
    for mode in ["linear", "cubic"] {
        let case = linear(&format!("Resize {mode} antialias"), &[1, 2, 7, 8]).opset(18).ints("sizes", &[1, 2, 3, 5]);
        cases.push(case.op("Resize", &["x", "", "", "sizes"], "y", &[("mode", text(mode)), ("antialias", Int(1))]));
    }
    let cubic = linear("Resize cubic -0.5, outside excluded", &[1, 1, 4, 5]).numbers("scales", &[1.0, 1.0, 2.0, 2.0]);
    let settings = [("mode", text("cubic")), ("cubic_coeff_a", Float(-0.5)), ("exclude_outside", Int(1))];
    cases.push(cubic.op("Resize", &["x", "", "scales"], "y", &settings));
    let crop = linear("Resize of a region", &[1, 2, 4, 5]).ints("sizes", &[1, 2, 3, 4]);
    let crop = crop.numbers("region", &[0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 1.2]);
    let settings = [
        ("mode", text("linear")),
        ("coordinate_transformation_mode", text("tf_crop_and_resize")),
        ("extrapolation_value", Float(3.0)),
    ];
    cases.push(crop.op("Resize", &["x", "region", "", "sizes"], "y", &settings));
    let axes = linear("Resize of two axes", &[2, 1, 3, 4]).opset(18).ints("sizes", &[5, 6]);
    let settings = [("mode", text("linear")), ("axes", Ints(vec![2, 3]))];
    cases.push(axes.symbolic().op("Resize", &["x", "", "", "sizes"], "y", &settings));
    let line = linear("Resize of a line", &[2, 3, 5]).numbers("scales", &[1.0, 1.0, 2.0]);
    cases.push(line.op("Resize", &["x", "", "scales"], "y", &[("mode", text("linear"))]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn pads_by_the_own_elements() {
    let mut cases = Vec::new();
    for (mode, opset) in [("reflect", 17), ("edge", 17), ("wrap", 19)] {
        for pads in [[0, 0, 2, 1, 0, 0, 1, 3], [0, 1, 0, 2, 0, 1, 3, 0], [0, 0, 0, 0, 0, 0, 0, 0]] {
            for symbolic in [false, true] {
                let case = Case::new(&format!("Pad {mode} {pads:?} {symbolic}"), F64).opset(opset);
                let case = case.input("x", &[2, 3, 4, 5], -1.0, 1.0).ints("pads", &pads);
                let case = case.op("Pad", &["x", "pads"], "y", &[("mode", text(mode))]);
                cases.push(if symbolic { case.symbolic() } else { case });
            }
        }
    }
    let axes = Case::new("Pad edge of one axis", F64).opset(18).input("x", &[2, 3], -1.0, 1.0);
    let axes = axes.ints("pads", &[2, 1]).ints("axes", &[-1]);
    cases.push(axes.op("Pad", &["x", "pads", "", "axes"], "y", &[("mode", text("edge"))]));
    let less = Case::new("Pad that takes away", F64).input("x", &[3, 5], -1.0, 1.0).ints("pads", &[0, -2, 1, 1]);
    cases.push(less.op("Pad", &["x", "pads"], "y", &[]));
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn slices_in_steps_of_a_free_batch() {
    let mut cases = Vec::new();
    let slices: [(&str, &[i64], &[i64], &[i64], &[i64]); 6] = [
        ("in steps", &[0, 1], &[5, 4], &[2, 1], &[2, 2]),
        ("of the last", &[1], &[i64::MAX], &[-1], &[3]),
        ("backwards", &[-1], &[i64::MIN + 1], &[2], &[-1]),
        ("backwards in steps", &[4], &[0], &[2], &[-2]),
        ("beside a plain one", &[0, 1], &[i64::MAX, 3], &[2, 1], &[2, 1]),
        ("beside the batch", &[1, 0], &[2, 5], &[0, 2], &[1, 3]),
    ];
    for (name, starts, ends, axes, steps) in slices {
        let case = Case::new(&format!("Slice {name}"), F64).symbolic().input("x", &[2, 4, 5], -1.0, 1.0);
        let case = case.ints("starts", starts).ints("ends", ends).ints("axes", axes).ints("steps", steps);
        cases.push(case.op("Slice", &["x", "starts", "ends", "axes", "steps"], "y", &[]));
    }
    // Bounds that follow from a shape.
    let half = Case::new("Slice to half a length", F64).symbolic().input("x", &[2, 4, 6], -1.0, 1.0);
    let half = half.op("Shape", &["x"], "shape", &[]).ints("at", &[2]).ints("two", &[2]).ints("zero", &[0]);
    let half = half.op("Gather", &["shape", "at"], "length", &[]).op("Div", &["length", "two"], "end", &[]);
    cases.push(half.op("Slice", &["x", "zero", "end", "at", "two"], "y", &[]));
    // As long as the batch, whose length is known only when it runs.
    let rows = Case::new("Slice as long as the batch", F64).symbolic().input("x", &[2, 4, 6], -1.0, 1.0);
    let rows = rows.input("w", &[5, 1], -1.0, 1.0).op("Shape", &["x"], "end", &[("start", Int(0)), ("end", Int(1))]);
    let rows = rows.ints("start", &[1]).ints("axis", &[0]);
    let rows = rows.op("Slice", &["w", "start", "end", "axis"], "a", &[]).ints("others", &[1, 2]);
    let rows = rows.op("ReduceSum", &["x", "others"], "sums", &[]).op("Mul", &["a", "sums"], "y", &[]);
    cases.push(rows);
    check(cases);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn pads_whose_amounts_an_exporter_turned_around() {
    // [left, right, top, bottom] as PyTorch has them, from the last axis; turned around and split as it writes that out.
    let case = Case::new("Pad", F64).symbolic().input("x", &[2, 3, 4], -1.0, 1.0).ints("amounts", &[1, 2, 0, 1, 0, 0]);
    let case = case.ints("pairs", &[-1, 2]).ints("flat", &[-1]).ints("last", &[-1]).ints("first", &[i64::MIN + 1]);
    let case = case.ints("rows", &[0]).op("Reshape", &["amounts", "pairs"], "table", &[]);
    let case = case.op("Slice", &["table", "last", "first", "rows", "last"], "turned", &[]);
    let case = case.op("Transpose", &["turned"], "columns", &[("perm", Ints(vec![1, 0]))]);
    let case = case.op("Reshape", &["columns", "flat"], "pads", &[]);
    check(vec![case.op("Pad", &["x", "pads"], "y", &[("mode", text("edge"))])]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn indices_of_stacks_and_scatters() {
    let mut cases = Vec::new();
    let x = |name: &str| Case::new(name, F64).input("x", &[2, 3, 4], -1.0, 1.0);
    for (stacks, lengths, indices) in [
        (1, &[2, 2, 1][..], &[0, 2, 1, 1][..]),
        (1, &[2, 2], &[0, 1, 2, 3]),
        (2, &[2, 3, 2, 1], &[0, 3, 3, 1].repeat(3)),
    ] {
        for symbolic in [false, true] {
            let case = x(&format!("GatherND of {stacks} stacks {lengths:?} {symbolic}")).index("at", lengths, indices);
            let case = case.op("GatherND", &["x", "at"], "y", &[("batch_dims", Int(stacks))]);
            cases.push(if symbolic { case.symbolic() } else { case });
        }
    }
    for reduction in ["none", "add"] {
        let settings = [("reduction", text(reduction))];
        let case =
            x(&format!("ScatterND {reduction}")).input("u", &[2, 4], -1.0, 1.0).index("at", &[2, 2], &[0, 1, 1, 2]);
        cases.push(case.opset(18).op("ScatterND", &["x", "at", "u"], "y", &settings));
        let case = x(&format!("ScatterElements {reduction}")).input("u", &[2, 1, 4], -1.0, 1.0);
        let case = case.index("at", &[2, 1, 4], &[0, 1, 2, 1, 2, 2, 0, -1]).opset(18);
        let settings = [("reduction", text(reduction)), ("axis", Int(1))];
        cases.push(case.op("ScatterElements", &["x", "at", "u"], "y", &settings));
    }
    for (upper, k) in [(0, 0), (1, 0), (1, 1), (0, -1)] {
        let case = x(&format!("Trilu {upper} {k}")).symbolic().int("k", k);
        cases.push(case.op("Trilu", &["x", "k"], "y", &[("upper", Int(upper))]));
    }
    cases.push(x("Trilu by default").op("Trilu", &["x"], "y", &[]));
    let top = Case::new("TopK", F64).apart("x", &[3, 5], 0.2).ints("k", &[2]);
    cases.push(top.ops("TopK", &["x", "k"], &["y", "places"], &[("axis", Int(1))]));
    let sums = x("CumSum").int("along", 1).op("CumSum", &["x", "along"], "y", &[]);
    cases.push(sums);
    let sums = x("CumSum of the others, from behind").int("along", -1);
    cases.push(sums.op("CumSum", &["x", "along"], "y", &[("exclusive", Int(1)), ("reverse", Int(1))]));
    let rest = Case::new("Mod", F64).given("x", &[4], &[0.3, 1.4, -0.6, 2.7]).number("one", 1.0);
    cases.push(rest.op("Mod", &["x", "one"], "y", &[("fmod", Int(1))]));
    // Indices by Mod, as a shifted window has them.
    let rolled = x("Gather by Mod").index("at", &[3], &[2, 3, 4]).int("three", 3);
    let rolled = rolled.op("Mod", &["at", "three"], "place", &[]);
    cases.push(rolled.op("Gather", &["x", "place"], "y", &[("axis", Int(1))]));
    check(cases);
}
