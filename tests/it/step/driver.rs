//! Runs step graphs: the state goes round, everything else is the test's.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "rounding to float32 is meant, and lengths are small")]

use ort::session::Session;
use pdloss::graph::{
    proto::ModelProto,
    step::{Description, StepOptions, build, names},
};

use crate::runtime;

pub(crate) use crate::runtime::{Array, Arrays};

pub(crate) fn open(model: &ModelProto) -> Session {
    runtime::open(model).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn run(session: &mut Session, feeds: &Arrays) -> Arrays {
    runtime::run(session, feeds).unwrap_or_else(|error| panic!("{error}"))
}

/// A step graph with its state.
pub(crate) struct Driver {
    pub(crate) model: ModelProto,
    pub(crate) description: Description,
    pub(crate) state: Arrays,
    session: Session,
}

impl Driver {
    pub(crate) fn new(backbone: ModelProto, options: &StepOptions) -> Self {
        let model = build(backbone, options).unwrap_or_else(|error| panic!("{error}"));
        let session = open(&model);
        Self::of(model, session)
    }

    /// With the first state that the model carries.
    pub(crate) fn of(model: ModelProto, session: Session) -> Self {
        let description = Description::of(&model).expect("a description");
        let initializers = &model.graph.as_ref().expect("a graph").initializer;
        let first = |name: &str| {
            let tensor = initializers.iter().find(|tensor| tensor.name() == name);
            Array::of(tensor.unwrap_or_else(|| panic!("{name}: no first value")))
        };
        let state = description.state.iter().map(|state| (state.name.clone(), first(&state.name))).collect();
        Self { model, description, state, session }
    }

    /// One step; its outputs.
    pub(crate) fn step(&mut self, data: &Array, labels: &[i64], learning_rate: f64) -> Arrays {
        self.try_step(data, labels, learning_rate).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, or what onnxruntime says against it; then the state stays as it was.
    pub(crate) fn try_step(&mut self, data: &Array, labels: &[i64], learning_rate: f64) -> Result<Arrays, String> {
        let mut feeds = self.state.clone();
        feeds.insert(self.description.data.clone(), data.clone());
        feeds.insert(names::LABELS.to_owned(), Array::i64(labels));
        feeds.insert(names::LEARNING_RATE.to_owned(), Array::f32(&[], &[learning_rate]));
        let outputs = runtime::run(&mut self.session, &feeds)?;
        for state in &self.description.state {
            let next = outputs[&state.next].clone();
            assert_eq!(next.shape, state.shape, "{}", state.next);
            self.state.insert(state.name.clone(), next);
        }
        Ok(outputs)
    }

    pub(crate) fn weight(&self, name: &str) -> Vec<f64> {
        self.state[name].values()
    }
}

/// `|got - wanted| <= tolerance * max(1, largest wanted)`, false for NaN.
pub(crate) fn assert_close(what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}: lengths");
    let largest = wanted.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let near = (got - wanted).abs() <= tolerance * largest;
        assert!(near, "{what}[{index}]: got {got}, wanted {wanted}, distance {:.1e}", (got - wanted).abs());
    }
}
