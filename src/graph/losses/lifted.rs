//! Lifted structured loss (Oh Song et al. 2016, "Deep Metric Learning via Lifted Structured Feature Embedding", eq. 4), the
//! mean over the genuine pairs:
//!
//! ```text
//! L_ij = max(0, log( sum_{n in N_i} exp(margin - d_in) + sum_{n in N_j} exp(margin - d_jn) ) + d_ij)^2 / 2
//! ```
//!
//! `d` are distances of unit rows. A pair without an impostor costs nothing.

use super::{Formula, Nodes, Number, Scope, Written, cosines, distances, mean_where, pairs::Pairs};

/// Settings of the lifted structured loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifted {
    /// The paper's alpha.
    pub margin: f64,
}

impl Default for Lifted {
    /// The paper's margin, 1.
    fn default() -> Self {
        Self { margin: 1.0 }
    }
}

impl Formula for Lifted {
    fn name(&self) -> &'static str {
        "lifted"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("margin", &mut self.margin)]
    }

    fn compares_pairs(&self) -> bool {
        true
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.embeddings);
        let pairs = Pairs::write(nodes, scope.labels);
        let d = distances(nodes, &s);
        // Between exp(-2) and 1 each: no sum of a batch is too large, or without a logarithm.
        let away = nodes.op("Neg", &[&d]);
        let near = nodes.op("Exp", &[&away]);
        let zero = nodes.number(0.0);
        let near = nodes.op("Where", &[&pairs.impostor, &near, &zero]);
        let column = nodes.reduce("ReduceSum", &near, 1, true);
        let row = nodes.transpose(&column);
        let sums = nodes.add(&column, &row);
        let has_any = nodes.op("Greater", &[&sums, &zero]);
        let one = nodes.number(1.0);
        let sums = nodes.op("Where", &[&has_any, &sums, &one]);
        let logs = nodes.op("Log", &[&sums]);
        let near = nodes.shift(&logs, self.margin);
        let short = nodes.add(&near, &d);
        let short = nodes.op("Relu", &[&short]);
        let square = nodes.mul(&short, &short);
        let none = nodes.op("Where", &[&has_any, &square, &zero]);
        let losses = nodes.scale(&none, 0.5);
        Written::of(mean_where(nodes, &pairs.genuine, &losses))
    }
}
