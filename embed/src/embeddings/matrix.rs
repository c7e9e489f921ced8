//! The numbers alone: `.npy` and raw float32.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use ndarray::{Array2, s};
use ndarray_npy::{ReadNpyError, ReadNpyExt};
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files;
use crate::npy;
use crate::ranks::world;

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
const PARQUET: &[u8] = b"PAR1";
const WANTED: &str = "wanted an .npy file of float32 or float64 (or float16) [rows, dim]";

pub(super) fn update(hasher: &mut Sha256, matrix: &Array2<f32>) {
    for row in matrix.rows() {
        hasher.update(row.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    }
}

/// The values of little-endian float32, float16 or bfloat16, or of float64, which are rounded.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub(super) fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let halves = |value: fn([u8; 2]) -> f32| bytes.as_chunks::<2>().0.iter().map(|&b| value(b)).collect();
    match dtype {
        Dtype::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => floats(bytes),
    }
}

/// The values of little-endian f32.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The numbers of a file: this rank's share of the rows, and what all of them say.
pub(super) struct Stored {
    pub(super) matrix: Array2<f32>,
    /// Which row it begins with.
    pub(super) first: usize,
    /// Rows of the file.
    pub(super) count: usize,
    /// Of the values of all rows, as [`update`] takes them.
    pub(super) digest: Sha256,
    pub(super) notes: Vec<String>,
}

impl Stored {
    /// The share of a matrix that is read as a whole.
    pub(super) fn of(matrix: Array2<f32>, notes: Vec<String>) -> Self {
        let (mut digest, count) = (Sha256::new(), matrix.nrows());
        update(&mut digest, &matrix);
        let share = world().share(count);
        let matrix = if world().is_alone() { matrix } else { matrix.slice(s![share.clone(), ..]).to_owned() };
        Self { matrix, first: share.start, count, digest, notes }
    }

    /// What a file of little-endian float32 holds from where it stands: no rank holds more than its share and a block.
    ///
    /// `see` is shown the values of every row.
    pub(super) fn stream(
        file: &mut File,
        (rows, dim): (usize, usize),
        see: &mut dyn FnMut(&[f32]),
    ) -> std::io::Result<Self> {
        const BLOCK: usize = 4 << 20;
        let (share, width) = (world().share(rows), 4 * dim);
        let (mut digest, mut values) = (Sha256::new(), Vec::with_capacity(share.len() * dim));
        let mut block = vec![0; (BLOCK / width).max(1) * width];
        for first in (0..rows).step_by(block.len() / width) {
            let count = (block.len() / width).min(rows - first);
            let bytes = &mut block[..count * width];
            file.read_exact(bytes)?;
            digest.update(&*bytes);
            let numbers = floats(bytes);
            see(&numbers);
            let own = share.start.clamp(first, first + count)..share.end.clamp(first, first + count);
            values.extend_from_slice(&numbers[(own.start - first) * dim..(own.end - first) * dim]);
        }
        let matrix = Array2::from_shape_vec((share.len(), dim), values).map_err(std::io::Error::other)?;
        Ok(Self { matrix, first: share.start, count: rows, digest, notes: Vec::new() })
    }

    /// The same of rows that `read` gives, some at a time.
    pub(super) fn by_blocks(
        (rows, dim): (usize, usize),
        read: &mut dyn FnMut(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        const BLOCK: usize = 1 << 20;
        let share = world().share(rows);
        let (mut digest, mut values) = (Sha256::new(), Vec::with_capacity(share.len() * dim));
        let most = (BLOCK / dim.max(1)).max(1);
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let numbers = read(first..first + count)?;
            digest.update(numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            let own = share.start.clamp(first, first + count)..share.end.clamp(first, first + count);
            values.extend_from_slice(&numbers[(own.start - first) * dim..(own.end - first) * dim]);
        }
        let matrix = Array2::from_shape_vec((share.len(), dim), values);
        let matrix = matrix.map_err(|e| Error::Embeddings(e.to_string()))?;
        Ok(Self { matrix, first: share.start, count: rows, digest, notes: Vec::new() })
    }
}

/// A matrix of float32 or float16, or of float64 rounded to float32, which is said where a value was another before.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub(super) fn read_npy(path: &Path) -> Result<Stored> {
    let wrong = |problem: String| Error::data(path, problem);
    if let Some(stored) = read_plain_npy(path)? {
        return Ok(stored);
    }
    let bytes = files::read(path)?;
    if bytes.starts_with(ZIP_MAGIC) {
        return Err(npz(path));
    }
    npy::check(&bytes).map_err(|problem| wrong(format!("{WANTED}: {problem}")))?;
    let bytes = npy::widened(bytes);
    let failed = |e: ReadNpyError| {
        let cure = match &e {
            ReadNpyError::WrongDescriptor(_) => {
                "; numpy.save('e.npy', numpy.load('e.npy').astype('float32')) makes one"
            }
            _ => "",
        };
        wrong(format!("{WANTED}: {e}{cure}"))
    };
    match Array2::<f32>::read_npy(Cursor::new(&bytes)) {
        Ok(matrix) => Ok(Stored::of(matrix.as_standard_layout().into_owned(), Vec::new())),
        // numpy's own default is float64
        Err(ReadNpyError::WrongDescriptor(_)) => {
            let matrix = Array2::<f64>::read_npy(Cursor::new(&bytes)).map_err(failed)?;
            let notes = rounded(path, matrix.iter().copied());
            Ok(Stored::of(matrix.mapv(|v| v as f32).as_standard_layout().into_owned(), notes))
        }
        Err(e) => Err(failed(e)),
    }
}

/// What is said of a file of float64: nothing where float32 holds every value.
#[allow(clippy::cast_possible_truncation)] // what that loses is asked for
pub(super) fn rounded(path: &Path, mut values: impl Iterator<Item = f64>) -> Vec<String> {
    let is_lost = |v: f64| f64::from(v as f32) != v && !v.is_nan();
    let note = || format!("{} holds float64; its values were rounded to float32", path.display());
    values.any(is_lost).then(note).into_iter().collect()
}

/// A file that holds its values row by row, at the first of them, with their place, shape and type.
pub(super) struct ByRows {
    pub(super) file: File,
    pub(super) start: u64,
    pub(super) shape: (usize, usize),
    pub(super) dtype: Dtype,
}

/// An `.npy` file of little-endian float32, float64 or float16 row by row; `None` where it is another, or not whole.
pub(super) fn open_npy(path: &Path) -> Result<Option<ByRows>> {
    /// Longer headers are those of other files.
    const HEAD: u64 = 1 << 12;
    let failed = |e: std::io::Error| Error::read(path, e);
    let mut file = files::open_file(path)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
    let Some((data, shape, dtype)) = npy::by_rows(&head) else { return Ok(None) };
    let wanted = (shape.0 as u128) * (shape.1 as u128) * (dtype.bitsize() / 8) as u128 + data as u128;
    if shape.1 == 0 || wanted != u128::from(about.len()) {
        return Ok(None);
    }
    let start = data as u64;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    Ok(Some(ByRows { file, start, shape, dtype }))
}

/// The usual file, part by part; any other is read whole, or refused by who does so.
fn read_plain_npy(path: &Path) -> Result<Option<Stored>> {
    let Some(mut found) = open_npy(path)?.filter(|found| found.dtype == Dtype::F32) else { return Ok(None) };
    let stored = Stored::stream(&mut found.file, found.shape, &mut |_| {});
    stored.map(Some).map_err(|e| Error::read(path, e))
}

fn npz(path: &Path) -> Error {
    Error::data(
        path,
        "is an .npz archive of arrays; wanted one array in an .npy file: numpy.save('e.npy', numpy.load('e.npz')['NAME'])",
    )
}

/// Little-endian f32, `dim` a row; what is said where its numbers look like those of another type.
pub(super) fn read_raw(path: &Path, dim: Option<usize>) -> Result<Stored> {
    let failed = |e: std::io::Error| Error::read(path, e);
    let (mut file, shape) = open_raw(path, dim)?;
    let (mut values, mut beyond) = (0, 0);
    let mut see = |numbers: &[f32]| {
        values += numbers.len();
        beyond += unusual(numbers);
    };
    let mut stored = Stored::stream(&mut file, shape, &mut see).map_err(failed)?;
    stored.notes.extend(strange(path, beyond, values));
    Ok(stored)
}

/// Such a file at its first value, and its shape.
pub(super) fn open_raw(path: &Path, dim: Option<usize>) -> Result<(File, (usize, usize))> {
    let failed = |e: std::io::Error| Error::read(path, e);
    let mut file = files::open_file(path)?;
    let mut head = Vec::new();
    file.by_ref().take(npy::MAGIC.len() as u64).read_to_end(&mut head).map_err(failed)?;
    if head.starts_with(ZIP_MAGIC) {
        return Err(npz(path));
    }
    for (magic, kind) in [(npy::MAGIC, "npy"), (PARQUET, "parquet")] {
        if head.starts_with(magic) {
            let problem = format!("is a file of .{kind} by its first bytes; wanted its name to end in .{kind}");
            return Err(Error::data(path, problem));
        }
    }
    let dim = dim.filter(|&d| d > 0).ok_or_else(|| {
        Error::Usage(format!(
            "--embeddings {}: raw float32 needs --dim N (else wanted .npy, .safetensors or .parquet)",
            path.display()
        ))
    })?;
    let about = file.metadata().map_err(failed)?;
    let length = usize::try_from(about.len()).ok().filter(|_| about.is_file());
    let length = length
        .ok_or_else(|| Error::data(path, "is a pipe, which has no length to tell its rows by; wanted a plain file"))?;
    let width = dim.checked_mul(4).filter(|&width| length.is_multiple_of(width));
    let width = width.ok_or_else(|| {
        Error::data(path, format!("its {length} bytes are no whole number of rows of {dim} float32 (--dim)"))
    })?;
    file.rewind().map_err(failed)?;
    Ok((file, (length / width, dim)))
}

/// Sizes of the numbers of embeddings.
const USUAL: std::ops::Range<f32> = 1e-12..1e12;

/// How many numbers are of another size than those of embeddings.
pub(super) fn unusual(numbers: &[f32]) -> usize {
    numbers.iter().filter(|v| v.is_finite() && **v != 0.0 && !USUAL.contains(&v.abs())).count()
}

/// Bits of float64 or float16 that are read as float32 have exponents all over the range, which those of embeddings have not.
pub(super) fn strange(path: &Path, beyond: usize, values: usize) -> Option<String> {
    (beyond * 100 > values).then(|| {
        format!(
            "{}: {beyond} of {values} numbers are below {:e} or above {:e} in size: is it float32, little-endian, and not float64 or \
             float16?",
            path.display(),
            USUAL.start,
            USUAL.end
        )
    })
}
