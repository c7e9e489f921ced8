//! Sessions of the onnxruntime that the tests were built with, with the operators in them.

use std::{env, path::PathBuf};

use anyhow::Result;
use ort::{
    AsPointer as _,
    session::{Session, SessionInputValue, builder::SessionBuilder},
    value::{Tensor, TensorElementType},
};
use pdloss::graph::proto::ModelProto;
use prost::Message as _;

use super::{Input, Numbers, Outputs};

#[path = "../../../tests/it/environment.rs"]
pub(crate) mod environment;

pub(crate) use environment::environment;

/// A builder that knows the operators, registered from this crate.
pub(crate) fn builder() -> Result<SessionBuilder> {
    let mut builder = Session::builder(environment())?;
    // SAFETY: the options live inside `builder`; the table is that of the onnxruntime which made them, and nothing unloads it.
    unsafe { pdloss_ort::register(builder.ptr_mut(), ort::api()) }?;
    Ok(builder)
}

/// A builder that knows the operators, from the shared library beside the test.
pub(crate) fn builder_from_library() -> Result<SessionBuilder> {
    // Two copies of the operators are in this process, and only within one do first sessions wait for each other: this
    // one's domain is known before the library's first session.
    drop(builder()?);
    Session::builder(environment())?.with_operator_library(library()?).map_err(|error| anyhow::anyhow!("{error}"))
}

/// The shared library of the same build. It lies beside the test: the copy one folder up is only renewed by `cargo build`.
pub(crate) fn library() -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name("libpdloss_ort.so");
    anyhow::ensure!(path.is_file(), "{} is not built", path.display());
    Ok(path)
}

/// Opens a model.
pub(crate) fn open(mut builder: SessionBuilder, model: &ModelProto) -> Result<Session> {
    Ok(builder.commit_from_memory(&model.encode_to_vec())?)
}

/// Runs it; every output as f64.
pub(crate) fn run(session: &mut Session, inputs: Vec<Input>) -> Result<Outputs> {
    let mut feeds: Vec<(&str, SessionInputValue<'_>)> = Vec::new();
    for (name, shape, numbers) in inputs {
        let value = match numbers {
            Numbers::F32(values) => Tensor::from_array((shape, values))?.into(),
            Numbers::F64(values) => Tensor::from_array((shape, values))?.into(),
            Numbers::I32(values) => Tensor::from_array((shape, values))?.into(),
            Numbers::I64(values) => Tensor::from_array((shape, values))?.into(),
        };
        feeds.push((name, value));
    }
    let results = session.run(feeds)?;
    let mut outputs = Outputs::new();
    for (name, value) in results.iter() {
        let values = match value.dtype().tensor_type() {
            Some(TensorElementType::Float64) => value.try_extract_tensor::<f64>()?.1.to_vec(),
            _ => value.try_extract_tensor::<f32>()?.1.iter().copied().map(f64::from).collect(),
        };
        outputs.insert(name.to_owned(), values);
    }
    Ok(outputs)
}
