//! Softmax losses with a margin between the own class's cosine and the others, and what they share.

use super::{Formula, Nodes, Number, Scope, Written, cosines, cross_entropy};
use crate::graph::build::{Value, attribute};

/// The least square of a sine: below it, the root's slope is taken for zero.
const LEAST_SQUARE: f64 = 1e-12;

/// ArcFace (Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", eq. 3):
///
/// ```text
/// L = -mean_i log( exp(scale t_i) / (exp(scale t_i) + sum_{c != y} exp(scale s_ic)) )
/// t_i = cos(theta_i + margin) where theta_i + margin < pi, else s_iy - margin sin(margin)         s_iy = cos(theta_i)
/// ```
///
/// The second line's `else` is the authors' program's: `cos` would rise again beyond pi.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArcFace {
    /// What cosines are multiplied by.
    pub scale: f64,
    /// In radians.
    pub margin: f64,
}

impl Default for ArcFace {
    /// The paper's scale 64 and margin 0.5.
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.5 }
    }
}

impl Formula for ArcFace {
    fn name(&self) -> &'static str {
        "arcface"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("scale", &mut self.scale), Number::angle("margin", &mut self.margin)]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        Written::of(angular(nodes, &s, self.margin, self.scale, scope.labels))
    }
}

/// CosFace (Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", eq. 4): as [`ArcFace`] with
///
/// ```text
/// t_i = s_iy - margin
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosFace {
    /// What cosines are multiplied by.
    pub scale: f64,
    /// Taken off the own class's cosine.
    pub margin: f64,
}

impl Default for CosFace {
    /// The paper's scale 64 and margin 0.35.
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.35 }
    }
}

impl Formula for CosFace {
    fn name(&self) -> &'static str {
        "cosface"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![Number::above_zero("scale", &mut self.scale), Number::from_zero("margin", &mut self.margin)]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        let own = own(nodes, &s, scope.labels);
        let target = nodes.shift(&own, -self.margin);
        Written::of(classified(nodes, &s, &target, self.scale, scope.labels))
    }
}

/// [`ArcFace`] of cosines `[batch, classes]`.
pub(super) fn angular(nodes: &mut Nodes, s: &str, margin: f64, scale: f64, labels: &str) -> String {
    let own = own(nodes, s, labels);
    let turned = turned(nodes, &own, margin);
    let target = monotone(nodes, &own, &turned, margin);
    classified(nodes, s, &target, scale, labels)
}

/// Every row's cosine with its own class, `[batch, 1]`.
pub(super) fn own(nodes: &mut Nodes, s: &str, labels: &str) -> String {
    let column = nodes.unsqueeze(labels, 1);
    nodes.with("GatherElements", &[s, &column], vec![attribute("axis", Value::Int(1))])
}

/// `cos(theta + margin)` of `cos(theta)`
pub(super) fn turned(nodes: &mut Nodes, cosine: &str, margin: f64) -> String {
    let square = nodes.mul(cosine, cosine);
    let one = nodes.number(1.0);
    let rest = nodes.sub(&one, &square);
    let least = nodes.number(LEAST_SQUARE);
    let rest = nodes.op("Max", &[&rest, &least]);
    let sine = nodes.op("Sqrt", &[&rest]);
    let along = nodes.scale(cosine, margin.cos());
    let across = nodes.scale(&sine, margin.sin());
    nodes.sub(&along, &across)
}

/// `turned` where the angle and the margin are below pi together, else the cosine less `margin sin(margin)`.
pub(super) fn monotone(nodes: &mut Nodes, cosine: &str, turned: &str, margin: f64) -> String {
    let last = nodes.number((std::f64::consts::PI - margin).cos());
    let is_below = nodes.op("Greater", &[cosine, &last]);
    let lowered = nodes.shift(cosine, -margin * margin.sin());
    nodes.op("Where", &[&is_below, turned, &lowered])
}

/// Cross-entropy of scaled cosines `[batch, classes]`, in which `target` `[batch, 1]` stands for the own class's.
pub(super) fn classified(nodes: &mut Nodes, s: &str, target: &str, scale: f64, labels: &str) -> String {
    let column = nodes.unsqueeze(labels, 1);
    let placed = nodes.with("ScatterElements", &[s, &column, target], vec![attribute("axis", Value::Int(1))]);
    let logits = nodes.scale(&placed, scale);
    cross_entropy(nodes, &logits, labels)
}
