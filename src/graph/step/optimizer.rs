//! How a weight follows its gradient.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::graph::{Error, Result, build::Element, nodes::Nodes};

/// The rule of the update, as PyTorch defines it. `r` is the learning rate, `w` the weight, `g` its gradient, `t` the number
/// of the step, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
#[non_exhaustive]
pub enum Optimizer {
    /// Gradient descent with momentum, dampening 0:
    ///
    /// ```text
    /// g' = g + weight_decay w          b' = momentum b + g'          w' = w - r b'     (nesterov: w - r (g' + momentum b'))
    /// ```
    #[serde(rename = "sgd")]
    Sgd {
        /// 0 keeps no state.
        momentum: f64,
        /// Looks one step ahead.
        nesterov: bool,
        /// Part of the gradient.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019):
    ///
    /// ```text
    /// m' = beta1 m + (1 - beta1) g          v' = beta2 v + (1 - beta2) g^2
    /// w' = (1 - r weight_decay) w - r m' / (1 - beta1^t) / (sqrt(v' / (1 - beta2^t)) + epsilon)
    /// ```
    #[serde(rename = "adamw")]
    AdamW {
        /// Memory of the mean.
        beta1: f64,
        /// Memory of the square.
        beta2: f64,
        /// Added to the root of the square.
        epsilon: f64,
        /// Share of the weight that `r` takes off.
        weight_decay: f64,
    },
}

impl Default for Optimizer {
    /// AdamW with PyTorch's defaults: 0.9, 0.999, 1e-8 and weight decay 0.01.
    fn default() -> Self {
        Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// What an update needs to know of a weight.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) element: Element,
    pub(super) has_decay: bool,
    /// Factor on the learning rate.
    pub(super) rate: f64,
}

/// The next values of a weight and of the optimiser's tensors for it, in the order of [`Optimizer::kinds`].
pub(super) struct Update {
    pub(super) weight: String,
    pub(super) state: Vec<String>,
}

/// The name of the optimiser's tensor of this kind for this weight.
pub(super) fn state_name(kind: &str, parameter: &str) -> String {
    format!("{}{kind}.{parameter}", crate::graph::head::PREFIX)
}

impl Optimizer {
    /// The tensors that it keeps for every weight.
    pub(super) fn kinds(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum"],
            Self::AdamW { .. } => &["m", "v"],
        }
    }

    pub(super) fn weight_decay(&self) -> f64 {
        match *self {
            Self::Sgd { weight_decay, .. } | Self::AdamW { weight_decay, .. } => weight_decay,
        }
    }

    /// Refuses settings that the rule does not allow.
    pub(super) fn check(&self) -> Result<()> {
        let below_one = |value: f64| (0.0..1.0).contains(&value);
        let finite = |value: f64| value >= 0.0 && value.is_finite();
        let wrong = |name: &str, wanted: &str, got: f64| {
            Err(Error::model(format!("{name} of the optimiser"), format!("wanted {wanted}, got {got}")))
        };
        let decay = self.weight_decay();
        if !finite(decay) {
            return wrong("weight_decay", "a finite number not below 0", decay);
        }
        match *self {
            Self::Sgd { momentum, .. } if !below_one(momentum) => wrong("momentum", "0 <= momentum < 1", momentum),
            Self::Sgd { nesterov: true, momentum: 0.0, .. } => wrong("momentum", "momentum > 0 for nesterov", 0.0),
            Self::AdamW { beta1, .. } if !below_one(beta1) => wrong("beta1", "0 <= beta1 < 1", beta1),
            Self::AdamW { beta2, .. } if !below_one(beta2) => wrong("beta2", "0 <= beta2 < 1", beta2),
            Self::AdamW { epsilon, .. } if !finite(epsilon) => wrong("epsilon", "a finite number not below 0", epsilon),
            _ => Ok(()),
        }
    }

    /// Writes the update of one weight.
    pub(super) fn write(
        &self,
        nodes: &mut Nodes,
        scalars: &mut Scalars,
        parameter: &Parameter<'_>,
        gradient: &str,
    ) -> Update {
        nodes.element = parameter.element;
        let factors = scalars.of(nodes, self, parameter);
        let w = parameter.name;
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                let mut direction = gradient.to_owned();
                if parameter.has_decay && weight_decay > 0.0 {
                    let decay = nodes.scale(w, weight_decay);
                    direction = nodes.add(&direction, &decay);
                }
                let mut state = Vec::new();
                if momentum > 0.0 {
                    let kept = nodes.scale(&state_name("momentum", w), momentum);
                    let buffer = nodes.add(&kept, &direction);
                    direction = if nesterov {
                        let ahead = nodes.scale(&buffer, momentum);
                        nodes.add(&direction, &ahead)
                    } else {
                        buffer.clone()
                    };
                    state.push(buffer);
                }
                let step = nodes.mul(&direction, &factors.size);
                Update { weight: nodes.sub(w, &step), state }
            }
            Self::AdamW { beta1, beta2, .. } => {
                let m = memory(nodes, &state_name("m", w), beta1, gradient);
                let square = nodes.mul(gradient, gradient);
                let v = memory(nodes, &state_name("v", w), beta2, &square);
                let root = nodes.op("Sqrt", &[&v]);
                let divisor = nodes.add(&root, &factors.epsilon);
                let direction = nodes.div(&m, &divisor);
                let step = nodes.mul(&direction, &factors.size);
                let kept = match &factors.keep {
                    Some(keep) => nodes.mul(w, keep),
                    None => w.to_owned(),
                };
                Update { weight: nodes.sub(&kept, &step), state: vec![m, v] }
            }
        }
    }
}

/// `beta memory + (1 - beta) value`
fn memory(nodes: &mut Nodes, memory: &str, beta: f64, value: &str) -> String {
    let kept = nodes.scale(memory, beta);
    let added = nodes.scale(value, 1.0 - beta);
    nodes.add(&kept, &added)
}

/// Scalars that all weights with the same rate, decay and type share.
pub(super) struct Scalars {
    learning_rate: String,
    step: String,
    known: HashMap<(Element, u64, bool), Factors>,
}

#[derive(Clone)]
struct Factors {
    /// What the direction is multiplied by.
    size: String,
    /// AdamW's, as [`Scalars::factors`] has it.
    epsilon: String,
    /// What is left of the weight.
    keep: Option<String>,
}

impl Scalars {
    /// From the names of the learning rate, float32, and of the step's number, int64.
    pub(super) fn new(nodes: &mut Nodes, learning_rate: &str, step: &str) -> Self {
        let learning_rate = nodes.cast(learning_rate, Element::F64);
        let step = nodes.cast(step, Element::F64);
        Self { learning_rate, step, known: HashMap::new() }
    }

    fn of(&mut self, nodes: &mut Nodes, optimizer: &Optimizer, parameter: &Parameter<'_>) -> Factors {
        let has_decay = parameter.has_decay && optimizer.weight_decay() > 0.0;
        let key = (parameter.element, parameter.rate.to_bits(), has_decay);
        if let Some(factors) = self.known.get(&key) {
            return factors.clone();
        }
        nodes.element = Element::F64;
        let factors = self.factors(nodes, optimizer, parameter, has_decay);
        nodes.element = parameter.element;
        self.known.insert(key, factors.clone());
        factors
    }

    /// In float64: `1 - beta2^t` starts at 0.001, where float32 keeps four digits. AdamW's fraction is multiplied by
    /// `sqrt(1 - beta2^t)` above and below, which leaves one pass over the weight less.
    fn factors(&self, nodes: &mut Nodes, optimizer: &Optimizer, parameter: &Parameter<'_>, has_decay: bool) -> Factors {
        let mut rate = self.learning_rate.clone();
        if parameter.rate != 1.0 {
            rate = nodes.scale(&rate, parameter.rate);
        }
        let Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } = *optimizer else {
            return Factors { size: nodes.cast(&rate, parameter.element), epsilon: String::new(), keep: None };
        };
        let mut unbiased = |beta: f64| {
            let beta = nodes.number(beta);
            let power = nodes.op("Pow", &[&beta, &self.step]);
            let one = nodes.number(1.0);
            nodes.sub(&one, &power)
        };
        let (bias_m, bias_v) = (unbiased(beta1), unbiased(beta2));
        let root = nodes.op("Sqrt", &[&bias_v]);
        let size = nodes.mul(&rate, &root);
        let size = nodes.div(&size, &bias_m);
        let epsilon = nodes.scale(&root, epsilon);
        let keep = has_decay.then(|| {
            let taken = nodes.scale(&rate, -weight_decay);
            let keep = nodes.shift(&taken, 1.0);
            nodes.cast(&keep, parameter.element)
        });
        Factors { size: nodes.cast(&size, parameter.element), epsilon: nodes.cast(&epsilon, parameter.element), keep }
    }
}
