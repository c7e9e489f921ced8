//! Embeddings with the names, classes and roles of their rows; saved and read back, so that measuring again needs no
//! model. Three forms: `.npy` with a CSV of rows beside it, `.safetensors` (all in one), and raw little-endian f32.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::ReadNpyExt;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::dataset::Role;
use crate::error::{Error, Result};
use crate::files::{ending, write_atomically};

/// One row's name, class and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The image's name.
    pub name: String,
    /// Index into [`Embeddings::classes`].
    pub class: usize,
    /// The part it plays.
    pub role: Role,
}

/// A matrix `[rows, dim]` of finite numbers, and what each row is.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One row an image.
    pub matrix: Array2<f32>,
    /// As many as the matrix has rows.
    pub rows: Vec<Row>,
    /// Class names.
    pub classes: Vec<String>,
}

const TENSOR: &str = "embeddings";
const LABELS: &str = "labels";

impl Embeddings {
    /// Puts rows and their descriptions together.
    ///
    /// # Errors
    /// [`Error::Embeddings`] where the counts differ, the matrix is empty, or a value is NaN or infinite (named by row).
    pub fn new(matrix: Array2<f32>, rows: Vec<Row>, classes: Vec<String>) -> Result<Self> {
        if matrix.nrows() != rows.len() {
            return Err(Error::Embeddings(format!("{} rows, but {} labels", matrix.nrows(), rows.len())));
        }
        if matrix.is_empty() {
            return Err(Error::Embeddings(format!(
                "nothing to measure: the matrix is {} x {}",
                matrix.nrows(),
                matrix.ncols()
            )));
        }
        for (row, about) in matrix.rows().into_iter().zip(&rows) {
            if let Some((at, value)) = row.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(Error::Embeddings(format!("{} has {value} at position {at}", about.name)));
            }
        }
        Ok(Self { matrix, rows, classes })
    }

    /// Dimension of an embedding.
    pub fn dim(&self) -> usize {
        self.matrix.ncols()
    }

    /// Whether [`Embeddings::save`] knows the path's ending.
    ///
    /// # Errors
    /// [`Error::Usage`] naming flag and path.
    pub fn can_save(flag: &str, path: &Path) -> Result<()> {
        if ["npy", "safetensors"].contains(&ending(path).as_str()) {
            return Ok(());
        }
        Err(Error::Usage(format!("{flag} {}: wanted a file that ends in .npy or .safetensors", path.display())))
    }

    /// Writes `.npy` (and `.csv` beside it) or `.safetensors`, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Usage`] for another ending, [`Error::File`] where writing fails.
    pub fn save(&self, path: &Path) -> Result<()> {
        match ending(path).as_str() {
            "npy" => {
                write_atomically(path, |file| {
                    ndarray_npy::WriteNpyExt::write_npy(&self.matrix, file).map_err(std::io::Error::other)
                })?;
                write_atomically(&labels_beside(path), |file| self.write_rows(file))
            }
            "safetensors" => {
                let bytes = self.to_safetensors().map_err(|e| Error::write(path, std::io::Error::other(e)))?;
                write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
            }
            _ => Self::can_save("embeddings", path),
        }
    }

    fn write_rows(&self, file: &mut File) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(["name", "label", "role"])?;
        for row in &self.rows {
            writer.write_record([row.name.as_str(), &self.classes[row.class], row.role.as_str()])?;
        }
        writer.flush()
    }

    fn to_safetensors(&self) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
        let values: Vec<u8> = self.matrix.iter().flat_map(|v| v.to_le_bytes()).collect();
        let labels: Vec<u8> = self.rows.iter().flat_map(|r| (r.class as i64).to_le_bytes()).collect();
        let (count, dim) = self.matrix.dim();
        let tensors = [
            (TENSOR, TensorView::new(Dtype::F32, vec![count, dim], &values)?),
            (LABELS, TensorView::new(Dtype::I64, vec![count], &labels)?),
        ];
        let json = |value: serde_json::Value| value.to_string();
        let roles: Vec<_> = self.rows.iter().map(|r| r.role.as_str()).collect();
        let names: Vec<_> = self.rows.iter().map(|r| r.name.as_str()).collect();
        let metadata = HashMap::from([
            ("classes".to_owned(), json(self.classes.clone().into())),
            ("names".to_owned(), json(names.into())),
            ("roles".to_owned(), json(roles.into())),
        ]);
        safetensors::serialize(tensors, Some(metadata))
    }

    /// Reads embeddings by the file's ending: `.npy`, `.safetensors`, else raw f32 of `dim` columns.
    ///
    /// `labels` names the file of labels of an `.npy` or raw file: a CSV with a `label` column (and `name`, `role`), or
    /// one label a line. Beside an `.npy` it is found by itself.
    ///
    /// # Errors
    /// [`Error::Usage`] where `dim` or `labels` are missing, [`Error::File`] and [`Error::Data`] where a file is not what
    /// it should be, and those of [`Embeddings::new`].
    pub fn read(path: &Path, dim: Option<usize>, labels: Option<&Path>) -> Result<Self> {
        let kind = ending(path);
        if kind == "safetensors" {
            return Self::read_safetensors(path);
        }
        let matrix = if kind == "npy" { read_npy(path)? } else { read_raw(path, dim)? };
        let beside = labels_beside(path);
        let labels = match labels {
            Some(given) => given.to_path_buf(),
            None if kind == "npy" && beside.is_file() => beside,
            None => {
                return Err(Error::Usage(format!(
                    "--embeddings {}: add --labels FILE (one label a line, or a CSV with a label column)",
                    path.display()
                )));
            }
        };
        let (rows, classes) = read_labels(&labels)?;
        if rows.len() != matrix.nrows() {
            return Err(Error::Embeddings(format!(
                "{} holds {} rows of {}, {} holds {} labels",
                path.display(),
                matrix.nrows(),
                matrix.ncols(),
                labels.display(),
                rows.len()
            )));
        }
        Self::new(matrix, rows, classes)
    }

    fn read_safetensors(path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::data(path, problem);
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
        let tensor = |name: &str, dtype: Dtype, rank: usize| {
            let found = file
                .tensor(name)
                .map_err(|_| wrong(format!("has no tensor '{name}'; it has {}", file.names().join(", "))))?;
            if found.dtype() != dtype || found.shape().len() != rank {
                return Err(wrong(format!(
                    "tensor '{name}' is {:?} {:?}; wanted {dtype:?} of rank {rank}",
                    found.dtype(),
                    found.shape()
                )));
            }
            Ok(found)
        };
        let values = tensor(TENSOR, Dtype::F32, 2)?;
        let labels = tensor(LABELS, Dtype::I64, 1)?;
        let matrix = Array2::from_shape_vec((values.shape()[0], values.shape()[1]), floats(values.data()))
            .map_err(|e| wrong(e.to_string()))?;
        let labels: Vec<i64> =
            labels.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
        let metadata = header.metadata().clone().unwrap_or_default();
        let words = |key: &str| metadata.get(key).and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
        let classes = words("classes").unwrap_or_else(|| {
            let last = labels.iter().copied().max().unwrap_or(0);
            (0..=last).map(|n| n.to_string()).collect()
        });
        let (names, roles) = (words("names"), words("roles"));
        let row = |(at, label): (usize, &i64)| {
            let class = usize::try_from(*label).ok().filter(|&c| c < classes.len());
            let class = class
                .ok_or_else(|| wrong(format!("label {label} of row {at} is not from 0 to {}", classes.len() - 1)))?;
            let name = names.as_ref().and_then(|n| n.get(at).cloned()).unwrap_or_else(|| format!("row {at}"));
            let role = roles.as_ref().and_then(|r| r.get(at)).and_then(|r| Role::parse(r)).unwrap_or(Role::Both);
            Ok(Row { name, class, role })
        };
        let rows = labels.iter().enumerate().map(row).collect::<Result<_>>()?;
        Self::new(matrix, rows, classes)
    }

    /// SHA-256 over the values and the labels: the same numbers and classes give the same digest in every form.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for row in self.matrix.rows() {
            hasher.update(row.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        }
        for row in &self.rows {
            hasher.update(self.classes[row.class].as_bytes());
            hasher.update([0]);
            hasher.update(row.role.as_str());
        }
        crate::digest::hex(&hasher.finalize())
    }
}

fn labels_beside(path: &Path) -> PathBuf {
    path.with_extension("csv")
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
fn read_npy(path: &Path) -> Result<Array2<f32>> {
    let open = || File::open(path).map(BufReader::new).map_err(|e| Error::read(path, e));
    match Array2::<f32>::read_npy(open()?) {
        Ok(matrix) => Ok(matrix.as_standard_layout().into_owned()),
        // numpy's own default is float64
        Err(ndarray_npy::ReadNpyError::WrongDescriptor(_)) => match Array2::<f64>::read_npy(open()?) {
            Ok(matrix) => Ok(matrix.mapv(|v| v as f32).as_standard_layout().into_owned()),
            Err(e) => Err(Error::data(path, format!("wanted an .npy file of float32 or float64 [rows, dim]: {e}"))),
        },
        Err(e) => Err(Error::data(path, format!("wanted an .npy file of float32 or float64 [rows, dim]: {e}"))),
    }
}

fn read_raw(path: &Path, dim: Option<usize>) -> Result<Array2<f32>> {
    let dim = dim.filter(|&d| d > 0).ok_or_else(|| {
        Error::Usage(format!(
            "--embeddings {}: raw float32 needs --dim N (else wanted .npy or .safetensors)",
            path.display()
        ))
    })?;
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(|e| Error::read(path, e))?;
    if !bytes.len().is_multiple_of(4 * dim) {
        return Err(Error::data(
            path,
            format!("its {} bytes are no whole number of rows of {dim} float32", bytes.len()),
        ));
    }
    Array2::from_shape_vec((bytes.len() / (4 * dim), dim), floats(&bytes)).map_err(|e| Error::data(path, e.to_string()))
}

/// Labels, one a line, or a CSV whose header has a `label` column.
fn read_labels(path: &Path) -> Result<(Vec<Row>, Vec<String>)> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
    let header: Vec<String> =
        text.lines().next().unwrap_or_default().split(',').map(|h| h.trim().to_lowercase()).collect();
    let mut classes: Vec<String> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut class_of = |label: &str| {
        *numbers.entry(label.to_owned()).or_insert_with(|| {
            classes.push(label.to_owned());
            classes.len() - 1
        })
    };
    let mut rows = Vec::new();
    if let Some(label) = header.iter().position(|h| h == "label") {
        let column = |wanted: &str| header.iter().position(|h| h == wanted);
        let (name, role) = (column("name"), column("role"));
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        for (at, record) in reader.records().enumerate() {
            let record = record.map_err(|e| Error::data(path, e.to_string()))?;
            let role = match role {
                None => Role::Both,
                Some(c) => Role::parse(&record[c]).ok_or_else(|| {
                    Error::data(path, format!("line {}: role '{}' is none of query, gallery, both", at + 2, &record[c]))
                })?,
            };
            let name = name.map_or_else(|| format!("row {at}"), |c| record[c].to_owned());
            rows.push(Row { name, class: class_of(&record[label]), role });
        }
    } else {
        for (at, line) in text.lines().enumerate() {
            rows.push(Row { name: format!("row {at}"), class: class_of(line.trim()), role: Role::Both });
        }
    }
    Ok((rows, classes))
}
