//! Which pairs of a batch share a label.

use super::{Nodes, Remembered};
use crate::graph::build::{Element, Value, attribute};

/// Masks `[rows, batch]` of ordered pairs; a sample is no pair with itself.
pub(super) struct Pairs {
    /// The same label.
    pub(super) genuine: String,
    /// Different labels.
    pub(super) impostor: String,
}

impl Pairs {
    pub(super) fn write(nodes: &mut Nodes, labels: &str) -> Self {
        let same = all_equal(nodes, labels);
        let number = numbers(nodes, labels);
        let is_itself = all_equal(nodes, &number);
        Self::told(nodes, &same, &is_itself)
    }

    /// Of the rows with these labels, of which the first one has this place in the batch.
    pub(super) fn of_rows(nodes: &mut Nodes, (rows, first): (&str, &str), labels: &str) -> Self {
        let same = equal(nodes, rows, labels);
        let within = numbers(nodes, rows);
        let place = nodes.op("Add", &[&within, first]);
        let number = numbers(nodes, labels);
        let is_itself = equal(nodes, &place, &number);
        Self::told(nodes, &same, &is_itself)
    }

    fn told(nodes: &mut Nodes, same: &str, is_itself: &str) -> Self {
        let impostor = nodes.op("Not", &[same]);
        let another = nodes.op("Not", &[is_itself]);
        let genuine = nodes.op("And", &[same, &another]);
        Self { genuine, impostor }
    }

    /// The same without pairs with remembered rows that do not count.
    pub(super) fn with_remembered(self, nodes: &mut Nodes, labels: &str, remembered: &Remembered<'_>) -> Self {
        let own = nodes.op("Equal", &[labels, labels]);
        let number = numbers(nodes, remembered.labels);
        let others = nodes.op("LessOrEqual", &[&number, remembered.count]);
        let counted = nodes.with("Concat", &[&own, &others], vec![attribute("axis", Value::Int(0))]);
        let counted = nodes.unsqueeze(&counted, 0);
        let genuine = nodes.op("And", &[&self.genuine, &counted]);
        let impostor = nodes.op("And", &[&self.impostor, &counted]);
        Self { genuine, impostor }
    }

    /// Which rows have pairs of both kinds, `[batch, 1]`.
    pub(super) fn rows_with_both(&self, nodes: &mut Nodes) -> String {
        let [genuine, impostor] = [&self.genuine, &self.impostor].map(|mask| {
            let mask = nodes.cast(mask, Element::F32);
            let most = nodes.reduce("ReduceMax", &mask, 1, true);
            nodes.cast(&most, Element::Bool)
        });
        nodes.op("And", &[&genuine, &impostor])
    }
}

/// 1, 2, 3 ... with the labels' shape.
pub(super) fn numbers(nodes: &mut Nodes, labels: &str) -> String {
    let true_everywhere = nodes.op("Equal", &[labels, labels]);
    let ones = nodes.cast(&true_everywhere, Element::I64);
    let axis = nodes.integer(0);
    nodes.op("CumSum", &[&ones, &axis])
}

/// Which of all ordered pairs of a vector are equal.
pub(super) fn all_equal(nodes: &mut Nodes, values: &str) -> String {
    equal(nodes, values, values)
}

/// Which of the values of a vector equal which of another.
fn equal(nodes: &mut Nodes, left: &str, right: &str) -> String {
    let column = nodes.unsqueeze(left, 1);
    let row = nodes.unsqueeze(right, 0);
    nodes.op("Equal", &[&column, &row])
}

/// `log sum exp` of the values of each row that a mask lets through, `[batch, 1]`; about -1e9 where it lets none through.
pub(super) fn log_sum_exp(nodes: &mut Nodes, mask: &str, values: &str) -> String {
    let nothing = nodes.number(-1e9);
    let kept = nodes.op("Where", &[mask, values, &nothing]);
    nodes.reduce("ReduceLogSumExp", &kept, 1, true)
}
