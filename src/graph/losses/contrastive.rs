//! Contrastive loss (Hadsell, Chopra and LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping", eq. 4):
//!
//! ```text
//! L = mean_{genuine ij} d_ij^2 / 2 + mean_{impostor ij} max(0, margin - d_ij)^2 / 2          d_ij = |z_i - z_j|
//! ```
//!
//! The paper sums over a given list of pairs. A batch has all its pairs, of which impostors are many times as many: each kind
//! counts by its mean.

use super::{
    Formula, Nodes, Number, Scope, Written, distances,
    rows::{self, OfRows, Tile, mean, sum_where},
};

/// Settings of the contrastive loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrastive {
    /// The distance beyond which impostors are let alone.
    pub margin: f64,
}

impl Default for Contrastive {
    /// The margin 1, half of the largest distance of unit rows.
    fn default() -> Self {
        Self { margin: 1.0 }
    }
}

impl Formula for Contrastive {
    fn name(&self) -> &'static str {
        "contrastive"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("margin", &mut self.margin)]
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

impl OfRows for Contrastive {
    fn lengths(&self) -> Vec<usize> {
        vec![1; 4]
    }

    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        let one = nodes.number(1.0);
        let pulls = nodes.sub(&one, s); // d^2 / 2
        let pull = sum_where(nodes, &pairs.genuine, &pulls);
        let d = distances(nodes, s);
        let margin = nodes.number(self.margin);
        let short = nodes.sub(&margin, &d);
        let short = nodes.op("Relu", &[&short]);
        let square = nodes.mul(&short, &short);
        let pushes = nodes.scale(&square, 0.5);
        let push = sum_where(nodes, &pairs.impostor, &pushes);
        pull.into_iter().chain(push).collect()
    }

    fn of_sums(&self, nodes: &mut Nodes, sums: &[String]) -> String {
        let pull = mean(nodes, &sums[0], &sums[1]);
        let push = mean(nodes, &sums[2], &sums[3]);
        nodes.add(&pull, &push)
    }
}
