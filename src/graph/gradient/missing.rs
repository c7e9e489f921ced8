//! What is said of operators without a rule: which node, in which layer of the module that was exported, and what to do.

use super::super::{Error, proto::NodeProto};

/// What PyTorch's newer exporter writes down for each node: the modules around it, from the outermost in, and the call.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// How many nodes a message names.
const NAMED: usize = 5;

/// The node's label, the attribute that its rule does not know, and its layer where the export tells it.
pub(crate) fn describe(node: &NodeProto) -> String {
    let attribute = super::passed_over(node).map_or(String::new(), |name| format!(" with attribute '{name}'"));
    let layer = layer(node).map_or(String::new(), |layer| format!(" in layer '{layer}'"));
    format!("{}{attribute}{layer}", node.label())
}

/// The nearest thing that can be differentiated.
pub(crate) fn rewrite(node: &NodeProto) -> &'static str {
    match node.op_type() {
        "If" => "export it with the branch that is taken, so that its condition is a constant",
        "Loop" | "Scan" => "export it unrolled, with a fixed number of steps",
        "LSTM" | "GRU" | "RNN" => "write its steps out with MatMul, Sigmoid and Tanh",
        "Attention" => "give it a mask in place of a window",
        "LRN" => "use BatchNormalization or GroupNormalization",
        "RoiAlign" | "MaxRoiPool" | "AffineGrid" => "use grid_sample on a grid of constants",
        "MaxUnpool" => "use ConvTranspose or Resize",
        "DFT" | "STFT" | "Det" => "write it as a product with a constant matrix",
        "ReduceProd" => "use the exponential of a sum of logarithms",
        "SplitToSequence" | "SequenceAt" | "SequenceConstruct" | "ConcatFromSequence" => {
            "use split or chunk with constant sizes, and export with dynamo=True"
        }
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => {
            "train it in float32, and quantise what comes out"
        }
        _ => "write it in MatMul, Conv and arithmetic, or freeze the weights before it",
    }
}

/// The nodes that have none.
pub(super) fn error(nodes: &[&NodeProto]) -> Error {
    let described: Vec<String> = nodes.iter().take(NAMED).map(|node| describe(node)).collect();
    let more = nodes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let advice = nodes.first().map_or("", |node| rewrite(node));
    Error::model(described.join(", ") + &more, format!("there is no rule to differentiate this operator; {advice}"))
}

/// The module that a node was exported from, as PyTorch names it (`layer1.0.conv1`).
fn layer(node: &NodeProto) -> Option<String> {
    let scopes = node.metadata_props.iter().find(|entry| entry.key() == SCOPES).map(|entry| entry.value());
    if let Some(scopes) = scopes {
        // ['', 'layer1', 'layer1.0', 'conv2d']: the last is the call, the one before it the module.
        let names: Vec<&str> = scopes.split('\'').skip(1).step_by(2).collect();
        return names.iter().rev().nth(1).filter(|name| !name.is_empty()).map(|name| (*name).to_owned());
    }
    // The older exporter's names are paths: /layer1/layer1.0/conv1/Conv.
    let path = node.name().strip_prefix('/')?;
    let mut modules: Vec<&str> = path.split('/').collect();
    modules.pop();
    let mut names: Vec<&str> = Vec::new();
    for module in modules {
        match names.last_mut() {
            Some(last) if module.strip_prefix(*last).is_some_and(|rest| rest.starts_with('.')) => *last = module,
            _ => names.push(module),
        }
    }
    (!names.is_empty()).then(|| names.join("."))
}

#[cfg(test)]
mod tests {
    use super::{NodeProto, layer};
    use crate::graph::proto::StringStringEntryProto;

    #[test]
    fn layers_have_the_modules_names() {
        let named = |name: &str| NodeProto { name: Some(name.to_owned()), ..NodeProto::default() };
        assert_eq!(layer(&named("/layer1/layer1.0/conv1/Conv")).as_deref(), Some("layer1.0.conv1"));
        assert_eq!(layer(&named("/features/features.0/features.0.1/Relu")).as_deref(), Some("features.0.1"));
        assert_eq!(layer(&named("/Relu")), None);
        assert_eq!(layer(&named("Relu_12")), None);
        let scopes = |value: &str| NodeProto {
            metadata_props: vec![StringStringEntryProto {
                key: Some("pkg.torch.onnx.name_scopes".to_owned()),
                value: Some(value.to_owned()),
            }],
            ..named("node_Conv_54")
        };
        assert_eq!(layer(&scopes("['', 'layer1', 'layer1.0', 'conv2d']")).as_deref(), Some("layer1.0"));
        assert_eq!(layer(&scopes("['', 'relu']")), None);
    }
}
