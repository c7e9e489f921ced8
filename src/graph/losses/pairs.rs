//! Which pairs of a batch share a label.

use super::Nodes;
use crate::graph::build::Element;

/// Masks `[batch, batch]` of ordered pairs; a sample is no pair with itself.
pub(super) struct Pairs {
    /// The same label.
    pub(super) genuine: String,
    /// Different labels.
    pub(super) impostor: String,
}

impl Pairs {
    pub(super) fn write(nodes: &mut Nodes, labels: &str) -> Self {
        let same = all_equal(nodes, labels);
        let impostor = nodes.op("Not", &[&same]);
        // 1, 2, 3 ... with the labels' shape.
        let true_everywhere = nodes.op("Equal", &[labels, labels]);
        let ones = nodes.cast(&true_everywhere, Element::I64);
        let axis = nodes.integer(0);
        let number = nodes.op("CumSum", &[&ones, &axis]);
        let is_itself = all_equal(nodes, &number);
        let another = nodes.op("Not", &[&is_itself]);
        let genuine = nodes.op("And", &[&same, &another]);
        Self { genuine, impostor }
    }
}

fn all_equal(nodes: &mut Nodes, values: &str) -> String {
    let column = nodes.unsqueeze(values, 1);
    let row = nodes.unsqueeze(values, 0);
    nodes.op("Equal", &[&column, &row])
}
