//! Normalised softmax (Zhai and Wu 2019, "Classification is a Strong Baseline for Deep Metric Learning"):
//!
//! ```text
//! L = -mean_i log( exp(s_iy / T) / sum_c exp(s_ic / T) )
//! ```

use super::{Formula, Nodes, Number, Scope, Written, cosines, cross_entropy};

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

impl Formula for NormalizedSoftmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("temperature", &mut self.temperature)]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        let logits = nodes.scale(&s, 1.0 / self.temperature);
        Written::of(cross_entropy(nodes, &logits, scope.labels))
    }
}
