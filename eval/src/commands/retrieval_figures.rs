//! The figures that `recall` has beside the usual ones: their columns, and their tables.

use std::io::Write;

use super::arguments::Notes;
use crate::index::{KMeans, k_means};
use crate::metrics::clustering::agreement;
use crate::metrics::open_set::{Nearest, open_set};
use crate::metrics::query_intervals::{ClassOf, Sums, open_set_intervals};
use crate::metrics::revisited::{KS, Revisited};
use crate::metrics::verification::{Bootstrap, Interval, TARGETS, beside_their_figures};
use crate::table::schema::is_beside;
use crate::table::{Record, Value};
use crate::{Error, Result};
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::retrieval::{Metric, Query, Retrieval, reciprocal_rank};

/// What most evaluations of clusters run.
const ITERATIONS: u32 = 20;
const SEED: u32 = 1234;

/// Adds the figures at each K; where the whole gallery was sorted mAP and MRR; and how often queries of large and of small
/// classes have a hit.
pub(super) fn record(measured: &Retrieval, record: &mut Record) {
    if let Some((map, mrr)) = measured.whole {
        record.set("map", map).set("mrr", mrr);
    }
    for at in &measured.at {
        record.set(format!("map@{}", at.k), at.average_precision).set(format!("precision@{}", at.k), at.precision);
        record.set(format!("ndcg@{}", at.k), at.ndcg);
    }
    for (from, queries, hits) in by_class_size(&measured.each) {
        record.set(format!("recall@1_relevant_from_{from}"), hits as f64 / queries as f64);
        record.set(format!("queries_relevant_from_{from}"), queries);
    }
}

/// Queries by how many images they could find, from each power of two to below the next: how many, and how many find one first.
fn by_class_size(queries: &[Query]) -> Vec<(usize, usize, usize)> {
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for power in 0..usize::BITS {
        let of_size = || queries.iter().filter(move |query| query.relevant.ilog2() == power);
        let count = of_size().count();
        if count > 0 {
            found.push((1 << power, count, of_size().filter(|query| query.first_hit == Some(1)).count()));
        }
    }
    found
}

/// Adds how well as many clusters as there are classes agree with these.
///
/// # Errors
/// Those of [`k_means`].
pub(super) fn record_clusters(embeddings: &Embeddings, metric: Metric, record: &mut Record) -> Result<()> {
    let classes: Vec<usize> = embeddings.rows.iter().map(|row| row.class).collect();
    let mut present = classes.clone();
    present.sort_unstable();
    present.dedup();
    let how = KMeans { clusters: present.len(), iterations: ITERATIONS, seed: SEED };
    let name = |row: usize| embeddings.rows[row].name.clone();
    let found = agreement(&classes, &k_means(metric, embeddings.matrix.view(), &name, how)?);
    let rows = if metric == Metric::Cosine { "rows of unit length" } else { "rows" };
    let words = format!("FAISS, {} clusters, {ITERATIONS} iterations, seed {SEED}, {rows}", how.clusters);
    record.set("nmi", found.nmi).set("ari", found.ari).set("kmeans", words);
    Ok(())
}

/// How near the nearest image of each query is, and which class each is of, by its row.
fn nearest_of(measured: &Retrieval, class: &dyn Fn(usize) -> usize) -> (Nearest, ClassOf) {
    let (mut nearest, mut of) = (Nearest::default(), ClassOf::default());
    for &(row, similarity) in &measured.lone_nearest {
        nearest.unmated.push(similarity);
        of.unmated.push(class(row));
    }
    for query in &measured.each {
        match query.nearest.first().filter(|_| query.first_hit == Some(1)) {
            Some(&(_, similarity)) => {
                nearest.right.push(similarity);
                of.right.push(class(query.row));
            }
            None => {
                nearest.wrong += 1;
                of.wrong.push(class(query.row));
            }
        }
    }
    (nearest, of)
}

/// Units below which intervals by draws of them are rough.
pub(super) const FEW: usize = 20;

/// Adds the intervals of every mean over queries, and of DIR at FAR: classes are drawn.
pub(super) fn record_intervals(
    measured: &Retrieval,
    rows: &[Row],
    open_set: bool,
    how: &Bootstrap,
    record: &mut Record,
    notes: &mut Notes,
) {
    let of_row = |row: usize| rows[row].class;
    let numbers = |rows: &mut dyn Iterator<Item = usize>| {
        let mut classes: Vec<usize> = rows.map(of_row).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    };
    let mated = numbers(&mut measured.each.iter().map(|query| query.row));
    let names = names_of(measured);
    let mut sums = Sums::new(names, mated.len());
    for query in &measured.each {
        let class = mated.binary_search(&of_row(query.row)).expect("every class is there");
        sums.add(class, &figures_of(query, measured));
    }
    let mut intervals = sums.intervals(how);
    if open_set {
        let lone = measured.lone_nearest.iter().map(|lone| lone.0);
        let all = numbers(&mut measured.each.iter().map(|query| query.row).chain(lone));
        let class = |row: usize| all.binary_search(&of_row(row)).expect("every class is there");
        let (nearest, of) = nearest_of(measured, &class);
        let name = |target: f64| format!("dir@far={target}");
        intervals.extend(open_set_intervals(&nearest, (&of, all.len()), &TARGETS, &name, how));
    }
    record_ends(&intervals, (mated.len(), "classes"), how, record, notes);
}

/// The figures of each query that have a mean, by name.
fn names_of(measured: &Retrieval) -> Vec<String> {
    let mut names: Vec<String> = measured.recall.iter().map(|(k, _)| format!("recall@{k}")).collect();
    names.extend(["r_precision", "map@r"].map(str::to_owned));
    for at in &measured.at {
        names.extend(["map", "precision", "ndcg"].map(|name| format!("{name}@{}", at.k)));
    }
    names.extend(measured.whole.iter().flat_map(|_| ["map", "mrr"].map(str::to_owned)));
    names
}

/// Their values, in the same order.
fn figures_of(query: &Query, measured: &Retrieval) -> Vec<f64> {
    let hit = |k: usize| f64::from(u8::from(query.first_hit.is_some_and(|rank| rank <= k)));
    let mut figures: Vec<f64> = measured.recall.iter().map(|(k, _)| hit(*k)).collect();
    figures.extend([query.r_precision, query.ap_at_r]);
    for at in &query.at {
        figures.extend([at.average_precision, at.precision, at.ndcg]);
    }
    if measured.whole.is_some() {
        figures.extend([query.ap.unwrap_or(0.0), reciprocal_rank(query.first_hit)]);
    }
    figures
}

/// Adds the intervals of the figures of a ground truth: queries are drawn.
pub(super) fn record_revisited_intervals(found: &Revisited, how: &Bootstrap, record: &mut Record, notes: &mut Notes) {
    let names = ["map_revisited".to_owned()].into_iter().chain(KS.iter().map(|k| format!("mp@{k}")));
    let mut sums = Sums::new(names.collect(), found.each.len());
    for (at, (ap, precision)) in found.each.iter().enumerate() {
        sums.add(at, &[&[*ap], &precision[..]].concat());
    }
    record_ends(&sums.intervals(how), (found.each.len(), "queries"), how, record, notes);
}

fn record_ends(
    intervals: &[Interval],
    (units, of): (usize, &str),
    how: &Bootstrap,
    record: &mut Record,
    notes: &mut Notes,
) {
    for interval in intervals {
        record.set(format!("{}_from", interval.name), interval.low);
        record.set(format!("{}_to", interval.name), interval.high);
    }
    let words = format!("{} draws of {of}, percentile interval of {}", how.replicates, how.level);
    record.set("bootstrap", words).set("bootstrap_seed", Value::Whole(how.seed));
    if units < FEW {
        notes.add(format!("only {units} {of}: the intervals are rough"));
    }
    let value = |name: &str| record.get(name).and_then(Value::number);
    notes.extend(beside_their_figures(intervals, value).as_slice());
}

/// Prints the intervals of each row, where there are some; of every figure, where all are wanted.
pub(super) fn print_intervals(rows: &[Record], all: bool, stdout: &mut dyn Write) -> std::io::Result<()> {
    let apart = |name: &&str| rows.iter().any(|row| row.get(name) != rows[0].get(name));
    let beside = ["setup", "gallery_list", "corruption", "severity", "dim", "storage"];
    let beside: Vec<&str> = beside.into_iter().filter(apart).collect();
    let of_row = |row: &Record| -> Vec<Record> {
        let figures = row.iter().filter_map(|(name, from)| Some((name.strip_suffix("_from")?, from)));
        // DIR at FAR is there where it was asked for.
        let is_shown = |name: &str| all || !is_beside(name) || name.starts_with("dir@");
        let shown = figures.filter(|(name, _)| row.get(&format!("{name}_to")).is_some() && is_shown(name));
        let interval = |(name, from): (&str, &Value)| {
            let mut interval = Record::new();
            for beside in &beside {
                interval.set(*beside, row.get(beside).cloned().unwrap_or(Value::Missing));
            }
            let value = |name: &str| row.get(name).cloned().unwrap_or(Value::Missing);
            interval.set("figure", name).set("value", value(name)).set("from", from.clone());
            interval.set("to", value(&format!("{name}_to")));
            interval
        };
        shown.map(interval).collect()
    };
    let intervals: Vec<Record> = rows.iter().flat_map(of_row).collect();
    if intervals.is_empty() {
        return Ok(());
    }
    let how = rows[0].get("bootstrap").map(Value::word).unwrap_or_default();
    writeln!(stdout, "\n{}\n\nIntervals: {how}", Record::text(&intervals))
}

/// Adds DIR at FAR: how many queries are named rightly where those whose class the gallery lacks are turned away.
///
/// # Errors
/// [`Error::Usage`] where the gallery has the class of every query.
pub(super) fn record_open_set(measured: &Retrieval, record: &mut Record) -> Result<()> {
    let (nearest, _) = nearest_of(measured, &|_| 0);
    let (mated, unmated) = (measured.each.len(), nearest.unmated.len());
    let found = open_set(&nearest, &TARGETS).map_err(|_| {
        Error::Usage(format!(
            "--open-set: {unmated} queries have no image of their class in the gallery, and {mated} have one; wanted some of both"
        ))
    })?;
    record.set("unmated_queries", unmated);
    for at in found {
        record.set(format!("dir@far={}", at.target), at.reached.map(|reached| 1.0 - reached.fnmr));
        record.set(format!("dir_threshold@far={}", at.target), at.reached.map(|reached| reached.threshold));
    }
    Ok(())
}

/// DIR at FAR, target by target.
pub(super) fn print_open_set(record: &Record, stdout: &mut dyn Write) -> std::io::Result<()> {
    let row = |target: &f64| {
        let mut row = Record::new();
        row.set("target", format!("FAR {target}"));
        for (name, column) in [("threshold", "dir_threshold@far"), ("dir", "dir@far")] {
            row.set(name, record.get(&format!("{column}={target}")).and_then(Value::number));
        }
        row
    };
    let count = record.get("unmated_queries").map(Value::word).unwrap_or_default();
    writeln!(stdout, "\n{}", Record::text(&TARGETS.iter().map(row).collect::<Vec<_>>()))?;
    let gallery = record.get("gallery_list").map(|list| format!("{}: ", list.word())).unwrap_or_default();
    writeln!(
        stdout,
        "\n{gallery}FAR over {count} queries without an image of their class that counts; n of them carry a FAR from 3 / n on"
    )
}

/// Prints them: by K, over all, by class size.
pub(super) fn print(record: &Record, ks: &[usize], stdout: &mut dyn Write) -> std::io::Result<()> {
    let mut tables = Vec::new();
    let row = |&k: &usize| {
        let mut row = Record::new();
        row.set("k", k);
        for name in ["recall", "precision", "map", "ndcg"] {
            row.set(format!("{name}@k"), record.get(&format!("{name}@{k}")).and_then(Value::number));
        }
        row
    };
    tables.push(ks.iter().map(row).collect::<Vec<_>>());
    let names = ["map", "mrr", "nmi", "ari"];
    let mut whole = Record::new();
    for name in names {
        whole.set(name, record.get(name).and_then(Value::number));
    }
    tables.push(vec![whole]);
    let sizes = record.iter().filter_map(|(name, value)| Some((name.strip_prefix("recall@1_relevant_from_")?, value)));
    let size = |(from, value): (&str, &Value)| {
        let count = record.get(&format!("queries_relevant_from_{from}"));
        let to = from.parse::<usize>().map_or(String::new(), |from| (2 * from - 1).to_string());
        let mut row = Record::new();
        row.set("relevant images", if to == from { to } else { format!("{from} to {to}") });
        row.set("queries", count.cloned().unwrap_or(Value::Missing)).set("recall@1", value.clone());
        row
    };
    tables.push(sizes.map(size).collect());
    for table in tables {
        writeln!(stdout, "\n{}", Record::text_over(&table, record))?;
    }
    Ok(())
}
