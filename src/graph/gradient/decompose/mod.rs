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

use super::{Operators, tape::Tape};
use crate::graph::{
    Error, Result,
    proto::{ModelProto, NodeProto},
    shapes::Shapes,
};

/// Writes what a node computes; the value that its first output is.
type Spelling = fn(&mut Tape<'_>, &NodeProto) -> Result<String>;

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
    let Some(graph) = &model.graph else { return Ok(()) };
    let mut tape = Tape::new(graph, shapes, opset, Operators::Standard);
    for &place in places {
        let node = &graph.node[place];
        if let Some(spelling) = spelling(node.op_type()) {
            write(&mut tape, node, spelling)?;
        }
    }
    let nodes = tape.finish(&graph.node, &[]);
    if let Some(graph) = model.graph.as_mut() {
        graph.node = nodes;
    }
    Ok(())
}

fn write(tape: &mut Tape<'_>, node: &NodeProto, spelling: Spelling) -> Result<()> {
    if let Some(output) = node.output.iter().skip(1).find(|output| !output.is_empty()) {
        return Err(node.error(format!("only its first output can be differentiated, and it has '{output}'")));
    }
    let Some(y) = node.made(0) else { return Err(node.error("it has no output")) };
    tape.respell(node, |tape| {
        let value = spelling(tape, node)?;
        tape.make(y, "Identity", &[&value], Vec::new())
    })
    .map_err(|error| match error {
        // Of a value that only the spelling has.
        Error::Model { subject, reason } if subject != node.label() => node.error(format!("{subject}: {reason}")),
        error => error,
    })
}
