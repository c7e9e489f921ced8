//! ProxyNCA++ (Teh, DeVries and Taylor 2020, "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component
//! Analysis"), the probability of the own proxy among all:
//!
//! ```text
//! L = -mean_i log( exp(-d_iy / T) / sum_c exp(-d_ic / T) )          d_ic = |z_i - q_c|^2 = 2 - 2 s_ic
//! ```

use super::{Formula, Nodes, Number, Scope, Written, cosines, cross_entropy};

/// Settings of ProxyNCA++.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxyNca {
    /// `T`
    pub temperature: f64,
}

impl Default for ProxyNca {
    /// The paper's temperature, 1/9.
    fn default() -> Self {
        Self { temperature: 1.0 / 9.0 }
    }
}

impl Formula for ProxyNca {
    fn name(&self) -> &'static str {
        "proxy-nca"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("temperature", &mut self.temperature)]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        let twice = nodes.scale(&s, 2.0);
        let nearness = nodes.shift(&twice, -2.0);
        let logits = nodes.scale(&nearness, 1.0 / self.temperature);
        Written::of(cross_entropy(nodes, &logits, scope.labels))
    }
}
