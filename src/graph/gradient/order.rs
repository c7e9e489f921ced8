//! Nodes in the order of evaluation.

use std::collections::HashMap;

use crate::graph::proto::NodeProto;

/// Nodes that stand behind what reads them come in front of it, with all that they read; every other node stays in its place.
///
/// Spellings of several nodes share values, and the one that made a value may stand behind another that reads it.
pub(super) fn of_evaluation(nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    let made = nodes.iter().enumerate();
    let made = made.flat_map(|(place, node)| node.output.iter().map(move |name| (name.clone(), place)));
    let makers: HashMap<String, usize> = made.filter(|(name, _)| !name.is_empty()).collect();
    let mut waiting: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    // Nodes under way, each in front of the one that reads it, with the number of its inputs that were looked at.
    let mut open: Vec<(NodeProto, usize)> = Vec::new();
    for place in 0..waiting.len() {
        open.extend(waiting[place].take().map(|node| (node, 0)));
        while let Some((node, looked_at)) = open.last_mut() {
            match node.input.get(*looked_at) {
                Some(name) => {
                    *looked_at += 1;
                    let maker = makers.get(name).and_then(|&maker| waiting[maker].take());
                    open.extend(maker.map(|node| (node, 0)));
                }
                None => ordered.extend(open.pop().map(|(node, _)| node)),
            }
        }
    }
    ordered
}
