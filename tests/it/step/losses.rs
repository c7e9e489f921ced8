//! Every loss against plain loops: its value, and its gradients through one step of plain descent.

use pdloss::{
    graph::{
        head::Spelling,
        losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor, ProxyNca},
        step::{Optimizer, StepOptions},
    },
    loss::{Config, FloorMode, Form},
};

use crate::{
    step::backbones::{identity, normal, table},
    step::driver::{Array, Driver, assert_close},
    step::reference,
};

/// Descent without memory: what a weight moves by is its gradient.
pub(crate) fn plain(loss: Loss, classes: usize) -> StepOptions {
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    StepOptions { spelling: Spelling::Inline, optimizer, ..StepOptions::new(loss, classes) }
}

fn hold_to_reference(loss: Loss, rows: &[f64], dim: usize, labels: &[usize], classes: usize) {
    let what = format!("{loss:?}, labels {labels:?}");
    let batch = labels.len();
    let mut driver = Driver::new(table(batch, dim, rows), &plain(loss, classes));
    let has_proxies = loss.has_proxies();
    let proxies = if has_proxies { driver.weight("pdloss.proxies") } else { Vec::new() };
    let numbers: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let outputs = driver.step(&Array::f64(&[batch, batch], &identity(batch)), &numbers, 1.0);

    let value = reference::value(&loss, dim, rows, &proxies, labels);
    assert_close(&what, &outputs["pdloss.loss"].values(), &[value], 1e-9);
    let (of_rows, of_proxies) = reference::gradients(&loss, dim, rows, &proxies, labels);
    let moved = |before: &[f64], after: Vec<f64>| -> Vec<f64> {
        before.iter().zip(after).map(|(before, after)| before - after).collect()
    };
    // Central differences of exponentials of 32 and 50 cosines keep seven digits.
    assert_close(&format!("{what}: embeddings"), &moved(rows, driver.weight("rows")), &of_rows, 1e-6);
    if has_proxies {
        let got = moved(&proxies, driver.weight("pdloss.proxies"));
        assert_close(&format!("{what}: proxies"), &got, &of_proxies, 1e-6);
    }
    let norm = of_rows.iter().chain(&of_proxies).map(|value| value * value).sum::<f64>().sqrt();
    assert_close(&format!("{what}: norm"), &outputs["pdloss.gradient_norm"].values(), &[norm], 1e-6);
    assert_eq!(outputs.contains_key("pdloss.moments"), loss.has_moments());
    assert_close(&what, &outputs["pdloss.embeddings"].values(), rows, 0.0);
}

pub(crate) fn losses() -> Vec<Loss> {
    let mut losses = vec![
        Loss::Softmax(NormalizedSoftmax::default()),
        Loss::Softmax(NormalizedSoftmax { temperature: 0.5 }),
        Loss::ProxyNca(ProxyNca::default()),
        Loss::ProxyAnchor(ProxyAnchor::default()),
        Loss::ProxyAnchor(ProxyAnchor { alpha: 8.0, margin: 0.0 }),
        Loss::MultiSimilarity(MultiSimilarity::default()),
        Loss::MultiSimilarity(MultiSimilarity { alpha: 2.0, beta: 40.0, base: 0.5, epsilon: 0.4 }),
    ];
    for form in [Form::Log, Form::Negative, Form::Inverse] {
        for mode in [FloorMode::Tangent, FloorMode::Clamp] {
            let config = Config::default().with_form(form).with_floor_mode(mode);
            losses.push(Loss::Pd(config));
            losses.push(Loss::DLoss(config));
        }
    }
    losses
}

/// Rows that lean to a direction of their label, so that the index is above its floor, and rows that do not.
fn rows(labels: &[usize], dim: usize, lean: f64, seed: u64) -> Vec<f64> {
    let mut rows = normal(labels.len() * dim, seed);
    for (row, &label) in rows.chunks_mut(dim).zip(labels) {
        for (value, toward) in row.iter_mut().zip(normal(dim, 1000 + label as u64)) {
            *value += lean * toward;
        }
    }
    rows
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn equal_plain_loops() {
    let labels = [0, 1, 2, 0, 1, 2, 4, 4];
    for loss in losses() {
        for (lean, seed) in [(0.0, 1), (3.0, 2)] {
            let is_clamped = matches!(loss, Loss::Pd(config) | Loss::DLoss(config)
                if config.floor_mode() == FloorMode::Clamp && config.form() != Form::Negative);
            if is_clamped && lean == 0.0 {
                continue; // the gap is about zero, where the clamped loss has a corner
            }
            hold_to_reference(loss, &rows(&labels, 5, lean, seed), 5, &labels, 6);
        }
    }
}

/// A class alone, all of one class, a batch of one, more classes than numbers in a row, one number in a row.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn awkward_batches() {
    for loss in losses().into_iter().filter(|loss| !loss.has_moments()) {
        for labels in [&[0, 1, 2][..], &[1, 1, 1, 1], &[3], &[0, 0, 1]] {
            hold_to_reference(loss, &rows(labels, 4, 0.5, 7), 4, labels, 9);
        }
    }
    for loss in losses().into_iter().filter(|loss| matches!(loss, Loss::Pd(config) if *config == Config::default())) {
        for labels in [&[0, 1, 2][..], &[1, 1, 1, 1], &[3]] {
            hold_to_reference(loss, &rows(labels, 4, 0.5, 8), 4, labels, 9);
        }
    }
}

/// Cosines of one and minus one at the steepest settings: exponents of hundreds stay finite.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn finite_where_exponentials_are_not() {
    let labels = [0, 1, 0, 1];
    let rows = [1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0];
    let steep = [
        Loss::Softmax(NormalizedSoftmax { temperature: 1e-3 }),
        Loss::ProxyNca(ProxyNca { temperature: 1e-3 }),
        Loss::ProxyAnchor(ProxyAnchor { alpha: 1000.0, margin: 0.1 }),
        Loss::MultiSimilarity(MultiSimilarity { alpha: 1000.0, beta: 1000.0, base: 0.0, epsilon: 0.1 }),
    ];
    for loss in steep {
        let mut driver = Driver::new(table(4, 2, &rows), &plain(loss, 2));
        let outputs = driver.step(&Array::f64(&[4, 4], &identity(4)), &labels, 1e-3);
        let loss_value = outputs["pdloss.loss"].number();
        assert!(loss_value.is_finite() && loss_value > 0.1, "{loss:?}: {loss_value}");
        for (name, array) in &driver.state {
            assert!(array.values().iter().all(|value| value.is_finite()), "{loss:?}: {name} {array:?}");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn moments_equal_the_oracle() {
    let labels = [0, 1, 2, 0, 1, 2];
    let rows = rows(&labels, 5, 2.0, 3);
    let config = Config::default().with_temperature(0.5).expect("above 0");
    for loss in [Loss::Pd(config), Loss::DLoss(config)] {
        let mut driver = Driver::new(table(6, 5, &rows), &plain(loss, 4));
        let proxies = driver.state.get("pdloss.proxies").map_or_else(Vec::new, Array::values);
        let numbers: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
        let outputs = driver.step(&Array::f64(&[6, 6], &identity(6)), &numbers, 0.0);
        let truth = match loss {
            Loss::Pd(_) => pdloss::reference::pd_loss(&config, 5, &rows, &proxies, &labels),
            _ => pdloss::reference::d_loss(&config, 5, &rows, &labels),
        };
        let mut wanted = truth.moments.to_vec();
        wanted.push(0.0);
        assert_close(loss.name(), &outputs["pdloss.moments"].values(), &wanted, 1e-9);
    }
}

/// The mean over all pairs, formed one by one; 0 for a batch of one, 1 for rows that are parallel.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn mean_cosine() {
    let dim = 3;
    for rows in [normal(4 * dim, 5), normal(dim, 6), [1.0, 2.0, -1.0, 2.0, 4.0, -2.0].to_vec()] {
        let batch = rows.len() / dim;
        let loss = Loss::Softmax(NormalizedSoftmax::default());
        let mut driver = Driver::new(table(batch, dim, &rows), &plain(loss, 2));
        let data = Array::f64(&[batch, batch], &identity(batch));
        let got = driver.step(&data, &vec![0; batch], 0.1)["pdloss.mean_cosine"].number();
        let (mut sum, mut pairs) = (0.0, 0.0);
        for i in 0..batch {
            for j in (0..batch).filter(|&j| j != i) {
                let (x, y) = (&rows[i * dim..][..dim], &rows[j * dim..][..dim]);
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                sum += dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
                pairs += 1.0;
            }
        }
        let wanted = if pairs > 0.0 { sum / pairs } else { 0.0 };
        assert_close("mean cosine", &[got], &[wanted], 1e-12);
    }
}
