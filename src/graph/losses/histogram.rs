//! Histogram loss (Ustinova and Lempitsky 2016, "Learning Deep Embeddings with Histogram Loss", eqs. 1 to 4): the probability
//! that an impostor pair is nearer than a genuine one, by histograms of cosines with `bins` nodes from -1 to 1:
//!
//! ```text
//! L = sum_r h-_r sum_{q <= r} h+_q          h_r = mean over the pairs of a kind of max(0, 1 - |s - t_r| / width)
//! t_r = -1 + r width          width = 2 / (bins - 1)
//! ```
//!
//! A pair adds to the two nodes on its sides, so that nothing of `pairs x bins` is formed.

use super::{
    Count, Formula, Nodes, Scope, Written,
    rows::{self, OfRows, Tile, mean},
};
use crate::graph::build::{Element, Value, attribute, floats, int};

/// Settings of the histogram loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Nodes from -1 to 1, both counted.
    pub bins: usize,
}

impl Default for Histogram {
    /// 151 nodes, as the authors' program has.
    fn default() -> Self {
        Self { bins: 151 }
    }
}

impl Formula for Histogram {
    fn name(&self) -> &'static str {
        "histogram"
    }

    fn counts(&mut self) -> Vec<Count<'_>> {
        vec![Count { name: "bins", value: &mut self.bins, least: 2 }]
    }

    fn compares_pairs(&self) -> bool {
        true
    }

    fn of_rows(&self) -> Option<&dyn OfRows> {
        Some(self)
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        rows::whole(self, nodes, scope)
    }
}

impl OfRows for Histogram {
    fn lengths(&self) -> Vec<usize> {
        vec![self.bins, 1, self.bins, 1]
    }

    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        let last = (self.bins - 1) as f64;
        let above = nodes.shift(s, 1.0);
        let place = nodes.scale(&above, last / 2.0);
        let node = nodes.op("Floor", &[&place]);
        let node = nodes.cast(&node, Element::I64);
        // Rounding may take a cosine beyond one; what is no number has no place, and is seen by its share.
        let (first, before_last) = (nodes.integer(0), nodes.integer(int(self.bins) - 2));
        let node = nodes.op("Max", &[&node, &first]);
        let node = nodes.op("Min", &[&node, &before_last]);
        let below = nodes.cast(&node, nodes.element);
        let share = nodes.sub(&place, &below);
        let all = nodes.integers(&[-1]);
        let node = nodes.op("Reshape", &[&node, &all]);
        let genuine = self.count(nodes, &pairs.genuine, &node, &share);
        let impostor = self.count(nodes, &pairs.impostor, &node, &share);
        genuine.into_iter().chain(impostor).collect()
    }

    fn of_sums(&self, nodes: &mut Nodes, sums: &[String]) -> String {
        let genuine = mean(nodes, &sums[0], &sums[1]);
        let impostor = mean(nodes, &sums[2], &sums[3]);
        let axis = nodes.integer(0);
        let up_to = nodes.op("CumSum", &[&genuine, &axis]);
        let reversed = nodes.mul(&impostor, &up_to);
        nodes.sum(&reversed)
    }
}

impl Histogram {
    /// The histogram of the pairs of a mask, as numbers of pairs, and their number; `share` is what goes to the node above.
    fn count(&self, nodes: &mut Nodes, mask: &str, node: &str, share: &str) -> [String; 2] {
        let weight = nodes.cast(mask, nodes.element);
        let total = nodes.sum(&weight);
        let above = nodes.mul(&weight, share);
        let below = nodes.sub(&weight, &above);
        let empty = floats("", nodes.element, &[self.bins], &vec![0.0; self.bins]);
        let empty = nodes.with("Constant", &[], vec![attribute("value", Value::Tensor(Box::new(empty)))]);
        let (all, next) = (nodes.integers(&[-1]), nodes.integer(1));
        let node_above = nodes.op("Add", &[node, &next]);
        let mut histogram = empty;
        for (at, part) in [(node, below), (&node_above, above)] {
            let part = nodes.op("Reshape", &[&part, &all]);
            let add = vec![attribute("axis", Value::Int(0)), attribute("reduction", Value::Text("add".to_owned()))];
            histogram = nodes.with("ScatterElements", &[&histogram, at, &part], add);
        }
        [histogram, total]
    }
}
