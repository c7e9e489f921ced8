//! Every loss against plain loops: its value, and its gradients through one step of plain descent.

use pdloss::{
    graph::{
        head::Spelling,
        losses::{
            ArcFace, Circle, Contrastive, CosFace, CurricularFace, Histogram, Lifted, Loss, MultiSimilarity, NPair,
            NormalizedSoftmax, NtXent, ProxyAnchor, ProxyNca, SoftTriple, SubcenterArcFace, SupCon, Triplet, Triplets,
        },
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
        Loss::MultiSimilarity(MultiSimilarity { alpha: 2.0, beta: 40.0, base: 0.5, epsilon: 5.0 }),
        Loss::ArcFace(ArcFace::default()),
        Loss::ArcFace(ArcFace { scale: 8.0, margin: 1.2 }),
        Loss::CosFace(CosFace::default()),
        Loss::CosFace(CosFace { scale: 8.0, margin: 0.0 }),
        Loss::SubcenterArcFace(SubcenterArcFace::default()),
        Loss::SubcenterArcFace(SubcenterArcFace { scale: 8.0, margin: 0.2, centers: 2 }),
        Loss::CurricularFace(CurricularFace::default()),
        Loss::CurricularFace(CurricularFace { scale: 8.0, margin: 0.2, rate: 0.7 }),
        Loss::SoftTriple(SoftTriple { centers: 4, ..SoftTriple::default() }),
        Loss::SoftTriple(SoftTriple { scale: 8.0, margin: 0.1, gamma: 0.5, penalty: 2.0, centers: 2 }),
        Loss::SoftTriple(SoftTriple { centers: 1, ..SoftTriple::default() }),
        Loss::Circle(Circle::default()),
        Loss::Circle(Circle { scale: 8.0, margin: 0.25 }),
        Loss::Triplet(Triplet::default()),
        Loss::Triplet(Triplet { margin: 1.0, triplets: Triplets::BatchHard }),
        Loss::Triplet(Triplet { margin: 0.2, triplets: Triplets::SemiHard }),
        Loss::Triplet(Triplet { margin: 1.0, triplets: Triplets::SemiHard }),
        Loss::Contrastive(Contrastive::default()),
        Loss::Contrastive(Contrastive { margin: 1.7 }),
        Loss::SupCon(SupCon::default()),
        Loss::NtXent(NtXent { temperature: 0.5 }),
        Loss::NtXent(NtXent::default()),
        Loss::NPair(NPair::default()),
        Loss::NPair(NPair { penalty: 0.5 }),
        Loss::Lifted(Lifted::default()),
        Loss::Lifted(Lifted { margin: 0.3 }),
        Loss::Histogram(Histogram::default()),
        Loss::Histogram(Histogram { bins: 11 }),
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
        Loss::ArcFace(ArcFace { scale: 1000.0, margin: 0.5 }),
        Loss::CosFace(CosFace { scale: 1000.0, margin: 0.5 }),
        Loss::SubcenterArcFace(SubcenterArcFace { scale: 1000.0, ..SubcenterArcFace::default() }),
        Loss::CurricularFace(CurricularFace { scale: 1000.0, ..CurricularFace::default() }),
        Loss::SoftTriple(SoftTriple { scale: 1000.0, gamma: 1e-3, ..SoftTriple::default() }),
        Loss::Circle(Circle { scale: 1000.0, margin: 0.25 }),
        Loss::Triplet(Triplet::default()),
        Loss::Triplet(Triplet { triplets: Triplets::SemiHard, ..Triplet::default() }),
        Loss::Contrastive(Contrastive::default()),
        Loss::SupCon(SupCon { temperature: 1e-3 }),
        Loss::NtXent(NtXent { temperature: 1e-3 }),
        Loss::NPair(NPair::default()),
        Loss::Lifted(Lifted::default()),
        Loss::Histogram(Histogram::default()),
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

/// Images of a class that point away from each other, and a least that is far below what rounding leaves of the gap.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_gap_far_below_a_tiny_floor_is_held_at_it() {
    let labels = [0, 0, 1, 1];
    let rows = [1.0, 0.1, -1.0, 0.2, 0.9, -0.3, -1.1, 0.1];
    let tiny = 1e-18;
    for form in [Form::Log, Form::Inverse] {
        let clamp =
            Config::default().with_form(form).with_floor_mode(FloorMode::Clamp).with_eps(tiny).expect("above 0");
        let tangent = Config::default().with_form(form).with_floor(tiny).expect("above 0");
        for config in [clamp, clamp.with_temperature(1e-3).expect("above 0"), tangent] {
            for loss in [Loss::DLoss(config), Loss::Pd(config)] {
                let mut driver = Driver::new(table(4, 2, &rows), &plain(loss, 2));
                if loss.has_proxies() {
                    driver.state.insert("pdloss.proxies".to_owned(), Array::f64(&[2, 2], &[-1.0, 0.0, 0.0, -1.0]));
                }
                let proxies = if loss.has_proxies() { driver.weight("pdloss.proxies") } else { Vec::new() };
                let numbers = labels.map(|label| label as i64);
                let got = driver.step(&Array::f64(&[4, 4], &identity(4)), &numbers, 0.0)["pdloss.loss"].number();
                let wanted = reference::value(&loss, 2, &rows, &proxies, &labels);
                assert!(
                    wanted.is_finite() && ((got - wanted) / wanted).abs() < 1e-9,
                    "{loss:?}: {got}, wanted {wanted}"
                );
            }
        }
    }
}

/// A row of zeros has no direction: nothing of it comes back, and the others are moved as the loss has them.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_row_of_zeros_gives_no_gradient() {
    let labels = [0, 0, 1, 1, 2, 2];
    for loss in losses() {
        let mut rows = rows(&labels, 4, 1.0, 21);
        rows[4..8].fill(0.0);
        let mut driver = Driver::new(table(6, 4, &rows), &plain(loss, 3));
        let before = driver.state.clone();
        let outputs = driver.step(&Array::f64(&[6, 6], &identity(6)), &labels.map(|label| label as i64), 1e-3);
        let norm = outputs["pdloss.gradient_norm"].number();
        assert!(outputs["pdloss.loss"].number().is_finite() && norm < 1e6, "{loss:?}: {norm}");
        // Of products of rows, not of directions, a row of zeros has a gradient.
        if !matches!(loss, Loss::NPair(_)) {
            assert_eq!(driver.weight("rows")[4..8], [0.0; 4], "{loss:?}");
        }
        for (name, array) in &driver.state {
            let moved = array.values().iter().zip(before[name].values()).any(|(now, then)| (now - then).abs() > 1e3);
            assert!(!moved, "{loss:?}: {name}");
        }
    }
}

/// The squares of such rows are beyond float64: no number is better than one of rows without direction.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn rows_beyond_their_squares_are_seen() {
    let labels = [0, 0, 1, 1];
    for loss in losses() {
        let rows: Vec<f64> = rows(&labels, 4, 1.0, 22).iter().map(|value| value * 1e200).collect();
        let mut driver = Driver::new(table(4, 4, &rows), &plain(loss, 2));
        let outputs = driver.step(&Array::f64(&[4, 4], &identity(4)), &labels.map(|label| label as i64), 1e-3);
        assert!(outputs["pdloss.loss"].number().is_nan(), "{loss:?}");
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

/// What a mask or the mining could pass over is not lost: a row that is no number makes the loss none.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_row_that_is_no_number_is_seen() {
    let labels = [0, 0, 1, 1, 2];
    for loss in losses() {
        for wrong in [f64::NAN, f64::INFINITY] {
            let mut driver = Driver::new(table(5, 4, &rows(&[0, 0, 1, 1, 2], 4, 1.0, 9)), &plain(loss, 3));
            let mut data = identity(5);
            data[24] = wrong; // of the last row alone
            let data = Array::f64(&[5, 5], &data);
            let got = driver.step(&data, &labels, 0.1)["pdloss.loss"].number();
            assert!(got.is_nan(), "{loss:?} with {wrong}: {got}");
        }
    }
}

/// `t` of CurricularFace follows the mean cosine from step to step, and is part of the state.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn the_curriculum_follows_the_batches() {
    let labels = [0, 1, 1];
    let rows = rows(&[0, 1, 1], 4, 0.5, 11);
    let loss = Loss::CurricularFace(CurricularFace { scale: 8.0, margin: 0.2, rate: 0.25 });
    let mut driver = Driver::new(table(3, 4, &rows), &plain(loss, 2));
    let proxies = driver.weight("pdloss.proxies");
    let own: f64 = labels
        .iter()
        .enumerate()
        .map(|(i, &c)| {
            let (x, q) = (&rows[i * 4..][..4], &proxies[c as usize * 4..][..4]);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(x, q) / (dot(x, x) * dot(q, q)).sqrt()
        })
        .sum::<f64>()
        / 3.0;
    let mut t = 0.0;
    for _ in 0..3 {
        driver.step(&Array::f64(&[3, 3], &identity(3)), &labels, 0.0);
        t = 0.25 * own + 0.75 * t;
        assert_close("t", &driver.weight("pdloss.curriculum"), &[t], 1e-12);
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
