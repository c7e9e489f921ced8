//! The command `export`: the loss behind an embedder.

use std::path::Path;

use pdloss::graph::build::Element;
use pdloss::graph::loss::{self, Head, Spelling};
use pdloss::graph::{self, file};
use pdloss::loss::Config;
use pdloss_eval::{Error, Result};

use crate::cli::{As, ExportArgs, Labels};

/// Writes the model that the arguments ask for.
pub(crate) fn run(arguments: &ExportArgs) -> Result<()> {
    let usage = |e: pdloss::loss::Error| Error::Usage(e.to_string());
    let config = Config::default()
        .with_form(arguments.form)
        .with_floor_mode(arguments.floor_mode)
        .with_floor(arguments.floor)
        .and_then(|config| config.with_temperature(arguments.temperature))
        .and_then(|config| config.with_eps(arguments.eps))
        .map_err(usage)?;
    let head = Head {
        config,
        spelling: match arguments.spelling {
            As::Op => Spelling::Operator,
            As::Function => Spelling::Function,
            As::Inline => Spelling::Inline,
        },
        embeddings: arguments.embeddings.clone(),
        labels: match arguments.labels {
            Labels::Int64 => Element::I64,
            Labels::Int32 => Element::I32,
        },
        classes: arguments.classes,
        dim: arguments.dim,
    };
    let source = &arguments.embedder;
    let mut model = file::read(source).map_err(|e| of_graph(source, e))?;
    loss::attach(&mut model, &head, arguments.seed).map_err(|e| of_graph(source, e))?;
    file::write(&model, &arguments.out).map_err(|e| of_graph(&arguments.out, e))
}

/// What the crate of the loss says about a model, as an error of this program that names the file.
pub(crate) fn of_graph(path: &Path, error: graph::Error) -> Error {
    match error {
        graph::Error::Io { path, source } => Error::File { path, action: "open", source },
        graph::Error::Format { path, source } => Error::model(path, format!("is not an ONNX model: {source}")),
        other => Error::model(path, other.to_string()),
    }
}
