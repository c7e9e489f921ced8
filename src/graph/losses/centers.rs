//! Losses with several rows of proxies, called centres, for each class: those of class `c` are rows `K c .. K c + K`.

use super::{Count, Formula, Nodes, Number, Scope, Written, cosines, margin};
use crate::graph::build::{Value, attribute, floats, int};

/// Sub-centre ArcFace (Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
/// eq. 4): [`ArcFace`](super::ArcFace) with
///
/// ```text
/// s_ic = max_k z_i . q_ck
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubcenterArcFace {
    /// What cosines are multiplied by.
    pub scale: f64,
    /// In radians.
    pub margin: f64,
    /// `K`, the centres of a class.
    pub centers: usize,
}

impl Default for SubcenterArcFace {
    /// The paper's scale 64, margin 0.5 and 3 centres.
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.5, centers: 3 }
    }
}

impl Formula for SubcenterArcFace {
    fn name(&self) -> &'static str {
        "subcenter-arcface"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("scale", &mut self.scale), Number::angle("margin", &mut self.margin)]
    }

    fn counts(&mut self) -> Vec<Count<'_>> {
        vec![Count { name: "centers", value: &mut self.centers, least: 1 }]
    }

    fn rows_per_class(&self) -> usize {
        self.centers
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = by_center(nodes, scope, self.centers);
        let s = nodes.reduce("ReduceMax", &s, 2, false);
        Written::of(margin::angular(nodes, &s, self.margin, self.scale, scope.labels))
    }
}

/// SoftTriple (Qian et al. 2019, "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", eqs. 8 and 10):
///
/// ```text
/// S_ic = sum_k w_ick s_ick          w_ic = softmax_k(s_ick / gamma)          s_ick = z_i . q_ck
/// L = -mean_i log( exp(scale (S_iy - margin)) / (exp(scale (S_iy - margin)) + sum_{c != y} exp(scale S_ic)) )
///   + penalty / (C K (K - 1)) sum_c sum_{k < l} |q_ck - q_cl|
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftTriple {
    /// The paper's lambda.
    pub scale: f64,
    /// The paper's delta.
    pub margin: f64,
    /// Softness of the choice among a class's centres.
    pub gamma: f64,
    /// The paper's tau: weight of the distances between the centres of a class.
    pub penalty: f64,
    /// `K`, the centres of a class.
    pub centers: usize,
}

impl Default for SoftTriple {
    /// The paper's scale 20, margin 0.01, gamma 0.1, penalty 0.2 and 10 centres.
    fn default() -> Self {
        Self { scale: 20.0, margin: 0.01, gamma: 0.1, penalty: 0.2, centers: 10 }
    }
}

impl Formula for SoftTriple {
    fn name(&self) -> &'static str {
        "soft-triple"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![
            Number::above_zero("scale", &mut self.scale),
            Number::from_zero("margin", &mut self.margin),
            Number::above_zero("gamma", &mut self.gamma),
            Number::from_zero("penalty", &mut self.penalty),
        ]
    }

    fn counts(&mut self) -> Vec<Count<'_>> {
        vec![Count { name: "centers", value: &mut self.centers, least: 1 }]
    }

    fn rows_per_class(&self) -> usize {
        self.centers
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let each = by_center(nodes, scope, self.centers);
        let softened = nodes.scale(&each, 1.0 / self.gamma);
        let shares = nodes.with("Softmax", &[&softened], vec![attribute("axis", Value::Int(2))]);
        let parts = nodes.mul(&shares, &each);
        let s = nodes.reduce("ReduceSum", &parts, 2, false);
        let own = margin::own(nodes, &s, scope.labels);
        let target = nodes.shift(&own, -self.margin);
        let loss = margin::classified(nodes, &s, &target, self.scale, scope.labels);
        if self.centers == 1 || self.penalty == 0.0 {
            return Written::of(loss);
        }
        let apart = apart(nodes, scope, self.centers);
        let pairs = (scope.classes * self.centers * (self.centers - 1)) as f64;
        let penalty = nodes.scale(&apart, self.penalty / pairs);
        Written::of(nodes.add(&loss, &penalty))
    }
}

/// Cosines with every centre, `[batch, classes, K]`.
fn by_center(nodes: &mut Nodes, scope: &Scope<'_>, centers: usize) -> String {
    let s = cosines(nodes, scope.embeddings, scope.proxies);
    let shape = nodes.integers(&[0, int(scope.classes), int(centers)]);
    nodes.op("Reshape", &[&s, &shape])
}

/// `sum_c sum_{k < l} |q_ck - q_cl|`
fn apart(nodes: &mut Nodes, scope: &Scope<'_>, centers: usize) -> String {
    let q = nodes.unit_rows(scope.proxies);
    let shape = nodes.integers(&[int(scope.classes), int(centers), -1]);
    let q = nodes.op("Reshape", &[&q, &shape]);
    let turned = nodes.with("Transpose", &[&q], vec![attribute("perm", Value::Ints(vec![0, 2, 1]))]);
    let s = nodes.op("MatMul", &[&q, &turned]);
    let distances = super::distances(nodes, &s);
    let once: Vec<f64> = (0..centers).flat_map(|k| (0..centers).map(move |l| if k < l { 1.0 } else { 0.0 })).collect();
    let once = floats("", nodes.element, &[centers, centers], &once);
    let once = nodes.with("Constant", &[], vec![attribute("value", Value::Tensor(Box::new(once)))]);
    let counted = nodes.mul(&distances, &once);
    nodes.sum(&counted)
}
