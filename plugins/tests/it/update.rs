//! The operator `Update` against the same steps in standard operators: equal to the bit, in separate buffers and in one.

use std::collections::BTreeMap;

use crate::{
    both::{array, count, open},
    common::{FLOATS, OPERATORS, session},
    runtime::{Array, Numbers},
    step::driver::Driver,
};
use ort::{
    memory::Allocator,
    value::{DynValue, Tensor},
};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    head::Spelling,
    losses::{Loss, MultiSimilarity},
    proto::{GraphProto, ModelProto, OperatorSetIdProto},
    step::{Group, Half, Kind, LossScale, Operators, Optimizer, Precision, StepOptions, build, names},
};

use crate::step::numbers;

const INPUTS: usize = 5;
const BATCH: usize = 6;
const LABELS: [i64; BATCH] = [0, 1, 2, 0, 1, 2];

/// More numbers than one task takes, and not a multiple of that.
const LONG: usize = 3301;

fn backbone(element: Element, dim: usize) -> ModelProto {
    let batch = Dim::Named("batch".to_owned());
    let transposed = vec![attribute("transB", Value::Int(1))];
    let graph = GraphProto {
        name: Some("linear".to_owned()),
        input: vec![declare("images", element, &[batch.clone(), Dim::Known(INPUTS)])],
        output: vec![declare("features", element, &[batch, Dim::Known(dim)])],
        node: vec![node("Gemm", &["images", "weight", "bias"], &["features"], transposed)],
        initializer: vec![
            floats("weight", element, &[dim, INPUTS], &numbers(dim * INPUTS, 1)),
            floats("bias", element, &[dim], &numbers(dim, 2)),
        ],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

fn data(element: Element, step: u64) -> Array {
    array(element, &[BATCH, INPUTS], 10 + step)
}

fn optimizers() -> Vec<Optimizer> {
    let sgd = |momentum, nesterov, weight_decay| Optimizer::Sgd { momentum, nesterov, weight_decay };
    vec![
        sgd(0.0, false, 0.0),
        sgd(0.0, false, 0.1),
        sgd(0.9, false, 0.1),
        sgd(0.8, true, 0.1),
        Optimizer::default(),
        // A decay that no float32 holds.
        Optimizer::AdamW { beta1: 0.0, beta2: 0.999_999_999, epsilon: 1.0 / 3.0, weight_decay: 0.5 },
        Optimizer::Lion { beta1: 0.9, beta2: 0.95, weight_decay: 0.5 },
        // By norms, which the operator has not.
        Optimizer::Lamb { beta1: 0.9, beta2: 0.99, epsilon: 1e-4, weight_decay: 0.5 },
    ]
}

fn variants(optimizer: Optimizer) -> Vec<StepOptions> {
    let loss = Loss::MultiSimilarity(MultiSimilarity::default());
    let proxies = Loss::Softmax(pdloss::graph::losses::NormalizedSoftmax::default());
    let plain = |loss| StepOptions { spelling: Spelling::Inline, optimizer, ..StepOptions::new(loss, 3) };
    let group = |pattern: &str, rate, decay| Group { pattern: pattern.to_owned(), rate, decay };
    vec![
        plain(loss),
        StepOptions { clip: Some(0.01), decay_all: true, ..plain(proxies) },
        StepOptions { clip: Some(1e6), ema: Some(0.9), decay_proxies: true, proxies_rate: 10.0, ..plain(proxies) },
        StepOptions {
            groups: vec![group("weight", 0.3, Some(0.2)), group("*", 2.0, None)],
            ema: Some(0.25),
            ..plain(proxies)
        },
        // The first steps overflow and are skipped.
        StepOptions {
            precision: Some(Precision {
                scale: Some(LossScale { first: 2.0_f64.powi(40), every: 2 }),
                ..Precision::new(Half::F16, true)
            }),
            ema: Some(0.5),
            ..plain(loss)
        },
    ]
}

fn bits(array: &Array) -> Vec<u64> {
    array.values().into_iter().map(f64::to_bits).collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn one_node_gives_the_bits_of_standard_operators() {
    for optimizer in optimizers() {
        for (index, options) in variants(optimizer).into_iter().enumerate() {
            let element = FLOATS[index % FLOATS.len()];
            let dim = if index == 1 { LONG } else { 4 };
            let fused = StepOptions { operators: OPERATORS, ..options.clone() };
            let [standard, operators] =
                [&options, &fused].map(|options| build(backbone(element, dim), options).expect("built"));
            let has_operator = !matches!(optimizer, Optimizer::Lamb { .. });
            assert_eq!((count(&standard, &["Update"]), count(&operators, &["Update"])), (0, usize::from(has_operator)));
            let mut wanted = Driver::of(standard.clone(), open(&standard, 1));
            let mut others = [1, 3].map(|threads| Driver::of(operators.clone(), open(&operators, threads)));
            for step in 0..5 {
                // A rate that changes from step to step.
                let (data, rate) = (data(element, step), 0.1 / (step + 1) as f64);
                let wanted = wanted.step(&data, &LABELS, rate);
                for other in &mut others {
                    let got = other.step(&data, &LABELS, rate);
                    assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
                    for (name, wanted) in &wanted {
                        // On CUDA the norm is summed in one node, in another order.
                        let by_norm = options.clip.is_some() || name == names::GRADIENT_NORM;
                        if OPERATORS == Operators::Cuda && by_norm {
                            let near = |(a, b): (&f64, &f64)| {
                                (a - b).abs() <= 1e-5 * b.abs().max(1.0) || a.is_nan() && b.is_nan()
                            };
                            let (got, wanted) = (got[name].values(), wanted.values());
                            assert!(
                                got.iter().zip(&wanted).all(near),
                                "{fused:?}, step {step}: {name}: {got:?}, {wanted:?}"
                            );
                            continue;
                        }
                        assert_eq!(bits(&got[name]), bits(wanted), "{fused:?}, step {step}: {name}");
                    }
                }
            }
            let skipped = wanted.state.get(names::SKIPPED_STEPS).map_or(0.0, Array::number);
            assert_eq!(skipped > 0.0, options.precision.is_some(), "{fused:?}: {skipped} steps were skipped");
        }
    }
}

/// A gradient that is not finite makes the same of the weights.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_is_not_a_number_stays_none() {
    for optimizer in optimizers() {
        for options in variants(optimizer) {
            let fused = StepOptions { operators: OPERATORS, ..options.clone() };
            let [wanted, got] = [options, fused].map(|options| {
                let model = build(backbone(Element::F32, 4), &options).expect("built");
                let session = open(&model, 1);
                let mut driver = Driver::of(model, session);
                let mut data = data(Element::F32, 0);
                data.set(0, f64::NAN);
                driver.step(&data, &LABELS, 0.1);
                driver.state
            });
            for (name, wanted) in &wanted {
                let finite = |array: &Array| array.values().iter().map(|value| value.is_nan()).collect::<Vec<_>>();
                assert_eq!(finite(&got[name]), finite(wanted), "{optimizer:?}: {name}");
            }
        }
    }
}

/// The state in memory of the runtime's own, which can be bound as inputs and as outputs.
fn values(state: &BTreeMap<String, Array>) -> BTreeMap<String, DynValue> {
    let value = |array: &Array| match &array.numbers {
        Numbers::F32(values) => {
            let mut tensor = Tensor::<f32>::new(&Allocator::default(), array.shape.clone()).expect("a tensor");
            tensor.extract_tensor_mut().1.copy_from_slice(values);
            tensor.into_dyn()
        }
        Numbers::I64(values) => Tensor::from_array((array.shape.clone(), values.clone())).expect("a tensor").into_dyn(),
        other => panic!("{other:?}"),
    };
    state.iter().map(|(name, array)| (name.clone(), value(array))).collect()
}

fn address(value: &DynValue) -> usize {
    value.try_extract_tensor::<f32>().expect("float32").1.as_ptr().addr()
}

fn fused() -> (ModelProto, Driver) {
    let loss = Loss::Softmax(pdloss::graph::losses::NormalizedSoftmax::default());
    let options = StepOptions { operators: OPERATORS, ema: Some(0.5), clip: Some(1.0), ..StepOptions::new(loss, 3) };
    let model = build(backbone(Element::F32, LONG), &options).expect("built");
    (model.clone(), Driver::of(model.clone(), open(&model, 2)))
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn one_buffer_as_input_and_output_gives_the_bits_of_two() {
    let (model, mut separate) = fused();
    for state in &separate.description.state {
        let is_update = matches!(state.kind, Kind::Weight | Kind::Proxies | Kind::Optimizer | Kind::Average);
        assert_eq!(state.in_place, is_update, "{}", state.name);
    }
    let mut session = open(&model, 2);
    let mut state = values(&separate.state);
    let addresses: BTreeMap<String, usize> = separate
        .description
        .state
        .iter()
        .filter(|state| state.in_place)
        .map(|tensor| (tensor.name.clone(), address(&state[&tensor.name])))
        .collect();
    for step in 0..4 {
        let images = data(Element::F32, step);
        separate.step(&images, &LABELS, 0.1);
        let mut binding = session.create_binding().expect("a binding");
        let Numbers::F32(pixels) = images.numbers else { panic!("float32") };
        binding.bind_input("images", &Tensor::from_array((images.shape, pixels)).unwrap()).unwrap();
        binding.bind_input(names::LABELS, &Tensor::from_array(([BATCH], LABELS.to_vec())).unwrap()).unwrap();
        binding.bind_input(names::LEARNING_RATE, &Tensor::from_array(([0_usize; 0], vec![0.1_f32])).unwrap()).unwrap();
        for tensor in &separate.description.state {
            let value = state.get_mut(&tensor.name).expect("a value");
            binding.bind_input(tensor.name.as_str(), value).unwrap();
            if tensor.in_place {
                binding.bind_output(tensor.next.as_str(), value).unwrap();
            } else {
                binding.bind_output_to_device(tensor.next.as_str(), Allocator::default().memory_info()).unwrap();
            }
        }
        let mut outputs = session.run_binding(&binding).unwrap_or_else(|error| panic!("{error}"));
        for tensor in &separate.description.state {
            let next = outputs.remove(&tensor.next).expect("an output");
            if let Some(address_before) = addresses.get(&tensor.name) {
                assert_eq!(address(&next), *address_before, "{}", tensor.name);
                let got: Vec<u32> =
                    next.try_extract_tensor::<f32>().unwrap().1.iter().map(|value| value.to_bits()).collect();
                let Numbers::F32(wanted) = &separate.state[&tensor.name].numbers else { panic!("float32") };
                let wanted: Vec<u32> = wanted.iter().map(|value| value.to_bits()).collect();
                assert!(got == wanted, "step {step}: {}", tensor.name);
            }
            state.insert(tensor.name.clone(), next);
        }
    }
}

/// An output in the memory of another input would change what is still to be read.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn outputs_in_the_memory_of_others_are_refused() {
    let (model, driver) = fused();
    let mut session = open(&model, 1);
    let mut state = values(&driver.state);
    let mut binding = session.create_binding().expect("a binding");
    let images = vec![0.5_f32; BATCH * INPUTS];
    binding.bind_input("images", &Tensor::from_array(([BATCH, INPUTS], images)).unwrap()).unwrap();
    binding.bind_input(names::LABELS, &Tensor::from_array(([BATCH], LABELS.to_vec())).unwrap()).unwrap();
    binding.bind_input(names::LEARNING_RATE, &Tensor::from_array(([0_usize; 0], vec![0.1_f32])).unwrap()).unwrap();
    for (name, value) in &state {
        binding.bind_input(name.as_str(), value).unwrap();
    }
    binding.bind_output("bias.next", state.get_mut("pdloss.m.bias").expect("a value")).unwrap();
    let error = session.run_binding(&binding).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("Update") && error.contains("tensors: wanted memory that no output is written to"),
        "{error}"
    );
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_is_wrong_is_named() {
    let with = |settings: Option<[f64; 9]>, change: &dyn Fn(&mut pdloss::graph::proto::NodeProto)| {
        let (mut model, _) = fused();
        let graph = model.graph.as_mut().expect("a graph");
        let update = graph.node.iter_mut().find(|node| node.op_type() == "Update").expect("the update");
        if let Some(settings) = settings {
            graph.initializer.push(floats("spoilt", Element::F64, &[3, 3], &settings));
            update.input[3] = "spoilt".to_owned();
        }
        change(update);
        let session = session::builder().and_then(|builder| session::open(builder, &model));
        session
            .map_err(|error| error.to_string())
            .and_then(|session| Driver::of(model, session).try_step(&data(Element::F32, 0), &LABELS, 0.1).map(|_| ()))
    };
    let changed = |change: &dyn Fn(&mut pdloss::graph::proto::NodeProto)| with(None, change);
    assert_eq!(changed(&|_| ()), Ok(()));
    // Rate, decay and average of three weights, of which two have an average.
    let row =
        |rate: f64, decay: f64, average: f64| with(Some([1.0, 0.1, 0.5, rate, decay, average, 1.0, 0.0, 0.0]), &|_| ());
    assert_eq!(row(1.0, 0.0, 0.5), Ok(()));
    for (rate, decay, average) in
        [(f64::NAN, 0.0, 0.5), (1.0, f64::NAN, 0.5), (1.0, -0.1, 0.5), (1.0, f64::INFINITY, 0.5), (1.0, 0.0, 1.5)]
    {
        let error = row(rate, decay, average).expect_err("refused");
        assert!(error.contains("settings: wanted a finite rate, a finite decay not below 0"), "{error}");
        assert!(error.contains(&format!("got {rate}, {decay}, {average} in row 1")), "{error}");
    }
    let set = |name: &str, value: fn() -> Value| {
        changed(&|node| {
            node.attribute.retain(|attribute| attribute.name() != name);
            node.attribute.push(attribute(name, value()));
        })
    };
    // Nobody waits to look on CUDA.
    if OPERATORS == Operators::Cpu {
        let error = changed(&|node| node.input[1] = names::STEP.to_owned()).expect_err("a step of number 0");
        assert!(error.contains("step: wanted 1 or more, the number of this step, got 0"), "{error}");
    }
    for (got, wanted) in [
        (
            set("optimizer", || Value::Text("adam".to_owned())),
            "attribute optimizer: wanted sgd, adamw or lion, got 'adam'",
        ),
        (set("beta1", || Value::Float(1.0)), "attribute beta1: wanted 0 <= x < 1, got 1"),
        (set("beta2", || Value::Text("x".to_owned())), "attribute beta2: wanted a number, got the string 'x'"),
        (set("epsilon", || Value::Float(f32::NAN)), "attribute epsilon: wanted a finite number not below 0, got NaN"),
        (set("clip", || Value::Float(0.0)), "attribute clip: wanted a finite number above 0, got 0"),
        (
            changed(&|node| node.attribute.retain(|attribute| attribute.name() != "beta2")),
            "attribute beta2: wanted 0 <= x < 1, and it is not there",
        ),
        // Of three weights, with two tensors of each and two averages.
        (
            changed(&|node| {
                node.input.pop();
            }),
            "tensors: wanted 14 (3 weights, their gradients, 2 more of each, 2 averages), got 13",
        ),
        (changed(&|node| node.input.swap(7, 8)), "tensors: wanted [3301, 5] as the weight at 0 has, got [3301]"),
    ] {
        let error = got.expect_err(wanted);
        assert!(error.contains(wanted), "{error}, wanted {wanted}");
    }
}
