//! Models that were exported for one image at a time.

use crate::graph::{
    Error, Result,
    build::{Dim, declared, integers},
    proto::{GraphProto, ModelProto, TensorShapeProtoDimensionValue as Length, TypeProtoValue, ValueInfoProto},
    shapes::{Shapes, dims},
};

/// The name of the length that was 1.
const BATCH: &str = "batch";

/// Lets the model take batches, where its data input is declared for a single image: the first length of inputs and outputs
/// gets a name, and every `Reshape` to a shape that starts with a constant 1 keeps the batch instead. Models whose batch is
/// free, or fixed at another number, stay as they are.
///
/// # Errors
/// When the batch does not come through to an output that had it.
pub fn free_batch(model: &mut ModelProto) -> Result<()> {
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let initializers: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    let mut freed = false;
    for input in graph.input.iter_mut().filter(|input| !initializers.iter().any(|name| name == input.name())) {
        freed |= free(input);
    }
    if !freed {
        return Ok(());
    }
    graph.value_info.clear();
    let outputs: Vec<ValueInfoProto> = graph.output.clone();
    for output in &mut graph.output {
        free(output);
    }
    let nodes = graph.node.len();
    for index in 0..nodes {
        keep_batch(model, index)?;
    }
    let shapes = Shapes::of(model)?;
    let had_one = |output: &&ValueInfoProto| {
        declared(output).and_then(|(_, shape)| shape).is_some_and(|shape| shape.first() == Some(&Dim::Known(1)))
    };
    for output in outputs.iter().filter(had_one) {
        let shape = shapes.shape(output.name()).unwrap_or_default();
        if !matches!(shape.first(), Some(Dim::Named(name)) if name == BATCH) {
            let reason = format!(
                "wanted [batch, ...] once the batch is free, got {}: the model holds it at 1",
                dims::show(shape)
            );
            return Err(Error::model(output.name(), reason));
        }
    }
    Ok(())
}

/// Names the first length, where it is 1 and others follow.
fn free(value: &mut ValueInfoProto) -> bool {
    let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else {
        return false;
    };
    match tensor.shape.as_mut().map(|shape| shape.dim.as_mut_slice()) {
        Some([first, _, ..]) if first.value == Some(Length::DimValue(1)) => {
            first.value = Some(Length::DimParam(BATCH.to_owned()));
            true
        }
        _ => false,
    }
}

/// Where the node is a `Reshape` of a batch to one image, it copies the batch's length instead.
fn keep_batch(model: &mut ModelProto, index: usize) -> Result<()> {
    let is_reshape = |graph: &GraphProto| graph.node[index].is_standard() && graph.node[index].op_type() == "Reshape";
    let Some(graph) = model.graph.as_ref().filter(|graph| is_reshape(graph)) else { return Ok(()) };
    let node = &graph.node[index];
    let (Some(x), Some(target)) = (node.given(0), node.given(1)) else { return Ok(()) };
    let shapes = Shapes::of(model)?;
    let is_batch = matches!(shapes.shape(x).and_then(<[Dim]>::first), Some(Dim::Named(name)) if name == BATCH);
    let (true, Some(mut lengths)) = (is_batch, shapes.integers(target)) else { return Ok(()) };
    if lengths.first() != Some(&1) {
        return Ok(());
    }
    lengths[0] = 0;
    let name = format!("{}.shape", node.made(0).unwrap_or("reshape"));
    if let Some(graph) = model.graph.as_mut() {
        graph.initializer.push(integers(&name, &[lengths.len()], &lengths));
        graph.node[index].attribute.retain(|attribute| attribute.name() != "allowzero");
        graph.node[index].input[1] = name;
    }
    Ok(())
}
