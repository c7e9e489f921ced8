//! Models of older opsets, brought to the one that training graphs are written in.
//!
//! From opset 7 on most operators only grew; what changed is where settings stand (attributes became inputs) and, in a few
//! operators, what they mean. The former are moved, the latter refused by name.

use std::collections::BTreeMap;

use super::{
    Error, Result,
    build::{Value, attribute, floats, integers},
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
        settings.move_to_inputs(node, &shapes, opset)?;
        if opset < 13 && matches!(node.op_type(), "Softmax" | "LogSoftmax" | "Hardmax") {
            last_axis(node, &shapes)?;
        }
        if node.op_type() == "BatchNormalization" {
            node.attribute.retain(|attribute| attribute.name() != "spatial");
            // Older nodes may name statistics as outputs, which inference leaves empty.
            if opset < 14 {
                node.output.truncate(1);
            }
        }
    }
    settings.store(graph);
    if let Some(set) = model.opset_import.iter_mut().find(|set| matches!(set.domain(), "" | "ai.onnx")) {
        set.version = Some(OPSET);
    }
    model.ir_version = model.ir_version.max(Some(FORMAT));
    Ok(())
}

/// Operators that mean something else since.
fn refuse_changed(node: &NodeProto, opset: i64) -> Result<()> {
    let since = match node.op_type() {
        "Upsample" => 10,
        "Resize" | "TopK" if opset < 11 => 11,
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

/// Up to opset 12 the axes from the given one on were taken together; the same where it is the last.
fn last_axis(node: &mut NodeProto, shapes: &Shapes) -> Result<()> {
    let axis = node.int("axis", 1);
    let rank = node.given(0).and_then(|name| shapes.shape(name)).map(<[_]>::len);
    if rank.is_none_or(|rank| axis_of(axis, rank) != rank.checked_sub(1)) {
        let reason = format!("with axis {axis} it changed its meaning in opset 13; only the last axis can be kept");
        return Err(Error::model(node.label(), reason));
    }
    node.attribute.retain(|attribute| attribute.name() != "axis");
    node.attribute.push(attribute("axis", Value::Int(-1)));
    Ok(())
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

    fn store(self, graph: &mut GraphProto) {
        for (name, mut tensor) in self.constants {
            tensor.name = Some(name);
            graph.initializer.push(tensor);
        }
    }
}
