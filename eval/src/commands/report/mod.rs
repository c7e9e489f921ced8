//! The command `report`: kept runs as one HTML page that needs nothing beside it.
//!
//! What is shown is put together here and in the modules below; `page.html` says how it stands on the page, `page.css` how
//! it looks, and `page.js` reads charts, sorts tables and changes the theme (without it the page is whole, but still).

mod about;
mod changed_pairs;
mod changes;
mod chart;
mod confusion;
mod curves;
mod decisions;
mod differences;
mod gallery;
mod groups;
mod histograms;
mod leaders;
mod looks;
mod map;
mod mistakes;
mod progress;
mod thumbnails;
mod ticks;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;

use clap::Args;

use crate::{Error, Result};
use pdloss_embed::console::{note, wrote};
use pdloss_embed::files::{can_write, distinct, ending, write_atomically};
use pdloss_embed::program::Usual;

use super::tabulate;
use crate::plot::scale::short;
use crate::runs::{Details, Files, Run};
use crate::table::{Cell, Record, Sheet, Value};
use thumbnails::Pictures;

const EXAMPLES: &str = "Examples:
  pdloss-eval recall --model model.onnx --data CUB_200_2011 --save-run runs/cub
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairs.txt \\
      --save-run runs/lfw
  pdloss-eval report runs/cub runs/lfw --out report.html

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "The page is one file that needs no network. Results that are files show in the table alone; folders bring their curves, \
    galleries and mistakes.";

pub(super) const USUAL: Usual =
    Usual { command: "report", calls: &["report RESULT... --out PAGE.html"], flags: &["results", "out", "images"] };

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct ReportArgs {
    /// Folders that --save-run or `pdloss train` wrote, or result files (.json, .csv, .parquet)
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "PAGE.html")]
    pub out: PathBuf,
    /// Folder or archive that the images are in now [default: the data that each run names]
    #[arg(long, value_name = "PATH")]
    pub images: Option<PathBuf>,
    /// Leave pictures out
    #[arg(long, conflicts_with = "images")]
    pub no_images: bool,
    /// Title of the page
    #[arg(long, value_name = "TEXT", default_value = "Embedder report")]
    pub title: String,
}

/// A run and what it is called on the page.
struct Named<'a> {
    name: String,
    /// What its data is called; nothing, where it does not say.
    dataset: String,
    /// What tells its data from others'.
    data: String,
    run: &'a Run,
}

impl Named<'_> {
    fn number(&self, column: &str) -> Option<f64> {
        self.run.records[0].get(column).and_then(Value::number)
    }

    fn word(&self, column: &str) -> String {
        self.run.records[0].get(column).map(Value::word).unwrap_or_default()
    }
}

/// A table, as it stands on the page.
#[derive(Debug, Serialize)]
struct Table {
    caption: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Can be sorted by its columns: its rows are not what stands side by side.
    sortable: bool,
}

impl Table {
    fn new(caption: &str, columns: impl Iterator<Item = String>, rows: Vec<Vec<Cell>>) -> Self {
        Self { caption: caption.into(), columns: columns.collect(), rows, sortable: true }
    }

    /// Few runs with many figures: a run a column, so that all of it is seen at once.
    fn turned(self) -> Self {
        let mut lines = self.columns.into_iter().enumerate().map(|(at, name)| {
            (name.clone(), [word(&name)].into_iter().chain(self.rows.iter().map(|row| row[at].clone())).collect())
        });
        let columns = lines.next().map(|(_, cells): (String, Vec<Cell>)| cells).unwrap_or_default();
        Self {
            caption: self.caption,
            columns: columns.into_iter().map(|cell| cell.text).collect(),
            rows: lines.map(|(_, cells)| cells).collect(),
            sortable: false,
        }
    }
}

/// Figures beyond which a table of few runs is turned.
const WIDE: usize = 9;
/// Runs that stand side by side in a turned table.
const SIDE_BY_SIDE: usize = 5;

/// A cell of words.
fn word(text: &str) -> Cell {
    Cell { text: text.into(), ..Cell::default() }
}

/// A cell of a number, worded.
fn figure(text: String) -> Cell {
    Cell { text, number: true, best: false }
}

/// One run's part of the page.
#[derive(Debug, Serialize)]
struct Section {
    name: String,
    /// What of its images could not be had.
    notes: Vec<String>,
    /// What the EER's threshold decides, and counts by threshold for the page's script.
    decisions: Option<(String, String)>,
    galleries: Vec<gallery::Gallery>,
    groups: Option<Table>,
    worst: Option<Table>,
    mixed: Option<confusion::Mixed>,
    about: Table,
}

/// Reads all results and writes the page.
///
/// # Errors
/// [`Error::Usage`] for a page that is no .html file; those of reading results and of writing. Images that cannot be had
/// are left out, counted and said, on the page too.
pub fn run(args: &ReportArgs) -> Result<()> {
    if !["html", "htm"].contains(&ending(&args.out).as_str()) {
        return Err(Error::Usage(format!("--out {}: wanted a file that ends in .html", args.out.display())));
    }
    can_write("--out", &args.out)?;
    for result in &args.results {
        distinct(&[("RESULT", result), ("--out", &args.out)])?;
    }
    let mut runs = args.results.iter().map(|path| Run::read(path)).collect::<Result<Vec<_>>>()?;
    tabulate::know_images(&mut runs);
    let named = named(&runs);
    let mut notes = vec![Vec::new(); named.len()];
    let opened = named.iter().zip(&mut notes).map(|(run, notes)| wanted_pictures(run, args, notes));
    let mut opened = opened.collect::<Result<Vec<_>>>()?;
    let differences = differences::all(&named, &mut opened);
    let maps = map::all(&named, &mut opened);
    let sections: Vec<Section> = named
        .iter()
        .zip(&mut opened)
        .zip(notes)
        .map(|((run, pictures), notes)| section(run, pictures, notes))
        .collect();
    let charts: Vec<chart::Chart> = curves::all(&named).into_iter().chain(progress::all(&named)).collect();
    let html = render(&args.title, &date(&args.results), &named, (&differences, &charts, &maps, &sections))
        .map_err(|e| Error::write(&args.out, std::io::Error::other(format!("{e:#}"))))?;
    write_atomically(&args.out, |file| file.write_all(html.as_bytes()))?;
    wrote(&args.out);
    Ok(())
}

/// Runs by their folders' or files' names; by their paths, where these are not distinct.
fn named<'r>(runs: &'r [Run]) -> Vec<Named<'r>> {
    let names: Vec<String> = runs.iter().map(Run::name).collect();
    let name = |(at, run): (usize, &'_ Run)| {
        let alone = names.iter().filter(|name| **name == names[at]).count() == 1;
        if alone { names[at].clone() } else { run.path.display().to_string() }
    };
    let named = |(at, run): (usize, &'r Run)| {
        let name = name((at, run));
        let row = tabulate::rows(run, &name).swap_remove(0);
        let dataset = row.get("dataset").map(Value::word).unwrap_or_default();
        Named { name, dataset, data: tabulate::data_of(&row).replace('\0', "; "), run }
    };
    runs.iter().enumerate().map(named).collect()
}

/// What is alike by `key` together, in the order in which each is first met.
fn grouped<K: PartialEq, T>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for one in all {
        let own = key(&one);
        match groups.iter_mut().find(|(key, _)| *key == own) {
            Some((_, group)) => group.push(one),
            None => groups.push((own, vec![one])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn measure(row: &Record) -> String {
    row.get("measure").map(Value::word).unwrap_or_default()
}

/// The days on which the results were written, the first and the last; nothing where the file system does not say.
fn date(results: &[PathBuf]) -> String {
    let written = results.iter().filter_map(|path| path.metadata().and_then(|data| data.modified()).ok());
    let day =
        |time| humantime::format_rfc3339_seconds(time).to_string().split('T').next().unwrap_or_default().to_owned();
    let days: Vec<String> = written.map(day).collect();
    match (days.iter().min(), days.iter().max()) {
        (Some(first), Some(last)) if first == last => format!("Results of {first}"),
        (Some(first), Some(last)) => format!("Results of {first} to {last}"),
        _ => String::new(),
    }
}

/// A table for each kind of measure: runs of one kind have columns in common.
fn summaries(rows: &[Record]) -> Vec<Table> {
    let table = |rows: Vec<Record>| {
        let kind = measure(&rows[0]);
        let kind = if kind.is_empty() { "results" } else { &kind };
        let Sheet { columns, rows: mut cells } = tabulate::overview(&rows);
        about::readable(&columns, &rows, &mut cells);
        let turned = columns.len() > WIDE && cells.len() <= SIDE_BY_SIDE;
        let intervals = turned && about::with_intervals(&columns, &rows, &mut cells);
        let beside = if intervals { "; in brackets the intervals of --bootstrap" } else { "" };
        let ranked = if cells.len() > 1 { ": the best on the same data in bold" } else { "" };
        let caption = format!("{kind}{ranked}{beside}");
        let table = Table::new(&caption, columns.iter().map(|name| about::with_unit(name)), cells);
        if turned { table.turned() } else { table }
    };
    grouped(rows.iter().cloned(), measure).into_iter().map(table).collect()
}

/// The images of a run that has some, where they are wanted.
fn wanted_pictures(run: &Named<'_>, args: &ReportArgs, notes: &mut Vec<String>) -> Result<Option<Pictures>> {
    let files = match &run.run.details {
        _ if args.no_images => return Ok(None),
        Details::Retrieval(details) => details.files.as_ref(),
        Details::Verification(details) => details.pairs.as_ref().and_then(|pairs| pairs.files.as_ref()),
        Details::Training(_) | Details::None => return Ok(None),
    };
    pictures(&run.run.records[0], args.images.as_deref(), files, notes)
}

fn section(run: &Named<'_>, pictures: &mut Option<Pictures>, mut notes: Vec<String>) -> Section {
    let record = &run.run.records[0];
    let (mut worst, mut mixed, mut groups, mut decided) = (None, None, None, None);
    let galleries = match &run.run.details {
        Details::Retrieval(details) => {
            worst = Some(mistakes::worst_classes(details));
            mixed = confusion::mixed(details, pictures);
            mistakes::retrieval(details, pictures)
        }
        Details::Verification(details) => {
            groups = groups::table(&details.groups, record);
            let pairs = details.pairs.as_ref();
            let found = pairs.and_then(|pairs| decisions::decisions(pairs, record));
            decided = found.as_ref().map(|found| (found.first_said(), found.json()));
            let threshold =
                found.map_or_else(|| short(mistakes::threshold(record)), |found| found.first_word().to_owned());
            pairs.map(|pairs| mistakes::verification(pairs, record, &threshold, pictures)).unwrap_or_default()
        }
        Details::Training(_) | Details::None => Vec::new(),
    };
    notes.extend(pictures.as_ref().map(Pictures::doubts).unwrap_or_default());
    notes.iter().for_each(|text| note(&format!("{}: {text}", run.name)));
    // It was printed when the run was made.
    if let Some(noted) = noted(record) {
        notes.insert(0, noted);
    }
    let (name, about) = (run.name.clone(), about::table(record));
    Section { name, notes, decisions: decided, galleries, groups, worst, mixed, about }
}

/// What a run assumed, passed over or found doubtful.
fn noted(record: &Record) -> Option<String> {
    record.get("notes").map(Value::word).filter(|notes| !notes.is_empty())
}

/// The images of a run: where `--images` says, else in the data that the run names.
fn pictures(
    record: &Record,
    images: Option<&Path>,
    files: Option<&Files>,
    notes: &mut Vec<String>,
) -> Result<Option<Pictures>> {
    if let Some(path) = images {
        return Pictures::open(path, files).map(Some);
    }
    let data = record.get("data").map(Value::word).filter(|data| !data.is_empty()).map(PathBuf::from);
    let opened = data.map(|path| Pictures::open(&path, files));
    match opened {
        Some(Ok(pictures)) => Ok(Some(pictures)),
        Some(Err(error)) => {
            notes.push(format!("no pictures, for its data cannot be opened ({error}); --images says where they are"));
            Ok(None)
        }
        None => {
            notes.push("no pictures, for the run names no data; --images says where they are".into());
            Ok(None)
        }
    }
}

/// All results, and what a reader would not see of them together; it is printed, too.
fn rows(named: &[Named<'_>]) -> (Vec<Record>, Vec<String>) {
    let (mut rows, mut said, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
    for run in named {
        let own = tabulate::rows(run.run, &run.name);
        said.extend(tabulate::of_each(run.run, &own, &mut seen));
        rows.extend(own);
    }
    said.extend(tabulate::of_all(&rows));
    said.iter().for_each(|sentence| note(sentence));
    (rows, said)
}

fn render(
    title: &str,
    date: &str,
    named: &[Named<'_>],
    (differences, charts, maps, sections): (&[differences::Difference], &[chart::Chart], &[map::Figure], &[Section]),
) -> std::result::Result<String, minijinja::Error> {
    let (rows, mixed) = rows(named);
    let doubts = named.iter().filter_map(|run| Some((&run.name, noted(&run.run.records[0])?)));
    let doubts: Vec<(&String, String)> = doubts.collect();
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_trim_blocks(true);
    templates.set_lstrip_blocks(true);
    templates.add_template("page.html", include_str!("page.html"))?;
    templates.get_template("page.html")?.render(context! {
        title, date, differences, charts, maps, sections, doubts, mixed,
        leaders => leaders::leaders(&rows),
        summaries => summaries(&rows),
        style => include_str!("page.css"),
        script => include_str!("page.js"),
        tool => concat!("pdloss-eval ", env!("CARGO_PKG_VERSION")),
    })
}
