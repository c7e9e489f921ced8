//! Names of classes that a slip may have made: two of one, and words for no label.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::source::names::several;

/// What programs and people write for no label.
const NO_LABEL: [&str; 17] = [
    "nan",
    "nat",
    "null",
    "none",
    "n/a",
    "#n/a",
    "na",
    "<na>",
    "-1",
    "-1.0",
    "?",
    "-",
    "unknown",
    "unlabeled",
    "unlabelled",
    "undefined",
    "missing",
];

/// A sentence on names that differ by case, blanks, lines between words, characters without width, the form of letters or
/// the way a number is written; and one on those that stand for no label.
pub fn slips_in<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    slips_of(("classes", "class"), names)
}

/// The same of what is called so, several and one of them.
pub fn slips_of<'n>((many, one): (&str, &str), names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let names: BTreeSet<&str> = names.collect();
    let mut notes: Vec<String> = nearly_alike(many, names.iter().copied()).into_iter().collect();
    let none: Vec<&str> =
        names.into_iter().filter(|name| NO_LABEL.contains(&name.trim().to_lowercase().as_str())).collect();
    if !none.is_empty() {
        let none = quoted(&none).join(" and ");
        notes.push(format!("{none} counts as a {one} like any other; is it a label that is missing?"));
    }
    notes
}

/// A sentence on those of these names, which are of `many`, that a slip tells apart.
pub fn nearly_alike<'n>(many: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let names: BTreeSet<&str> = names.collect();
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for &name in &names {
        alike.entry(folded(name)).or_default().push(name);
    }
    let alike: Vec<String> =
        alike.values().filter(|names| names.len() > 1).map(|names| quoted(names).join(" and ")).collect();
    (!alike.is_empty())
        .then(|| format!("{many} whose names are nearly the same count as different ones: {}", several(alike)))
}

/// Names in quotes; what cannot be seen is written as its number.
fn quoted(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name:?}").replace('"', "'")).collect()
}

/// What names have in common that a slip tells apart: case, blanks and lines between words, the form of letters and numbers.
pub fn folded(name: &str) -> String {
    let lower = name.nfkc().collect::<String>().to_lowercase();
    let plain: String = lower.chars().filter(|c| !has_no_width(*c)).collect();
    if let Some(number) = plain_number(plain.trim()) {
        return number;
    }
    let words = plain.split(|c: char| c.is_whitespace() || c == '_' || c == '-').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// A number in one form, however it is written: `1`, `01`, `+1`, `1.0` and `1e0` are one; `None` for what is no number.
pub fn plain_number(text: &str) -> Option<String> {
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    let number = text.parse::<f64>().ok().filter(|_| begins)?;
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(before, after)| (before, Some(after)));
    let digits = mantissa.trim_start_matches(['+', '-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    // Ids of posts and accounts have more digits than 64 bits of a float tell apart.
    if digits <= 15 || exponent.is_some() {
        return Some(number.to_string());
    }
    let (sign, plain) = mantissa.strip_prefix('-').map_or(("", mantissa), |plain| ("-", plain));
    let plain = plain.trim_start_matches(['+', '0']);
    let plain = if plain.contains('.') { plain.trim_end_matches('0').trim_end_matches('.') } else { plain };
    Some(format!("{sign}{plain}"))
}

/// Characters that nobody sees: zero-width blanks and joiners, marks of direction, soft hyphens, byte-order marks.
fn has_no_width(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_slip_may_have_made_of_one_are_said() {
        let said = |names: &[&'static str]| slips_in(names.iter().copied()).join("; ");
        for (names, wanted) in [
            (["Dog", "cat", "dog"], "'Dog' and 'dog'"),
            (["dog", "dog ", "cat"], "'dog' and 'dog '"),
            (["0", "0.0", "1"], "'0' and '0.0'"),
            (["01", "1", "2"], "'01' and '1'"),
            (["+1", "1", "2"], "'+1' and '1'"),
            (["a  b", "a b", "c"], "'a  b' and 'a b'"),
            (["a_b", "a b", "c"], "'a b' and 'a_b'"),
            (["a-b", "a_b", "c"], "'a-b' and 'a_b'"),
            (["dog", "dog\u{200b}", "cat"], "'dog' and 'dog\\u{200b}'"),
            (["dog", "\u{ff44}og", "cat"], "'dog' and '\u{ff44}og'"),
            (["caf\u{e9}", "cafe\u{301}", "cat"], "'cafe\\u{301}' and 'caf\u{e9}'"),
            (["nan", "a", "b"], "'nan' counts as a class"),
            (["-1", "0", "1"], "'-1' counts as a class"),
            (["?", "a", "b"], "'?' counts as a class"),
            (["Unknown", "a", "b"], "'Unknown' counts as a class"),
        ] {
            assert!(said(&names).contains(wanted), "{names:?}: {}", said(&names));
        }
        // Beyond 2^53, where a float knows every other number at best.
        let ids = ["9223372036854775808", "9223372036854775809", "1489302457811312641", "1489302457811312642"];
        assert_eq!(said(&ids), "");
        let written = ["1489302457811312641", "1489302457811312641.0", "01489302457811312641", "+1489302457811312641"];
        assert_eq!(said(&written).matches(" and ").count(), 3, "{}", said(&written));
        assert_eq!(said(&["1000", "1e3"]).matches(" and ").count(), 1);
        assert_eq!(
            said(&["dog", "dogs", "1", "2", "10", "-2", "infinity", "inf", "ab", "a b"]).matches("' and '").count(),
            0
        );
    }
}
