//! The run's tables: a row a step in `metrics.csv`, a row a validation in `validation.csv`. A run that goes on drops the rows
//! past its checkpoint first, so that the tables are those of a run that was never stopped.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use pdloss_embed::files::write_atomically;
use pdloss_embed::{Error, Result};

/// A CSV file whose first column is the step.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    writer: csv::Writer<File>,
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
        Ok(Self { path: path.into(), writer: csv::Writer::from_writer(file) })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn add(&mut self, row: &[String]) -> Result<()> {
        self.writer.write_record(row).map_err(|e| Error::write(&self.path, std::io::Error::other(e)))
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|e| Error::write(&self.path, e))
    }
}

/// All rows of a table.
///
/// # Errors
/// As [`Table::open`].
pub(crate) fn read(path: &Path, columns: &[&str]) -> Result<Vec<csv::StringRecord>> {
    rows(path, columns, u64::MAX)
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
    fn a_table_goes_on_after_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let columns = ["step", "loss"];
        let row = |step: u64| [step.to_string(), format!("{}.5", step)];
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
