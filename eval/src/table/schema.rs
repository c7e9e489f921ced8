//! The columns of results as data: name, type, unit, which way is better, what carries it, who writes it, what it means.
//! Whatever writes, reads, typesets, ranks or documents a column asks here.
//!
//! `docs/columns.md` is made of these lists; see [`reference`](super::reference).

use super::columns::{FILES, RESULTS};

/// What a column holds. Any value may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Words.
    Text,
    /// A count: a whole number from 0.
    Whole,
    /// A number.
    Real,
    /// True or false.
    Flag,
    /// As `run.toml` has it: a text, a whole number, a real number or a flag.
    Setting,
}

impl Type {
    /// In a word, for messages and the reference.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "whole number",
            Self::Real => "real number",
            Self::Flag => "true or false",
            Self::Setting => "as in run.toml",
        }
    }
}

/// Which way a measure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The greater the better.
    Higher,
    /// The smaller the better.
    Lower,
}

/// What a command writes, by its `measure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// `recall`.
    Recall,
    /// `verify`.
    Verify,
    /// `scores`.
    Scores,
    /// `compare`.
    Compare,
    /// `pdloss train`, read by `tabulate` and `report`.
    Train,
    /// `tabulate`, of what it reads.
    Tabulate,
}

impl Writer {
    /// The command's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Verify => "verify",
            Self::Scores => "scores",
            Self::Compare => "compare",
            Self::Train => "train",
            Self::Tabulate => "tabulate",
        }
    }

    /// What its results have in the column `measure`.
    const fn measure(self) -> Option<&'static str> {
        match self {
            Self::Recall => Some("recall"),
            Self::Verify | Self::Scores => Some("verification"),
            Self::Compare => Some("comparison"),
            Self::Train => Some("training"),
            Self::Tabulate => None,
        }
    }
}

/// What a figure is taken over. A figure over `n` of these is known to about `1 / n`, and is printed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing that is counted.
    Nothing,
    /// Queries.
    Queries,
    /// Genuine pairs.
    Genuine,
    /// Impostor pairs.
    Impostor,
    /// Genuine and impostor pairs: the fewer of them carry it.
    Both,
    /// All pairs together.
    Pairs,
}

/// A column, or columns whose names differ in one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name. `{K}` stands for a whole number, `{T}` for a number, `{FIGURE}` for a figure that has an interval,
    /// `{METRIC}` and `{SETTING}` for any name.
    pub name: &'static str,
    /// The type.
    pub kind: Type,
    /// The unit; empty for text and for numbers without one.
    pub unit: &'static str,
    /// Which way is better; `None` for what is no measure.
    pub better: Option<Better>,
    /// What carries its digits.
    pub over: Over,
    /// Who writes it.
    pub writers: &'static [Writer],
    /// Whether `NAME_from` and `NAME_to` are the ends of its confidence interval.
    pub interval: bool,
    /// Of a pattern: the names that every parquet file has.
    pub usual: &'static [&'static str],
    /// One line.
    pub meaning: &'static str,
}

impl Column {
    pub(super) const fn new(
        name: &'static str,
        kind: Type,
        unit: &'static str,
        writers: &'static [Writer],
        meaning: &'static str,
    ) -> Self {
        Self { name, kind, unit, better: None, over: Over::Nothing, writers, interval: false, usual: &[], meaning }
    }

    pub(super) const fn measure(self, better: Better, over: Over) -> Self {
        Self { better: Some(better), over, ..self }
    }

    pub(super) const fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }

    pub(super) const fn with_interval(self) -> Self {
        Self { interval: true, ..self }
    }

    pub(super) const fn usually(self, usual: &'static [&'static str]) -> Self {
        Self { usual, ..self }
    }

    /// Whether it stands for several names.
    pub(super) fn is_pattern(&self) -> bool {
        self.name.contains('{')
    }

    /// What stands in the place of its placeholder in this name; an empty word where it has none.
    fn part<'n>(&self, name: &'n str) -> Option<&'n str> {
        let Some((before, rest)) = self.name.split_once('{') else { return (self.name == name).then_some("") };
        let (place, after) = rest.split_once('}')?;
        let part = name.strip_prefix(before)?.strip_suffix(after)?;
        let fits = match place {
            "K" => !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()),
            "T" => part.parse::<f64>().is_ok(),
            "FIGURE" => find(part).is_some_and(|figure| figure.column.interval),
            _ => !part.is_empty(),
        };
        fits.then_some(part)
    }

    /// Every name that it has in a parquet file of results.
    fn names(&self) -> Vec<String> {
        let Some((before, (place, after))) =
            self.name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        else {
            return vec![self.name.to_owned()];
        };
        let figures = || RESULTS.iter().filter(|column| column.interval).flat_map(Column::names);
        let parts: Vec<String> =
            if place == "FIGURE" { figures().collect() } else { self.usual.iter().map(|&part| part.into()).collect() };
        parts.iter().map(|part| format!("{before}{part}{after}")).collect()
    }
}

/// A column that a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its entry.
    pub column: &'static Column,
    /// Which way is better, of `last NAME` and `best NAME` that of `NAME`.
    pub better: Option<Better>,
    /// What carries its digits.
    pub over: Over,
}

/// The entry of a column of results, also of those in the files beside it.
pub fn find(name: &str) -> Option<Found> {
    let files = FILES.iter().flat_map(|(_, columns)| columns.iter());
    RESULTS.iter().chain(files).find_map(|column| {
        let part = column.part(name)?;
        let (better, over) = if column.name.contains("{METRIC}") {
            find(part).map_or((None, Over::Nothing), |metric| (metric.better, metric.over))
        } else {
            (column.better, column.over)
        };
        Some(Found { column, better, over })
    })
}

/// The type that a column must have; `None` where the schema does not say.
pub(crate) fn type_of(name: &str) -> Option<Type> {
    find(name).map(|found| found.column.kind).filter(|kind| *kind != Type::Setting)
}

/// Which way a column is better.
pub(crate) fn better(name: &str) -> Option<Better> {
    find(name).and_then(|found| found.better)
}

/// The names, in order, that every parquet file of this `measure` has.
pub(super) fn usual_names(measure: &str) -> Vec<String> {
    let writes = |column: &&Column| column.writers.iter().any(|writer| writer.measure() == Some(measure));
    RESULTS.iter().filter(writes).flat_map(Column::names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn measures_know_their_direction() {
        let better = |name: &str| find(name).and_then(|found| found.better);
        assert_eq!(["recall@10", "best recall@1", "map@r", "tar@far=0.01"].map(better), [Some(Better::Higher); 4]);
        assert_eq!(["eer", "fnmr@fmr=0.001", "last loss"].map(better), [Some(Better::Lower); 3]);
        assert_eq!(["images", "eer_from", "eer_threshold", "index_recall", "colour"].map(better), [None; 5]);
    }

    #[test]
    fn patterns_take_what_they_stand_for() {
        let kind = |name: &str| find(name).map(|found| (found.column.name, found.column.kind));
        assert_eq!(kind("recall@100"), Some(("recall@{K}", Type::Real)));
        assert_eq!(kind("recall@x"), None);
        assert_eq!(kind("fnmr@fmr=0.000001"), Some(("fnmr@fmr={T}", Type::Real)));
        assert_eq!(kind("fnmr@fmr=0.1_from"), Some(("{FIGURE}_from", Type::Real)));
        assert_eq!(kind("images_from"), None);
        assert_eq!(kind("accuracy_fold_10"), Some(("accuracy_fold_{K}", Type::Real)));
        assert_eq!(kind("loss.temperature"), Some(("loss.{SETTING}", Type::Setting)));
    }

    #[test]
    fn no_name_has_two_entries() {
        let mut seen = HashSet::new();
        for column in RESULTS {
            assert!(seen.insert(column.name), "{}", column.name);
            assert!(!column.meaning.is_empty() && column.meaning.is_ascii() && !column.meaning.contains('|'));
        }
        // the files' columns have no other type than those of results that are called so
        for column in FILES.iter().flat_map(|(_, columns)| columns.iter()).filter(|column| !column.is_pattern()) {
            assert_eq!(find(column.name).map(|found| found.column.kind), Some(column.kind), "{}", column.name);
        }
    }

    #[test]
    fn names_of_one_measure_are_distinct() {
        for measure in ["recall", "verification", "comparison", "training"] {
            let names = usual_names(measure);
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{measure}");
            assert!(names.len() > 5, "{measure}");
        }
        assert!(usual_names("recall").contains(&"recall@1".to_owned()));
        assert!(usual_names("verification").contains(&"fnmr@fmr=0.001_to".to_owned()));
    }
}
