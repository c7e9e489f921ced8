//! ProxyNCA++ (Teh, DeVries and Taylor 2020, "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component
//! Analysis"), the probability of the own proxy among all:
//!
//! ```text
//! L = -mean_i log( exp(-d_iy / T) / sum_c exp(-d_ic / T) )          d_ic = |z_i - q_c|^2 = 2 - 2 s_ic
//! ```

use super::{Nodes, cosines, cross_entropy};

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

impl ProxyNca {
    pub(super) fn settings(&self) -> [(&'static str, f64); 1] {
        [("temperature", self.temperature)]
    }

    pub(super) fn write(&self, nodes: &mut Nodes, embeddings: &str, proxies: &str, labels: &str) -> String {
        let s = cosines(nodes, embeddings, proxies);
        let twice = nodes.scale(&s, 2.0);
        let nearness = nodes.shift(&twice, -2.0);
        let logits = nodes.scale(&nearness, 1.0 / self.temperature);
        cross_entropy(nodes, &logits, labels)
    }
}
