//! The command `export`: the loss behind an embedder, or a whole training step.

use pdloss::graph::build::Element;
use pdloss::graph::head::{self, Head, Spelling};
use pdloss::graph::losses::Loss;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::Ranks;
use pdloss::graph::{self, file};
use pdloss_embed::console::{inform, note, wrote};
use pdloss_embed::embedder;
use pdloss_embed::files::{can_write, spares};
use pdloss_embed::ranks::share_of;
use pdloss_embed::{Error, Result};

use crate::backbone::{Wish, of_graph, prepare, trained};
use crate::cli::{As, ExportArgs, Labels};
use crate::objective;
use crate::optimizer::OptimizerArgs;
use crate::precision::{self, PrecisionArgs};
use crate::providers;

/// Writes the model that the arguments ask for.
///
/// # Errors
/// [`Error::Usage`] for flags that cannot be; those of reading, extending and writing a model.
pub(crate) fn run(arguments: &ExportArgs) -> Result<()> {
    let (source, out) = (&arguments.embedder, &arguments.out);
    can_write("OUT", out)?;
    spares(&[("EMBEDDER", source)], &[("OUT", out)])?;
    check_classes(arguments)?;
    objective::refuse_idle(&arguments.loss, &arguments.optimizer)?;
    let spelling = match arguments.spelling.unwrap_or(As::Op) {
        As::Op => Spelling::Operator,
        As::Function => Spelling::Function,
        As::Inline => Spelling::Inline,
    };
    let make = if arguments.train { training_step(arguments, spelling)? } else { with_loss(arguments, spelling)? };
    let mut model = file::read(source).map_err(|e| of_graph(source, e))?;
    if arguments.train {
        let wish = Wish { output: arguments.embeddings.as_deref(), batch: None, untie: arguments.optimizer.untie };
        let ready = prepare(source, model, &wish, || Ok(embedder::library(arguments.onnxruntime.as_deref())?.path))?;
        ready.notes.iter().for_each(|line| note(line));
        model = ready.of_step;
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        let has = |operator: &str| nodes.clone().any(|node| node.op_type() == operator);
        arguments.optimizer.idle_on(has).iter().for_each(|line| note(line));
    }
    let model = make(model).map_err(|e| of_graph(source, e))?;
    if arguments.train {
        let parameters = trained(source, &model)?;
        parameters.notes.iter().for_each(|line| note(line));
        note(&format!("{}: {parameters}", source.display()));
        precision::said(&model).map_err(|e| of_graph(source, e))?.iter().for_each(|line| note(line));
        providers::said(&[&model], arguments.device)
            .map_err(|e| of_graph(source, e))?
            .iter()
            .for_each(|line| note(line));
    }
    file::write(&model, out).map_err(|e| of_graph(out, e))?;
    wrote(out);
    let what = if arguments.train { "a training step" } else { "the embedder and its loss" };
    let loss = arguments.loss.word();
    inform(&format!("{what}, loss {loss} with {} classes, {}", arguments.classes, objective::spelt(&[&model])));
    Ok(())
}

/// What makes one model of another.
type Make = Box<dyn FnOnce(ModelProto) -> graph::Result<ModelProto>>;

/// Refuses, before anything is allocated for them, proxies that no ONNX file holds.
fn check_classes(arguments: &ExportArgs) -> Result<()> {
    /// The format's limit.
    const LARGEST: u128 = i32::MAX as u128;
    let least = [("--classes", Some(arguments.classes), 2), ("--dim", arguments.dim, 1)];
    for (flag, given, least) in least {
        if let Some(given) = given.filter(|given| *given < least) {
            return Err(Error::Usage(format!("{flag} {given}: wanted at least {least}")));
        }
    }
    let rows = arguments.classes as u128 * arguments.loss.loss()?.rows_per_class() as u128;
    let needs = rows * arguments.dim.unwrap_or(1) as u128 * 4;
    if needs > LARGEST {
        return Err(Error::Usage(format!(
            "--classes {}{}{}: proxies of that many rows take {} GiB or more, but one ONNX file holds at most 2 GiB",
            arguments.classes,
            arguments.loss.centers.map_or(String::new(), |centers| format!(" --centers {centers}")),
            arguments.dim.map_or(String::new(), |dim| format!(" --dim {dim}")),
            needs >> 30
        )));
    }
    Ok(())
}

fn with_loss(arguments: &ExportArgs, spelling: Spelling) -> Result<Make> {
    if arguments.optimizer != OptimizerArgs::default() {
        let given = arguments.optimizer.given().join(", ");
        return Err(Error::Usage(format!("{given}: of the optimiser, which only --train writes")));
    }
    if arguments.precision != PrecisionArgs::default() {
        return Err(Error::Usage("--precision: a loss has no backbone's gradient, which only --train writes".into()));
    }
    if let Some(library) = &arguments.onnxruntime {
        let library = library.display();
        return Err(Error::Usage(format!("--onnxruntime {library}: nothing is run without --train; leave it out")));
    }
    let Loss::Pd(config) = arguments.loss.loss()? else {
        return Err(Error::Usage("--loss: only pd, pd-negative and pd-inverse are written without --train".into()));
    };
    let mut head = Head::new(config, spelling, arguments.classes);
    head.embeddings = arguments.embeddings.clone();
    head.labels = match arguments.labels {
        Labels::Int64 => Element::I64,
        Labels::Int32 => Element::I32,
    };
    head.dim = arguments.dim;
    let seed = arguments.seed;
    Ok(Box::new(move |mut model| head::attach(&mut model, &head, seed).map(|()| model)))
}

fn training_step(arguments: &ExportArgs, spelling: Spelling) -> Result<Make> {
    if arguments.labels != Labels::Int64 {
        return Err(Error::Usage("--labels int32: a training step takes int64".into()));
    }
    let mut options =
        objective::options(&arguments.loss, &arguments.optimizer, spelling, arguments.classes, arguments.seed)?;
    // Asked for, or where the graph needs the library anyway.
    let takes_operators =
        arguments.spelling == Some(As::Op) || (spelling == Spelling::Operator && options.needs_library());
    if takes_operators {
        options.operators = objective::operators(arguments.device);
    }
    options.precision = arguments.precision.of(arguments.device)?;
    options.embeddings = arguments.embeddings.clone();
    options.dim = arguments.dim;
    options.ranks = arguments.ranks.then(|| {
        let ranks = Ranks::new(arguments.sync_statistics);
        match arguments.shard {
            Some((rank, of)) => ranks.with_classes(share_of(rank, of, arguments.classes)),
            None => ranks,
        }
    });
    options.check().map_err(|e| objective::by_flag(&e, &arguments.loss))?;
    Ok(Box::new(move |model| graph::step::build(model, &options)))
}
