//! MATLAB 5 files, as MATLAB, Octave and scipy write them. The crate that parses them panics on what it does not expect, in
//! looking at a variable as in reading the file: both happen behind one guard.

use matrw::{MatFile, MatVariable, MatlabType};

use super::Source;
use crate::error::{Error, Result};
use crate::guard::guarded;

/// Bytes of a MATLAB 5 file before its first variable: free text, 8 bytes, two of the version, two of the byte order.
const HEADER: usize = 128;
/// How the text of MATLAB's own files begins. Others write something else there (scipy has no comma), which the parser refuses.
const MATLABS: &[u8] = b"MATLAB 5.0 MAT-file, ";

/// What `take` makes of the variables of a file.
pub(super) fn read<T>(source: &Source, file: &str, take: impl FnOnce(&MatFile) -> Result<T>) -> Result<T> {
    let here = source.path().join(file);
    let mut bytes = source.read(file)?;
    let wrong = |problem: &str| Err(Error::data(&here, problem));
    let version = match bytes.get(HEADER - 4..HEADER) {
        Some(&[minor, major, b'I', b'M']) => Some([major, minor]),
        Some(&[major, minor, b'M', b'I']) => Some([major, minor]),
        _ => None,
    };
    if bytes.starts_with(b"\x89HDF") || bytes.starts_with(b"MATLAB 7.3") || version == Some([2, 0]) {
        return wrong("is a MATLAB 7.3 file (HDF5), which is not read; wanted MATLAB 5: save it with -v7 or -v6");
    }
    if version.is_none() {
        // MATLAB 4 begins with a small number that says type and byte order, and names its first matrix 20 bytes on.
        let number = bytes.first_chunk::<4>().map(|first| u32::from_le_bytes(*first).min(u32::from_be_bytes(*first)));
        if number.is_some_and(|number| number < 5000) && bytes.len() > 20 {
            return wrong("is a MATLAB 4 file, which is not read; wanted MATLAB 5: save it with -v7 or -v6");
        }
        return wrong("not a MATLAB 5 file: it has no such header");
    }
    bytes[..MATLABS.len()].copy_from_slice(MATLABS);
    guarded(&here, || {
        // What the parser says is of its own insides, on many lines.
        let problem = "begins like a MATLAB 5 file and goes on like none: it is damaged or cut off";
        let parsed = matrw::load_matfile_from_u8(&bytes).map_err(|_| Error::data(&here, problem))?;
        take(&parsed)
    })
}

/// The elements of an array of structs, cells or numbers.
pub(super) fn count(variable: &MatVariable) -> usize {
    match variable {
        MatVariable::Null | MatVariable::Unsupported | MatVariable::Compressed(_) => 0,
        known => known.dim().iter().product(),
    }
}

/// An element of a struct array, of which one alone is no array.
pub(super) fn element(structs: &MatVariable, at: usize) -> &MatVariable {
    if matches!(structs, MatVariable::Structure(_)) { structs } else { &structs[at] }
}

/// A row of characters.
pub(super) fn text(variable: &MatVariable) -> Option<String> {
    match variable.numeric_type()? {
        MatlabType::UTF8(chars) | MatlabType::UTF16(chars) => Some(chars.iter().collect()),
        _ => None,
    }
}

/// One whole number that is not negative, of whatever class: `uint8(3)`, `single(3)` and `true` as well as `3`.
pub(super) fn whole(variable: &MatVariable) -> Option<usize> {
    use MatlabType::{BOOL, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64, UTF8, UTF16};
    fn only<T: Copy>(values: &[T]) -> Option<T> {
        if let [one] = values { Some(*one) } else { None }
    }
    let of_float = |value: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be whole, positive and small
        (value.fract() == 0.0 && (0.0..=1e9).contains(&value)).then_some(value as usize)
    };
    match variable.numeric_type()? {
        U8(values) => only(values).map(usize::from),
        U16(values) => only(values).map(usize::from),
        BOOL(values) => only(values).map(usize::from),
        I8(values) => only(values)?.try_into().ok(),
        I16(values) => only(values)?.try_into().ok(),
        I32(values) => only(values)?.try_into().ok(),
        I64(values) => only(values)?.try_into().ok(),
        U32(values) => only(values)?.try_into().ok(),
        U64(values) => only(values)?.try_into().ok(),
        F32(values) => of_float(only(values)?.into()),
        F64(values) => of_float(only(values)?),
        UTF8(_) | UTF16(_) => None,
    }
}
