//! tract, the runtime that is built in: no library to find, on the processor only.

use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{Array4, ArrayD};
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::konst::Const;

use super::{Model, Session, level, tract_faults};
use crate::error::{Error, Result};
use crate::guard::guarded;

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
    let proto = model.proto()?;
    if let Some(node) = tract_faults::find(&proto) {
        let problem = format!(
            "has {node}, which tract {VERSION} computes otherwise than ONNX says; --runtime onnxruntime computes it right"
        );
        return Err(Error::model(&model.path, problem));
    }
    let nodes = proto.graph.as_ref().map_or(0, |graph| graph.node.len());
    drop(proto);
    if nodes > MOST_NODES {
        let problem = format!(
            "has {nodes} nodes, and tract is given at most {MOST_NODES}: its analysis takes time by the square of them; use --runtime onnxruntime"
        );
        return Err(Error::model(&model.path, problem));
    }
    let image = image.ok_or_else(|| {
        Error::Recipe("tract wants images of one known size: add --crop, --pad or --resize exact:WxH".into())
    })?;
    let plan = match plan(model, batch, image) {
        Err(Error::Model { path, problem }) if batch > 1 && model.fixed_batch().is_none() => {
            let alone = self::plan(model, 1, image).is_ok();
            let cure = if alone { "; it takes one image at a time: give --batch 1" } else { "" };
            Err(Error::Model { path, problem: format!("{problem}{cure}") })
        }
        planned => planned,
    }?;
    let session = || {
        let path = model.path.clone();
        Box::new(Tract { plan: Arc::clone(&plan), input: model.input.element, path }) as Box<dyn Session>
    };
    Ok((0..count).map(|_| session()).collect())
}

/// Nodes of a graph for tract: this many in a chain take it about a minute, and large transformers have fewer.
const MOST_NODES: usize = 3000;

/// Bytes of stack for tract's analysis, which calls itself along chains of nodes.
const STACK: usize = 256 << 20;

/// The plan, made on a thread with a stack of known size; a panic is an error.
fn plan(model: &Model, batch: usize, image: [usize; 3]) -> Result<Plan> {
    let proto = model.proto()?;
    let planned = std::thread::scope(|scope| {
        let work = || {
            guarded(&model.path, || {
                let refused = |e: anyhow::Error| Error::model(&model.path, format!("tract does not take it: {e:#}"));
                build(model, &proto, batch, image).map_err(refused)
            })
        };
        let thread = std::thread::Builder::new().name("tract".into()).stack_size(STACK).spawn_scoped(scope, work);
        let failed = |problem: String| Error::model(&model.path, format!("tract cannot prepare it: {problem}"));
        thread.map_err(|e| failed(e.to_string()))?.join().map_err(|_| failed("its thread died".into()))?
    });
    planned.map_err(|e| match e {
        Error::Data { path, problem } => Error::model(path, format!("tract does not take it: {problem}")),
        other => other,
    })
}

fn build(model: &Model, proto: &ModelProto, batch: usize, image: [usize; 3]) -> TractResult<Plan> {
    // Declared shapes may lie, and name the batch by a symbol that is a number here.
    let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
    let mut proto = proto.clone();
    super::external::inline(&model.path, &mut proto)?;
    // Its analysis walks the nodes as they lie, again and again until nothing changes.
    if let Some(graph) = &mut proto.graph {
        let order = super::bounds::order(&model.path, graph)?;
        graph.node = order.into_iter().map(|at| std::mem::take(&mut graph.node[at])).collect();
    }
    let folder = model.folder();
    let parsed = onnx.parse(&proto, folder.to_str())?;
    if !parsed.unresolved_inputs.is_empty() {
        return Err(anyhow::anyhow!("inputs {:?} are given by nothing", parsed.unresolved_inputs));
    }
    // Its Relu makes 0 of NaN, and figures of a model whose weights broke.
    for node in parsed.model.nodes() {
        if node.op_as::<Const>().is_some_and(|weights| has_nan(weights.val())) {
            return Err(anyhow::anyhow!("its weights '{}' have NaN (not a number) among them", node.name));
        }
    }
    let element = match model.input.element {
        Some(DataType::Float16) => f16::datum_type(),
        Some(DataType::Double) => f64::datum_type(),
        Some(DataType::Uint8) => u8::datum_type(),
        _ => f32::datum_type(),
    };
    let fact = InferenceFact::dt_shape(element, tvec!(batch, image[0], image[1], image[2]));
    parsed.model.with_input_fact(0, fact)?.into_optimized()?.into_runnable()
}

fn has_nan(tensor: &Tensor) -> bool {
    let of_32 = || tensor.to_plain_array_view::<f32>().is_ok_and(|values| values.iter().any(|value| value.is_nan()));
    let of_16 = || tensor.to_plain_array_view::<f16>().is_ok_and(|values| values.iter().any(|value| value.is_nan()));
    let of_64 = || tensor.to_plain_array_view::<f64>().is_ok_and(|values| values.iter().any(|value| value.is_nan()));
    of_32() || of_16() || of_64()
}

struct Tract {
    plan: Plan,
    input: Option<DataType>,
    path: PathBuf,
}

impl Session for Tract {
    fn run(&mut self, images: Array4<f32>) -> std::result::Result<ArrayD<f32>, String> {
        let failed = |e: TractError| format!("running it failed: {e:#}");
        let input = match self.input {
            Some(DataType::Float16) => images.into_tensor().cast_to::<f16>().map_err(failed)?.into_owned(),
            Some(DataType::Double) => images.into_tensor().cast_to::<f64>().map_err(failed)?.into_owned(),
            Some(DataType::Uint8) => images.mapv(level).into_tensor(),
            _ => images.into_tensor(),
        };
        let outputs = guarded(&self.path, || Ok(self.plan.run(tvec!(input.into_tvalue()))))
            .map_err(|panic| format!("running it failed: {panic}"))?
            .map_err(failed)?;
        let output = outputs.first().ok_or("running it gave no output")?;
        if ![f32::datum_type(), f16::datum_type(), f64::datum_type()].contains(&output.datum_type()) {
            return Err(format!("the output came as {:?}; wanted float16, float32 or float64", output.datum_type()));
        }
        let output = output.cast_to::<f32>().map_err(failed)?;
        output.to_plain_array_view::<f32>().map(|view| view.to_owned()).map_err(failed)
    }
}
