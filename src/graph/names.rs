//! That a graph calls no two tensors alike. PyTorch's exporter may do so: a buffer `mean` beside what `x.mean(1)` makes.

use std::collections::HashMap;

use super::{
    Error, Result,
    proto::{GraphProto, NodeProto},
};

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
            Self::Node(node) if node.name().is_empty() => format!("what a node {} makes", node.op_type()),
            Self::Node(node) => format!("what node '{}' ({}) makes", node.name(), node.op_type()),
        }
    }
}

/// # Errors
/// [`Error::Model`] naming a tensor that two others, of one graph, are called like.
pub(super) fn check(graph: &GraphProto) -> Result<()> {
    let mut known: HashMap<&str, Origin<'_>> = HashMap::new();
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name(), Origin::Initializer));
    let inputs = graph.input.iter().map(|input| (input.name(), Origin::Input));
    let made =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), Origin::Node(node))));
    for (name, origin) in initializers.chain(inputs).chain(made).filter(|(name, _)| !name.is_empty()) {
        match (known.insert(name, origin), origin) {
            // An input may have a value that holds where none is given.
            (None, _) | (Some(Origin::Initializer), Origin::Input) => {}
            (Some(before), _) => {
                return Err(Error::model(
                    format!("tensor '{name}'"),
                    format!(
                        "two have this name, {} and {}; wanted each name once: give the module or buffer of that name another one and \
                         export again (PyTorch's exporter: or with optimize=True)",
                        before.in_words(),
                        origin.in_words()
                    ),
                ));
            }
        }
    }
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs)).try_for_each(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::proto::{AttributeProto, TensorProto, ValueInfoProto};

    #[test]
    fn a_name_that_two_tensors_have_is_said_with_both() {
        let node = |name: &str, output: &str| NodeProto {
            name: Some(name.into()),
            op_type: Some("Relu".into()),
            output: vec![output.into()],
            ..NodeProto::default()
        };
        let tensor = |name: &str| TensorProto { name: Some(name.into()), ..TensorProto::default() };
        let mut graph = GraphProto {
            node: vec![node("one", "a"), node("two", ""), node("three", "")],
            initializer: vec![tensor("w")],
            input: vec![ValueInfoProto { name: Some("w".into()), ..ValueInfoProto::default() }],
            ..GraphProto::default()
        };
        check(&graph).unwrap();
        let said = |graph: &GraphProto| check(graph).unwrap_err().to_string();
        graph.node.push(node("", "w"));
        assert!(said(&graph).starts_with("tensor 'w': two have this name, an input and what a node Relu makes"));
        graph.node.pop();
        // Names of a branch are its own.
        let branch = GraphProto { node: vec![node("four", "a")], ..GraphProto::default() };
        graph.node[1].attribute.push(AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() });
        check(&graph).unwrap();
        graph.node[1].attribute[0].g.as_mut().unwrap().node.push(node("five", "a"));
        let wanted = "tensor 'a': two have this name, what node 'four' (Relu) makes and what node 'five' (Relu) makes";
        assert!(said(&graph).starts_with(wanted), "{}", said(&graph));
    }
}
