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
    /// Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2):
    ///
    /// ```text
    /// m' = beta2 m + (1 - beta2) g          w' = (1 - r weight_decay) w - r sign(beta1 m + (1 - beta1) g)
    /// ```
    #[serde(rename = "lion")]
    Lion {
        /// Memory of the direction.
        beta1: f64,
        /// Memory of the mean.
        beta2: f64,
        /// Share of the weight that `r` takes off.
        weight_decay: f64,
    },
    /// LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning", Algorithm 2), tensor by tensor:
    ///
    /// ```text
    /// m' = beta1 m + (1 - beta1) g          v' = beta2 v + (1 - beta2) g^2
    /// d = m' / (1 - beta1^t) / (sqrt(v' / (1 - beta2^t)) + epsilon) + weight_decay w
    /// w' = w - r |w| / |d| d          (1 for |w| / |d| where either is 0)
    /// ```
    #[serde(rename = "lamb")]
    Lamb {
        /// Memory of the mean.
        beta1: f64,
        /// Memory of the square.
        beta2: f64,
        /// Added to the root of the square.
        epsilon: f64,
        /// Share of the weight that is part of the direction.
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
#[derive(Clone)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) element: Element,
    /// Weight decay, 0 for none.
    pub(super) decay: f64,
    /// Factor on the learning rate.
    pub(super) rate: f64,
    /// Whether there is an average of it.
    pub(super) averaged: bool,
}

/// The next values of a weight, of the optimiser's tensors for it, in the order of [`Optimizer::kinds`], and of its average.
#[derive(Clone)]
pub(super) struct Update {
    pub(super) weight: String,
    pub(super) state: Vec<String>,
    pub(super) average: Option<String>,
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
            Self::AdamW { .. } | Self::Lamb { .. } => &["m", "v"],
            Self::Lion { .. } => &["m"],
        }
    }

    /// The weight decay of weights that have one.
    #[must_use]
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Self::Sgd { weight_decay, .. }
            | Self::AdamW { weight_decay, .. }
            | Self::Lion { weight_decay, .. }
            | Self::Lamb { weight_decay, .. } => weight_decay,
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
            Self::AdamW { beta1, .. } | Self::Lion { beta1, .. } | Self::Lamb { beta1, .. } if !below_one(beta1) => {
                wrong("beta1", "0 <= beta1 < 1", beta1)
            }
            Self::AdamW { beta2, .. } | Self::Lion { beta2, .. } | Self::Lamb { beta2, .. } if !below_one(beta2) => {
                wrong("beta2", "0 <= beta2 < 1", beta2)
            }
            Self::AdamW { epsilon, .. } | Self::Lamb { epsilon, .. } if !finite(epsilon) => {
                wrong("epsilon", "a finite number not below 0", epsilon)
            }
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
            Self::Sgd { momentum, nesterov, .. } => {
                let mut direction = with_decay(nodes, parameter, gradient.to_owned());
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
                Update { weight: nodes.sub(w, &step), state, average: None }
            }
            Self::AdamW { beta1, beta2, .. } => {
                let (direction, state) = adaptive(nodes, w, gradient, (beta1, beta2), &factors.epsilon);
                let step = nodes.mul(&direction, &factors.size);
                let kept = factors.kept(nodes, w);
                Update { weight: nodes.sub(&kept, &step), state, average: None }
            }
            Self::Lion { beta1, beta2, .. } => {
                let memory_of = state_name("m", w);
                let direction = memory(nodes, &memory_of, beta1, gradient);
                let direction = nodes.op("Sign", &[&direction]);
                let m = memory(nodes, &memory_of, beta2, gradient);
                let step = nodes.mul(&direction, &factors.size);
                let kept = factors.kept(nodes, w);
                Update { weight: nodes.sub(&kept, &step), state: vec![m], average: None }
            }
            Self::Lamb { beta1, beta2, .. } => {
                let (direction, state) = adaptive(nodes, w, gradient, (beta1, beta2), &factors.epsilon);
                let direction = nodes.mul(&direction, &factors.unbiased);
                let direction = with_decay(nodes, parameter, direction);
                let trust = trust(nodes, w, &direction);
                let size = nodes.mul(&trust, &factors.size);
                let step = nodes.mul(&direction, &size);
                Update { weight: nodes.sub(w, &step), state, average: None }
            }
        }
    }
}

/// `m / (sqrt(v) + epsilon)` of the moving averages `m` of the gradient and `v` of its square, and these.
fn adaptive(
    nodes: &mut Nodes,
    w: &str,
    gradient: &str,
    (beta1, beta2): (f64, f64),
    epsilon: &str,
) -> (String, Vec<String>) {
    let m = memory(nodes, &state_name("m", w), beta1, gradient);
    let square = nodes.mul(gradient, gradient);
    let v = memory(nodes, &state_name("v", w), beta2, &square);
    let root = nodes.op("Sqrt", &[&v]);
    let divisor = nodes.add(&root, epsilon);
    (nodes.div(&m, &divisor), vec![m, v])
}

/// `direction + decay w`
fn with_decay(nodes: &mut Nodes, parameter: &Parameter<'_>, direction: String) -> String {
    if parameter.decay <= 0.0 {
        return direction;
    }
    let decay = nodes.scale(parameter.name, parameter.decay);
    nodes.add(&direction, &decay)
}

/// `|w| / |direction|`, 1 where either is 0.
fn trust(nodes: &mut Nodes, w: &str, direction: &str) -> String {
    let [of_w, of_direction] = [w, direction].map(|tensor| {
        let square = nodes.reduce_all("ReduceSumSquare", tensor);
        nodes.op("Sqrt", &[&square])
    });
    let (zero, one) = (nodes.number(0.0), nodes.number(1.0));
    let product = nodes.mul(&of_w, &of_direction);
    let is_none = nodes.op("Equal", &[&product, &zero]);
    let divisor = nodes.op("Where", &[&is_none, &one, &of_direction]);
    let ratio = nodes.div(&of_w, &divisor);
    nodes.op("Where", &[&is_none, &one, &ratio])
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
    known: HashMap<(Element, u64, u64), Factors>,
}

#[derive(Clone)]
struct Factors {
    /// What the direction is multiplied by.
    size: String,
    /// AdamW's and LAMB's, as [`Scalars::factors`] has it.
    epsilon: String,
    /// LAMB's: what is left of AdamW's size without the rate.
    unbiased: String,
    /// What is left of the weight.
    keep: Option<String>,
}

impl Factors {
    fn kept(&self, nodes: &mut Nodes, w: &str) -> String {
        self.keep.as_ref().map_or_else(|| w.to_owned(), |keep| nodes.mul(w, keep))
    }
}

impl Scalars {
    /// From the names of the learning rate, float32, and of the step's number, int64.
    pub(super) fn new(nodes: &mut Nodes, learning_rate: &str, step: &str) -> Self {
        let learning_rate = nodes.cast(learning_rate, Element::F64);
        let step = nodes.cast(step, Element::F64);
        Self { learning_rate, step, known: HashMap::new() }
    }

    fn of(&mut self, nodes: &mut Nodes, optimizer: &Optimizer, parameter: &Parameter<'_>) -> Factors {
        let key = (parameter.element, parameter.rate.to_bits(), parameter.decay.to_bits());
        if let Some(factors) = self.known.get(&key) {
            return factors.clone();
        }
        nodes.element = Element::F64;
        let factors = self.factors(nodes, optimizer, parameter);
        nodes.element = parameter.element;
        self.known.insert(key, factors.clone());
        factors
    }

    /// In float64: `1 - beta2^t` starts at 0.001, where float32 keeps four digits. AdamW's fraction is multiplied by
    /// `sqrt(1 - beta2^t)` above and below, which leaves one pass over the weight less.
    fn factors(&self, nodes: &mut Nodes, optimizer: &Optimizer, parameter: &Parameter<'_>) -> Factors {
        let mut rate = self.learning_rate.clone();
        if parameter.rate != 1.0 {
            rate = nodes.scale(&rate, parameter.rate);
        }
        let keep = |nodes: &mut Nodes| {
            (parameter.decay > 0.0).then(|| {
                let taken = nodes.scale(&rate, -parameter.decay);
                let keep = nodes.shift(&taken, 1.0);
                nodes.cast(&keep, parameter.element)
            })
        };
        let (Optimizer::AdamW { beta1, beta2, epsilon, .. } | Optimizer::Lamb { beta1, beta2, epsilon, .. }) =
            *optimizer
        else {
            let keep = if matches!(optimizer, Optimizer::Lion { .. }) { keep(nodes) } else { None };
            let (size, nothing) = (nodes.cast(&rate, parameter.element), String::new());
            return Factors { size, epsilon: nothing.clone(), unbiased: nothing, keep };
        };
        let mut unbiased = |beta: f64| {
            let beta = nodes.number(beta);
            let power = nodes.op("Pow", &[&beta, &self.step]);
            let one = nodes.number(1.0);
            nodes.sub(&one, &power)
        };
        let (bias_m, bias_v) = (unbiased(beta1), unbiased(beta2));
        let root = nodes.op("Sqrt", &[&bias_v]);
        let epsilon_of = |nodes: &mut Nodes| {
            let epsilon = nodes.scale(&root, epsilon);
            nodes.cast(&epsilon, parameter.element)
        };
        if matches!(optimizer, Optimizer::Lamb { .. }) {
            let unbiased = nodes.div(&root, &bias_m);
            return Factors {
                unbiased: nodes.cast(&unbiased, parameter.element),
                epsilon: epsilon_of(nodes),
                size: nodes.cast(&rate, parameter.element),
                keep: None,
            };
        }
        let size = nodes.mul(&rate, &root);
        let size = nodes.div(&size, &bias_m);
        let (epsilon, keep) = (epsilon_of(nodes), keep(nodes));
        Factors { size: nodes.cast(&size, parameter.element), epsilon, unbiased: String::new(), keep }
    }
}
