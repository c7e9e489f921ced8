//! A backbone in the eyes of training: what of it a step trains, and what is wrong with it, as errors of this program.

use std::path::{Path, PathBuf};

use pdloss::graph;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Copied, Description, Parameters, untie};
use pdloss::graph::training_mode::{cure, free_batch};
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

/// The backbone with its batch free and with its weights told apart, where that is wanted; what is to be said of it.
///
/// A batch that was fixed is freed only where the model then gives the same rows, which is seen by running it: `library` finds
/// onnxruntime.
///
/// # Errors
/// [`Error::Model`] where the batch is fixed and cannot be freed, with how to export the model; those of finding onnxruntime.
pub(crate) fn prepare(
    path: &Path,
    mut model: ModelProto,
    wish: &Wish<'_>,
    library: impl FnOnce() -> Result<PathBuf>,
) -> Result<(ModelProto, Vec<String>)> {
    let mut notes = Vec::new();
    let mut before = model.clone();
    if let Some(output) = wish.output {
        with_output(&mut before, output);
    }
    let mut freed = before.clone();
    match free_batch(&mut freed) {
        Ok(None) => {}
        Ok(Some(fixed)) => {
            let library = library()?;
            match rows_agree(&before, &freed, fixed, &library) {
                Ok(()) => {
                    notes.push(format!(
                        "the batch of the model is fixed at {fixed}: it is freed, in the embedder too; the rows of {} images at once are those of the model as it is",
                        fixed + 2
                    ));
                    model = freed;
                }
                Err(reason) if wish.batch == Some(fixed) && fixed > 1 => notes.push(stays(fixed, &reason)),
                Err(reason) => {
                    let problem = format!("{reason}. The batch of the model is fixed at {fixed}; {}", cure(&before));
                    return Err(Error::model(path, problem));
                }
            }
        }
        Err(error) => match wish.batch.filter(|&batch| batch > 1 && is_fixed_at(&before, batch)) {
            Some(batch) => notes.push(stays(batch, &error.to_string())),
            None => return Err(of_graph(path, error)),
        },
    }
    if wish.untie {
        let copies = untie(&mut model).map_err(|e| of_graph(path, e))?;
        notes.push(told_apart(&copies));
    }
    Ok((model, notes))
}

fn stays(batch: usize, reason: &str) -> String {
    format!("the batch of the model stays fixed at {batch}, the images of a step, as it cannot be freed: {reason}")
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
