//! Losses that tell a genuine pair from the batch's others by a softmax.

use super::{
    Formula, Nodes, Number, Scope, Written, pairs,
    rows::{self, OfRows, Tile, sum_where},
    softplus,
};

/// SupCon (Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2, `L_out`), the mean over the rows that have a genuine
/// pair:
///
/// ```text
/// L_i = -1 / |P_i| sum_{p in P_i} log( exp(s_ip / T) / sum_{k != i} exp(s_ik / T) )
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupCon {
    /// `T`
    pub temperature: f64,
}

impl Default for SupCon {
    /// The paper's temperature, 0.1.
    fn default() -> Self {
        Self { temperature: 0.1 }
    }
}

impl Formula for SupCon {
    fn name(&self) -> &'static str {
        "supcon"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("temperature", &mut self.temperature)]
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

impl OfRows for SupCon {
    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        let logits = nodes.scale(s, 1.0 / self.temperature);
        let others = nodes.op("Or", &[&pairs.genuine, &pairs.impostor]);
        let all = pairs::log_sum_exp(nodes, &others, &logits);
        let surprise = nodes.sub(&all, &logits);
        let zero = nodes.number(0.0);
        let counted = nodes.op("Where", &[&pairs.genuine, &surprise, &zero]);
        let sums = nodes.reduce("ReduceSum", &counted, 1, true);
        let count = nodes.cast(&pairs.genuine, nodes.element);
        let count = nodes.reduce("ReduceSum", &count, 1, true);
        let has_any = nodes.op("Greater", &[&count, &zero]);
        let one = nodes.number(1.0);
        let count = nodes.op("Max", &[&count, &one]);
        let losses = nodes.div(&sums, &count);
        sum_where(nodes, &has_any, &losses).into()
    }
}

/// NT-Xent (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1), the mean over
/// the genuine pairs, each against the impostors of its first row:
///
/// ```text
/// L_ip = -log( exp(s_ip / T) / (exp(s_ip / T) + sum_{n in N_i} exp(s_in / T)) )
/// ```
///
/// The paper has two views of an image for a class. With more of a class, the others of it are in no denominator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtXent {
    /// `T`
    pub temperature: f64,
}

impl Default for NtXent {
    /// The temperature 0.1, the paper's best.
    fn default() -> Self {
        Self { temperature: 0.1 }
    }
}

impl Formula for NtXent {
    fn name(&self) -> &'static str {
        "nt-xent"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("temperature", &mut self.temperature)]
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

impl OfRows for NtXent {
    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        let logits = nodes.scale(s, 1.0 / self.temperature);
        let impostors = pairs::log_sum_exp(nodes, &pairs.impostor, &logits);
        let nearer = nodes.sub(&impostors, &logits);
        let losses = softplus(nodes, &nearer);
        sum_where(nodes, &pairs.genuine, &losses).into()
    }
}
