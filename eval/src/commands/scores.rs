//! The command `scores`: the figures of verification from files of genuine and impostor scores alone.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use pdloss_embed::files::distinct;
use pdloss_embed::program::Usual;

use super::arguments::Notes;
use super::assess::{Development, FigureArgs, Wanted};
use super::outcome::{Outcome, Sinks, VerificationOut};
use super::score_files;
use crate::Result;
use crate::metrics::verification::{Failed, Rates, Tally};
use crate::table::{Record, Value};

const EXAMPLES: &str = "Examples:
  pdloss-eval scores --genuine genuine.txt --impostor impostor.txt \\
      --plot pictures/
  pdloss-eval scores --genuine same.csv --impostor different.csv \\
      --column distance --distance
  pdloss-eval scores --genuine g.txt --impostor i.txt --dev-genuine dg.txt \\
      --dev-impostor di.txt --all-figures

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

pub(super) const USUAL: Usual = Usual {
    command: "scores",
    calls: &["scores --genuine FILE --impostor FILE"],
    flags: &["genuine", "impostor", "column", "distance", "out", "plot", "save-run", "json"],
};

/// Arguments of `scores`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScoresArgs {
    /// Scores of genuine pairs: text (one a line, or a column), .npy or .parquet
    #[arg(long, value_name = "FILE")]
    pub genuine: PathBuf,
    /// Scores of impostor pairs
    #[arg(long, value_name = "FILE")]
    pub impostor: PathBuf,
    /// Column of text or .parquet: a name, or a number from 1 [default: score, or the only one]
    #[arg(long, value_name = "COLUMN")]
    pub column: Option<String>,
    /// The scores are distances: smaller is more alike
    #[arg(long)]
    pub distance: bool,
    /// Count NaN as a failure to enrol or to acquire: a pair that no threshold accepts. Otherwise it is an error
    #[arg(long)]
    pub count_failures: bool,
    /// Genuine scores of a development list: HTER takes the threshold of its EER, calibration is fitted on it
    #[arg(long, value_name = "FILE", requires = "dev_impostor")]
    pub dev_genuine: Option<PathBuf>,
    /// Its impostor scores
    #[arg(long, value_name = "FILE", requires = "dev_genuine")]
    pub dev_impostor: Option<PathBuf>,
    /// Figures
    #[command(flatten)]
    pub figures: FigureArgs,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}

/// Reads both files, takes all measures, and writes the tables to `stdout`.
///
/// # Errors
/// Those of reading and writing files; [`Error::Measure`](crate::Error::Measure) for NaN, or where a kind of score is missing.
pub fn run(args: &ScoresArgs, stdout: &mut dyn Write) -> Result<Record> {
    let sinks = Sinks::plan(&args.results)?;
    let wanted = Wanted::plan(&args.figures)?;
    let development = args.dev_genuine.as_deref().zip(args.dev_impostor.as_deref());
    let of_development =
        development.map(|(genuine, impostor)| [("--dev-genuine", genuine), ("--dev-impostor", impostor)]);
    let read = [("--genuine", args.genuine.as_path()), ("--impostor", args.impostor.as_path())];
    for (flag, out) in args.results.outputs() {
        read.into_iter()
            .chain(of_development.into_iter().flatten())
            .try_for_each(|read| distinct(&[read, (flag, out)]))?;
    }
    let started = Instant::now();
    let asked =
        score_files::Asked { column: args.column.as_deref(), distance: args.distance, failures: args.count_failures };
    let sign = if args.distance { -1.0 } else { 1.0 };
    let mut notes = Notes::default();
    let mut read = |path: &Path, kind: &str| -> Result<(Vec<f64>, u64)> {
        let mut said = Vec::new();
        let mut scores = score_files::read(path, asked, kind, &mut said)?;
        notes.extend(&said);
        let all = scores.len();
        scores.retain(|score| !score.is_nan());
        scores.iter_mut().for_each(|score| *score *= sign);
        let failed = (all - scores.len()) as u64;
        Ok((scores, failed))
    };
    let mut doubtful = Vec::new();
    let mut tally = |genuine: &Path, impostor: &Path| -> Result<Tally> {
        let ((genuine, failed_genuine), (impostor, failed_impostor)) =
            (read(genuine, "genuine")?, read(impostor, "impostor")?);
        doubtful.extend(doubts(&genuine, &impostor, sign));
        let failed = Failed { genuine: failed_genuine, impostor: failed_impostor };
        Ok(Tally::of_scores(&genuine, &impostor)?.with_failed(failed))
    };
    let development = development
        .map(|(genuine, impostor)| -> Result<_> {
            let name = format!("{}, {}", genuine.display(), impostor.display());
            Ok(Development { tally: tally(genuine, impostor)?, name })
        })
        .transpose()?;
    let tally = tally(&args.genuine, &args.impostor)?;
    notes.extend(&doubtful);
    notes.extend(&development.as_ref().map(|development| development_doubts(development, &tally)).unwrap_or_default());
    let mut record = Record::new();
    record.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "verification");
    record
        .set("genuine_file", args.genuine.display().to_string())
        .set("impostor_file", args.impostor.display().to_string());
    record.set("metric", if args.distance { "distance" } else { "score" });
    if args.count_failures {
        let (failed, pairs) = (tally.failed(), tally.genuine() + tally.impostor());
        let count = failed.genuine + failed.impostor;
        record
            .set("failed_genuine", Value::Whole(failed.genuine))
            .set("failed_impostor", Value::Whole(failed.impostor));
        record.set("failure_rate", count as f64 / pairs as f64);
        notes.add(format!(
            "{} genuine and {} impostor pairs of {pairs} have no score: every rate counts them as rejected (failure to acquire); \
             AUC, d', means, Cllr and the ROC's hull are of the others",
            failed.genuine, failed.impostor
        ));
    }
    record.set("seconds_total", started.elapsed().as_secs_f64());
    notes.record(&mut record);
    let title = format!("{} against {}", file_name(&args.genuine), file_name(&args.impostor));
    let outcome = Outcome::new(tally, title, if args.distance { "distance" } else { "score" }, args.distance);
    outcome.assessed(&wanted, !args.distance, development.as_ref()).report(record, &sinks, stdout)
}

/// What makes figures doubtful that take a threshold of the development list: where that looks swapped itself, is on another scale,
/// or is the list that is measured.
fn development_doubts(development: &Development, tally: &Tally) -> Vec<String> {
    let (own, other) = (Rates::of(tally), Rates::of(&development.tally));
    let mut said: Vec<String> = other.doubts().iter().map(|doubt| format!("development list: {doubt}")).collect();
    let point = tally.at(other.eer.threshold);
    let (fmr, fnmr) = (tally.fmr(&point), tally.fnmr(&point));
    if (fmr, fnmr) == (1.0, 0.0) || (fmr, fnmr) == (0.0, 1.0) {
        let what = if fmr == 1.0 { "all" } else { "no" };
        said.push(format!(
            "development list: the threshold of its EER accepts {what} pairs of the list that is measured: are both on one scale?"
        ));
    }
    if own == other {
        said.push(
            "development list: its scores are those that are measured: figures at its threshold say nothing of other pairs".into(),
        );
    }
    said
}

/// What two lists of scores show that are not of two kinds, or not on one scale, or of which there is no mean.
fn doubts(genuine: &[f64], impostor: &[f64], sign: f64) -> Vec<String> {
    /// Scores of one scale overlap, or are not so far apart.
    const SCALES: f64 = 10.0;
    let mut doubts = Vec::new();
    if genuine == impostor {
        doubts.push(
            "the genuine scores are the impostor scores, one by one: are --genuine and --impostor of one kind?"
                .to_owned(),
        );
    }
    let infinite = |scores: &[f64]| scores.iter().filter(|score| score.is_infinite()).count();
    let (of_genuine, of_impostor) = (infinite(genuine), infinite(impostor));
    if of_genuine + of_impostor > 0 {
        doubts.push(format!(
            "{of_genuine} genuine and {of_impostor} impostor scores are infinite: means, deviations and d' have no value"
        ));
    }
    doubts.extend(marks(genuine, impostor, sign));
    let sizes = |scores: &[f64]| {
        scores
            .iter()
            .map(|score| score.abs())
            .fold((f64::INFINITY, 0.0_f64), |(low, high), s| (low.min(s), high.max(s)))
    };
    let ((low_genuine, high_genuine), (low_impostor, high_impostor)) = (sizes(genuine), sizes(impostor));
    if low_genuine > SCALES * high_impostor || low_impostor > SCALES * high_genuine {
        doubts.push(format!(
            "genuine scores are {low_genuine} to {high_genuine} in size, impostor scores {low_impostor} to {high_impostor}: are \
             both on one scale?"
        ));
    }
    doubts
}

/// What is said of scores that are two answers, and of a value that recurs far from all others, as marks of a failure do; as the
/// files have them, before they were multiplied by `sign`.
fn marks(genuine: &[f64], impostor: &[f64], sign: f64) -> Option<String> {
    /// Values of scores that the rest of a scale is known by.
    const MANY: usize = 20;
    /// How far from all others a mark lies, as a share of their range.
    const APART: f64 = 0.25;
    // A zero has no sign for people.
    let mut scores: Vec<f64> =
        genuine.iter().chain(impostor).map(|score| sign * score + 0.0).filter(|score| score.is_finite()).collect();
    scores.sort_by(f64::total_cmp);
    let mut distinct = scores.clone();
    distinct.dedup();
    if let ([low, high], true) = (&distinct[..], scores.len() >= MANY) {
        return Some(format!(
            "all {} scores are {low} or {high}: are they decisions, or labels? Curves and error rates want scores",
            scores.len()
        ));
    }
    if distinct.len() < MANY {
        return None;
    }
    let [first, second, .., before, last] = distinct[..] else { return None };
    let found = [(first, second - first, last - second), (last, last - before, before - first)];
    let found = found.into_iter().map(|(value, gap, range)| {
        let count = scores.iter().filter(|score| **score == value).count();
        (value, count, count > 1 && gap > APART * range)
    });
    found.filter(|(.., is_mark)| *is_mark).max_by_key(|(_, count, _)| *count).map(|(value, count, _)| {
        format!(
            "{count} scores are {value}, far from all others: does that stand for a failure? As NaN, --count-failures counts it; as a \
             score it moves means, deviations and d'"
        )
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_failures_and_decisions_are_told_from_scores() {
        let scores = |from: f64| -> Vec<f64> { (0..50).map(|n| from + f64::from(n) / 100.0).collect() };
        let with = |more: &[f64]| [scores(0.3), more.to_vec()].concat();
        let said = |genuine: &[f64], impostor: &[f64]| marks(genuine, impostor, 1.0).unwrap_or_default();
        assert_eq!(said(&scores(0.3), &scores(0.0)), "");
        for (mark, count) in [(-1.0, 3), (-999.0, 2), (9999.0, 4), (-1.0, 2)] {
            let text = said(&with(&vec![mark; count]), &scores(0.0));
            assert!(text.starts_with(&format!("{count} scores are {mark}, far from all others")), "{mark}: {text}");
            assert!(said(&scores(0.0), &with(&vec![mark; count])).contains("far from all others"));
        }
        // One outlier is a score like any other; so are the ends of a scale that scores reach.
        assert_eq!(said(&with(&[-1.0]), &scores(0.0)), "");
        assert_eq!(said(&with(&[0.8, 0.8, 0.8]), &[scores(0.0), vec![0.0, 0.0]].concat()), "");
        let decisions = said(&[1.0; 15], &[0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(decisions.starts_with("all 20 scores are 0 or 1: are they decisions"), "{decisions}");
        assert_eq!(said(&[1.0, 0.5], &[0.0]), "");
        let of_distances = marks(&[-1.0; 15], &[0.0, -1.0, 0.0, 0.0, 0.0], -1.0).unwrap_or_default();
        assert!(of_distances.starts_with("all 20 scores are 0 or 1"), "{of_distances}");
    }
}
