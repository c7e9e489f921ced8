//! A graph of the training step on onnxruntime. Values stay on the device between its runs, by their names.

use std::collections::HashMap;
use std::path::Path;

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{self, IoBinding};
use ort::value::{DynTensorValueType, DynValue};
use pdloss::graph::head::names::{LOSS, MOMENTS};
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::Description;
use pdloss::graph::step::names::{EMBEDDINGS, EMBEDDINGS_GRADIENT, GRADIENT_NORM, MEAN_COSINE, ROWS_GRADIENT};
use pdloss_embed::embedder::{Device, session_builder};
use pdloss_embed::{Error, Result};
use prost::Message;

/// Values by their names: the state, and what graphs are given and give.
pub(crate) type Values = HashMap<String, DynValue>;

/// Results that the program itself reads.
const READ: [&str; 7] = [LOSS, MOMENTS, MEAN_COSINE, GRADIENT_NORM, EMBEDDINGS, EMBEDDINGS_GRADIENT, ROWS_GRADIENT];

/// A graph, opened.
pub(crate) struct Session {
    session: session::Session,
    binding: IoBinding,
    inputs: Vec<String>,
    /// Results, each with the value in whose memory it is made, if there is one.
    outputs: Vec<(String, Option<String>)>,
    /// Where values of the state live ...
    there: MemoryInfo<'static>,
    /// ... and where what the program reads goes.
    here: MemoryInfo<'static>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a graph of a training step of the backbone `model`. The graph's own first values of the state are dropped:
    /// onnxruntime would keep them beside it for as long as the session lives. Outputs of `unread` are not asked for.
    ///
    /// # Errors
    /// [`Error::Runtime`] where the library or the device cannot be had, [`Error::Model`] where it does not take the graph.
    pub(crate) fn open(
        model: &Path,
        mut graph: ModelProto,
        (description, unread): (&Description, &[&str]),
        library: &Path,
        (device, threads): (Device, usize),
    ) -> Result<Self> {
        let wrong = |e: ort::Error| Error::model(model, format!("onnxruntime does not take its training step: {e}"));
        if let Some(graph) = &mut graph.graph {
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
        let session = builder.commit_from_memory(&graph.encode_to_vec()).map_err(wrong)?;
        let memory = |device, number, kind| MemoryInfo::new(device, number, AllocatorType::Device, kind).map_err(wrong);
        let here = memory(AllocationDevice::CPU, 0, MemoryType::CPUOutput)?;
        let there = match device {
            Device::Cpu => memory(AllocationDevice::CPU, 0, MemoryType::Default)?,
            Device::Cuda(number) => memory(AllocationDevice::CUDA, number, MemoryType::Default)?,
        };
        let inputs = session.inputs().iter().map(|input| input.name().to_owned()).collect();
        let outputs = session.outputs().iter().map(|output| output.name().to_owned());
        let outputs = outputs.filter(|name| !unread.contains(&name.as_str()));
        let follows = |name: &str| description.state.iter().find(|state| state.in_place && state.next == name);
        let with_before = |name: String| {
            let before = follows(&name).map(|state| state.name.clone());
            (name, before)
        };
        let outputs = outputs.map(with_before).collect();
        let binding = session.create_binding().map_err(wrong)?;
        Ok(Self { session, binding, inputs, outputs, there, here })
    }

    /// The names of what it takes.
    pub(crate) fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Runs the graph on these values, and puts its results among them: `S.next` takes the place of `S`. What the description calls
    /// in place is written into the memory of the value that it follows.
    ///
    /// # Errors
    /// What onnxruntime says; a value that is missing.
    pub(crate) fn run(&mut self, values: &mut Values) -> ort::Result<()> {
        let binding = &mut self.binding;
        for name in &self.inputs {
            let value = values.get(name).ok_or_else(|| ort::Error::new(format!("nothing is given as {name}")))?;
            binding.bind_input(name.as_str(), value)?;
        }
        // Bound anew each time: else onnxruntime writes into the buffers of the run before, which are inputs now, also where it must
        // not.
        binding.clear_outputs();
        for (name, before) in &self.outputs {
            let before = before.as_ref().and_then(|before| values.get_mut(before));
            // The first values come from the processor: those of a device are made there, and stay.
            match before.filter(|value| is_at(value, &self.there)) {
                Some(value) => binding.bind_output(name.as_str(), value)?,
                None if READ.contains(&name.as_str()) => binding.bind_output_to_device(name.as_str(), &self.here)?,
                None => binding.bind_output_to_device(name.as_str(), &self.there)?,
            }
        }
        let mut results = self.session.run_binding(binding)?;
        let made = self.outputs.iter().map(|(name, _)| {
            let value = results.remove(name).ok_or_else(|| ort::Error::new(format!("it gave no output {name}")))?;
            Ok((name.strip_suffix(".next").unwrap_or(name).to_owned(), value))
        });
        let made: Vec<(String, DynValue)> = made.collect::<ort::Result<_>>()?;
        drop(results);
        values.extend(made);
        // What is replaced is let go of now, not when the graph runs again.
        binding.clear();
        Ok(())
    }
}

/// Whether a value lies in memory of this device.
fn is_at(value: &DynValue, place: &MemoryInfo<'_>) -> bool {
    value.view().downcast::<DynTensorValueType>().is_ok_and(|tensor| {
        let of = tensor.memory_info();
        of.allocation_device() == place.allocation_device() && of.device_id() == place.device_id()
    })
}
