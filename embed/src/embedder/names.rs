//! That a graph calls no two tensors alike. PyTorch's exporter may do so: a buffer `mean` beside what `x.mean(1)` makes.

use std::collections::HashMap;
use std::path::Path;

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::error::{Error, Result};

/// Where a tensor comes from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Initializer,
    Input,
    Node(&'a NodeProto),
}

impl Origin<'_> {
    fn in_words(self) -> String {
        match self {
            Self::Initializer => "an initializer".into(),
            Self::Input => "an input".into(),
            Self::Node(node) if node.name.is_empty() => format!("what a node {} makes", node.op_type),
            Self::Node(node) => format!("what node '{}' ({}) makes", node.name, node.op_type),
        }
    }
}

/// # Errors
/// [`Error::Model`] naming a tensor that two others, of one graph, are called like.
pub(super) fn check(path: &Path, graph: &GraphProto) -> Result<()> {
    let mut known: HashMap<&str, Origin<'_>> = HashMap::new();
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Origin::Initializer));
    let inputs = graph.input.iter().map(|input| (input.name.as_str(), Origin::Input));
    let made =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), Origin::Node(node))));
    for (name, origin) in initializers.chain(inputs).chain(made).filter(|(name, _)| !name.is_empty()) {
        match (known.insert(name, origin), origin) {
            // An input may have a value that holds where none is given.
            (None, _) | (Some(Origin::Initializer), Origin::Input) => {}
            (Some(before), _) => {
                return Err(Error::model(
                    path,
                    format!(
                        "tensor '{name}': two have this name, {} and {}; wanted each name once: give the module or buffer of that name \
                         another one and export again (PyTorch's exporter: or with optimize=True)",
                        before.in_words(),
                        origin.in_words()
                    ),
                ));
            }
        }
    }
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|a| a.g.iter().chain(&a.graphs)).try_for_each(|graph| check(path, graph))
}
