//! Parquet files of a run's folder: columns of types that are known.

use std::path::{Path, PathBuf};

use pdloss_embed::guard::guarded;
use polars::prelude::{Column, DataFrame, DataType, PolarsError};

use super::file::write_parquet;
use super::read_parquet;
use crate::{Error, Result};

/// A run keeps no more queries, neighbours or pairs; a file that claims more is damaged.
const MOST_ROWS: usize = 1 << 25;

/// Writes columns of equal length.
pub(crate) fn write(path: &Path, columns: Vec<Column>) -> Result<()> {
    let height = columns.first().map_or(0, Column::len);
    let mut table = DataFrame::new(height, columns).map_err(|e| Error::write(path, std::io::Error::other(e)))?;
    write_parquet(path, &mut table)
}

/// A file that was read, and its columns by name.
pub(crate) struct Table {
    path: PathBuf,
    frame: DataFrame,
}

impl Table {
    pub(crate) fn read(path: PathBuf) -> Result<Self> {
        let frame = read_parquet(&path, MOST_ROWS)?;
        Ok(Self { path, frame })
    }

    fn wrong(&self, name: &str, e: &PolarsError) -> Error {
        Error::data(&self.path, format!("column '{name}': {e}"))
    }

    fn column(&self, name: &str, to: &DataType) -> Result<Column> {
        guarded(&self.path, || {
            self.frame.column(name).and_then(|c| c.strict_cast(to)).map_err(|e| self.wrong(name, &e))
        })
    }

    /// Every value of a column that may have none missing.
    fn all<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>> {
        let missing = values.iter().position(Option::is_none);
        if let Some(row) = missing {
            return Err(Error::data(&self.path, format!("column '{name}': row {} has no value", row + 1)));
        }
        Ok(values.into_iter().flatten().collect())
    }

    pub(crate) fn words(&self, name: &str) -> Result<Vec<String>> {
        let column = self.column(name, &DataType::String)?;
        let values = column.str().map_err(|e| self.wrong(name, &e))?;
        self.all(name, values.iter().map(|v| v.map(str::to_owned)).collect())
    }

    pub(crate) fn reals(&self, name: &str) -> Result<Vec<f64>> {
        self.all(name, self.some_reals(name)?)
    }

    pub(crate) fn some_reals(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let column = self.column(name, &DataType::Float64)?;
        Ok(column.f64().map_err(|e| self.wrong(name, &e))?.iter().collect())
    }

    /// Whether there is such a column: files of earlier versions lack some.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.frame.column(name).is_ok()
    }

    /// Shares: numbers from 0 to 1.
    pub(crate) fn shares(&self, name: &str) -> Result<Vec<f64>> {
        // What sums of shares are off by.
        self.reals_that(name, "a share from 0 to 1", |share| (-1e-9..=1.0 + 1e-9).contains(&share))
    }

    /// Numbers that are neither NaN nor infinite.
    pub(crate) fn finite(&self, name: &str) -> Result<Vec<f64>> {
        self.reals_that(name, "a finite number", f64::is_finite)
    }

    fn reals_that(&self, name: &str, wanted: &str, is: impl Fn(f64) -> bool) -> Result<Vec<f64>> {
        let values = self.reals(name)?;
        match values.iter().position(|&value| !is(value)) {
            None => Ok(values),
            Some(at) => {
                let problem = format!("column '{name}', row {}: {}; wanted {wanted}", at + 1, values[at]);
                Err(Error::data(&self.path, problem))
            }
        }
    }

    pub(crate) fn some_counts(&self, name: &str) -> Result<Vec<Option<u32>>> {
        let column = self.column(name, &DataType::UInt32)?;
        Ok(column.u32().map_err(|e| self.wrong(name, &e))?.iter().collect())
    }

    pub(crate) fn counts(&self, name: &str) -> Result<Vec<u32>> {
        self.all(name, self.some_counts(name)?)
    }

    pub(crate) fn some_flags(&self, name: &str) -> Result<Vec<Option<bool>>> {
        let column = self.column(name, &DataType::Boolean)?;
        Ok(column.bool().map_err(|e| self.wrong(name, &e))?.iter().collect())
    }

    pub(crate) fn flags(&self, name: &str) -> Result<Vec<bool>> {
        self.all(name, self.some_flags(name)?)
    }

    /// Checks that numbers of rows of another table are there: `name` holds no number from `count` on.
    pub(crate) fn within(&self, name: &str, rows: &[u32], count: usize) -> Result<()> {
        match rows.iter().position(|&row| row as usize >= count) {
            None => Ok(()),
            Some(at) => Err(Error::data(
                &self.path,
                format!("column '{name}', row {}: {} is not below {count}", at + 1, rows[at]),
            )),
        }
    }
}
