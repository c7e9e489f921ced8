//! Triplet losses, of the triplets that their mining finds in a batch.

use super::{
    Formula, Nodes, Number, Scope, Written, distances,
    pairs::Pairs,
    rows::{self, OfRows, Tile, sum_where},
    squared_distances,
};
use crate::graph::build::{Element, Value, attribute};

/// Which triplets of a batch count. Rows without both kinds of pairs take part in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Triplets {
    /// For each row its farthest genuine and its nearest impostor (Hermans et al. 2017, "In Defense of the Triplet Loss for
    /// Person Re-Identification", eq. 5), by distance:
    ///
    /// ```text
    /// L = mean_i max(0, margin + max_p d_ip - min_n d_in)          d_ij = |z_i - z_j|
    /// ```
    BatchHard,
    /// For each genuine pair the nearest impostor that is farther than the genuine, or the farthest impostor where none is
    /// (Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering", eqs. 3 and 4), by squared
    /// distance:
    ///
    /// ```text
    /// L = mean_ip max(0, margin + d_ip^2 - d_in^2)          n = argmin { d_in : d_in > d_ip }
    /// ```
    SemiHard,
}

impl Triplets {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BatchHard => "batch-hard",
            Self::SemiHard => "semi-hard",
        }
    }
}

/// Settings of the triplet loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triplet {
    /// How much farther an impostor should be.
    pub margin: f64,
    /// Which triplets.
    pub triplets: Triplets,
}

impl Default for Triplet {
    /// Batch-hard with the margin 0.2, which both papers use.
    fn default() -> Self {
        Self { margin: 0.2, triplets: Triplets::BatchHard }
    }
}

impl Formula for Triplet {
    fn name(&self) -> &'static str {
        "triplet"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::from_zero("margin", &mut self.margin)]
    }

    fn words(&self) -> Vec<(&'static str, &'static str)> {
        vec![("triplets", self.triplets.word())]
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

impl OfRows for Triplet {
    fn sums(&self, nodes: &mut Nodes, Tile { s, pairs }: &Tile) -> Vec<String> {
        match self.triplets {
            Triplets::BatchHard => self.hard(nodes, s, pairs).into(),
            Triplets::SemiHard => self.semi_hard(nodes, s, pairs).into(),
        }
    }
}

impl Triplet {
    fn hard(&self, nodes: &mut Nodes, s: &str, pairs: &Pairs) -> [String; 2] {
        let d = distances(nodes, s);
        // Beyond every distance of unit rows.
        let (low, high) = (nodes.number(-4.0), nodes.number(4.0));
        let genuine = nodes.op("Where", &[&pairs.genuine, &d, &low]);
        let farthest = nodes.reduce("ReduceMax", &genuine, 1, true);
        let impostors = nodes.op("Where", &[&pairs.impostor, &d, &high]);
        let nearest = nodes.reduce("ReduceMin", &impostors, 1, true);
        let difference = nodes.sub(&farthest, &nearest);
        let short = nodes.shift(&difference, self.margin);
        let losses = nodes.op("Relu", &[&short]);
        let has_both = pairs.rows_with_both(nodes);
        sum_where(nodes, &has_both, &losses)
    }

    fn semi_hard(&self, nodes: &mut Nodes, s: &str, pairs: &Pairs) -> [String; 2] {
        let d = squared_distances(nodes, s);
        let chosen = next_impostors(nodes, &d, pairs);
        let nearest = nodes.with("GatherElements", &[&d, &chosen], vec![attribute("axis", Value::Int(1))]);
        let difference = nodes.sub(&d, &nearest);
        let short = nodes.shift(&difference, self.margin);
        let losses = nodes.op("Relu", &[&short]);
        let has_both = pairs.rows_with_both(nodes);
        let counted = nodes.op("And", &[&pairs.genuine, &has_both]);
        sum_where(nodes, &counted, &losses)
    }
}

/// For every row `i` and column `p` the column of the next impostor of `i` in order of distance after `p`, or of the last.
/// By sorting, so that nothing of `batch^3` is formed.
fn next_impostors(nodes: &mut Nodes, d: &str, pairs: &Pairs) -> String {
    let along = || vec![attribute("axis", Value::Int(1))];
    let order = ascending(nodes, d);
    let is_impostor = nodes.cast(&pairs.impostor, Element::I64);
    let sorted = nodes.with("GatherElements", &[&is_impostor, &order], along());
    let one = nodes.integer(1);
    // How many impostors come up to each place of the order, put back to the columns.
    let passed = nodes.op("CumSum", &[&sorted, &one]);
    let passed = nodes.with("ScatterElements", &[&passed, &order, &passed], along());

    let far = nodes.number(8.0);
    let impostors = nodes.op("Where", &[&pairs.impostor, d, &far]);
    let columns = ascending(nodes, &impostors);
    let count = nodes.reduce("ReduceSum", &is_impostor, 1, true);
    let minus_one = nodes.integer(-1);
    let last = nodes.op("Add", &[&count, &minus_one]);
    let place = nodes.op("Min", &[&passed, &last]);
    let zero = nodes.integer(0);
    let place = nodes.op("Max", &[&place, &zero]);
    nodes.with("GatherElements", &[&columns, &place], along())
}

/// The columns of each row in the order of its values.
fn ascending(nodes: &mut Nodes, values: &str) -> String {
    let all = nodes.with("Shape", &[values], vec![attribute("start", Value::Int(1)), attribute("end", Value::Int(2))]);
    nodes.second("TopK", &[values, &all], vec![attribute("axis", Value::Int(1)), attribute("largest", Value::Int(0))])
}
