//! Losses that follow from sums over the rows of a batch, each row compared with all of them: for a whole batch at once, or for a
//! tile of its rows after the other, so that nothing of `batch x batch` is formed.

use super::{Nodes, Remembered, Scope, Written, cosines, pairs::Pairs};
use crate::graph::build::{Value, attribute};

/// Some rows of a batch, or all, beside all of them, and beside what is remembered of earlier batches.
pub(super) struct Tile {
    /// Cosines `[rows, batch]`, or `[rows, batch + remembered]`.
    pub(super) s: String,
    /// Masks of the same shape.
    pub(super) pairs: Pairs,
}

/// The rows of a tile: the names of their embeddings, their labels, and the place of the first one in the batch.
pub(super) struct Rows<'a> {
    pub(super) embeddings: &'a str,
    pub(super) labels: &'a str,
    pub(super) first: &'a str,
}

impl Tile {
    /// Of all rows.
    fn whole(nodes: &mut Nodes, scope: &Scope<'_>) -> Self {
        if let Some(remembered) = &scope.remembered {
            let first = nodes.integer(0);
            let rows = Rows { embeddings: scope.embeddings, labels: scope.labels, first: &first };
            return Self::beside(nodes, &rows, scope, remembered);
        }
        let s = cosines(nodes, scope.embeddings, scope.embeddings);
        Self { s, pairs: Pairs::write(nodes, scope.labels) }
    }

    /// Of these rows, beside all of the scope and what is remembered.
    fn beside(nodes: &mut Nodes, rows: &Rows<'_>, scope: &Scope<'_>, remembered: &Remembered<'_>) -> Self {
        let join = |nodes: &mut Nodes, own: &str, other: &str| {
            nodes.with("Concat", &[own, other], vec![attribute("axis", Value::Int(0))])
        };
        let z = nodes.unit_rows(scope.embeddings);
        let own = if rows.embeddings == scope.embeddings { z.clone() } else { nodes.unit_rows(rows.embeddings) };
        let others = nodes.unit_rows(remembered.embeddings);
        let all = join(nodes, &z, &others);
        let all = nodes.transpose(&all);
        let s = nodes.op("MatMul", &[&own, &all]);
        let labels = join(nodes, scope.labels, remembered.labels);
        let pairs = Pairs::of_rows(nodes, (rows.labels, rows.first), &labels);
        let pairs = pairs.with_remembered(nodes, scope.labels, remembered);
        Self { s, pairs }
    }

    /// Of these rows, beside all of the scope, and what it remembers.
    pub(super) fn of(nodes: &mut Nodes, rows: &Rows<'_>, scope: &Scope<'_>) -> Self {
        if let Some(remembered) = &scope.remembered {
            return Self::beside(nodes, rows, scope, remembered);
        }
        let s = cosines(nodes, rows.embeddings, scope.embeddings);
        Self { s, pairs: Pairs::of_rows(nodes, (rows.labels, rows.first), scope.labels) }
    }
}

/// A loss that follows from sums over rows.
pub(super) trait OfRows {
    /// How many numbers each of the sums has.
    fn lengths(&self) -> Vec<usize> {
        vec![1, 1]
    }

    /// The sums over the rows of a tile.
    fn sums(&self, nodes: &mut Nodes, tile: &Tile) -> Vec<String>;

    /// The loss from the sums over all rows: the first divided by the second, the number of what was added up.
    fn of_sums(&self, nodes: &mut Nodes, sums: &[String]) -> String {
        mean(nodes, &sums[0], &sums[1])
    }
}

/// The loss of all rows at once.
pub(super) fn whole(loss: &impl OfRows, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
    let tile = Tile::whole(nodes, scope);
    let sums = loss.sums(nodes, &tile);
    Written::of(loss.of_sums(nodes, &sums))
}

/// The sum of the values that a mask of their shape lets through, and how many it does.
pub(super) fn sum_where(nodes: &mut Nodes, mask: &str, values: &str) -> [String; 2] {
    let zero = nodes.number(0.0);
    let kept = nodes.op("Where", &[mask, values, &zero]);
    let sum = nodes.sum(&kept);
    let count = nodes.cast(mask, nodes.element);
    [sum, nodes.sum(&count)]
}

/// A sum divided by the number of what was added up; 0 where that was nothing.
pub(super) fn mean(nodes: &mut Nodes, sum: &str, count: &str) -> String {
    let one = nodes.number(1.0);
    let count = nodes.op("Max", &[count, &one]);
    nodes.div(sum, &count)
}
