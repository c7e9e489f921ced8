//! The command `export`: the loss behind an embedder, or a whole training step.

use std::path::Path;

use pdloss::graph::build::Element;
use pdloss::graph::head::{self, Head, Spelling};
use pdloss::graph::losses::Loss;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::{self, file};
use pdloss_embed::{Error, Result};

use crate::cli::{As, ExportArgs, Labels};
use crate::objective::{self, OptimizerArgs};

/// Writes the model that the arguments ask for.
///
/// # Errors
/// [`Error::Usage`] for flags that cannot be; those of reading, extending and writing a model.
pub(crate) fn run(arguments: &ExportArgs) -> Result<()> {
    objective::refuse_idle(&arguments.loss, &arguments.optimizer)?;
    let spelling = match arguments.spelling.unwrap_or(As::Op) {
        As::Op => Spelling::Operator,
        As::Function => Spelling::Function,
        As::Inline => Spelling::Inline,
    };
    let make = if arguments.train { training_step(arguments, spelling)? } else { with_loss(arguments, spelling)? };
    let source = &arguments.embedder;
    let model = file::read(source).and_then(make).map_err(|e| of_graph(source, e))?;
    file::write(&model, &arguments.out).map_err(|e| of_graph(&arguments.out, e))
}

/// What makes one model of another.
type Make = Box<dyn FnOnce(ModelProto) -> graph::Result<ModelProto>>;

fn with_loss(arguments: &ExportArgs, spelling: Spelling) -> Result<Make> {
    if arguments.optimizer != OptimizerArgs::default() {
        return Err(Error::Usage("a flag of the optimiser was given, which only --train writes".into()));
    }
    let Loss::Pd(config) = arguments.loss.loss()? else {
        return Err(Error::Usage("--loss: only pd, pd-negative and pd-inverse are written without --train".into()));
    };
    let mut head = Head::new(config, spelling, arguments.classes);
    head.embeddings = arguments.embeddings.clone();
    head.dim = arguments.dim;
    head.labels = match arguments.labels {
        Labels::Int64 => Element::I64,
        Labels::Int32 => Element::I32,
    };
    let seed = arguments.seed;
    Ok(Box::new(move |mut model| head::attach(&mut model, &head, seed).map(|()| model)))
}

fn training_step(arguments: &ExportArgs, spelling: Spelling) -> Result<Make> {
    if arguments.labels != Labels::Int64 {
        return Err(Error::Usage("--labels int32: a training step takes int64".into()));
    }
    let mut options =
        objective::options(&arguments.loss, &arguments.optimizer, spelling, arguments.classes, arguments.seed)?;
    options.embeddings = arguments.embeddings.clone();
    options.dim = arguments.dim;
    Ok(Box::new(move |model| graph::step::build(model, &options)))
}

/// What the crate of the loss says about a model, as an error of this program that names the file.
pub(crate) fn of_graph(path: &Path, error: graph::Error) -> Error {
    match error {
        graph::Error::Io { path, source } => Error::File { path, action: "open", source },
        graph::Error::Format { path, source } => Error::model(path, format!("is not an ONNX model: {source}")),
        other => Error::model(path, other.to_string()),
    }
}
