//! The command `recall`: arguments, plan, run, record.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use super::arguments::{
    Notes, class_names, describe_copies, describe_dimension, describe_lengths, describe_sameness, rows_of,
};
use super::efficiency;
use super::retrieval_figures;
use super::suggest::doubt_of;
use super::variants::{Storage, Variant};
use super::{InputArgs, alike, describe_model, same_runtime};
use crate::index::{self, FLAT};
use crate::metrics::verification::{MOST_PAIRS, Rates, curve, pair_count, tally_all};
use crate::process;
use crate::runs::{Details, KEPT_NEIGHBOURS, Map, Retrieved, SaveRun, Verified};
use crate::table::schema::is_beside;
use crate::table::{Kind, Record, Value};
use crate::{Error, Result};
use clap::Args;
use pdloss_embed::console::{inform, note, wrote};
use pdloss_embed::dataset::{Dataset, Format, Request, Role};
use pdloss_embed::embedder::Prepared;
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::Steps;
use pdloss_embed::program::Usual;
use pdloss_embed::ranks::{agree, of_first, same, world};
use pdloss_embed::retrieval::{Metric, Retrieval, Search, check, deepest, measure_over_ranks};

const EXAMPLES: &str = "Examples:
  pdloss-eval recall --model model.onnx --data CUB_200_2011
  pdloss-eval recall --model model.onnx --data photos/ --preset imagenet \\
      --out result.json
  pdloss-eval recall --model model.onnx --data test.txt --label 2 --k 1,10
  pdloss-eval recall --model model.onnx --data sop.zip --format sop \\
      --save-embeddings sop.npy
  pdloss-eval recall --embeddings sop.npy --index IVF256,Flat
  pdloss-eval recall --embeddings cub.npy --matryoshka 64,128,256 \\
      --storage int8,binary

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "Ties are broken by the lower row. A query is left out of its own neighbours by its row, and copies of its image (files of \
    equal bytes) are left out too. Queries without another image of their class are left out and counted.";

pub(super) const USUAL: Usual = Usual {
    command: "recall",
    calls: &["recall --model FILE.onnx --data PATH", "recall --embeddings FILE.npy"],
    flags: &["model", "data", "split", "label", "preset", "embeddings", "labels", "k", "out", "save-run", "json"],
};

/// What a search is that finds the true neighbours.
const EXACT: &str = "exact";

/// Arguments of `recall`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct RecallArgs {
    /// What is embedded, or was
    #[command(flatten)]
    pub input: InputArgs,
    /// Similarity of two embeddings
    #[arg(long, value_enum, default_value_t = Metric::Cosine, help_heading = "Measure")]
    pub metric: Metric,
    /// FAISS factory string; Flat is exact, others are checked against it on a sample
    #[arg(long, default_value = FLAT, value_name = "FACTORY", help_heading = "Measure")]
    pub index: String,
    /// The K of Recall@K [default: 1,2,4,8; 1,10,100,1000 for sop; 1,10,20,30,40 for inshop]
    #[arg(long, value_delimiter = ',', value_name = "K,K,...", help_heading = "Measure")]
    pub k: Option<Vec<usize>>,
    /// Count copies of an image (files of equal bytes) as neighbours of each other
    #[arg(long, help_heading = "Measure")]
    pub keep_copies: bool,
    /// Take and print every figure: also mAP and MRR, for which the whole gallery is sorted for every query, precision@K, mAP@K,
    /// nDCG@K, hits by class size, and how well k-means clusters agree with classes (NMI, adjusted Rand index)
    #[arg(long, help_heading = "Measure")]
    pub all_figures: bool,
    /// Identification in which some queries have no image of their class in the gallery, and should be turned away: DIR at FAR
    #[arg(long, help_heading = "Measure")]
    pub open_set: bool,
    /// Measure embeddings cut to their first D dimensions, too: a row each
    #[arg(long, value_delimiter = ',', value_name = "D,D,...", help_heading = "Measure", conflicts_with = "save_run")]
    pub matryoshka: Vec<usize>,
    /// Measure embeddings kept in fewer bytes, too, a row each: int8, binary, or pq and a number of bytes
    #[arg(long, value_delimiter = ',', value_name = "int8,binary,pqN", help_heading = "Measure", conflicts_with_all = ["save_run", "index"])]
    pub storage: Vec<Storage>,
    /// Write the result: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Keep the run, query by query and with d' of all pairs, in a new folder: for report, compare and tabulate
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub save_run: Option<PathBuf>,
}

/// What is to be measured, checked before any work starts.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    search: SearchPlan,
    out: Option<(PathBuf, Kind)>,
    save_run: Option<SaveRun>,
    json: bool,
    threads: usize,
}

#[derive(Debug)]
enum Source {
    Images { data: Request, model: Box<Prepared>, skip_bad: bool, save: Option<PathBuf>, efficiency: bool },
    Kept { path: PathBuf, labels: Option<PathBuf>, dim: Option<usize> },
}

/// The search, its K still open where the data set's own list is to be used.
#[derive(Debug)]
struct SearchPlan {
    metric: Metric,
    index: String,
    ks: Option<Vec<usize>>,
    keep_copies: bool,
    all: bool,
    open_set: bool,
    /// Embeddings as they are, and in less room.
    variants: Vec<Variant>,
}

impl SearchPlan {
    /// The K to measure, checked against the rows: those that were asked for, else those usual ones that there are others
    /// enough for.
    fn check(&self, rows: &[Row], format: Format, notes: &mut Notes) -> Result<Vec<usize>> {
        let ks = match &self.ks {
            Some(ks) => ks.clone(),
            None => {
                let others = deepest(rows);
                let (mut ks, beyond): (Vec<_>, Vec<_>) = format.usual_ks().iter().partition(|&&k| k <= others);
                if ks.is_empty() {
                    ks.push(1);
                } else if !beyond.is_empty() {
                    let beyond: Vec<_> = beyond.iter().map(usize::to_string).collect();
                    notes.add(format!(
                        "Recall@{} left out: each query has only {others} other images to be found among",
                        beyond.join(", @")
                    ));
                }
                ks
            }
        };
        check(rows, &ks)?;
        Ok(ks)
    }
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
        let outputs = [("--out", &args.out), ("--save-run", &args.save_run)];
        let outputs = outputs.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?)));
        args.input.check_places(&[], &outputs.collect::<Vec<_>>())?;
        let out = args.out.as_ref().map(|path| Kind::of("--out", path).map(|kind| (path.clone(), kind))).transpose()?;
        if args.input.embeddings.is_some() {
            args.input.no_images_to_skip()?;
        }
        let source = match (&args.input.embeddings, &args.input.model, &args.input.data.data) {
            (Some(path), _, _) => {
                Source::Kept { path: path.clone(), labels: args.input.labels.clone(), dim: args.input.dim }
            }
            (None, Some(model), Some(data)) => Source::Images {
                data: args.input.data.request(data),
                model: Box::new(args.input.run.prepare(model)?),
                skip_bad: args.input.data.skip_bad,
                save: args.input.save_embeddings.clone(),
                efficiency: args.input.efficiency,
            },
            _ => return Err(Error::Usage("give --model and --data, or --embeddings".into())),
        };
        efficiency::check(args.input.efficiency)?;
        index::check(&args.index)?;
        if args.all_figures && !world().is_alone() {
            return Err(Error::Usage("--all-figures: clusters want all rows in one process".into()));
        }
        let variants = Variant::all(&args.matryoshka, &args.storage);
        variants.iter().try_for_each(|variant| index::check(&variant.factory(&args.index)))?;
        let search = SearchPlan {
            metric: args.metric,
            index: args.index.clone(),
            ks,
            keep_copies: args.keep_copies,
            all: args.all_figures,
            open_set: args.open_set,
            variants,
        };
        let save_run = args.save_run.as_deref().map(SaveRun::plan).transpose()?;
        Ok(Self { source, search, out, save_run, json: args.json, threads: args.input.run.threads()? })
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
        let mut notes = Notes::default();
        let (mut embeddings, ks) = match &self.source {
            Source::Images { data, model, skip_bad, save, efficiency } => {
                let dataset = agree(Dataset::load(data))?;
                notes.extend(&dataset.notes);
                let ks = agree(self.search.check(&rows_of(&dataset), dataset.format, &mut notes))?;
                alike(&dataset, model)?;
                inform(&format!("measures {}", dataset.in_words()));
                let embeddings = self.embed(&dataset, model, *skip_bad, &mut record)?;
                notes.extend(&embeddings.notes);
                if *efficiency {
                    efficiency::record(model, &mut notes, &mut record)?;
                }
                if let Some(path) = save {
                    embeddings.save(path)?;
                    wrote(path);
                }
                if let Some(sentence) = of_first(|| doubt_of(model, dataset, self.threads))? {
                    notes.add(sentence);
                }
                (embeddings, ks)
            }
            Source::Kept { path, labels, dim } => {
                let (embeddings, sha256) = agree(Embeddings::read_part(path, *dim, labels.as_deref()))?;
                notes.extend(&embeddings.notes);
                same("the SHA-256 of the embeddings", &sha256)?;
                record.set("data", path.display().to_string()).set("data_sha256", sha256);
                let ks = agree(self.search.check(&embeddings.rows, Format::Auto, &mut notes))?;
                (embeddings, ks)
            }
        };
        let consequence = if self.search.keep_copies {
            "they count as neighbours"
        } else {
            "they are not among each other's neighbours; --keep-copies counts them"
        };
        describe_copies(&embeddings, (self.search.keep_copies, consequence), &mut notes, &mut record);
        describe_sameness(&embeddings, &mut notes)?;
        if self.search.keep_copies {
            embeddings.rows.iter_mut().for_each(|row| row.image = None);
        }
        let keep = if self.save_run.is_some() { KEPT_NEIGHBOURS } else { usize::from(self.search.open_set) };
        let search = Search { metric: self.search.metric, ks, keep, whole: self.search.all };
        record.set("class_names", class_names(&embeddings));
        agree(self.search.variants.iter().try_for_each(|variant| variant.check(&embeddings)))?;
        let (mut rows, mut details) = (Vec::new(), None);
        for variant in &self.search.variants {
            let mut row = record.clone();
            let (varied, factory) = (variant.of(&embeddings), variant.factory(&self.search.index));
            notes.extend(variant.doubt(&varied).as_slice());
            if search.metric == Metric::Cosine {
                describe_dimension(&varied, &mut notes);
            }
            if search.metric == Metric::Ip && world().is_alone() {
                describe_lengths(&varied, &mut notes);
            }
            row.set("storage", variant.storage.to_string()).set("embedding_bytes", variant.bytes(varied.dim()));
            let searching = Instant::now();
            let measured = measure_over_ranks(&varied, &search, &index::by(&factory))?;
            row.set("seconds_search", searching.elapsed().as_secs_f64());
            describe(&mut row, &varied, (&search, &factory), &measured, self.threads);
            retrieval_figures::record(&measured, &mut row);
            if self.search.open_set {
                agree(retrieval_figures::record_open_set(&measured, &mut row))?;
            }
            if self.search.all {
                retrieval_figures::record_clusters(&varied, search.metric, &mut row)?;
            }
            if self.save_run.is_some() {
                let scores = scores(&varied, &search, &mut row, &mut notes)?;
                let map = Map::of(&varied, search.metric == Metric::Cosine);
                details = Some(Details::Retrieval(Retrieved::new(&varied, &measured, scores, map)));
            }
            row.set("seconds_total", started.elapsed().as_secs_f64());
            rows.push(row);
        }
        rows.iter_mut().for_each(|row| notes.record(row));
        agree(if world().is_first() { self.write(&rows, &search, details, &mut notes, stdout) } else { Ok(()) })?;
        Ok(rows.swap_remove(0))
    }

    /// Writes the results, the run, and the table.
    fn write(
        &self,
        rows: &[Record],
        search: &Search,
        details: Option<Details>,
        notes: &mut Notes,
        stdout: &mut dyn Write,
    ) -> Result<()> {
        if let Some((path, kind)) = &self.out {
            kind.write_results(path, rows)?;
            wrote(path);
        }
        if let Some((folder, details)) = self.save_run.as_ref().zip(details) {
            folder.write(&rows[0], &details)?;
        }
        notes.before_figures();
        let printed = if self.json {
            Record::write_json(rows, stdout)
        } else {
            print(rows, &search.ks, self.search.all, stdout).and_then(|()| match self.search.open_set {
                true => retrieval_figures::print_open_set(&rows[0], stdout),
                false => Ok(()),
            })
        };
        printed.map_err(|e| Error::write("standard output", e))
    }

    fn embed(&self, dataset: &Dataset, model: &Prepared, skip_bad: bool, record: &mut Record) -> Result<Embeddings> {
        let loading = Instant::now();
        let mut embedder = agree(model.open())?;
        same_runtime(&embedder)?;
        describe_model(model, &embedder, record);
        let seconds_load = loading.elapsed().as_secs_f64();
        let embedding = Instant::now();
        let steps = Steps::default();
        let embedded = embed_over_ranks(dataset, &model.recipe, &steps, &mut embedder, self.threads, skip_bad)?;
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
fn scores(
    embeddings: &Embeddings,
    search: &Search,
    record: &mut Record,
    notes: &mut Notes,
) -> Result<Option<Verified>> {
    if search.metric != Metric::Cosine || embeddings.rows.iter().any(|row| row.role != Role::Both) {
        return Ok(None);
    }
    let pairs = pair_count(embeddings.rows.len());
    if pairs > MOST_PAIRS {
        notes.add(format!(
            "d' of all {pairs} pairs is left out of the run, being of more than {MOST_PAIRS}: verify --all-pairs --max-pairs compares them"
        ));
        return Ok(None);
    }
    let comparing = Instant::now();
    let Some(tally) = tally_all(embeddings)? else { return Ok(None) };
    record.set("seconds_compare", comparing.elapsed().as_secs_f64());
    let rates = Rates::of(&tally);
    notes.extend(&rates.doubts());
    record.set("genuine_pairs", Value::Whole(rates.genuine)).set("impostor_pairs", Value::Whole(rates.impostor));
    let wanted = ["d_prime", "eer", "auc", "mu_genuine", "mu_impostor", "sd_genuine", "sd_impostor"];
    for (name, value) in rates.figures().into_iter().filter(|(name, _)| wanted.contains(&name.as_str())) {
        record.set(name, value);
    }
    Ok(Some(Verified::of(&tally, &curve(&tally), 1.0)))
}

fn describe(
    record: &mut Record,
    embeddings: &Embeddings,
    (search, factory): (&Search, &str),
    measured: &Retrieval,
    threads: usize,
) {
    let note = match (measured.index_recall, measured.index_sample) {
        (Some(recall), Some((k, queries))) => {
            format!("APPROXIMATE: finds {recall:.4} of the true {k} nearest ({queries} queries)")
        }
        _ => EXACT.to_owned(),
    };
    let mut present: Vec<usize> = embeddings.rows.iter().map(|row| row.class).collect();
    present.sort_unstable();
    present.dedup();
    record.set("threads", threads).set("metric", search.metric.to_string()).set("index", factory);
    record.set("search", note).set("index_recall", measured.index_recall).set("ties", "by lower row");
    record.set("images", embeddings.rows.len()).set("classes", present.len()).set("dim", embeddings.dim());
    record.set("search_depth", measured.depth);
    record.set("queries", measured.queries).set("gallery", measured.gallery).set("lone_queries", measured.lone_queries);
    for (k, value) in &measured.recall {
        record.set(format!("recall@{k}"), *value);
    }
    record.set("r_precision", measured.r_precision).set("map@r", measured.map_at_r);
}

/// The measures, a row for each way to keep embeddings; before them, where it is wanted, what they were taken on; behind them,
/// where it is wanted, every other figure of the first row.
fn print(rows: &[Record], ks: &[usize], all: bool, stdout: &mut dyn Write) -> std::io::Result<()> {
    let is_measure =
        |name: &str| ["r_precision", "map@r"].contains(&name) || name.starts_with("recall@") && !is_beside(name);
    let counts = ["images", "classes", "queries"];
    let kept = ["dim", "storage", "embedding_bytes"];
    let about = rows[0]
        .pick(|name| (!is_measure(name) && !is_beside(name) && !counts.contains(&name)).then(|| name.to_owned()));
    about.print_what_was_run(stdout)?;
    let beside: &[&str] = if rows.len() > 1 { &kept } else { &counts };
    let row = |row: &Record| {
        let beside = row.pick(|name| beside.contains(&name).then(|| name.to_owned()));
        let mut all = beside;
        row.pick(|name| is_measure(name).then(|| name.to_owned())).iter().for_each(|(name, value)| {
            all.set(name.as_str(), value.clone());
        });
        all
    };
    writeln!(stdout, "{}", Record::text_over(&rows.iter().map(row).collect::<Vec<_>>(), &rows[0]))?;
    // A figure that is not what it seems says so beside it.
    for row in rows {
        if let Some(search) = row.get("search").map(Value::word).filter(|search| search != EXACT) {
            let whose = if rows.len() > 1 {
                let word = |name: &str| row.get(name).map(Value::word).unwrap_or_default();
                format!("{} of {} dimensions: ", word("storage"), word("dim"))
            } else {
                String::new()
            };
            writeln!(stdout, "\n{whose}{search}")?;
        }
    }
    if all {
        retrieval_figures::print(&rows[0], ks, stdout)?;
    }
    efficiency::print(&rows[0], stdout)
}
