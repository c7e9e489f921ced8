//! A backbone in the eyes of training: what of it a step trains, and what is wrong with it, as errors of this program.

use std::path::{Path, PathBuf};

use pdloss::graph;
use pdloss::graph::proto::{ModelProto, NodeProto};
use pdloss::graph::step::{Copied, Description, Parameters, untie};
use pdloss::graph::training_mode::{cure, free_batch, is_first_of};
use pdloss::graph::widen::widen;
use pdloss_embed::{Error, Result};

use crate::proof::{rows_agree, with_output};

/// What the crate of the loss says about a model, as an error of this program that names the file.
pub(crate) fn of_graph(path: &Path, error: graph::Error) -> Error {
    match error {
        graph::Error::Io { path, source } => Error::File { path, action: "open", source },
        graph::Error::Format { path, source } => Error::model(path, format!("is not an ONNX model: {source}")),
        other => Error::model(path, other.to_string()),
    }
}

/// What of its backbone a step trains.
///
/// # Errors
/// [`Error::Model`] where that is nothing, whatever proxies do.
pub(crate) fn trained(backbone: &Path, step: &ModelProto) -> Result<Parameters> {
    let parameters = Description::of(step).map_err(|e| of_graph(backbone, e))?.parameters;
    if parameters.trained == 0 {
        return Err(Error::model(backbone, parameters.nothing()));
    }
    Ok(parameters)
}

/// How a backbone is made ready.
pub(crate) struct Wish<'a> {
    /// The tensor that is the embedding, where it was named.
    pub(crate) output: Option<&'a str>,
    /// Images a step, where they are known: a batch that is fixed at that number may stay so.
    pub(crate) batch: Option<usize>,
    /// Whether layers get weights of their own.
    pub(crate) untie: bool,
}

/// A backbone made ready.
pub(crate) struct Ready {
    /// What a step is made of: its batch is free.
    pub(crate) of_step: ModelProto,
    /// What the embedder is made of, with the same tensors.
    pub(crate) of_embedder: ModelProto,
    /// What is to be said of it.
    pub(crate) notes: Vec<String>,
}

/// The backbone with its weights told apart, where that is wanted, with its batch free, and for the step in float32.
///
/// A batch that was fixed is freed only where the model then gives the same rows, which is seen by running it: `library` finds
/// onnxruntime.
///
/// # Errors
/// [`Error::Model`] where the batch is fixed and cannot be freed, with how to export the model; those of finding onnxruntime.
pub(crate) fn prepare(
    path: &Path,
    model: ModelProto,
    wish: &Wish<'_>,
    library: impl FnOnce() -> Result<PathBuf>,
) -> Result<Ready> {
    let mut ready = with_free_batch(path, model, wish, library)?;
    if widen(&mut ready.of_step) {
        ready.notes.push(
            "the model has numbers of 16 bits: it is trained in float32, and the embedder is written in 16 bits again, its weights rounded"
                .to_owned(),
        );
    }
    Ok(ready)
}

fn with_free_batch(
    path: &Path,
    mut model: ModelProto,
    wish: &Wish<'_>,
    library: impl FnOnce() -> Result<PathBuf>,
) -> Result<Ready> {
    let mut notes = Vec::new();
    if wish.untie {
        let copies = untie(&mut model).map_err(|e| of_graph(path, e))?;
        notes.push(told_apart(&copies));
    }
    let mut before = model.clone();
    if let Some(output) = wish.output {
        with_output(&mut before, output);
    }
    let mut freed = before.clone();
    let fixed = match free_batch(&mut freed) {
        Ok(None) => return Ok(Ready { of_step: model.clone(), of_embedder: model, notes }),
        Ok(Some(fixed)) => fixed,
        Err(error) => {
            return match wish.batch.filter(|&batch| batch > 1 && is_fixed_at(&before, batch)) {
                Some(batch) => {
                    notes.push(stays(batch, &error.to_string()));
                    Ok(Ready { of_step: model.clone(), of_embedder: model, notes })
                }
                None => Err(of_graph(path, error)),
            };
        }
    };
    if let Err(reason) = rows_agree(&before, &freed, fixed, &library()?) {
        let problem = format!("{reason}. The batch of the model is fixed at {fixed}; {}", cure(&before));
        return Err(Error::model(path, problem));
    }
    // What a model of several images holds for each of them is trained for the first alone.
    let of_embedder = if fixed == 1 { model } else { freed.clone() };
    let of_first = freed.graph.iter().flat_map(|graph| &graph.node).find(|node| {
        node.input.first().is_some_and(|input| node.output.iter().any(|output| is_first_of(output, input)))
    });
    if let Some(node) = of_first {
        notes.push(format!(
            "'{}' holds something for each of {fixed} images, of which the first is trained: write a trained state back into a model \
             with a free batch, not into this one",
            node.input[0]
        ));
    }
    let kept = if fixed == 1 { "in training; the embedder keeps it" } else { "in training and in the embedder" };
    notes.push(format!(
        "the batch of the model is fixed at {fixed}: it is freed {kept}; the rows of {} images at once are those of the model as it is",
        fixed + 2
    ));
    Ok(Ready { of_step: freed, of_embedder, notes })
}

fn stays(batch: usize, reason: &str) -> String {
    format!("the batch of the model stays fixed at {batch}, the images of a step, as it cannot be freed: {reason}")
}

/// What is to be said of BatchNormalization whose running statistics do not follow the batches, as exporters write PyTorch's
/// `momentum=None`.
pub(crate) fn of_momentum(model: &ModelProto) -> Vec<String> {
    let momentum = |node: &NodeProto| node.attribute.iter().find(|a| a.name() == "momentum").map(|a| a.f());
    let nodes = || model.graph.iter().flat_map(|graph| &graph.node).filter(|n| n.op_type() == "BatchNormalization");
    let said = |wanted: f32, what: &str| {
        let such: Vec<&NodeProto> = nodes().filter(|node| momentum(node) == Some(wanted)).collect();
        such.first().map(|first| {
            let (count, name) = (such.len(), first.output.first().map_or("", String::as_str));
            format!(
                "{count} BatchNormalization, the first '{name}', have momentum {wanted}: their running statistics {what} (PyTorch's \
                 momentum=None is exported so); wanted a number between, such as 0.9, which is PyTorch's 0.1"
            )
        })
    };
    let stay =
        "stay as they are while training goes by the batches', so that the embedder is another net than was trained";
    [said(1.0, stay), said(0.0, "are those of the last batch alone")].into_iter().flatten().collect()
}

fn is_fixed_at(model: &ModelProto, batch: usize) -> bool {
    use pdloss::graph::build::{Dim, declared};
    let inputs = model.graph.iter().flat_map(|graph| &graph.input);
    let shapes: Vec<_> = inputs.filter_map(|input| declared(input)?.1).collect();
    shapes.iter().any(|shape| shape.first() == Some(&Dim::Known(batch)))
}

/// What `--untie` came to.
fn told_apart(copies: &[Copied]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<String> =
        copies.iter().take(SHOWN).map(|copy| format!("'{}' of '{}'", copy.name, copy.of)).collect();
    let more = if copies.len() > SHOWN { format!(" and {} more", copies.len() - SHOWN) } else { String::new() };
    match copies {
        [] => "--untie: no layers share a tensor".to_owned(),
        _ => format!("--untie: {} copies, to be trained by themselves: {}{more}", copies.len(), shown.join(", ")),
    }
}
