//! Circle loss over pairs (Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity Optimization", eqs. 6 and
//! 8), the mean over the rows that have pairs of both kinds:
//!
//! ```text
//! L_i = log(1 + sum_{n in N_i} exp( scale a_in (s_in - margin))
//!             * sum_{p in P_i} exp(-scale a_ip (s_ip - (1 - margin))))
//! a_ip = max(0, 1 + margin - s_ip)          a_in = max(0, s_in + margin)
//! ```
//!
//! The weights `a` pass no gradient on, as in the paper's eq. 10.

use super::{
    Formula, Nodes, Number, Scope, Written, log_one_plus_sum_exp, pairs,
    rows::{self, OfRows, Tile, sum_where},
};

/// Settings of the circle loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    /// The paper's gamma.
    pub scale: f64,
    /// The relaxation `m`.
    pub margin: f64,
}

impl Default for Circle {
    /// What the paper takes for fine-grained retrieval: scale 80, margin 0.4.
    fn default() -> Self {
        Self { scale: 80.0, margin: 0.4 }
    }
}

impl Formula for Circle {
    fn name(&self) -> &'static str {
        "circle"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("scale", &mut self.scale), Number::from_zero("margin", &mut self.margin)]
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

impl OfRows for Circle {
    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        let held = nodes.held(s);

        let best = nodes.number(1.0 + self.margin);
        let weight = nodes.sub(&best, &held);
        let weight = nodes.op("Relu", &[&weight]);
        let past = nodes.shift(s, self.margin - 1.0);
        let pull = nodes.mul(&weight, &past);
        let pull = nodes.scale(&pull, -self.scale);
        let pulls = pairs::log_sum_exp(nodes, &pairs.genuine, &pull);

        let weight = nodes.shift(&held, self.margin);
        let weight = nodes.op("Relu", &[&weight]);
        let past = nodes.shift(s, -self.margin);
        let push = nodes.mul(&weight, &past);
        let push = nodes.scale(&push, self.scale);
        let pushes = pairs::log_sum_exp(nodes, &pairs.impostor, &push);

        let has_both = pairs.rows_with_both(nodes);
        let product = nodes.add(&pulls, &pushes);
        let losses = log_one_plus_sum_exp(nodes, &has_both, &product, 1);
        let losses = nodes.unsqueeze(&losses, 1);
        sum_where(nodes, &has_both, &losses).into()
    }
}
