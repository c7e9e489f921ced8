//! Figures rounded to what they carry.

use super::schema::{Over, find};
use super::value::Value;

/// More digits after the point are never printed.
const MOST: usize = 6;
/// And no fewer.
const LEAST: usize = 2;

/// A figure in words: a share or a moment over `n` queries or pairs has the digits that tell `1 / n` from nothing, any other
/// number six behind the point, without zeros at its end. `count` finds a count by the name of its column.
pub(super) fn digits<'r>(name: &str, real: f64, count: impl Fn(&str) -> Option<&'r Value>) -> String {
    let number = |name: &str| count(name).and_then(Value::number);
    let (genuine, impostor) = (number("genuine_pairs"), number("impostor_pairs"));
    let carried = match find(name).map_or(Over::Nothing, |found| found.over) {
        Over::Nothing => None,
        Over::Queries => number("queries"),
        Over::Genuine => genuine,
        Over::Impostor => impostor,
        Over::Both => genuine.zip(impostor).map(|(a, b)| a.min(b)),
        Over::Pairs => genuine.zip(impostor).map(|(a, b)| a + b),
    };
    match carried.filter(|count| *count >= 1.0) {
        Some(count) => format!("{real:.*}", carried_by(count)),
        None => shortest(real),
    }
}

/// Digits after the point that figures over this many carry.
fn carried_by(count: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 308
    let digits = count.log10().ceil() as usize;
    digits.clamp(LEAST, MOST)
}

/// Six digits after the point, without zeros at the end; very large and very small numbers with an exponent.
fn shortest(real: f64) -> String {
    if real.is_finite() && (real.abs() >= 1e15 || (real != 0.0 && real.abs() < 1e-6)) {
        return format!("{real:.5e}");
    }
    let text = format!("{real:.MOST$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_they_carry() {
        let word = |name: &str, real: f64, count: u64| {
            let count = Value::Whole(count);
            digits(name, real, |column| (column == "queries" || column.ends_with("_pairs")).then_some(&count))
        };
        assert_eq!(word("recall@1", 0.331_25, 160), "0.331");
        assert_eq!(word("recall@1", 0.5, 5924), "0.5000");
        assert_eq!(word("recall@1", 1.0 / 3.0, u64::MAX), "0.333333");
        assert_eq!(word("recall@1", 1.0 / 3.0, 1), "0.33");
        assert_eq!(word("fnmr@fmr=0.001", 0.0123, 3000), "0.0123");
        assert_eq!(word("eer_threshold", 0.25, 10), "0.25");
        assert_eq!(digits("recall@1", 0.331_25, |_| None), "0.33125");
        assert_eq!(digits("threshold", 1e308, |_| None), "1.00000e308");
        assert_eq!(digits("threshold", f64::NEG_INFINITY, |_| None), "-inf");
    }
}
