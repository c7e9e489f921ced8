//! The numbers alone: `.npy` and raw float32.

use std::io::Cursor;
use std::path::Path;

use half::{bf16, f16};
use ndarray::Array2;
use ndarray_npy::{ReadNpyError, ReadNpyExt};
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::error::{Error, Result};
use crate::files;
use crate::npy;

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
const WANTED: &str = "wanted an .npy file of float32 or float64 (or float16) [rows, dim]";

pub(super) fn update(hasher: &mut Sha256, matrix: &Array2<f32>) {
    for row in matrix.rows() {
        hasher.update(row.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    }
}

/// SHA-256 of the values, row by row, in little-endian f32.
pub(super) fn sha256(matrix: &Array2<f32>) -> String {
    let mut hasher = Sha256::new();
    update(&mut hasher, matrix);
    hex(&hasher.finalize())
}

/// The values of little-endian float32, float16 or bfloat16.
pub(super) fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let halves = |value: fn([u8; 2]) -> f32| bytes.as_chunks::<2>().0.iter().map(|&b| value(b)).collect();
    match dtype {
        Dtype::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        _ => floats(bytes),
    }
}

/// The values of little-endian f32.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// A matrix of float32 or float16, or of float64 rounded to float32, which is then said.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub(super) fn read_npy(path: &Path) -> Result<(Array2<f32>, Vec<String>)> {
    let bytes = files::read(path)?;
    let wrong = |problem: String| Error::data(path, problem);
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
        Ok(matrix) => Ok((matrix.as_standard_layout().into_owned(), Vec::new())),
        // numpy's own default is float64
        Err(ReadNpyError::WrongDescriptor(_)) => {
            let matrix = Array2::<f64>::read_npy(Cursor::new(&bytes)).map_err(failed)?;
            let note = format!("{} holds float64; its values were rounded to float32", path.display());
            Ok((matrix.mapv(|v| v as f32).as_standard_layout().into_owned(), vec![note]))
        }
        Err(e) => Err(failed(e)),
    }
}

fn npz(path: &Path) -> Error {
    Error::data(
        path,
        "is an .npz archive of arrays; wanted one array in an .npy file: numpy.save('e.npy', numpy.load('e.npz')['NAME'])",
    )
}

/// Little-endian f32, `dim` a row; what is said where its numbers look like those of another type.
pub(super) fn read_raw(path: &Path, dim: Option<usize>) -> Result<(Array2<f32>, Vec<String>)> {
    let bytes = files::read(path)?;
    if bytes.starts_with(ZIP_MAGIC) {
        return Err(npz(path));
    }
    if bytes.starts_with(npy::MAGIC) {
        return Err(Error::data(path, "is an .npy file by its first bytes; wanted its name to end in .npy"));
    }
    let dim = dim.filter(|&d| d > 0).ok_or_else(|| {
        Error::Usage(format!(
            "--embeddings {}: raw float32 needs --dim N (else wanted .npy or .safetensors)",
            path.display()
        ))
    })?;
    let width = dim.checked_mul(4).filter(|&width| width > 0 && bytes.len().is_multiple_of(width));
    let width = width.ok_or_else(|| {
        Error::data(path, format!("its {} bytes are no whole number of rows of {dim} float32 (--dim)", bytes.len()))
    })?;
    let values = floats(&bytes);
    let notes = strange(&values).map(|said| format!("{}: {said}", path.display())).into_iter().collect();
    let matrix = Array2::from_shape_vec((bytes.len() / width, dim), values);
    Ok((matrix.map_err(|e| Error::data(path, e.to_string()))?, notes))
}

/// Bits of float64 or float16 that are read as float32 have exponents all over the range, which those of embeddings have not.
fn strange(values: &[f32]) -> Option<String> {
    const USUAL: std::ops::Range<f32> = 1e-12..1e12;
    let beyond = values.iter().filter(|v| v.is_finite() && **v != 0.0 && !USUAL.contains(&v.abs())).count();
    (beyond * 100 > values.len()).then(|| {
        format!(
            "{beyond} of {} numbers are below {:e} or above {:e} in size: is it float32, little-endian, and not float64 or \
             float16?",
            values.len(),
            USUAL.start,
            USUAL.end
        )
    })
}
