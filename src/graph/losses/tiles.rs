//! A loss over pairs, tile after tile of a batch's rows, as three graphs: the sums of a tile, the loss of the sums of all tiles, and
//! the gradient of a tile. What is formed is `[rows of a tile, batch]`, or `[rows of a tile, batch + remembered]`.

use super::{
    Labels, Loss, Nodes, Remembered, Scope, not_a_number_of,
    rows::{Rows, Tile},
};
use crate::graph::build::{Value, attribute, int};

/// The names of values that a loss in tiles is given, and of what it gives.
pub(crate) struct Tiled<'a> {
    /// `[batch, dim]`
    pub(crate) embeddings: &'a str,
    /// `[batch]`
    pub(crate) labels: &'a str,
    /// `[rows, dim]`
    pub(crate) rows: &'a str,
    /// `[rows]`
    pub(crate) row_labels: &'a str,
    /// int64 `[]`
    pub(crate) first: &'a str,
    /// Rows of earlier batches.
    pub(crate) remembered: Option<Remembered<'a>>,
}

impl Loss {
    /// How many numbers the sums of a tile have; `None` for a loss that does not follow from sums over rows.
    #[must_use]
    pub fn sums_of_tile(mut self) -> Option<usize> {
        Some(self.formula()?.of_rows()?.lengths().iter().sum())
    }

    /// Writes the sums of a tile, `[sums]`, and the loss behind them; their names.
    pub(crate) fn write_tile(mut self, nodes: &mut Nodes, tiled: &Tiled<'_>) -> Option<(String, String)> {
        let loss = self.formula()?;
        let of_rows = loss.of_rows()?;
        let labels = Labels::compared(nodes, tiled.labels, tiled.embeddings);
        let row_labels = Labels::compared(nodes, tiled.row_labels, tiled.rows);
        let (embeddings, remembered) = (tiled.embeddings, tiled.remembered);
        let scope = Scope { embeddings, proxies: "", classes: 0, labels: &labels.values, remembered };
        let rows = Rows { embeddings: tiled.rows, labels: &row_labels.values, first: tiled.first };
        let tile = Tile::of(nodes, &rows, &scope);
        let all = nodes.integers(&[-1]);
        let parts = of_rows.sums(nodes, &tile);
        let parts: Vec<String> = parts.iter().map(|part| nodes.op("Reshape", &[part, &all])).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let sums = nodes.with("Concat", &parts, vec![attribute("axis", Value::Int(0))]);
        let mut first = 0;
        let mut each = Vec::new();
        for length in of_rows.lengths() {
            let (start, end) = (nodes.integers(&[int(first)]), nodes.integers(&[int(first + length)]));
            let part = nodes.op("Slice", &[&sums, &start, &end]);
            let shape = if length == 1 { nodes.integers(&[]) } else { nodes.integers(&[int(length)]) };
            each.push(nodes.op("Reshape", &[&part, &shape]));
            first += length;
        }
        let value = of_rows.of_sums(nodes, &each);
        Some((sums, not_a_number_of(nodes, tiled.embeddings, &value)))
    }
}
