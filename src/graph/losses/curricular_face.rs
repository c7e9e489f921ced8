//! CurricularFace (Huang et al. 2020, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", eqs. 6
//! to 9): [`ArcFace`](super::ArcFace), in which an impostor class that is nearer than the own one after its margin weighs more
//! as training goes on:
//!
//! ```text
//! logit of c != y:  s_ic where s_ic <= cos(theta_i + margin), else s_ic (t + s_ic)
//! t = rate mean_i s_iy + (1 - rate) (t of the step before, 0 at first)
//! ```
//!
//! `t` is state of the training step, `pdloss.curriculum`, and passes no gradient on.

use super::{Formula, Kept, Nodes, Number, Scope, Written, cosines, margin};

/// The name of `t`.
const CURRICULUM: &str = "pdloss.curriculum";

/// Settings of CurricularFace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurricularFace {
    /// What cosines are multiplied by.
    pub scale: f64,
    /// In radians.
    pub margin: f64,
    /// How fast `t` follows the batch.
    pub rate: f64,
}

impl Default for CurricularFace {
    /// The paper's scale 64 and margin 0.5, and a rate of 0.01 (its momentum 0.99).
    fn default() -> Self {
        Self { scale: 64.0, margin: 0.5, rate: 0.01 }
    }
}

impl Formula for CurricularFace {
    fn name(&self) -> &'static str {
        "curricularface"
    }

    fn numbers(&mut self) -> Vec<Number<'_>> {
        vec![
            Number::above_zero("scale", &mut self.scale),
            Number::angle("margin", &mut self.margin),
            Number::share("rate", &mut self.rate),
        ]
    }

    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written {
        let s = cosines(nodes, scope.embeddings, scope.proxies);
        let own = margin::own(nodes, &s, scope.labels);
        let mean = nodes.reduce_all("ReduceMean", &own);
        let mean = nodes.held(&mean);
        let now = nodes.scale(&mean, self.rate);
        let before = nodes.scale(CURRICULUM, 1.0 - self.rate);
        let t = nodes.add(&now, &before);

        let turned = margin::turned(nodes, &own, self.margin);
        let target = margin::monotone(nodes, &own, &turned, self.margin);
        let is_hard = nodes.op("Greater", &[&s, &turned]);
        let weight = nodes.add(&s, &t);
        let weighed = nodes.mul(&s, &weight);
        let s = nodes.op("Where", &[&is_hard, &weighed, &s]);
        let loss = margin::classified(nodes, &s, &target, self.scale, scope.labels);
        Written { kept: Some(Kept { name: CURRICULUM, next: t }), ..Written::of(loss) }
    }
}
