//! Normalised softmax (Zhai and Wu 2019, "Classification is a Strong Baseline for Deep Metric Learning"):
//!
//! ```text
//! L = -mean_i log( exp(s_iy / T) / sum_c exp(s_ic / T) )
//! ```

use super::{Nodes, cosines, cross_entropy};

/// Settings of the normalised softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalizedSoftmax {
    /// `T`
    pub temperature: f64,
}

impl Default for NormalizedSoftmax {
    /// The paper's temperature, 0.05.
    fn default() -> Self {
        Self { temperature: 0.05 }
    }
}

impl NormalizedSoftmax {
    pub(super) fn settings(&self) -> [(&'static str, f64); 1] {
        [("temperature", self.temperature)]
    }

    pub(super) fn write(&self, nodes: &mut Nodes, embeddings: &str, proxies: &str, labels: &str) -> String {
        let s = cosines(nodes, embeddings, proxies);
        let logits = nodes.scale(&s, 1.0 / self.temperature);
        cross_entropy(nodes, &logits, labels)
    }
}
