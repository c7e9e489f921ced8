//! What a recall run keeps: each query's measures and its nearest.

use std::path::Path;

use polars::prelude::Column;

use super::files::Files;
use super::map::Map;
use super::verification::Verified;
use crate::Result;
use crate::table::Record;
use crate::table::parquet::{self as table, Table};
use pdloss_embed::embeddings::Row;
use pdloss_embed::retrieval::Retrieval;

/// Neighbours kept of each query.
pub const KEPT_NEIGHBOURS: usize = 10;

const QUERIES: &str = "queries.parquet";
const NEIGHBOURS: &str = "neighbours.parquet";

/// The queries of a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieved {
    /// Measured queries.
    pub queries: Vec<Query>,
    /// How the cosines of all images with all are spread, where they were searched by these.
    pub scores: Option<Verified>,
    /// Where the images lie.
    pub map: Option<Map>,
    /// The files that were measured.
    pub files: Option<Files>,
}

/// A query and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The image's name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Images of its class that could be found (R).
    pub relevant: u32,
    /// Rank, from 1, of the first of them.
    pub first_hit: Option<u32>,
    /// R-precision.
    pub r_precision: f64,
    /// AP@R.
    pub ap_at_r: f64,
    /// The nearest, nearest first.
    pub neighbours: Vec<Neighbour>,
}

/// An image that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The image's name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Greater is nearer.
    pub score: f64,
}

impl Retrieved {
    /// With names and classes in place of rows.
    pub fn new(
        (rows, classes): (&[Row], &[String]),
        measured: &Retrieval,
        scores: Option<Verified>,
        map: Option<Map>,
        files: Option<Files>,
    ) -> Self {
        let about = |row: usize| {
            let row = &rows[row];
            (row.name.clone(), classes[row.class].clone())
        };
        let count = |n: usize| u32::try_from(n).expect("fewer than 2^32 of them fit in memory");
        let query = |q: &pdloss_embed::retrieval::Query| {
            let (name, class) = about(q.row);
            let neighbour = |&(row, score): &(usize, f64)| {
                let (name, class) = about(row);
                Neighbour { name, class, score }
            };
            Query {
                name,
                class,
                relevant: count(q.relevant),
                first_hit: q.first_hit.map(count),
                r_precision: q.r_precision,
                ap_at_r: q.ap_at_r,
                neighbours: q.nearest.iter().map(neighbour).collect(),
            }
        };
        Self { queries: measured.each.iter().map(query).collect(), scores, map, files }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let queries = &self.queries;
        let columns = vec![
            Column::new("name".into(), queries.iter().map(|q| q.name.as_str()).collect::<Vec<_>>()),
            Column::new("class".into(), queries.iter().map(|q| q.class.as_str()).collect::<Vec<_>>()),
            Column::new("relevant".into(), queries.iter().map(|q| q.relevant).collect::<Vec<_>>()),
            Column::new("first_hit".into(), queries.iter().map(|q| q.first_hit).collect::<Vec<_>>()),
            Column::new("r_precision".into(), queries.iter().map(|q| q.r_precision).collect::<Vec<_>>()),
            Column::new("ap@r".into(), queries.iter().map(|q| q.ap_at_r).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(QUERIES), columns)?;
        let found: Vec<(u32, u32, &Neighbour)> = (0_u32..)
            .zip(queries)
            .flat_map(|(at, query)| (1_u32..).zip(&query.neighbours).map(move |(rank, found)| (at, rank, found)))
            .collect();
        let columns = vec![
            Column::new("query".into(), found.iter().map(|(at, _, _)| *at).collect::<Vec<_>>()),
            Column::new("rank".into(), found.iter().map(|(_, rank, _)| *rank).collect::<Vec<_>>()),
            Column::new("name".into(), found.iter().map(|(_, _, n)| n.name.as_str()).collect::<Vec<_>>()),
            Column::new("class".into(), found.iter().map(|(_, _, n)| n.class.as_str()).collect::<Vec<_>>()),
            Column::new("score".into(), found.iter().map(|(_, _, n)| n.score).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(NEIGHBOURS), columns)?;
        self.map.as_ref().map_or(Ok(()), |map| map.write(folder))?;
        self.files.as_ref().map_or(Ok(()), |files| files.write(folder))?;
        self.scores.as_ref().map_or(Ok(()), |scores| scores.write(folder))
    }

    /// The figures of a result that are not those of these queries: one of the two was changed, or they are of two runs.
    pub(super) fn doubts(&self, record: &Record) -> Vec<String> {
        /// Sums are rounded in the order of their terms.
        const ROUNDING: f64 = 1e-9;
        let count = self.queries.len() as f64;
        let figure = |name: &str, query: &Query| match name.strip_prefix("recall@").map(str::parse::<u32>) {
            Some(Ok(k)) => Some(f64::from(u8::from(query.first_hit.is_some_and(|rank| rank <= k)))),
            _ if name == "r_precision" => Some(query.r_precision),
            _ if name == "map@r" => Some(query.ap_at_r),
            _ => None,
        };
        let doubt = |(name, value): (&str, f64)| {
            let mean = self.queries.iter().map(|query| figure(name, query)).sum::<Option<f64>>()? / count;
            ((mean - value).abs() > ROUNDING).then(|| {
                format!("says {name} {value}, and the queries beside it make {mean}: one of the two is not of this run, or was changed")
            })
        };
        let figures = record.iter().filter_map(|(name, value)| Some((name.as_str(), value.number()?)));
        let mut doubts: Vec<String> = figures.filter_map(doubt).collect();
        doubts.extend(self.of_neighbours());
        doubts.extend(self.scores.iter().flat_map(|scores| scores.doubts(record)));
        doubts
    }

    /// Queries whose first hit is not the first of its class among their neighbours.
    fn of_neighbours(&self) -> Option<String> {
        let is_other = |query: &&Query| {
            let kept = u32::try_from(query.neighbours.len()).unwrap_or(u32::MAX);
            let first =
                (1..).zip(&query.neighbours).find(|(_, found)| found.class == query.class).map(|(rank, _)| rank);
            kept > 0 && first != query.first_hit.filter(|&rank| rank <= kept)
        };
        let others: Vec<&Query> = self.queries.iter().filter(is_other).collect();
        let first = others.first()?;
        Some(format!(
            "is of queries of which {} have their first hit at another rank than among the neighbours beside them, the first {}: one \
             of the two is not of this run, or was changed",
            others.len(),
            first.name
        ))
    }

    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(QUERIES).is_file()
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let table = Table::read(folder.join(QUERIES))?;
        let (names, classes) = (table.words("name")?, table.words("class")?);
        let (relevant, first_hit) = (table.counts("relevant")?, table.some_counts("first_hit")?);
        let (r_precision, ap_at_r) = (table.shares("r_precision")?, table.shares("ap@r")?);
        let mut queries: Vec<Query> = names
            .into_iter()
            .zip(classes)
            .enumerate()
            .map(|(at, (name, class))| Query {
                name,
                class,
                relevant: relevant[at],
                first_hit: first_hit[at],
                r_precision: r_precision[at],
                ap_at_r: ap_at_r[at],
                neighbours: Vec::new(),
            })
            .collect();
        let table = Table::read(folder.join(NEIGHBOURS))?;
        let of = table.counts("query")?;
        table.within("query", &of, queries.len())?;
        let (names, classes, scores) = (table.words("name")?, table.words("class")?, table.reals("score")?);
        for (((query, name), class), score) in of.into_iter().zip(names).zip(classes).zip(scores) {
            queries[query as usize].neighbours.push(Neighbour { name, class, score });
        }
        let scores = Verified::is_in(folder).then(|| Verified::read(folder)).transpose()?;
        let map = Map::is_in(folder).then(|| Map::read(folder)).transpose()?;
        Ok(Self { queries, scores, map, files: Files::read(folder)? })
    }
}
