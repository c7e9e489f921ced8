//! How to export a model again.

use super::lengths;
use crate::graph::proto::ModelProto;

/// How to export the model with a free batch, in a sentence: the call of `torch.onnx.export` for the exporter that wrote it.
#[must_use]
pub fn cure(model: &ModelProto) -> String {
    let first = model.graph.iter().flat_map(|graph| &graph.input).find_map(lengths).unwrap_or_default();
    let shown = |length: &usize| if *length == 0 { "...".to_owned() } else { length.to_string() };
    let lengths: Vec<String> = first.iter().skip(1).map(shown).collect();
    let example = format!("torch.randn(2, {})", lengths.join(", "));
    let graph = model.graph.as_ref();
    let input = graph.and_then(|graph| graph.input.first()).map_or("input", |input| input.name());
    let is_pytorch = model.producer_name().eq_ignore_ascii_case("pytorch");
    let is_dynamo = graph.is_some_and(|graph| {
        graph.metadata_props.iter().any(|entry| entry.key().starts_with("pkg.torch"))
            || graph.node.iter().flat_map(|node| &node.metadata_props).any(|entry| entry.key().starts_with("pkg.torch"))
    });
    let of_dynamo = format!(
        "torch.onnx.export(model, ({example},), \"model.onnx\", dynamic_shapes=({{0: torch.export.Dim(\"batch\")}},))"
    );
    let of_script = format!(
        "torch.onnx.export(model, ({example},), \"model.onnx\", dynamo=False, input_names=[\"{input}\"], \
         dynamic_axes={{\"{input}\": {{0: \"batch\"}}}})"
    );
    match (is_pytorch, is_dynamo) {
        (true, false) => format!("export it with a free one: {of_script}"),
        (true, true) => format!("export it with a free one: {of_dynamo}"),
        (false, _) => format!("export it with a free one, in PyTorch by {of_dynamo}"),
    }
}
