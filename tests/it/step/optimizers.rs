//! Steps of every optimiser against plain loops in `f64`, with PD-Loss on a linear embedder.

use std::collections::BTreeMap;

use pdloss::{
    graph::{
        head::Spelling,
        losses::Loss,
        step::{Group, Kind, Optimizer, StepOptions},
    },
    loss::Config,
    reference::pd_loss,
};

use crate::{
    step::backbones::{linear, normal},
    step::driver::{Array, Driver, assert_close},
};

const INPUTS: usize = 7;
const DIM: usize = 5;
const CLASSES: usize = 4;
const BATCH: usize = 6;
const STEPS: u64 = 6;
const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const PROXIES: &str = "pdloss.proxies";

type Tensors = BTreeMap<String, Vec<f64>>;

/// Weights and the optimiser's memory, by the definitions that PyTorch's documentation gives.
struct Reference {
    weights: Tensors,
    /// Averages of the backbone's weights, kept whether they are asked for or not.
    averages: Tensors,
    memory: BTreeMap<&'static str, Tensors>,
    step: i32,
}

impl Reference {
    fn new(driver: &Driver) -> Self {
        let weights: Tensors =
            [WEIGHT, BIAS, PROXIES].map(|name| (name.to_owned(), weight_of(driver, name))).into_iter().collect();
        Self { averages: weights.clone(), weights, memory: BTreeMap::new(), step: 0 }
    }

    fn gradients(&self, data: &[f64], labels: &[usize]) -> (f64, Tensors) {
        let (weight, bias) = (&self.weights[WEIGHT], &self.weights[BIAS]);
        let mut features = vec![0.0; BATCH * DIM];
        for i in 0..BATCH {
            for d in 0..DIM {
                features[i * DIM + d] = bias[d];
                for k in 0..INPUTS {
                    features[i * DIM + d] += data[i * INPUTS + k] * weight[d * INPUTS + k];
                }
            }
        }
        let truth = pd_loss(&Config::default(), DIM, &features, &self.weights[PROXIES], labels);
        let (mut of_weight, mut of_bias) = (vec![0.0; DIM * INPUTS], vec![0.0; DIM]);
        for i in 0..BATCH {
            for d in 0..DIM {
                let gradient = truth.embeddings[i * DIM + d];
                of_bias[d] += gradient;
                for k in 0..INPUTS {
                    of_weight[d * INPUTS + k] += gradient * data[i * INPUTS + k];
                }
            }
        }
        let gradients = [(WEIGHT, of_weight), (BIAS, of_bias), (PROXIES, truth.proxies)]
            .map(|(name, grad)| (name.to_owned(), grad));
        (truth.loss, gradients.into_iter().collect())
    }

    /// One step; the loss and the gradients' norm before it.
    fn step(&mut self, options: &StepOptions, data: &[f64], labels: &[usize], learning_rate: f64) -> (f64, f64) {
        let (loss, mut gradients) = self.gradients(data, labels);
        gradients.retain(|name, _| !options.freeze.iter().any(|frozen| frozen == name));
        let norm = gradients.values().flatten().map(|value| value * value).sum::<f64>().sqrt();
        if let Some(limit) = options.clip {
            let factor = (limit / (norm + 1e-6)).min(1.0);
            gradients.values_mut().flatten().for_each(|value| *value *= factor);
        }
        self.step += 1;
        for (name, gradient) in gradients {
            let is_decayed = match name.as_str() {
                WEIGHT => true,
                BIAS => options.decay_all,
                _ => options.decay_proxies,
            };
            let mut rate = if name == PROXIES { learning_rate * options.proxies_rate } else { learning_rate };
            let mut decay = if is_decayed { options.optimizer.weight_decay() } else { 0.0 };
            // Groups are called by whole names here.
            if let Some(group) = options.groups.iter().find(|group| group.pattern == name) {
                rate *= group.rate;
                decay = if is_decayed { group.decay.unwrap_or(decay) } else { 0.0 };
            }
            self.update(options.optimizer, &name, &gradient, rate, decay);
            if let Some(ema) = options.ema.filter(|_| name != PROXIES) {
                let average = self.averages.get_mut(&name).expect("an average");
                average.iter_mut().zip(&self.weights[&name]).for_each(|(a, w)| *a = ema * *a + (1.0 - ema) * w);
            }
        }
        (loss, norm)
    }

    fn update(&mut self, optimizer: Optimizer, name: &str, gradient: &[f64], rate: f64, decay: f64) {
        let step = self.step;
        let weights = self.weights.get_mut(name).expect("a weight");
        let mut memory = |kind: &'static str| {
            let of_kind = self.memory.entry(kind).or_default();
            of_kind.entry(name.to_owned()).or_insert_with(|| vec![0.0; gradient.len()]).clone()
        };
        match optimizer {
            Optimizer::Sgd { momentum, nesterov, .. } => {
                let mut buffer = memory("momentum");
                for (index, w) in weights.iter_mut().enumerate() {
                    let g = gradient[index] + decay * *w;
                    buffer[index] = momentum * buffer[index] + g;
                    *w -= rate * if nesterov { g + momentum * buffer[index] } else { buffer[index] };
                }
                self.memory.entry("momentum").or_default().insert(name.to_owned(), buffer);
            }
            Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
                let (mut m, mut v) = (memory("m"), memory("v"));
                for (index, w) in weights.iter_mut().enumerate() {
                    let g = gradient[index];
                    *w -= rate * decay * *w;
                    m[index] = beta1 * m[index] + (1.0 - beta1) * g;
                    v[index] = beta2 * v[index] + (1.0 - beta2) * g * g;
                    let mean = m[index] / (1.0 - beta1.powi(step));
                    let square = v[index] / (1.0 - beta2.powi(step));
                    *w -= rate * mean / (square.sqrt() + epsilon);
                }
                self.memory.entry("m").or_default().insert(name.to_owned(), m);
                self.memory.entry("v").or_default().insert(name.to_owned(), v);
            }
            Optimizer::Lion { beta1, beta2, .. } => {
                let mut m = memory("m");
                for (index, w) in weights.iter_mut().enumerate() {
                    let g = gradient[index];
                    let direction = (beta1 * m[index] + (1.0 - beta1) * g).signum();
                    *w -= rate * (direction + decay * *w);
                    m[index] = beta2 * m[index] + (1.0 - beta2) * g;
                }
                self.memory.entry("m").or_default().insert(name.to_owned(), m);
            }
            Optimizer::Lamb { beta1, beta2, epsilon, .. } => {
                let (mut m, mut v) = (memory("m"), memory("v"));
                let mut direction = vec![0.0; weights.len()];
                for (index, w) in weights.iter().enumerate() {
                    let g = gradient[index];
                    m[index] = beta1 * m[index] + (1.0 - beta1) * g;
                    v[index] = beta2 * v[index] + (1.0 - beta2) * g * g;
                    let mean = m[index] / (1.0 - beta1.powi(step));
                    let square = v[index] / (1.0 - beta2.powi(step));
                    direction[index] = mean / (square.sqrt() + epsilon) + decay * w;
                }
                let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
                let (of_weights, of_direction) = (norm(weights), norm(&direction));
                let trust = if of_weights > 0.0 && of_direction > 0.0 { of_weights / of_direction } else { 1.0 };
                weights.iter_mut().zip(&direction).for_each(|(w, direction)| *w -= rate * trust * direction);
                self.memory.entry("m").or_default().insert(name.to_owned(), m);
                self.memory.entry("v").or_default().insert(name.to_owned(), v);
            }
            other => panic!("{other:?} has no plain loops here"),
        }
    }
}

fn weight_of(driver: &Driver, name: &str) -> Vec<f64> {
    let initializers = &driver.model.graph.as_ref().expect("a graph").initializer;
    Array::of(initializers.iter().find(|tensor| tensor.name() == name).expect("an initializer")).values()
}

/// Runs both and compares loss, norm, and every tensor of the state after every step.
fn hold_to_reference(options: &StepOptions) {
    let mut driver = Driver::new(linear(INPUTS, DIM), options);
    let mut reference = Reference::new(&driver);
    let labels = [0, 1, 2, 0, 3, 1];
    let numbers = labels.map(|label| label as i64);
    for step in 0..STEPS {
        let data = normal(BATCH * INPUTS, 100 + step);
        // A float32 that changes from step to step.
        let learning_rate = 0.0625 / (step + 1) as f64;
        let learning_rate = f64::from(learning_rate as f32);
        let (loss, norm) = reference.step(options, &data, &labels, learning_rate);
        let outputs = driver.step(&Array::f64(&[BATCH, INPUTS], &data), &numbers, learning_rate);
        let what = |name: &str| format!("{options:?}, step {step}: {name}");
        assert_close(&what("loss"), &[outputs["pdloss.loss"].number()], &[loss], 1e-9);
        assert_close(&what("norm"), &[outputs["pdloss.gradient_norm"].number()], &[norm], 1e-9);
        for state in &driver.description.state {
            let got = driver.state[&state.name].values();
            let wanted = match (state.kind, &state.of) {
                (Kind::Average, Some(of)) => reference.averages[of].clone(),
                (Kind::Step, _) => vec![step as f64 + 1.0],
                (Kind::Optimizer, Some(of)) => {
                    let kind = state.name.strip_prefix("pdloss.").and_then(|name| name.split('.').next());
                    reference.memory[kind.expect("a kind")][of].clone()
                }
                _ => reference.weights[&state.name].clone(),
            };
            assert_close(&what(&state.name), &got, &wanted, 1e-9);
        }
    }
}

fn options(optimizer: Optimizer) -> StepOptions {
    let loss = Loss::Pd(Config::default());
    StepOptions { spelling: Spelling::Inline, optimizer, ..StepOptions::new(loss, CLASSES) }
}

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
const LION: Optimizer = Optimizer::Lion { beta1: 0.9, beta2: 0.95, weight_decay: 0.5 };
const LAMB: Optimizer = Optimizer::Lamb { beta1: 0.9, beta2: 0.99, epsilon: 1e-4, weight_decay: 0.5 };
const ADAMW: Optimizer = Optimizer::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-4, weight_decay: 0.5 };

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn descent() {
    for momentum in [0.0, 0.9] {
        for weight_decay in [0.0, 0.1] {
            hold_to_reference(&options(Optimizer::Sgd { momentum, nesterov: false, weight_decay }));
        }
    }
    hold_to_reference(&options(Optimizer::Sgd { momentum: 0.8, nesterov: true, weight_decay: 0.1 }));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn adamw() {
    hold_to_reference(&options(ADAMW));
    hold_to_reference(&options(Optimizer::default()));
    hold_to_reference(&options(Optimizer::AdamW { beta1: 0.0, beta2: 0.5, epsilon: 0.1, weight_decay: 0.0 }));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn lion_and_lamb() {
    for optimizer in [
        LION,
        LAMB,
        Optimizer::Lion { beta1: 0.0, beta2: 0.5, weight_decay: 0.0 },
        Optimizer::Lamb { beta1: 0.0, beta2: 0.5, epsilon: 0.1, weight_decay: 0.0 },
    ] {
        hold_to_reference(&options(optimizer));
        hold_to_reference(&StepOptions { decay_all: true, clip: Some(0.01), ..options(optimizer) });
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn groups_have_their_own_rate_and_decay() {
    let group = |pattern: &str, rate, decay| Group { pattern: pattern.to_owned(), rate, decay };
    for optimizer in [SGD, ADAMW, LION, LAMB] {
        let groups = vec![group(WEIGHT, 0.25, Some(0.2)), group(PROXIES, 3.0, Some(0.3)), group("*", 2.0, None)];
        // The reference knows whole names alone, and the last one is the bias then.
        let told = StepOptions { groups: groups.clone(), decay_proxies: true, ..options(optimizer) };
        let named = StepOptions { groups: [&groups[..2], &[group(BIAS, 2.0, None)]].concat(), ..told.clone() };
        hold_to_reference(&named);
        let [told, named] = [told, named].map(|options| {
            let mut driver = Driver::new(linear(INPUTS, DIM), &options);
            driver.step(&Array::f64(&[BATCH, INPUTS], &normal(BATCH * INPUTS, 1)), &[0, 1, 2, 0, 3, 1], 0.1);
            driver.state
        });
        assert!(told.keys().all(|name| told[name].values() == named[name].values()));
        let none = StepOptions { groups: vec![group(WEIGHT, 1.0, Some(0.0))], ..options(optimizer) };
        hold_to_reference(&none);
    }
}

/// Averages of the backbone's weights and running statistics, and not of the proxies.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn averages_follow_the_weights() {
    for optimizer in [SGD, ADAMW] {
        for ema in [0.9, 0.25] {
            let options = StepOptions { ema: Some(ema), ..options(optimizer) };
            hold_to_reference(&options);
            let driver = Driver::new(linear(INPUTS, DIM), &options);
            let averages = driver.description.state.iter().filter(|state| state.kind == Kind::Average);
            let averages: Vec<&str> = averages.map(|state| state.name.as_str()).collect();
            assert_eq!(averages, ["pdloss.ema.weight", "pdloss.ema.bias"]);
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_decays() {
    for optimizer in [SGD, ADAMW] {
        for (decay_all, decay_proxies) in [(true, false), (false, true), (true, true)] {
            hold_to_reference(&StepOptions { decay_all, decay_proxies, ..options(optimizer) });
        }
    }
}

/// 0.01 is far below the norms of these steps, 100 far above.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn clipping() {
    for optimizer in [SGD, ADAMW] {
        for limit in [0.01, 100.0] {
            hold_to_reference(&StepOptions { clip: Some(limit), ..options(optimizer) });
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn rate_of_the_proxies() {
    for optimizer in [SGD, ADAMW] {
        for proxies_rate in [0.0, 10.0] {
            hold_to_reference(&StepOptions { proxies_rate, decay_proxies: true, ..options(optimizer) });
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn frozen_weights_are_constants() {
    for optimizer in [SGD, ADAMW] {
        for name in [WEIGHT, BIAS, PROXIES] {
            let options = StepOptions { freeze: vec![name.to_owned()], ..options(optimizer) };
            hold_to_reference(&options);
            let driver = Driver::new(linear(INPUTS, DIM), &options);
            assert!(!driver.state.keys().any(|state| state.contains(name)), "{:?}", driver.state.keys());
            let graph = driver.model.graph.expect("a graph");
            assert!(graph.initializer.iter().any(|tensor| tensor.name() == name));
            assert!(!graph.input.iter().any(|input| input.name() == name));
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn decay_as_described_is_decay_as_done() {
    let driver = Driver::new(linear(INPUTS, DIM), &options(ADAMW));
    let decayed: Vec<&str> =
        driver.description.state.iter().filter(|state| state.decay).map(|state| state.name.as_str()).collect();
    assert_eq!(decayed, [WEIGHT]);
}
