//! Result files: csv, json, parquet or Markdown by ending, written whole or not at all.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use polars::prelude::{
    CsvReader, CsvWriter, DataFrame, JsonFormat, JsonWriter, ParquetReader, ParquetWriter, PolarsResult, SerReader,
    SerWriter,
};
use serde::Deserialize;

use pdloss_embed::files::{ending, folder_exists, write_atomically};

use super::Record;
use crate::{Error, Result};

/// A kind of result file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Comma-separated values.
    Csv,
    /// A JSON array of one object a row.
    Json,
    /// Parquet.
    Parquet,
    /// A Markdown table.
    Markdown,
}

impl Kind {
    /// The kind that a path's ending names; its folder must exist.
    ///
    /// # Errors
    /// [`Error::Usage`] naming flag and path.
    pub fn of(flag: &str, path: &Path) -> Result<Self> {
        let kind = match ending(path).as_str() {
            "csv" => Self::Csv,
            "json" => Self::Json,
            "parquet" => Self::Parquet,
            "md" => Self::Markdown,
            _ => {
                return Err(Error::Usage(format!(
                    "{flag} {}: wanted a file that ends in .csv, .json, .parquet or .md",
                    path.display()
                )));
            }
        };
        folder_exists(flag, path)?;
        Ok(kind)
    }

    /// Writes a table.
    ///
    /// # Errors
    /// [`Error::File`] where writing fails; nothing is left behind then.
    pub fn write(self, path: &Path, table: &DataFrame) -> Result<()> {
        let mut table = table.clone();
        write_atomically(path, |file| {
            let other = std::io::Error::other;
            match self {
                Self::Csv => CsvWriter::new(file).finish(&mut table).map_err(other),
                Self::Json => {
                    JsonWriter::new(file).with_json_format(JsonFormat::Json).finish(&mut table).map_err(other)
                }
                Self::Parquet => ParquetWriter::new(file).finish(&mut table).map(|_| ()).map_err(other),
                Self::Markdown => {
                    Record::rows(&table).map_err(other).and_then(|rows| writeln!(file, "{}", Record::markdown(&rows)))
                }
            }
        })
    }
}

/// A JSON file of results: several, or one by itself.
#[derive(Deserialize)]
#[serde(untagged, expecting = "wanted an object of words and numbers, or an array of such")]
enum Rows {
    Several(Vec<Record>),
    One(Record),
}

impl Rows {
    fn into_vec(self) -> Vec<Record> {
        match self {
            Self::Several(rows) => rows,
            Self::One(row) => vec![row],
        }
    }
}

/// The rows of a result file: .json, .csv or .parquet by its ending.
///
/// # Errors
/// [`Error::File`], [`Error::Data`] where it is no table, [`Error::Usage`] for another ending.
pub(crate) fn read_records(path: &Path) -> Result<Vec<Record>> {
    let open = || File::open(path).map_err(|e| Error::read(path, e));
    let wrong = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
    let table = |read: PolarsResult<DataFrame>| read.and_then(|t| Record::rows(&t)).map_err(|e| wrong(&e));
    let records = match ending(path).as_str() {
        // polars forgets the order of a JSON object's names
        "json" => serde_json::from_reader(BufReader::new(open()?)).map(Rows::into_vec).map_err(|e| wrong(&e))?,
        "csv" => table(CsvReader::new(open()?).finish())?,
        "parquet" => table(ParquetReader::new(open()?).finish())?,
        _ => {
            let wanted = "wanted a result file (.json, .csv or .parquet) or the folder of a run";
            return Err(Error::Usage(format!("{}: {wanted}", path.display())));
        }
    };
    if records.is_empty() { Err(Error::data(path, "holds no result")) } else { Ok(records) }
}
