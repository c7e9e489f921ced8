//! Which tensors of the state may become their next values in their own memory.

use std::collections::{HashMap, HashSet};

use super::{State, operator::UPDATE};
use crate::graph::{
    head::DOMAIN,
    proto::{GraphProto, NodeProto},
};

/// Operators whose result may be their input's own memory.
const VIEWS: &[&str] =
    &["Cast", "CastLike", "Dropout", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Marks the tensors whose next value the operator `Update` makes, number by number, after everything that reads them.
///
/// A node runs after another for certain only where it takes what follows from that one's results.
pub(super) fn mark(graph: &GraphProto, state: &mut [State]) {
    let read: Vec<Vec<&str>> = graph.node.iter().map(inputs).collect();
    let (mut made_by, mut readers) = (HashMap::new(), HashMap::<&str, Vec<usize>>::new());
    for (place, node) in graph.node.iter().enumerate() {
        made_by.extend(node.output.iter().map(|name| (name.as_str(), place)));
        read[place].iter().for_each(|name| readers.entry(name).or_default().push(place));
    }
    let updates = graph.node.iter().enumerate();
    for (place, update) in updates.filter(|(_, node)| node.domain() == DOMAIN && node.op_type() == UPDATE) {
        let mut before = HashSet::from([place]);
        let mut open = vec![place];
        while let Some(place) = open.pop() {
            open.extend(read[place].iter().filter_map(|name| made_by.get(name)).filter(|&&place| before.insert(place)));
        }
        for tensor in state.iter_mut().filter(|tensor| update.output.contains(&tensor.next)) {
            let mut same = vec![tensor.name.as_str()];
            let mut is_read_before = true;
            while let Some(name) = same.pop() {
                for &reader in readers.get(name).into_iter().flatten() {
                    let node = &graph.node[reader];
                    is_read_before &= before.contains(&reader);
                    if VIEWS.contains(&node.op_type()) {
                        same.extend(node.output.iter().map(String::as_str));
                    }
                }
            }
            tensor.in_place = is_read_before;
        }
    }
}

/// What a node reads, its subgraphs too.
pub(super) fn inputs(node: &NodeProto) -> Vec<&str> {
    let inside =
        node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    // A branch without nodes gives what it takes from outside.
    let inside = inside
        .flat_map(|graph| graph.node.iter().flat_map(inputs).chain(graph.output.iter().map(|output| output.name())));
    node.input.iter().map(String::as_str).chain(inside).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{build::node, step::Kind};

    fn is_in_place(others: Vec<NodeProto>) -> bool {
        let mut update = node(UPDATE, &["rate", "step", "norm", "settings", "w", "gradient"], &["w.next"], Vec::new());
        update.domain = Some(DOMAIN.to_owned());
        let gradient = node("Neg", &["product"], &["gradient"], Vec::new());
        let graph = GraphProto { node: [others, vec![gradient, update]].concat(), ..GraphProto::default() };
        let mut state = [State {
            name: "w".to_owned(),
            next: "w.next".to_owned(),
            kind: Kind::Weight,
            of: None,
            decay: false,
            shape: Vec::new(),
            element: "float32".to_owned(),
            in_place: false,
        }];
        mark(&graph, &mut state);
        state[0].in_place
    }

    #[test]
    fn only_what_nobody_reads_later_is_in_place() {
        let product = |of: &str| node("Mul", &["x", of], &["product"], Vec::new());
        let view = || node("Reshape", &["w", "lengths"], &["view"], Vec::new());
        let report = |of: &str| node("ReduceSum", &[of], &["report"], Vec::new());
        assert!(is_in_place(vec![product("w")]));
        assert!(is_in_place(vec![view(), product("view")]));
        assert!(!is_in_place(vec![product("w"), report("w")]));
        assert!(!is_in_place(vec![view(), product("view"), report("view")]));
        // What follows from a copy may come later.
        assert!(is_in_place(vec![product("w"), report("product")]));
    }
}
