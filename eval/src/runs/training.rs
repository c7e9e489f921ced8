//! A run of `pdloss train`: `metrics.csv` (a row a step), `validation.csv` and `run.toml` (settings, digests, versions) where
//! they are there. Tables have a `step` column; fields of others that are no numbers are left out.

use std::path::Path;

use crate::table::{Record, Value, read_text};
use crate::{Error, Result};
use pdloss_embed::delimited::{Delimiter, Table};

const METRICS: &str = "metrics.csv";
const VALIDATION: &str = "validation.csv";
const SETTINGS: &str = "run.toml";
/// Columns that number rows or count images, and measure nothing.
const NO_METRICS: [&str; 3] = ["step", "epoch", "queries"];

/// Metrics by step, and the settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Each metric that was taken.
    pub series: Vec<Series>,
    /// Settings, digests and versions by name, with the types that they have in the file.
    pub settings: Vec<(String, Value)>,
}

/// A metric by step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// `(step, value)` wherever it was taken.
    pub points: Vec<(f64, f64)>,
}

impl Training {
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(METRICS).is_file()
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut series = read_series(&folder.join(METRICS))?;
        let validation = folder.join(VALIDATION);
        if validation.is_file() {
            series.extend(read_series(&validation)?);
        }
        let file = folder.join(SETTINGS);
        let settings = if file.is_file() { read_settings(&file)? } else { Vec::new() };
        Ok(Self { series, settings })
    }

    /// Settings, the last value of every metric, and the best of each recall, as one row.
    pub(super) fn record(&self) -> Record {
        let mut record = Record::new();
        record.set("measure", "training");
        for (name, value) in &self.settings {
            record.set(name.as_str(), value.clone());
        }
        let steps = self.series.iter().filter_map(|series| series.points.last()).map(|&(step, _)| step);
        record.set("steps", steps.fold(0.0, f64::max));
        for Series { name, points } in &self.series {
            record.set(format!("last {name}"), points.last().map(|&(_, value)| value));
            if name.contains("recall@") {
                record.set(format!("best {name}"), points.iter().map(|&(_, value)| value).reduce(f64::max));
            }
        }
        record.typed()
    }
}

/// The columns of a table by step.
fn read_series(path: &Path) -> Result<Vec<Series>> {
    let text = read_text(path)?;
    // A run under way may be writing its last line.
    let torn = !text.ends_with('\n');
    let table = Table::parted(path, text, Delimiter::Comma, |_| true)?;
    let header = table.header();
    let step = header.iter().position(|name| name == "step");
    let no_step = || Error::data(path, format!("has no column 'step'; it has {}", header.join(", ")));
    let step = step.ok_or_else(no_step)?;
    let mut series: Vec<Series> = header.iter().map(|name| Series { name: name.clone(), points: Vec::new() }).collect();
    if let Some(twice) = (1..header.len()).find(|&at| header[..at].contains(&header[at])) {
        return Err(Error::data(path, format!("has two columns '{}'", header[twice])));
    }
    let mut records = table.ragged().peekable();
    while let Some(record) = records.next() {
        let last = records.peek().is_none();
        let record = match record {
            Ok(record) if record.fields.len() == header.len() => record,
            _ if last && torn => break,
            Ok(record) => {
                let (got, wanted) = (record.fields.len(), header.len());
                return Err(table.error(record.line, &format!("{got} fields, where the header has {wanted}")));
            }
            Err(error) => return Err(error),
        };
        let wrong = || table.error(record.line, &format!("step '{}' is no number", record.fields[step]));
        let at: f64 = record.fields[step].parse().ok().filter(|at: &f64| at.is_finite()).ok_or_else(wrong)?;
        for (field, series) in record.fields.iter().zip(&mut series) {
            series.points.extend(field.parse().ok().map(|value: f64| (at, value)));
        }
    }
    series.retain(|series| !NO_METRICS.contains(&series.name.as_str()) && !series.points.is_empty());
    Ok(series)
}

/// Every value of a TOML file by its name, without the outermost table's unless two would be called the same; `data.path` is
/// called `data`, as in other runs.
fn read_settings(path: &Path) -> Result<Vec<(String, Value)>> {
    let text = read_text(path)?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::data(path, e.to_string().trim()))?;
    let mut all = Vec::new();
    for (outermost, value) in &table {
        match value {
            toml::Value::Table(inner) => {
                inner.iter().for_each(|(name, value)| flatten(outermost, name, value, &mut all))
            }
            _ => flatten("", outermost, value, &mut all),
        }
    }
    Ok(all)
}

fn flatten(outermost: &str, name: &str, value: &toml::Value, out: &mut Vec<(String, Value)>) {
    let value = match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| flatten(outermost, &format!("{name}.{key}"), value, out));
            return;
        }
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Float(real) => (*real).into(),
        #[allow(clippy::cast_precision_loss)] // what is below zero is no count
        toml::Value::Integer(number) => u64::try_from(*number).map_or(Value::Real(*number as f64), Value::Whole),
        other => other.to_string().into(),
    };
    let name = if name == "data.path" { "data" } else { name };
    let taken = out.iter().any(|(other, _)| other == name);
    out.push((if taken { format!("{outermost}.{name}") } else { name.to_owned() }, value));
}
