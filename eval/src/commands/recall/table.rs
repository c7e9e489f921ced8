//! What a measured search adds to the record, and the tables that are printed.

use std::io::Write;

use pdloss_embed::embeddings::Row;
use pdloss_embed::retrieval::{Retrieval, Search};

use crate::commands::{efficiency, retrieval_figures};
use crate::level::level;
use crate::table::schema::{is_beside, is_interval_end};
use crate::table::{Record, Value};

/// What a search is that finds the true neighbours.
pub(super) const EXACT: &str = "exact";

/// Adds what was searched and how, and the usual figures.
pub(super) fn describe(
    record: &mut Record,
    (rows, dim): (&[Row], usize),
    (search, factory): (&Search, &str),
    measured: &Retrieval,
    threads: usize,
) {
    let note = match (measured.index_recall, measured.index_sample) {
        (Some(recall), Some((k, queries))) => {
            format!("APPROXIMATE: finds {recall:.4} of the true {k} nearest ({queries} queries)")
        }
        _ => EXACT.to_owned(),
    };
    let mut present: Vec<usize> = rows.iter().map(|row| row.class).collect();
    present.sort_unstable();
    present.dedup();
    record.set("threads", threads).set("metric", search.metric.to_string()).set("index", factory);
    record.set("faiss_level", level());
    record.set("search", note).set("index_recall", measured.index_recall).set("ties", "by lower row");
    // Rows of templates are not their images, which were counted.
    if record.get("images").is_none() {
        record.set("images", rows.len());
    }
    record.set("classes", present.len()).set("dim", dim);
    record.set("search_depth", measured.depth);
    record.set("queries", measured.queries).set("gallery", measured.gallery).set("lone_queries", measured.lone_queries);
    for (k, value) in &measured.recall {
        record.set(format!("recall@{k}"), *value);
    }
    record.set("r_precision", measured.r_precision).set("map@r", measured.map_at_r);
    let (tied, sample) = measured.tied;
    record.set("tied_queries", (measured.index_recall.is_none() && sample > 0).then(|| tied as f64 / sample as f64));
}

/// What is to be said of figures that hang on the order of the rows.
pub(super) fn doubt_of_ties(measured: &Retrieval, how: &str) -> Option<String> {
    let (tied, sample) = measured.tied;
    // Doubled images tie now and then.
    (100 * tied >= sample && tied > 0).then(|| {
        format!(
            "embeddings kept as {how}: of {sample} queries {tied} have images of their class and of others at one similarity: the order of the \
             rows decides there (the lower one comes first), and where rows stand class by class the figures tell of that; rows in random \
             order show how much"
        )
    })
}

/// The measures, a row for each way to keep embeddings; before them, where it is wanted, what they were taken on; behind them,
/// where it is wanted, every other figure of the first row.
pub(super) fn print(rows: &[Record], ks: &[usize], all: bool, stdout: &mut dyn Write) -> std::io::Result<()> {
    let is_measure = |name: &str| {
        ["r_precision", "map@r"].contains(&name)
            || name.starts_with("recall@") && !is_beside(name) && !is_interval_end(name)
    };
    let counts = ["images", "classes", "queries"];
    let apart = |name: &&str| rows.iter().any(|row| row.get(name) != rows[0].get(name));
    // What rows differ by; dimension and storage, where that is what was asked for.
    let mut beside: Vec<&str> = ["gallery_list", "corruption", "severity"].into_iter().filter(apart).collect();
    let is_kept = beside.is_empty();
    beside.extend(["dim", "storage", "embedding_bytes"].into_iter().filter(|name| is_kept || apart(name)));
    let about = rows[0].pick(|name| {
        let is_figure = is_measure(name) || is_beside(name) || is_interval_end(name);
        (!is_figure && !counts.contains(&name)).then(|| name.to_owned())
    });
    about.print_what_was_run(stdout)?;
    let beside = if rows.len() > 1 { beside } else { counts.to_vec() };
    let row = |row: &Record| {
        let mut all = Record::new();
        for name in &beside {
            all.set(*name, row.get(name).cloned().unwrap_or(Value::Missing));
        }
        row.pick(|name| is_measure(name).then(|| name.to_owned())).iter().for_each(|(name, value)| {
            all.set(name.as_str(), value.clone());
        });
        all
    };
    writeln!(stdout, "{}", Record::text_over(&rows.iter().map(row).collect::<Vec<_>>(), &rows[0]))?;
    // A figure that is not what it seems says so beside it.
    for row in rows {
        if let Some(search) = row.get("search").map(Value::word).filter(|search| search != EXACT) {
            let whose = if rows.len() > 1 {
                let word = |name: &str| row.get(name).map(Value::word).unwrap_or_default();
                format!("{} of {} dimensions: ", word("storage"), word("dim"))
            } else {
                String::new()
            };
            writeln!(stdout, "\n{whose}{search}")?;
        }
    }
    if all {
        retrieval_figures::print(&rows[0], ks, stdout)?;
    }
    efficiency::print(&rows[0], stdout)
}
