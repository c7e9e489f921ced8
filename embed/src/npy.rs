//! What `.npy` files say of themselves, before a reader takes their word; numbers of 16 bits are widened for it.

use half::f16;
use safetensors::Dtype;

/// What an `.npy` file begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";
/// A header of an array of numbers is short and flat; parsers take a stack frame for each bracket.
const MOST_BRACKETS: usize = 16;

/// Where the header and the data begin.
///
/// # Errors
/// A sentence on what the file is instead.
fn places(bytes: &[u8]) -> Result<(usize, usize), String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin like one".into());
    }
    // A length of two bytes in version 1, of four from version 2 on.
    let length = match bytes.get(6) {
        Some(1) => bytes.get(8..10).map(|b| (10_usize, usize::from(b[0]) | usize::from(b[1]) << 8)),
        _ => bytes.get(8..12).map(|b| (12, b.iter().rev().fold(0_usize, |n, &byte| n << 8 | usize::from(byte)))),
    };
    let places = length.and_then(|(at, length)| Some((at, at.checked_add(length)?)));
    places.filter(|&(_, data)| data <= bytes.len()).ok_or_else(|| "its header is cut off".into())
}

/// Refuses a header that claims more values than the file can hold, before room is made for them.
///
/// # Errors
/// A sentence on the header.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let (at, data) = places(bytes)?;
    let rest = bytes.len() - data;
    let header = String::from_utf8_lossy(&bytes[at..data]);
    if header.bytes().filter(|byte| b"([{".contains(byte)).count() > MOST_BRACKETS {
        return Err("its header is nested too deep".into());
    }
    let shape = header.split_once("'shape'").and_then(|(_, behind)| behind.split_once('(')?.1.split_once(')'));
    let (shape, _) = shape.ok_or("its header has no shape")?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Option<Vec<u128>> = sizes.map(|size| size.trim_end_matches('L').parse().ok()).collect();
    let values = sizes.and_then(|sizes| sizes.into_iter().try_fold(1_u128, u128::checked_mul));
    let values = values.ok_or_else(|| format!("its shape ({shape}) is none"))?;
    // No number takes less than a byte.
    if values > rest as u128 {
        return Err(format!("its header claims shape ({shape}), {rest} bytes follow"));
    }
    Ok(())
}

/// Where the values begin and their shape `(rows, columns)`, of a file that begins with `head` and holds little-endian float32 row by
/// row: such values may be read a part at a time. `None` for any other.
pub fn plain(head: &[u8]) -> Option<(usize, (usize, usize))> {
    by_rows(head).filter(|(_, _, dtype)| *dtype == Dtype::F32).map(|(data, shape, _)| (data, shape))
}

/// The same of a file of little-endian float32, float64 or float16, and which of these it holds.
pub fn by_rows(head: &[u8]) -> Option<(usize, (usize, usize), Dtype)> {
    let (at, data) = places(head).ok()?;
    let header: String = std::str::from_utf8(&head[at..data]).ok()?.chars().filter(|c| !c.is_whitespace()).collect();
    let kinds = [("'<f4'", Dtype::F32), ("'<f8'", Dtype::F64), ("'<f2'", Dtype::F16)];
    let (_, dtype) = kinds.into_iter().find(|(kind, _)| header.contains(&format!("'descr':{kind}")))?;
    let is_by_rows = header.contains("'fortran_order':False");
    let (shape, _) = header.split_once("'shape':(")?.1.split_once(')').filter(|_| is_by_rows)?;
    let sizes: Vec<usize> = shape.split(',').filter_map(|size| size.parse().ok()).collect();
    let &[rows, columns] = sizes.as_slice() else { return None };
    Some((data, (rows, columns), dtype))
}

/// The file with numbers of float16 as float32, which holds every one of them; any other as it is.
pub fn widened(bytes: Vec<u8>) -> Vec<u8> {
    let Ok((at, data)) = places(&bytes) else { return bytes };
    let descriptor = |order: u8| [b'\'', order, b'f', b'2', b'\''];
    let found = |order: u8| bytes[at..data].windows(5).position(|window| window == descriptor(order));
    let (place, is_big) = match (found(b'<'), found(b'>')) {
        (Some(place), None) => (at + place, false),
        (None, Some(place)) => (at + place, true),
        _ => return bytes,
    };
    let (halves, odd) = bytes[data..].as_chunks::<2>();
    let mut wide = Vec::with_capacity(data + 4 * halves.len() + odd.len());
    wide.extend_from_slice(&bytes[..data]);
    wide[place + 1] = b'<';
    wide[place + 3] = b'4';
    let value = |half: [u8; 2]| if is_big { f16::from_be_bytes(half) } else { f16::from_le_bytes(half) };
    wide.extend(halves.iter().flat_map(|&half| value(half).to_f32().to_le_bytes()));
    wide.extend_from_slice(odd);
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = u8::try_from(header.len()).unwrap();
        [MAGIC, &[1, 0, length, 0], header.as_bytes(), data].concat()
    }

    #[test]
    fn halves_become_the_same_numbers_of_32_bits() {
        let values = [0.5_f32, -65504.0, 6e-8, f32::INFINITY];
        let wanted: Vec<u8> = values.map(|v| f16::from_f32(v).to_f32()).iter().flat_map(|v| v.to_le_bytes()).collect();
        let little: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_be_bytes()).collect();
        assert_eq!(widened(npy("<f2", "(2, 2)", &little)), npy("<f4", "(2, 2)", &wanted));
        assert_eq!(widened(npy(">f2", "(2, 2)", &big)), npy("<f4", "(2, 2)", &wanted));
        for other in [npy("<f4", "(2,)", &little), npy("<i2", "(4,)", &little), b"no array".to_vec(), Vec::new()] {
            assert_eq!(widened(other.clone()), other);
        }
    }

    #[test]
    fn rows_of_float32_are_read_by_parts() {
        let begins = |kind, shape| plain(&npy(kind, shape, &[]));
        assert_eq!(begins("<f4", "(2, 3)").unwrap().1, (2, 3));
        assert_eq!([begins("<f8", "(2, 3)"), begins(">f4", "(2, 3)"), begins("<f4", "(6,)")], [None; 3]);
        let kind = |kind| by_rows(&npy(kind, "(2, 3)", &[])).map(|(_, shape, dtype)| (shape, dtype));
        assert_eq!(kind("<f8"), Some(((2, 3), Dtype::F64)));
        assert_eq!([kind("<f2").unwrap().1, kind("<f4").unwrap().1], [Dtype::F16, Dtype::F32]);
        assert_eq!([kind("<i4"), kind(">f8")], [None; 2]);
        let turned = String::from_utf8_lossy(&npy("<f4", "(2, 3)", &[])[10..]).replace("False", "True ");
        assert_eq!(plain(&[&npy("<f4", "(2, 3)", &[])[..10], turned.as_bytes()].concat()), None);
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused() {
        assert_eq!(check(&npy("<f4", "(2,)", &[0; 8])), Ok(()));
        for (shape, wanted) in [
            ("(9, 9)", "claims shape"),
            ("(4611686018427387904, 4611686018427387904, 4611686018427387904)", "is none"),
            ("((((((((((((((((((2,))))))))))))))))))", "nested too deep"),
        ] {
            let message = check(&npy("<f4", shape, &[0; 8])).unwrap_err();
            assert!(message.contains(wanted), "{shape}: {message}");
        }
        assert!(check(&npy("<f4", "(2,)", &[])[..20]).unwrap_err().contains("cut off"));
        assert!(check(b"PK").unwrap_err().contains("does not begin"));
    }
}
