//! Figures rounded to what they carry.

use super::schema::{Over, find};
use super::value::Value;

/// More digits after the point are never printed.
const MOST: usize = 6;
/// And no fewer.
const LEAST: usize = 2;
/// Digits that count of a number that would be nothing.
const LEAST_OF_ALL: usize = 3;

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
    let is_score = find(name).is_some_and(|found| found.column.unit.starts_with("score"));
    match carried.filter(|count| *count >= 1.0).map(carried_by) {
        // Scores may have any scale.
        Some(digits) if is_score && is_lost(real, digits) => significant(real, digits.max(LEAST_OF_ALL)),
        Some(digits) => format!("{real:.digits$}"),
        None => shortest(real),
    }
}

/// A number of a column: `digits` behind the point, which is what shares have. Others may be small, such as rates of learning: where
/// that would change one by more than a hundredth, it has so many digits that count.
pub(crate) fn in_column(real: f64, is_share: bool, digits: usize) -> String {
    if !is_share && is_lost(real, digits) { significant(real, digits.max(1)) } else { format!("{real:.digits$}") }
}

/// Whether so many digits after the point change a number by more than a hundredth.
fn is_lost(real: f64, digits: usize) -> bool {
    let rounded: f64 = format!("{real:.digits$}").parse().unwrap_or(real);
    real.is_finite() && (rounded - real).abs() > 0.01 * real.abs()
}

/// So many digits that count, without zeros at the end; very large and very small numbers with an exponent.
fn significant(real: f64, digits: usize) -> String {
    let text = format!("{real:.*e}", digits - 1);
    let rounded: f64 = text.parse().unwrap_or(real);
    if rounded == 0.0 || !rounded.is_finite() || (1e-6..1e15).contains(&rounded.abs()) {
        return rounded.to_string();
    }
    let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}e{exponent}")
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
        // Scores of any scale.
        assert_eq!(word("mu_genuine", 3e-30, 200), "3e-30");
        assert_eq!(word("sd_genuine", 0.000_123_456, 200), "0.000123");
        assert_eq!(word("sd_genuine", 0.0, 200), "0.000");
        assert_eq!(word("mu_genuine", 0.123_456, 200), "0.123");
    }

    #[test]
    fn small_numbers_of_a_column_are_not_nothing() {
        let word = |number: f64| in_column(number, false, 4);
        assert_eq!([1e-5, 2e-5, 0.0, 0.05].map(word), ["0.00001", "0.00002", "0.0000", "0.0500"]);
        assert_eq!([0.000_15, 100_001.007_6, -2.5e-9].map(word), ["0.00015", "100001.0076", "-2.5e-9"]);
        assert_eq!([0.5, 12.345_678, f64::NAN].map(word), ["0.5000", "12.3457", "NaN"]);
        assert_eq!(in_column(0.000_01, true, 4), "0.0000");
    }
}
