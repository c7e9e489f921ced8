//! Operators written out in simpler ones, which have rules of their own.
//!
//! [`write_out`] does it before the differentiation, for those nodes alone that get a gradient. The forward values stay the
//! same up to rounding. One file has the operators of a family, each under its formula.

mod activation;
mod attention;
mod einsum;
mod normalization;
mod pool;
mod sampling;
mod writer;

use super::super::{
    Error, Result,
    proto::{ModelProto, NodeProto},
    shapes::Shapes,
};
use writer::Writer;

/// Writes what a node computes; the value that its first output is.
type Spelling = fn(&mut Writer, &NodeProto) -> Result<String>;

fn spelling(operator: &str) -> Option<Spelling> {
    let families = [
        activation::spelling,
        attention::spelling,
        einsum::spelling,
        normalization::spelling,
        pool::spelling,
        sampling::spelling,
    ];
    families.into_iter().find_map(|family| family(operator))
}

/// Whether the operator is written out in others.
pub(super) fn handles(node: &NodeProto) -> bool {
    node.is_standard() && spelling(node.op_type()).is_some()
}

/// Writes out the nodes at these places of the main graph.
///
/// # Errors
/// When a node has an output, input or setting that cannot be written out, or a length is not known that is needed.
pub(super) fn write_out(model: &mut ModelProto, places: &[usize]) -> Result<()> {
    let shapes = Shapes::of(model)?;
    let opset = model.opset();
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let taken = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output)).cloned().collect();
    let mut writer = Writer::new(shapes, opset, taken);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (place, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        match spelling(node.op_type()).filter(|_| places.contains(&place)) {
            Some(spelling) => nodes.extend(written(&mut writer, &node, spelling)?),
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    Ok(())
}

fn written(writer: &mut Writer, node: &NodeProto, spelling: Spelling) -> Result<Vec<NodeProto>> {
    if let Some(output) = node.output.iter().skip(1).find(|output| !output.is_empty()) {
        let reason = format!("only its first output can be differentiated, and it has '{output}'");
        return Err(Error::model(node.label(), reason));
    }
    let Some(y) = node.made(0) else { return Err(Error::model(node.label(), "it has no output")) };
    writer.begin(node);
    let value = spelling(writer, node)?;
    Ok(writer.finish(&value, y))
}
