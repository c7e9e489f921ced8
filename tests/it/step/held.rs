//! Weights that are frozen for some steps, and rates that differ from layer to layer.

use pdloss::graph::{
    losses::{Loss, NormalizedSoftmax},
    step::{Optimizer, StepOptions, build},
};

use crate::{
    step::backbones::{linear, normal},
    step::driver::{Array, Driver, assert_close},
    step::losses::plain,
};

const LABELS: [i64; 5] = [0, 1, 2, 0, 1];

fn data(step: u64) -> Array {
    Array::f64(&[5, 4], &normal(20, 70 + step))
}

fn softmax() -> StepOptions {
    plain(Loss::Softmax(NormalizedSoftmax { temperature: 0.5 }), 3)
}

/// Before the step everything is as with the weight frozen; from then on as where the weight, and its optimiser, begin there.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_weight_is_frozen_until_its_step() {
    let adam = Optimizer::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let descent = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
    let lamb = Optimizer::Lamb { beta1: 0.9, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.1 };
    for optimizer in [adam, descent, lamb] {
        let common = StepOptions { optimizer, ema: Some(0.8), clip: Some(0.3), ..softmax() };
        let frozen = StepOptions { freeze: vec!["weight".to_owned()], ..common.clone() };
        let held = StepOptions { unfreeze_at: Some(2), ..frozen.clone() };
        let (mut frozen, mut held) = (Driver::new(linear(4, 3), &frozen), Driver::new(linear(4, 3), &held));
        let first = held.state.clone();
        for step in 0..2 {
            let wanted = frozen.step(&data(step), &LABELS, 0.1);
            let got = held.step(&data(step), &LABELS, 0.1);
            let name = "pdloss.gradient_norm";
            assert_close(name, &got[name].values(), &wanted[name].values(), 1e-12);
        }
        for (name, wanted) in &frozen.state {
            assert_close(&format!("{optimizer:?}: {name}"), &held.weight(name), &wanted.values(), 1e-12);
        }
        let of_weight: Vec<&String> =
            held.state.keys().filter(|name| name.ends_with(".weight") || *name == "weight").collect();
        assert!(of_weight.len() > 2, "{of_weight:?}");
        of_weight.iter().for_each(|name| assert_eq!(held.state[*name], first[*name], "{name}"));

        // The others go on with their memory and their number of the step; for the weight it is the first one.
        let mut others = Driver::new(linear(4, 3), &common);
        others.state.clone_from(&held.state);
        let mut own = Driver::new(linear(4, 3), &common);
        own.state.clone_from(&held.state);
        own.state.insert("pdloss.step".to_owned(), first["pdloss.step"].clone());
        let wanted = [&mut others, &mut own].map(|driver| {
            driver.step(&data(2), &LABELS, 0.1);
            driver.state.clone()
        });
        held.step(&data(2), &LABELS, 0.1);
        for name in first.keys().filter(|name| *name != "pdloss.step") {
            let is_own = name.ends_with(".weight") || name == "weight";
            let wanted = wanted[usize::from(is_own)][name].values();
            assert_close(&format!("{optimizer:?}, third step: {name}"), &held.weight(name), &wanted, 1e-12);
        }
        assert!(held.state["weight"] != first["weight"]);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn each_layer_has_its_rate() {
    // Two layers, by their names.
    let mut backbone = linear(4, 3);
    let graph = backbone.graph.as_mut().unwrap();
    for (from, to) in [("weight", "0.weight"), ("bias", "1.bias")] {
        let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|name| *name == from);
        inputs.for_each(|name| to.clone_into(name));
        graph.initializer.iter_mut().filter(|tensor| tensor.name() == from).for_each(|tensor| {
            tensor.name = Some(to.to_owned());
        });
    }
    let (mut usual, mut decayed) = (
        Driver::new(backbone.clone(), &softmax()),
        Driver::new(backbone, &StepOptions { layer_decay: Some(0.25), ..softmax() }),
    );
    let first = usual.state.clone();
    usual.step(&data(0), &LABELS, 0.1);
    decayed.step(&data(0), &LABELS, 0.1);
    for (name, factor) in [("0.weight", 0.25), ("1.bias", 1.0), ("pdloss.proxies", 1.0)] {
        let moved = |driver: &Driver| -> Vec<f64> {
            driver.weight(name).iter().zip(first[name].values()).map(|(after, before)| after - before).collect()
        };
        let wanted: Vec<f64> = moved(&usual).iter().map(|by| by * factor).collect();
        assert_close(name, &moved(&decayed), &wanted, 1e-12);
    }
    let notes = decayed.description.parameters.notes.join(" ");
    assert!(notes.contains("layer decay 0.25 over 2 layers") && notes.contains("times 0.250"), "{notes}");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |options: StepOptions| build(linear(4, 3), &options).expect_err("refused").to_string();
    let error = refused(StepOptions { unfreeze_at: Some(3), ..softmax() });
    assert!(error.contains("nothing is frozen until then"), "{error}");
    let frozen = StepOptions { freeze: vec!["weight".to_owned()], unfreeze_at: Some(0), ..softmax() };
    assert!(refused(frozen).contains("wanted 1 to"));
    let all = StepOptions { freeze: vec!["*".to_owned()], unfreeze_at: Some(3), ..softmax() };
    assert!(refused(all.clone()).contains("until step 3 all that is trained is frozen"));
    let but_one = StepOptions { freeze: vec!["weight".to_owned(), "pdloss.*".to_owned()], ..all };
    assert!(build(linear(4, 3), &but_one).is_ok());
    assert!(refused(StepOptions { layer_decay: Some(1.5), ..softmax() }).contains("at most 1, got 1.5"));
}
