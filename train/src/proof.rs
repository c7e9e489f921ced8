//! Whether a model whose batch was freed gives for each image what it gave before: both are run.

use std::path::Path;

use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::Tensor;
use pdloss::graph::build::{Dim, Element, Value, attribute, declared, floats, node};
use pdloss::graph::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
use pdloss::graph::step::export_embedder;
use pdloss_embed::embedder::{Device, session_builder};
use prost::Message;
use rand::RngExt;

use crate::random::{Purpose, stream};

/// How far a row may be from what it was, as a part of the largest number: sums of float32 in another order.
const TOLERANCE: f32 = 1e-4;
/// The length that images get along axes that the model leaves open.
const USUAL: usize = 224;

/// Runs both models on the same random images, `batch` at a time in the one and `batch + 2` at once in the other.
///
/// # Errors
/// What differs, or what one of them cannot do, in words.
pub(crate) fn rows_agree(before: &ModelProto, freed: &ModelProto, batch: usize, library: &Path) -> Result<(), String> {
    let shape = image(before)?;
    let pixels: usize = shape.iter().product();
    let count = batch + 2;
    let mut drawn = stream(0, Purpose::Proof, [0; 3]);
    let values: Vec<f32> = (0..count * pixels).map(|_| drawn.random::<f32>().mul_add(4.0, -2.0)).collect();
    let part = |from: usize, images: usize| {
        let lengths: Vec<usize> = std::iter::once(images).chain(shape.iter().copied()).collect();
        (lengths, values[from * pixels..(from + images) * pixels].to_vec())
    };
    let all = open(freed, library)
        .and_then(|mut session| run(&mut session, part(0, count)))
        .map_err(|e| format!("with its batch free it does not run on {count} images: {e}"))?;
    let mut session = open(before, library)?;
    for first in 0..=2 {
        let some =
            run(&mut session, part(first, batch)).map_err(|e| format!("it does not run on {batch} images: {e}"))?;
        let dim = some.len() / batch;
        if dim == 0 || all.len() != dim * count {
            return Err(format!(
                "with its batch free it gives {} numbers for {count} images, where it gave {} for {batch}",
                all.len(),
                some.len()
            ));
        }
        let rows = &all[first * dim..(first + batch) * dim];
        let largest = some.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let is_far = |(a, b): (&f32, &f32)| !((a - b).abs() <= TOLERANCE * largest || a.is_nan() && b.is_nan());
        if let Some(at) = rows.iter().zip(&some).position(is_far) {
            return Err(format!(
                "with its batch free it gives {} for number {} of image {}, where it gave {}",
                rows[at],
                at % dim + 1,
                first + at / dim + 1,
                some[at]
            ));
        }
    }
    Ok(())
}

/// The axes of an image.
fn image(model: &ModelProto) -> Result<Vec<usize>, String> {
    let graph = model.graph.as_ref().ok_or("it has no graph")?;
    let is_filled = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
    let input = graph.input.iter().find(|input| !is_filled(input.name())).ok_or("it has no input")?;
    match declared(input) {
        Some((Element::F32, Some(shape))) => {
            let length = |dim: &Dim| if let Dim::Known(length) = dim { *length } else { USUAL };
            Ok(shape.iter().skip(1).map(length).collect())
        }
        _ => Err("its input is not float32 of a declared shape".to_owned()),
    }
}

fn open(model: &ModelProto, library: &Path) -> Result<Session, String> {
    let model = steady(model)?.encode_to_vec();
    // What fails is told by its error.
    let quiet = |builder: ort::session::builder::SessionBuilder| {
        builder.with_log_level(LogLevel::Fatal).map_err(|e| e.to_string())
    };
    let mut builder = session_builder(library, Device::Cpu, 1).map_err(|e| e.to_string()).and_then(quiet)?;
    builder.commit_from_memory(&model).map_err(|e| e.to_string())
}

/// The numbers of the first output.
fn run(session: &mut Session, (lengths, values): (Vec<usize>, Vec<f32>)) -> Result<Vec<f32>, String> {
    let words = |e: ort::Error| e.to_string();
    let images = Tensor::from_array((lengths, values)).map_err(words)?;
    let results = session.run(ort::inputs![images]).map_err(words)?;
    let first = results.values().next().ok_or("it gives nothing")?;
    #[allow(clippy::cast_possible_truncation)] // to compare by
    let doubles = || first.try_extract_tensor::<f64>().map(|(_, v)| v.iter().map(|&value| value as f32).collect());
    first.try_extract_tensor::<f32>().map(|(_, values)| values.to_vec()).or_else(|_| doubles()).map_err(words)
}

/// The model in inference mode, with a constant in the place of what it draws at random.
fn steady(model: &ModelProto) -> Result<ModelProto, String> {
    let mut model = export_embedder(model, |_| None).map_err(|e| e.to_string())?;
    let Some(graph) = model.graph.as_mut() else { return Ok(model) };
    let nodes = std::mem::take(&mut graph.node);
    graph.node = nodes.into_iter().flat_map(without_chance).collect();
    Ok(model)
}

fn without_chance(drawn: NodeProto) -> Vec<NodeProto> {
    let half = |shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        attribute("value", Value::Tensor(Box::new(floats("", Element::F32, shape, &values))))
    };
    let (Some(output), operator) = (drawn.output.first().cloned(), drawn.op_type().to_owned()) else {
        return vec![drawn];
    };
    match (operator.as_str(), drawn.input.first()) {
        ("RandomUniformLike" | "RandomNormalLike" | "Bernoulli", Some(x)) => {
            let shape = format!("{output}.shape");
            vec![
                node("Shape", &[x], &[&shape], Vec::new()),
                node("ConstantOfShape", &[&shape], &[&output], vec![half(&[1])]),
            ]
        }
        ("RandomUniform" | "RandomNormal", _) => {
            let lengths = drawn.attribute.iter().find(|a: &&AttributeProto| a.name() == "shape");
            let lengths: Option<Vec<usize>> =
                lengths.map(|a| a.ints.iter().filter_map(|&n| usize::try_from(n).ok()).collect());
            vec![node("Constant", &[], &[&output], vec![half(&lengths.unwrap_or_default())])]
        }
        _ => vec![drawn],
    }
}

/// A model with this tensor as its only output.
pub(crate) fn with_output(model: &mut ModelProto, output: &str) {
    let Some(GraphProto { output: outputs, .. }) = model.graph.as_mut() else { return };
    let declared = outputs.iter().find(|declared| declared.name() == output).cloned();
    *outputs = vec![declared.unwrap_or_else(|| pdloss::graph::proto::ValueInfoProto {
        name: Some(output.to_owned()),
        ..Default::default()
    })];
}
