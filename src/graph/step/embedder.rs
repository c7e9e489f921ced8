//! The trained embedder.

use super::tensors::describe;
use crate::graph::{
    Error, Result,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
};

/// The backbone with the weights and running statistics of a state: the same graph and names, ready for inference.
///
/// `state` answers with the tensor of that name, or `None` for initializers that stay as they are (constants, frozen
/// weights). BatchNormalization and Dropout nodes in training mode are put into inference mode.
///
/// # Errors
/// When a tensor of the state has another type or shape than the backbone's.
pub fn export_embedder(backbone: &ModelProto, state: impl Fn(&str) -> Option<TensorProto>) -> Result<ModelProto> {
    let mut model = backbone.clone();
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    for old in &mut graph.initializer {
        let Some(new) = state(old.name()) else { continue };
        if (new.data_type, &new.dims) != (old.data_type, &old.dims) {
            let reason = format!("wanted {} as in the backbone, got {}", describe(old), describe(&new));
            return Err(Error::model(format!("'{}'", old.name()), reason));
        }
        *old = TensorProto { name: old.name.clone(), ..new };
    }
    infer_only(graph);
    Ok(model)
}

fn infer_only(graph: &mut GraphProto) {
    let is_constant = |name: &str, graph: &GraphProto| graph.initializer.iter().any(|tensor| tensor.name() == name);
    for index in 0..graph.node.len() {
        match graph.node[index].op_type() {
            "BatchNormalization" => {
                graph.node[index].attribute.retain(|attribute| attribute.name() != "training_mode");
                graph.node[index].output.truncate(1);
            }
            // The third input says whether to drop.
            "Dropout" if graph.node[index].input.len() > 2 => {
                let flag = graph.node[index].input[2].clone();
                if is_constant(&flag, graph) || made_by_constant(&flag, &graph.node) {
                    graph.node[index].input.truncate(2);
                }
            }
            _ => {}
        }
    }
}

fn made_by_constant(name: &str, nodes: &[NodeProto]) -> bool {
    nodes.iter().any(|node| node.op_type() == "Constant" && node.output.iter().any(|output| output == name))
}
