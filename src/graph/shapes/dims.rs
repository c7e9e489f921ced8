//! Arithmetic with lengths, some of which are names.

use crate::graph::build::Dim;

/// The shape that two shapes broadcast to.
pub(super) fn broadcast(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = left.len().max(right.len());
    let at = |shape: &[Dim], index: usize| match (index + shape.len()).checked_sub(rank) {
        Some(index) => shape[index].clone(),
        None => Dim::Known(1),
    };
    (0..rank)
        .map(|index| match (at(left, index), at(right, index)) {
            (one, other) if one == other => Ok(one),
            (Dim::Known(1), dim) | (dim, Dim::Known(1)) => Ok(dim),
            (Dim::Known(one), Dim::Known(other)) => {
                Err(format!("shapes {} and {} do not broadcast: {one} against {other}", show(left), show(right)))
            }
            (Dim::Known(length), _) | (_, Dim::Known(length)) => Ok(Dim::Known(length)),
            _ => Ok(Dim::Unknown),
        })
        .collect()
}

/// The product of two lengths.
pub(super) fn times(left: usize, right: usize) -> Result<usize, String> {
    left.checked_mul(right).ok_or_else(|| format!("a length of {left} times {right} does not fit into 64 bits"))
}

/// The sum of two lengths.
pub(super) fn plus(left: usize, right: usize) -> Result<usize, String> {
    left.checked_add(right).ok_or_else(|| format!("a length of {left} and {right} more does not fit into 64 bits"))
}

/// The product of lengths: a number, and the names it is multiplied by.
pub(crate) fn product(dims: &[Dim]) -> (usize, Vec<&str>) {
    let mut number = 1;
    let mut names = Vec::new();
    for dim in dims {
        match dim {
            Dim::Known(length) => number = usize::saturating_mul(number, *length),
            Dim::Named(name) => names.push(name.as_str()),
            Dim::Unknown => names.push(""),
        }
    }
    (number, names)
}

/// How many times `parts` go into `whole`, where that is a number or one name.
pub(super) fn quotient(whole: &[Dim], parts: &[Dim]) -> Dim {
    let ((number, mut names), (divisor, others)) = (product(whole), product(parts));
    for other in others {
        match names.iter().position(|name| *name == other && !other.is_empty()) {
            Some(index) => drop(names.swap_remove(index)),
            None => return Dim::Unknown,
        }
    }
    if divisor == 0 || number % divisor != 0 {
        return Dim::Unknown;
    }
    match (number / divisor, names.as_slice()) {
        (length, []) => Dim::Known(length),
        (1, [name]) if !name.is_empty() => Dim::Named((*name).to_owned()),
        _ => Dim::Unknown,
    }
}

/// A shape as messages show it.
pub(crate) fn show(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dim| match dim {
            Dim::Known(length) => length.to_string(),
            Dim::Named(name) => name.clone(),
            Dim::Unknown => "?".to_owned(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}
