//! The command `verify`: pairs of images (a list's, or all of a labelled set) to accuracy, error rates and d'.

mod listed;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ndarray::{Axis, concatenate};

use super::arguments::{Notes, class_names, describe_copies, describe_dimension, describe_sameness};
use super::assess::{Development, FigureArgs, Wanted};
use super::efficiency;
use super::groups::{GroupArgs, Grouping};
use super::outcome::{Outcome, Sinks, VerificationOut};
use super::suggest::doubt_of;
use super::{InputArgs, alike, describe_model, same_runtime};
use crate::metrics::verification::{
    self as similarities, Accuracy, Bootstrap, Decisions, Folds, Interval, SubjectPair, Tally, best_threshold,
    bootstrap, cross_validate, test_at,
};
use crate::pairs::{PairList, Subjects};
use crate::process;
use crate::runs::{Pair, Pairs, Person};
use crate::table::Record;
use crate::{Error, Result};
use clap::Args;
use pdloss_embed::console::{note, wrote};
use pdloss_embed::dataset::{Dataset, Format, Request, Split};
use pdloss_embed::embedder::Prepared;
use pdloss_embed::embeddings::Embeddings;
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::{Landmarks, Steps};
use pdloss_embed::program::Usual;
use pdloss_embed::ranks::{agree, of_first, same, world};

use listed::{Gaps, Listed, folds_of, images_of, score};

const EXAMPLES: &str = "Examples:
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairs.txt --preset face-112
  pdloss-eval verify --model face.onnx --data cplfw.zip --pairs pairs_CPLFW.txt --flip add --bootstrap 1000
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairsDevTest.txt --threshold-pairs pairsDevTrain.txt
  pdloss-eval verify --model face.onnx --data lfw.bin --preset face-112 --plot pictures/
  pdloss-eval verify --model model.onnx --data photos/ --all-pairs --out result.json
  pdloss-eval verify --embeddings faces.npy --all-pairs

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "Scores are cosines. A pair is accepted at score >= threshold; error rates are taken at observed scores. EER is the mean \
    of FMR and FNMR where they are closest. FNMR@FMR takes the smallest threshold whose FMR does not exceed the target, and \
    has no value below 3 / impostor pairs.";

/// More draws move no digit that anybody reads, and take days.
const MOST_DRAWS: usize = 1_000_000;

/// How the embeddings of an image and of its mirror image become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flip {
    /// Their sum
    Add,
    /// One after the other
    Concat,
}

pub(super) const USUAL: Usual = Usual {
    command: "verify",
    calls: &["verify --model FILE.onnx --data PATH --pairs FILE", "verify --model FILE.onnx --data PATH --all-pairs"],
    flags: &[
        "model",
        "data",
        "pairs",
        "all-pairs",
        "preset",
        "flip",
        "align",
        "bootstrap",
        "out",
        "plot",
        "save-run",
        "json",
    ],
};

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct VerifyArgs {
    /// What is embedded, or was
    #[command(flatten)]
    pub input: InputArgs,
    /// List of pairs: LFW's, CPLFW's, or a CSV of path_a, path_b, same[, fold]; insightface's .bin goes to --data alone
    #[arg(long, value_name = "FILE", help_heading = "Pairs")]
    pub pairs: Option<PathBuf>,
    /// Every image against every other of a labelled set
    #[arg(long, help_heading = "Pairs", conflicts_with_all = ["pairs", "threshold_pairs", "skip_missing"])]
    pub all_pairs: bool,
    /// Let copies of an image (files of equal bytes) make pairs with each other
    #[arg(long, help_heading = "Pairs", requires = "all_pairs", conflicts_with = "pairs")]
    pub keep_copies: bool,
    /// Choose the threshold on this list (LFW View 1: pairsDevTrain.txt) instead of on the other folds
    #[arg(long, value_name = "FILE", help_heading = "Pairs", requires = "pairs")]
    pub threshold_pairs: Option<PathBuf>,
    /// Go on without pairs whose images are not there, and count them; folds stay where they are
    #[arg(long, help_heading = "Pairs", requires = "pairs")]
    pub skip_missing: bool,
    /// Embed the mirror image too
    #[arg(long, value_enum, help_heading = "Pairs", conflicts_with = "embeddings")]
    pub flip: Option<Flip>,
    /// Align faces to the 112x112 ArcFace template by five landmarks: CSV of path and x1,y1,...,x5,y5
    #[arg(long, value_name = "FILE.csv", help_heading = "Pairs", conflicts_with = "embeddings")]
    pub align: Option<PathBuf>,
    /// Confidence intervals from this many draws of subjects
    #[arg(long, value_name = "N", help_heading = "Intervals")]
    pub bootstrap: Option<usize>,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Intervals", requires = "bootstrap")]
    pub seed: u64,
    /// Confidence of the intervals
    #[arg(long, value_name = "P", default_value_t = 0.95, help_heading = "Intervals", requires = "bootstrap")]
    pub confidence: f64,
    /// Groups
    #[command(flatten)]
    pub groups: GroupArgs,
    /// Figures
    #[command(flatten)]
    pub figures: FigureArgs,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}

/// What is to be measured, checked before any work starts.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    which: Which,
    keep_copies: bool,
    bootstrap: Option<Bootstrap>,
    wanted: Wanted,
    groups: Option<Grouping>,
    sinks: Sinks,
    threads: usize,
}

#[derive(Debug)]
enum Source {
    Images {
        data: PathBuf,
        request: Box<Request>,
        model: Box<Prepared>,
        how: How,
        save: Option<PathBuf>,
        efficiency: bool,
    },
    Kept {
        path: PathBuf,
        labels: Option<PathBuf>,
        dim: Option<usize>,
    },
}

/// How images become embeddings, beside the model's own recipe.
#[derive(Debug)]
struct How {
    flip: Option<Flip>,
    align: Option<(PathBuf, Landmarks)>,
    skip_bad: bool,
}

#[derive(Debug)]
enum Which {
    All,
    Listed(Box<Listed>),
}

impl Plan {
    /// Checks everything that can be checked before embedding starts.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other or the data; those of the model, its recipe and the lists.
    pub fn new(args: &VerifyArgs) -> Result<Self> {
        let usage = |text: &str| Err(Error::Usage(text.into()));
        let level = args.confidence;
        if !(level > 0.0 && level < 1.0) {
            return usage("--confidence: wanted a number between 0 and 1, such as 0.95");
        }
        if let Some(draws) = args.bootstrap.filter(|draws| !(2..=MOST_DRAWS).contains(draws)) {
            return Err(Error::Usage(format!("--bootstrap {draws}: wanted 2 to {MOST_DRAWS} draws; 1000 is usual")));
        }
        let lists = [("--pairs", &args.pairs), ("--threshold-pairs", &args.threshold_pairs), ("--align", &args.align)];
        let lists: Vec<_> = lists.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?))).collect();
        let lists: Vec<_> = lists.into_iter().chain(args.groups.input()).collect();
        let outputs: Vec<_> = args.results.outputs().into_iter().chain(args.groups.output()).collect();
        args.input.check_places(&lists, &outputs)?;
        let data = args.input.data.data.as_deref();
        let brought = data.filter(|d| PairList::brings_images(d));
        let list = match (&args.pairs, brought) {
            (Some(_), Some(bin)) => {
                return Err(Error::Usage(format!("--pairs: {} brings its own pairs", bin.display())));
            }
            (None, Some(_)) if args.all_pairs => {
                return usage("--all-pairs: insightface's .bin has pairs, but no labels");
            }
            (Some(path), None) => Some(path.as_path()),
            (None, brought) => brought,
        };
        let which = match list {
            None if args.all_pairs => Which::All,
            Some(_) if !world().is_alone() => {
                return usage("a list of pairs is compared by one process; several ranks compare --all-pairs");
            }
            None => return usage("which pairs? Give --pairs FILE, or --all-pairs for every image against every other"),
            Some(path) => {
                let training = args
                    .threshold_pairs
                    .as_ref()
                    .map(|p| PairList::read(p).map(|list| (p.clone(), list)))
                    .transpose()?;
                let list = PairList::read(path)?;
                let skip_bad = args.input.data.skip_bad;
                let gaps = Gaps { missing: args.skip_missing, itself: skip_bad, contrary: skip_bad };
                Which::Listed(Box::new(Listed { path: path.into(), list, training, gaps }))
            }
        };
        if args.all_pairs && args.input.embeddings.is_some() {
            args.input.no_images_to_skip()?;
        }
        let only_labelled = args.input.data.format != Format::Auto
            || args.input.data.split != Split::Protocol
            || args.input.data.classes.is_some()
            || args.input.data.label.is_some()
            || args.input.data.root.is_some();
        if only_labelled && !args.all_pairs {
            return usage(
                "--format, --split, --classes, --label and --root choose images of a labelled set; a list of pairs names its own",
            );
        }
        let source = match (&args.input.embeddings, &args.input.model, data) {
            (Some(path), _, _) => {
                Source::Kept { path: path.clone(), labels: args.input.labels.clone(), dim: args.input.dim }
            }
            (None, Some(model), Some(data)) => {
                let align = args
                    .align
                    .as_ref()
                    .map(|p| Landmarks::read(p).map(|landmarks| (p.clone(), landmarks)))
                    .transpose()?;
                Source::Images {
                    data: data.into(),
                    request: Box::new(args.input.data.request(data)),
                    model: Box::new(args.input.run.prepare(model)?),
                    how: How { flip: args.flip, align, skip_bad: args.input.data.skip_bad },
                    save: args.input.save_embeddings.clone(),
                    efficiency: args.input.efficiency,
                }
            }
            _ => return usage("give --model and --data, or --embeddings"),
        };
        efficiency::check(args.input.efficiency)?;
        let bootstrap = args.bootstrap.map(|replicates| Bootstrap { replicates, seed: args.seed, level });
        let (sinks, threads) = (Sinks::plan(&args.results)?, args.input.run.threads()?);
        let wanted = Wanted::plan(&args.figures)?;
        let groups = Grouping::plan(&args.groups)?;
        Ok(Self { source, which, keep_copies: args.keep_copies, bootstrap, wanted, groups, sinks, threads })
    }

    /// Embeds (or reads embeddings), compares, and writes the tables to `stdout`.
    ///
    /// # Errors
    /// Whatever stops the run; no result file is then written.
    pub fn run(&self, stdout: &mut dyn Write) -> Result<Record> {
        process::set_threads(self.threads);
        let started = Instant::now();
        let mut record = Record::new();
        record.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "verification");
        let mut notes = Notes::default();
        let (mut embeddings, there) = self.embeddings(&mut record, &mut notes)?;
        describe_sameness(&embeddings, &mut notes)?;
        describe_dimension(&embeddings, &mut notes);
        if let Which::All = self.which {
            let consequence =
                if self.keep_copies { "they make pairs" } else { "they make no pairs; --keep-copies lets them" };
            describe_copies(&embeddings, consequence, &mut notes, &mut record);
            if self.keep_copies {
                embeddings.rows.iter_mut().for_each(|row| row.image = None);
            }
            agree(self.bootstrap_holds(embeddings.rows.len()))?;
        }
        let comparing = Instant::now();
        // Pairs that are too many to keep are counted by all ranks, each of which has a part of the rows; few are kept by the first.
        let is_counted = similarities::pair_count(embeddings.rows.len()) > similarities::KEPT_PAIRS;
        let is_streamed = matches!(self.which, Which::All) && is_counted;
        let counted = if is_streamed { similarities::count_all(&embeddings)? } else { None };
        let embeddings = if is_streamed { Some(embeddings) } else { agree(embeddings.whole())? };
        let Some(embeddings) = embeddings.filter(|_| world().is_first()) else { return agree(Ok(record)) };
        agree(self.compare(&embeddings, counted, &there, record, notes, (started, comparing), stdout))
    }

    /// Compares the pairs, where they are not `counted` already, and writes what comes of it.
    #[allow(clippy::too_many_arguments)] // all are of one run
    fn compare(
        &self,
        embeddings: &Embeddings,
        counted: Option<Tally>,
        there: &[String],
        mut record: Record,
        mut notes: Notes,
        (started, comparing): (Instant, Instant),
        stdout: &mut dyn Write,
    ) -> Result<Record> {
        record
            .set("metric", "cosine")
            .set("threads", self.threads)
            .set("dim", embeddings.dim())
            .set("images", embeddings.rows.len());
        let outcome = match &self.which {
            Which::All => {
                record.set("class_names", class_names(embeddings));
                self.all_pairs(embeddings, counted, &mut record, &mut notes)?
            }
            Which::Listed(listed) => self.listed(listed, embeddings, there, &mut record, &mut notes)?,
        };
        notes.record(&mut record);
        if let Some(how) = &self.bootstrap {
            record.set(
                "bootstrap",
                format!("{} draws of subjects, percentile interval of {}", how.replicates, how.level),
            );
            record.set("bootstrap_seed", how.seed.to_string());
        }
        record
            .set("seconds_compare", comparing.elapsed().as_secs_f64())
            .set("seconds_total", started.elapsed().as_secs_f64());
        notes.before_figures();
        outcome.report(record, &self.sinks, stdout)
    }

    /// The embeddings, and the names of all images that were there, of which bad ones may have been left out.
    fn embeddings(&self, record: &mut Record, notes: &mut Notes) -> Result<(Embeddings, Vec<String>)> {
        match &self.source {
            Source::Kept { path, labels, dim } => {
                let embeddings = agree(Embeddings::read(path, *dim, labels.as_deref()))?;
                notes.extend(&embeddings.notes);
                let sha256 = embeddings.sha256();
                same("the SHA-256 of the embeddings", &sha256)?;
                record.set("data", path.display().to_string()).set("data_sha256", sha256);
                let there = embeddings.rows.iter().map(|row| row.name.clone()).collect();
                Ok((embeddings.share(), there))
            }
            Source::Images { data, request, model, how, save, efficiency } => {
                let dataset = match &self.which {
                    Which::All => {
                        let dataset = agree(Dataset::load(request))?;
                        agree(both_kinds(&dataset))?;
                        agree(self.bootstrap_holds(dataset.items.len()))?;
                        alike(&dataset, model)?;
                        dataset
                    }
                    Which::Listed(listed) => images_of(listed, data, &request.limits)?,
                };
                notes.extend(&dataset.notes);
                if let Some((path, landmarks)) = &how.align {
                    notes.extend(landmarks.doubt().map(|said| format!("{}: {said}", path.display())).as_slice());
                }
                let embeddings = embed(&dataset, model, how, self.threads, record)?;
                notes.extend(&embeddings.notes);
                if *efficiency {
                    efficiency::record(model, notes, record)?;
                }
                if let Some(path) = save {
                    embeddings.save(path)?;
                    wrote(path);
                }
                let there = dataset.items.iter().map(|item| item.name.clone()).collect();
                if how.align.is_none()
                    && let Some(sentence) = of_first(|| doubt_of(model, dataset, self.threads))?
                {
                    notes.add(sentence);
                }
                Ok((embeddings, there))
            }
        }
    }

    /// Model and data in words, for pictures.
    fn title(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let pairs = match &self.which {
            Which::All => "all pairs".to_owned(),
            Which::Listed(listed) => name(&listed.path),
        };
        match &self.source {
            Source::Images { data, model, .. } => format!("{}, {}, {pairs}", name(&model.model().path), name(data)),
            Source::Kept { path, .. } => format!("{}, {pairs}", name(path)),
        }
    }

    fn all_pairs(
        &self,
        embeddings: &Embeddings,
        counted: Option<Tally>,
        record: &mut Record,
        notes: &mut Notes,
    ) -> Result<Outcome> {
        let mut present: Vec<usize> = embeddings.rows.iter().map(|row| row.class).collect();
        present.sort_unstable();
        present.dedup();
        record.set("pairs", "all against all").set("subjects", present.len());
        let kept = counted.is_none();
        record.set("scores", if kept { "float64" } else { "float32 products, counted on a grid of 2^-24" });
        if let Some(counted) = counted {
            let outcome = Outcome::new(counted, self.title(), "cosine", false);
            // Each of its figures goes over the whole grid of scores.
            return Ok(if self.wanted.all { outcome.assessed(&self.wanted, false, None) } else { outcome });
        }
        let pairs = similarities::keep_all(embeddings)?;
        let tally = similarities::tally(&pairs)?;
        let intervals = self.intervals(&pairs, embeddings.classes.len(), None, None)?;
        let names: Vec<String> = embeddings.rows.iter().map(|row| row.name.clone()).collect();
        let subjects = (&pairs[..], embeddings.classes.len());
        let how = self.bootstrap.as_ref();
        let grouped = self
            .groups
            .as_ref()
            .map(|groups| groups.of(&names, similarities::all_rows(embeddings), subjects, &tally, how, notes));
        let grouped = grouped.transpose()?;
        let kept = self.sinks.keep_pairs().then(|| Pairs::of_all(embeddings, &pairs));
        let outcome = Outcome::new(tally, self.title(), "cosine", false).assessed(&self.wanted, false, None);
        Ok(outcome.with_intervals(intervals).with_groups(grouped).with_pairs(kept))
    }

    /// Intervals and groups need all pairs in memory.
    fn bootstrap_holds(&self, images: usize) -> Result<()> {
        let (count, most) = (similarities::pair_count(images), similarities::KEPT_PAIRS);
        let flag = match (&self.bootstrap, &self.groups) {
            _ if count <= most => return Ok(()),
            (Some(_), _) => "--bootstrap",
            (None, Some(_)) => "--groups",
            (None, None) => return Ok(()),
        };
        Err(Error::Usage(format!(
            "{flag}: wants its pairs kept, which it does up to {most}; {images} images make {count}. Take fewer images (--classes), a list of pairs, or do without"
        )))
    }

    fn intervals(
        &self,
        pairs: &[SubjectPair],
        subjects: usize,
        right: Option<&[bool]>,
        development: Option<&Development>,
    ) -> Result<Vec<Interval>> {
        let Some(how) = &self.bootstrap else { return Ok(Vec::new()) };
        // Those of every figure take twice as long.
        let asked = self.wanted.all.then(|| self.wanted.asked(false, development));
        bootstrap(pairs, subjects, right, asked.as_ref(), how)
    }

    fn listed(
        &self,
        listed: &Listed,
        embeddings: &Embeddings,
        there: &[String],
        record: &mut Record,
        notes: &mut Notes,
    ) -> Result<Outcome> {
        let list = &listed.list;
        let scored = score(&listed.path, list, embeddings, there, listed.gaps)?;
        if scored.copies > 0 {
            notes.add(format!(
                "{} of the {} pairs of {} are two copies of one image (files of equal bytes); they count",
                scored.copies,
                scored.scores.len(),
                listed.path.display()
            ));
        }
        if scored.itself > 0 {
            notes.add(format!("left out {} pairs of an image with itself", scored.itself));
        }
        if scored.contrary > 0 {
            notes.add(format!("left out {} pairs that are called both genuine and impostor", scored.contrary));
        }
        if scored.again > 0 {
            let (again, path) = (scored.again, listed.path.display());
            notes.add(format!(
                "{again} pairs of {path} are listed again, in either order; each counts as often as it is listed"
            ));
        }
        notes.extend(&list.notes);
        if let Some((_, training)) = &listed.training {
            notes.extend(&training.notes);
        }
        let subjects = Subjects::find(&list.images, &list.pairs);
        notes.extend(&subjects.doubts);
        record.set("pairs", listed.path.display().to_string()).set("pairs_sha256", list.sha256.as_str());
        record.set("pairs_format", list.format).set("pairs_listed", list.pairs.len());
        record.set("pairs_without_image", scored.missing).set("pairs_with_bad_image", scored.bad);
        record.set("pairs_with_itself", scored.itself).set("pairs_of_copies", scored.copies);
        record.set("subjects", subjects.names.len()).set("subjects_by", subjects.by).set("scores", "float64");
        let folds = folds_of(list, &scored.kept);
        notes.extend(folds.as_ref().filter(|_| listed.training.is_none()).and_then(Folds::doubt).as_slice());
        let on = Decisions { scores: &scored.scores, same: &scored.same };
        let mut development = None;
        let accuracy = match (&listed.training, &folds) {
            (Some((path, training)), _) => {
                let trained = score(path, training, embeddings, there, listed.gaps)?;
                let shared = scored.shared(&trained);
                if shared > 0 {
                    notes.add(format!(
                        "{shared} pairs are in both {} and {}: the threshold was chosen on pairs that it is tested on",
                        listed.path.display(),
                        path.display()
                    ));
                }
                let threshold = best_threshold(&Decisions { scores: &trained.scores, same: &trained.same });
                let of = |same: bool| {
                    let pairs = trained.scores.iter().zip(&trained.same);
                    pairs.filter(|(_, of)| **of == same).map(|(score, _)| *score).collect::<Vec<_>>()
                };
                match Tally::of_scores(&of(true), &of(false)) {
                    Ok(tally) => development = Some(Development { tally, name: path.display().to_string() }),
                    Err(error) => notes.add(format!("no HTER, for {} has {error}", path.display())),
                }
                record
                    .set("threshold_pairs", path.display().to_string())
                    .set("threshold_pairs_sha256", training.sha256.as_str());
                let listed_folds =
                    folds.as_ref().filter(|f| f.division == crate::metrics::verification::Division::Listed);
                let accuracy = test_at(&on, listed_folds, threshold);
                let words = format!(
                    "{}, threshold chosen on {} pairs of {}",
                    accuracy.folds.len(),
                    trained.scores.len(),
                    path.display()
                );
                Some((accuracy, words))
            }
            (None, Some(folds)) => Some((cross_validate(&on, folds)?, folds.describe())),
            (None, None) => {
                notes.add("no accuracy: folds need at least two genuine and two impostor pairs");
                None
            }
        };
        let pair = |(&at, &score): (&usize, &f64)| {
            let pair = &list.pairs[at];
            SubjectPair { score, a: subjects.of[pair.a], b: subjects.of[pair.b], same: pair.same }
        };
        let pairs: Vec<SubjectPair> = scored.kept.iter().zip(&scored.scores).map(pair).collect();
        let right = accuracy.as_ref().map(|(accuracy, _)| right(accuracy, folds.as_ref(), &on));
        let intervals = self.intervals(&pairs, subjects.names.len(), right.as_deref(), development.as_ref())?;
        let tally = similarities::tally(&pairs)?;
        let of_pairs = scored.kept.iter().map(|&at| (list.pairs[at].a, list.pairs[at].b));
        let (counted, how) = ((&pairs[..], subjects.names.len()), self.bootstrap.as_ref());
        let grouped =
            self.groups.as_ref().map(|groups| groups.of(&scored.names, of_pairs, counted, &tally, how, notes));
        let grouped = grouped.transpose()?;
        let kept = self.sinks.keep_pairs().then(|| {
            let person = |(name, &subject): (String, &u32)| {
                let subject = subjects.names[subject as usize].clone();
                Person { name, subject }
            };
            let images = scored.names.into_iter().zip(&subjects.of).map(person).collect();
            let several = accuracy.as_ref().is_some_and(|(accuracy, _)| accuracy.folds.len() > 1);
            let pair = |(at, (&listed, &score)): (usize, (&usize, &f64))| {
                let number = |n: usize| u32::try_from(n).expect("fewer than 2^32 of them fit in memory");
                let listed = &list.pairs[listed];
                let fold = folds.as_ref().filter(|_| several).map(|folds| number(folds.of[at]));
                let right = right.as_ref().map(|right| right[at]);
                Pair { a: number(listed.a), b: number(listed.b), same: listed.same, score, fold, right }
            };
            Pairs { images, pairs: scored.kept.iter().zip(&scored.scores).enumerate().map(pair).collect() }
        });
        Ok(Outcome::new(tally, self.title(), "cosine", false)
            .assessed(&self.wanted, false, development.as_ref())
            .with_accuracy(accuracy)
            .with_intervals(intervals)
            .with_groups(grouped)
            .with_pairs(kept))
    }
}

/// Whether each pair is decided rightly at its fold's threshold.
fn right(accuracy: &Accuracy, folds: Option<&Folds>, on: &Decisions<'_>) -> Vec<bool> {
    let threshold = |at: usize| match folds {
        Some(folds) if accuracy.folds.len() == folds.count => accuracy.folds[folds.of[at]].threshold,
        _ => accuracy.folds[0].threshold,
    };
    on.scores.iter().zip(on.same).enumerate().map(|(at, (&score, &same))| (score >= threshold(at)) == same).collect()
}

/// All pairs of a labelled set are genuine and impostor ones.
fn both_kinds(dataset: &Dataset) -> Result<()> {
    let mut counts = vec![0_u64; dataset.classes.len()];
    dataset.items.iter().for_each(|item| counts[item.class] += 1);
    let present = counts.iter().filter(|&&n| n > 0).count();
    if present > 1 && counts.iter().any(|&n| n > 1) {
        return Ok(());
    }
    Err(Error::data(
        dataset.source.path(),
        format!(
            "{} images of {present} classes make no {} pairs; verification needs both kinds",
            dataset.items.len(),
            if present > 1 { "genuine" } else { "impostor" }
        ),
    ))
}

/// Embeds every image, and its mirror image where that is wanted.
fn embed(dataset: &Dataset, model: &Prepared, how: &How, threads: usize, record: &mut Record) -> Result<Embeddings> {
    let names: Vec<&str> = dataset.items.iter().map(|item| item.name.as_str()).collect();
    let align = agree(how.align.as_ref().map(|(_, landmarks)| landmarks.under(&names).map(Arc::new)).transpose())?;
    let loading = Instant::now();
    let mut embedder = agree(model.open())?;
    same_runtime(&embedder)?;
    describe_model(model, &embedder, record);
    record.set(
        "align",
        how.align.as_ref().map(|(path, _)| format!("five landmarks of {}, ArcFace template 112x112", path.display())),
    );
    let flip = match how.flip {
        None => "none",
        Some(Flip::Add) => "add: sum of both embeddings",
        Some(Flip::Concat) => "concat: both embeddings, one after the other",
    };
    record.set("flip", flip);
    let seconds_load = loading.elapsed().as_secs_f64();
    let started = Instant::now();
    let steps = Steps { align, mirror: false };
    let embedded = embed_over_ranks(dataset, &model.recipe, &steps, &mut embedder, threads, how.skip_bad)?;
    let mut embeddings = embedded.embeddings;
    if let Some(flip) = how.flip {
        let steps = Steps { mirror: true, ..steps };
        let mirrored =
            embed_over_ranks(dataset, &model.recipe, &steps, &mut embedder, threads, how.skip_bad)?.embeddings;
        let matrix = match flip {
            Flip::Add => &embeddings.matrix + &mirrored.matrix,
            Flip::Concat => concatenate(Axis(1), &[embeddings.matrix.view(), mirrored.matrix.view()])
                .map_err(|e| Error::Embeddings(format!("mirror images: {e}")))?,
        };
        embeddings.matrix = matrix.as_standard_layout().into_owned();
        agree(embeddings.check())?;
    }
    let seconds = started.elapsed().as_secs_f64();
    embedded.skipped.iter().for_each(|(_, reason)| note(&format!("skipped: {reason}")));
    let skipped: Vec<_> = embedded.skipped.iter().map(|(name, _)| name.as_str()).collect();
    record.set("data", dataset.source.path().display().to_string()).set("data_sha256", embedded.data_sha256);
    record.set("format", dataset.format.as_str()).set("part", dataset.part.as_str());
    record.set("skipped", skipped.len()).set("skipped_images", (!skipped.is_empty()).then(|| skipped.join("; ")));
    record.set("seconds_load", seconds_load).set("seconds_embed", seconds);
    record.set("images_per_second", embeddings.rows.len() as f64 / seconds);
    Ok(embeddings)
}
