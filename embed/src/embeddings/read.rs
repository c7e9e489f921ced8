//! Reading of kept embeddings, by the ending of the file.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::matrix::{self, ByRows};
use super::{Blocks, Embeddings, OnDisk, Row, bundle, labels, labels_beside, parquet, sha256_of};
use crate::dataset::slips_in;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::files::ending;

/// What the rows of a file are, and what was assumed of it.
type Described = (Vec<Row>, Vec<String>, Vec<String>);

impl Embeddings {
    /// Reads embeddings by the file's ending: `.npy`, `.safetensors`, `.parquet`, else raw f32 of `dim` columns.
    ///
    /// `labels` names the file of labels of an `.npy` or raw file, or of a `.parquet` without a column of labels: a CSV with a
    /// `label` column (and `name`, `role`), or one label a line. Beside an `.npy` it is found by itself.
    ///
    /// # Errors
    /// [`Error::Usage`] where `dim` or `labels` are missing, [`Error::File`] and [`Error::Data`] where a file is not what
    /// it should be, and those of [`Embeddings::new`].
    pub fn read(path: &Path, dim: Option<usize>, labels: Option<&Path>) -> Result<Self> {
        Self::read_part(path, dim, labels).map(|(read, _)| read)
    }

    /// [`Embeddings::read`], and the SHA-256 of the whole file's values and labels; of several ranks, each keeps its share of the rows.
    ///
    /// # Errors
    /// As [`Embeddings::read`].
    pub fn read_part(path: &Path, dim: Option<usize>, labels: Option<&Path>) -> Result<(Self, String)> {
        let kind = kind_of(path, dim)?;
        let (mut described, mut of_columns, mut bundle) = (None, Vec::new(), None);
        let stored = match kind.as_str() {
            "npy" => matrix::read_npy(path)?,
            "safetensors" => {
                let mut kept = bundle::open(path)?;
                described = described_by_bundle(path, &mut kept, labels)?;
                of_columns = bundle::said(path, &kept)?;
                let values = bundle::values(path, &mut kept)?;
                bundle = Some(kept);
                values
            }
            "parquet" => {
                let kept = parquet::open(path)?;
                described = described_by_itself(path, &kept, labels)?;
                of_columns = kept.notes().to_vec();
                parquet::read(path, kept.rows(path))?
            }
            _ => matrix::read_raw(path, dim)?,
        };
        let shape = (stored.count, stored.matrix.ncols());
        let (rows, classes, said) = match described {
            Some(described) => described,
            None => describe(path, labels, shape, &stored.digest, bundle.as_ref())?,
        };
        let notes = stored.notes.into_iter().chain(of_columns).chain(said).collect();
        let read = Self { notes, ..Self::part(stored.matrix, stored.first, rows, classes)? };
        let sha256 = read.with_labels(stored.digest);
        Ok((read, sha256))
    }
}

impl OnDisk {
    /// Looks through embeddings of which no more than so many bytes are to be in memory at a time; the files are those of
    /// [`Embeddings::read`].
    ///
    /// # Errors
    /// As [`Embeddings::read`]; [`Error::Data`] for an `.npy` whose numbers are not row by row in little-endian float32, float64 or float16.
    pub fn open(path: &Path, dim: Option<usize>, labels: Option<&Path>, bytes: usize) -> Result<Self> {
        let kind = kind_of(path, dim)?;
        let (mut described, mut of_columns, mut bundle) = (None, Vec::new(), None);
        let mut blocks = match kind.as_str() {
            "safetensors" => {
                let mut kept = bundle::open(path)?;
                described = described_by_bundle(path, &mut kept, labels)?;
                of_columns = bundle::said(path, &kept)?;
                let blocks = Blocks::new(path, kept.by_rows(path)?);
                bundle = Some(kept);
                blocks
            }
            "parquet" => {
                let kept = parquet::open(path)?;
                described = described_by_itself(path, &kept, labels)?;
                of_columns = kept.notes().to_vec();
                Blocks::of_parquet(path, kept.rows(path))
            }
            "npy" => {
                let found = matrix::open_npy(path)?.ok_or_else(|| {
                    Error::data(
                        path,
                        "cannot be read block by block; wanted a whole .npy file of little-endian float32, float64 or float16 [rows, dim] \
                         in C order: numpy.save(FILE, numpy.ascontiguousarray(E, dtype='<f4'))",
                    )
                })?;
                Blocks::new(path, found)
            }
            _ => {
                let (file, shape) = matrix::open_raw(path, dim)?;
                Blocks::new(path, ByRows { file, start: 0, shape, dtype: safetensors::Dtype::F32 })
            }
        };
        let is_raw = !["npy", "safetensors", "parquet"].contains(&kind.as_str());
        let pass = blocks.look_through(bytes, is_raw)?;
        let (rows, classes, said) = match described {
            Some(described) => described,
            None => describe(path, labels, (blocks.rows(), blocks.dim()), &pass.digest, bundle.as_ref())?,
        };
        pass.check(&rows, blocks.dim())?;
        let sha256 = sha256_of(pass.digest.clone(), &rows, &classes);
        let seen = pass.seen(&rows);
        let notes = seen.1.into_iter().chain(of_columns).chain(said).collect();
        Ok(Self { rows, classes, notes, blocks, sha256, seen: seen.0 })
    }
}

/// The ending, which says what the file is; flags that it does not want are refused.
fn kind_of(path: &Path, dim: Option<usize>) -> Result<String> {
    let kind = ending(path);
    if let (Some(dim), "npy" | "safetensors" | "parquet") = (dim, kind.as_str()) {
        let problem = "says by itself how long its rows are; --dim is for raw float32";
        return Err(Error::Usage(format!("--dim {dim}: {} {problem}", path.display())));
    }
    Ok(kind)
}

/// Bytes of a file's numbers as float32, where they are not those of the file.
///
/// # Errors
/// Those of reading the footer of a `.parquet` file.
pub fn bytes_in_memory(path: &Path) -> Result<Option<u64>> {
    if ending(path) == "parquet" { parquet::open(path).map(|kept| Some(kept.bytes())) } else { Ok(None) }
}

/// What the rows of a parquet file are, where a column says so; flags that it does not want are refused.
fn described_by_itself(path: &Path, kept: &parquet::Kept, labels: Option<&Path>) -> Result<Option<Described>> {
    let described = if kept.has_labels() { Some(kept.describe(path)?) } else { None };
    one_of_both(path, described, "column 'label'", labels)
}

/// The same of a `.safetensors` file.
fn described_by_bundle(path: &Path, kept: &mut bundle::Bundle, labels: Option<&Path>) -> Result<Option<Described>> {
    let described = bundle::describe(path, kept)?;
    one_of_both(path, described, "tensor 'labels'", labels)
}

/// Labels are the file's, or others; never both, and never none.
fn one_of_both(
    path: &Path,
    described: Option<(Vec<Row>, Vec<String>)>,
    wanted: &str,
    labels: Option<&Path>,
) -> Result<Option<Described>> {
    match (described, labels) {
        (None, None) => Err(Error::data(
            path,
            format!(
                "has no {wanted}, and labels by themselves are wanted: --labels FILE (one label a line, or a CSV with a label column)"
            ),
        )),
        (None, Some(_)) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Error::Usage(format!("--labels: {} brings its own labels, in its {wanted}", path.display())))
        }
        (Some((rows, classes)), None) => {
            let said = slips_in(classes.iter().map(String::as_str));
            Ok(Some((rows, classes, said)))
        }
    }
}

/// The labels of a file of this shape and digest, which are kept elsewhere; of a `.safetensors` with what its metadata say.
fn describe(
    path: &Path,
    labels: Option<&Path>,
    (count, dim): (usize, usize),
    digest: &Sha256,
    bundle: Option<&bundle::Bundle>,
) -> Result<Described> {
    let beside = labels_beside(path);
    let by_itself = labels.is_none();
    let labels = match labels {
        Some(given) => given.to_path_buf(),
        None if ending(path) == "npy" && beside.is_file() => beside,
        None => {
            return Err(Error::Usage(format!(
                "--embeddings {}: add --labels FILE (one label a line, or a CSV with a label column)",
                path.display()
            )));
        }
    };
    let read = labels::read(&labels, count)?;
    if read.rows.len() != count {
        return Err(Error::Embeddings(format!(
            "{} holds {count} rows of {dim}, {} holds {} labels{}",
            path.display(),
            labels.display(),
            read.rows.len(),
            read.hint((count, dim))
        )));
    }
    let mut notes = Vec::new();
    match &read.matrix_sha256 {
        Some(wanted) if *wanted != hex(&digest.clone().finalize()) => {
            return Err(Error::Embeddings(format!(
                "{} was written for other embeddings than {} holds (their SHA-256 differs): save both again, or take the column matrix_sha256 out of the labels if they do belong together",
                labels.display(),
                path.display()
            )));
        }
        None if by_itself => notes.push(format!(
            "{} has no digest of its embeddings (version 0.1 wrote none): that it belongs to {} is assumed",
            labels.display(),
            path.display()
        )),
        _ => {}
    }
    notes.extend(read.notes);
    let mut rows = read.rows;
    bundle.map_or(Ok(()), |bundle| bundle::complete(path, bundle, &mut rows))?;
    Ok((rows, read.classes, notes))
}
