//! Multi-Similarity (Wang et al. 2019, "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning"):
//!
//! ```text
//! L = mean_i { log(1 + sum_{k in P_i} exp(-alpha (s_ik - base))) / alpha
//!            + log(1 + sum_{k in N_i} exp( beta  (s_ik - base))) / beta }
//! ```
//!
//! over the pairs that its mining keeps: in `P_i` the genuine pairs with `s_ik < max_{impostor l} s_il + epsilon`, in `N_i`
//! the impostor pairs with `s_ik > min_{genuine l} s_il - epsilon`. What is kept does not depend on anything
//! differentiably.

use super::{
    Formula, Nodes, Number, Scope, Written, log_one_plus_sum_exp,
    rows::{self, OfRows, Tile},
};

/// Settings of Multi-Similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiSimilarity {
    /// `alpha`, the steepness for genuine pairs.
    pub alpha: f64,
    /// `beta`, the steepness for impostor pairs.
    pub beta: f64,
    /// `base`, the paper's lambda.
    pub base: f64,
    /// `epsilon`, the margin of the mining.
    pub epsilon: f64,
}

impl Default for MultiSimilarity {
    /// The paper's `alpha` 2, `beta` 50, `base` 1, `epsilon` 0.1.
    fn default() -> Self {
        Self { alpha: 2.0, beta: 50.0, base: 1.0, epsilon: 0.1 }
    }
}

impl Formula for MultiSimilarity {
    fn name(&self) -> &'static str {
        "multi-similarity"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![
            Number::above_zero("alpha", &mut self.alpha),
            Number::above_zero("beta", &mut self.beta),
            Number::from_zero("base", &mut self.base),
            Number::from_zero("epsilon", &mut self.epsilon),
        ]
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

impl OfRows for MultiSimilarity {
    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        // Beyond every cosine: a row without pairs of a kind keeps none of the other.
        let beyond = 4.0 + self.epsilon;
        let (low, high) = (nodes.number(-beyond), nodes.number(beyond));
        let impostors = nodes.op("Where", &[&pairs.impostor, s, &low]);
        let nearest_impostor = nodes.reduce("ReduceMax", &impostors, 1, true);
        let limit = nodes.shift(&nearest_impostor, self.epsilon);
        let is_hard = nodes.op("Less", &[s, &limit]);
        let pulled = nodes.op("And", &[&pairs.genuine, &is_hard]);

        let genuine = nodes.op("Where", &[&pairs.genuine, s, &high]);
        let farthest_genuine = nodes.reduce("ReduceMin", &genuine, 1, true);
        let limit = nodes.shift(&farthest_genuine, -self.epsilon);
        let is_hard = nodes.op("Greater", &[s, &limit]);
        let pushed = nodes.op("And", &[&pairs.impostor, &is_hard]);

        let past = nodes.shift(s, -self.base);
        let pull = nodes.scale(&past, -self.alpha);
        let pulls = log_one_plus_sum_exp(nodes, &pulled, &pull, 1);
        let pulls = nodes.scale(&pulls, 1.0 / self.alpha);
        let push = nodes.scale(&past, self.beta);
        let pushes = log_one_plus_sum_exp(nodes, &pushed, &push, 1);
        let pushes = nodes.scale(&pushes, 1.0 / self.beta);
        let both = nodes.add(&pulls, &pushes);
        let sum = nodes.sum(&both);
        let count = nodes.op("Size", &[&both]);
        vec![sum, nodes.cast(&count, nodes.element)]
    }
}
