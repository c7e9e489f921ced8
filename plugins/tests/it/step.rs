//! Step graphs with the operators against the same steps in standard operators.

#[path = "../../../tests/it/step/driver.rs"]
pub(crate) mod driver;

pub(crate) use crate::common::numbers;
use crate::common::session;
use driver::{Array, Driver, assert_close};
use pdloss::{
    graph::{
        build::{Dim, Element, Value, attribute, declare, floats, node},
        head::Spelling,
        losses::{Loss, MultiSimilarity},
        proto::{GraphProto, ModelProto, OperatorSetIdProto},
        step::{Optimizer, Ranks, StepOptions, build},
    },
    loss::{Config, FloorMode, Form},
};

const INPUTS: usize = 9;
const DIM: usize = 6;
const BATCH: usize = 8;

fn backbone(element: Element) -> ModelProto {
    let batch = Dim::Named("batch".to_owned());
    let transposed = vec![attribute("transB", Value::Int(1))];
    let graph = GraphProto {
        name: Some("linear".to_owned()),
        input: vec![declare("images", element, &[batch.clone(), Dim::Known(INPUTS)])],
        output: vec![declare("features", element, &[batch, Dim::Known(DIM)])],
        node: vec![node("Gemm", &["images", "weight", "bias"], &["features"], transposed)],
        initializer: vec![
            floats("weight", element, &[DIM, INPUTS], &numbers(DIM * INPUTS, 1)),
            floats("bias", element, &[DIM], &numbers(DIM, 2)),
        ],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

fn driver(loss: Loss, spelling: Spelling, element: Element) -> Driver {
    driver_over(None, loss, spelling, element)
}

fn driver_over(ranks: Option<Ranks>, loss: Loss, spelling: Spelling, element: Element) -> Driver {
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 };
    let options = StepOptions { spelling, optimizer, ranks, ..StepOptions::new(loss, 5) };
    let model = build(backbone(element), &options).expect("built");
    assert_eq!(options.needs_library(), spelling == Spelling::Operator || ranks.is_some());
    assert_eq!(model.opset_import.iter().any(|set| set.domain() == "com.pdloss"), options.needs_library());
    let session =
        session::open(session::builder().expect("a builder"), &model).unwrap_or_else(|error| panic!("{error}"));
    Driver::of(model, session)
}

/// Ten steps from the same state stay together. In float32 the two sum in different orders, and the steps carry that on.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn operators_and_standard_operators_agree() {
    for (element, tolerance) in [(Element::F64, 1e-9), (Element::F32, 2e-5)] {
        for form in [Form::Log, Form::Negative, Form::Inverse] {
            let config = Config::default().with_form(form).with_floor_mode(FloorMode::Tangent);
            for loss in [Loss::Pd(config), Loss::DLoss(config)] {
                let mut operators = driver(loss, Spelling::Operator, element);
                let mut standard = driver(loss, Spelling::Inline, element);
                for step in 0..10 {
                    let data = numbers(BATCH * INPUTS, 10 + step);
                    let data = if element == Element::F64 {
                        Array::f64(&[BATCH, INPUTS], &data)
                    } else {
                        Array::f32(&[BATCH, INPUTS], &data)
                    };
                    let labels = [0, 1, 2, 3, 0, 1, 2, 4];
                    let got = operators.step(&data, &labels, 0.05);
                    let wanted = standard.step(&data, &labels, 0.05);
                    assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
                    for (name, wanted) in &wanted {
                        let what = format!("{loss:?} {element:?}, step {step}: {name}");
                        assert_close(&what, &got[name].values(), &wanted.values(), tolerance);
                    }
                }
            }
        }
    }
}

/// On one rank a step for several is the step of one process; with all classes on that rank, too, but for rounding.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_step_for_several_ranks_is_the_same_on_one() {
    let all = Ranks::new(true).with_classes(0..5);
    let pd = Loss::Pd(Config::default());
    let losses = [
        (Ranks::new(true), pd, Spelling::Operator, 0.0),
        (Ranks::new(false), Loss::DLoss(Config::default()), Spelling::Operator, 0.0),
        (Ranks::new(true), Loss::MultiSimilarity(MultiSimilarity::default()), Spelling::Inline, 0.0),
        (all, pd, Spelling::Operator, 1e-10),
    ];
    for (ranks, loss, spelling, tolerance) in losses {
        let mut several = driver_over(Some(ranks), loss, spelling, Element::F64);
        let mut one = driver(loss, spelling, Element::F64);
        for step in 0..5 {
            let data = Array::f64(&[BATCH, INPUTS], &numbers(BATCH * INPUTS, 10 + step));
            let labels = [0, 1, 2, 3, 0, 1, 2, 4];
            let (got, wanted) = (several.step(&data, &labels, 0.05), one.step(&data, &labels, 0.05));
            for (name, wanted) in &wanted {
                assert_close(
                    &format!("{loss:?}, step {step}: {name}"),
                    &got[name].values(),
                    &wanted.values(),
                    tolerance,
                );
            }
        }
    }
}
