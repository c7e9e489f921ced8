//! The metrics of a training run: `metrics.csv`, with a `step` column; fields of others that are no numbers are
//! left out.

use std::path::Path;

use crate::error::{Error, Result};
use crate::records::read_records;
use crate::report::Record;

const METRICS: &str = "metrics.csv";

/// Metrics by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// A metric's name, and `(step, value)` wherever it was taken.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Training {
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(METRICS).is_file()
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(METRICS);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
        let wrong = |problem: String| Error::data(&path, problem);
        let records = read_records(&text, b',').map_err(|e| wrong(e.to_string()))?;
        let Some((_, header)) = records.first() else { return Err(wrong("is empty".into())) };
        let step = header.iter().position(|name| name == "step");
        let step = step.ok_or_else(|| wrong(format!("has no column 'step'; it has {}", header.join(", "))))?;
        let mut series: Vec<(String, Vec<(f64, f64)>)> = header.iter().map(|name| (name.clone(), Vec::new())).collect();
        for (line, record) in &records[1..] {
            if record.len() != header.len() {
                let (got, wanted) = (record.len(), header.len());
                return Err(wrong(format!("line {line}: {got} fields, where the header has {wanted}")));
            }
            let at: f64 = record[step]
                .parse()
                .map_err(|_| wrong(format!("line {line}: step '{}' is no number", record[step])))?;
            for (field, (_, points)) in record.iter().zip(&mut series) {
                points.extend(field.parse().ok().map(|value: f64| (at, value)));
            }
        }
        series.retain(|(name, points)| name != "step" && !points.is_empty());
        Ok(Self { series })
    }

    /// A metric's points.
    pub fn of(&self, name: &str) -> Option<&[(f64, f64)]> {
        self.series.iter().find(|(n, _)| n == name).map(|(_, points)| points.as_slice())
    }

    /// The last value of every metric, and the best of each recall, as one row.
    pub(super) fn record(&self) -> Record {
        let mut record = Record::new();
        record.set("measure", "training");
        let steps = self.series.iter().filter_map(|(_, points)| points.last()).map(|&(step, _)| step);
        record.set("step", steps.fold(0.0, f64::max));
        for (name, points) in &self.series {
            record.set(format!("last {name}"), points.last().map(|&(_, value)| value));
            if name.contains("recall@") {
                record.set(format!("best {name}"), points.iter().map(|&(_, value)| value).reduce(f64::max));
            }
        }
        record
    }
}
