//! tract, the runtime that is built in: no library to find, on the processor only.

use std::sync::Arc;

use ndarray::{Array4, ArrayD};
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::{Model, Session};
use crate::error::{Error, Result};

/// The version of the crate, as Cargo.toml names it.
pub(super) const VERSION: &str = "0.23.9";

type Plan = Arc<TypedRunnableModel>;

/// Prepares the model for batches of exactly `[batch, image...]` (tract is twice as fast on a fixed batch as on a
/// symbolic one) and returns `count` sessions on it.
pub(super) fn open(
    model: &Model,
    batch: usize,
    image: Option<[usize; 3]>,
    count: usize,
) -> Result<Vec<Box<dyn Session>>> {
    let image = image.ok_or_else(|| {
        Error::Recipe("tract wants images of one known size: add --crop, --pad or --resize exact:WxH".into())
    })?;
    let plan =
        plan(model, batch, image).map_err(|e| Error::model(&model.path, format!("tract does not take it: {e:#}")))?;
    let session = || Box::new(Tract { plan: Arc::clone(&plan), f16: model.input_is_f16() }) as Box<dyn Session>;
    Ok((0..count).map(|_| session()).collect())
}

fn plan(model: &Model, batch: usize, image: [usize; 3]) -> TractResult<Plan> {
    // Declared shapes may lie, and name the batch by a symbol that is a number here.
    let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
    let read;
    let proto = match &model.edited {
        Some(edited) => edited,
        None => {
            read = ModelProto::decode(std::fs::read(&model.path)?.as_slice())?;
            &read
        }
    };
    let folder = model.folder();
    let parsed = onnx.parse(proto, folder.to_str())?;
    if !parsed.unresolved_inputs.is_empty() {
        return Err(anyhow::anyhow!("inputs {:?} are given by nothing", parsed.unresolved_inputs));
    }
    let element = if model.input_is_f16() { f16::datum_type() } else { f32::datum_type() };
    let fact = InferenceFact::dt_shape(element, tvec!(batch, image[0], image[1], image[2]));
    parsed.model.with_input_fact(0, fact)?.into_optimized()?.into_runnable()
}

struct Tract {
    plan: Plan,
    f16: bool,
}

impl Session for Tract {
    fn run(&mut self, images: Array4<f32>) -> std::result::Result<ArrayD<f32>, String> {
        let failed = |e: TractError| format!("running it failed: {e:#}");
        let mut input = images.into_tensor();
        if self.f16 {
            input = input.cast_to::<f16>().map_err(failed)?.into_owned();
        }
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(failed)?;
        let output = outputs.first().ok_or("running it gave no output")?;
        if ![f32::datum_type(), f16::datum_type()].contains(&output.datum_type()) {
            return Err(format!("the output came as {:?}; wanted float32 or float16", output.datum_type()));
        }
        let output = output.cast_to::<f32>().map_err(failed)?;
        output.to_plain_array_view::<f32>().map(|view| view.to_owned()).map_err(failed)
    }
}
