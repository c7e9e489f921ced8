//! Conditions on rows, and patterns for names.

use std::cmp::Ordering;
use std::str::FromStr;

use super::{Record, Value};

/// A condition that a row must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(crate) column: String,
    relation: Relation,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Is,
    IsNot,
    Compares { wanted: Ordering, or_equal: bool },
}

impl FromStr for Filter {
    type Err = String;

    /// `column=value`; the last sign counts, for some columns have one in their name (`fnmr@fmr=0.001<0.1`).
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("'{text}': wanted COLUMN=VALUE, or !=, <, <=, >, >= in place of =");
        let last = text.rfind(['=', '<', '>']).ok_or_else(wrong)?;
        let value = text[last + 1..].trim().to_owned();
        let (column, relation) = match (&text[..last], &text[last..=last]) {
            (column, "=") => match column.as_bytes().last() {
                Some(b'!') => (&column[..last - 1], Relation::IsNot),
                Some(b'<') => (&column[..last - 1], Relation::Compares { wanted: Ordering::Less, or_equal: true }),
                Some(b'>') => (&column[..last - 1], Relation::Compares { wanted: Ordering::Greater, or_equal: true }),
                _ => (column, Relation::Is),
            },
            (column, "<") => (column, Relation::Compares { wanted: Ordering::Less, or_equal: false }),
            (column, _) => (column, Relation::Compares { wanted: Ordering::Greater, or_equal: false }),
        };
        let column = column.trim().to_owned();
        if column.is_empty() {
            return Err(wrong());
        }
        if matches!(relation, Relation::Compares { .. }) && value.parse::<f64>().is_err() {
            return Err(format!("'{text}': '{value}' is not a number"));
        }
        Ok(Self { column, relation, value })
    }
}

impl Filter {
    pub(crate) fn accepts(&self, row: &Record) -> bool {
        let value = row.get(&self.column).unwrap_or(&Value::Missing);
        let number = self.value.parse::<f64>().ok();
        let compared = value.number().zip(number).and_then(|(a, b)| a.partial_cmp(&b));
        let is = compared == Some(Ordering::Equal) || matches(&self.value, &value.word());
        match self.relation {
            Relation::Is => is,
            Relation::IsNot => !is,
            Relation::Compares { wanted, or_equal } => {
                compared == Some(wanted) || (or_equal && compared == Some(Ordering::Equal))
            }
        }
    }
}

/// Whether `text` is what `pattern` says, whatever the case; `*` stands for any letters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_the_last_sign() {
        let parse = |text: &str| text.parse::<Filter>();
        let filter = parse("fnmr@fmr=0.001<=0.1").unwrap();
        assert_eq!((filter.column.as_str(), filter.value.as_str()), ("fnmr@fmr=0.001", "0.1"));
        assert_eq!(filter.relation, Relation::Compares { wanted: Ordering::Less, or_equal: true });
        assert_eq!(parse("dataset != cub*").unwrap().relation, Relation::IsNot);
        for wrong in ["", "dataset", "=x", "recall@1>high"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_accept_words_and_numbers() {
        let mut row = Record::new();
        row.set("dataset", "CUB_200_2011").set("recall@1", 0.5).set("images", 10_usize);
        let accepts = |text: &str| text.parse::<Filter>().unwrap().accepts(&row);
        for right in
            ["dataset=cub*", "dataset=*200*", "recall@1=0.50", "recall@1>=0.5", "images<11", "none!=x", "dataset!=cub"]
        {
            assert!(accepts(right), "{right}");
        }
        for wrong in ["dataset=cub", "recall@1>0.5", "images<10", "dataset>1", "none<1", "dataset=*200"] {
            assert!(!accepts(wrong), "{wrong}");
        }
    }
}
