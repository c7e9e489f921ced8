//! Error rates by group of images: what is asked for, and its table.

use std::path::{Path, PathBuf};

use clap::Args;

use super::arguments::Notes;
use super::given::{names, once_each};
use crate::metrics::verification::{
    Bootstrap, Ends, GroupErrors, SubjectPair, Tally, at_fmr, by_group, carries, eer, group_intervals,
};
use crate::pairs::{Attributes, Pair, in_words};
use crate::table::{Kind, Record, Value};
use crate::{Error, Result};

/// Fewer pairs of a kind say too little of a group for it to be called the worst.
const LEAST: u64 = 30;

/// Groups of images.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Groups")]
pub struct GroupArgs {
    /// FMR and FNMR by group at one threshold: CSV of path and columns such as sex or age, a line an image
    #[arg(long, value_name = "FILE.csv", requires = "group_by")]
    pub groups: Option<PathBuf>,
    /// The column that makes the groups; several make the groups of all their values together. A name with a comma stands in quotes:
    /// '"sex, at birth",age'
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,...", requires = "groups")]
    pub group_by: Vec<String>,
    /// The threshold is the smallest whose FMR over all pairs is at most this
    #[arg(long, value_name = "FMR", default_value_t = 0.001, requires = "groups")]
    pub group_fmr: f64,
    /// Write the table of groups: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE", requires = "groups")]
    pub group_table: Option<PathBuf>,
}

impl GroupArgs {
    /// The file that is read, with its flag.
    pub(super) fn input(&self) -> Option<(&'static str, &Path)> {
        Some(("--groups", self.groups.as_deref()?))
    }

    /// The file that is written, with its flag.
    pub(super) fn output(&self) -> Option<(&'static str, &Path)> {
        Some(("--group-table", self.group_table.as_deref()?))
    }
}

/// Checked arguments, and the attributes that were read.
#[derive(Debug)]
pub(super) struct Grouping {
    attributes: Attributes,
    by: String,
    fmr: f64,
    out: Option<(PathBuf, Kind)>,
}

fn no_pair(names: &[String]) -> Error {
    let first = names.first().map_or("", String::as_str);
    Error::Usage(format!("--groups: no pair has two images that --groups has a line for; the first image is {first}"))
}

/// The groups of a run.
#[derive(Debug)]
pub(super) struct Grouped {
    /// A row a group.
    pub(super) rows: Vec<Record>,
    /// Columns of the run's own row.
    pub(super) summary: Record,
    /// Where the rows are written.
    pub(super) out: Option<(PathBuf, Kind)>,
}

impl Grouping {
    /// # Errors
    /// [`Error::Usage`] for a rate that is none, an ending that is not known or a column that is not there; those of reading.
    pub(super) fn plan(args: &GroupArgs) -> Result<Option<Self>> {
        let Some(path) = &args.groups else { return Ok(None) };
        if !(args.group_fmr > 0.0 && args.group_fmr < 1.0) {
            return Err(Error::Usage(format!("--group-fmr {}: wanted a rate between 0 and 1", args.group_fmr)));
        }
        let kind = |path: &PathBuf| Kind::of("--group-table", path).map(|kind| (path.clone(), kind));
        let out = args.group_table.as_ref().map(kind).transpose()?;
        let columns = once_each(names(&args.group_by));
        let attributes = Attributes::read(path, &columns)?;
        Ok(Some(Self { attributes, by: columns.join(", "), fmr: args.group_fmr, out }))
    }

    /// Refuses a table that has no line for both images of any of these pairs, or of all pairs of the images where there are none.
    ///
    /// # Errors
    /// As [`Grouping::of`].
    pub(super) fn check(&self, names: &[String], pairs: Option<&[Pair]>) -> Result<()> {
        let values = self.attributes.of(names)?;
        let is_there = match pairs {
            Some(pairs) => pairs.iter().any(|pair| values[pair.a].is_some() && values[pair.b].is_some()),
            None => values.iter().flatten().count() > 1,
        };
        if is_there { Ok(()) } else { Err(no_pair(names)) }
    }

    /// The groups of scored pairs. `names` are the images, of which `images` has the two of each pair; `subjects` counts the
    /// numbers that pairs call their subjects by.
    ///
    /// # Errors
    /// [`Error::Data`] where no image has a group, or one fits several lines.
    pub(super) fn of(
        &self,
        names: &[String],
        images: impl Iterator<Item = (usize, usize)>,
        (pairs, subjects): (&[SubjectPair], usize),
        tally: &Tally,
        bootstrap: Option<&Bootstrap>,
        notes: &mut Notes,
    ) -> Result<Grouped> {
        let values = self.attributes.of(names)?;
        notes.extend(&self.attributes.doubts);
        let mut groups: Vec<String> = Vec::new();
        // Of each group, whether its two images differ.
        let mut across: Vec<bool> = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        let mut number = |(a, b): (usize, usize)| -> Option<u32> {
            let (a, b) = (values[a]?, values[b]?);
            // By the values: what is printed of two groups must not make them one.
            Some(*numbers.entry(if a <= b { (a, b) } else { (b, a) }).or_insert_with_key(|(a, b)| {
                groups.push(if a == b { in_words(a) } else { format!("{} - {}", in_words(a), in_words(b)) });
                across.push(a != b);
                u32::try_from(groups.len() - 1).expect("fewer than 2^32 of them fit in memory")
            }))
        };
        let of: Vec<Option<u32>> = images.map(&mut number).collect();
        let torn = pairs
            .iter()
            .zip(&of)
            .filter(|(pair, group)| pair.same && group.is_some_and(|at| across[at as usize]))
            .count();
        if torn > 0 {
            notes.add(format!(
                "{torn} genuine pairs are of two groups: is a person told otherwise on one image than on another by '{}'?",
                self.by
            ));
        }
        let without = of.iter().filter(|group| group.is_none()).count();
        if without == of.len() {
            return Err(no_pair(names));
        }
        if without > 0 {
            notes
                .add(format!("{without} of {} pairs are of no group, for --groups has no line for an image", of.len()));
        }
        let (threshold, from) = if carries(tally.impostor(), self.fmr) {
            (at_fmr(tally, &[self.fmr])[0].threshold, format!("FMR {} of all pairs", self.fmr))
        } else {
            notes.add(format!(
                "--group-fmr {}: {} impostor pairs do not carry it (rule of three); groups are compared at the threshold of the EER",
                self.fmr,
                tally.impostor()
            ));
            (eer(tally).threshold, "EER of all pairs".into())
        };
        let errors = by_group(pairs, &of, groups.len(), threshold);
        let intervals = bootstrap.map(|how| group_intervals(pairs, &of, groups.len(), threshold, subjects, how));
        let bare = |rate: Option<f64>| rate.is_some_and(|rate| rate == 0.0 || rate == 1.0);
        let alike = errors.iter().filter(|e| bare(e.fmr()) || bare(e.fnmr())).count();
        if intervals.is_some() && alike > 0 {
            notes.add(format!(
                "{alike} of {} groups have no error of a kind, or nothing else, as every draw of theirs has: the interval is that of the rule of \
                 three",
                groups.len()
            ));
        }
        let lacks = |&at: &usize| {
            let (fmr, fnmr) = (errors[at].fmr(), errors[at].fnmr());
            let none = |rate: Option<f64>, ends: Option<Ends>| rate.is_some() && !bare(rate) && ends.is_none();
            intervals.as_ref().is_some_and(|all| none(fmr, all[at].0) || none(fnmr, all[at].1))
        };
        let lacking: Vec<usize> = (0..groups.len()).filter(lacks).collect();
        if let Some(&first) = lacking.first() {
            notes.add(format!(
                "{} of {} groups, the first '{}', have too few subjects for an interval of a rate: their draws are all the same, or have no such pair",
                lacking.len(),
                groups.len(),
                groups[first]
            ));
        }
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&at| (across[at], groups[at].clone()));
        let row = |&at: &usize| row(&groups[at], &errors[at], intervals.as_ref().map(|all| all[at]));
        let mut summary = Record::new();
        summary.set("group_by", self.by.as_str()).set("groups", groups.len()).set("pairs_without_group", without);
        summary.set("group_threshold", threshold).set("group_threshold_from", from);
        worst(&mut summary, "fmr", &groups, &errors, &|e| (e.impostor, e.fmr()));
        worst(&mut summary, "fnmr", &groups, &errors, &|e| (e.genuine, e.fnmr()));
        Ok(Grouped { rows: order.iter().map(row).collect(), summary, out: self.out.clone() })
    }
}

fn row(group: &str, errors: &GroupErrors, intervals: Option<(Option<Ends>, Option<Ends>)>) -> Record {
    let mut row = Record::new();
    row.set("group", group).set("genuine_pairs", Value::Whole(errors.genuine));
    row.set("impostor_pairs", Value::Whole(errors.impostor));
    let rates = [
        ("fmr", (errors.fmr(), errors.impostor), intervals.map(|i| i.0)),
        ("fnmr", (errors.fnmr(), errors.genuine), intervals.map(|i| i.1)),
    ];
    for (name, (value, pairs), ends) in rates {
        row.set(name, value);
        if let Some(ends) = ends {
            let ends = by_three(value, pairs as f64).or(ends);
            row.set(format!("{name}_from"), ends.map(|e| e.0)).set(format!("{name}_to"), ends.map(|e| e.1));
        }
    }
    row
}

/// The interval of a rate of nothing or everything, which every draw has again: by the rule of three.
pub(super) fn by_three(rate: Option<f64>, pairs: f64) -> Option<Ends> {
    let width = (3.0 / pairs).min(1.0);
    match rate? {
        0.0 => Some((0.0, width)),
        1.0 => Some((1.0 - width, 1.0)),
        _ => None,
    }
}

/// Adds which group has the greatest rate, among those with pairs enough.
fn worst(
    summary: &mut Record,
    rate: &str,
    groups: &[String],
    errors: &[GroupErrors],
    of: &dyn Fn(&GroupErrors) -> (u64, Option<f64>),
) {
    let rated = groups.iter().zip(errors).filter_map(|(name, errors)| {
        let (pairs, rate) = of(errors);
        Some((name, rate.filter(|_| pairs >= LEAST)?))
    });
    let found = rated.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)));
    summary.set(format!("worst_{rate}_group"), found.map(|(name, _)| name.as_str()));
    summary.set(format!("worst_{rate}"), found.map(|(_, rate)| rate));
}

#[cfg(test)]
mod tests {
    use super::by_three;

    #[test]
    fn no_error_and_nothing_else_have_an_interval() {
        assert_eq!(by_three(Some(0.0), 5.0), Some((0.0, 0.6)));
        assert_eq!(by_three(Some(1.0), 10.0), Some((0.7, 1.0)));
        assert_eq!((by_three(Some(0.0), 1.0), by_three(Some(0.4), 5.0)), (Some((0.0, 1.0)), None));
        assert_eq!(by_three(None, 0.0), None);
    }
}
