//! Dropout whose mask is a pure function of a number (the step), the node and the place: a run that is resumed draws what
//! the uninterrupted one would have drawn, on any machine.

use super::noise::{Body, P, Seed};
use crate::graph::{
    Error, Result,
    build::{Value, attribute, floats, node},
    literal,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    shapes::Shapes,
};

fn is_dropout(node: &NodeProto) -> bool {
    node.is_standard() && node.op_type() == "Dropout"
}

/// Every `Dropout` becomes what it is in inference.
pub(super) fn turn_off(model: &mut ModelProto) {
    for node in model.graph.iter_mut().flat_map(|graph| &mut graph.node).filter(|node| is_dropout(node)) {
        node.op_type = Some("Identity".to_owned());
        node.input.truncate(1);
        node.output.truncate(1);
        node.attribute.clear();
    }
}

/// Every `Dropout` becomes a product with its mask: `y = x keep / (1 - ratio)`.
pub(super) fn write_out(model: &mut ModelProto, seed: Seed<'_>) -> Result<()> {
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let mut nodes = Vec::new();
    let mut count = 0;
    for node in &graph.node {
        if !is_dropout(node) {
            nodes.push(node.clone());
            continue;
        }
        count += 1;
        nodes.extend(masked(node, seed, count, ratio(graph, node)?, &shapes)?);
    }
    graph.node = nodes;
    Ok(())
}

fn ratio(graph: &GraphProto, node: &NodeProto) -> Result<f64> {
    let Some(name) = node.given(1) else { return Ok(0.5) };
    let made = |node: &NodeProto| literal::of_node(node).filter(|tensor| tensor.name() == name);
    let given = graph.initializer.iter().find(|tensor| tensor.name() == name).cloned();
    let tensor: Option<TensorProto> = given.or_else(|| graph.node.iter().find_map(made));
    match tensor.as_ref().and_then(literal::numbers).as_deref() {
        Some([ratio]) if (0.0..1.0).contains(ratio) => Ok(*ratio),
        Some([ratio]) => Err(Error::model(node.label(), format!("its ratio is {ratio}, wanted 0 <= ratio < 1"))),
        _ => Err(Error::model(node.label(), format!("its ratio '{name}' must be a constant float32 or float64"))),
    }
}

/// The nodes of one dropout.
fn masked(drop: &NodeProto, seed: Seed<'_>, number: i64, ratio: f64, shapes: &Shapes) -> Result<Vec<NodeProto>> {
    let (Some(x), Some(y)) = (drop.given(0), drop.made(0)) else {
        return Err(Error::model(drop.label(), "wanted an input and an output"));
    };
    let Some(element) = shapes.element(x).filter(|element| element.is_float()) else {
        return Err(Error::model(drop.label(), "wanted float32 or float64"));
    };
    let mut body = Body { prefix: format!("{y}.dropout"), nodes: Vec::new() };
    let size = body.op("Size", &[x], "size");
    let before = body.before(seed, shapes.shape(x), &size, &drop.label())?;
    let mixed = body.places(seed, number, &size, before.as_deref());
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share of P fits in 31 bits")]
    let limit = body.number("limit", (ratio * P as f64) as i64);
    let keep = body.op("GreaterOrEqual", &[&mixed, &limit], "keep_flat");
    let shape = body.op("Shape", &[x], "shape");
    let keep_name = drop.made(1).map_or_else(|| format!("{y}.dropout.keep"), str::to_owned);
    body.nodes.push(node("Reshape", &[&keep, &shape], &[&keep_name], Vec::new()));
    let to = vec![attribute("to", Value::Int(i64::from(element.code())))];
    let kept = format!("{y}.dropout.kept");
    body.nodes.push(node("Cast", &[&keep_name], &[&kept], to));
    let scale = body.constant("scale", floats("", element, &[], &[1.0 / (1.0 - ratio)]));
    let mask = body.op("Mul", &[&kept, &scale], "mask");
    body.nodes.push(node("Mul", &[x, &mask], &[y], Vec::new()));
    Ok(body.nodes)
}
