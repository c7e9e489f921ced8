//! The command `recall`: arguments, plan, run, record.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::{ModelArgs, RecallArgs};
use crate::dataset::{Dataset, Format, Request, Role};
use crate::embedder::{Embedder, Model, Options};
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::index::Metric;
use crate::metrics::verification::{Rates, curve};
use crate::metrics::{Retrieval, Search, measure};
use crate::pipeline::embed;
use crate::preprocess::{Layout, Origin, Recipe};
use crate::process;
use crate::report::{Kind, Record, Value, folder_exists};
use crate::runs::{Details, KEPT_NEIGHBOURS, Retrieved, SaveRun, Verified};
use crate::similarities::tally_all;

/// What is to be measured, checked before any work starts.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    search: SearchPlan,
    out: Option<(PathBuf, Kind)>,
    save_run: Option<SaveRun>,
    threads: usize,
}

#[derive(Debug)]
enum Source {
    Images { data: Request, model: Box<Runnable>, skip_bad: bool, save: Option<PathBuf> },
    Kept { path: PathBuf, labels: Option<PathBuf>, dim: Option<usize> },
}

/// The search, its K still open where the data set's own list is to be used.
#[derive(Debug)]
struct SearchPlan {
    metric: Metric,
    index: String,
    ks: Option<Vec<usize>>,
}

/// A model read, with its recipe and options: ready to be opened.
#[derive(Debug)]
pub struct Runnable {
    model: Model,
    /// The way from file to model input.
    pub recipe: Recipe,
    /// Where that came from.
    pub origin: Origin,
    options: Options,
}

impl Runnable {
    /// Reads the model and its recipe, and checks that they fit.
    ///
    /// # Errors
    /// Those of [`Model::read`], [`Recipe::of`] and [`Model::accepts`]; [`Error::Usage`] for counts of zero.
    pub fn plan(model: &Path, args: &ModelArgs) -> Result<Self> {
        let threads = threads(args)?;
        if args.batch == Some(0) {
            return Err(Error::Usage("--batch 0: wanted at least 1".into()));
        }
        let model = Model::read(model, args.output.as_deref())?;
        let (recipe, origin) = Recipe::of(&model.path, args.preprocess.as_deref(), &args.patch, model.image_size())?;
        model.accepts(&recipe)?;
        let library = args.onnxruntime.clone();
        let options = Options { runtime: args.runtime, library, device: args.device, threads, batch: args.batch };
        Ok(Self { model, recipe, origin, options })
    }

    /// The model as read.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Opens the model on its runtime, and says which on standard error.
    ///
    /// # Errors
    /// Those of [`Embedder::open`].
    pub fn open(&self) -> Result<Embedder> {
        let layout = self.recipe.layout.unwrap_or(self.model.layout());
        let channels = self.recipe.color.channels();
        let image = self.recipe.output_size().map(|size| {
            let (height, width) = (size.height as usize, size.width as usize);
            if layout == Layout::Nchw { [channels, height, width] } else { [height, width, channels] }
        });
        let embedder = Embedder::open(self.model.clone(), image, &self.options)?;
        let (runtime, version) = embedder.runtime();
        note(&format!("{} runs on {runtime} {version}, {}", self.model.path.display(), self.options.device));
        if self.origin == Origin::Assumed {
            note(&format!(
                "PREPROCESSING IS ASSUMED: nothing says how {} wants its images, so the imagenet preset is used; \
                 write {} or give --preset, --resize, --mean, ... to be sure",
                self.model.path.display(),
                crate::preprocess::Patch::beside(&self.model.path).display()
            ));
        }
        Ok(embedder)
    }

    /// Adds model, preprocessing and runtime to a record.
    pub fn describe(&self, embedder: Option<&Embedder>, record: &mut Record) {
        let model = &self.model;
        record.set("model", model.path.display().to_string()).set("model_sha256", model.sha256.as_str());
        record.set("output", model.output.as_str());
        record.set("preprocessing", self.recipe.to_line()).set("preprocessing_from", self.origin.to_string());
        if let Some(embedder) = embedder {
            let (runtime, version) = embedder.runtime();
            record.set("runtime", runtime).set("runtime_version", version);
            record.set("device", self.options.device.to_string()).set("batch", embedder.batch());
        }
    }
}

/// The number of threads that was asked for, at least one.
pub(crate) fn threads(args: &ModelArgs) -> Result<usize> {
    match args.threads {
        Some(0) => Err(Error::Usage("--threads 0: wanted at least 1".into())),
        given => Ok(given.unwrap_or_else(process::available_threads)),
    }
}

/// A line on standard error.
pub(crate) fn note(line: &str) {
    // Nobody reading standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Plan {
    /// Checks everything that can be checked before embedding starts.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other or the data; those of the model, its recipe and the lists.
    pub fn new(args: &RecallArgs) -> Result<Self> {
        let ks = args.k.clone().map(|mut ks| {
            ks.sort_unstable();
            ks.dedup();
            ks
        });
        if ks.as_ref().is_some_and(|ks| ks.first().is_none_or(|&k| k == 0)) {
            return Err(Error::Usage("--k 0: wanted numbers from 1".into()));
        }
        let out = args.out.as_ref().map(|path| Kind::of("--out", path).map(|kind| (path.clone(), kind))).transpose()?;
        let source = match (&args.input.embeddings, &args.input.model, &args.input.data.data) {
            (Some(path), _, _) => {
                Source::Kept { path: path.clone(), labels: args.input.labels.clone(), dim: args.input.dim }
            }
            (None, Some(model), Some(data)) => {
                if let Some(path) = &args.input.save_embeddings {
                    Embeddings::can_save("--save-embeddings", path)?;
                    folder_exists("--save-embeddings", path)?;
                }
                Source::Images {
                    data: args.input.data.request(data),
                    model: Box::new(Runnable::plan(model, &args.input.run)?),
                    skip_bad: args.input.data.skip_bad,
                    save: args.input.save_embeddings.clone(),
                }
            }
            _ => return Err(Error::Usage("give --model and --data, or --embeddings".into())),
        };
        let search = SearchPlan { metric: args.metric, index: args.index.clone(), ks };
        let save_run = args.save_run.as_deref().map(SaveRun::plan).transpose()?;
        Ok(Self { source, search, out, save_run, threads: threads(&args.input.run)? })
    }

    /// Embeds (or reads embeddings), searches, and writes the table to `stdout`.
    ///
    /// # Errors
    /// Whatever stops the run; no result file is then written.
    pub fn run(&self, stdout: &mut dyn Write) -> Result<Record> {
        process::set_threads(self.threads);
        let started = Instant::now();
        let mut record = Record::new();
        record.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "recall");
        let (embeddings, format) = match &self.source {
            Source::Images { data, model, skip_bad, save } => {
                let dataset = Dataset::load(data)?;
                let embeddings = self.embed(&dataset, model, *skip_bad, &mut record)?;
                if let Some(path) = save {
                    embeddings.save(path)?;
                }
                (embeddings, dataset.format)
            }
            Source::Kept { path, labels, dim } => {
                let embeddings = Embeddings::read(path, *dim, labels.as_deref())?;
                record.set("data", path.display().to_string()).set("data_sha256", embeddings.sha256());
                (embeddings, Format::Auto)
            }
        };
        let ks = self.search.ks.clone().unwrap_or_else(|| format.usual_ks().to_vec());
        let keep = if self.save_run.is_some() { KEPT_NEIGHBOURS } else { 0 };
        let search = Search { metric: self.search.metric, index: self.search.index.clone(), ks, keep };
        let searching = Instant::now();
        let measured = measure(&embeddings, &search)?;
        record.set("seconds_search", searching.elapsed().as_secs_f64());
        record.set("seconds_total", started.elapsed().as_secs_f64());
        describe(&mut record, &embeddings, &search, &measured, self.threads);
        let scores = if self.save_run.is_some() { scores(&embeddings, &search, &mut record)? } else { None };
        if let Some((path, kind)) = &self.out {
            kind.write(path, &Record::table(std::slice::from_ref(&record)))?;
        }
        if let Some(folder) = &self.save_run {
            folder.write(&record, &Details::Retrieval(Retrieved::new(&embeddings, &measured, scores)))?;
        }
        print(&record, stdout).map_err(|e| Error::write("standard output", e))?;
        Ok(record)
    }

    fn embed(&self, dataset: &Dataset, model: &Runnable, skip_bad: bool, record: &mut Record) -> Result<Embeddings> {
        let loading = Instant::now();
        let mut embedder = model.open()?;
        model.describe(Some(&embedder), record);
        let seconds_load = loading.elapsed().as_secs_f64();
        let embedding = Instant::now();
        let embedded = embed(dataset, &model.recipe, &mut embedder, self.threads, skip_bad)?;
        let seconds = embedding.elapsed().as_secs_f64();
        for (_, reason) in &embedded.skipped {
            note(&format!("skipped: {reason}"));
        }
        let names: Vec<_> = embedded.skipped.iter().map(|(name, _)| name.as_str()).collect();
        let skipped = (!names.is_empty()).then(|| names.join("; "));
        record.set("data", dataset.source.path().display().to_string()).set("data_sha256", embedded.data_sha256);
        record.set("format", dataset.format.as_str()).set("part", dataset.part.as_str());
        record.set("skipped", names.len()).set("skipped_images", skipped);
        record.set("seconds_load", seconds_load).set("seconds_embed", seconds);
        record.set("images_per_second", embedded.embeddings.rows.len() as f64 / seconds);
        Ok(embedded.embeddings)
    }
}

/// How far genuine and impostor cosines are apart, where images are searched by these among themselves; adds the figures.
fn scores(embeddings: &Embeddings, search: &Search, record: &mut Record) -> Result<Option<Verified>> {
    if search.metric != Metric::Cosine || embeddings.rows.iter().any(|row| row.role != Role::Both) {
        return Ok(None);
    }
    let comparing = Instant::now();
    let tally = tally_all(embeddings)?;
    record.set("seconds_compare", comparing.elapsed().as_secs_f64());
    let rates = Rates::of(&tally);
    record.set("genuine_pairs", Value::Whole(rates.genuine)).set("impostor_pairs", Value::Whole(rates.impostor));
    let wanted = ["d_prime", "eer", "auc", "mu_genuine", "mu_impostor", "sd_genuine", "sd_impostor"];
    for (name, value) in rates.figures().into_iter().filter(|(name, _)| wanted.contains(&name.as_str())) {
        record.set(name, value);
    }
    Ok(Some(Verified::of(&tally, &curve(&tally), 1.0)))
}

fn describe(record: &mut Record, embeddings: &Embeddings, search: &Search, measured: &Retrieval, threads: usize) {
    let note = match (measured.index_recall, measured.index_sample) {
        (Some(recall), Some((k, queries))) => {
            format!("APPROXIMATE: finds {recall:.4} of the true {k} nearest ({queries} queries)")
        }
        _ => "exact".to_owned(),
    };
    let mut present: Vec<usize> = embeddings.rows.iter().map(|row| row.class).collect();
    present.sort_unstable();
    present.dedup();
    record.set("threads", threads).set("metric", search.metric.to_string()).set("index", search.index.as_str());
    record.set("search", note).set("index_recall", measured.index_recall).set("ties", "by lower row");
    record.set("images", embeddings.rows.len()).set("classes", present.len()).set("dim", embeddings.dim());
    record.set("search_depth", measured.depth);
    record.set("queries", measured.queries).set("gallery", measured.gallery).set("lone_queries", measured.lone_queries);
    for (k, value) in &measured.recall {
        record.set(format!("recall@{k}"), *value);
    }
    record.set("r_precision", measured.r_precision).set("map@r", measured.map_at_r);
}

/// The measures as one row, then what they were taken on.
fn print(record: &Record, stdout: &mut dyn Write) -> std::io::Result<()> {
    let is_measure = |name: &str| name.starts_with("recall@") || ["r_precision", "map@r"].contains(&name);
    let counts = ["images", "classes", "queries"];
    let measures = record.pick(|name| (is_measure(name) || counts.contains(&name)).then(|| name.to_owned()));
    let about = record.pick(|name| (!is_measure(name) && !counts.contains(&name)).then(|| name.to_owned()));
    writeln!(stdout, "{}\n\n{}", Record::table(&[measures]), about.upright())
}
