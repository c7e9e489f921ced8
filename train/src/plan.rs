//! A run as planned: settings, model, data and training step, checked as far as they can be before images are read.

use std::path::{Path, PathBuf};

use pdloss::graph::build::{Dim, declare, declared, node};
use pdloss::graph::head::Spelling;
use pdloss::graph::losses::Loss;
use pdloss::graph::proto::{GraphProto, ModelProto, TensorProto};
use pdloss::graph::shapes::Shapes;
use pdloss::graph::step::{Description, Kind, Parameters, Ranks, build_in_parts, only};
use pdloss::graph::{self, file};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::embedder::{self, Model};
use pdloss_embed::files::can_fill;
use pdloss_embed::preprocess::Layout;
use pdloss_embed::ranks::{of_first, world};
use pdloss_embed::{Error, Result};

use crate::backbone::{Wish, of_graph, of_momentum, prepare, trained};
use crate::batches::{balance, check_hard_classes, never_drawn, of_memory, sampler_of};
use crate::cli::{FirstProxies, TrainArgs};
use crate::events::Events;
use crate::folder::{Folder, MadeWith, Manifest};
use crate::in_parts;
use crate::init;
use crate::objective;
use crate::optimizer::Variance;
use crate::parts;
use crate::past;
use crate::precision;
use crate::providers;
use crate::settings::Settings;
use crate::trainer::Step;
use crate::validation::Validation;

/// A run, checked as far as it can be before images are read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    /// What the run was begun with, where it goes on.
    pub(crate) begun: Option<MadeWith>,
    pub(crate) model: Model,
    pub(crate) layout: Layout,
    pub(crate) data: Dataset,
    pub(crate) validation: Option<Validation>,
    /// The backbone that the embedder is made of.
    pub(crate) backbone: ModelProto,
    /// The training step.
    pub(crate) step: Step,
    /// What of the backbone it trains.
    pub(crate) parameters: Parameters,
    pub(crate) library: PathBuf,
    /// What was assumed, chosen or allowed.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Checks everything that can be checked before work starts.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other, the model or the data; those of model, recipe and lists. Settings
    /// of a run that goes on are checked as flags are, and are [`Error::Data`] of its `run.toml`.
    pub(crate) fn new(args: &TrainArgs) -> Result<Self> {
        let Some(run) = &args.resume else {
            let out = args.out.as_deref().ok_or_else(|| Error::Usage("--out is missing".into()))?;
            let folder = Folder::new(out)?;
            args.log_dir.as_ref().map_or(Ok(()), |logs| of_first(|| can_fill("--log-dir", logs)))?;
            let (settings, model, origin) = Settings::of(args)?;
            let mut notes = Vec::new();
            if let Some(logs) = args.log_dir.as_ref().filter(|logs| Events::are_in(logs)) {
                notes.push(format!(
                    "--log-dir {}: there are events of another run in it, and TensorBoard shows what lies in one folder as one run; wanted a \
                     folder of its own for each",
                    logs.display()
                ));
            }
            notes.extend(origin.note(&settings.model));
            notes.extend(model.own_scaling.as_ref().and_then(|own| own.doubt(&settings.preprocessing)));
            notes.extend(settings.preprocessing.doubt());
            notes.extend(model.class_scores.clone());
            settings.init.as_ref().map_or(Ok(()), |init| init::open(init).map(drop))?;
            return Self::of(settings, model, folder, None, notes);
        };
        let (folder, Manifest { made_with, mut settings }) = Folder::open(run)?;
        let manifest = folder.manifest();
        let of_file = |error: Error| match error {
            Error::Usage(problem) => Error::data(&manifest, problem),
            Error::Recipe(problem) => Error::data(&manifest, format!("preprocessing: {problem}")),
            other => other,
        };
        settings.check().map_err(of_file)?;
        settings.optimizer.running_variance.get_or_insert(Variance::Population);
        settings.ranks = world().size();
        settings.onnxruntime = named_again(run, args.onnxruntime.as_deref(), settings.onnxruntime.as_deref())?;
        let model = Model::read(&settings.model, Some(&settings.output))?;
        same("model", &settings.model, &made_with.model_sha256, &model.sha256)?;
        Self::of(settings, model, folder, Some(made_with), Vec::new()).map_err(of_file)
    }

    fn of(
        mut settings: Settings,
        model: Model,
        folder: Folder,
        begun: Option<MadeWith>,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        if !model.takes_floats() {
            let problem = format!(
                "input {}: training wants FLOAT or FLOAT16; export the model so that it takes float32 numbers",
                model.input.describe()
            );
            return Err(Error::model(&model.path, problem));
        }
        model.accepts(&settings.preprocessing)?;
        let mut data = Dataset::load(&settings.request())?;
        let library = embedder::library(settings.onnxruntime.as_deref())?.path;
        let layout = settings.preprocessing.layout.unwrap_or(model.layout());
        let validation = settings.validation.as_ref().map(|v| {
            Validation::new(
                &v.data.request(),
                (&settings.preprocessing, layout),
                &settings.output,
                settings.embedding(&library),
                v.data.skip_bad,
            )
        });
        let validation = validation.transpose()?;
        notes.extend(data.notes.iter().cloned());
        if let Some(validation) = &validation {
            notes.extend(validation.data().notes.iter().map(|said| format!("validation: {said}")));
            notes.extend(keep_apart(&mut data, validation.data(), &settings)?);
            if begun.is_none() {
                notes.extend(past::check(&settings, validation.data())?);
            }
        }
        if data.classes.len() < 2 {
            let problem = format!("part '{}' has {} class; training wants at least 2", data.part, data.classes.len());
            return Err(Error::data(data.source.path(), problem));
        }
        notes.extend(balance(&mut settings, data.classes.len(), begun.is_some())?);
        let labels: Vec<usize> = data.items.iter().map(|item| item.class).collect();
        if begun.is_none() {
            notes.extend(never_drawn(&data)?);
        }
        let sampler = sampler_of(&data, &settings)?;
        if sampler.stretch_is_told() {
            check_hard_classes(&settings)?;
        }
        notes.extend(parts::repeats(&labels, settings.per_class));

        let spelling = if settings.inline { Spelling::Inline } else { Spelling::Operator };
        let mut step_options =
            objective::options(&settings.loss, &settings.optimizer, spelling, data.classes.len(), settings.seed)?;
        if !settings.inline {
            step_options.operators = objective::operators(settings.device);
        }
        step_options.precision = settings.precision()?;
        if settings.first_proxies == FirstProxies::ClassMeans && !step_options.loss.has_proxies() {
            return Err(Error::Usage("--first-proxies class-means: the loss has no proxies".into()));
        }
        let rows = step_options.loss.rows_per_class();
        if settings.first_proxies == FirstProxies::ClassMeans && rows > 1 {
            let loss = settings.loss.word();
            return Err(Error::Usage(format!(
                "--first-proxies class-means: the loss {loss} has {rows} proxies a class, which would all be equal and stay so"
            )));
        }
        if settings.batch < settings.ranks {
            let (batch, ranks) = (settings.batch, settings.ranks);
            return Err(Error::Usage(format!("--batch {batch}: wanted at least an image for each of {ranks} ranks")));
        }
        if settings.shard_classes && (!matches!(step_options.loss, Loss::Pd(_)) || settings.inline) {
            let problem = "--shard-classes: only the loss pd, as an operator (without --inline), has its classes on several ranks";
            return Err(Error::Usage(problem.into()));
        }
        in_parts::check(&settings)?;
        if settings.ranks > 1 {
            let mut ranks = Ranks::new(settings.sync_statistics);
            if settings.shard_classes {
                let classes = data.classes.len();
                if classes < settings.ranks {
                    let ranks = settings.ranks;
                    return Err(Error::Usage(format!(
                        "--shard-classes: {ranks} ranks, but {classes} classes to share"
                    )));
                }
                ranks = ranks.with_classes(world().share(classes));
            }
            step_options.ranks = Some(ranks);
        }
        let wrong = |e| of_graph(&settings.model, e);
        let backbone = file::read(&settings.model).map_err(wrong)?;
        let wish = Wish {
            output: Some(settings.output.as_str()),
            // A rank's rows are fewer, and not as many on each.
            batch: (settings.ranks == 1 && settings.accumulate == 1).then_some(settings.batch),
            untie: settings.optimizer.untie,
        };
        let ready = prepare(&settings.model, backbone, &wish, || Ok(library.clone()))?;
        notes.extend(ready.notes);
        if begun.is_none() {
            let nodes = ready.of_step.graph.iter().flat_map(|graph| &graph.node);
            let has = |operator: &str| nodes.clone().any(|node| node.op_type() == operator);
            notes.extend(settings.optimizer.idle_on(has));
        }
        let axes = settings.preprocessing.output_size().map(|size| {
            let channels = settings.preprocessing.color.channels();
            layout.axes(channels, size)
        });
        let in_tiles = in_parts::has_tiles(&settings, &step_options)?;
        let step = with_embedding(&ready.of_step, &settings.output, axes)
            .and_then(|model| match settings.accumulate {
                1 => graph::step::build(model, &step_options).map(Step::Whole),
                parts => {
                    build_in_parts(model, &step_options, in_tiles).map(|graphs| Step::InParts(Box::new(graphs), parts))
                }
            })
            .map_err(wrong)?;
        let (embedder, left) = only(&ready.of_embedder, &settings.output).map_err(wrong)?;
        notes.extend(left_away(&settings.output, &left));
        let state = Description::of(step.described()).map_err(wrong)?.state;
        if begun.is_none() && state.iter().any(|tensor| tensor.kind == Kind::Running) {
            notes.extend(of_momentum(&embedder));
        }
        let parameters = trained(&settings.model, step.described())?;
        notes.extend(parameters.notes.iter().cloned());
        notes.extend(of_ranks(&settings, step.described())?);
        notes.extend(in_parts::said(&settings, step.described(), in_tiles)?);
        notes.extend(of_memory(&settings, step.described())?);
        notes.extend(precision::said(step.described()).map_err(wrong)?);
        notes.extend(providers::said(&step.models(), settings.device).map_err(wrong)?);
        Ok(Self {
            settings,
            folder,
            begun,
            model,
            layout,
            data,
            validation,
            backbone: embedder,
            step,
            parameters,
            library,
            notes,
        })
    }
}

/// What is to be said of tensors behind the embedding, which the embedder does not have.
fn left_away(output: &str, left: &[String]) -> Option<String> {
    const SHOWN: usize = 6;
    let shown: Vec<String> = left.iter().take(SHOWN).map(|name| format!("'{name}'")).collect();
    let more = if left.len() > SHOWN { format!(" and {} more", left.len() - SHOWN) } else { String::new() };
    (!left.is_empty()).then(|| {
        format!(
            "the embedder ends at '{output}' (--output): what comes behind it in the model is left away, with {}{more}",
            shown.join(", ")
        )
    })
}

/// What is to be said of a run on several ranks.
fn of_ranks(settings: &Settings, step: &ModelProto) -> Result<Option<String>> {
    if settings.ranks == 1 {
        let flags = [("--sync-statistics", settings.sync_statistics), ("--shard-classes", settings.shard_classes)];
        let idle: Vec<&str> = flags.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
        let change = if idle.len() == 1 { "changes" } else { "change" };
        let of_one = format!("{} {change} nothing: the run is of one process", idle.join(" and "));
        return Ok((!idle.is_empty()).then_some(of_one));
    }
    let description = Description::of(step).map_err(|e| of_graph(&settings.model, e))?;
    let normalises = description.state.iter().any(|tensor| tensor.kind == Kind::Running);
    let (batch, ranks, parts) = (settings.batch, settings.ranks, settings.accumulate);
    let how = match (normalises, settings.sync_statistics) {
        (false, false) => String::new(),
        (false, true) => "; --sync-statistics changes nothing: no BatchNormalization is trained".to_owned(),
        (true, true) if parts > 1 => {
            "; BatchNormalization normalises by a part of every rank (--sync-statistics)".to_owned()
        }
        (true, true) => "; BatchNormalization normalises by the whole batch (--sync-statistics)".to_owned(),
        (true, false) => format!(
            "; BatchNormalization normalises by the {} images of {} rank, and the first rank's running statistics are the run's: \
             --sync-statistics takes {}",
            world().share_of(0, batch).len() / parts,
            if parts > 1 { "a part of a" } else { "a" },
            if parts > 1 { "those of all ranks" } else { "the whole batch" },
        ),
    };
    let threads = if settings.threads == 1 { "thread" } else { "threads" };
    Ok(Some(format!(
        "the {batch} images of a step are spread over {ranks} ranks, of {} {threads} each{how}",
        settings.threads
    )))
}

/// The library that a run goes on with. A path out of a file is not opened unless a person names it again: whatever lies there
/// would run with that person's rights.
fn named_again(run: &Path, named: Option<&Path>, of_file: Option<&Path>) -> Result<Option<PathBuf>> {
    match (named, of_file) {
        (Some(named), _) => std::path::absolute(named).map(Some).map_err(|e| Error::read(named, e)),
        (None, None) => Ok(None),
        (None, Some(library)) => {
            let (run, library) = (run.display(), library.display());
            Err(Error::Usage(format!(
                "--resume {run}: its run.toml names the library {library}, and a library out of a file is not opened \
                 unasked; give --onnxruntime {library} beside --resume, or another one"
            )))
        }
    }
}

/// Keeps what is trained on apart from what is validated on, as the settings want it; what is to be said of it.
fn keep_apart(data: &mut Dataset, validation: &Dataset, settings: &Settings) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if settings.leave_out {
        let taken = parts::leave_out(data, validation)?;
        if taken > 0 {
            notes.push(format!(
                "the {taken} classes that --validation-classes names are left out of training, which takes the other {}",
                data.classes.len()
            ));
        }
    }
    notes.extend(parts::nearly_shared(data, validation));
    match (parts::shared_classes(data, validation), settings.allow_overlap) {
        (Some(shared), Some(false)) => {
            return Err(Error::Usage(format!(
                "{shared}: Recall@1 would be that of classes the run has seen; take them apart by --classes, --split, \
                 --validation-classes, --validation-split, or give --allow-overlap"
            )));
        }
        (Some(shared), Some(true)) => notes.push(format!("{shared} (--allow-overlap)")),
        (Some(shared), None) => notes.push(format!("{shared}: the run was begun so")),
        (None, _) => {}
    }
    Ok(notes)
}

/// The backbone with the embedding as its only output, `[batch, dim]`, its type and lengths written out. Lengths of the images
/// that it leaves open are those that it will get.
fn with_embedding(backbone: &ModelProto, output: &str, axes: Option<[usize; 3]>) -> graph::Result<ModelProto> {
    let mut model = backbone.clone();
    if let (Some(axes), Some(graph)) = (axes, model.graph.as_mut()) {
        close_lengths(graph, axes);
    }
    let shapes = Shapes::of(&model)?;
    let unknown = || {
        graph::Error::Model {
        subject: output.to_owned(),
        reason: "its shape does not follow from the model, so that the length of an embedding is not known; export the model with \
                 the shapes of its values, or name another tensor by --output"
            .to_owned(),
    }
    };
    let Some(graph) = model.graph.as_mut() else { return Ok(model) };
    let (Some(element), Some(shape)) = (shapes.element(output), shapes.shape(output)) else {
        // Then what the model declares must do.
        graph.output.retain(|declared| declared.name() == output);
        return if graph.output.is_empty() { Err(unknown()) } else { Ok(model) };
    };
    let declared = match shape {
        // Dimensions of one behind the second are dropped, as the measuring tool does.
        [batch, dim, ones @ ..] if !ones.is_empty() => {
            if !ones.iter().all(|one| *one == Dim::Known(1)) {
                return Err(graph::Error::Model {
                    subject: output.to_owned(),
                    reason: format!(
                        "wanted an embedding [batch, dim], or with lengths of 1 behind it, got the map {}; pool or flatten it \
                         in the model, or name another tensor by --output",
                        show(shape)
                    ),
                });
            }
            let flat = format!("{output}.flat");
            graph.node.push(node("Flatten", &[output], &[&flat], Vec::new()));
            declare(&flat, element, &[batch.clone(), dim.clone()])
        }
        [_, dim] if !matches!(dim, Dim::Known(_)) => {
            return Err(unknown());
        }
        shape => declare(output, element, shape),
    };
    graph.output = vec![declared];
    Ok(model)
}

/// Writes lengths of the images into the declaration of the data, where it leaves them open.
fn close_lengths(graph: &mut GraphProto, axes: [usize; 3]) {
    let filled: Vec<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let Some(data) = graph.input.iter_mut().find(|input| !filled.contains(&input.name())) else { return };
    let Some((element, shape)) = declared(data) else { return };
    let shape = shape.unwrap_or_else(|| vec![Dim::Unknown; 4]);
    if shape.len() != 4 {
        return;
    }
    let close = |(dim, &length): (&Dim, &usize)| match dim {
        Dim::Known(known) => Dim::Known(*known),
        _ => Dim::Known(length),
    };
    let lengths: Vec<Dim> = std::iter::once(shape[0].clone()).chain(shape[1..].iter().zip(&axes).map(close)).collect();
    *data = declare(data.name(), element, &lengths);
}

/// A shape as messages show it.
fn show(shape: &[Dim]) -> String {
    let dim = |dim: &Dim| match dim {
        Dim::Known(length) => length.to_string(),
        Dim::Named(name) => name.clone(),
        Dim::Unknown => "?".to_owned(),
    };
    format!("[{}]", shape.iter().map(dim).collect::<Vec<_>>().join(", "))
}

/// Refuses to go on with another file than the run was begun with.
///
/// # Errors
/// [`Error::Data`] naming the file and both digests.
pub(crate) fn same(what: &str, path: &Path, begun: &str, found: &str) -> Result<()> {
    if begun == found {
        return Ok(());
    }
    Err(Error::data(path, format!("is not the {what} that the run was begun with: SHA-256 {found}, wanted {begun}")))
}
