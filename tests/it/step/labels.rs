//! Wrong labels in standard operators, where nothing stops: what the operators on CUDA answer, in every loss.

use pdloss::graph::{
    build::{Dim, Element, declare},
    head::{self, Head, Spelling, attach},
    losses::Loss,
    proto::{GraphProto, ModelProto, OperatorSetIdProto},
};
use pdloss::loss::Config;

use crate::runtime::{self, Array, Arrays};
use crate::step::{
    backbones::{identity, normal, table},
    driver::{Driver, assert_close},
    losses::{losses, plain},
};

const CLASSES: usize = 4;

fn data() -> Array {
    Array::f64(&[6, 6], &identity(6))
}

fn driver(loss: Loss) -> Driver {
    Driver::new(table(6, 3, &normal(18, 11)), &plain(loss, CLASSES))
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_label_that_is_no_class_makes_the_loss_nan_and_moves_nothing() {
    for loss in losses().into_iter().filter(Loss::has_proxies) {
        let mut driver = driver(loss);
        let before = driver.state.clone();
        for (labels, count) in [([0, -1, 2, 0, 1, 2], 1.0), ([4, 1, 2, i64::MIN, i64::MAX, 2], 3.0)] {
            driver.state.clone_from(&before);
            let outputs = driver.step(&data(), &labels, 1.0);
            let what = format!("{loss:?}, labels {labels:?}");
            assert!(outputs["pdloss.loss"].number().is_nan(), "{what}");
            for name in ["rows", "pdloss.proxies"] {
                assert_eq!(before[name], driver.state[name], "{what}: {name}");
            }
            assert_eq!(outputs["pdloss.gradient_norm"].number(), 0.0, "{what}");
            if loss.has_moments() {
                let moments = outputs["pdloss.moments"].values();
                assert!(moments[..5].iter().all(|moment| moment.is_nan()), "{what}: {moments:?}");
                assert_eq!(moments[5..], [6.0, 18.0, count], "{what}");
            }
            // The next batch is a good one.
            assert!(driver.step(&data(), &[0, 1, 2, 0, 1, 2], 1.0)["pdloss.loss"].number().is_finite(), "{what}");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn labels_that_are_only_compared_may_be_any_integers() {
    for loss in losses().into_iter().filter(|loss| !loss.has_proxies()) {
        let mut driver = driver(loss);
        let first = driver.state.clone();
        let mut of = |labels: &[i64]| {
            driver.state.clone_from(&first);
            driver.step(&data(), labels, 1.0)["pdloss.loss"].number()
        };
        let named = of(&[-7, i64::MAX, i64::MIN, -7, i64::MAX, i64::MIN]);
        assert!(named.is_finite(), "{loss:?}");
        assert_close(&format!("{loss:?}"), &[named], &[of(&[0, 1, 2, 0, 1, 2])], 0.0);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn another_number_of_labels_than_rows_is_refused() {
    for loss in losses() {
        let mut driver = driver(loss);
        for labels in [&[0][..], &[0, 1, 2, 0, 1], &[0, 1, 2, 0, 1, 2, 0]] {
            let refused = driver.try_step(&data(), labels, 1.0);
            let error = refused.err().unwrap_or_else(|| panic!("{loss:?} takes {} labels", labels.len()));
            assert!(error.contains("Reshape"), "{loss:?}: {error}");
        }
    }
}

/// An embedder that does nothing.
fn embedder() -> ModelProto {
    let rows = [Dim::Named("B".to_owned()), Dim::Known(3)];
    let node = pdloss::graph::build::node("Identity", &["x"], &["embeddings"], Vec::new());
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("identity".to_owned()),
            node: vec![node],
            input: vec![declare("x", Element::F32, &rows)],
            output: vec![declare("embeddings", Element::F32, &rows)],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// The loss behind an embedder, as function and inline: the operator's answers but for the error that it gives on the CPU.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn spelt_without_the_library() {
    for (spelling, element) in
        [(Spelling::Function, Element::I64), (Spelling::Inline, Element::I64), (Spelling::Inline, Element::I32)]
    {
        let mut model = embedder();
        let mut head = Head::new(Config::default(), spelling, CLASSES);
        head.labels = element;
        attach(&mut model, &head, 0).expect("a head");
        // Labels of the other type are the same numbers.
        if element == Element::I32 {
            let graph = model.graph.as_mut().expect("a graph");
            let input = graph.input.iter_mut().find(|input| input.name() == head::names::LABELS).expect("labels");
            *input = declare("wide", Element::I64, &[Dim::Named("B".to_owned())]);
            let to = pdloss::graph::build::attribute("to", pdloss::graph::build::Value::Int(6));
            graph.node.insert(0, pdloss::graph::build::node("Cast", &["wide"], &[head::names::LABELS], vec![to]));
        }
        let name = if element == Element::I32 { "wide" } else { head::names::LABELS };
        let mut session = runtime::open(&model).unwrap_or_else(|error| panic!("{error}"));
        let mut run = |labels: &[i64]| {
            let rows = Array::f32(&[6, 3], &normal(18, 11));
            runtime::run(&mut session, &Arrays::from([("x".to_owned(), rows), (name.to_owned(), Array::i64(labels))]))
        };
        let good = run(&[0, 1, 2, 3, 1, 2]).expect("it runs");
        assert!(good["pdloss.loss"].number().is_finite());
        assert_eq!(good["pdloss.moments"].values()[7], 0.0);
        for (labels, count) in [([0, -1, 2, 3, 1, 2], 1.0), ([0, 1, 2, 4, -5, 2], 2.0)] {
            let bad = run(&labels).expect("it runs");
            assert!(bad["pdloss.loss"].number().is_nan(), "{spelling:?} {labels:?}");
            assert_eq!(bad["pdloss.moments"].values()[7], count, "{spelling:?} {labels:?}");
        }
        assert!(run(&[1]).is_err() && run(&[0, 1, 2, 3, 1]).is_err(), "{spelling:?}");
    }
}
