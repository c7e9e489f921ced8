//! Operators of a step alone, in every type of the CUDA provider, on the emulated driver beside the processor's own: results, bits in
//! another order of threads and blocks, launches.

use pdloss::graph::{
    build::{Element, Value, attribute, declare, node},
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TypeProtoValue},
};

use crate::{
    common::{Input, Numbers, Outputs, model, numbers, ours, session},
    emulation::Emulation,
    here,
    here::width::Width,
};

/// A node, what it is given, and what it gives.
struct Alone {
    operator: &'static str,
    attributes: Vec<AttributeProto>,
    inputs: Vec<Input>,
    outputs: Vec<&'static str>,
}

fn alone(operator: &'static str, inputs: Vec<Input>, outputs: &[&'static str]) -> Alone {
    Alone { operator, attributes: Vec::new(), inputs, outputs: outputs.to_vec() }
}

impl Alone {
    fn with(mut self, attributes: Vec<AttributeProto>) -> Self {
        self.attributes = attributes;
        self
    }

    /// Its inputs in float32 as this type has them.
    fn rounded(&self, width: Width) -> Vec<Input> {
        let round = |numbers: &Numbers| match numbers {
            Numbers::F32(values) => Numbers::F32(values.iter().map(|&value| width.round(value)).collect()),
            other => other.clone(),
        };
        self.inputs.iter().map(|(name, shape, numbers)| (*name, shape.clone(), round(numbers))).collect()
    }

    /// The node in this type, with casts where it is entered and left; a learning rate is float32 in all of them.
    fn model(&self, width: Width) -> ModelProto {
        let undeclared = |name: &str, element| {
            let mut value = declare(name, element, &[]);
            if let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_mut().and_then(|of| of.value.as_mut()) {
                tensor.shape = None;
            }
            value
        };
        let cast = |from: &str, into: &str, code| NodeProto {
            name: Some(format!("{from} as {into}")),
            ..node("Cast", &[from], &[into], vec![attribute("to", Value::Int(code))])
        };
        let element = |numbers: &Numbers| match numbers {
            Numbers::F32(_) => Element::F32,
            Numbers::F64(_) => Element::F64,
            Numbers::I32(_) => Element::I32,
            Numbers::I64(_) => Element::I64,
        };
        let narrow = |name: &str| format!("{name}.narrow");
        let (mut before, mut given) = (Vec::new(), Vec::new());
        for (name, _, numbers) in &self.inputs {
            let is_own = matches!(numbers, Numbers::F32(_)) && *name != "learning_rate";
            given.push(if is_own { narrow(name) } else { (*name).to_owned() });
            if is_own {
                before.push(cast(name, &narrow(name), width.code()));
            }
        }
        let made: Vec<String> = self.outputs.iter().map(|name| narrow(name)).collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let made_names: Vec<&str> = made.iter().map(String::as_str).collect();
        let own = ours(self.operator, &given, &made_names, self.attributes.clone());
        let after = self.outputs.iter().zip(&made).map(|(name, made)| cast(made, name, 1)).collect();
        model(GraphProto {
            name: Some("alone".to_owned()),
            node: [before, vec![own], after].concat(),
            input: self.inputs.iter().map(|(name, _, numbers)| undeclared(name, element(numbers))).collect(),
            output: self.outputs.iter().map(|name| undeclared(name, Element::F32)).collect(),
            ..GraphProto::default()
        })
    }

    fn on_cpu(&self, width: Width) -> Outputs {
        let builder = here::session::builder().expect("a builder");
        let mut session = session::open(builder, &self.model(Width::F32)).unwrap_or_else(|error| panic!("{error}"));
        session::run(&mut session, self.rounded(width)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn on_cuda(&self, width: Width) -> Outputs {
        let builder = session::builder().expect("a builder");
        let mut session = session::open(builder, &self.model(width)).unwrap_or_else(|error| panic!("{error}"));
        session::run(&mut session, self.rounded(width)).unwrap_or_else(|error| panic!("{error}"))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the type is the purpose")]
fn drawn(name: &'static str, shape: &[usize], seed: u64) -> Input {
    let count = shape.iter().product::<usize>();
    let values = numbers(count.max(2), seed)[..count].iter().map(|&value| value as f32).collect();
    (name, shape.to_vec(), Numbers::F32(values))
}

#[expect(clippy::cast_possible_truncation, reason = "settings are short")]
fn decimal(name: &str, value: f64) -> AttributeProto {
    attribute(name, Value::Float(value as f32))
}

/// The same above 0.
fn positive(name: &'static str, shape: &[usize], seed: u64) -> Input {
    let (name, shape, numbers) = drawn(name, shape, seed);
    let Numbers::F32(values) = numbers else { panic!("float32") };
    (name, shape, Numbers::F32(values.into_iter().map(|value| value.abs() + 0.25).collect()))
}

fn activations() -> Vec<Alone> {
    let shape = [3, 1003];
    let names = [
        ("relu", vec![]),
        ("clip", vec![decimal("low", -0.5), decimal("high", 0.75)]),
        ("leaky-relu", vec![decimal("alpha", 0.1)]),
        ("sigmoid", vec![]),
        ("tanh", vec![]),
        ("hard-sigmoid", vec![decimal("alpha", 0.2)]),
        ("hard-swish", vec![]),
        ("silu", vec![]),
        ("gelu", vec![decimal("factor", 2.0)]),
        ("gelu-tanh", vec![]),
    ];
    let one = |(name, settings): (&str, Vec<AttributeProto>)| {
        let mut inputs = vec![drawn("grad", &shape, 1), drawn("kept", &shape, 2)];
        if name == "silu" {
            inputs.push(positive("second", &shape, 3));
        }
        let name = attribute("activation", Value::Text(name.to_owned()));
        alone("ActivationGrad", inputs, &["input_grad"]).with([vec![name], settings].concat())
    };
    names.into_iter().map(one).collect()
}

/// Channels of several blocks, of which the last is shorter; rows that no four numbers divide; numbers without places.
fn normalizations() -> Vec<Alone> {
    let mut all = Vec::new();
    for shape in [vec![3, 2, 71, 72], vec![5, 3, 7, 7], vec![9, 4], vec![1, 1, 4100, 3]] {
        let channels = [shape[1]];
        let settings = vec![decimal("epsilon", 0.01), decimal("momentum", 0.8), decimal("sample", 1.0)];
        let inputs = vec![
            drawn("x", &shape, 1),
            drawn("scale", &channels, 2),
            drawn("bias", &channels, 3),
            drawn("running_mean", &channels, 4),
            positive("running_variance", &channels, 5),
        ];
        let outputs = ["y", "mean", "variance", "next_mean", "next_variance"];
        all.push(alone("BatchNormTraining", inputs, &outputs).with(settings.clone()));
        let inputs = vec![
            drawn("grad", &shape, 6),
            drawn("x", &shape, 1),
            drawn("scale", &channels, 2),
            drawn("mean", &channels, 4),
            positive("variance", &channels, 5),
        ];
        all.push(alone("BatchNormGrad", inputs, &["x_grad", "scale_grad", "bias_grad"]).with(settings));
    }
    for [rows, width] in [[5000, 7], [3, 1030], [40, 64]] {
        let inputs = vec![
            drawn("grad", &[rows, width], 1),
            drawn("x", &[rows, width], 2),
            drawn("scale", &[width], 3),
            drawn("mean", &[rows, 1], 4),
            positive("inverse_deviation", &[rows, 1], 5),
        ];
        all.push(alone("LayerNormGrad", inputs, &["x_grad", "scale_grad", "bias_grad"]));
    }
    all
}

/// Windows that overlap, reach into the padding and skip elements; over one axis.
fn pools() -> Vec<Alone> {
    let lengths = |name: &str, values: &[i64]| attribute(name, Value::Ints(values.to_vec()));
    let two = alone("MaxPoolGrad", vec![drawn("grad", &[2, 3, 5, 4], 1), drawn("x", &[2, 3, 11, 8], 2)], &["x_grad"]);
    let one = alone("MaxPoolGrad", vec![drawn("grad", &[2, 3, 6], 1), drawn("x", &[2, 3, 17], 2)], &["x_grad"]);
    vec![
        two.with(vec![
            lengths("kernel_shape", &[3, 2]),
            lengths("strides", &[2, 2]),
            lengths("dilations", &[1, 2]),
            lengths("pads", &[1, 1, 0, 1]),
        ]),
        one.with(vec![lengths("kernel_shape", &[4]), lengths("strides", &[3]), lengths("pads", &[1, 2])]),
    ]
}

/// More weights than a launch takes, one of none, one of several blocks; averages of every third.
fn updates() -> Vec<Alone> {
    const WEIGHTS: usize = 37;
    let lengths = |weight: usize| [1, 7, 4096, 9001, 0][weight % 5];
    let named =
        |letter: &str, weight: usize| -> &'static str { Box::leak(format!("{letter}{weight}").into_boxed_str()) };
    let text = |name: &str, value: &str| attribute(name, Value::Text(value.to_owned()));
    let rules = [
        (0, vec![text("optimizer", "sgd"), decimal("momentum", 0.0), decimal("nesterov", 0.0)]),
        (1, vec![text("optimizer", "sgd"), decimal("momentum", 0.9), decimal("nesterov", 1.0), decimal("clip", 0.5)]),
        (1, vec![text("optimizer", "lion"), decimal("beta1", 0.9), decimal("beta2", 0.95)]),
        (2, vec![text("optimizer", "adamw"), decimal("beta1", 0.9), decimal("beta2", 0.99), decimal("epsilon", 1e-3)]),
    ];
    let one = |(kept, attributes): (usize, Vec<AttributeProto>)| {
        let averages = |weight: &usize| weight.is_multiple_of(3);
        let settings: Vec<f64> =
            (0..WEIGHTS).flat_map(|w| [1.0, [0.0, 0.1][w % 2], if averages(&w) { 0.75 } else { 0.0 }]).collect();
        let tensors = |letter: &str, of: Vec<usize>, seed: u64| -> Vec<Input> {
            of.into_iter().map(|w| drawn(named(letter, w), &[lengths(w)], seed + w as u64)).collect()
        };
        let all = || (0..WEIGHTS).collect::<Vec<_>>();
        let mut inputs = vec![
            ("learning_rate", vec![], Numbers::F32(vec![0.125])),
            ("step", vec![], Numbers::I64(vec![5])),
            ("gradient_norm", vec![], Numbers::F32(vec![2.0])),
            ("settings", vec![WEIGHTS, 3], Numbers::F64(settings)),
        ];
        inputs.extend(tensors("w", all(), 100));
        inputs.extend(tensors("g", all(), 200));
        for letter in ["m", "v"].into_iter().take(kept) {
            inputs.extend(all().into_iter().map(|w| positive(named(letter, w), &[lengths(w)], 300 + w as u64)));
        }
        inputs.extend(tensors("a", all().into_iter().filter(averages).collect(), 400));
        let weights = all().into_iter().map(|w| named("next_w", w));
        let mut outputs: Vec<&'static str> = weights.collect();
        for letter in ["next_m", "next_v"].into_iter().take(kept) {
            outputs.extend(all().into_iter().map(|w| named(letter, w)));
        }
        outputs.extend(all().into_iter().filter(averages).map(|w| named("next_a", w)));
        alone("Update", inputs, &outputs).with(attributes)
    };
    rules.into_iter().map(one).collect()
}

/// More tensors than a launch takes, one of none, one of several blocks.
fn norms() -> Vec<Alone> {
    let named = |at: usize| -> &'static str { Box::leak(format!("g{at}").into_boxed_str()) };
    let lengths = |at: usize| [3, 16384, 0, 40_001, 1][at % 5];
    [1, 131]
        .map(|count| {
            let inputs = (0..count).map(|at| drawn(named(at), &[lengths(at)], at as u64)).collect();
            alone("GradientNorm", inputs, &["norm"])
        })
        .into()
}

fn all() -> Vec<Alone> {
    [activations(), normalizations(), pools(), updates(), norms()].into_iter().flatten().collect()
}

/// Within what rounding results, and statistics that results are made from, costs.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn every_type_agrees_with_the_processor() {
    for width in [Width::F32, Width::F16, Width::BF16] {
        for of in all() {
            let (got, wanted) = (of.on_cuda(width), of.on_cpu(width));
            assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (name, wanted) in &wanted {
                let largest = wanted.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
                let allowed = largest * (4.0 * width.rounding() + 1e-6);
                for (place, (got, wanted)) in got[name].iter().zip(wanted).enumerate() {
                    assert!(
                        (got - wanted).abs() <= allowed,
                        "{} {:?} in {width:?}: {name} at {place}: got {got}, wanted {wanted}",
                        of.operator,
                        of.inputs[0].1,
                    );
                }
            }
        }
    }
}

/// Threads and blocks in the opposite order give the same bits; nothing is left behind; a launch has 32 weights.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn no_order_changes_a_bit() {
    let bits = |outputs: Outputs| -> Vec<u64> { outputs.into_values().flatten().map(f64::to_bits).collect() };
    for of in all() {
        let first = bits(of.on_cuda(Width::F32));
        let emulation = Emulation::get();
        emulation.reverse(true);
        drop(emulation);
        let reversed = bits(of.on_cuda(Width::F32));
        Emulation::get().reverse(false);
        assert!(first == reversed, "{} {:?}", of.operator, of.inputs[0].1);
    }
}
