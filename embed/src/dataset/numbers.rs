//! The numbers that classes are chosen by.

use std::collections::{BTreeMap, BTreeSet};

use super::source::names::{composed, several};

/// Numbers of classes by name: the names themselves where all are different whole numbers, else their places from 1 in
/// natural order of names (`class_2` before `class_10`). Names that differ by the form of their accents alone (Unicode NFC,
/// NFD) are one class.
pub(super) fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<&'n str, usize> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let own: Option<BTreeMap<&str, usize>> = names.iter().map(|&name| Some((name, whole(name)?))).collect();
    match own {
        Some(own) if own.values().collect::<BTreeSet<_>>().len() == own.len() => own,
        _ => {
            let mut order: Vec<(Vec<Chunk>, String)> = names.iter().map(|name| composed(name)).map(key).collect();
            order.sort();
            order.dedup();
            let places: BTreeMap<&str, usize> = order.iter().map(|(_, name)| name.as_str()).zip(1..).collect();
            names.into_iter().map(|name| (name, places[composed(name).as_str()])).collect()
        }
    }
}

/// A piece of a name: digits by their number, or text; digits come first, as they do in ASCII.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Chunk {
    /// Length without leading zeros, digits.
    Digits(usize, String),
    Text(String),
}

/// What a name is ordered by, and the name for those that this cannot tell apart.
fn key(name: String) -> (Vec<Chunk>, String) {
    let chunks = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let chunk = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if !bytes[0].is_ascii_digit() {
            return Chunk::Text(text);
        }
        let digits = text.trim_start_matches('0').to_owned();
        Chunk::Digits(digits.len(), digits)
    };
    (chunks.map(chunk).collect(), name)
}

/// A whole number in plain digits, behind which `.0` may stand, as pandas writes a column with gaps, or more zeros.
fn whole(name: &str) -> Option<usize> {
    let is_zeros = |fraction: &str| !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let name = name.split_once('.').filter(|(_, fraction)| is_zeros(fraction)).map_or(name, |(whole, _)| whole);
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
        assert_eq!(of(&["0.0", "10.0", "2.0"]), [0, 10, 2], "of a column with gaps");
        assert_eq!(of(&["0.00", "10.00", "2."]), [1, 3, 2], "no digits behind the point");
        assert_eq!(of(&["1.0", "1.5"]), [1, 2], "no whole numbers");
        assert_eq!(of(&["1", "01"]), [1, 2], "two names of one number");
        assert_eq!(of(&["b", "1", "10"]), [1, 2, 3]);
        let numbered = |names: &[&'static str]| of_names(names.iter().copied());
        let classes = numbered(&["class_10", "class_2", "class_1", "class_02"]);
        assert_eq!(["class_1", "class_02", "class_2", "class_10"].map(|name| classes[name]), [1, 2, 3, 4]);
        let accents = numbered(&["caf\u{e9}", "cafe\u{301}", "cat"]);
        assert_eq!(["caf\u{e9}", "cafe\u{301}", "cat"].map(|name| accents[name]), [1, 1, 2]);
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
    }
}
