//! Models of older opsets, brought to the one that training graphs are written in.
//!
//! From opset 7 on most operators only grew; what changed is where settings stand (attributes became inputs) and, in a few
//! operators, what they mean. The former are moved, the latter refused by name.

use std::collections::BTreeMap;

use super::{
    Error, Result,
    build::{Element, Value, attribute, floats, integers, node},
    gradient::OPSET,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    shapes::{Shapes, axis_of},
};

/// The oldest opset that can be read: before it, broadcasting was an attribute.
const OLDEST: i64 = 7;
/// The version of the file format that came with opset 17.
const FORMAT: i64 = 8;

/// Brings the model to opset 17, where it is older. Initializers that are listed as inputs too are listed so no longer.
///
/// # Errors
/// When it is older than opset 7, or uses an operator whose meaning changed on the way.
pub fn upgrade(model: &mut ModelProto) -> Result<()> {
    let opset = model.opset();
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let weights: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    graph.input.retain(|input| !weights.iter().any(|name| name == input.name()));
    if opset >= OPSET {
        return Ok(());
    }
    if opset < OLDEST {
        return Err(Error::model("model", format!("wanted opset {OLDEST} or newer, got {opset}")));
    }
    let mut settings = Settings { constants: BTreeMap::new() };
    for node in graph.node.iter_mut().filter(|node| node.is_standard()) {
        refuse_changed(node, opset)?;
        if node.op_type() == "Scatter" {
            node.op_type = Some("ScatterElements".to_owned());
        }
        if matches!(node.op_type(), "Upsample" | "Resize") && opset < 11 {
            settings.resize(node, &shapes)?;
        }
        settings.move_to_inputs(node, &shapes, opset)?;
        if node.op_type() == "BatchNormalization" {
            node.attribute.retain(|attribute| attribute.name() != "spatial");
            // Older nodes may name statistics as outputs, which inference leaves empty.
            if opset < 14 {
                node.output.truncate(1);
            }
        }
    }
    settings.store(graph);
    if opset < 13 {
        let nodes = std::mem::take(&mut graph.node).into_iter();
        let nodes: Result<Vec<Vec<NodeProto>>> = nodes.map(|node| by_axis(node, &shapes)).collect();
        graph.node = nodes?.concat();
    }
    if let Some(set) = model.opset_import.iter_mut().find(|set| matches!(set.domain(), "" | "ai.onnx")) {
        set.version = Some(OPSET);
    }
    model.ir_version = model.ir_version.max(Some(FORMAT));
    Ok(())
}

/// Operators that mean something else since.
fn refuse_changed(node: &NodeProto, opset: i64) -> Result<()> {
    let since = match node.op_type() {
        "TopK" => 10,
        "Scan" if opset < 9 => 9,
        "RoiAlign" => 16,
        "BatchNormalization" if node.int("spatial", 1) == 0 => 9,
        _ => return Ok(()),
    };
    if opset >= since {
        return Ok(());
    }
    let reason =
        format!("it changed its meaning in opset {since}, and the model has {opset}; export it again with 17 or newer");
    Err(Error::model(node.label(), reason))
}

/// Up to opset 12 a softmax took the axes from the given one on together. Where that is more than one it is written so.
fn by_axis(mut softmax: NodeProto, shapes: &Shapes) -> Result<Vec<NodeProto>> {
    if !softmax.is_standard() || !matches!(softmax.op_type(), "Softmax" | "LogSoftmax" | "Hardmax") {
        return Ok(vec![softmax]);
    }
    let axis = softmax.int("axis", 1);
    let (Some(x), Some(y)) = (softmax.given(0).map(str::to_owned), softmax.made(0).map(str::to_owned)) else {
        return Err(Error::model(softmax.label(), "wanted an input and an output"));
    };
    softmax.attribute.retain(|attribute| attribute.name() != "axis");
    softmax.attribute.push(attribute("axis", Value::Int(-1)));
    let rank = shapes.shape(&x).map(<[_]>::len);
    if axis == -1 || rank.is_some_and(|rank| axis_of(axis, rank) == rank.checked_sub(1)) {
        return Ok(vec![softmax]);
    }
    let [flat, soft, shape] = ["flat", "soft", "shape"].map(|part| format!("{y}.{part}"));
    let flatten = node("Flatten", &[&x], &[&flat], vec![attribute("axis", Value::Int(axis))]);
    softmax.input = vec![flat];
    softmax.output = vec![soft.clone()];
    softmax.name = Some(soft.clone());
    let shaped = node("Shape", &[&x], &[&shape], Vec::new());
    Ok(vec![flatten, softmax, shaped, node("Reshape", &[&soft, &shape], &[&y], Vec::new())])
}

/// Attributes on their way to constants.
struct Settings {
    constants: BTreeMap<String, TensorProto>,
}

impl Settings {
    fn move_to_inputs(&mut self, node: &mut NodeProto, shapes: &Shapes, opset: i64) -> Result<()> {
        let (names, before): (&[&str], i64) = match node.op_type() {
            "Squeeze" | "Unsqueeze" | "ReduceSum" => (&["axes"], 13),
            "Split" => (&["split"], 13),
            "Dropout" => (&["ratio"], 12),
            "Clip" => (&["min", "max"], 11),
            "Pad" => (&["pads", "value"], 11),
            "Slice" => (&["starts", "ends", "axes"], 10),
            _ => return Ok(()),
        };
        if opset >= before {
            return Ok(());
        }
        let element = node.given(0).and_then(|name| shapes.element(name));
        for (index, &name) in names.iter().enumerate() {
            let Some(setting) = node.attr(name) else { continue };
            let constant = if setting.r#type() == 7 || !setting.ints.is_empty() {
                integers("", &[setting.ints.len()], &setting.ints)
            } else {
                let Some(element) = element.filter(|element| element.is_float()) else {
                    return Err(Error::model(node.label(), "wanted float32 or float64 to bring it to opset 17"));
                };
                floats("", element, &[], &[f64::from(setting.f())])
            };
            let constant_name = format!("{}.{name}", node.output.first().map_or("node", String::as_str));
            if node.input.len() <= index + 1 {
                node.input.resize(index + 2, String::new());
            }
            node.input[index + 1].clone_from(&constant_name);
            self.constants.insert(constant_name, constant);
        }
        node.attribute.retain(|attribute| !names.contains(&attribute.name()));
        Ok(())
    }

    /// Up to opset 10 elements stood at multiples of the scale, and `Upsample` was the operator of that name.
    fn resize(&mut self, node: &mut NodeProto, shapes: &Shapes) -> Result<()> {
        let scales = match node.attr("scales") {
            Some(setting) => {
                let scales: Vec<f64> = setting.floats.iter().copied().map(f64::from).collect();
                let name = format!("{}.scales", node.output.first().map_or("node", String::as_str));
                self.constants.insert(name.clone(), floats("", Element::F32, &[scales.len()], &scales));
                node.input.truncate(1);
                node.input.push(name);
                Some(scales)
            }
            None => node.given(1).and_then(|name| shapes.numbers(name)).map(<[f64]>::to_vec),
        };
        let is_nearest = node.text("mode", "nearest") == "nearest";
        // Fewer elements came of rounding up, more of rounding down.
        let fewer = scales.as_ref().map(|scales| scales.iter().any(|&scale| scale < 1.0));
        let more = scales.as_ref().map(|scales| scales.iter().any(|&scale| scale > 1.0));
        let rounding = match (fewer, more) {
            _ if !is_nearest => "floor",
            (Some(false), _) => "floor",
            (_, Some(false)) => "ceil",
            _ => {
                let reason = "its scales must be constants, none or all of them below 1, to bring it to opset 17";
                return Err(Error::model(node.label(), reason));
            }
        };
        node.op_type = Some("Resize".to_owned());
        node.input.insert(1, String::new());
        node.attribute.retain(|attribute| attribute.name() != "scales");
        node.attribute.push(attribute("coordinate_transformation_mode", Value::Text("asymmetric".to_owned())));
        node.attribute.push(attribute("nearest_mode", Value::Text(rounding.to_owned())));
        Ok(())
    }

    fn store(self, graph: &mut GraphProto) {
        for (name, mut tensor) in self.constants {
            tensor.name = Some(name);
            graph.initializer.push(tensor);
        }
    }
}
