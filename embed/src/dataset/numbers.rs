//! The numbers that classes are chosen by.

use std::collections::{BTreeMap, BTreeSet};

use super::source::names::several;

/// Numbers of classes by name: the names themselves where all are different whole numbers, else their places from 1 in order
/// of names.
pub(super) fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<&'n str, usize> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let own: Option<BTreeMap<&str, usize>> = names.iter().map(|&name| Some((name, whole(name)?))).collect();
    match own {
        Some(own) if own.values().collect::<BTreeSet<_>>().len() == own.len() => own,
        _ => names.into_iter().zip(1..).collect(),
    }
}

/// A whole number in plain digits.
fn whole(name: &str) -> Option<usize> {
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// Numbers in order as ranges: `1-3, 7`.
pub(super) fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    several(ranges.into_iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_numbers_number_themselves() {
        let of = |names: &[&'static str]| of_names(names.iter().copied()).into_values().collect::<Vec<_>>();
        assert_eq!(of(&["1", "10", "100", "2"]), [1, 10, 100, 2]);
        assert_eq!(of(&["0", "007"]), [0, 7]);
        assert_eq!(of(&["1", "01"]), [1, 2], "two names of one number");
        assert_eq!(of(&["b", "1", "10"]), [1, 2, 3]);
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
    }
}
