//! Which optimiser a node has, and its settings.

use std::ffi::CStr;

use crate::{
    error::Result,
    ort_api::NodeInfo,
    settings::{decimal, text, wrong},
};

/// A node's attributes: `optimizer` (`sgd`, `adamw`, `lion`), the optimiser's own, `clip`, the largest norm of all gradients, and `skip`, 1 where
/// gradients whose norm is not finite change nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) optimizer: Optimizer,
    pub(crate) clip: Option<f64>,
    pub(crate) skips: bool,
}

/// Names and formulas are those of `pdloss::graph::step::Optimizer`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Optimizer {
    Sgd { momentum: f64, nesterov: bool },
    AdamW { beta1: f64, beta2: f64, epsilon: f64 },
    Lion { beta1: f64, beta2: f64 },
}

impl Rule {
    pub(crate) fn read(node: &NodeInfo<'_>) -> Result<Self> {
        let name = text(node, c"optimizer")?;
        let number = |name: &CStr, wanted: &str, holds: fn(f64) -> bool| {
            let value =
                decimal(node, name)?.ok_or_else(|| wrong(name, format!("wanted {wanted}, and it is not there")))?;
            if holds(value) { Ok(value) } else { Err(wrong(name, format!("wanted {wanted}, got {value}"))) }
        };
        let share = |name: &CStr| number(name, "0 <= x < 1", |value| (0.0..1.0).contains(&value));
        let optimizer = match name.as_deref() {
            Some("sgd") => Optimizer::Sgd {
                momentum: share(c"momentum")?,
                nesterov: number(c"nesterov", "0 or 1", |value| value == 0.0 || value == 1.0)? == 1.0,
            },
            Some("adamw") => {
                let epsilon =
                    number(c"epsilon", "a finite number not below 0", |value| value >= 0.0 && value.is_finite())?;
                Optimizer::AdamW { beta1: share(c"beta1")?, beta2: share(c"beta2")?, epsilon }
            }
            Some("lion") => Optimizer::Lion { beta1: share(c"beta1")?, beta2: share(c"beta2")? },
            other => {
                let got = other.map_or_else(|| "none".to_owned(), |name| format!("'{name}'"));
                return Err(wrong(c"optimizer", format!("wanted sgd, adamw or lion, got {got}")));
            }
        };
        let clip = decimal(node, c"clip")?;
        if let Some(limit) = clip.filter(|limit| !(*limit > 0.0 && limit.is_finite())) {
            return Err(wrong(c"clip", format!("wanted a finite number above 0, got {limit}")));
        }
        let skip = decimal(node, c"skip")?.unwrap_or(0.0);
        if skip != 0.0 && skip != 1.0 {
            return Err(wrong(c"skip", format!("wanted 0 or 1, got {skip}")));
        }
        Ok(Self { optimizer, clip, skips: skip == 1.0 })
    }

    /// How many tensors it keeps for every weight.
    pub(super) fn tensors(&self) -> usize {
        match self.optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } | Optimizer::Lion { .. } => 1,
            Optimizer::AdamW { .. } => 2,
        }
    }
}
