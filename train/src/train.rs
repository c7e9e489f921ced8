//! A run: steps, validations, checkpoints, and what is left in its folder.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use pdloss::graph::file;
use pdloss::graph::proto::{GraphProto, ModelProto};
use pdloss::graph::step::{Description, export_embedder, set_class_mean_proxies};
use pdloss_embed::console::{self, Align};
use pdloss_embed::embedder::{Choice, Embedder, Model, Options, version};
use pdloss_embed::pipeline::embed;
use pdloss_embed::{Error, Result, process};

use crate::checkpoint::{Checkpoint, Counters};
use crate::cli::{FirstProxies, Keep};
use crate::export::of_graph;
use crate::folder::{Folder, MadeWith, Manifest, write_toml};
use crate::images::{Images, Preparation, Reading};
use crate::loader::Loader;
use crate::metrics::{Table, read};
use crate::monitor::{Monitor, note};
use crate::plan::{Plan, same};
use crate::sampler::Sampler;
use crate::session::{Outcome, Trainer};
use crate::settings::Settings;
use crate::tensor::Tensor;
use crate::validation::Validation;

const METRICS: [&str; 12] = [
    "step",
    "epoch",
    "loss",
    "d_prime",
    "mu_genuine",
    "mu_impostor",
    "var_genuine",
    "var_impostor",
    "mean_cosine",
    "gradient_norm",
    "learning_rate",
    "images_per_second",
];
const VALIDATION: [&str; 5] = ["step", "epoch", "recall@1", "map@r", "queries"];

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
}

/// Trains as planned, and writes what came of it to `stdout`.
///
/// # Errors
/// Whatever stops the run; its last checkpoint is then there to go on from.
pub(crate) fn run(plan: Plan, stdout: &mut dyn Write) -> Result<()> {
    let Plan { settings, folder, begun, model, layout, data, validation, backbone, step, library } = plan;
    process::set_threads(settings.threads);
    let recipe = settings.preprocessing.clone();
    let size = recipe.output_size().ok_or_else(|| Error::Recipe("leaves the size of the images open".into()))?;
    let (part, classes, source) = (data.part.clone(), data.classes.len(), data.source.path().to_path_buf());
    let augment = settings.augmentation.clone();
    let preparation = Preparation { recipe, size, layout, augment, seed: settings.seed };
    let room = settings.cache.saturating_mul(1 << 20);
    let Reading { images, skipped, sha256 } = Images::read(data, preparation, room, settings.data.skip_bad)?;
    for error in &skipped {
        note(&format!("skipped: {error}"));
    }
    let sampler = Sampler::new(&images.labels(), settings.batch, settings.per_class, settings.seed)?;
    let steps = settings.length.steps(sampler.batches());
    settings.schedule.check(steps)?;

    let mut state = first_state(&step, &settings.model)?;
    let checkpoint = if begun.is_some() && folder.checkpoint().exists() {
        Some(Checkpoint::read(&folder.checkpoint(), &state)?)
    } else {
        None
    };
    let last = checkpoint.as_ref().map(|checkpoint| checkpoint.counters.step);
    let counters = match checkpoint {
        Some(Checkpoint { counters, state: reached }) => {
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
    };
    match &begun {
        Some(begun) => {
            same("data set", &source, &begun.data_sha256, &made_with.data_sha256)?;
            if (&begun.program, &begun.onnxruntime) != (&made_with.program, &made_with.onnxruntime) {
                note(&format!(
                    "the run was begun with {}, onnxruntime {}, and goes on with {}, onnxruntime {}: it may differ by rounding",
                    begun.program, begun.onnxruntime, made_with.program, made_with.onnxruntime
                ));
            }
            folder.sweep()?;
        }
        None => folder.begin(&Manifest { made_with, settings: settings.clone() })?,
    }
    write_toml(&folder.preprocessing(), &settings.preprocessing)?;

    let validate_every = settings.validation.as_ref().and_then(|v| v.every).unwrap_or(steps.div_ceil(10));
    let mut run = Run {
        image: layout.axes(settings.preprocessing.color.channels(), size),
        metrics: Table::open(&folder.metrics(), &METRICS, last)?,
        validations: Table::open(&folder.validation(), &VALIDATION, last)?,
        monitor: Monitor::new(counters.step, steps),
        settings,
        folder,
        backbone,
        validation,
        trainer,
        steps,
        validate_every,
        counters,
    };
    if last.is_none() {
        run.validate(sampler.batches())?;
    }
    run.train(&images, &sampler)?;
    run.save()?;
    let Run { folder, counters, settings, monitor, .. } = run;
    drop(monitor);
    summary(&folder, &counters, &settings, stdout)
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
                let outcome = self.trainer.step(loader.next()?, self.image, rate)?;
                self.counters.step += 1;
                let images_per_second = sampler.batch() as f64 / began.elapsed().as_secs_f64();
                self.record(&outcome, rate, images_per_second, sampler.batches())?;
                let step = self.counters.step;
                if step.is_multiple_of(self.validate_every) || step == steps {
                    self.validate(sampler.batches())?;
                }
                if step.is_multiple_of(self.settings.checkpoint_every) {
                    self.save()?;
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

    /// Writes down a step; refuses to go on from a loss that is no number.
    fn record(&mut self, outcome: &Outcome, rate: f32, images_per_second: f64, batches: u64) -> Result<()> {
        let step = self.counters.step;
        let moment = |at: usize| outcome.moments.map_or_else(String::new, |moments| moments[at].to_string());
        self.metrics.add(&[
            step.to_string(),
            ((step - 1) / batches).to_string(),
            outcome.loss.to_string(),
            moment(4),
            moment(0),
            moment(1),
            moment(2),
            moment(3),
            outcome.mean_cosine.to_string(),
            outcome.gradient_norm.to_string(),
            rate.to_string(),
            format!("{images_per_second:.1}"),
        ])?;
        self.monitor.step(outcome, images_per_second);
        if outcome.loss.is_finite() && outcome.gradient_norm.is_finite() {
            return Ok(());
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
        let candidate = self.folder.candidate();
        self.export(&candidate, &self.trainer.state()?)?;
        let found = self.monitor.aside(|| validation.measure(&candidate))?;
        let recall = found.recall_at_1;
        self.validations.add(&[
            step.to_string(),
            (step / batches).to_string(),
            recall.to_string(),
            found.map_at_r.to_string(),
            found.queries.to_string(),
        ])?;
        self.validations.flush()?;
        let is_better = self.counters.best.is_none_or(|(best, _)| recall > best);
        if is_better {
            (self.counters.best, self.counters.stale) = (Some((recall, step)), 0);
        } else {
            self.counters.stale += 1;
        }
        self.monitor.recall(recall);
        if settings.keep == Keep::Best && is_better {
            let kept = self.folder.embedder();
            std::fs::rename(&candidate, &kept).map_err(|e| Error::write(&kept, e))
        } else {
            std::fs::remove_file(&candidate).map_err(|e| Error::write(&candidate, e))
        }
    }

    /// Writes a checkpoint, after everything that belongs to it.
    fn save(&mut self) -> Result<()> {
        let state = self.trainer.state()?;
        self.metrics.flush()?;
        self.validations.flush()?;
        if self.settings.validation.as_ref().is_none_or(|v| v.keep == Keep::Last) {
            self.export(&self.folder.embedder(), &state)?;
        }
        Checkpoint { counters: self.counters.clone(), state }.write(&self.folder.checkpoint())
    }

    /// Writes the embedder of a state.
    fn export(&self, path: &Path, state: &[Tensor]) -> Result<()> {
        let find = |name: &str| state.iter().find(|tensor| tensor.name == name).map(Tensor::to_proto);
        let embedder = export_embedder(&self.backbone, find).map_err(|e| of_graph(&self.settings.model, e))?;
        file::write(&embedder, path).map_err(|e| of_graph(path, e))
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

/// What the run came to, out of its tables.
fn summary(folder: &Folder, counters: &Counters, settings: &Settings, stdout: &mut dyn Write) -> Result<()> {
    let number = |row: Option<&csv::StringRecord>, at: usize| row.and_then(|row| row[at].parse::<f64>().ok());
    let word = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.6}"));
    let steps = read(&folder.metrics(), &METRICS)?;
    let rates: Vec<f64> = steps.iter().filter_map(|row| row[11].parse().ok()).collect();
    let seconds: f64 = rates.iter().map(|rate| settings.batch as f64 / rate).sum();
    let images = settings.batch * rates.len();
    let mut training = vec![("steps", counters.step.to_string())];
    for (name, at) in [("loss", 2), ("d_prime", 3), ("mean_cosine", 8)] {
        training.push((name, word(number(steps.last(), at))));
    }
    training.push(("images_per_second", format!("{:.0}", images as f64 / seconds.max(f64::MIN_POSITIVE))));
    let mut text = format!("{}\n", row(training));

    let rows = read(&folder.validation(), &VALIDATION)?;
    if let Some((best, step)) = counters.best {
        let validation = vec![
            ("recall@1 before", word(number(rows.first(), 2))),
            ("recall@1 after", word(number(rows.last(), 2))),
            ("best recall@1", word(Some(best))),
            ("at step", step.to_string()),
        ];
        text = format!("{text}\n{}\n", row(validation));
    }
    let failed = |e| Error::write("standard output", e);
    writeln!(stdout, "{text}\nembedder: {}", folder.embedder().display()).map_err(failed)
}

/// A table of one row of numbers, for people.
fn row(figures: Vec<(&str, String)>) -> String {
    let (names, cells): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
    let columns = names.into_iter().map(|name| (name.to_owned(), Align::Right)).collect();
    console::Table { columns, rows: vec![cells] }.text(console::width())
}
