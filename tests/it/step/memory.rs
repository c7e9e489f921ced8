//! Losses over pairs that remember rows of earlier batches, against plain loops that do.

use pdloss::graph::{
    losses::{Contrastive, Lifted, Loss, NPair, NormalizedSoftmax},
    step::{Memory, StepOptions, build, names},
};

use crate::{
    step::backbones::{identity, linear, normal, table},
    step::driver::{Array, Driver, assert_close},
    step::losses::{losses, plain},
    step::reference,
};

const BATCH: usize = 5;
const DIM: usize = 4;

/// Labels of a step: another part of the classes each time, so that some are in memory alone.
fn labels(step: usize) -> [usize; BATCH] {
    [[0, 1, 0, 1, 2], [3, 3, 0, 1, 1], [2, 2, 2, 0, 4], [1, 4, 4, 0, 0]][step % 4]
}

/// Value, gradients and what is remembered, step after step: before the memory starts, while it fills, and when it is full. The rows
/// of the batch are others each time: one that is remembered as it is has no slope, being at the distance 0 from itself.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn equal_plain_loops_that_remember() {
    const RATE: f64 = 0.25;
    let takes_memory: Vec<Loss> = losses().into_iter().filter(|loss| loss.takes_memory()).collect();
    assert!(takes_memory.len() >= 12, "{takes_memory:?}");
    for loss in takes_memory {
        for (rows, start) in [(12, 0), (7, 2), (BATCH, 1)] {
            let memory = Memory { rows, start };
            let options = StepOptions { memory: Some(memory), ..plain(loss, 5) };
            let mut driver = Driver::new(table(BATCH, DIM, &normal(BATCH * DIM, 3)), &options);
            let (mut kept, mut kept_labels): (Vec<f64>, Vec<usize>) = (Vec::new(), Vec::new());
            for step in 0..6 {
                let what = format!("{loss:?}, {memory:?}, step {step}");
                let (batch, labels) = (normal(BATCH * DIM, 30 + step as u64), labels(step));
                driver.state.insert("rows".to_owned(), Array::f64(&[BATCH, DIM], &batch));
                let numbers = labels.map(|label| label as i64);
                let outputs = driver.step(&Array::f64(&[BATCH, BATCH], &identity(BATCH)), &numbers, RATE);
                let taken = if step as u64 >= start { kept_labels.len() } else { 0 };
                let beside = (&kept[..taken * DIM], &kept_labels[..taken]);
                let (value, gradient) = reference::remembering(&loss, DIM, (&batch, &labels), beside);
                assert_close(&what, &outputs["pdloss.loss"].values(), &[value], 1e-9);
                let moved: Vec<f64> =
                    batch.iter().zip(driver.weight("rows")).map(|(before, after)| (before - after) / RATE).collect();
                assert_close(&format!("{what}: gradient"), &moved, &gradient, 1e-6);

                kept.splice(0..0, batch);
                kept_labels.splice(0..0, labels);
                kept.truncate(rows * DIM);
                kept_labels.truncate(rows);
                let count = kept_labels.len();
                assert_close(&what, &driver.weight(names::MEMORY_COUNT), &[count as f64], 0.0);
                assert_close(&what, &driver.weight(names::MEMORY_EMBEDDINGS)[..count * DIM], &kept, 0.0);
                let numbers: Vec<f64> = kept_labels.iter().map(|&label| label as f64).collect();
                assert_close(&what, &driver.weight(names::MEMORY_LABELS)[..count], &numbers, 0.0);
            }
        }
    }
}

/// A row that is remembered changes the loss, and one that does not count yet does not, whatever stands in its place.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn rows_that_do_not_count_change_nothing() {
    for loss in losses().into_iter().filter(|loss| loss.takes_memory()) {
        let value = |count: i64, fill: f64, label: i64| {
            let options = StepOptions { memory: Some(Memory { rows: 9, start: 0 }), ..plain(loss, 5) };
            let mut driver = Driver::new(table(BATCH, DIM, &normal(BATCH * DIM, 3)), &options);
            let mut rows = normal(9 * DIM, 4);
            rows[4 * DIM..].iter_mut().for_each(|value| *value *= fill);
            driver.state.insert(names::MEMORY_EMBEDDINGS.to_owned(), Array::f64(&[9, DIM], &rows));
            let of_rows = [2, 0, 1, 0, label, label, label, label, label];
            driver.state.insert(names::MEMORY_LABELS.to_owned(), Array::i64(&of_rows));
            let count = Array { shape: vec![], ..Array::i64(&[count]) };
            driver.state.insert(names::MEMORY_COUNT.to_owned(), count);
            let outputs = driver.step(&Array::f64(&[BATCH, BATCH], &identity(BATCH)), &[0, 1, 0, 1, 2], 0.1);
            outputs["pdloss.loss"].number()
        };
        let four = value(4, 1.0, 0);
        for (fill, label) in [(0.0, 0), (-1.0, 1), (100.0, -7)] {
            assert_close(&format!("{loss:?}"), &[value(4, fill, label)], &[four], 0.0);
        }
        assert!((value(0, 1.0, 0) - four).abs() > 1e-9, "{loss:?}: what is remembered changes nothing");
    }
}

#[test]
fn a_memory_that_cannot_be_is_refused_by_name() {
    let refused = |loss: Loss, change: &dyn Fn(&mut StepOptions)| {
        let mut options = StepOptions { memory: Some(Memory { rows: 8, start: 0 }), ..plain(loss, 5) };
        change(&mut options);
        build(linear(4, 3), &options).map(drop).expect_err("refused").to_string()
    };
    for loss in losses().into_iter().filter(|loss| !loss.takes_memory()) {
        let error = refused(loss, &|_| {});
        assert!(error.contains(&format!("the loss {} has none", loss.name())), "{error}");
    }
    for loss in [Loss::NPair(NPair::default()), Loss::Lifted(Lifted::default())] {
        assert!(!loss.takes_memory());
    }
    assert!(!Loss::Softmax(NormalizedSoftmax::default()).takes_memory());
    let loss = Loss::Contrastive(Contrastive::default());
    let none = refused(loss, &|options| options.memory = Some(Memory { rows: 0, start: 0 }));
    assert!(none.contains("wanted 1 to"), "{none}");
    let late = refused(loss, &|options| options.memory = Some(Memory { rows: 8, start: u64::MAX }));
    assert!(late.contains("start of the memory: wanted 0 to"), "{late}");
}
