//! Proxy-Anchor (Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning"):
//!
//! ```text
//! L = 1/|C+| sum_{c in C+} log(1 + sum_{i: y_i = c}  exp(-alpha (s_ic - margin)))
//!   + 1/C    sum_c         log(1 + sum_{i: y_i != c} exp( alpha (s_ic + margin)))
//! ```
//!
//! `C+` are the classes in the batch.

use super::{Formula, Nodes, Number, Scope, Written, cosines, log_one_plus_sum_exp};
use crate::graph::build::Element;

/// Settings of Proxy-Anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxyAnchor {
    /// `alpha`, the steepness.
    pub alpha: f64,
    /// `margin`, the paper's delta.
    pub margin: f64,
}

impl Default for ProxyAnchor {
    /// The paper's `alpha` 32 and `margin` 0.1.
    fn default() -> Self {
        Self { alpha: 32.0, margin: 0.1 }
    }
}

impl Formula for ProxyAnchor {
    fn name(&self) -> &'static str {
        "proxy-anchor"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("alpha", &mut self.alpha), Number::from_zero("margin", &mut self.margin)]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        let numbers: Vec<i64> = (0..).take(scope.classes).collect();
        let numbers = nodes.integers(&numbers);
        let column = nodes.unsqueeze(scope.labels, 1);
        let own = nodes.op("Equal", &[&column, &numbers]);
        let other = nodes.op("Not", &[&own]);

        let past = nodes.shift(&s, -self.margin);
        let pull = nodes.scale(&past, -self.alpha);
        let pulls = log_one_plus_sum_exp(nodes, &own, &pull, 0); // zero for a class that is not there
        let is_own = nodes.cast(&own, Element::F32);
        let is_there = nodes.reduce("ReduceMax", &is_own, 0, false);
        let present = nodes.sum(&is_there);
        let present = if nodes.element == Element::F32 { present } else { nodes.cast(&present, nodes.element) };
        let pulls = nodes.sum(&pulls);
        let pulls = nodes.div(&pulls, &present);

        let past = nodes.shift(&s, self.margin);
        let push = nodes.scale(&past, self.alpha);
        let pushes = log_one_plus_sum_exp(nodes, &other, &push, 0);
        let pushes = nodes.reduce_all("ReduceMean", &pushes);
        Written::of(nodes.add(&pulls, &pushes))
    }
}
