//! Everything that a run depends on and that a person chose, as flags mean it; kept in `run.toml`, and enough to go on with.

use std::path::{Path, PathBuf};

use pdloss::graph::head::Spelling;
use pdloss::graph::step::Precision;
use pdloss_embed::dataset::{Chosen, Format, Request, Source, Split};
use pdloss_embed::embedder::{Choice, Device, Model, Options};
use pdloss_embed::preprocess::{Origin, Recipe};
use pdloss_embed::ranks::world;
use pdloss_embed::{Error, Result, process};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::augment::Augment;
use crate::cli::{FirstProxies, Keep, Part, TrainArgs};
use crate::loss::LossArgs;
use crate::objective;
use crate::optimizer::OptimizerArgs;
use crate::precision::PrecisionArgs;
use crate::sampling::{Drawing, SamplingArgs};
use crate::schedule::Schedule;

/// The choices of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The backbone.
    pub(crate) model: PathBuf,
    /// The tensor that is the embedding.
    pub(crate) output: String,
    /// Where things run.
    pub(crate) device: Device,
    /// Threads of the runtime, and as many that make batches.
    pub(crate) threads: usize,
    /// `libonnxruntime`, where it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Images a step.
    pub(crate) batch: usize,
    /// Parts in which a batch goes through the backbone.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) accumulate: usize,
    /// Images a class in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_class: Option<usize>,
    /// Ranks that a batch is spread over.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) ranks: usize,
    /// Whether BatchNormalization normalises by the whole batch of all ranks, and not by the images of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sync_statistics: bool,
    /// Whether each rank has a part of the classes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shard_classes: bool,
    /// Steps, or else epochs.
    pub(crate) length: Length,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// Steps between checkpoints.
    pub(crate) checkpoint_every: u64,
    /// Where TensorBoard's event files go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_dir: Option<PathBuf>,
    /// MiB of pixels to keep in memory.
    pub(crate) cache: usize,
    /// Whether the loss is spelt in standard operators.
    pub(crate) inline: bool,
    /// Where the proxies start.
    pub(crate) first_proxies: FirstProxies,
    /// What another run gives the first state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<Init>,
    /// Whether the classes validated on are taken out of what is trained on.
    #[serde(default)]
    pub(crate) leave_out: bool,
    /// Whether classes and images may be both trained and validated on; not known of runs of version 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_overlap: Option<bool>,
    /// What to train on.
    pub(crate) data: Chosen,
    /// How batches are drawn, where that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sampling: Option<SamplingArgs>,
    /// What to validate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validation: Option<Validation>,
    /// From file to model input.
    pub(crate) preprocessing: Recipe,
    /// Random changes.
    pub(crate) augmentation: Augment,
    /// The loss.
    pub(crate) loss: LossArgs,
    /// The optimiser.
    pub(crate) optimizer: OptimizerArgs,
    /// In what a step computes, where that is not float32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<PrecisionArgs>,
    /// The learning rate.
    pub(crate) schedule: Schedule,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(count: &usize) -> bool {
    *count == 1
}

/// Where a run starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Init {
    /// The folder of the other run.
    pub(crate) init_from: PathBuf,
    /// What is taken of it.
    pub(crate) init: Vec<Part>,
}

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Length {
    Steps(u64),
    Epochs(f64),
}

impl Length {
    /// Steps of the run, at least one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count; checked to be above 0
    pub(crate) fn steps(self, batches_an_epoch: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => ((epochs * batches_an_epoch as f64).round() as u64).max(1),
        }
    }
}

/// Measuring while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validation {
    /// Steps between validations; `None` for a tenth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<u64>,
    /// Stop after so many validations without a better one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patience: Option<u32>,
    /// Which embedder is the run's.
    pub(crate) keep: Keep,
    pub(crate) data: Chosen,
}

impl Settings {
    /// The file of the net that the run begins with.
    pub(crate) fn first_net(&self) -> PathBuf {
        let init = self.init.as_ref().filter(|init| init.init.contains(&Part::Embedder));
        init.map_or_else(|| self.model.clone(), |init| init.init_from.join("embedder.onnx"))
    }

    /// How embedders are run beside the steps: on their library, device and threads.
    pub(crate) fn embedding(&self, library: &Path) -> Options {
        Options {
            runtime: Choice::Onnxruntime,
            library: Some(library.to_path_buf()),
            device: self.device,
            threads: self.threads,
            batch: None,
        }
    }

    /// What the flags mean, with everything checked that needs no images; and the model, and where its recipe came from.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that cannot be; those of the model and its recipe.
    pub(crate) fn of(args: &TrainArgs) -> Result<(Self, Model, Origin)> {
        let missing = |flag: &str| Error::Usage(format!("{flag} is missing; `pdloss train --help` has examples"));
        let path = absolute(args.model.as_deref().ok_or_else(|| missing("--model"))?)?;
        let data = Chosen {
            path: absolute(args.data.as_deref().ok_or_else(|| missing("--data"))?)?,
            format: args.format,
            split: args.split,
            classes: args.classes.clone().map(|r| r.0).unwrap_or_default(),
            label: args.label.clone(),
            root: args.root.as_deref().map(absolute).transpose()?,
            skip_bad: args.skip_bad,
        };
        let length = args.steps.map_or(Length::Epochs(args.epochs), Length::Steps);
        let validation = validation(args, &data)?;
        let is_same = validation.as_ref().is_some_and(|validation| validation.data.path == data.path);
        // Before the model is read: a flag that cannot be is the first thing to be said.
        args.augment.check()?;
        args.sampling.check(args.per_class)?;
        objective::refuse_idle(&args.loss, &args.optimizer)?;
        args.precision.of(args.device)?;
        args.schedule.refuse_idle()?;
        args.schedule.check(args.steps.unwrap_or(u64::MAX))?;
        let model = Model::read(&path, args.output.as_deref())?;
        let (recipe, origin) = Recipe::of(&path, args.preprocess.as_deref(), &args.patch, model.takes())?;
        model.accepts(&recipe)?;
        if recipe.output_size().is_none() {
            let problem =
                "leaves images of different sizes, which make no batch; give --resize exact:WxH, --crop or --pad";
            return Err(Error::Recipe(problem.into()));
        }
        if recipe.color.channels() == 1 {
            args.augment.refuse_colors()?;
        }
        let settings = Self {
            output: model.output.clone(),
            model: path,
            device: args.device,
            threads: args.threads.unwrap_or_else(process::available_threads),
            onnxruntime: args.onnxruntime.as_deref().map(absolute).transpose()?,
            batch: args.batch,
            accumulate: args.accumulate,
            per_class: args.per_class,
            ranks: world().size(),
            sync_statistics: args.sync_statistics,
            shard_classes: args.shard_classes,
            length,
            seed: args.seed,
            checkpoint_every: args.checkpoint_every,
            log_dir: args.log_dir.as_deref().map(absolute).transpose()?,
            cache: args.cache,
            inline: args.inline,
            first_proxies: args.first_proxies,
            init: init(args)?,
            leave_out: is_same && args.classes.is_none() && args.validation_classes.is_some() && !args.allow_overlap,
            allow_overlap: validation.is_some().then_some(args.allow_overlap),
            validation,
            data,
            sampling: args.sampling.resolved(),
            preprocessing: recipe,
            augmentation: args.augment.clone(),
            loss: args.loss.resolved()?,
            optimizer: args.optimizer.resolved()?,
            precision: args.precision.resolved(),
            schedule: args.schedule.resolved(),
        };
        settings.check()?;
        Ok((settings, model, origin))
    }

    /// The steps from one validation to the next in a run of so many: a tenth of them, where nobody says.
    pub(crate) fn validate_every(&self, steps: u64) -> u64 {
        self.validation.as_ref().and_then(|v| v.every).unwrap_or(steps.div_ceil(10))
    }

    /// Refuses what cannot be, whether it was typed or read from `run.toml`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag; [`Error::Recipe`].
    pub(crate) fn check(&self) -> Result<()> {
        let validation = self.validation.as_ref();
        let (most, threads) = (u64::MAX, self.threads as u64);
        let counts = [
            ("--threads", threads, MOST_THREADS),
            ("--checkpoint-every", self.checkpoint_every, most),
            ("--steps", if let Length::Steps(steps) = self.length { steps } else { 1 }, most),
            ("--validate-every", validation.and_then(|v| v.every).unwrap_or(1), most),
            ("--patience", validation.and_then(|v| v.patience).map_or(1, u64::from), most),
        ];
        if let Some((flag, value, most)) = counts.iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            let most = if *most == u64::MAX { String::new() } else { format!(" and at most {most}") };
            return Err(Error::Usage(format!("{flag} {value}: wanted at least 1{most}")));
        }
        let counted = [("--unfreeze-at", self.optimizer.unfreeze_at), ("--memory-start", self.loss.memory_start)];
        let goes_on = self.init.as_ref().is_some_and(|init| init.init.contains(&Part::Optimizer));
        if let (true, Some((flag, Some(step)))) =
            (goes_on, counted.into_iter().find(|(_, step)| step.is_some_and(|step| step > 0)))
        {
            return Err(Error::Usage(format!(
                "{flag} {step}: --init optimizer goes on counting the steps of the run that it takes, and {step} would be of both together; \
                 leave the optimizer out of --init, or {flag} away"
            )));
        }
        let (batch, parts) = (self.batch, self.accumulate);
        if parts == 0 || !batch.is_multiple_of(parts) {
            return Err(Error::Usage(format!(
                "--accumulate {parts}: wanted a number that divides --batch {batch}, so that all parts are equal"
            )));
        }
        if let Some(rows) = self.loss.memory_bank.filter(|rows| *rows < batch) {
            return Err(Error::Usage(format!(
                "--memory-bank {rows}: wanted at least --batch {batch}, so that it holds a batch of earlier images"
            )));
        }
        if i64::try_from(self.seed).is_err() {
            return Err(Error::Usage(format!("--seed {}: wanted 0 to {}", self.seed, i64::MAX)));
        }
        let steps = match self.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) if epochs > 0.0 && epochs.is_finite() => u64::MAX,
            Length::Epochs(epochs) => {
                return Err(Error::Usage(format!("--epochs {epochs}: wanted a number above 0")));
            }
        };
        self.augmentation.check()?;
        self.sampling.as_ref().map_or(Ok(()), |sampling| sampling.check(self.per_class))?;
        self.schedule.check(steps)?;
        self.precision()?;
        self.preprocessing.check()?;
        let Recipe { scale, mean, std, .. } = &self.preprocessing;
        let numbers = [("scale", std::slice::from_ref(scale)), ("mean", mean), ("std", std)];
        for (name, values) in numbers {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::Recipe(format!("{name} holds {value}; wanted finite numbers")));
            }
        }
        // Classes do not matter here: that there are enough is seen once the data is read.
        objective::options(&self.loss, &self.optimizer, Spelling::Operator, 2, self.seed)?;
        Ok(())
    }

    /// What to train on is to be loaded by, with its weights where batches are drawn by them.
    pub(crate) fn request(&self) -> Request {
        let weights = self.sampling.as_ref().and_then(|sampling| sampling.weight_column.clone());
        Request { weights, ..self.data.request() }
    }

    /// In what a step computes.
    ///
    /// # Errors
    /// As [`PrecisionArgs::of`].
    pub(crate) fn precision(&self) -> Result<Option<Precision>> {
        self.precision.as_ref().map_or(Ok(None), |precision| precision.of(self.device))
    }

    /// How batches are drawn.
    ///
    /// # Errors
    /// As [`SamplingArgs::drawing`].
    pub(crate) fn drawing(&self) -> Result<Drawing> {
        self.sampling.clone().unwrap_or_default().drawing(self.per_class)
    }

    /// The settings that a run's state follows from, by name; without paths, whose contents are checked by digest, and without
    /// what may be another when it goes on.
    ///
    /// # Errors
    /// [`Error::Measure`] where they cannot be written as JSON.
    pub(crate) fn behind_state(&self) -> Result<Value> {
        let failed = |e: serde_json::Error| Error::Measure(format!("settings: {e}"));
        let text = serde_json::to_string(self).map_err(failed)?;
        // Through text, so that numbers compare as they do when they are read.
        let mut value: Value = serde_json::from_str(&text).map_err(failed)?;
        for name in ["model", "onnxruntime", "cache", "checkpoint_every", "log_dir"] {
            value.as_object_mut().and_then(|settings| settings.remove(name));
        }
        for place in ["/data", "/validation/data", "/init"] {
            if let Some(data) = value.pointer_mut(place).and_then(Value::as_object_mut) {
                data.retain(|name, _| !["path", "root", "init_from"].contains(&name.as_str()));
            }
        }
        Ok(value)
    }
}

/// The most threads that make sense on any machine.
const MOST_THREADS: u64 = 1024;

/// The names of settings that differ, each with both values.
pub(crate) fn differences(before: &Value, now: &Value) -> Vec<(String, String)> {
    fn walk(name: &str, before: &Value, now: &Value, found: &mut Vec<(String, String)>) {
        if let (Some(old), Some(new)) = (before.as_object(), now.as_object()) {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let inner = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                walk(&inner, before.get(key).unwrap_or(&Value::Null), now.get(key).unwrap_or(&Value::Null), found);
            }
        } else if before != now {
            found.push((name.to_owned(), format!("{before}, now {now}")));
        }
    }
    let mut found = Vec::new();
    walk("", before, now, &mut found);
    found
}

fn validation(args: &TrainArgs, data: &Chosen) -> Result<Option<Validation>> {
    let part = args.validation_split.is_some() || args.validation_classes.is_some();
    if args.validation.is_none() && !part {
        let needs = [
            ("--validate-every", args.validate_every.is_some()),
            ("--patience", args.patience.is_some()),
            ("--keep best", args.keep == Keep::Best),
            ("--allow-overlap", args.allow_overlap),
        ];
        return match needs.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Error::Usage(format!(
                "{flag}: nothing to validate on; give --validation, --validation-split or --validation-classes"
            ))),
            None => Ok(None),
        };
    }
    let own = args.validation.as_deref().map(absolute).transpose()?;
    let is_list = |path: &Path| path.is_file() && !Source::is_archive(path);
    let data = Chosen {
        format: if own.is_some() { Format::Auto } else { data.format },
        root: data.root.clone().filter(|_| own.as_deref().is_none_or(is_list)),
        path: own.unwrap_or_else(|| data.path.clone()),
        split: args.validation_split.unwrap_or(Split::ProtocolVal),
        classes: args.validation_classes.clone().map(|r| r.0).unwrap_or_default(),
        ..data.clone()
    };
    Ok(Some(Validation { every: args.validate_every, patience: args.patience, keep: args.keep, data }))
}

fn init(args: &TrainArgs) -> Result<Option<Init>> {
    let Some(run) = &args.init_from else { return Ok(None) };
    let parts = if args.init.is_empty() { vec![Part::Embedder] } else { args.init.clone() };
    let loss = args.loss.loss()?;
    if parts.contains(&Part::Proxies) && !loss.has_proxies() {
        return Err(Error::Usage(format!("--init proxies: the loss {} has none", loss.name())));
    }
    if parts.contains(&Part::Proxies) && args.first_proxies == FirstProxies::ClassMeans {
        return Err(Error::Usage("--first-proxies class-means: --init proxies says where they start".into()));
    }
    Ok(Some(Init { init_from: absolute(run)?, init: parts }))
}

/// The path from the root, so that a run can go on from any folder.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::read(path, e))
}
