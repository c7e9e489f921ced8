//! The command `compare`: two kept runs on the same data, figure by figure, with intervals and tests.

mod apart;
mod order;
mod retrieval;
mod verification;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::check_draws;
use super::retrieval_figures::FEW;
use crate::metrics::significance::{Difference, Resampling, holm};
use crate::metrics::verification::KEPT_PAIRS;
use crate::runs::{Details, Pairs, Run};
use crate::table::{Kind, Record, Value};
use crate::{Error, Result};
use apart::{Apart, other_differences};
pub(crate) use order::in_order_of;
use pdloss_embed::console::wrote;
use pdloss_embed::files::distinct;
use pdloss_embed::program::Usual;
use retrieval::retrieval;
use verification::verification;

const EXAMPLES: &str = "Examples:
  pdloss-eval compare runs/a runs/b
  pdloss-eval compare runs/a runs/b --by class --out difference.md

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "Paired randomisation test (models exchanged query by query, class by class, or pair by pair) and percentile bootstrap. Of \
    subjects, on whom pairs depend two at a time, the p is read off the bootstrap's draws. Where several figures are tested, \
    p_holm is p after Holm's correction, and the verdict goes by it. d' is compared on scores brought to one scale, \
    and is negative where genuine pairs score lower than impostor pairs.";

/// What is drawn at random when two runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Queries of recall, each by itself
    Query,
    /// Classes of recall, with all their queries: what is found for images of one class hangs together
    Class,
    /// Pairs of verification, each by itself
    Pair,
    /// Subjects of verification, with all pairs that they are on
    Subject,
}

pub(super) const USUAL: Usual =
    Usual { command: "compare", calls: &["compare RUN_A RUN_B"], flags: &["a", "b", "by", "out", "json"] };

/// Arguments of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct CompareArgs {
    /// A run's folder, written by --save-run
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// Another, on the same data
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// What is drawn [default: query for recall, subject for verification]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Draws of the test, and of the intervals: 100 or more
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub draws: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Confidence of the intervals; a difference counts where its p is below 1 - P
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub confidence: f64,
    /// Write the table: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Figures compared, and over what.
#[derive(Debug)]
pub(crate) struct Comparison {
    figures: Vec<Figure>,
    units: usize,
    /// What the units are, in the plural.
    of: &'static str,
    /// How p was found.
    test: &'static str,
    /// In what else than the model the runs differ, what is not compared, what is not known.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    name: String,
    a: f64,
    b: f64,
    difference: Difference,
}

/// More draws move no digit that anybody reads.
const MOST_DRAWS: usize = 10_000_000;

/// What is said of runs over the same queries or pairs in two orders.
const IN_ANOTHER_ORDER: &str = "B has the queries or pairs of A in another order: they are compared by their names; ties went to the lower row of each";

/// Reads both runs, compares them, writes tables and a verdict to `stdout`, and returns the rows.
///
/// # Errors
/// [`Error::Usage`] for runs that cannot be compared (of another kind, on other data, by units that they do not have);
/// those of reading and writing files.
pub fn run(args: &CompareArgs, stdout: &mut dyn Write) -> Result<Vec<Record>> {
    check_draws("--draws", args.draws, (MOST_DRAWS, 10_000), args.confidence)?;
    let out = args.out.as_ref().map(|path| Kind::of("--out", path).map(|kind| (path, kind))).transpose()?;
    let how = Resampling { draws: args.draws, seed: args.seed, level: args.confidence };
    if let Some(out) = &args.out {
        distinct(&[("A", &args.a), ("--out", out)])?;
        distinct(&[("B", &args.b), ("--out", out)])?;
    }
    let (a, b) = (Run::read(&args.a)?, Run::read(&args.b)?);
    let mut about = about(args, &a, &b);
    let ordered = in_order_of(&a, &b);
    if ordered.is_some() {
        about.note(IN_ANOTHER_ORDER);
    }
    let b = ordered.unwrap_or(b);
    let compared = compared((&a, "A"), (&b, "B"), args.by, &how)?;
    for sentence in said_of(&a, &b) {
        about.note(&sentence);
    }
    for sentence in compared.notes.iter().cloned().chain(compared.doubts("A", "B")) {
        about.note(&sentence);
    }
    let rows = compared.rows();
    about.set("drawn", format!("{} {}", compared.units, compared.of)).set("test", compared.test);
    let with_about = |row: &Record| {
        let mut row = row.clone();
        about.iter().for_each(|(name, value)| {
            row.set(name.as_str(), value.clone());
        });
        row
    };
    let whole: Vec<Record> = rows.iter().map(with_about).collect();
    if let Some((path, kind)) = out {
        kind.write_results(path, &whole)?;
        wrote(path);
    }
    let verdict = compared.verdict(1.0 - args.confidence, "A", "B");
    let printed = if args.json {
        Record::write_json(&whole, stdout)
    } else {
        about.print_what_was_run(stdout).and_then(|()| writeln!(stdout, "{}\n\n{verdict}", Record::text(&rows)))
    };
    printed.map_err(|e| Error::write("standard output", e))?;
    Ok(rows)
}

/// What was said of each run when it was made: figures that are doubtful are no better compared.
fn said_of(a: &Run, b: &Run) -> Vec<String> {
    let notes = |run: &Run| run.records[0].get("notes").map(Value::word).filter(|notes| !notes.is_empty());
    let of = |called: &str, notes: Option<String>| notes.map(|notes| format!("{called}: {notes}"));
    match (notes(a), notes(b)) {
        (of_a, of_b) if of_a == of_b => of("both runs", of_a).into_iter().collect(),
        (of_a, of_b) => of("A", of_a).into_iter().chain(of("B", of_b)).collect(),
    }
}

/// Two runs, of queries or pairs in the same order, and what they are called, figure by figure.
///
/// # Errors
/// [`Error::Usage`] for runs that cannot be compared.
pub(crate) fn compared(
    (a, called_a): (&Run, &str),
    (b, called_b): (&Run, &str),
    by: Option<By>,
    how: &Resampling,
) -> Result<Comparison> {
    let differ = Apart { a: &a.path, b: &b.path, called: (called_a, called_b) };
    let mut notes = other_differences(a, b, differ.called);
    let found = match (&a.details, &b.details) {
        (Details::Retrieval(of_a), Details::Retrieval(of_b)) => {
            differ.same_data(a, b, &mut notes)?;
            differ.queries(of_a, of_b)?;
            differ.rows(a, b)?;
            notes.extend(differ.doubled(a, b, &of_a.queries));
            retrieval(of_a, of_b, &differ.recall_ks(a, b, &mut notes), by, how)
        }
        (Details::Verification(of_a), Details::Verification(of_b)) => {
            differ.same_data(a, b, &mut notes)?;
            let pairs = |pairs: &'_ Option<Pairs>, path: &Path| match pairs {
                Some(pairs) => Ok(pairs.clone()),
                None => Err(Error::Usage(format!(
                    "{}: this run kept counts and no pairs, being of scores without names, of more than {KEPT_PAIRS} pairs, or of templates \
                     in an earlier version; pairs are compared one by one. Measure it again, with fewer pairs or with names",
                    path.display()
                ))),
            };
            let (of_a, of_b) = (pairs(&of_a.pairs, &a.path)?, pairs(&of_b.pairs, &b.path)?);
            differ.pairs(&of_a, &of_b)?;
            differ.rows(a, b)?;
            if by == Some(By::Pair) && a.records[0].get("pairs_sha256").is_none() {
                return Err(Error::Usage(
                    "--by pair: all pairs of a set share their images and are anything but independent; use --by subject".into(),
                ));
            }
            verification(&of_a, &of_b, by, how)
        }
        _ => Err(Error::Usage(format!(
            "{} is {} and {} is {}: wanted two folders that `recall --save-run` wrote, or two of `verify --save-run`",
            a.path.display(),
            a.kind(),
            b.path.display(),
            b.kind()
        ))),
    }?;
    Ok(Comparison { notes, ..found })
}

/// What is compared, and how.
fn about(args: &CompareArgs, a: &Run, b: &Run) -> Record {
    let of = |run: &Run, name: &str| run.records[0].get(name).cloned().unwrap_or(Value::Missing);
    let mut about = Record::new();
    about.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "comparison");
    about.set("run of A", args.a.display().to_string()).set("run of B", args.b.display().to_string());
    about.set("model of A", of(a, "model")).set("model of B", of(b, "model")).set("data", of(a, "data"));
    about.set("interval", format!("percentile bootstrap, {}", args.confidence));
    about.set("draws", args.draws).set("seed", Value::Whole(args.seed));
    about
}

impl Comparison {
    fn holm(&self) -> Vec<f64> {
        holm(&self.figures.iter().map(|f| f.difference.p).collect::<Vec<_>>())
    }

    /// A row a figure: both values, their difference with its interval, and p.
    pub(crate) fn rows(&self) -> Vec<Record> {
        let row = |(figure, p_holm): (&Figure, f64)| {
            let Difference { value, low, high, p } = figure.difference;
            let known = |v: f64| (!v.is_nan()).then_some(v);
            let mut row = Record::new();
            row.set("figure", figure.name.as_str()).set("A", figure.a).set("B", figure.b).set("B - A", value);
            row.set("from", known(low)).set("to", known(high)).set("p", p).set("p_holm", p_holm);
            row
        };
        self.figures.iter().zip(self.holm()).map(row).collect()
    }

    /// What is doubtful of the figures, with the runs' names.
    pub(crate) fn doubts(&self, a: &str, b: &str) -> Vec<String> {
        let rough = (self.units < FEW).then(|| format!("only {} {}: the intervals are rough", self.units, self.of));
        let swapped = |(run, value): (&str, f64)| {
            format!("d' of {run} is negative ({value:.3}): its genuine pairs score lower than its impostor pairs")
        };
        let d_primes = self.figures.iter().filter(|figure| figure.name == "d_prime");
        let negative = d_primes.flat_map(|figure| [(a, figure.a), (b, figure.b)]).filter(|(_, value)| *value < 0.0);
        rough.into_iter().chain(negative.map(swapped)).collect()
    }

    /// One line of plain words, with the runs' names; a difference counts where its p, corrected, is below `alpha`. Of the run that is
    /// better it says by how much it is.
    pub(crate) fn verdict(&self, alpha: f64, a: &str, b: &str) -> String {
        let words = |figure: &Figure, turned: bool| {
            let Difference { value, low, high, p } = figure.difference;
            let (value, low, high) = if turned { (-value, -high, -low) } else { (value, low, high) };
            // Nothing of what is printed is no minus.
            let [value, low, high] = [value, low, high].map(|v| if v.abs() < 5e-5 { 0.0 } else { v });
            format!("{} {value:+.4} [{low:.4}, {high:.4}], p = {}", figure.name, in_short(p))
        };
        let all: Vec<(&Figure, f64)> = self.figures.iter().zip(self.holm()).collect();
        let counts = |&(figure, p): &(&Figure, f64)| p < alpha && figure.difference.value != 0.0;
        let found: Vec<_> = all.iter().copied().filter(counts).collect();
        let list = |of: &[(&Figure, f64)], turned: bool| {
            of.iter().map(|(figure, _)| words(figure, turned)).collect::<Vec<_>>().join("; ")
        };
        let (up, down): (Vec<_>, Vec<_>) = found.iter().partition(|(figure, _)| figure.difference.value > 0.0);
        match (up.is_empty(), down.is_empty()) {
            (true, true) => {
                format!("No difference that these {} {} could show: {}.", self.units, self.of, list(&all, false))
            }
            (false, true) => format!("{b} is better than {a}: {}.", list(&found, false)),
            (true, false) => format!("{a} is better than {b}: {}.", list(&found, true)),
            (false, false) => format!(
                "{a} and {b} differ, and neither is better throughout: {b} is ahead in {}; {a} is ahead in {}.",
                list(&up, false),
                list(&down, true)
            ),
        }
    }
}

/// A chance to two digits that say something.
fn in_short(p: f64) -> String {
    if p >= 0.0995 {
        return format!("{p:.2}");
    }
    #[allow(clippy::cast_possible_truncation)] // a handful of digits
    let digits = (1 - p.max(1e-12).log10().floor() as i32).clamp(2, 12) as usize;
    format!("{p:.digits$}").trim_end_matches('0').to_owned()
}
