//! What is known of a column of results.

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
    pub(super) const fn measure(self) -> Option<&'static str> {
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

/// Of which figures a column says how they were measured: those of rows that differ in it are not ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// Of none: what was tried, or what came of it.
    Nothing,
    /// Of every figure.
    All,
    /// Of those that are taken over queries.
    OfQueries,
    /// Of those that are taken over pairs.
    OfPairs,
    /// Of these; `{T}` and `{METRIC}` as in the figures' own names.
    Of(&'static [&'static str]),
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
    /// Who writes `NAME_from` and `NAME_to`, the ends of its confidence interval; nobody, of what has none.
    pub interval: &'static [Writer],
    /// Whether tables leave it out where no columns are asked for: it says in another way what one beside it says, or is
    /// wanted by few.
    pub beside: bool,
    /// Of which figures it says how they were measured.
    pub tells: Tells,
    /// Whether it tells results of one model on the same data apart: what was tried.
    pub tried: bool,
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
        Self {
            name,
            kind,
            unit,
            better: None,
            over: Over::Nothing,
            writers,
            interval: &[],
            beside: false,
            tells: Tells::Nothing,
            tried: false,
            usual: &[],
            meaning,
        }
    }

    pub(super) const fn measure(self, better: Better, over: Over) -> Self {
        Self { better: Some(better), over, ..self }
    }

    pub(super) const fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }

    /// Over pairs: subjects are drawn.
    pub(super) const fn with_interval(self) -> Self {
        Self { interval: &[Writer::Verify, Writer::Scores], ..self }
    }

    /// Over queries: classes or queries are drawn.
    pub(super) const fn with_query_interval(self) -> Self {
        Self { interval: &[Writer::Recall], ..self }
    }

    pub(super) const fn beside(self) -> Self {
        Self { beside: true, ..self }
    }

    /// Figures of rows that differ in it are not ranked.
    pub(super) const fn tells(self, tells: Tells) -> Self {
        Self { tells, ..self }
    }

    /// Tables show it where rows of one model differ in it.
    pub(super) const fn tried(self) -> Self {
        Self { tried: true, ..self }
    }

    pub(super) const fn usually(self, usual: &'static [&'static str]) -> Self {
        Self { usual, ..self }
    }
}
