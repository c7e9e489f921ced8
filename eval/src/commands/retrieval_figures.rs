//! The figures that `recall` has beside the usual ones: their columns, and their tables.

use std::io::Write;

use crate::index::{KMeans, k_means};
use crate::metrics::clustering::agreement;
use crate::metrics::open_set::{Nearest, open_set};
use crate::metrics::verification::TARGETS;
use crate::table::{Record, Value};
use crate::{Error, Result};
use pdloss_embed::embeddings::Embeddings;
use pdloss_embed::retrieval::{Metric, Query, Retrieval};

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

/// Adds DIR at FAR: how many queries are named rightly where those whose class the gallery lacks are turned away.
///
/// # Errors
/// [`Error::Usage`] where the gallery has the class of every query, or no query is named rightly.
pub(super) fn record_open_set(measured: &Retrieval, record: &mut Record) -> Result<()> {
    let mut nearest = Nearest { unmated: measured.lone_nearest.clone(), ..Nearest::default() };
    for query in &measured.each {
        match query.nearest.first().filter(|_| query.first_hit == Some(1)) {
            Some(&(_, similarity)) => nearest.right.push(similarity),
            None => nearest.wrong += 1,
        }
    }
    let (right, mated, unmated) = (nearest.right.len(), measured.each.len(), nearest.unmated.len());
    let found = open_set(&nearest, &TARGETS).map_err(|_| {
        Error::Usage(format!(
            "--open-set: {unmated} queries have no image of their class in the gallery, and {right} of the {mated} others find \
             one first; wanted some of both"
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
        "\n{gallery}FAR over {count} queries without an image of their class; n of them carry a FAR from 3 / n on"
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
