//! ONNX Runtime, its library opened at run time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::{Array4, ArrayD};
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;

use super::library::NAME;
use super::{Device, Model, Session, level};
use crate::error::{Error, Result};

/// Opens `count` sessions of `threads` threads each; returns the library's version and the sessions.
pub(super) fn open(
    model: &Model,
    library: &Path,
    device: Device,
    count: usize,
    threads: usize,
) -> Result<(String, Vec<Box<dyn Session>>)> {
    let edited = model.edited.as_ref().map(Message::encode_to_vec);
    let mut sessions: Vec<Box<dyn Session>> = Vec::with_capacity(count);
    for _ in 0..count {
        let session = build(session_builder(library, device, threads)?, model, edited.as_deref())?;
        sessions.push(Box::new(OnnxRuntime { session, output: model.output.clone(), input: model.input.element }));
    }
    Ok((version(library)?, sessions))
}

/// A builder of sessions of `threads` threads on `device`, of this library, which is opened where it is not yet.
///
/// # Errors
/// [`Error::Runtime`] where the library cannot be opened, another one is in use, or the device cannot be had.
#[allow(clippy::result_large_err)] // the library's own error carries its builder
pub fn session_builder(library: &Path, device: Device, threads: usize) -> Result<SessionBuilder> {
    let (_, environment) = opened(library)?;
    let builder = ort::session::Session::builder(&environment)
        .map_err(|e| wrong(e.to_string()))?
        // `Level3` is refused by 1.19; `All` is the same thing.
        .with_optimization_level(GraphOptimizationLevel::All)
        .and_then(|b| b.with_intra_threads(threads))
        .and_then(|b| b.with_intra_op_spinning(threads > 1))
        .and_then(|b| b.with_log_level(LogLevel::Error))
        // Weights in 8 or 4 bits before a product: in float32, as the model says, and not with rounded activations.
        .and_then(|b| b.with_config_entry("session.qdq_matmulnbits_accuracy_level", "1"))
        .map_err(|e| wrong(e.to_string()))?;
    let Device::Cuda(number) = device else { return Ok(builder) };
    let provider = ep::CUDA::default().with_device_id(number).build().error_on_failure();
    builder.with_execution_providers([provider]).map_err(|e| {
        wrong(format!("--device {device} cannot be had (onnxruntime-gpu with its CUDA libraries is needed): {e}"))
    })
}

/// The library's environment, of which a process has one: made by the first model, kept for the others.
fn environment(library: &Path) -> std::result::Result<Environment, String> {
    static MADE: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((from, environment)) = &*made {
        return if from == library {
            Ok(environment.clone())
        } else {
            Err(format!(
                "{} is in use already; one process runs one library, not {} too",
                from.display(),
                library.display()
            ))
        };
    }
    let absent = |e: &dyn std::fmt::Display| format!("{}: {e}", library.display());
    let environment = ort::init_from(library).map_err(|e| absent(&e))?.build().map_err(|e| absent(&e))?;
    Ok(made.insert((library.to_path_buf(), environment)).1.clone())
}

fn build(mut builder: SessionBuilder, model: &Model, edited: Option<&[u8]>) -> Result<ort::session::Session> {
    let wrong = |e: ort::Error| Error::model(&model.path, format!("onnxruntime does not take it: {e}"));
    match edited {
        None => builder.commit_from_file(&model.path).map_err(wrong),
        Some(bytes) => {
            // A model in memory does not know where its external data lies.
            let folder = model.folder();
            builder = builder
                .with_config_entry("session.model_external_initializers_file_folder_path", folder.to_string_lossy())
                .map_err(|e| wrong(e.into()))?;
            builder.commit_from_memory(bytes).map_err(wrong)
        }
    }
}

/// The version of a library, which is opened where it is not yet: out of its file name, else out of the build information.
///
/// # Errors
/// [`Error::Runtime`] where it cannot be opened, or another one is in use.
pub fn version(library: &Path) -> Result<String> {
    let (path, _) = opened(library)?;
    let build = ort::info();
    let branch = build.split("git-branch=rel-").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let by_name = name.split_once(".so.").map(|(_, version)| version);
    Ok(by_name.or(branch).unwrap_or("of unknown version").to_owned())
}

/// A library's own path, and its environment.
fn opened(library: &Path) -> Result<(PathBuf, Environment)> {
    let path = library.canonicalize().map_err(|e| wrong(format!("{}: {e}", library.display())))?;
    let environment = environment(&path).map_err(wrong)?;
    Ok((path, environment))
}

fn wrong(problem: String) -> Error {
    Error::Runtime { runtime: NAME, problem }
}

struct OnnxRuntime {
    session: ort::session::Session,
    output: String,
    input: Option<DataType>,
}

impl Session for OnnxRuntime {
    fn run(&mut self, images: Array4<f32>) -> std::result::Result<ArrayD<f32>, String> {
        let failed = |e: ort::Error| format!("running it failed: {e}");
        let outputs = match self.input {
            Some(DataType::Float16) => {
                let halves = images.mapv(half::f16::from_f32);
                self.session.run(ort::inputs![TensorRef::from_array_view(&halves).map_err(failed)?])
            }
            Some(DataType::Double) => {
                let doubles = images.mapv(f64::from);
                self.session.run(ort::inputs![TensorRef::from_array_view(&doubles).map_err(failed)?])
            }
            Some(DataType::Uint8) => {
                let levels = images.mapv(level);
                self.session.run(ort::inputs![TensorRef::from_array_view(&levels).map_err(failed)?])
            }
            _ => self.session.run(ort::inputs![TensorRef::from_array_view(&images).map_err(failed)?]),
        }
        .map_err(failed)?;
        let value =
            outputs.get(self.output.as_str()).ok_or_else(|| format!("running it gave no output {}", self.output))?;
        if let Ok(array) = value.try_extract_array::<f32>() {
            return Ok(array.to_owned());
        }
        if let Ok(array) = value.try_extract_array::<half::f16>() {
            return Ok(array.mapv(half::f16::to_f32));
        }
        if let Ok(array) = value.try_extract_array::<f64>() {
            #[allow(clippy::cast_possible_truncation)] // embeddings are float32
            return Ok(array.mapv(|value| value as f32));
        }
        Err(format!("output {} came as {}; wanted a float16, float32 or float64 tensor", self.output, value.dtype()))
    }
}
