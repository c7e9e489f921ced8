//! Tensors and sessions of the onnxruntime that the tests were built with.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "rounding to float32 is meant, and lengths are small")]

use std::collections::{BTreeMap, HashSet};

use ort::{
    session::{Session, SessionInputValue},
    value::{Tensor, TensorElementType},
};
use pdloss::graph::proto::{ModelProto, TensorProto};
use prost::Message as _;

use crate::environment::environment;

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
    Bool(Vec<bool>),
}

pub(crate) type Arrays = BTreeMap<String, Array>;

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
            Numbers::Bool(values) => values.iter().map(|&value| f64::from(u8::from(value))).collect(),
        }
    }

    pub(crate) fn set(&mut self, index: usize, value: f64) {
        match &mut self.numbers {
            Numbers::F32(values) => values[index] = value as f32,
            Numbers::F64(values) => values[index] = value,
            _ => panic!("not a float"),
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
            Numbers::Bool(values) => (9, values.iter().map(|&value| u8::from(value)).collect()),
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
            Numbers::F32(values) => Tensor::from_array((shape, values)).expect("a tensor of this type").into(),
            Numbers::F64(values) => Tensor::from_array((shape, values)).expect("a tensor of this type").into(),
            Numbers::I64(values) => Tensor::from_array((shape, values)).expect("a tensor of this type").into(),
            Numbers::Bool(values) => Tensor::from_array((shape, values)).expect("a tensor of this type").into(),
        }
    }
}

pub(crate) fn open(model: &ModelProto) -> Result<Session, String> {
    in_order(model)?;
    let mut builder = Session::builder(environment()).map_err(|error| error.to_string())?;
    builder.commit_from_memory(&model.encode_to_vec()).map_err(|error| error.to_string())
}

/// ONNX wants every value made before it is read; onnxruntime alone does not mind.
fn in_order(model: &ModelProto) -> Result<(), String> {
    let Some(graph) = &model.graph else { return Ok(()) };
    let tensors = graph.initializer.iter().map(|tensor| tensor.name());
    let mut known: HashSet<&str> = graph.input.iter().map(|input| input.name()).chain(tensors).chain([""]).collect();
    for node in &graph.node {
        if let Some(name) = node.input.iter().find(|name| !known.contains(name.as_str())) {
            return Err(format!("{} '{}' reads '{name}', which is not made yet", node.op_type(), node.name()));
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    Ok(())
}

pub(crate) fn run(session: &mut Session, feeds: &Arrays) -> Result<Arrays, String> {
    let feeds: Vec<(&str, SessionInputValue<'_>)> =
        feeds.iter().map(|(name, array)| (name.as_str(), array.value())).collect();
    let results = session.run(feeds).map_err(|error| error.to_string())?;
    let mut outputs = Arrays::new();
    for (name, value) in results.iter() {
        let lengths = |shape: &[i64]| shape.iter().map(|&length| length as usize).collect();
        let array = match value.dtype().tensor_type() {
            Some(TensorElementType::Float64) => {
                let (shape, values) = value.try_extract_tensor::<f64>().expect("a tensor of this type");
                Array { shape: lengths(shape), numbers: Numbers::F64(values.to_vec()) }
            }
            Some(TensorElementType::Int64) => {
                let (shape, values) = value.try_extract_tensor::<i64>().expect("a tensor of this type");
                Array { shape: lengths(shape), numbers: Numbers::I64(values.to_vec()) }
            }
            Some(TensorElementType::Bool) => {
                let (shape, values) = value.try_extract_tensor::<bool>().expect("a tensor of this type");
                Array { shape: lengths(shape), numbers: Numbers::Bool(values.to_vec()) }
            }
            _ => {
                let (shape, values) = value.try_extract_tensor::<f32>().expect("a tensor of this type");
                Array { shape: lengths(shape), numbers: Numbers::F32(values.to_vec()) }
            }
        };
        outputs.insert(name.to_owned(), array);
    }
    Ok(outputs)
}
