//! Multi-class N-pair loss (Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", eq. 7): of
//! every class with two rows in the batch, its first row is an anchor `a`, its second one the positive `p`; further rows take no
//! part.
//!
//! ```text
//! L = mean_c log(1 + sum_{k != c} exp(x_a(c) . x_p(k) - x_a(c) . x_p(c)))
//!   + penalty / 4 (mean_c |x_a(c)|^2 + mean_c |x_p(c)|^2)
//! ```
//!
//! As in the paper, the rows are not normalised, but kept short; how strongly is TensorFlow's choice (`npairs_loss`).

use super::{Formula, Nodes, Number, Scope, Written, mean_where, pairs};
use crate::graph::build::{Value, attribute};

/// Settings of the N-pair loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NPair {
    /// Weight of the rows' squared lengths.
    pub penalty: f64,
}

impl Default for NPair {
    /// The penalty 0.002.
    fn default() -> Self {
        Self { penalty: 0.002 }
    }
}

impl Formula for NPair {
    fn name(&self) -> &'static str {
        "n-pair"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::from_zero("penalty", &mut self.penalty)]
    }

    fn compares_pairs(&self) -> bool {
        true
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let x = scope.embeddings;
        let same = pairs::all_equal(nodes, scope.labels);
        let number = pairs::numbers(nodes, scope.labels);
        let (row, column) = (nodes.unsqueeze(&number, 0), nodes.unsqueeze(&number, 1));
        let comes_before = nodes.op("Less", &[&row, &column]);
        let earlier = nodes.op("And", &[&same, &comes_before]);
        let earlier = nodes.cast(&earlier, nodes.element);
        let earlier = nodes.reduce("ReduceSum", &earlier, 1, true); // [B, 1]
        let (zero, one) = (nodes.number(0.0), nodes.number(1.0));
        let is_first = nodes.op("Equal", &[&earlier, &zero]);
        let is_second = nodes.op("Equal", &[&earlier, &one]);
        let positives = nodes.with("Transpose", &[&is_second], vec![attribute("perm", Value::Ints(vec![1, 0]))]);
        let own = nodes.op("And", &[&same, &positives]);
        let own = nodes.op("And", &[&own, &is_first]); // the anchor's row, the positive's column

        let transposed = nodes.transpose(x);
        let products = nodes.op("MatMul", &[x, &transposed]);
        let nothing = nodes.number(-1e30);
        let others = nodes.op("Where", &[&positives, &products, &nothing]);
        let all = nodes.reduce("ReduceLogSumExp", &others, 1, true);
        let surprise = nodes.sub(&all, &products);
        let loss = mean_where(nodes, &own, &surprise);
        if self.penalty == 0.0 {
            return Written::of(loss);
        }
        let squares = nodes.mul(x, x);
        let squares = nodes.reduce("ReduceSum", &squares, 1, true);
        let paired = nodes.cast(&own, nodes.element);
        let of_anchors = nodes.reduce("ReduceMax", &paired, 1, true);
        let is_anchor = nodes.op("Greater", &[&of_anchors, &zero]);
        let anchors = mean_where(nodes, &is_anchor, &squares);
        let seconds = mean_where(nodes, &is_second, &squares);
        let lengths = nodes.add(&anchors, &seconds);
        let penalty = nodes.scale(&lengths, self.penalty / 4.0);
        Written::of(nodes.add(&loss, &penalty))
    }
}
