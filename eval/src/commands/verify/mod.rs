//! The command `verify`: pairs of images (a list's, or all of a labelled set) to accuracy, error rates and d'.

mod arguments;
mod doubles;
mod figures;
mod images;
mod listed;
mod templates;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::arguments::{Notes, class_names, describe_copies, describe_dimension, describe_sameness};
use super::assess::Wanted;
use super::efficiency;
use super::groups::Grouping;
use super::outcome::Sinks;
use crate::metrics::verification::{self as similarities, Bootstrap, Tally};
use crate::pairs::PairList;
use crate::process;
use crate::table::{Record, Value};
use crate::{Error, Result};
use pdloss_embed::dataset::{Format, Split};
use pdloss_embed::embeddings::Embeddings;
use pdloss_embed::preprocess::Landmarks;
use pdloss_embed::ranks::{agree, world};

pub(super) use arguments::USUAL;
pub use arguments::{Flip, VerifyArgs};
use doubles::Gaps;
use images::{How, Source};
use listed::Listed;
use templates::OfTemplates;

/// What is to be measured, checked before any work starts.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    which: Which,
    max_pairs: u64,
    keep_copies: bool,
    bootstrap: Option<Bootstrap>,
    wanted: Wanted,
    groups: Option<Grouping>,
    sinks: Sinks,
    threads: usize,
}

#[derive(Debug)]
enum Which {
    All,
    Listed(Box<Listed>),
    Templates(Box<OfTemplates>),
}

impl Plan {
    /// Checks everything that can be checked before embedding starts.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that contradict each other or the data; those of the model, its recipe and the lists.
    pub fn new(args: &VerifyArgs) -> Result<Self> {
        let usage = |text: &str| Err(Error::Usage(text.into()));
        let bootstrap = args.intervals.drawn()?;
        let lists = [
            ("--pairs", &args.pairs),
            ("--templates", &args.templates),
            ("--threshold-pairs", &args.threshold_pairs),
            ("--align", &args.align),
        ];
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
        let skip_bad = args.input.data.skip_bad;
        let gaps = Gaps { missing: args.skip_missing, itself: skip_bad, contrary: skip_bad };
        let which = match list {
            None if args.all_pairs => Which::All,
            Some(_) if !world().is_alone() => {
                return usage("a list of pairs is compared by one process; several ranks compare --all-pairs");
            }
            None => return usage("which pairs? Give --pairs FILE, or --all-pairs for every image against every other"),
            Some(path) if args.templates.is_some() => {
                let templates = args.templates.as_deref().unwrap_or(path);
                let read = OfTemplates::read(templates, path, gaps)?;
                read.few_enough(args.intervals.bootstrap.is_some())?;
                Which::Templates(Box::new(read))
            }
            Some(path) => {
                let training = args
                    .threshold_pairs
                    .as_ref()
                    .map(|p| PairList::read(p).map(|list| (p.clone(), list)))
                    .transpose()?;
                let list = PairList::read(path)?;
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
        let (sinks, threads) = (Sinks::plan(&args.results)?, args.input.run.threads()?);
        let wanted = Wanted::plan(&args.figures)?;
        let groups = Grouping::plan(&args.groups)?;
        let (max_pairs, keep_copies) = (args.max_pairs.unwrap_or(similarities::MOST_PAIRS), args.keep_copies);
        Ok(Self { source, which, max_pairs, keep_copies, bootstrap, wanted, groups, sinks, threads })
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
        describe_sameness(embeddings.rows.len(), embeddings.alike_over_ranks()?, &mut notes);
        describe_dimension(embeddings.dim(), &mut notes);
        if let Which::All = self.which {
            let consequence =
                if self.keep_copies { "they make pairs" } else { "they make no pairs; --keep-copies lets them" };
            describe_copies(&embeddings.rows, (self.keep_copies, consequence), &mut notes, &mut record);
            if self.keep_copies {
                embeddings.rows.iter_mut().for_each(|row| row.image = None);
            }
            agree(self.few_enough(embeddings.rows.len()))?;
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
                record.set("class_names", class_names(&embeddings.rows, &embeddings.classes));
                self.all_pairs(embeddings, counted, &mut record, &mut notes)?
            }
            Which::Listed(listed) => self.listed(listed, embeddings, there, &mut record, &mut notes)?,
            Which::Templates(listed) => self.templates(listed, embeddings, &mut record, &mut notes)?,
        };
        notes.record(&mut record);
        if let Some(how) = &self.bootstrap {
            record.set(
                "bootstrap",
                format!("{} draws of subjects, percentile interval of {}", how.replicates, how.level),
            );
            record.set("bootstrap_seed", Value::Whole(how.seed));
        }
        record
            .set("seconds_compare", comparing.elapsed().as_secs_f64())
            .set("seconds_total", started.elapsed().as_secs_f64());
        notes.before_figures();
        outcome.report(record, &self.sinks, stdout)
    }

    /// Model and data in words, for pictures.
    fn title(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let pairs = match &self.which {
            Which::All => "all pairs".to_owned(),
            Which::Listed(listed) => name(&listed.path),
            Which::Templates(listed) => name(&listed.path),
        };
        match &self.source {
            Source::Images { data, model, .. } => format!("{}, {}, {pairs}", name(&model.model().path), name(data)),
            Source::Kept { path, .. } => format!("{}, {pairs}", name(path)),
        }
    }

    /// Whether images that are listed may have been left out, being bad.
    fn may_lack_images(&self) -> bool {
        matches!(&self.source, Source::Images { how, .. } if how.skip_bad)
    }

    /// All pairs must be few enough for the time that they take, and for memory where intervals or groups need them there.
    fn few_enough(&self, images: usize) -> Result<()> {
        let (count, most) = (similarities::pair_count(images), similarities::KEPT_PAIRS);
        if count > self.max_pairs {
            return Err(Error::Usage(format!(
                "--all-pairs: {images} images make {count} pairs, more than --max-pairs {}; take fewer images (--classes, --split), a \
                 list of pairs, or raise it: on one core some 10 to 100 million are compared a second",
                self.max_pairs
            )));
        }
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
}
