//! A run: steps, validations, checkpoints, and what is left in its folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use pdloss::graph::file;
use pdloss::graph::proto::{GraphProto, ModelProto};
use pdloss::graph::step::{Description, export_embedder, set_class_mean_proxies};
use pdloss_embed::console::{inform, note};
use pdloss_embed::embedder::{Choice, Embedder, Model, Options, version};
use pdloss_embed::pipeline::embed;
use pdloss_embed::{Error, Result, process};
use serde_json::Value;

use crate::backbone::of_graph;
use crate::checkpoint::{Checkpoint, Counters};
use crate::cli::{FirstProxies, Keep};
use crate::events::Events;
use crate::folder::{Begun, Folder, MadeWith, Manifest, write_toml};
use crate::images::{Images, Preparation, Reading};
use crate::loader::Loader;
use crate::metrics::{METRICS, Table, VALIDATION};
use crate::monitor::Monitor;
use crate::parts;
use crate::plan::{Plan, same};
use crate::probe::Probe;
use crate::sampler::Sampler;
use crate::session::{Outcome, Trainer};
use crate::settings::{Settings, differences};
use crate::summary;
use crate::tensor::Tensor;
use crate::validation::Validation;

/// A run under way.
#[derive(Debug)]
struct Run {
    settings: Settings,
    folder: Folder,
    backbone: ModelProto,
    validation: Option<Validation>,
    trainer: Trainer,
    /// Axes of one image.
    image: [usize; 3],
    /// Steps of the whole run.
    steps: u64,
    /// Steps between validations.
    validate_every: u64,
    counters: Counters,
    metrics: Table,
    validations: Table,
    monitor: Monitor,
    probe: Probe,
    /// As [`Settings::behind_state`].
    behind_state: Value,
    /// The folder, until the first step is made.
    guard: Option<Begun>,
    /// The step of the last checkpoint.
    saved: Option<u64>,
}

/// Trains as planned, and writes what came of it to `stdout`.
///
/// # Errors
/// Whatever stops the run; its last checkpoint is then there to go on from.
pub(crate) fn run(plan: Plan, stdout: &mut dyn Write) -> Result<()> {
    let Plan {
        settings,
        folder,
        begun,
        model,
        layout,
        data,
        validation,
        backbone,
        step,
        parameters,
        library,
        mut notes,
    } = plan;
    notes.iter().for_each(|line| note(line));
    process::set_threads(settings.threads);
    let recipe = settings.preprocessing.clone();
    let size = recipe.output_size().ok_or_else(|| Error::Recipe("leaves the size of the images open".into()))?;
    let (part, classes, source) = (data.part.clone(), data.classes.len(), data.source.path().to_path_buf());
    let augment = settings.augmentation.clone();
    let preparation = Preparation { recipe, size, layout, augment, seed: settings.seed };
    let room = settings.cache.saturating_mul(1 << 20);
    let Reading { images, skipped, sha256, notes: of_files } =
        Images::read(data, preparation, room, settings.data.skip_bad)?;
    of_files.iter().for_each(|said| note(said));
    notes.extend(of_files);
    for error in &skipped {
        note(&format!("skipped: {error}"));
    }
    if !skipped.is_empty() {
        notes.push(format!("{} images that cannot be used are skipped (--skip-bad)", skipped.len()));
    }
    notes.extend(images_apart(&images, validation.as_ref(), &settings)?);
    let sampler = Sampler::new(&images.labels(), settings.batch, settings.per_class, settings.seed)?;
    let steps = settings.length.steps(sampler.batches());
    settings.schedule.check(steps)?;
    for line in summary::header(&settings, images.data(), validation.as_ref().map(Validation::data), &sampler, steps) {
        inform(&line);
    }
    // What is left out is a warning, which --quiet leaves.
    if parameters.is_partial() {
        note(&parameters.to_string())
    } else {
        inform(&parameters.to_string())
    }

    let mut state = first_state(&step, &settings.model)?;
    let behind_state = settings.behind_state()?;
    let checkpoint = if begun.is_some() && folder.checkpoint().exists() {
        let checkpoint = Checkpoint::read(&folder.checkpoint(), &state)?;
        same_settings(&folder, &checkpoint.settings, &behind_state)?;
        Some(checkpoint)
    } else {
        None
    };
    let last = checkpoint.as_ref().map(|checkpoint| checkpoint.counters.step);
    let counters = match checkpoint {
        Some(Checkpoint { counters, state: reached, .. }) => {
            state = reached;
            counters
        }
        None => {
            if settings.first_proxies == FirstProxies::ClassMeans {
                state = first_state(
                    &with_class_means(step.clone(), &model, &images, &settings, &library)?,
                    &settings.model,
                )?;
            }
            Counters::default()
        }
    };
    if let (None, Some(validation)) = (last, &validation) {
        let find = |name: &str| state.iter().find(|tensor| tensor.name == name).map(Tensor::to_proto);
        let embedder = export_embedder(&backbone, find).map_err(|e| of_graph(&settings.model, e))?;
        let unsteady = validation.unsteadiness(&embedder)?;
        unsteady.iter().for_each(|said| note(said));
        notes.extend(unsteady);
    }
    let trainer = Trainer::open(&settings.model, step, &state, &library, (settings.device, settings.threads))?;
    drop(state);
    let made_with = MadeWith {
        program: concat!("pdloss ", env!("CARGO_PKG_VERSION")).into(),
        onnxruntime: version(&library),
        model_sha256: model.sha256,
        data_sha256: sha256,
        part,
        images: images.data().items.len(),
        classes,
        class_order_sha256: Some(parts::order_sha256(images.data())),
        notes,
        parameters,
    };
    let guard = match &begun {
        Some(begun) => {
            same("data set", &source, &begun.data_sha256, &made_with.data_sha256)?;
            parts::check_order(images.data(), begun.class_order_sha256.as_deref())?;
            if (&begun.program, &begun.onnxruntime) != (&made_with.program, &made_with.onnxruntime) {
                note(&format!(
                    "the run was begun with {}, onnxruntime {}, and goes on with {}, onnxruntime {}: it may differ by rounding",
                    begun.program, begun.onnxruntime, made_with.program, made_with.onnxruntime
                ));
            }
            folder.sweep()?;
            if last.is_none() {
                note(&format!("{} is not there: the run begins anew", folder.checkpoint().display()));
            }
            None
        }
        None => Some(folder.begin(&Manifest { made_with, settings: settings.clone() })?),
    };
    write_toml(&folder.preprocessing(), &settings.preprocessing)?;

    let validate_every = settings.validation.as_ref().and_then(|v| v.every).unwrap_or(steps.div_ceil(10));
    let probe_options = Options {
        runtime: Choice::Onnxruntime,
        library: Some(library.clone()),
        device: settings.device,
        threads: 1,
        batch: None,
    };
    let log_dir = settings.log_dir.clone();
    let events = |kind| log_dir.as_deref().map(|folder| Events::create(folder, kind)).transpose();
    let mut run = Run {
        probe: Probe::new(&images, &settings.output, probe_options)?,
        behind_state,
        guard,
        saved: last,
        image: layout.axes(settings.preprocessing.color.channels(), size),
        metrics: Table::open(&folder.metrics(), &METRICS, last)?.with(events("train")?),
        validations: Table::open(&folder.validation(), &VALIDATION, last)?.with(events("validation")?),
        monitor: Monitor::new(counters.step, steps, settings.batch),
        settings,
        folder,
        backbone,
        validation,
        trainer,
        steps,
        validate_every,
        counters,
    };
    run.metrics.lacks(last).iter().for_each(|said| note(said));
    if last.is_none() {
        run.validate(sampler.batches())?;
    }
    run.train(&images, &sampler)?;
    run.save(true)?;
    let Run { folder, counters, settings, monitor, .. } = run;
    drop(monitor);
    summary::write(&folder, &counters, &settings, stdout)
}

/// Refuses images that are both trained and validated on, under whatever name or label; what is to be said of those that are
/// allowed.
fn images_apart(images: &Images, validation: Option<&Validation>, settings: &Settings) -> Result<Option<String>> {
    let (Some(validation), Some(chosen)) = (validation, &settings.validation) else { return Ok(None) };
    let other = validation.data();
    let shared = parts::shared_images(images.data(), images.digests(), other, chosen.data.skip_bad)?;
    let Some(shared) = shared else { return Ok(None) };
    if settings.allow_overlap == Some(false) {
        let problem = format!("{shared}; take them out of one of the two, or give --allow-overlap");
        return Err(Error::data(other.source.path(), problem));
    }
    note(&shared);
    Ok(Some(shared))
}

/// Refuses to go on from a checkpoint with other settings than it was reached by.
fn same_settings(folder: &Folder, before: &Value, now: &Value) -> Result<()> {
    if before.is_null() {
        return Ok(());
    }
    let (may_differ, others): (Vec<_>, Vec<_>) =
        differences(before, now).into_iter().partition(|(name, _)| ["device", "threads"].contains(&name.as_str()));
    for (name, values) in may_differ {
        note(&format!("{name} was {values}: the run may differ by rounding from one that was never stopped"));
    }
    match others.first() {
        Some((name, values)) => {
            let problem = format!(
                "setting {name} was {values}: its checkpoint was reached with the former; put it back, or begin a new run"
            );
            Err(Error::data(folder.manifest(), problem))
        }
        None => Ok(()),
    }
}

impl Run {
    /// Makes the steps that are left.
    fn train(&mut self, images: &Images, sampler: &Sampler) -> Result<()> {
        let (first, steps, threads) = (self.counters.step, self.steps, self.settings.threads);
        std::thread::scope(|scope| {
            let mut loader = Loader::start(scope, images, sampler, (first, steps), threads);
            while self.counters.step < steps && !self.is_stale() {
                let began = Instant::now();
                let rate = self.settings.schedule.rate(self.counters.step, steps);
                let batch = loader.next()?;
                if self.settings.loss.needs_pairs() && !parts::has_pairs(&batch.labels) {
                    self.pass_over(rate, sampler.batches())?;
                } else {
                    let outcome = self.trainer.step(batch, self.image, rate)?;
                    self.counters.step += 1;
                    let images_per_second = sampler.batch() as f64 / began.elapsed().as_secs_f64();
                    self.record(&outcome, rate, images_per_second, sampler.batches())?;
                }
                if let Some(guard) = self.guard.take() {
                    guard.keep();
                }
                let step = self.counters.step;
                if step.is_multiple_of(self.validate_every) || step == steps {
                    self.validate(sampler.batches())?;
                }
                if step.is_multiple_of(self.settings.checkpoint_every) && step < steps {
                    self.save(false)?;
                }
            }
            Ok(())
        })
    }

    /// Whether validations have not become better for as long as the run's patience.
    fn is_stale(&self) -> bool {
        let patience = self.settings.validation.as_ref().and_then(|v| v.patience);
        patience.is_some_and(|patience| self.counters.stale >= patience)
    }

    /// Counts a batch without pairs, in which the loss has nothing to compare: nothing changes by it.
    fn pass_over(&mut self, rate: f32, batches: u64) -> Result<()> {
        self.counters.step += 1;
        self.counters.passed_over += 1;
        if self.counters.passed_over == 1 {
            self.monitor.aside(|| {
                note(&format!(
                    "step {}: the batch has no two images of one class, or no two classes, so the loss has nothing to compare: \
                     it is passed over, as further ones will be; --per-class makes batches that have them",
                    self.counters.step
                ));
            });
        }
        let (step, epoch) = (self.counters.step, (self.counters.step - 1) / batches);
        self.metrics.add(&[
            ("step", step.to_string()),
            ("epoch", epoch.to_string()),
            ("learning_rate", rate.to_string()),
        ])?;
        self.monitor.passed_over();
        Ok(())
    }

    /// Writes down a step; refuses to go on from a loss that is no number.
    fn record(&mut self, outcome: &Outcome, rate: f32, images_per_second: f64, batches: u64) -> Result<()> {
        let step = self.counters.step;
        let mut row = vec![
            ("step", step.to_string()),
            ("epoch", ((step - 1) / batches).to_string()),
            ("loss", outcome.loss.to_string()),
            ("mean_cosine", outcome.mean_cosine.to_string()),
            ("gradient_norm", outcome.gradient_norm.to_string()),
            ("learning_rate", rate.to_string()),
            ("images_per_second", format!("{images_per_second:.1}")),
        ];
        let names = ["mu_genuine", "mu_impostor", "var_genuine", "var_impostor", "d_prime"];
        row.extend(outcome.moments.iter().flat_map(|moments| names.into_iter().zip(moments.map(|m| m.to_string()))));
        self.metrics.add(&row)?;
        self.monitor.step(outcome, images_per_second);
        if outcome.loss.is_finite() && outcome.gradient_norm.is_finite() {
            return Ok(());
        }
        // What was measured up to here is worth keeping, also of the first step.
        if let Some(guard) = self.guard.take() {
            guard.keep();
        }
        self.metrics.flush()?;
        Err(Error::Measure(format!(
            "step {step}: the loss is {}, its gradient's norm {}, at learning rate {rate}; try a lower --learning-rate, \
             --warmup or --clip",
            outcome.loss, outcome.gradient_norm
        )))
    }

    /// Measures the embedder as it is, where there is something to measure it on, and keeps it where it is to be kept.
    fn validate(&mut self, batches: u64) -> Result<()> {
        let (Some(validation), Some(settings)) = (&self.validation, &self.settings.validation) else { return Ok(()) };
        let step = self.counters.step;
        let candidate = self.candidate(&self.trainer.state()?, false)?;
        let found = self.monitor.aside(|| validation.measure(&candidate))?;
        let recall = found.recall_at_1;
        self.validations.add(&[
            ("step", step.to_string()),
            ("epoch", (step / batches).to_string()),
            ("recall@1", recall.to_string()),
            ("map@r", found.map_at_r.to_string()),
            ("queries", found.queries.to_string()),
        ])?;
        self.validations.flush()?;
        let is_better = self.counters.best.is_none_or(|(best, _)| recall > best);
        if is_better {
            (self.counters.best, self.counters.stale) = (Some((recall, step)), 0);
        } else {
            self.counters.stale += 1;
        }
        self.monitor.recall(step, &found);
        if settings.keep == Keep::Best && is_better {
            let kept = self.folder.embedder();
            std::fs::rename(&candidate, &kept).map_err(|e| Error::write(&kept, e))
        } else {
            std::fs::remove_file(&candidate).map_err(|e| Error::write(&candidate, e))
        }
    }

    /// Writes a checkpoint, after everything that belongs to it; `is_last` for the one that ends the run.
    fn save(&mut self, is_last: bool) -> Result<()> {
        let state = self.trainer.state()?;
        self.metrics.flush()?;
        self.validations.flush()?;
        if self.settings.validation.as_ref().is_none_or(|v| v.keep == Keep::Last) {
            let (candidate, kept) = (self.candidate(&state, is_last)?, self.folder.embedder());
            std::fs::rename(&candidate, &kept).map_err(|e| Error::write(&kept, e))?;
        } else if is_last {
            self.look_at(&self.folder.embedder(), true)?;
        }
        let (counters, settings) = (self.counters.clone(), self.behind_state.clone());
        Checkpoint { counters, settings, state }.write(&self.folder.checkpoint())?;
        self.saved = Some(self.counters.step);
        Ok(())
    }

    /// Writes the embedder of a state beside the run's, once it is seen to embed.
    fn candidate(&self, state: &[Tensor], is_last: bool) -> Result<PathBuf> {
        let path = self.folder.candidate();
        let find = |name: &str| state.iter().find(|tensor| tensor.name == name).map(Tensor::to_proto);
        let embedder = export_embedder(&self.backbone, find).map_err(|e| of_graph(&self.settings.model, e))?;
        file::write(&embedder, &path).map_err(|e| of_graph(&path, e))?;
        self.look_at(&path, is_last).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        Ok(path)
    }

    /// Refuses an embedder that embeds nothing; `is_last` for the one that ends the run, which nothing makes better any more.
    fn look_at(&self, embedder: &Path, is_last: bool) -> Result<()> {
        let Some(fault) = self.probe.look(embedder, !is_last)? else { return Ok(()) };
        let kept = match (self.saved, self.folder.embedder().exists()) {
            (Some(step), true) => format!("embedder.onnx and the checkpoint are those of step {step} and before"),
            _ => "no embedder.onnx was written".to_owned(),
        };
        Err(Error::Measure(format!(
            "step {}: the embedder {fault}; {kept}. Try a lower --learning-rate, --warmup or --clip",
            self.counters.step
        )))
    }
}

/// The state that a step graph brings with it, in the order of its description.
fn first_state(step: &ModelProto, model: &Path) -> Result<Vec<Tensor>> {
    let wrong = |problem: String| Error::model(model, problem);
    let description = Description::of(step).map_err(|e| of_graph(model, e))?;
    let initializers = step.graph.as_ref().map_or(&[][..], |GraphProto { initializer, .. }| initializer);
    let tensors = description.state.iter().map(|tensor| {
        let found = initializers.iter().find(|i| i.name() == tensor.name);
        let found =
            found.ok_or_else(|| wrong(format!("its training step brings no first value of {}", tensor.name)))?;
        Tensor::of_proto(found).map_err(wrong)
    });
    tensors.collect()
}

/// The step graph with its proxies at the mean direction of their class's embeddings.
fn with_class_means(
    mut step: ModelProto,
    model: &Model,
    images: &Images,
    settings: &Settings,
    library: &Path,
) -> Result<ModelProto> {
    let preparation = images.preparation();
    let axes = preparation.layout.axes(preparation.recipe.color.channels(), preparation.size);
    let options = Options {
        runtime: Choice::Onnxruntime,
        library: Some(library.to_path_buf()),
        device: settings.device,
        threads: settings.threads,
        batch: None,
    };
    let mut embedder = Embedder::open(model.clone(), Some(axes), &options)?;
    let embeddings = embed(images.data(), &preparation.recipe, &mut embedder, settings.threads, false)?.embeddings;
    let labels: Vec<i64> = embeddings.rows.iter().map(|row| row.class as i64).collect();
    set_class_mean_proxies(&mut step, embeddings.matrix.view(), &labels).map_err(|e| of_graph(&settings.model, e))?;
    Ok(step)
}
