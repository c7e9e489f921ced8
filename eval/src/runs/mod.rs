//! A run kept in a folder by `--save-run`: more than the one row of `--out`, for `report`, `compare` and `tabulate`, and for
//! polars or pandas.
//!
//! | file | of | one row is |
//! |---|---|---|
//! | `result.json` | every run | the run: what `--out` writes |
//! | `queries.parquet` | recall | a query: `name`, `class`, `relevant` (R), `first_hit` (rank from 1; missing where none of the `search_depth` nearest is right), `r_precision`, `ap@r` |
//! | `neighbours.parquet` | recall | one of the nearest of a query: `query` (row of `queries` from 0), `rank`, `name`, `class`, `score` (greater is nearer: cosine, inner product, or minus the squared distance) |
//! | `map.parquet` | recall | an image: `name`, `class`, and its place `x`, `y` along the first two principal components of the embeddings (of their directions, where they are searched by cosine), in which the part `share` of all variance lies; and `tsne_x`, `tsne_y` in a layout by t-SNE, where one was made and it is among its images |
//! | `files.parquet` | recall and verify of images | an image: `name`, and `sha256`, the first 16 digits of its file's digest |
//! | `points.parquet` | verify, scores, and recall by cosine of all images against all | a point of ROC and DET: `threshold`, `fmr`, `fnmr`, `tar` |
//! | `histogram.parquet` | as `points` | a bin of scores: `from`, `to`, and the shares `genuine` and `impostor` in it |
//! | `groups.parquet` | verify with `--groups` | a group: what `--group-table` writes |
//! | `images.parquet` | verify | an image: `name`, `subject` |
//! | `pairs.parquet` | verify, where pairs are kept | a pair: images `a` and `b` (rows of `images` from 0), `same`, `score`, `fold` (from 0), `right` (decided rightly at its fold's threshold) |
//!
//! A folder that `pdloss train` wrote is a run, too: `metrics.csv` is read from it.

mod files;
mod map;
mod retrieval;
mod training;
mod verification;

use std::path::{Path, PathBuf};

use crate::{Error, Result};
use pdloss_embed::console::{note, wrote};
use pdloss_embed::files::{can_fill, folder_of};

use crate::table::{Kind, Record, Value, read_records};
pub use files::Files;
pub use map::{Layout, Map, Place};
pub use retrieval::{KEPT_NEIGHBOURS, Neighbour, Query, Retrieved};
pub use training::{Series, Training};
pub use verification::{CurvePoint, Pair, Pairs, Person, Verified};

const RESULT: &str = "result.json";

/// A result that was read back.
#[derive(Debug)]
pub struct Run {
    /// Folder or file.
    pub path: PathBuf,
    /// The rows of the result: one, but for files that hold several.
    pub records: Vec<Record>,
    /// What only a folder holds.
    pub details: Details,
}

/// What a run keeps beside its row.
#[derive(Debug)]
pub enum Details {
    /// Nothing: a result file.
    None,
    /// Queries and their neighbours.
    Retrieval(Retrieved),
    /// Curves, and pairs where they were kept.
    Verification(Verified),
    /// Metrics by step.
    Training(Training),
}

impl Run {
    /// Reads a folder of `--save-run`, a folder of `pdloss train`, or a result file (.json, .csv, .parquet).
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Data`] naming file and column; [`Error::Usage`] for a folder that is no run.
    pub fn read(path: &Path) -> Result<Self> {
        std::fs::metadata(path).map_err(|e| Error::read(path, e))?;
        let details = if !path.is_dir() {
            Details::None
        } else if Training::is_in(path) {
            let training = Training::read(path)?;
            let mut record = training.record();
            if let Some(problem) = record.out_of_range() {
                return Err(Error::data(path, problem));
            }
            for said in training.doubts() {
                note(&format!("{}: {said}", path.display()));
                record.keep_note(&said);
            }
            return Ok(Self { path: path.into(), records: vec![record], details: Details::Training(training) });
        } else if Retrieved::is_in(path) {
            Details::Retrieval(Retrieved::read(path)?)
        } else if Verified::is_in(path) {
            Details::Verification(Verified::read(path)?)
        } else {
            return Err(Error::Usage(format!(
                "{}: no run in this folder; wanted one that --save-run or `pdloss train` wrote, or a result file",
                path.display()
            )));
        };
        let file = if path.is_dir() { path.join(RESULT) } else { path.into() };
        let run = Self { path: path.into(), records: read_records(&file)?, details };
        if path.is_dir() {
            if run.records.len() > 1 {
                let rows = run.records.len();
                return Err(Error::data(&file, format!("has {rows} rows; wanted the one of the run beside it")));
            }
            let say = |doubts: Vec<String>| doubts.iter().for_each(|said| note(&format!("{}: {said}", file.display())));
            match &run.details {
                Details::Retrieval(retrieved) => say(retrieved.doubts(&run.records[0])),
                Details::Verification(verified)
                    if run.records[0].get("measure").map(Value::word).as_deref() != Some("recall") =>
                {
                    say(verified.doubts(&run.records[0]));
                }
                _ if run.records[0].get("measure").map(Value::word).as_deref() == Some("recall") => {
                    let problem =
                        "is of a run of recall, and its queries are not beside it; wanted queries.parquet there";
                    return Err(Error::data(&file, problem));
                }
                _ => {}
            }
        }
        Ok(run)
    }

    /// What it is, by its `measure`, in words.
    pub fn kind(&self) -> String {
        let measure = self.records[0].get("measure").map(Value::word).unwrap_or_default();
        let what = if self.path.is_dir() { "run" } else { "result file" };
        if measure.is_empty() { format!("a {what} without a measure") } else { format!("a {what} of {measure}") }
    }

    /// Its last folder's or file's name without ending.
    pub fn name(&self) -> String {
        let named = if self.path.is_dir() { self.path.file_name() } else { self.path.file_stem() };
        named.unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }
}

/// A folder that `--save-run` names, checked before any work starts.
#[derive(Clone, Debug)]
pub struct SaveRun(PathBuf);

impl SaveRun {
    /// Refuses a folder that is there already: a run is not written over another. Folders above it are made with it.
    ///
    /// # Errors
    /// [`Error::Usage`] naming it.
    pub fn plan(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Usage(format!("--save-run {}: is there already; name a new folder", path.display())));
        }
        can_fill("--save-run", path)?;
        Ok(Self(path.into()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes the run: the whole folder or none.
    ///
    /// # Errors
    /// [`Error::File`] where writing fails.
    pub fn write(&self, record: &Record, details: &Details) -> Result<()> {
        std::fs::create_dir_all(folder_of(&self.0)).map_err(|e| Error::write(&self.0, e))?;
        let beside = tempfile::Builder::new().prefix(".pdloss-").tempdir_in(folder_of(&self.0));
        let beside = beside.map_err(|e| Error::write(&self.0, e))?;
        Kind::Json.write_result(&beside.path().join(RESULT), record)?;
        match details {
            Details::None | Details::Training(_) => {}
            Details::Retrieval(retrieved) => retrieved.write(beside.path())?,
            Details::Verification(verified) => verified.write(beside.path())?,
        }
        open_to_others(beside.path()).map_err(|e| Error::write(&self.0, e))?;
        std::fs::rename(beside.path(), &self.0).map_err(|e| Error::write(&self.0, e))?;
        // It has moved: nothing is left to be removed.
        let _ = beside.keep();
        wrote(&self.0);
        Ok(())
    }
}

/// A temporary folder is its owner's alone; a run is as any new folder.
#[cfg(unix)]
fn open_to_others(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let probe = folder.join(".mode");
    std::fs::DirBuilder::new().mode(0o777).create(&probe)?;
    let mode = std::fs::metadata(&probe)?.permissions().mode();
    std::fs::remove_dir(&probe)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn open_to_others(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
