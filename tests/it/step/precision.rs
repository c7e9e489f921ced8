//! Products in 16 bits, against numbers rounded by the crate `half`, and the loss scale of float16.

use half::{bf16, f16};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, floats, node},
    head::Spelling,
    losses::{Loss, NormalizedSoftmax},
    proto::ModelProto,
    step::{
        Description, Half, Kind, LossScale, Operators, Optimizer, Precision, StepOptions, build, build_in_parts, names,
    },
};

use crate::step::{
    backbones::{FEATURES, IMAGE, convolutional, linear, model, normal, scaled},
    driver::{Array, Arrays, Driver, assert_close, open, run},
};

const CLASSES: usize = 4;

fn options(precision: Option<Precision>) -> StepOptions {
    let loss = Loss::Softmax(NormalizedSoftmax::default());
    StepOptions { spelling: Spelling::Inline, precision, ..StepOptions::new(loss, CLASSES) }
}

fn scale(first: f64, every: u64) -> Option<Precision> {
    let scale = Some(LossScale { first, every });
    Some(Precision { scale, ..Precision::new(Half::F16, true) })
}

/// `features = relu(images a' + a.bias) b'`
fn two_layers(a: &[f64], bias: &[f64], b: &[f64]) -> ModelProto {
    let turned = || vec![attribute("transB", Value::Int(1))];
    let (inputs, width, dim) = (a.len() / bias.len(), bias.len(), b.len() / bias.len());
    model(
        17,
        (Element::F32, &[Dim::Named("batch".to_owned()), Dim::Known(inputs)]),
        (Element::F32, &[Dim::Named("batch".to_owned()), Dim::Known(dim)]),
        vec![
            node("Gemm", &["images", "a", "a.bias"], &["hidden"], turned()),
            node("Relu", &["hidden"], &["positive"], vec![]),
            node("Gemm", &["positive", "b"], &["features"], turned()),
        ],
        vec![
            floats("a", Element::F32, &[width, inputs], a),
            floats("a.bias", Element::F32, &[width], bias),
            floats("b", Element::F32, &[dim, width], b),
        ],
    )
}

/// Rows times rows, `[n, k] x [m, k]`; exact for the numbers of these tests.
fn product(left: &[f64], right: &[f64], length: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    left.chunks(length).flat_map(|a| right.chunks(length).map(move |b| dot(a, b))).collect()
}

fn turned(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// Forward and back through two layers, the sums of which float32 holds whatever their order: what goes into a product, and what
/// comes out, is rounded as `half` rounds it, to the bit; biases get sums of float32.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn what_goes_into_a_product_and_comes_out_is_rounded() {
    for half in [Half::F16, Half::Bf16] {
        let rounded = |values: &[f64]| -> Vec<f64> {
            let round = |&value: &f64| match half {
                Half::F16 => f16::from_f64(value).to_f64(),
                Half::Bf16 => bf16::from_f64(value).to_f64(),
            };
            values.iter().map(round).collect()
        };
        // A few digits more than either type holds, and weights that are rounded to powers of two.
        let steps = |count: usize, least: f64, seed: u64| -> Vec<f64> {
            normal(count, seed).iter().map(|value| (value * 2.0 / least).round() * least).collect()
        };
        let powers = |count: usize, seed: u64| -> Vec<f64> {
            let power = |value: &f64| value.signum() * if value.abs() < 0.7 { 0.5 } else { 1.0 } * (1.0 + 1.0 / 8192.0);
            normal(count, seed).iter().map(power).collect()
        };
        let least = if half == Half::F16 { 1.0 / 2048.0 } else { 1.0 / 256.0 };
        let (batch, inputs, width, dim) = (3, 5, 4, 3);
        let (images, bias) = (steps(batch * inputs, least, 1), steps(width, least, 2));
        let (gradient, a, b) = (powers(batch * dim, 3), powers(width * inputs, 4), powers(dim * width, 5));
        assert!(images != rounded(&images) && a != rounded(&a), "else rounding would not be seen");

        let precision = Precision {
            scale: (half == Half::F16).then_some(LossScale { first: 8.0, every: 9 }),
            ..Precision::new(half, true)
        };
        let graphs = build_in_parts(two_layers(&a, &bias, &b), &options(Some(precision)), false).unwrap();
        let told = Description::of(&graphs.state).unwrap();
        assert_eq!(told.rounded.unwrap().products, 5, "two forward, three back");

        let mut hidden = product(&rounded(&images), &rounded(&a), inputs);
        hidden.iter_mut().enumerate().for_each(|(at, value)| *value += rounded(&bias)[at % width]);
        let hidden = rounded(&hidden);
        let positive: Vec<f64> = hidden.iter().map(|value| value.max(0.0)).collect();
        let features = rounded(&product(&positive, &rounded(&b), width));
        let data = Array::f32(&[batch, inputs], &images);
        let mut feeds = Arrays::from([("images".to_owned(), data)]);
        let state = graphs.state.graph.as_ref().unwrap();
        feeds.extend(state.initializer.iter().map(|tensor| (tensor.name().to_owned(), Array::of(tensor))));
        let got = run(&mut open(&graphs.embed), &taken(&graphs.embed, &feeds));
        assert_eq!(got[names::EMBEDDINGS].values(), features, "{half}: forward");

        let by = precision.scale.map_or(1.0, |scale| scale.first);
        let entered = scaled(gradient.clone(), by);
        let narrow = rounded(&entered);
        let of_b = rounded(&product(&turned(&narrow, dim), &turned(&positive, width), batch));
        let back = rounded(&product(&narrow, &turned(&rounded(&b), width), dim));
        let back: Vec<f64> = back.iter().zip(&hidden).map(|(g, h)| if *h > 0.0 { *g } else { 0.0 }).collect();
        let of_a = rounded(&product(&turned(&rounded(&back), width), &turned(&rounded(&images), inputs), batch));
        let of_bias: Vec<f64> = turned(&back, width).chunks(batch).map(|column| column.iter().sum()).collect();
        feeds.insert(names::EMBEDDINGS_GRADIENT.to_owned(), Array::f32(&[batch, dim], &gradient));
        for (name, shape) in [("a", vec![width, inputs]), ("a.bias", vec![width]), ("b", vec![dim, width])] {
            let zeros = vec![0.0; shape.iter().product()];
            feeds.insert(names::sum(name), Array::f32(&shape, &zeros));
        }
        let backward = graphs.backward.unwrap();
        let got = run(&mut open(&backward), &taken(&backward, &feeds));
        for (name, wanted) in [("b", of_b), ("a", of_a), ("a.bias", of_bias)] {
            let got = got[&format!("{}.next", names::sum(name))].values();
            assert_eq!(got, scaled(wanted, 1.0 / by), "{half}: gradient of {name}");
        }
    }
}

/// What a graph takes of these.
fn taken(model: &ModelProto, feeds: &Arrays) -> Arrays {
    let inputs = model.graph.iter().flat_map(|graph| &graph.input);
    inputs.map(|input| (input.name().to_owned(), feeds[input.name()].clone())).collect()
}

fn images(seed: u64) -> (Array, Vec<i64>) {
    let batch = 8;
    let labels = (0..batch).map(|index| (index % CLASSES) as i64).collect();
    let length: usize = IMAGE.iter().product();
    (Array::f32(&[&[batch][..], &IMAGE].concat(), &normal(batch * length, seed)), labels)
}

fn batch() -> Dim {
    Dim::Named("batch".to_owned())
}

/// Nodes of float16, which onnxruntime runs on the processor by converting, give what emulated ones do, nearly; a sum of them may be
/// rounded once more.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn nodes_of_float16_give_what_emulated_ones_do() {
    let (data, labels) = images(1);
    let outputs = [None, Some(true), Some(false)].map(|emulated| {
        let scale = Some(LossScale { first: 16.0, every: 1000 });
        let precision = emulated.map(|emulated| Precision { scale, ..Precision::new(Half::F16, emulated) });
        let mut driver = Driver::new(convolutional(batch()), &StepOptions { dropout: false, ..options(precision) });
        let told = driver.description.rounded.clone();
        assert_eq!(told.map(|told| (told.products, told.left)), precision.map(|_| (8, vec![])));
        assert_eq!(converts_to(&driver.model).contains(&10), precision.is_some());
        driver.step(&data, &labels, 0.01)
    });
    for name in ["pdloss.embeddings", "pdloss.gradient_norm", "pdloss.m.conv1.weight.next"] {
        let [whole, emulated, nodes] = outputs.each_ref().map(|outputs| outputs[name].values());
        assert_close(name, &nodes, &emulated, 2e-3);
        assert_close(name, &emulated, &whole, 2e-2);
        assert!(emulated != whole, "{name}: rounding is to be seen");
    }
}

/// The types that a model converts to.
fn converts_to(model: &ModelProto) -> Vec<i64> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes.filter(|node| node.op_type() == "Cast").map(|node| node.attribute[0].i()).collect()
}

#[test]
fn bfloat16_is_refused_where_no_kernel_has_it_and_left_out_where_another_does() {
    let nodes = Some(Precision::new(Half::Bf16, false));
    let error = build(convolutional(batch()), &options(nodes)).unwrap_err().to_string();
    assert!(error.contains("conv1") && error.contains("opset 22"), "{error}");
    let mut newer = convolutional(batch());
    newer.opset_import[0].version = Some(22);
    let built = build(newer, &options(nodes)).unwrap();
    let told = Description::of(&built).unwrap().rounded.unwrap();
    assert!(told.products > 3, "{told:?}");
    assert!(converts_to(&built).contains(&16));

    let fused = StepOptions { operators: Operators::Cpu, ..options(nodes) };
    assert!(build(convolutional(batch()), &fused).unwrap_err().to_string().contains("compute in float32"));
    let error = build(linear(6, FEATURES), &options(Some(Precision::new(Half::F16, true)))).unwrap_err().to_string();
    assert!(error.contains("want a backbone of float32"), "{error}");
    for wrong in [0.0, 3.0, f64::NAN, f64::INFINITY, 0.5] {
        let error = build(convolutional(batch()), &options(scale(wrong, 1))).unwrap_err().to_string();
        assert!(error.contains("power of two"), "{error}");
    }
}

/// The state of the kinds that a step which is skipped leaves as they are.
fn kept(driver: &Driver) -> Arrays {
    // Running statistics follow every step, and so do their averages.
    let of_running = |name: &str| name.contains("running");
    let is_kept = |kind| matches!(kind, Kind::Weight | Kind::Proxies | Kind::Optimizer | Kind::Average);
    let kept = driver.description.state.iter().filter(|state| is_kept(state.kind) && !of_running(&state.name));
    kept.map(|state| (state.name.clone(), driver.state[&state.name].clone())).collect()
}

/// A gradient that overflows changes neither weights nor what the optimiser keeps; the scale is halved until it fits, and from
/// there on the steps are those of a run that began with it, as if none had been skipped.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_step_that_overflows_is_skipped_and_halves_the_scale() {
    let (data, labels) = images(2);
    let of = |optimizer, first| StepOptions {
        dropout: false,
        ema: Some(0.5),
        clip: Some(1.0),
        optimizer,
        ..options(scale(first, 1000))
    };
    let optimizers = [Optimizer::default(), Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 }];
    for optimizer in optimizers {
        let first = f64::from(2.0_f32.powi(40));
        let mut driver = Driver::new(convolutional(batch()), &of(optimizer, first));
        let before = kept(&driver);
        let mut skipped = 0;
        loop {
            let outputs = driver.step(&data, &labels, 0.01);
            assert!(outputs["pdloss.loss"].number().is_finite());
            if outputs[names::GRADIENT_NORM].number().is_finite() {
                break;
            }
            skipped += 1;
            assert!(kept(&driver) == before, "step {skipped} changed something");
            assert_eq!(driver.state[names::LOSS_SCALE].number(), first / 2.0_f64.powi(skipped));
            assert_eq!(driver.state[names::SKIPPED_STEPS].number(), f64::from(skipped));
            assert_eq!(driver.state[names::STEP].number(), f64::from(skipped));
            assert!(skipped < 60);
        }
        assert!(skipped > 5, "{skipped}");
        assert_eq!(driver.state[names::FINITE_STEPS].number(), 1.0);
        assert!(kept(&driver) != before);
        let mut other = Driver::new(convolutional(batch()), &of(optimizer, first / 2.0_f64.powi(skipped)));
        for step in 0..3 {
            if step > 0 {
                driver.step(&data, &labels, 0.01);
            }
            other.step(&data, &labels, 0.01);
            assert!(kept(&driver) == kept(&other), "{optimizer:?}, step {step}");
        }
    }
}

/// Steps that are skipped are not made: a weight is let go after as many others, and its optimiser begins there.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_skipped_step_is_none_that_a_frozen_weight_waits_for() {
    let (data, labels) = images(2);
    let of = |first| StepOptions {
        dropout: false,
        freeze: vec!["*.bias".to_owned()],
        unfreeze_at: Some(2),
        ..options(scale(first, 1000))
    };
    let first = f64::from(2.0_f32.powi(40));
    let mut driver = Driver::new(convolutional(batch()), &of(first));
    let mut skipped = 0;
    while !driver.step(&data, &labels, 0.01)[names::GRADIENT_NORM].number().is_finite() {
        skipped += 1;
    }
    assert!(skipped > 5, "{skipped}");
    let mut other = Driver::new(convolutional(batch()), &of(first / 2.0_f64.powi(skipped)));
    for step in 0..4 {
        if step > 0 {
            driver.step(&data, &labels, 0.01);
        }
        other.step(&data, &labels, 0.01);
        assert!(kept(&driver) == kept(&other), "step {step}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn finite_steps_double_the_scale() {
    let (data, labels) = images(3);
    let mut driver = Driver::new(convolutional(batch()), &options(scale(16.0, 3)));
    let scales: Vec<f64> = (0..7)
        .map(|_| {
            driver.step(&data, &labels, 0.01);
            driver.state[names::LOSS_SCALE].number()
        })
        .collect();
    assert_eq!(scales, [16.0, 16.0, 32.0, 32.0, 32.0, 64.0, 64.0]);
    assert_eq!(driver.state[names::SKIPPED_STEPS].number(), 0.0);
}

/// A gradient below float16's smallest number vanishes on its way to a weight, but for a scale.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_scale_keeps_small_gradients() {
    let small = 2.0_f64.powi(-30);
    let of_weight = |first| {
        let graphs = build_in_parts(two_layers(&[1.0, 0.5], &[0.25], &[2.0]), &options(scale(first, 1000)), false);
        let graphs = graphs.unwrap_or_else(|error| panic!("{error}"));
        let state = graphs.state.graph.as_ref().unwrap();
        let mut feeds: Arrays =
            state.initializer.iter().map(|tensor| (tensor.name().to_owned(), Array::of(tensor))).collect();
        feeds.insert("images".to_owned(), Array::f32(&[1, 2], &[1.0, 2.0]));
        feeds.insert(names::EMBEDDINGS_GRADIENT.to_owned(), Array::f32(&[1, 1], &[small]));
        for (name, shape) in [("a", vec![1, 2]), ("a.bias", vec![1]), ("b", vec![1, 1])] {
            feeds.insert(names::sum(name), Array::f32(&shape, &vec![0.0; shape.iter().product()]));
        }
        let backward = graphs.backward.unwrap();
        let got = run(&mut open(&backward), &taken(&backward, &feeds));
        [names::sum("a"), names::sum("b")].map(|name| got[&format!("{name}.next")].values())
    };
    assert_eq!(of_weight(1.0), [vec![0.0, 0.0], vec![0.0]]);
    assert_eq!(of_weight(65536.0), [vec![2.0 * small, 4.0 * small], vec![2.25 * small]]);
}
