//! A run as planned: settings, model, data and training step, checked as far as they can be before images are read.

use std::path::{Path, PathBuf};

use pdloss::graph::build::{Dim, declare, node};
use pdloss::graph::head::Spelling;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::shapes::Shapes;
use pdloss::graph::{self, file};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::embedder::{self, Choice, Model, Options};
use pdloss_embed::preprocess::Layout;
use pdloss_embed::{Error, Result};

use crate::cli::{FirstProxies, TrainArgs};
use crate::export::of_graph;
use crate::folder::{Folder, MadeWith, Manifest};
use crate::monitor::note;
use crate::objective;
use crate::sampler::Sampler;
use crate::settings::Settings;
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
    /// The backbone as read.
    pub(crate) backbone: ModelProto,
    /// The training step.
    pub(crate) step: ModelProto,
    pub(crate) library: PathBuf,
}

impl Plan {
    /// Checks everything that can be checked before work starts.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other, the model or the data; those of model, recipe and lists.
    pub(crate) fn new(args: &TrainArgs) -> Result<Self> {
        let (settings, model, folder, begun) = match &args.resume {
            Some(run) => {
                let (folder, Manifest { made_with, settings }) = Folder::open(run)?;
                let model = Model::read(&settings.model, Some(&settings.output))?;
                same("model", &settings.model, &made_with.model_sha256, &model.sha256)?;
                (settings, model, folder, Some(made_with))
            }
            None => {
                let out = args.out.as_deref().ok_or_else(|| Error::Usage("--out is missing".into()))?;
                let folder = Folder::new(out)?;
                let (settings, model, origin) = Settings::of(args)?;
                if let Some(said) = origin.note(&settings.model) {
                    note(&said);
                }
                (settings, model, folder, None)
            }
        };
        if model.input_is_f16() {
            return Err(Error::model(&model.path, format!("input {}: training wants FLOAT", model.input.describe())));
        }
        let data = Dataset::load(&settings.data.request())?;
        if data.classes.len() < 2 {
            let problem = format!("part '{}' has {} class; training wants at least 2", data.part, data.classes.len());
            return Err(Error::data(data.source.path(), problem));
        }
        let labels: Vec<usize> = data.items.iter().map(|item| item.class).collect();
        Sampler::new(&labels, settings.batch, settings.per_class, settings.seed)?;

        let library = embedder::library(settings.onnxruntime.as_deref())?;
        let layout = settings.preprocessing.layout.unwrap_or(model.layout());
        let options = Options {
            runtime: Choice::Onnxruntime,
            library: Some(library.clone()),
            device: settings.device,
            threads: settings.threads,
            batch: None,
        };
        let validation = settings.validation.as_ref().map(|v| {
            Validation::new(
                &v.data.request(),
                (&settings.preprocessing, layout),
                &settings.output,
                options,
                v.data.skip_bad,
            )
        });
        let validation = validation.transpose()?;

        let spelling = if settings.inline { Spelling::Inline } else { Spelling::Operator };
        let step_options =
            objective::options(&settings.loss, &settings.optimizer, spelling, data.classes.len(), settings.seed)?;
        if settings.first_proxies == FirstProxies::ClassMeans && !step_options.loss.has_proxies() {
            return Err(Error::Usage("--first-proxies class-means: the loss has no proxies".into()));
        }
        let wrong = |e| of_graph(&settings.model, e);
        let backbone = file::read(&settings.model).map_err(wrong)?;
        let step = with_embedding(&backbone, &settings.output)
            .and_then(|model| graph::step::build(model, &step_options))
            .map_err(wrong)?;
        Ok(Self { settings, folder, begun, model, layout, data, validation, backbone, step, library })
    }
}

/// The backbone with the embedding as its only output, `[batch, dim]`, its type and lengths written out.
fn with_embedding(backbone: &ModelProto, output: &str) -> graph::Result<ModelProto> {
    let mut model = backbone.clone();
    let shapes = Shapes::of(&model)?;
    let Some(graph) = model.graph.as_mut() else { return Ok(model) };
    let (Some(element), Some(shape)) = (shapes.element(output), shapes.shape(output)) else {
        // Then what the model declares must do.
        graph.output.retain(|declared| declared.name() == output);
        return Ok(model);
    };
    let declared = match shape {
        // Dimensions of one behind the second are dropped, as the measuring tool does.
        [batch, dim, ones @ ..] if !ones.is_empty() => {
            let flat = format!("{output}.flat");
            graph.node.push(node("Flatten", &[output], &[&flat], Vec::new()));
            let is_one = ones.iter().all(|one| *one == Dim::Known(1));
            let dim = if is_one { dim.clone() } else { Dim::Unknown };
            declare(&flat, element, &[batch.clone(), dim])
        }
        shape => declare(output, element, shape),
    };
    graph.output = vec![declared];
    Ok(model)
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
