//! Nodes that tract takes and computes otherwise than ONNX says, found by comparing it with onnxruntime operator by operator. Whatever it
//! refuses by itself is not here.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::bounds::of_tensor;
use super::own_scaling::constants;

/// The first such node of a model, in words.
pub(super) fn find(model: &ModelProto) -> Option<String> {
    let opset = model.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let opset = opset.map_or(0, |set| set.version);
    let of_functions = || {
        let nodes = model.functions.iter().flat_map(|function| &function.node);
        nodes.filter_map(|node| of_node(node, &HashMap::new(), opset)).next()
    };
    model.graph.as_ref().and_then(|graph| of_graph(graph, opset)).or_else(of_functions)
}

fn of_graph(graph: &GraphProto, opset: i64) -> Option<String> {
    let known = constants(graph);
    graph.node.iter().find_map(|node| {
        let inner = node.attribute.iter().filter(|attribute| attribute.r#type == AttributeType::Graph as i32);
        let inner = || inner.filter_map(|attribute| attribute.g.as_ref()).find_map(|graph| of_graph(graph, opset));
        of_node(node, &known, opset).or_else(inner)
    })
}

/// Where tract's arithmetic of places wraps around.
const FAR: f64 = 2_147_483_648.0;

fn of_node(node: &NodeProto, known: &HashMap<&str, &TensorProto>, opset: i64) -> Option<String> {
    if !(node.domain.is_empty() || node.domain == "ai.onnx") {
        return None;
    }
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let word = |name: &str| attribute(name).map(|a| String::from_utf8_lossy(&a.s).into_owned()).unwrap_or_default();
    let values = |at: usize| of_tensor(known.get(node.input.get(at)?.as_str())?).values;
    let has_no_sign = |at: usize| values(at).is_some_and(|values| values.iter().all(|value| *value >= 0.0));
    let is_given = |at: usize| node.input.get(at).is_some_and(|name| !name.is_empty());
    let fault = match node.op_type.as_str() {
        "GRU" | "LSTM" | "RNN" => {
            let usual: &[&[u8]] = match node.op_type.as_str() {
                "GRU" => &[b"Sigmoid", b"Tanh"],
                "LSTM" => &[b"Sigmoid", b"Tanh", b"Tanh"],
                _ => &[b"Tanh"],
            };
            let given = attribute("activations").map(|a| a.strings.as_slice()).unwrap_or_default();
            if word("direction") == "reverse" {
                "direction reverse"
            } else if given.iter().zip(usual.iter().cycle()).any(|(given, usual)| given != usual) {
                "activations"
            } else if attribute("clip").is_some() {
                "clip"
            } else if attribute("input_forget").is_some_and(|a| a.i != 0) {
                "input_forget"
            } else {
                return None;
            }
        }
        "Celu" | "Swish" if attribute("alpha").is_some_and(|a| a.f != 1.0) => "alpha",
        // Of how many axes is not known here; two are taken for one.
        "Einsum" if word("equation").contains("...") => "...",
        "GridSample" if word("mode").contains("cubic") && word("padding_mode") == "border" => {
            "cubic with padding border"
        }
        // Of C; ONNX's has the sign of the divisor.
        "Mod" if attribute("fmod").is_none_or(|a| a.i == 0) && !(has_no_sign(0) && has_no_sign(1)) => {
            "of whole numbers, by their sign"
        }
        "GlobalLpPool" => "p",
        // Its padding is taken from the wrong side, and its shape wraps around.
        "ConvTranspose" if attribute("output_shape").is_some() => "output_shape",
        "Slice" => {
            let given = attribute("starts").map(|a| a.ints.iter().map(|&start| start as f64).collect());
            // The greatest number of all is taken for what it is; in f64 the least and the one above it are one.
            let is_far = |start: &f64| *start <= -FAR || (FAR..9.2e18).contains(start);
            if !given.or_else(|| values(1)).is_some_and(|starts| starts.iter().any(is_far)) {
                return None;
            }
            "starts far beyond the ends"
        }
        "Resize" => {
            // Opset 10 has the scales in the second place, later ones in the third.
            let scales = if opset > 10 { 2 } else { 1 };
            let is_whole = |values: Vec<f64>| values.iter().all(|scale| scale.fract() == 0.0);
            let is_broken = is_given(scales) && !values(scales).is_some_and(is_whole);
            // Where it is to become one pixel, tract takes the middle, and this mode the first.
            let keeps_more = || {
                let sizes = values(3).map(|sizes| sizes.iter().rev().take(2).all(|size| *size > 1.0));
                let grows = values(scales).filter(|scales| !scales.is_empty());
                sizes.or_else(|| grows.map(|scales| scales.iter().all(|scale| *scale >= 1.0))).unwrap_or(false)
            };
            match word("coordinate_transformation_mode").as_str() {
                "tf_crop_and_resize" => "tf_crop_and_resize",
                "pytorch_half_pixel" if word("mode") == "cubic" && !keeps_more() => {
                    "cubic pytorch_half_pixel to what may be one pixel"
                }
                "align_corners" if is_broken => "align_corners by scales that are not whole",
                "half_pixel_symmetric" if is_broken => "half_pixel_symmetric by scales that are not whole",
                _ if opset == 10 && is_broken && word("mode") != "linear" => "nearest by scales that are not whole",
                _ => return None,
            }
        }
        "QLinearMatMul" => {
            let is_zero = |at: usize| values(at).map(|values| values.iter().all(|value| *value == 0.0));
            if (is_zero(2), is_zero(5)) != (Some(false), Some(true)) {
                return None;
            }
            "a zero point of its first factor alone"
        }
        _ => return None,
    };
    let name = node.output.first().map_or("", String::as_str);
    Some(format!("{} ({name}: {fault})", node.op_type))
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::{AttributeProto, OperatorSetIdProto};

    use super::*;

    fn text(name: &str, values: &[&str]) -> AttributeProto {
        let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let s = values[0].as_bytes().to_vec();
        AttributeProto {
            name: name.into(),
            s,
            strings,
            r#type: AttributeType::String as i32,
            ..AttributeProto::default()
        }
    }

    fn number(name: &str, value: f32) -> AttributeProto {
        AttributeProto { name: name.into(), f: value, i: i64::from(value != 0.0), ..AttributeProto::default() }
    }

    fn found(opset: i64, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let tensor = |name: &str, values: &[f32]| TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: DataType::Float as i32,
            float_data: values.to_vec(),
            ..TensorProto::default()
        };
        let input = inputs.iter().map(|&name| name.to_owned()).collect();
        let (op_type, output) = (op_type.to_owned(), vec!["y".to_owned()]);
        let node = NodeProto { op_type, input, output, attribute, ..NodeProto::default() };
        let initializer = vec![
            tensor("twice", &[1.0, 1.0, 2.0, 2.0]),
            tensor("more", &[1.0, 1.0, 1.7, 1.6]),
            tensor("less", &[1.0, 1.0, 0.5, 0.5]),
            tensor("one", &[1.0, 1.0, 7.0, 1.0]),
            tensor("seven", &[1.0, 1.0, 7.0, 7.0]),
            tensor("0", &[0.0]),
            tensor("far", &[0.0, -9.223_372e18]),
            tensor("3", &[3.0]),
        ];
        let graph = GraphProto { node: vec![node], initializer, ..GraphProto::default() };
        let set = OperatorSetIdProto { domain: String::new(), version: opset };
        find(&ModelProto { opset_import: vec![set], graph: Some(graph), ..ModelProto::default() }).unwrap_or_default()
    }

    #[test]
    fn what_tract_computes_otherwise_is_known_by_its_attributes() {
        let mode = |mode: &str| vec![text("coordinate_transformation_mode", &[mode])];
        let cubic = |of: &str| [mode(of), vec![text("mode", &["cubic"])]].concat();
        for (opset, op_type, inputs, attributes, wanted) in [
            (17, "GRU", &["x", "w", "r"][..], vec![text("direction", &["reverse"])], "GRU (y: direction reverse)"),
            (17, "LSTM", &["x", "w", "r"], vec![number("clip", 0.3)], "LSTM (y: clip)"),
            (17, "LSTM", &["x", "w", "r"], vec![number("input_forget", 1.0)], "LSTM (y: input_forget)"),
            (17, "RNN", &["x", "w", "r"], vec![text("activations", &["Relu"])], "RNN (y: activations)"),
            (17, "RNN", &["x", "w", "r"], vec![text("activations", &["Tanh", "Tanh"])], ""),
            (17, "GRU", &["x", "w", "r"], vec![text("direction", &["bidirectional"])], ""),
            (17, "Celu", &["x"], vec![number("alpha", 0.6)], "Celu (y: alpha)"),
            (17, "Celu", &["x"], vec![], ""),
            (24, "Swish", &["x"], vec![number("alpha", 1.7)], "Swish (y: alpha)"),
            (24, "Swish", &["x"], vec![number("alpha", 1.0)], ""),
            (17, "Einsum", &["x", "w"], vec![text("equation", &["...hw,wk->...hk"])], "Einsum (y: ...)"),
            (17, "Einsum", &["x", "w"], vec![text("equation", &["bhw,wk->bhk"])], ""),
            (
                20,
                "GridSample",
                &["x", "g"],
                vec![text("mode", &["cubic"]), text("padding_mode", &["border"])],
                "GridSample (y: cubic with padding",
            ),
            (20, "GridSample", &["x", "g"], vec![text("mode", &["cubic"])], ""),
            (17, "Mod", &["x", "3"], vec![], "Mod (y: of whole numbers"),
            (17, "Mod", &["3", "x"], vec![], "Mod (y: of whole numbers"),
            (17, "Mod", &["3", "3"], vec![], ""),
            (17, "Mod", &["x", "3"], vec![number("fmod", 1.0)], ""),
            (17, "Resize", &["x", "", "more"], mode("half_pixel_symmetric"), "Resize (y: half_pixel_symmetric by"),
            (17, "Resize", &["x", "", "twice"], mode("half_pixel_symmetric"), ""),
            (17, "GlobalLpPool", &["x"], vec![], "GlobalLpPool (y: p)"),
            (17, "Resize", &["x", "", "more"], mode("align_corners"), "Resize (y: align_corners by"),
            (17, "Resize", &["x", "", "unknown"], mode("align_corners"), "Resize (y: align_corners by"),
            (17, "Resize", &["x", "", "twice"], mode("align_corners"), ""),
            (17, "Resize", &["x", "", "", "sizes"], mode("align_corners"), ""),
            (17, "Resize", &["x", "", "more"], mode("half_pixel"), ""),
            (17, "Resize", &["x", "roi", "twice"], mode("tf_crop_and_resize"), "Resize (y: tf_crop_and_resize)"),
            (
                17,
                "Resize",
                &["x", "", "less"],
                cubic("pytorch_half_pixel"),
                "Resize (y: cubic pytorch_half_pixel to what may be one",
            ),
            (17, "Resize", &["x", "", "unknown"], cubic("pytorch_half_pixel"), "Resize (y: cubic pytorch_half_pixel"),
            (17, "Resize", &["x", "", "", "one"], cubic("pytorch_half_pixel"), "Resize (y: cubic pytorch_half_pixel"),
            (
                17,
                "Resize",
                &["x", "", "", "unknown"],
                cubic("pytorch_half_pixel"),
                "Resize (y: cubic pytorch_half_pixel",
            ),
            (17, "Resize", &["x", "", "", "seven"], cubic("pytorch_half_pixel"), ""),
            (17, "Resize", &["x", "", "more"], cubic("pytorch_half_pixel"), ""),
            (17, "Resize", &["x", "", "less"], cubic("half_pixel"), ""),
            (17, "Resize", &["x", "", "less"], mode("pytorch_half_pixel"), ""),
            (10, "Resize", &["x", "more"], vec![text("mode", &["nearest"])], "Resize (y: nearest by"),
            (10, "Resize", &["x", "more"], vec![text("mode", &["linear"])], ""),
            (10, "Resize", &["x", "twice"], vec![], ""),
            (17, "QLinearMatMul", &["a", "s", "3", "b", "s", "0", "s", "0"], vec![], "QLinearMatMul (y: a zero point"),
            (17, "QLinearMatMul", &["a", "s", "3", "b", "s", "3", "s", "0"], vec![], ""),
            (17, "ConvTranspose", &["x", "w"], vec![number("output_shape", 15.0)], "ConvTranspose (y: output_shape)"),
            (17, "ConvTranspose", &["x", "w"], vec![number("group", 1.0)], ""),
            (17, "Slice", &["x", "far", "3"], vec![], "Slice (y: starts far"),
            (17, "Slice", &["x", "0", "3"], vec![], ""),
            (17, "Slice", &["x", "unknown", "3"], vec![], ""),
            (17, "Relu", &["x"], vec![], ""),
        ] {
            let said = found(opset, op_type, inputs, attributes);
            assert!(said.starts_with(wanted) && said.is_empty() == wanted.is_empty(), "{op_type} {inputs:?}: '{said}'");
        }
    }
}
