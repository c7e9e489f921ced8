//! Runs step graphs: the state goes round, everything else is the test's.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "rounding to float32 is meant, and lengths are small")]

use std::{collections::BTreeMap, env, sync::OnceLock};

use ort::{
    environment::Environment,
    session::{Session, SessionInputValue},
    value::{Tensor, TensorElementType},
};
use pdloss::graph::{
    proto::{ModelProto, TensorProto},
    step::{Description, StepOptions, build, names},
};
use prost::Message as _;

/// A tensor outside the runtime.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

impl Array {
    pub(crate) fn f32(shape: &[usize], values: &[f64]) -> Self {
        let values = values.iter().map(|&value| value as f32).collect();
        Self { shape: shape.to_vec(), numbers: Numbers::F32(values) }
    }

    pub(crate) fn f64(shape: &[usize], values: &[f64]) -> Self {
        Self { shape: shape.to_vec(), numbers: Numbers::F64(values.to_vec()) }
    }

    pub(crate) fn i64(values: &[i64]) -> Self {
        Self { shape: vec![values.len()], numbers: Numbers::I64(values.to_vec()) }
    }

    /// The numbers as f64.
    pub(crate) fn values(&self) -> Vec<f64> {
        match &self.numbers {
            Numbers::F32(values) => values.iter().copied().map(f64::from).collect(),
            Numbers::F64(values) => values.clone(),
            Numbers::I64(values) => values.iter().map(|&value| value as f64).collect(),
        }
    }

    pub(crate) fn number(&self) -> f64 {
        let values = self.values();
        assert_eq!(values.len(), 1);
        values[0]
    }

    pub(crate) fn of(tensor: &TensorProto) -> Self {
        let raw = tensor.raw_data.as_deref().expect("raw data");
        let numbers = match tensor.data_type() {
            1 => Numbers::F32(raw.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()),
            11 => Numbers::F64(raw.as_chunks().0.iter().map(|&word| f64::from_le_bytes(word)).collect()),
            7 => Numbers::I64(raw.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word)).collect()),
            other => panic!("element type {other}"),
        };
        Self { shape: tensor.dims.iter().map(|&length| length as usize).collect(), numbers }
    }

    pub(crate) fn tensor(&self, name: &str) -> TensorProto {
        let (data_type, raw) = match &self.numbers {
            Numbers::F32(values) => (1, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Numbers::F64(values) => (11, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Numbers::I64(values) => (7, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(data_type),
            dims: self.shape.iter().map(|&length| length as i64).collect(),
            raw_data: Some(raw),
            ..TensorProto::default()
        }
    }

    fn value(&self) -> SessionInputValue<'static> {
        let shape = self.shape.clone();
        match self.numbers.clone() {
            Numbers::F32(values) => Tensor::from_array((shape, values)).expect("a tensor").into(),
            Numbers::F64(values) => Tensor::from_array((shape, values)).expect("a tensor").into(),
            Numbers::I64(values) => Tensor::from_array((shape, values)).expect("a tensor").into(),
        }
    }
}

pub(crate) type Arrays = BTreeMap<String, Array>;

fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let path =
            env::var("ORT_DYLIB_PATH").ok().or_else(|| option_env!("PDLOSS_TEST_ONNXRUNTIME").map(str::to_owned));
        let path = path.expect("an onnxruntime library: set ORT_DYLIB_PATH");
        ort::init_from(path).expect("the library loads").build().expect("an environment")
    })
}

pub(crate) fn open(model: &ModelProto) -> Session {
    let mut builder = Session::builder(environment()).expect("a session builder");
    builder.commit_from_memory(&model.encode_to_vec()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn run(session: &mut Session, feeds: &Arrays) -> Arrays {
    let feeds: Vec<(&str, SessionInputValue<'_>)> =
        feeds.iter().map(|(name, array)| (name.as_str(), array.value())).collect();
    let results = session.run(feeds).unwrap_or_else(|error| panic!("{error}"));
    let mut outputs = Arrays::new();
    for (name, value) in results.iter() {
        let lengths = |shape: &[i64]| shape.iter().map(|&length| length as usize).collect();
        let array = match value.dtype().tensor_type() {
            Some(TensorElementType::Float64) => {
                let (shape, values) = value.try_extract_tensor::<f64>().expect("float64");
                Array { shape: lengths(shape), numbers: Numbers::F64(values.to_vec()) }
            }
            Some(TensorElementType::Int64) => {
                let (shape, values) = value.try_extract_tensor::<i64>().expect("int64");
                Array { shape: lengths(shape), numbers: Numbers::I64(values.to_vec()) }
            }
            _ => {
                let (shape, values) = value.try_extract_tensor::<f32>().expect("float32");
                Array { shape: lengths(shape), numbers: Numbers::F32(values.to_vec()) }
            }
        };
        outputs.insert(name.to_owned(), array);
    }
    outputs
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
        let mut feeds = self.state.clone();
        feeds.insert(self.description.data.clone(), data.clone());
        feeds.insert(names::LABELS.to_owned(), Array::i64(labels));
        feeds.insert(names::LEARNING_RATE.to_owned(), Array::f32(&[], &[learning_rate]));
        let outputs = run(&mut self.session, &feeds);
        for state in &self.description.state {
            let next = outputs[&state.next].clone();
            assert_eq!(next.shape, state.shape, "{}", state.next);
            self.state.insert(state.name.clone(), next);
        }
        outputs
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
