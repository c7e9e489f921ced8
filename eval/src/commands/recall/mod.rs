//! The command `recall`: arguments, plan, run, record.

mod arguments;
mod images;
mod own;
mod revisited;
mod search;
mod source;
mod table;
mod templates;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::arguments::{Notes, rows_of};
use super::efficiency;
use super::given::once_each;
use super::retrieval_figures;
use super::seen::seen;
use super::suggest::doubt_of;
use super::variants::Variant;
use super::{alike, describe_list};
use crate::index;
use crate::level;
use crate::process;
use crate::runs::{Details, KEPT_NEIGHBOURS, Layout, SaveRun};
use crate::table::{Kind, Record};
use crate::{Error, Result};
pub use arguments::RecallArgs;
pub(super) use arguments::USUAL;
use pdloss_embed::console::{inform, wrote};
use pdloss_embed::dataset::{Dataset, Format};
use pdloss_embed::embeddings::{Row, rows_sha256};
use pdloss_embed::preprocess::{Corruption, Steps};
use pdloss_embed::ranks::{agree, of_first, same, world};
use pdloss_embed::retrieval::{Search, check};
use search::SearchPlan;
use source::{Held, Memory, Source};
use table::print;
use templates::Protocol;

/// What is to be measured, checked before any work starts.
#[derive(Debug)]
pub struct Plan {
    source: Source,
    which: Which,
    corruptions: Vec<Corruption>,
    search: SearchPlan,
    out: Option<(PathBuf, Kind)>,
    save_run: Option<SaveRun>,
    map: Layout,
    json: bool,
    threads: usize,
}

/// Which images search which.
#[derive(Debug)]
enum Which {
    /// Those of a labelled set.
    Labelled,
    /// Templates of several images.
    Templates(Box<Protocol>),
    /// Those of a ground truth.
    Revisited(Box<revisited::Listed>),
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
        let lists = Protocol::inputs(args);
        let lists: Vec<(&str, &Path)> = lists.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
        args.input.check_places(&lists, &outputs.collect::<Vec<_>>())?;
        let out = args.out.as_ref().map(|path| Kind::of("--out", path).map(|kind| (path.clone(), kind))).transpose()?;
        if args.input.embeddings.is_some() {
            args.input.no_images_to_skip()?;
        }
        let source = match (&args.input.embeddings, &args.input.model, &args.input.data.data) {
            (Some(path), _, _) => {
                let (labels, dim) = (args.input.labels.clone(), args.input.dim);
                Source::Kept { path: path.clone(), labels, dim, memory: Memory::of(args)? }
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
        index::check(&args.index).map_err(|refused| match refused {
            Error::Index { index, problem } => Error::Usage(format!("--index {index}: {problem}")),
            other => other,
        })?;
        level::check()?;
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
            bootstrap: args.intervals.drawn()?,
        };
        let save_run = args.save_run.as_deref().map(SaveRun::plan).transpose()?;
        let which = match (Protocol::of(args)?, revisited::Listed::of(args)?) {
            (Some(protocol), _) => Which::Templates(Box::new(protocol)),
            (None, Some(listed)) => Which::Revisited(Box::new(listed)),
            (None, None) => Which::Labelled,
        };
        let of_kind = |&kind| {
            let of = move |&severity| Corruption { kind, severity, seed: args.corruption_seed };
            args.severities.iter().map(of)
        };
        let corruptions = once_each(args.corruptions.iter().flat_map(of_kind));
        Ok(Self {
            source,
            which,
            corruptions,
            search,
            out,
            save_run,
            map: args.map,
            json: args.json,
            threads: args.input.run.threads()?,
        })
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
        if let Which::Templates(protocol) = &self.which {
            notes.extend(&protocol.doubts);
        }
        let (held, ks) = match &self.source {
            Source::Images { data, model, skip_bad, save, efficiency } => {
                let dataset = match &self.which {
                    Which::Labelled => agree(Dataset::load(data))?,
                    Which::Templates(protocol) => protocol.templates.dataset(&data.path, &data.limits)?,
                    Which::Revisited(listed) => listed.dataset(&data.path, &data.limits)?,
                };
                notes.extend(&dataset.notes);
                notes.extend(&of_first(|| Ok(seen(&model.model().path, &dataset)))?);
                let ks = agree(self.check(&rows_of(&dataset), dataset.format, &mut notes))?;
                let steps = match &self.which {
                    Which::Revisited(listed) => {
                        notes.extend(listed.taken_whole().as_slice());
                        listed.steps(&dataset)?
                    }
                    _ => Steps::default(),
                };
                alike(&dataset, model)?;
                if let Some(dim) = model.model().dim.filter(|_| matches!(self.which, Which::Labelled)) {
                    agree(self.search.fits(&rows_of(&dataset), dim))?;
                }
                let in_words = match &self.which {
                    Which::Labelled => {
                        describe_list(data, &dataset, &mut record);
                        dataset.in_words_of(data)
                    }
                    _ => format!("{} {}, in {}", dataset.items.len(), dataset.part, data.path.display()),
                };
                inform(&format!("measures {in_words}"));
                let mut embeddings = self.embed(&dataset, model, (&steps, *skip_bad), &mut record)?;
                notes.extend(&embeddings.notes);
                if *efficiency {
                    efficiency::record(model, &mut notes, &mut record)?;
                }
                if let Some(path) = save {
                    embeddings.notes = notes.said().to_vec();
                    embeddings.save(path)?;
                    wrote(path);
                }
                if matches!(self.which, Which::Labelled)
                    && let Some(sentence) = of_first(|| doubt_of(model, dataset, self.threads))?
                {
                    notes.add(sentence);
                }
                (Held::Memory(Box::new(embeddings)), ks)
            }
            Source::Kept { path, labels, dim, memory } => {
                let (held, sha256) = agree(Held::read(path, (*dim, labels.as_deref()), *memory, &mut notes))?;
                same("the SHA-256 of the embeddings", &sha256)?;
                record.set("data", path.display().to_string()).set("data_sha256", sha256);
                record.set("rows_sha256", rows_sha256(held.rows(), held.classes()));
                let ks = agree(self.check(held.rows(), Format::Auto, &mut notes))?;
                (held, ks)
            }
        };
        if let Which::Revisited(listed) = &self.which {
            let mut rows = listed.measure(&held, &self.search, &record, &mut notes, self.threads)?;
            rows.iter_mut().for_each(|row| {
                row.set("seconds_total", started.elapsed().as_secs_f64());
                notes.record(row);
            });
            self.write(&rows, &[], None, &mut notes, stdout)?;
            return Ok(rows.swap_remove(0));
        }
        let keep = if self.save_run.is_some() { KEPT_NEIGHBOURS } else { usize::from(self.search.open_set) };
        let search = Search { metric: self.search.metric, ks, keep, whole: self.search.all };
        let (mut rows, mut details) = (Vec::new(), None);
        for (about, held) in self.searched(held)? {
            let mut record = record.clone();
            for (name, value) in about.iter() {
                record.set(name, value.clone());
            }
            details = self.search(held, &search, record, started, &mut rows, &mut notes)?;
        }
        self.corrupted(&search, &record, &mut rows, &mut notes)?;
        rows.iter_mut().for_each(|row| notes.record(row));
        agree(if world().is_first() { self.write(&rows, &search.ks, details, &mut notes, stdout) } else { Ok(()) })?;
        Ok(rows.swap_remove(0))
    }

    /// What is searched, one after the other, and what is recorded of each.
    fn searched(&self, held: Held) -> Result<Vec<(Record, Held)>> {
        let (Which::Templates(protocol), Held::Memory(images)) = (&self.which, &held) else {
            return Ok(vec![(Record::new(), held)]);
        };
        let may_lack = matches!(&self.source, Source::Images { skip_bad: true, .. });
        let searches = protocol.embeddings(images, may_lack)?;
        Ok(searches.into_iter().map(|(about, embeddings)| (about, Held::Memory(Box::new(embeddings)))).collect())
    }

    /// The K to measure at: none where a ground truth has its own.
    fn check(&self, rows: &[Row], format: Format, notes: &mut Notes) -> Result<Vec<usize>> {
        /// Ranks of templates that papers have.
        const USUAL: [usize; 3] = [1, 5, 10];
        let protocol = match &self.which {
            Which::Labelled => return self.search.check(rows, format.usual_ks(), notes),
            Which::Revisited(_) => return Ok(Vec::new()),
            Which::Templates(protocol) => protocol,
        };
        let searches = protocol.searches();
        let smallest = searches.first().ok_or_else(|| Error::Usage("--gallery: wanted a list".into()))?;
        let ks = self.search.check(smallest, &USUAL, notes)?;
        searches[1..].iter().try_for_each(|rows| check(rows, &ks))?;
        Ok(ks)
    }

    /// Writes the results, the run, and the table.
    fn write(
        &self,
        rows: &[Record],
        ks: &[usize],
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
        } else if matches!(self.which, Which::Revisited(_)) {
            revisited::print(rows, stdout)
        } else {
            print(rows, ks, self.search.all, stdout).and_then(|()| {
                // Of one gallery that is kept in several ways, the first says it all.
                let of_galleries = if matches!(self.which, Which::Templates(_)) { rows } else { &rows[..1] };
                let asked = if self.search.open_set { of_galleries } else { &[] };
                asked.iter().try_for_each(|row| retrieval_figures::print_open_set(row, stdout))?;
                retrieval_figures::print_intervals(rows, self.search.all, stdout)
            })
        };
        printed.map_err(|e| Error::write("standard output", e))
    }
}
