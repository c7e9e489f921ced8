//! All in one: `.safetensors` with the tensors `embeddings` (F32, or read as F64, F16 or BF16 `[rows, dim]`) and `labels` (I64, or read as
//! other integers, `[rows]`), and lists in JSON as metadata: `classes` by label, `names` and `roles` by row, `images` and `cameras`
//! where there are such, and `notes`, what was said when they were made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensorError, TensorInfo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::labels::said_when_made;
use super::matrix::{ByRows, Stored, numbers, rounded};
use super::{Embeddings, Row};
use crate::dataset::{Role, several};
use crate::error::{Error, Result};
use crate::files::open_file;
use crate::tensors::{OpenTensors, TensorPart};

const TENSOR: &str = "embeddings";
const LABELS: &str = "labels";

/// The file up to the values of the embeddings, which come last.
pub(super) fn head(embeddings: &Embeddings) -> std::result::Result<Vec<u8>, SafeTensorError> {
    let rows = &embeddings.rows;
    let labels: Vec<u8> = rows.iter().flat_map(|r| (r.class as i64).to_le_bytes()).collect();
    let count = rows.len();
    let tensors = [
        (TENSOR, TensorPart { dtype: Dtype::F32, shape: vec![count, embeddings.dim()], data: Vec::new() }),
        (LABELS, TensorPart { dtype: Dtype::I64, shape: vec![count], data: labels }),
    ];
    let json = |value: serde_json::Value| value.to_string();
    let names: Vec<_> = rows.iter().map(|r| r.name.as_str()).collect();
    let roles: Vec<_> = rows.iter().map(|r| r.role.as_str()).collect();
    let mut metadata = HashMap::from([
        ("classes".to_owned(), json(embeddings.classes.clone().into())),
        ("names".to_owned(), json(names.into())),
        ("roles".to_owned(), json(roles.into())),
    ]);
    let numbers =
        [("images", rows.iter().map(|r| r.image).collect()), ("cameras", rows.iter().map(|r| r.camera).collect())];
    for (key, numbers) in numbers {
        let numbers: Vec<Option<u32>> = numbers;
        if numbers.iter().any(Option::is_some) {
            metadata.insert(key.to_owned(), json(numbers.into()));
        }
    }
    if !embeddings.notes.is_empty() {
        metadata.insert("notes".to_owned(), json(embeddings.notes.clone().into()));
    }
    in_order(&safetensors::serialize(tensors, Some(metadata))?)
}

/// The header of a file, as the library writes it.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// The same file with its metadata in the order of their names, which the library leaves to chance: equal embeddings are equal files.
fn in_order(file: &[u8]) -> std::result::Result<Vec<u8>, SafeTensorError> {
    let (length, rest) = file.split_at(8);
    let length = length.try_into().map_or(0, |bytes| usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(0));
    let (header, rest) = rest.split_at(length);
    let header: Header = serde_json::from_slice(header)?;
    let mut sorted = serde_json::to_vec(&header)?;
    sorted.resize(sorted.len().next_multiple_of(8), b' ');
    Ok([&(sorted.len() as u64).to_le_bytes(), sorted.as_slice(), rest].concat())
}

/// A file that is open, and where its two tensors are; the labels may be kept elsewhere.
pub(super) struct Bundle {
    file: OpenTensors,
    values: TensorInfo,
    labels: Option<TensorInfo>,
}

pub(super) fn open(path: &Path) -> Result<Bundle> {
    let wrong = |problem: String| Error::data(path, problem);
    let file = OpenTensors::new(path, "safetensors file")?;
    let tensor = |name: &str, dtypes: &[Dtype], rank: usize| {
        let has = || file.header.offset_keys().join(", ");
        let found = file.header.info(name).cloned();
        let found = found.ok_or_else(|| wrong(format!("has no tensor '{name}'; it has {}", has())))?;
        if !dtypes.contains(&found.dtype) || found.shape.len() != rank {
            let dtypes: Vec<_> = dtypes.iter().map(|dtype| format!("{dtype:?}")).collect();
            return Err(wrong(format!(
                "tensor '{name}' is {:?} {:?}; wanted {} of rank {rank}",
                found.dtype,
                found.shape,
                dtypes.join(" or ")
            )));
        }
        Ok(found)
    };
    let values = tensor(TENSOR, &[Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16], 2)?;
    let labels = file.header.info(LABELS).is_some().then(|| tensor(LABELS, &INTEGERS, 1)).transpose()?;
    Ok(Bundle { file, values, labels })
}

impl Bundle {
    /// The values, where they stay in the file.
    pub(super) fn by_rows(&mut self, path: &Path) -> Result<ByRows> {
        let shape = (self.values.shape[0], self.values.shape[1]);
        Ok(ByRows { file: open_file(path)?, start: self.file.place(&self.values), shape, dtype: self.values.dtype })
    }
}

/// The values.
pub(super) fn values(path: &Path, bundle: &mut Bundle) -> Result<Stored> {
    let wrong = |problem: String| Error::data(path, problem);
    let failed = |e: std::io::Error| Error::read(path, e);
    let Bundle { file, values, .. } = bundle;
    let (count, dim) = (values.shape[0], values.shape[1]);
    if values.dtype == Dtype::F32 && dim > 0 {
        file.at(values).and_then(|file| Stored::stream(file, (count, dim), &mut |_| {})).map_err(failed)
    } else {
        let bytes = file.read_all(values).map_err(failed)?;
        let doubles = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
        let notes = if values.dtype == Dtype::F64 { rounded(path, doubles) } else { Vec::new() };
        let numbers = numbers(values.dtype, &bytes);
        Ok(Stored::of(Array2::from_shape_vec((count, dim), numbers).map_err(|e| wrong(e.to_string()))?, notes))
    }
}

/// What is said of a file: tensors that nothing is read from, and what was said when it was made.
pub(super) fn said(path: &Path, bundle: &Bundle) -> Result<Vec<String>> {
    let others: Vec<String> = bundle
        .file
        .header
        .offset_keys()
        .into_iter()
        .filter(|name| ![TENSOR, LABELS].contains(&name.as_str()))
        .collect();
    let passed_over = (!others.is_empty()).then(|| {
        format!(
            "{}: nothing is read from tensor {}; names, roles and cameras are lists in the metadata, or columns of a CSV that --labels names",
            path.display(),
            several(others.into_iter().map(|name| format!("'{name}'")))
        )
    });
    let metadata = bundle.file.header.metadata().clone().unwrap_or_default();
    // Other programs may have any text there.
    let is_own = ["classes", "names", "roles"].iter().all(|key| metadata.contains_key(*key));
    let notes =
        metadata.get("notes").filter(|_| is_own).and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
    let kept = notes.filter(|kept| !kept.is_empty());
    Ok(passed_over.into_iter().chain(kept.map(|kept| said_when_made(path, &kept.join("; ")))).collect())
}

/// Adds to rows whose labels are kept elsewhere what the file says of them: names, roles, copies and cameras.
///
/// # Errors
/// [`Error::Data`] where both have names, or roles, and these differ: then they are of other rows.
pub(super) fn complete(path: &Path, bundle: &Bundle, rows: &mut [Row]) -> Result<()> {
    let metadata = bundle.file.header.metadata().clone().unwrap_or_default();
    let own = Lists::read(path, &metadata, rows.len())?;
    let has_names = rows.iter().enumerate().any(|(at, row)| row.name != format!("row {at}"));
    let has_roles = rows.iter().any(|row| row.role != Role::Both);
    for (at, row) in rows.iter_mut().enumerate() {
        let here = own.row(path, at, row.class)?;
        let wrong = |what: &str, here: &str, there: &str| {
            let problem = format!(
                "{what} of row {at} is '{here}', and in the labels '{there}'; wanted the labels in the order of the rows"
            );
            Err(Error::data(path, problem))
        };
        if own.names.is_some() && has_names && here.name != row.name {
            return wrong("the name", &here.name, &row.name);
        }
        if own.roles.is_some() && has_roles && here.role != row.role {
            return wrong("the role", here.role.as_str(), row.role.as_str());
        }
        let (name, role) =
            (if has_names { row.name.clone() } else { here.name }, if has_roles { row.role } else { here.role });
        *row = Row {
            image: row.image.or(here.image),
            camera: row.camera.or(here.camera),
            ..Row::new(name, row.class, role)
        };
    }
    Ok(())
}

/// What the metadata say of the rows.
struct Lists {
    names: Option<Vec<String>>,
    roles: Option<Vec<String>>,
    images: Option<Vec<Option<u32>>>,
    cameras: Option<Vec<Option<u32>>>,
}

impl Lists {
    fn read(path: &Path, metadata: &HashMap<String, String>, rows: usize) -> Result<Self> {
        let rows = Some(rows);
        Ok(Self {
            names: list(path, metadata, "names", rows)?,
            roles: list(path, metadata, "roles", rows)?,
            images: list(path, metadata, "images", rows)?,
            cameras: list(path, metadata, "cameras", rows)?,
        })
    }

    fn row(&self, path: &Path, at: usize, class: usize) -> Result<Row> {
        let name = self.names.as_ref().map_or_else(|| format!("row {at}"), |names| names[at].clone());
        let role = match self.roles.as_ref().map(|roles| &roles[at]) {
            None => Role::Both,
            Some(word) => Role::parse(word).ok_or_else(|| {
                Error::data(path, format!("role '{word}' of row {at} is none of query, gallery, both"))
            })?,
        };
        let number = |numbers: &Option<Vec<Option<u32>>>| numbers.as_ref().and_then(|numbers| numbers[at]);
        Ok(Row { image: number(&self.images), camera: number(&self.cameras), ..Row::new(name, class, role) })
    }
}

/// What each row is, and the names of the classes; nothing where labels are kept elsewhere.
pub(super) fn describe(path: &Path, bundle: &mut Bundle) -> Result<Option<(Vec<Row>, Vec<String>)>> {
    let wrong = |problem: String| Error::data(path, problem);
    let Bundle { file, values, labels } = bundle;
    let Some(labels) = labels else { return Ok(None) };
    let count = values.shape[0];
    let labels = integers(labels.dtype, &file.read_all(labels).map_err(|e| Error::read(path, e))?);
    if labels.len() != count {
        return Err(wrong(format!("tensor '{TENSOR}' has {count} rows, '{LABELS}' {}", labels.len())));
    }
    let metadata = file.header.metadata().clone().unwrap_or_default();
    let (labels, classes) = classes(path, &labels, list::<String>(path, &metadata, "classes", None)?)?;
    let own = Lists::read(path, &metadata, labels.len())?;
    let rows = labels.iter().enumerate().map(|(at, &class)| own.row(path, at, class)).collect::<Result<_>>()?;
    Ok(Some((rows, classes)))
}

/// What labels may be.
const INTEGERS: [Dtype; 7] = [Dtype::I64, Dtype::I32, Dtype::I16, Dtype::I8, Dtype::U32, Dtype::U16, Dtype::U8];

/// The values of little-endian integers.
fn integers(dtype: Dtype, bytes: &[u8]) -> Vec<i64> {
    fn of<const N: usize>(bytes: &[u8], value: fn([u8; N]) -> i64) -> Vec<i64> {
        bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
    }
    match dtype {
        Dtype::I32 => of(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::I16 => of(bytes, |b| i16::from_le_bytes(b).into()),
        Dtype::I8 => of(bytes, |b| i8::from_le_bytes(b).into()),
        Dtype::U32 => of(bytes, |b| u32::from_le_bytes(b).into()),
        Dtype::U16 => of(bytes, |b| u16::from_le_bytes(b).into()),
        Dtype::U8 => of(bytes, |b| u8::from_le_bytes(b).into()),
        _ => of(bytes, i64::from_le_bytes),
    }
}

/// A list of the metadata, of this length where one is wanted.
fn list<T: DeserializeOwned>(
    path: &Path,
    metadata: &HashMap<String, String>,
    key: &str,
    length: Option<usize>,
) -> Result<Option<Vec<T>>> {
    let Some(json) = metadata.get(key) else { return Ok(None) };
    let list: Vec<T> = serde_json::from_str(json)
        .map_err(|e| Error::data(path, format!("metadata '{key}' is not the list that is wanted: {e}")))?;
    match length {
        Some(length) if length != list.len() => {
            Err(Error::data(path, format!("metadata '{key}' has {} entries for {length} rows", list.len())))
        }
        _ => Ok(Some(list)),
    }
}

/// Classes by position and their names: the labels that occur, named by their numbers, where the file has no names.
fn classes(path: &Path, labels: &[i64], names: Option<Vec<String>>) -> Result<(Vec<usize>, Vec<String>)> {
    let count = names.as_ref().map_or(usize::MAX, Vec::len);
    let checked = |(at, &label): (usize, &i64)| {
        usize::try_from(label).ok().filter(|&class| class < count).ok_or_else(|| {
            let wanted = match count {
                usize::MAX => "0 or more".to_owned(),
                count => format!("one of the {count} classes of its metadata, counted from 0"),
            };
            Error::data(path, format!("label {label} of row {at}: wanted {wanted}"))
        })
    };
    let labels = labels.iter().enumerate().map(checked).collect::<Result<Vec<usize>>>()?;
    let Some(names) = names else {
        let present: Vec<usize> = labels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let place = |label: &usize| present.partition_point(|other| other < label);
        return Ok((labels.iter().map(place).collect(), present.iter().map(usize::to_string).collect()));
    };
    Ok((labels, names))
}
