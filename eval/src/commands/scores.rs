//! The command `scores`: the figures of verification from files of genuine and impostor scores alone.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::ArrayD;
use ndarray_npy::{ReadNpyError, ReadNpyExt};
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader};

use clap::Args;

use super::outcome::{Outcome, Sinks, VerificationOut};
use crate::metrics::verification::Tally;
use crate::table::Record;
use crate::{Error, Result};

const EXAMPLES: &str = "Examples:
  pdloss-eval scores --genuine genuine.txt --impostor impostor.txt --plot pictures/
  pdloss-eval scores --genuine same.csv --impostor different.csv --column distance --distance";

/// Arguments of `scores`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScoresArgs {
    /// Scores of genuine pairs: text (one a line), .csv, .npy or .parquet
    #[arg(long, value_name = "FILE")]
    pub genuine: PathBuf,
    /// Scores of impostor pairs
    #[arg(long, value_name = "FILE")]
    pub impostor: PathBuf,
    /// Column of a .csv or .parquet: a name, or a number from 1 [default: score, or the only one]
    #[arg(long, value_name = "COLUMN")]
    pub column: Option<String>,
    /// The scores are distances: smaller is more alike
    #[arg(long)]
    pub distance: bool,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}

/// Reads both files, takes all measures, and writes the tables to `stdout`.
///
/// # Errors
/// Those of reading and writing files; [`Error::Measure`] for NaN, or where a kind of score is missing.
pub fn run(args: &ScoresArgs, stdout: &mut dyn Write) -> Result<Record> {
    let sinks = Sinks::plan(&args.results)?;
    let started = Instant::now();
    let sign = if args.distance { -1.0 } else { 1.0 };
    let read = |path: &Path| {
        read(path, args.column.as_deref()).map(|scores| scores.into_iter().map(|s| sign * s).collect::<Vec<f64>>())
    };
    let tally = Tally::of_scores(&read(&args.genuine)?, &read(&args.impostor)?)?;
    let mut record = Record::new();
    record.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "verification");
    record
        .set("genuine_file", args.genuine.display().to_string())
        .set("impostor_file", args.impostor.display().to_string());
    record.set("metric", if args.distance { "distance" } else { "score" });
    record.set("seconds_total", started.elapsed().as_secs_f64());
    let title = format!("{} against {}", file_name(&args.genuine), file_name(&args.impostor));
    let outcome = Outcome::new(tally, title, if args.distance { "distance" } else { "score" }, args.distance);
    outcome.report(record, &sinks, stdout)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads scores by the file's ending: `.npy`, `.parquet`, `.csv`, else text with a number a line.
///
/// # Errors
/// [`Error::File`], [`Error::Data`] naming file and line, [`Error::Usage`] where a column has to be chosen.
pub fn read(path: &Path, column: Option<&str>) -> Result<Vec<f64>> {
    match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
        Some("npy") => read_npy(path),
        Some("parquet") => read_parquet(path, column),
        Some("csv") => read_csv(path, column),
        _ => read_text(path),
    }
}

fn read_text(path: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            line.parse().map_err(|_| Error::data(path, format!("line {number}: '{line}' is not one number")))
        })
        .collect()
}

fn read_npy(path: &Path) -> Result<Vec<f64>> {
    let open = || File::open(path).map(BufReader::new).map_err(|e| Error::read(path, e));
    let wrong = |e: ReadNpyError| Error::data(path, format!("wanted an .npy file of float32 or float64: {e}"));
    match ArrayD::<f64>::read_npy(open()?) {
        Ok(values) => Ok(values.iter().copied().collect()),
        Err(ReadNpyError::WrongDescriptor(_)) => {
            ArrayD::<f32>::read_npy(open()?).map(|values| values.iter().map(|&v| f64::from(v)).collect()).map_err(wrong)
        }
        Err(e) => Err(wrong(e)),
    }
}

/// The position of the column that is meant among these.
fn choose(path: &Path, names: &[String], column: Option<&str>) -> Result<usize> {
    let by_name = |wanted: &str| names.iter().position(|n| n.eq_ignore_ascii_case(wanted));
    let found = match column {
        Some(column) => {
            by_name(column).or_else(|| column.parse::<usize>().ok()?.checked_sub(1).filter(|&at| at < names.len()))
        }
        None => by_name("score").or((names.len() == 1).then_some(0)),
    };
    found.ok_or_else(|| {
        let asked = column.map_or("choose one by --column".to_owned(), |c| format!("there is no column '{c}'"));
        Error::Usage(format!("{}: {asked}; its columns are {}", path.display(), names.join(", ")))
    })
}

fn read_csv(path: &Path, column: Option<&str>) -> Result<Vec<f64>> {
    let wrong = |e: csv::Error| Error::data(path, e.to_string());
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let mut records = Vec::new();
    for record in reader.records() {
        records.push(record.map_err(wrong)?);
    }
    let Some(first) = records.first() else { return Ok(Vec::new()) };
    let has_header = first.iter().all(|field| field.parse::<f64>().is_err());
    let names: Vec<String> = if has_header {
        first.iter().map(str::to_owned).collect()
    } else {
        (1..=first.len()).map(|n| n.to_string()).collect()
    };
    let at = choose(path, &names, column)?;
    let number = |record: &csv::StringRecord| {
        let line = record.position().map_or(0, csv::Position::line);
        record[at].parse().map_err(|_| Error::data(path, format!("line {line}: '{}' is not a number", &record[at])))
    };
    records.iter().skip(usize::from(has_header)).map(number).collect()
}

fn read_parquet(path: &Path, column: Option<&str>) -> Result<Vec<f64>> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    let wrong = |e: polars::prelude::PolarsError| Error::data(path, e.to_string());
    let table: DataFrame = ParquetReader::new(file).finish().map_err(wrong)?;
    let names: Vec<String> = table.get_column_names().iter().map(|n| n.to_string()).collect();
    let name = &names[choose(path, &names, column)?];
    let scores = table.column(name).and_then(|c| c.cast(&DataType::Float64)).map_err(wrong)?;
    let missing = scores.null_count();
    if missing > 0 {
        return Err(Error::data(
            path,
            format!("column {name}: {missing} of {} values are missing or no numbers", scores.len()),
        ));
    }
    Ok(scores.f64().map_err(wrong)?.iter().flatten().collect())
}
