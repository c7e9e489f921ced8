//! Runs a model on batches of images, on ONNX Runtime or on the embedded tract; the code above sees no difference.

mod bounds;
mod class_scores;
mod efficiency;
mod external;
mod library;
mod model;
mod names;
mod onnxruntime;
mod own_scaling;
mod prepared;
mod steady;
mod tract;
mod tract_faults;
mod training_mode;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ndarray::{Array2, Array4, ArrayD};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use bounds::Work;
pub use efficiency::Efficiency;
pub use external::{open_regular, read_regular};
pub use library::{Library, library};
pub use model::{Model, Tensor};
pub use onnxruntime::{session_builder, version};
pub use own_scaling::OwnScaling;
pub use prepared::Prepared;
pub use training_mode::Unsteady;

/// The runtime that `--runtime` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Choice {
    /// ONNX Runtime where its library is found, else tract
    Auto,
    /// ONNX Runtime, from libonnxruntime.so
    Onnxruntime,
    /// tract, built in
    Tract,
}

/// Where the model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    Cpu,
    /// A CUDA device by number.
    Cuda(i32),
}

impl TryFrom<String> for Device {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl FromStr for Device {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let number = |n: &str| n.parse().ok().filter(|n: &i32| *n >= 0);
        match s.split_once(':') {
            None if s == "cpu" => Some(Self::Cpu),
            // Of several ranks on a machine, each takes one.
            None if s == "cuda" => i32::try_from(crate::ranks::world().local_rank()).ok().map(Self::Cuda),
            Some(("cuda", n)) => number(n).map(Self::Cuda),
            _ => None,
        }
        .ok_or_else(|| format!("'{s}' is no device: wanted cpu, cuda or cuda:N"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// How to run a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which runtime.
    pub runtime: Choice,
    /// The library `libonnxruntime.so`, where named.
    pub library: Option<PathBuf>,
    /// Which device.
    pub device: Device,
    /// Processor threads in all.
    pub threads: usize,
    /// Images in a batch; `None` for what suits model and device.
    pub batch: Option<usize>,
}

/// A loaded model that can run one batch at a time. Its errors are sentences without the model's name.
trait Session: Send {
    /// Runs one batch, in the layout of the model's input.
    fn run(&mut self, images: Array4<f32>) -> std::result::Result<ArrayD<f32>, String>;
}

/// A prepared value as a pixel from 0 to 255.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within the bounds
fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// A model ready to run, in as many sessions as run side by side.
pub struct Embedder {
    model: Model,
    /// `onnxruntime` or `tract`, and its version.
    runtime: (&'static str, String),
    /// The library that runs it, where one does.
    library: Option<Library>,
    sessions: Vec<Box<dyn Session>>,
    batch: usize,
    /// Whether every batch must be full (the last one is padded, and the padding's rows dropped).
    full_batches: bool,
    notes: Vec<String>,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedder")
            .field("model", &self.model.path)
            .field("runtime", &self.runtime)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// On ONNX Runtime, models up to this size get a session for each thread, each on one thread, which is fastest; larger
/// ones would fill the memory and get one session on all threads. tract's sessions share their weights.
const MANY_SESSIONS_UP_TO: u64 = 256 << 20;

/// Bytes that the input of one batch may take.
const MOST_OF_A_BATCH: u128 = 4 << 30;

impl Embedder {
    /// Loads a model for images of this shape (three axes in the layout of its input; tract needs them known).
    ///
    /// # Errors
    /// [`Error::Runtime`] where the runtime or device cannot be had, [`Error::Model`] where it does not take the model,
    /// [`Error::Usage`] where the batch size contradicts the model's.
    pub fn open(model: Model, image: Option<[usize; 3]>, options: &Options) -> Result<Self> {
        Self::open_as(model, image, options, options.device == Device::Cpu)
    }

    /// The same in a single session, on all threads.
    ///
    /// # Errors
    /// Those of [`Embedder::open`].
    pub fn open_one(model: Model, image: Option<[usize; 3]>, options: &Options) -> Result<Self> {
        Self::open_as(model, image, options, false)
    }

    fn open_as(model: Model, image: Option<[usize; 3]>, options: &Options, side_by_side: bool) -> Result<Self> {
        let fixed = model.fixed_batch();
        if let (Some(fixed), Some(asked)) = (fixed, options.batch)
            && fixed != asked
        {
            return Err(Error::Usage(format!(
                "--batch {asked}: the batch of model {} is fixed at {fixed}; leave --batch out",
                model.path.display()
            )));
        }
        let library = match options.runtime {
            Choice::Tract => None,
            Choice::Auto => library::find(options.library.as_deref())?,
            Choice::Onnxruntime => Some(library::library(options.library.as_deref())?),
        };
        let usual = if options.device == Device::Cpu { 8 } else { 32 };
        let batch = fixed.or(options.batch).unwrap_or(usual);
        let values = image.iter().flatten().fold(batch as u128, |n, &dim| n.saturating_mul(dim as u128));
        let bytes = values.saturating_mul(4);
        if bytes > MOST_OF_A_BATCH {
            let by = if fixed.is_some() { "as the model fixes it" } else { "by --batch" };
            let size = image.map_or("images".to_owned(), |shape| format!("images of {shape:?}"));
            let problem = format!("a batch of {batch} {size}, {by}, takes {bytes} bytes; at most {MOST_OF_A_BATCH}");
            return Err(Error::model(&model.path, problem));
        }
        let shape = image.map(|[a, b, c]| [batch, a, b, c]);
        let proto = model.proto()?;
        bounds::check(&model.path, &proto, shape.as_ref().map(|s| (model.input.name.as_str(), &s[..])))?;
        drop(proto);
        let many = side_by_side && (library.is_none() || model.bytes <= MANY_SESSIONS_UP_TO);
        let (count, threads_each) = if many { (options.threads, 1) } else { (1, options.threads) };
        let (runtime, sessions) = match &library {
            Some(library) => {
                let (version, sessions) =
                    onnxruntime::open(&model, &library.path, options.device, count, threads_each)?;
                (("onnxruntime", version), sessions)
            }
            None if options.device != Device::Cpu => {
                return Err(Error::Runtime {
                    runtime: "tract",
                    problem: format!(
                        "--device {}: tract runs on the processor only{}",
                        options.device,
                        if options.runtime == Choice::Tract {
                            "; use --runtime onnxruntime".to_owned()
                        } else {
                            format!(", and {}", library::not_found())
                        }
                    ),
                });
            }
            None => (("tract", tract::VERSION.to_owned()), tract::open(&model, batch, image, count)?),
        };
        let full_batches = fixed.is_some() || runtime.0 == "tract";
        let mut notes = Vec::new();
        if options.runtime == Choice::Auto && library.is_none() {
            notes.push(format!("TRACT: {}", library::not_found()));
        }
        if runtime.0 == "tract" && (model.has_halves || model.is_quantized) {
            let what = if model.is_quantized { "int8" } else { "float16" };
            notes.push(format!(
                "{what} ON TRACT: it rounds otherwise than onnxruntime does, so embeddings and figures differ from those of \
                 --runtime onnxruntime"
            ));
        }
        Ok(Self { model, runtime, library, sessions, batch, full_batches, notes })
    }

    /// What a person must know about the results: sentences, for standard error and for records.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Name and version of the runtime.
    pub fn runtime(&self) -> (&'static str, &str) {
        (self.runtime.0, &self.runtime.1)
    }

    /// The library that runs it; none where tract does.
    pub fn library(&self) -> Option<&Library> {
        self.library.as_ref()
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// One worker for each session, to be moved to its thread.
    pub fn workers(&mut self) -> Vec<Worker<'_>> {
        let (model, batch, full_batches) = (&self.model, self.batch, self.full_batches);
        self.sessions.iter_mut().map(|s| Worker { session: s.as_mut(), model, batch, full_batches }).collect()
    }
}

/// One session, and what is checked about each of its results.
pub struct Worker<'a> {
    session: &'a mut dyn Session,
    model: &'a Model,
    batch: usize,
    full_batches: bool,
}

impl fmt::Debug for Worker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("model", &self.model.path).field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Worker<'_> {
    /// Embeds up to a batch of images of one shape, given one after the other in `values`; returns `[count, dim]`.
    ///
    /// # Errors
    /// [`Error::Model`] where the model does not run, or gives something else.
    pub fn embed(&mut self, mut values: Vec<f32>, count: usize, shape: [usize; 3]) -> Result<Array2<f32>> {
        let wrong = |problem: String| Error::model(&self.model.path, problem);
        let rows = if self.full_batches { self.batch } else { count };
        values.resize(rows * shape.iter().product::<usize>(), 0.0);
        let images =
            Array4::from_shape_vec((rows, shape[0], shape[1], shape[2]), values).map_err(|e| wrong(e.to_string()))?;
        let produced = self.session.run(images).map_err(wrong)?;
        let embeddings = to_rows(produced, rows, &self.model.output).map_err(wrong)?;
        Ok(embeddings.slice_move(ndarray::s![..count, ..]))
    }
}

/// A produced tensor as `[batch, dim]`: dimensions of one (a pooled 1x1 map) are dropped.
fn to_rows(produced: ArrayD<f32>, batch: usize, name: &str) -> std::result::Result<Array2<f32>, String> {
    let shape = produced.shape().to_vec();
    let wrong = || {
        format!(
            "output {name} came as {shape:?} for a batch of {batch}; wanted [{batch}, dim], or [{batch}, dim, 1, 1]"
        )
    };
    // A model with its batch fixed at one may drop that dimension.
    let rest = match shape.split_first() {
        Some((&first, rest)) if first == batch => rest,
        _ if batch == 1 => &shape[..],
        _ => return Err(wrong()),
    };
    let wide: Vec<usize> = rest.iter().copied().filter(|&d| d != 1).collect();
    let dim = match wide.as_slice() {
        [] => 1,
        [dim] if *dim > 0 => *dim,
        [_, _, ..] if !wide.contains(&0) => {
            let cure =
                "of tokens or of a map; --output NAME takes a tensor in which they are pooled, where the model has one";
            return Err(format!("{}: it has a row for each {cure}", wrong()));
        }
        _ => return Err(wrong()),
    };
    let values = produced.into_raw_vec_and_offset().0;
    Array2::from_shape_vec((batch, dim), values).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_from_any_shape_with_one_wide_dimension() {
        for shape in [vec![2, 3], vec![2, 3, 1, 1], vec![2, 1, 1, 3]] {
            let produced = ArrayD::from_shape_vec(shape, (0..6).map(|v| v as f32).collect()).unwrap();
            assert_eq!(to_rows(produced, 2, "y").unwrap(), ndarray::array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
        }
        assert_eq!(to_rows(ArrayD::zeros(vec![3]), 1, "y").unwrap().dim(), (1, 3));
    }

    #[test]
    fn maps_and_wrong_batches_are_refused_with_their_shape() {
        for (shape, batch) in [(vec![2, 3, 7, 7], 2), (vec![1, 3], 2), (vec![2, 0], 2)] {
            let message = to_rows(ArrayD::zeros(shape.clone()), batch, "y").unwrap_err();
            assert!(message.contains(&format!("{shape:?}")), "{message}");
        }
        // A sequence of 197 tokens.
        let message = to_rows(ArrayD::zeros(vec![2, 197, 8]), 2, "y").unwrap_err();
        assert!(message.contains("a row for each of tokens or of a map; --output NAME"), "{message}");
    }
}
