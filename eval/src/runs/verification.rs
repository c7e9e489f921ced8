//! What a verification run keeps: its curves, and its pairs where they were kept one by one.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::Column;

use super::files::Files;
use crate::Result;
use crate::metrics::verification::{Bin, Point, SubjectPair, Tally, are_copies, histogram};
use crate::table::parquet::{self as table, Table};
use crate::table::{Kind, Record, Value, read_records};
use pdloss_embed::embeddings::{Embeddings, Row};

const POINTS: &str = "points.parquet";
const HISTOGRAM: &str = "histogram.parquet";
const IMAGES: &str = "images.parquet";
const PAIRS: &str = "pairs.parquet";
const GROUPS: &str = "groups.parquet";

/// Curves and pairs of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verified {
    /// Points of ROC and DET, by threshold.
    pub points: Vec<CurvePoint>,
    /// Both histograms of scores.
    pub histogram: Vec<Bin>,
    /// The pairs; `None` where only counts were kept.
    pub pairs: Option<Pairs>,
    /// Error rates by group, where they were asked for: a row each.
    pub groups: Vec<Record>,
}

/// A threshold and its error rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Scores from here on are accepted.
    pub threshold: f64,
    /// False match rate.
    pub fmr: f64,
    /// False non-match rate.
    pub fnmr: f64,
}

/// Scored pairs and the images they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Every image of a pair.
    pub images: Vec<Person>,
    /// The pairs, in their list's order.
    pub pairs: Vec<Pair>,
    /// The files that were measured.
    pub files: Option<Files>,
}

/// An image, and who is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The image's name.
    pub name: String,
    /// The subject's.
    pub subject: String,
}

/// A scored pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Position in [`Pairs::images`].
    pub a: u32,
    /// Position in [`Pairs::images`].
    pub b: u32,
    /// Whether it is genuine.
    pub same: bool,
    /// Greater is more alike.
    pub score: f64,
    /// Its fold, from 0, where accuracy was taken over folds.
    pub fold: Option<u32>,
    /// Whether it is decided rightly at its fold's threshold.
    pub right: Option<bool>,
}

impl Verified {
    /// Curves and histogram of a tally; distances come with their sign swapped, and `sign` swaps it back.
    pub(crate) fn of(tally: &Tally, curve: &[Point], sign: f64) -> Self {
        let point = |p: &Point| CurvePoint { threshold: sign * p.threshold, fmr: tally.fmr(p), fnmr: tally.fnmr(p) };
        Self { points: curve.iter().map(point).collect(), histogram: histogram(tally, sign), ..Self::default() }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let points = &self.points;
        let columns = vec![
            Column::new("threshold".into(), points.iter().map(|p| p.threshold).collect::<Vec<_>>()),
            Column::new("fmr".into(), points.iter().map(|p| p.fmr).collect::<Vec<_>>()),
            Column::new("fnmr".into(), points.iter().map(|p| p.fnmr).collect::<Vec<_>>()),
            Column::new("tar".into(), points.iter().map(|p| 1.0 - p.fnmr).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(POINTS), columns)?;
        let bins = &self.histogram;
        let columns = vec![
            Column::new("from".into(), bins.iter().map(|b| b.from).collect::<Vec<_>>()),
            Column::new("to".into(), bins.iter().map(|b| b.to).collect::<Vec<_>>()),
            Column::new("genuine".into(), bins.iter().map(|b| b.genuine).collect::<Vec<_>>()),
            Column::new("impostor".into(), bins.iter().map(|b| b.impostor).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(HISTOGRAM), columns)?;
        if !self.groups.is_empty() {
            Kind::Parquet.write(&folder.join(GROUPS), &self.groups)?;
        }
        self.pairs.as_ref().map_or(Ok(()), |pairs| pairs.write(folder))
    }

    /// The figures of a result that are not those of these pairs and curves: one of the two was changed, or they are of two runs.
    pub(super) fn doubts(&self, record: &Record) -> Vec<String> {
        /// Sums are rounded in the order of their terms.
        const ROUNDING: f64 = 1e-9;
        /// Of many points of a curve some are left out.
        const THINNED: f64 = 0.01;
        let eer = self.points.iter().map(|point| ((point.fmr - point.fnmr).abs(), (point.fmr + point.fnmr) / 2.0));
        let eer = eer.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, eer)| eer);
        let found = self.pairs.as_ref().map(Pairs::figures).unwrap_or_default();
        let found = found.into_iter().map(|(name, value)| (name, Some(value), "pairs", ROUNDING));
        let doubt = |(name, value, of, most): (&str, Option<f64>, &str, f64)| {
            let (value, says) = (value?, record.get(name).and_then(Value::number)?);
            // As large as the numbers are.
            ((value - says).abs() > most * value.abs().max(1.0)).then(|| {
                format!("says {name} {says}, and the {of} beside it make {value}: one of the two is not of this run, or was changed")
            })
        };
        found.chain([("eer", eer, "points", THINNED)]).filter_map(doubt).collect()
    }

    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(POINTS).is_file()
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let table = Table::read(folder.join(POINTS))?;
        let (threshold, fmr, fnmr) = (table.reals("threshold")?, table.shares("fmr")?, table.shares("fnmr")?);
        let point = |at: usize| CurvePoint { threshold: threshold[at], fmr: fmr[at], fnmr: fnmr[at] };
        let points = (0..threshold.len()).map(point).collect();
        let table = Table::read(folder.join(HISTOGRAM))?;
        let (from, to) = (table.reals("from")?, table.reals("to")?);
        let (genuine, impostor) = (table.shares("genuine")?, table.shares("impostor")?);
        let bin = |at: usize| Bin { from: from[at], to: to[at], genuine: genuine[at], impostor: impostor[at] };
        let histogram = (0..from.len()).map(bin).collect();
        let pairs = folder.join(PAIRS).is_file().then(|| Pairs::read(folder)).transpose()?;
        let groups = folder.join(GROUPS);
        let groups = if groups.is_file() { read_records(&groups)? } else { Vec::new() };
        Ok(Self { points, histogram, pairs, groups })
    }
}

impl Pairs {
    /// All unordered pairs of a labelled set but those of copies, in the order of [`keep_all`](crate::metrics::verification::keep_all).
    pub(crate) fn of_all(embeddings: &Embeddings, scored: &[SubjectPair]) -> Self {
        let person = |row: &Row| Person { name: row.name.clone(), subject: embeddings.classes[row.class].clone() };
        let count = u32::try_from(embeddings.rows.len()).expect("fewer than 2^32 of them fit in memory");
        let all = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let row = |at: u32| &embeddings.rows[at as usize];
        let rows = all.filter(|&(a, b)| !are_copies(row(a), row(b)));
        let pair = |((a, b), scored): ((u32, u32), &SubjectPair)| Pair {
            a,
            b,
            same: scored.same,
            score: scored.score,
            fold: None,
            right: None,
        };
        Self {
            images: embeddings.rows.iter().map(person).collect(),
            pairs: rows.zip(scored).map(pair).collect(),
            files: Files::of(embeddings),
        }
    }

    /// What the pairs make, by the names of results.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let mut figures = Vec::new();
        for (same, count, mean) in [(true, "genuine_pairs", "mu_genuine"), (false, "impostor_pairs", "mu_impostor")] {
            let scores: Vec<f64> = self.pairs.iter().filter(|pair| pair.same == same).map(|pair| pair.score).collect();
            figures.push((count, scores.len() as f64));
            figures.push((mean, scores.iter().sum::<f64>() / scores.len() as f64));
        }
        let mut folds: BTreeMap<Option<u32>, (f64, f64)> = BTreeMap::new();
        for pair in &self.pairs {
            let Some(right) = pair.right else { return figures };
            let (of, all) = folds.entry(pair.fold).or_default();
            *of += f64::from(u8::from(right));
            *all += 1.0;
        }
        let count = folds.len() as f64;
        figures.push(("accuracy", folds.into_values().map(|(right, all)| right / all).sum::<f64>() / count));
        figures
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let images = &self.images;
        let columns = vec![
            Column::new("name".into(), images.iter().map(|i| i.name.as_str()).collect::<Vec<_>>()),
            Column::new("subject".into(), images.iter().map(|i| i.subject.as_str()).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(IMAGES), columns)?;
        let pairs = &self.pairs;
        let columns = vec![
            Column::new("a".into(), pairs.iter().map(|p| p.a).collect::<Vec<_>>()),
            Column::new("b".into(), pairs.iter().map(|p| p.b).collect::<Vec<_>>()),
            Column::new("same".into(), pairs.iter().map(|p| p.same).collect::<Vec<_>>()),
            Column::new("score".into(), pairs.iter().map(|p| p.score).collect::<Vec<_>>()),
            Column::new("fold".into(), pairs.iter().map(|p| p.fold).collect::<Vec<_>>()),
            Column::new("right".into(), pairs.iter().map(|p| p.right).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(PAIRS), columns)?;
        self.files.as_ref().map_or(Ok(()), |files| files.write(folder))
    }

    fn read(folder: &Path) -> Result<Self> {
        let table = Table::read(folder.join(IMAGES))?;
        let (names, subjects) = (table.words("name")?, table.words("subject")?);
        let images: Vec<_> = names.into_iter().zip(subjects).map(|(name, subject)| Person { name, subject }).collect();
        let table = Table::read(folder.join(PAIRS))?;
        let (a, b) = (table.counts("a")?, table.counts("b")?);
        table.within("a", &a, images.len())?;
        table.within("b", &b, images.len())?;
        let (same, score) = (table.flags("same")?, table.finite("score")?);
        let (fold, right) = (table.some_counts("fold")?, table.some_flags("right")?);
        let pair =
            |at: usize| Pair { a: a[at], b: b[at], same: same[at], score: score[at], fold: fold[at], right: right[at] };
        Ok(Self { images, pairs: (0..a.len()).map(pair).collect(), files: Files::read(folder)? })
    }
}
