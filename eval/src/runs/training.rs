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
    /// The last steps of `metrics.csv`, and of `validation.csv` where that is there.
    pub ends: (f64, Option<f64>),
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
        let (mut series, trained) = read_series(&folder.join(METRICS))?;
        let (validation, mut validated) = (folder.join(VALIDATION), None);
        if validation.is_file() {
            let (of_validation, end) = read_series(&validation)?;
            series.extend(of_validation);
            validated = Some(end);
        }
        let file = folder.join(SETTINGS);
        let settings = if file.is_file() { read_settings(&file)? } else { Vec::new() };
        Ok(Self { series, settings, ends: (trained, validated) })
    }

    /// The last step of any table.
    fn steps(&self) -> f64 {
        self.ends.0.max(self.ends.1.unwrap_or_default())
    }

    /// What a reader of one row of the run would not see: that it is not at its end, and figures that are of earlier steps.
    pub(super) fn doubts(&self) -> Vec<String> {
        let (steps, mut said) = (self.steps(), Vec::new());
        if let Some(planned) = self.planned().filter(|&planned| steps < planned && !self.is_stale()) {
            said.push(format!("{steps} of {planned} steps are made: the run is not at its end"));
        }
        let (trained, validated) = self.ends;
        if let Some(validated) = validated.filter(|&validated| validated > trained) {
            said.push(format!(
                "{METRICS} ends at step {trained} and {VALIDATION} at {validated}: the last values are not of one moment"
            ));
        }
        let recalls = self.series.iter().filter(|series| series.name.contains("recall@"));
        for Series { name, points } in recalls {
            if let Some((&(last, _), end)) = points.last().zip(validated).filter(|((last, _), end)| last < end) {
                said.push(format!("'last {name}' is of step {last}: {VALIDATION} has none at step {end}"));
            }
        }
        said
    }

    /// The steps that the run was to make, where its settings say so.
    fn planned(&self) -> Option<f64> {
        let number =
            |wanted: &str| self.settings.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.number());
        let of_epochs = || {
            let (epochs, images, batch) = (number("length.epochs")?, number("images")?, number("batch")?);
            Some((epochs * (images / batch).floor()).round().max(1.0))
        };
        number("length.steps").or_else(of_epochs)
    }

    /// Whether the run has ended by its patience.
    fn is_stale(&self) -> bool {
        let patience = self.settings.iter().find(|(name, _)| name == "validation.patience");
        let recall = self.series.iter().find(|series| series.name == "recall@1");
        let (Some(patience), Some(recall)) = (patience.and_then(|(_, value)| value.number()), recall) else {
            return false;
        };
        let best = recall.points.iter().map(|&(_, value)| value).fold(f64::NEG_INFINITY, f64::max);
        let since = recall.points.iter().skip_while(|&&(_, value)| value != best).count().saturating_sub(1);
        since as f64 >= patience
    }

    /// Settings, the last value of every metric, and the best of each recall, as one row.
    pub(super) fn record(&self) -> Record {
        let mut record = Record::new();
        record.set("measure", "training");
        for (name, value) in &self.settings {
            record.set(name.as_str(), value.clone());
        }
        record.set("steps", self.steps());
        for Series { name, points } in &self.series {
            record.set(format!("last {name}"), points.last().map(|&(_, value)| value));
            if name.contains("recall@") {
                record.set(format!("best {name}"), points.iter().map(|&(_, value)| value).reduce(f64::max));
            }
        }
        record.typed()
    }
}

/// The columns of a table by step, which goes up from row to row, and its last step.
fn read_series(path: &Path) -> Result<(Vec<Series>, f64)> {
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
    let (mut end, mut words) = (None, vec![None; header.len()]);
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
        if let Some(before) = end.filter(|&before| at <= before) {
            let problem = format!("step {at} comes after step {before}; wanted each step once, in their order");
            return Err(table.error(record.line, &problem));
        }
        end = Some(at);
        for ((field, series), word) in record.fields.iter().zip(&mut series).zip(&mut words) {
            match field.parse() {
                Ok(value) => series.points.push((at, value)),
                Err(_) if field.is_empty() => {}
                Err(_) => *word = word.take().or_else(|| Some((record.line, (*field).to_string()))),
            }
        }
    }
    // Columns of words alone are somebody's remarks.
    let mixed = series.iter().zip(words).filter(|(series, _)| !series.points.is_empty());
    if let Some((name, (line, word))) = mixed.filter_map(|(series, word)| Some((&series.name, word?))).next() {
        return Err(table.error(line, &format!("column '{name}' has '{word}' among its numbers; wanted a number")));
    }
    series.retain(|series| !NO_METRICS.contains(&series.name.as_str()) && !series.points.is_empty());
    Ok((series, end.unwrap_or_default()))
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
        // Sentences, as other runs have them in `notes`.
        toml::Value::Array(all) if name == "notes" && all.iter().all(toml::Value::is_str) => {
            all.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join("; ").into()
        }
        other => other.to_string().into(),
    };
    let name = if name == "data.path" { "data" } else { name };
    let taken = out.iter().any(|(other, _)| other == name);
    out.push((if taken { format!("{outermost}.{name}") } else { name.to_owned() }, value));
}
