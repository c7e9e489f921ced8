//! The run's tables: a row a step in `metrics.csv`, a row a validation in `validation.csv`. A run that goes on drops the rows
//! past its checkpoint first, so that the tables are those of a run that was never stopped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pdloss_embed::files::write_atomically;
use pdloss_embed::{Error, Result};

use crate::events::Events;

/// A row a step. A step that was passed over has nothing but its number, epoch and learning rate.
pub(crate) const METRICS: [&str; 12] = [
    "step",
    "epoch",
    "loss",
    "d_prime",
    "mu_genuine",
    "mu_impostor",
    "var_genuine",
    "var_impostor",
    "mean_cosine",
    "gradient_norm",
    "learning_rate",
    "images_per_second",
];
/// A row a validation.
pub(crate) const VALIDATION: [&str; 5] = ["step", "epoch", "recall@1", "map@r", "queries"];

/// Time after which rows are written, however few.
const FLUSH: Duration = Duration::from_secs(1);

/// A CSV file whose first column is the step.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    columns: Vec<String>,
    writer: csv::Writer<File>,
    flushed: Instant,
    /// Rows that were there already.
    kept: u64,
    /// The same for TensorBoard, where it is wanted.
    events: Option<Events>,
}

impl Table {
    /// Opens the file, with its header and the rows up to step `last`; none where `last` is `None`.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Data`] where what is there has other columns.
    pub(crate) fn open(path: &Path, columns: &[&str], last: Option<u64>) -> Result<Self> {
        let kept = match last {
            Some(last) if path.exists() => rows(path, columns, last)?,
            _ => Vec::new(),
        };
        write_atomically(path, |file| {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(columns)?;
            for row in &kept {
                writer.write_record(row)?;
            }
            writer.flush()
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::write(path, e))?;
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        let writer = csv::Writer::from_writer(file);
        Ok(Self { path: path.into(), columns, writer, flushed: Instant::now(), kept: kept.len() as u64, events: None })
    }

    /// What is said where the table lacks rows of those that the run has behind it, which are `rows` of what `of` names.
    pub(crate) fn lacks(&self, rows: u64, of: &str) -> Option<String> {
        let missing = rows.checked_sub(self.kept).filter(|missing| *missing > 0)?;
        let path = self.path.display();
        Some(format!(
            "{path} lacks {missing} of the {rows} {of} before the checkpoint: figures made of it are of the others"
        ))
    }

    /// Writes each row as events, too.
    #[must_use]
    pub(crate) fn with(mut self, events: Option<Events>) -> Self {
        self.events = events;
        self
    }

    /// Adds a row by the names of its columns; those that are not given are empty. What a second has gathered is written, so
    /// that whoever reads along sees the run.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn add(&mut self, row: &[(&str, String)]) -> Result<()> {
        let cell =
            |column: &String| row.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value.as_str());
        let cells: Vec<&str> = self.columns.iter().map(cell).collect();
        self.writer.write_record(cells).map_err(|e| Error::write(&self.path, std::io::Error::other(e)))?;
        if let Some(events) = &mut self.events {
            events.add(row)?;
        }
        if self.flushed.elapsed() >= FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.events.as_mut().map_or(Ok(()), Events::flush)?;
        self.writer.flush().map_err(|e| Error::write(&self.path, e))
    }
}

/// The rows of a table, read again.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Rows {
    /// All whole rows of the file.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub(crate) fn read(path: &Path, columns: &[&str]) -> Result<Self> {
        let rows = rows(path, columns, u64::MAX)?;
        Ok(Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows })
    }

    /// The number of a column in the row of a step.
    pub(crate) fn at(&self, step: u64, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|name| name == column)?;
        let is_of_step = |row: &&csv::StringRecord| row.get(0).and_then(|first| first.parse().ok()) == Some(step);
        self.rows.iter().find(is_of_step)?.get(at)?.parse().ok()
    }

    /// The numbers of a column from the first row to the last, without its empty cells.
    pub(crate) fn numbers(&self, column: &str) -> Vec<f64> {
        let at = self.columns.iter().position(|name| name == column);
        let cell = |row: &csv::StringRecord| row.get(at?)?.parse().ok();
        self.rows.iter().filter_map(cell).collect()
    }
}

/// The whole rows up to step `last`. A process that was killed may have left half a row behind it.
fn rows(path: &Path, columns: &[&str], last: u64) -> Result<Vec<csv::StringRecord>> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(|e| Error::read(path, e.into()))?;
    let header = reader.headers().map_err(|e| Error::data(path, e.to_string()))?;
    if header != columns {
        let found = header.iter().collect::<Vec<_>>().join(",");
        return Err(Error::data(path, format!("has the columns {found}; wanted {}", columns.join(","))));
    }
    let mut kept = Vec::new();
    for row in reader.records() {
        let Ok(row) = row else { break };
        let step = row.get(0).and_then(|step| step.parse::<u64>().ok());
        if row.len() != columns.len() || step.is_none_or(|step| step > last) {
            break;
        }
        kept.push(row);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_by_their_column_and_empty_ones_are_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut table = Table::open(&path, &METRICS, None).unwrap();
        table.add(&[("step", "1".into()), ("loss", "0.5".into())]).unwrap();
        table.add(&[("step", "2".into())]).unwrap();
        table.flush().unwrap();
        let rows = Rows::read(&path, &METRICS).unwrap();
        assert_eq!((rows.numbers("step"), rows.numbers("loss")), (vec![1.0, 2.0], vec![0.5]));
        assert!(rows.numbers("d_prime").is_empty() && rows.numbers("gain").is_empty());
    }

    #[test]
    fn steps_without_a_row_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let open = |last| Table::open(&path, &METRICS, last).unwrap();
        let mut table = open(None);
        (1..=3).for_each(|step: u64| table.add(&[("step", step.to_string())]).unwrap());
        table.flush().unwrap();
        assert_eq!((open(Some(3)).lacks(3, "steps"), open(Some(3)).lacks(0, "steps")), (None, None));
        let said = open(Some(5)).lacks(5, "steps").unwrap();
        assert!(said.contains("lacks 2 of the 5 steps before the checkpoint"), "{said}");
    }

    #[test]
    fn rows_are_on_disk_a_second_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut table = Table::open(&path, &METRICS, None).unwrap();
        table.flushed = Instant::now().checked_sub(FLUSH).unwrap();
        table.add(&[("step", "1".into())]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_table_goes_on_after_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let columns = ["step", "loss"];
        let row = |step: u64| [("loss", format!("{step}.5")), ("step", step.to_string())];
        let mut table = Table::open(&path, &columns, None).unwrap();
        for step in 1..=4 {
            table.add(&row(step)).unwrap();
        }
        table.flush().unwrap();
        drop(table);
        let whole = std::fs::read_to_string(&path).unwrap();
        assert_eq!(whole, "step,loss\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n");
        // Killed while it wrote its last row.
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut table = Table::open(&path, &columns, Some(2)).unwrap();
        table.add(&row(3)).unwrap();
        drop(table);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "step,loss\n1,1.5\n2,2.5\n3,3.5\n");
        drop(Table::open(&path, &columns, None).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "step,loss\n");
        let error = Table::open(&path, &["step", "gain"], Some(1)).unwrap_err().to_string();
        assert!(error.contains("step,loss") && error.contains("step,gain"), "{error}");
    }
}
