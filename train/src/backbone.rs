//! A backbone in the eyes of training: what of it a step trains, and what is wrong with it, as errors of this program.

use std::path::Path;

use pdloss::graph;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Parameters};
use pdloss_embed::{Error, Result};

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
