//! The step graph on onnxruntime. The state stays on the device: the outputs of one step are the inputs of the next, and written into
//! these where the graph allows that.

use std::path::{Path, PathBuf};

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::{DynValue, Tensor as OrtTensor};
use pdloss::graph::head::names::{LOSS, MOMENTS};
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::names::{GRADIENT_NORM, LABELS, LEARNING_RATE, MEAN_COSINE};
use pdloss::graph::step::{Description, Kind};
use pdloss_embed::digest::hex;
use pdloss_embed::embedder::{Device, session_builder};
use pdloss_embed::{Error, Result};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::loader::Batch;
use crate::shards::Shards;
use crate::tensor::Tensor;

/// What a step says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) loss: f32,
    /// mu_genuine, mu_impostor, var_genuine, var_impostor, d' and counts, where the loss has them.
    pub(crate) moments: Option<[f64; 8]>,
    /// Mean cosine of the batch's pairs.
    pub(crate) mean_cosine: f32,
    /// Norm of all gradients together, before clipping.
    pub(crate) gradient_norm: f32,
}

/// A step graph with its state.
pub(crate) struct Trainer {
    /// For errors.
    model: PathBuf,
    description: Description,
    has_moments: bool,
    session: Session,
    binding: IoBinding,
    state: Vec<DynValue>,
    /// Where the state lives ...
    there: MemoryInfo<'static>,
    /// ... and where the numbers for people go.
    here: MemoryInfo<'static>,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Opens a step graph of the backbone `model`, with this state. The graph's own first values of the state are dropped:
    /// onnxruntime would keep them beside it for as long as the session lives.
    ///
    /// # Errors
    /// [`Error::Runtime`] where the library or the device cannot be had, [`Error::Model`] where it does not take the graph.
    pub(crate) fn open(
        model: &Path,
        mut step: ModelProto,
        state: &[Tensor],
        library: &Path,
        (device, threads): (Device, usize),
    ) -> Result<Self> {
        let wrong = |e: ort::Error| Error::model(model, format!("onnxruntime does not take its training step: {e}"));
        let description = Description::of(&step).map_err(|e| Error::model(model, e.to_string()))?;
        if let Some(graph) = &mut step.graph {
            graph.initializer.retain(|initializer| !description.state.iter().any(|s| s.name == initializer.name()));
        }
        // A memory pattern is one block for a whole step, beside all that the first step allocated by pieces.
        let mut builder = session_builder(library, device, threads)?
            .with_memory_pattern(false)
            .map_err(|e| Error::model(model, e.to_string()))?;
        // SAFETY: the options belong to `builder`; the table is that of the onnxruntime which made them, whose library the
        // environment keeps open until the process ends.
        #[allow(unsafe_code)]
        unsafe { pdloss_ort::register(builder.ptr_mut(), ort::api()) }
            .map_err(|e| Error::model(model, format!("onnxruntime does not take the loss's operators: {e}")))?;
        let session = builder.commit_from_memory(&step.encode_to_vec()).map_err(wrong)?;
        let memory = |device, number, kind| MemoryInfo::new(device, number, AllocatorType::Device, kind).map_err(wrong);
        let here = memory(AllocationDevice::CPU, 0, MemoryType::CPUOutput)?;
        let there = match device {
            Device::Cpu => memory(AllocationDevice::CPU, 0, MemoryType::Default)?,
            Device::Cuda(number) => memory(AllocationDevice::CUDA, number, MemoryType::Default)?,
        };
        let has_moments = session.outputs().iter().any(|output| output.name() == MOMENTS);
        let binding = session.create_binding().map_err(wrong)?;
        let state = state.iter().map(Tensor::to_value).collect::<ort::Result<_>>().map_err(wrong)?;
        Ok(Self { model: model.into(), description, has_moments, session, binding, state, there, here })
    }

    /// Runs one step on a batch of images of this shape (three axes).
    ///
    /// # Errors
    /// [`Error::Model`] with what onnxruntime says.
    pub(crate) fn step(&mut self, batch: Batch, shape: [usize; 3], rate: f32) -> Result<Outcome> {
        let model = self.model.clone();
        self.run(batch, shape, rate).map_err(|e| Error::model(model, format!("running its training step failed: {e}")))
    }

    fn run(&mut self, batch: Batch, shape: [usize; 3], rate: f32) -> ort::Result<Outcome> {
        let count = batch.labels.len();
        let images = OrtTensor::from_array(([count, shape[0], shape[1], shape[2]], batch.values))?;
        let labels = OrtTensor::from_array(([count], batch.labels))?;
        let rate = OrtTensor::from_array(([0_usize; 0], vec![rate]))?;
        let binding = &mut self.binding;
        binding.bind_input(self.description.data.as_str(), &images)?;
        binding.bind_input(LABELS, &labels)?;
        binding.bind_input(LEARNING_RATE, &rate)?;
        for (tensor, value) in self.description.state.iter().zip(&self.state) {
            binding.bind_input(tensor.name.as_str(), value)?;
        }
        // Bound anew each time: else onnxruntime writes into the buffers of the step before, which are inputs now, also where it must
        // not.
        binding.clear_outputs();
        let numbers = [LOSS, MEAN_COSINE, GRADIENT_NORM];
        for name in numbers.into_iter().chain(self.has_moments.then_some(MOMENTS)) {
            binding.bind_output_to_device(name, &self.here)?;
        }
        for (tensor, value) in self.description.state.iter().zip(&mut self.state) {
            if tensor.in_place {
                binding.bind_output(tensor.next.as_str(), value)?;
            } else {
                binding.bind_output_to_device(tensor.next.as_str(), &self.there)?;
            }
        }
        let mut outputs = self.session.run_binding(binding)?;
        let number = |name: &str| outputs[name].try_extract_tensor::<f32>().map(|(_, values)| values[0]);
        let moments = if self.has_moments {
            let (_, values) = outputs[MOMENTS].try_extract_tensor::<f64>()?;
            values.try_into().ok()
        } else {
            None
        };
        let outcome = Outcome {
            loss: number(LOSS)?,
            moments,
            mean_cosine: number(MEAN_COSINE)?,
            gradient_norm: number(GRADIENT_NORM)?,
        };
        let next = self.description.state.iter().map(|tensor| {
            outputs.remove(&tensor.next).ok_or_else(|| ort::Error::new(format!("it gave no output {}", tensor.next)))
        });
        let next = next.collect::<ort::Result<_>>()?;
        drop(outputs);
        self.state = next;
        Ok(outcome)
    }

    /// SHA-256 of all of the state that is the same on every rank: running statistics follow a rank's own rows, unless they are
    /// synchronised, and the first rank's are the run's, as are averages, which follow from them; of `shards` each rank has a part.
    ///
    /// # Errors
    /// As [`Trainer::state`].
    pub(crate) fn digest(&self, shards: &Shards) -> Result<String> {
        let mut hasher = Sha256::new();
        for (tensor, value) in self.description.state.iter().zip(&self.state) {
            if !matches!(tensor.kind, Kind::Running | Kind::Average) && !shards.hold(&tensor.name) {
                let copy = Tensor::of_value(&tensor.name, value);
                let copy = copy.map_err(|e| Error::model(&self.model, format!("its state cannot be copied: {e}")))?;
                hasher.update(&copy.bytes);
            }
        }
        Ok(hex(&hasher.finalize()))
    }

    /// A copy of the state.
    ///
    /// # Errors
    /// [`Error::Model`] where the copy fails.
    pub(crate) fn state(&self) -> Result<Vec<Tensor>> {
        let tensors = self.description.state.iter().zip(&self.state);
        let copies = tensors.map(|(tensor, value)| Tensor::of_value(&tensor.name, value)).collect::<ort::Result<_>>();
        copies.map_err(|e| Error::model(&self.model, format!("its state cannot be copied: {e}")))
    }
}
