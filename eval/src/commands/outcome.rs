//! From scores to results: what `verify` and `scores` share. Measures taken, tables printed, files and pictures written.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use pdloss_embed::console::wrote;
use pdloss_embed::files::{can_fill, distinct};

use super::assess::{Assessed, Development, Wanted};
use super::efficiency;
use super::groups::Grouped;
use crate::metrics::verification::{
    Accuracy, Block, Interval, Line, Point, Rates, Tally, beside_their_figures, curve, logistic, pav,
};
use crate::plot::Pictures;
use crate::runs::{Details, Pairs, SaveRun, Verified};
use crate::table::{Kind, Record, Value};
use crate::{Error, Result};

/// Where the figures of a verification go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct VerificationOut {
    /// Write the result: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the points of the DET and ROC curves: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub points: Option<PathBuf>,
    /// Draw ROC, DET, score distributions and calibration into this folder, as PNG and SVG
    #[arg(long, value_name = "DIR")]
    pub plot: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Keep the run, with its curves and pairs, in a new folder: for report, compare and tabulate
    #[arg(long, value_name = "DIR")]
    pub save_run: Option<PathBuf>,
}

impl VerificationOut {
    /// Every place that is written, with its flag.
    pub(super) fn outputs(&self) -> Vec<(&'static str, &Path)> {
        let all =
            [("--out", &self.out), ("--points", &self.points), ("--plot", &self.plot), ("--save-run", &self.save_run)];
        all.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?))).collect()
    }
}

/// Where results go, checked before any work starts.
#[derive(Debug)]
pub(super) struct Sinks {
    out: Option<(PathBuf, Kind)>,
    points: Option<(PathBuf, Kind)>,
    plot: Option<PathBuf>,
    save_run: Option<SaveRun>,
    json: bool,
}

impl Sinks {
    /// Checks endings, and tries the places.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag, or two flags that name one place.
    pub(super) fn plan(args: &VerificationOut) -> Result<Self> {
        let file = |flag: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|p| Kind::of(flag, p).map(|kind| (p.clone(), kind))).transpose()
        };
        distinct(&args.outputs())?;
        if let Some(folder) = &args.plot {
            can_fill("--plot", folder)?;
        }
        let save_run = args.save_run.as_deref().map(SaveRun::plan).transpose()?;
        Ok(Self {
            out: file("--out", &args.out)?,
            points: file("--points", &args.points)?,
            plot: args.plot.clone(),
            save_run,
            json: args.json,
        })
    }

    /// Whether pairs will be kept.
    pub(crate) fn keep_pairs(&self) -> bool {
        self.save_run.is_some()
    }
}

/// A verification, measured.
#[derive(Debug)]
pub(super) struct Outcome {
    tally: Tally,
    rates: Rates,
    title: String,
    score: &'static str,
    distance: bool,
    accuracy: Option<(Accuracy, String)>,
    intervals: Vec<Interval>,
    assessed: Option<Assessed>,
    groups: Option<Grouped>,
    /// Whether every figure is printed.
    all: bool,
    pairs: Option<Pairs>,
}

impl Outcome {
    /// Takes all measures of a tally. `score` says what a score is; distances come with their sign swapped.
    pub(super) fn new(tally: Tally, title: String, score: &'static str, distance: bool) -> Self {
        let rates = Rates::of(&tally);
        Self {
            tally,
            rates,
            title,
            score,
            distance,
            accuracy: None,
            intervals: Vec::new(),
            assessed: None,
            groups: None,
            all: false,
            pairs: None,
        }
    }

    /// Adds the figures beside the usual ones. `ratios` is whether scores may be taken for log-likelihood ratios.
    #[must_use]
    pub(super) fn assessed(mut self, wanted: &Wanted, ratios: bool, development: Option<&Development>) -> Self {
        self.assessed = Some(Assessed::of(&self.tally, &wanted.asked(ratios, development), development, self.sign()));
        self.all = wanted.all;
        self
    }

    /// Adds accuracy over folds, and how these were made.
    #[must_use]
    pub(super) fn with_accuracy(mut self, accuracy: Option<(Accuracy, String)>) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// Adds confidence intervals.
    #[must_use]
    pub(super) fn with_intervals(mut self, intervals: Vec<Interval>) -> Self {
        self.intervals = intervals;
        self
    }

    /// Adds error rates by group.
    #[must_use]
    pub(super) fn with_groups(mut self, groups: Option<Grouped>) -> Self {
        self.groups = groups;
        self
    }

    /// Adds the pairs themselves, to be kept.
    #[must_use]
    pub(super) fn with_pairs(mut self, pairs: Option<Pairs>) -> Self {
        self.pairs = pairs;
        self
    }

    fn sign(&self) -> f64 {
        if self.distance { -1.0 } else { 1.0 }
    }

    /// Figures by name, in the sign in which the scores were given.
    fn figures(&self) -> Vec<(String, Option<f64>)> {
        let accuracy = self.accuracy.as_ref().map(|(a, _)| ("accuracy".to_owned(), Some(a.mean)));
        let signed = |(name, value): (String, Option<f64>)| {
            let sign = if name.starts_with("mu_") { self.sign() } else { 1.0 };
            (name, value.map(|v| sign * v))
        };
        accuracy.into_iter().chain(self.rates.figures().into_iter().map(signed)).collect()
    }

    /// What is to be said of intervals that do not hold their figure.
    fn beside_their_figures(&self) -> Option<String> {
        let figures: HashMap<String, Option<f64>> = self.figures().into_iter().collect();
        let sign = |name: &str| if name.starts_with("mu_") { self.sign() } else { 1.0 };
        beside_their_figures(&self.intervals, |name| {
            figures.get(name).copied().flatten().map(|value| sign(name) * value)
        })
    }

    /// Writes tables to `stdout`, and files and pictures where they are wanted; returns all of it as one row, which begins
    /// with `about`.
    ///
    /// # Errors
    /// [`Error::File`] where writing fails.
    pub(super) fn report(mut self, mut about: Record, sinks: &Sinks, stdout: &mut dyn Write) -> Result<Record> {
        for doubt in self.rates.doubts().into_iter().chain(self.beside_their_figures()) {
            about.note(&doubt);
        }
        let record = self.record(&about);
        if let Some((path, kind)) = &sinks.out {
            kind.write_result(path, &record)?;
            wrote(path);
        }
        if let Some(groups) = &self.groups
            && let Some((path, kind)) = &groups.out
        {
            kind.write(path, &groups.rows)?;
            wrote(path);
        }
        if sinks.points.is_some() || sinks.plot.is_some() || sinks.save_run.is_some() {
            let curve = curve(&self.tally);
            if let Some((path, kind)) = &sinks.points {
                let blocks = pav(&self.tally);
                let line = self.line();
                let row = |p: &Point| {
                    let mut row = Record::new();
                    let (fmr, fnmr) = (self.tally.fmr(p), self.tally.fnmr(p));
                    row.set("threshold", self.sign() * p.threshold)
                        .set("fmr", fmr)
                        .set("fnmr", fnmr)
                        .set("tar", 1.0 - fnmr)
                        .set("llr_pav", block_of(&blocks, p.threshold).llr(&self.tally))
                        .set("llr_logistic", line.map(|line| line.llr(p.threshold)));
                    row
                };
                kind.write(path, &curve.iter().map(row).collect::<Vec<_>>())?;
                wrote(path);
            }
            if let Some(folder) = &sinks.plot {
                self.draw(&curve, folder)?;
                wrote(folder);
            }
            if let Some(folder) = &sinks.save_run {
                let pairs = self.pairs.take();
                let verified = Verified { pairs, ..Verified::of(&self.tally, &curve, self.sign()) };
                folder.write(&record, &Details::Verification(verified))?;
            }
        }
        let rows = std::slice::from_ref(&record);
        let printed = if sinks.json { Record::write_json(rows, stdout) } else { self.print(&about, stdout) };
        printed.map_err(|e| Error::write("standard output", e))?;
        Ok(record)
    }

    /// The calibration line: that of the development list, where there is one.
    fn line(&self) -> Option<Line> {
        self.assessed.as_ref().map_or_else(|| logistic(&self.tally), Assessed::line)
    }

    fn draw(&self, curve: &[Point], folder: &Path) -> Result<()> {
        let (tally, rates, title) = (&self.tally, &self.rates, self.title.clone());
        let line = self.line();
        Pictures { tally, curve, rates, line, title, score: self.score, distance: self.distance }.write(folder)
    }

    /// Everything in one row.
    fn record(&self, about: &Record) -> Record {
        let mut record = about.clone();
        let rates = &self.rates;
        record.set("genuine_pairs", Value::Whole(rates.genuine)).set("impostor_pairs", Value::Whole(rates.impostor));
        if let Some((accuracy, folds)) = &self.accuracy {
            record.set("folds", folds.as_str()).set("accuracy_standard_error", accuracy.standard_error);
            record.set("accuracy_std_population", accuracy.std_population);
        }
        for (name, value) in self.figures() {
            let interval = self.intervals.iter().find(|i| i.name == name);
            record.set(name.as_str(), value);
            if !self.intervals.is_empty() {
                let ends = interval.map(|i| self.ends(i));
                record.set(format!("{name}_from"), ends.map(|e| e.0)).set(format!("{name}_to"), ends.map(|e| e.1));
            }
        }
        record.set("eer_threshold", self.sign() * rates.eer.threshold);
        record.set("eer_bracket_low", rates.eer.low).set("eer_bracket_high", rates.eer.high);
        for at in &rates.at {
            record.set(format!("threshold@fmr={}", at.target), at.reached.map(|r| self.sign() * r.threshold));
            record.set(format!("reached_fmr@fmr={}", at.target), at.reached.map(|r| r.fmr));
        }
        if let Some(groups) = &self.groups {
            groups.summary.iter().for_each(|(name, value)| {
                record.set(name.as_str(), value.clone());
            });
        }
        if let Some(assessed) = &self.assessed {
            assessed.record(&mut record, &self.intervals);
        }
        if let Some((accuracy, _)) = &self.accuracy {
            for (at, fold) in accuracy.folds.iter().enumerate() {
                record
                    .set(format!("accuracy_fold_{}", at + 1), fold.accuracy)
                    .set(format!("threshold_fold_{}", at + 1), self.sign() * fold.threshold);
            }
        }
        record
    }

    /// An interval's ends in the sign in which the scores were given.
    fn ends(&self, interval: &Interval) -> (f64, f64) {
        if self.distance && interval.name.starts_with("mu_") {
            (-interval.high, -interval.low)
        } else {
            (interval.low, interval.high)
        }
    }

    fn print(&self, about: &Record, stdout: &mut dyn Write) -> std::io::Result<()> {
        let mut about = about.clone();
        if let Some((_, folds)) = &self.accuracy {
            about.set("folds", folds.as_str());
        }
        about.print_what_was_run(stdout)?;
        let rates = &self.rates;
        let mut first = Record::new();
        first.set("genuine_pairs", Value::Whole(rates.genuine)).set("impostor_pairs", Value::Whole(rates.impostor));
        if let Some((accuracy, _)) = &self.accuracy {
            first
                .set("accuracy", accuracy.mean)
                .set("standard_error", accuracy.standard_error)
                .set("std_population", accuracy.std_population);
        }
        first.set("eer", rates.eer.value).set("auc", rates.auc).set("d_prime", rates.decidability.d_prime);
        writeln!(stdout, "{}", Record::text(&[first]))?;
        let eer = &rates.eer;
        if eer.high > eer.low {
            writeln!(
                stdout,
                "\nFMR and FNMR meet at no observed threshold; at the two beside the crossing they lie between {:.6} and {:.6}.",
                eer.low, eer.high
            )?;
        }
        if let Some((_, folds)) = &self.accuracy {
            writeln!(stdout, "\n{}\n\nfolds: {folds}", self.fold_table())?;
        }
        writeln!(stdout, "\n{}", self.rate_table())?;
        if !self.intervals.is_empty() {
            writeln!(stdout, "\n{}", self.interval_table())?;
        }
        if let Some(assessed) = self.assessed.as_ref().filter(|_| self.all) {
            writeln!(stdout, "\n{}", assessed.table(&self.counts()))?;
        }
        if let Some(groups) = &self.groups {
            let word = |name: &str| groups.summary.get(name).map(Value::word).unwrap_or_default();
            writeln!(stdout, "\n{}", Record::text(&groups.rows))?;
            writeln!(
                stdout,
                "\nby {}, at threshold {} ({})",
                word("group_by"),
                word("group_threshold"),
                word("group_threshold_from")
            )?;
        }
        let d = &rates.decidability;
        let mut spread = Record::new();
        spread.set("mu_genuine", self.sign() * d.mu_genuine).set("sd_genuine", d.sd_genuine);
        spread.set("mu_impostor", self.sign() * d.mu_impostor).set("sd_impostor", d.sd_impostor);
        spread
            .set("zero_fmr", rates.zero_fmr)
            .set("zero_fnmr", rates.zero_fnmr)
            .set("eer_threshold", self.sign() * rates.eer.threshold);
        writeln!(stdout, "\n{}", Record::text_over(&[spread], &self.counts()))?;
        efficiency::print(&about, stdout)
    }

    /// How many pairs carry the figures.
    fn counts(&self) -> Record {
        let mut counts = Record::new();
        counts.set("genuine_pairs", Value::Whole(self.rates.genuine));
        counts.set("impostor_pairs", Value::Whole(self.rates.impostor));
        counts
    }

    fn fold_table(&self) -> String {
        let folds = self.accuracy.iter().flat_map(|(a, _)| &a.folds).enumerate();
        let row = |(at, fold): (usize, &crate::metrics::verification::Fold)| {
            let mut row = Record::new();
            row.set("fold", at + 1).set("genuine", fold.genuine).set("impostor", fold.impostor);
            row.set("threshold", self.sign() * fold.threshold).set("accuracy", fold.accuracy);
            row
        };
        Record::text(&folds.map(row).collect::<Vec<_>>())
    }

    fn rate_table(&self) -> String {
        let impostor = self.rates.impostor;
        let row = |at: &crate::metrics::verification::AtFmr| {
            let mut row = Record::new();
            row.set("target", format!("FMR {}", at.target));
            row.set("threshold", at.reached.map(|r| self.sign() * r.threshold)).set("fmr", at.reached.map(|r| r.fmr));
            row.set("fnmr", at.reached.map(|r| r.fnmr)).set("tar", at.reached.map(|r| 1.0 - r.fnmr));
            let note = match at.reached {
                Some(_) => String::new(),
                None => format!(
                    "not carried by {impostor} impostor pairs (rule of three: at least {:.0})",
                    (3.0 / at.target).ceil()
                ),
            };
            row.set("note", note);
            row
        };
        Record::text_over(&self.rates.at.iter().map(row).collect::<Vec<_>>(), &self.counts())
    }

    fn interval_table(&self) -> String {
        let beside = self.assessed.iter().filter(|_| self.all).flat_map(Assessed::values);
        let row = |(name, value): (String, Option<f64>)| {
            let (from, to) = self.ends(self.intervals.iter().find(|i| i.name == name)?);
            let mut row = Record::new();
            row.set("figure", name).set("value", value).set("from", from).set("to", to);
            Some(row)
        };
        Record::text(&self.figures().into_iter().chain(beside).filter_map(row).collect::<Vec<_>>())
    }
}

/// The block that an observed score is in.
fn block_of(blocks: &[Block], score: f64) -> &Block {
    &blocks[blocks.partition_point(|block| block.to < score).min(blocks.len() - 1)]
}
