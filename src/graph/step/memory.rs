//! Rows of earlier batches that a loss over pairs compares a batch with, as state of the step.
//!
//! Three tensors: embeddings `[rows, dim]` as they were when their batch was, the newest first, their labels, and how many there are so
//! far. A step puts its batch in front and lets the oldest go. The loss is that of the rows of the batch, each compared with the batch's
//! others and with every row that is remembered; the gradient goes to the batch's embeddings alone, since the others are numbers now.

use super::{
    Kind, Memory, names,
    tensors::{Stays, Trained},
};
use crate::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, int, integers},
    head::Place,
    losses::Remembered,
    nodes::Nodes,
    proto::GraphProto,
};

/// The memory of a step under construction.
pub(super) struct Bank {
    rows: usize,
    /// How many of the first rows the loss takes.
    taken: String,
}

impl Bank {
    /// Writes how many rows the loss takes: none before the memory starts.
    pub(super) fn read(nodes: &mut Nodes, memory: Memory) -> Self {
        let start = nodes.integer(i64::try_from(memory.start).unwrap_or(i64::MAX));
        let is_on = nodes.op("GreaterOrEqual", &[names::STEP, &start]);
        let none = nodes.integer(0);
        Self { rows: memory.rows, taken: nodes.op("Where", &[&is_on, names::MEMORY_COUNT, &none]) }
    }

    /// What the loss takes.
    pub(super) fn rows(&self) -> Remembered<'_> {
        Remembered { embeddings: names::MEMORY_EMBEDDINGS, labels: names::MEMORY_LABELS, count: &self.taken }
    }

    /// Writes the next memory, and declares it as state.
    pub(super) fn write(
        &self,
        nodes: &mut Nodes,
        graph: &mut GraphProto,
        place: &Place,
        (embeddings, labels): (&str, &str),
    ) -> Vec<Stays> {
        let (rows, dim) = (self.rows, place.dim);
        let batch = nodes.with("Shape", &[labels], vec![attribute("end", Value::Int(1))]);
        let batch = nodes.sum(&batch);
        let seen = nodes.add(names::MEMORY_COUNT, &batch);
        let most = nodes.integer(int(rows));
        let count = nodes.op("Min", &[&seen, &most]);
        let embeddings = nodes.held(embeddings);
        let embeddings = in_front(nodes, &embeddings, names::MEMORY_EMBEDDINGS, rows);
        let labels = in_front(nodes, labels, names::MEMORY_LABELS, rows);
        graph.initializer.extend([
            floats(names::MEMORY_EMBEDDINGS, place.element, &[rows, dim], &vec![0.0; rows * dim]),
            integers(names::MEMORY_LABELS, &[rows], &vec![0; rows]),
            integers(names::MEMORY_COUNT, &[], &[0]),
        ]);
        let tensors = [
            (names::MEMORY_EMBEDDINGS, place.element, vec![rows, dim], embeddings),
            (names::MEMORY_LABELS, Element::I64, vec![rows], labels),
            (names::MEMORY_COUNT, Element::I64, Vec::new(), count),
        ];
        let stays = tensors.map(|(name, element, shape, value)| {
            let dims: Vec<Dim> = shape.iter().map(|&length| Dim::Known(length)).collect();
            graph.input.push(declare(name, element, &dims));
            let next = nodes.rename(value, &format!("{name}.next"));
            Stays { tensor: Trained { name: name.to_owned(), element, shape, kind: Kind::Loss }, next }
        });
        stays.into()
    }
}

/// The first rows of a batch with the memory behind it.
fn in_front(nodes: &mut Nodes, batch: &str, memory: &str, rows: usize) -> String {
    let all = nodes.with("Concat", &[batch, memory], vec![attribute("axis", Value::Int(0))]);
    let (first, end, axis) = (nodes.integers(&[0]), nodes.integers(&[int(rows)]), nodes.integers(&[0]));
    nodes.op("Slice", &[&all, &first, &end, &axis])
}
