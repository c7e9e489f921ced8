//! Result files: csv, json, parquet or Markdown by ending, written whole or not at all.

use std::io::{Read, Write};
use std::path::Path;

use polars::prelude::{ArrowDataType, DataFrame, ParallelStrategy, ParquetReader, ParquetWriter, SerReader};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use pdloss_embed::dataset::several;
use pdloss_embed::delimited::decode;
use pdloss_embed::files::{can_write, ending, open_file, write_atomically};
use pdloss_embed::guard::guarded;

use super::{Record, Sheet, csv, frame};
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

/// A table of results has no more rows; a file that claims more is damaged.
const MOST_ROWS: usize = 1_000_000;

impl Kind {
    /// The kind that a path's ending names; the file must be one that can be written.
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
        can_write(flag, path)?;
        Ok(kind)
    }

    /// Writes the result of a run. A parquet file has every column that results of its `measure` have, so that those of
    /// several runs are one table.
    ///
    /// # Errors
    /// As [`Kind::write`].
    pub fn write_result(self, path: &Path, result: &Record) -> Result<()> {
        self.write_results(path, std::slice::from_ref(result))
    }

    /// The same, of several rows.
    ///
    /// # Errors
    /// As [`Kind::write`].
    pub(crate) fn write_results(self, path: &Path, rows: &[Record]) -> Result<()> {
        if self == Self::Parquet { self.write(path, &Record::complete(rows)) } else { self.write(path, rows) }
    }

    /// Writes rows as a table of all their columns.
    ///
    /// # Errors
    /// [`Error::File`] where writing fails; nothing is left behind then.
    pub fn write(self, path: &Path, rows: &[Record]) -> Result<()> {
        let other = std::io::Error::other;
        match self {
            Self::Csv => write_atomically(path, |file| csv::write(file, rows)),
            Self::Json => write_atomically(path, |file| {
                let mut file = std::io::BufWriter::new(file);
                serde_json::to_writer(&mut file, rows).map_err(other)?;
                file.flush()
            }),
            Self::Parquet => {
                let mut table = frame::frame(rows).map_err(|e| Error::write(path, std::io::Error::other(e)))?;
                write_parquet(path, &mut table)
            }
            Self::Markdown => write_atomically(path, |file| file.write_all(Sheet::of(rows).markdown().as_bytes())),
        }
    }
}

/// Writes a parquet file.
///
/// # Errors
/// [`Error::File`] where writing fails; nothing is left behind then.
pub(super) fn write_parquet(path: &Path, table: &mut DataFrame) -> Result<()> {
    write_atomically(path, |file| ParquetWriter::new(file).finish(table).map(|_| ()).map_err(std::io::Error::other))
}

/// Reads a parquet file of at most so many rows.
///
/// # Errors
/// [`Error::File`]; [`Error::Data`] for what is no such file, and for one that claims more rows.
pub(crate) fn read_parquet(path: &Path, most_rows: usize) -> Result<DataFrame> {
    let file = open_file(path)?;
    guarded(path, || {
        let wrong = |e: polars::prelude::PolarsError| Error::data(path, format!("cannot be read as parquet: {e}"));
        let mut reader = ParquetReader::new(file).read_parallel(ParallelStrategy::None);
        let rows = reader.get_metadata().map_err(wrong)?.num_rows;
        if rows > most_rows {
            return Err(Error::data(path, format!("claims {rows} rows; wanted at most {most_rows}")));
        }
        let schema = reader.schema().map_err(wrong)?;
        // Polars has these behind features of its own, which nothing else here wants.
        let is_small = |kind: &ArrowDataType| {
            use ArrowDataType::{Float16, Int8, Int16, UInt8, UInt16};
            matches!(kind, Float16 | Int8 | Int16 | UInt8 | UInt16)
        };
        let small = schema.iter_values().filter(|field| is_small(field.dtype()));
        let small: Vec<String> = small.map(|field| format!("'{}' ({:?})", field.name, field.dtype())).collect();
        if !small.is_empty() {
            let problem = format!(
                "column {} has numbers of fewer than 32 bits; wanted 32 or 64 of them, such as float32 (pandas: astype)",
                several(small)
            );
            return Err(Error::data(path, problem));
        }
        reader.finish().map_err(wrong)
    })
}

/// A JSON file of results: several, or one by itself.
struct Rows(Vec<Record>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Rows;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of words and numbers, or an array of such")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Rows, A::Error> {
                Record::deserialize(MapAccessDeserializer::new(map)).map(|row| Rows(vec![row]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut several: A) -> std::result::Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = several.next_element()? {
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }
        from.deserialize_any(OneOrSeveral)
    }
}

/// The rows of a result file: .json, .csv or .parquet by its ending.
///
/// # Errors
/// [`Error::File`], [`Error::Data`] where it is no table, [`Error::Usage`] for another ending.
pub(crate) fn read_records(path: &Path) -> Result<Vec<Record>> {
    let records = match ending(path).as_str() {
        "json" => {
            let text = read_text(path)?;
            let wanted = "wanted an object of words and numbers, or an array of such";
            serde_json::from_str::<Rows>(&text).map_err(|e| Error::data(path, format!("{wanted}: {e}")))?.0
        }
        "csv" => csv::read(&read_text(path)?).map_err(|e| Error::data(path, e))?,
        "parquet" => {
            let table = read_parquet(path, MOST_ROWS)?;
            guarded(path, || frame::rows(&table).map_err(|e| Error::data(path, e.to_string())))?
        }
        _ => {
            let wanted = "wanted a result file (.json, .csv or .parquet) or the folder of a run";
            return Err(Error::Usage(format!("{}: {wanted}", path.display())));
        }
    };
    if records.is_empty() {
        return Err(Error::data(path, "holds no result"));
    }
    let records: Vec<Record> = records.into_iter().map(Record::typed).collect();
    let wrong = records.iter().enumerate().find_map(|(at, record)| Some((at + 1, record.out_of_range()?)));
    wrong.map_or(Ok(records), |(row, problem)| Err(Error::data(path, format!("row {row}: {problem}"))))
}

/// The text of a plain file.
///
/// # Errors
/// [`Error::File`]; [`Error::Data`] where it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    decode(path, bytes)
}
