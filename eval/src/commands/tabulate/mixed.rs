//! Results put together: which of them are of the same data, and what a reader would not see of those that are not.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use pdloss_embed::console::note;

use crate::runs::Run;
use crate::table::schema::{Over, better, find};
use crate::table::{Record, Value};

/// What tells the data of two results apart: the images' digest (their name, where there is none), their part, and the list of
/// pairs; of training what was validated on, too. Only figures on the same data are ranked.
pub(in crate::commands) fn data_of(row: &Record) -> String {
    let word = |name: &str| row.get(name).map(Value::word).unwrap_or_default();
    let digest = word("data_sha256");
    let data = if digest.is_empty() { format!("{} {}", word("dataset"), word("data")) } else { digest };
    let validation = row.iter().filter(|(name, _)| name.starts_with("validation.data."));
    let parts = validation.map(|(name, value)| format!("{name} {}", value.word()));
    let own = [data, word("part"), word("pairs_sha256"), word("validation_sha256")];
    own.into_iter().chain(parts).collect::<Vec<_>>().join("\0")
}

/// What tells apart, on the same data, over what a figure was taken: its queries and their gallery, or its pairs.
pub(super) fn counts(row: &Record, column: &str) -> String {
    let over = find(column).map_or(Over::Nothing, |found| found.over);
    let mut names = match over {
        Over::Nothing => return String::new(),
        Over::Queries => vec!["queries", "gallery"],
        Over::Genuine | Over::Impostor | Over::Both | Over::Pairs => vec!["genuine_pairs", "impostor_pairs"],
    };
    if row.get("copies").and_then(Value::number).is_some_and(|copies| copies > 0.0) {
        names.push("copies_counted");
    }
    let word = |name: &&str| format!("\0{}", row.get(name).map(Value::word).unwrap_or_default());
    names.iter().map(word).collect()
}

/// On what a column of a row was measured, and over what: figures that differ in it are not ranked.
pub(in crate::commands) fn measured_on(row: &Record, column: &str) -> String {
    format!("{}{}", data_of(row), counts(row, column))
}

/// The same, of the figure that comes first among those of a row's measure.
pub(in crate::commands) fn measured(row: &Record) -> String {
    let is_of_pairs = row.get("measure").map(Value::word).as_deref() == Some("verification");
    measured_on(row, if is_of_pairs { "eer" } else { "recall@1" })
}

/// What is to be said of rows that were there before: a result knows its times, so that no two are alike in every column. `seen` has
/// all rows so far, and what they are called.
pub(super) fn again(run: &Run, rows: &[Record], seen: &mut HashMap<Vec<String>, String>) -> Vec<String> {
    let mut said = Vec::new();
    for (own, made) in run.records.iter().zip(rows) {
        // What tables call a result is no part of it.
        let columns = own.iter().filter(|(name, _)| *name != "result");
        let columns = columns.map(|(name, value)| format!("{name}\0{}", value.word())).collect();
        let name = result(made);
        match seen.entry(columns) {
            Entry::Occupied(earlier) => {
                said.push(format!("{name} is {} again: one result stands in two rows", earlier.get()));
            }
            Entry::Vacant(place) => drop(place.insert(name)),
        }
    }
    said
}

/// What is to be said of data that have one name and are not the same, where one measure was taken on both.
pub(super) fn of_one_name(rows: &[Record]) -> Vec<String> {
    let word = |row: &Record, name: &str| row.get(name).map(Value::word).filter(|word| !word.is_empty());
    let mut data: BTreeMap<(String, Option<String>), BTreeMap<String, String>> = BTreeMap::new();
    for row in rows.iter().filter(|row| word(row, "data_sha256").is_some()) {
        if let Some(name) = word(row, "dataset") {
            data.entry((name, word(row, "measure"))).or_default().entry(measured(row)).or_insert_with(|| result(row));
        }
    }
    let several = data.iter().filter(|(_, of)| of.len() > 1);
    let sentence = |((name, _), of): (&(String, Option<String>), &BTreeMap<String, String>)| {
        let results: Vec<&str> = of.values().map(String::as_str).collect();
        format!(
            "'{name}' is {} different data (other images, part, queries or pairs), measured by {}: their figures are not to be compared",
            of.len(),
            results.join(", ")
        )
    };
    several.map(sentence).collect()
}

/// What is to be said of several rows that do not say on which data they were measured: their figures are ranked as if it were one.
pub(super) fn of_unknown_data(rows: &[Record]) -> Option<String> {
    const SHOWN: usize = 3;
    let is_known = |row: &&Record| {
        let words = ["data_sha256", "dataset", "data", "pairs_sha256"];
        words.iter().any(|name| row.get(name).is_some_and(|value| !value.word().is_empty()))
    };
    let unknown: Vec<String> = rows.iter().filter(|row| has_figure(row) && !is_known(row)).map(result).collect();
    (unknown.len() > 1).then(|| {
        let shown = unknown[..unknown.len().min(SHOWN)].join(", ");
        let more = if unknown.len() > SHOWN { ", ..." } else { "" };
        format!(
            "{} results do not say on which data they were measured ({shown}{more}): they are ranked as on one, which nobody checked",
            unknown.len()
        )
    })
}

fn has_figure(row: &Record) -> bool {
    row.iter().any(|(name, value)| better(name).is_some() && *value != Value::Missing)
}

/// What is to be said of a file none of whose rows has a figure that is known.
pub(super) fn without_figures(rows: &[Record]) -> Option<String> {
    const SHOWN: usize = 8;
    let is_known = |name: &str| better(name).is_some() || name == "figure";
    if Record::columns(rows).into_iter().any(is_known) {
        return None;
    }
    let columns: Vec<&str> =
        Record::columns(rows).into_iter().filter(|name| !["result", "model", "dataset"].contains(name)).collect();
    let shown = columns[..columns.len().min(SHOWN)].join(", ");
    let more = if columns.len() > SHOWN { ", ..." } else { "" };
    let shown = if columns.is_empty() { "none".to_owned() } else { format!("{shown}{more}") };
    Some(format!(
        "{} has no figure that is known; its columns are {shown}",
        rows.first().map(result).unwrap_or_default()
    ))
}

/// What is to be said of columns that are called nearly as a known one, and are not it.
pub(super) fn misspelt(rows: &[Record]) -> Vec<String> {
    let plain = |name: &str| name.trim().to_lowercase().replace([' ', '_', '-', '(', ')'], "");
    let known: Vec<&str> = Record::columns(rows).into_iter().filter(|name| find(name).is_some()).collect();
    let others = Record::columns(rows).into_iter().filter(|name| find(name).is_none());
    let nearest = |name: &str| {
        let small = name.trim().to_lowercase();
        let usual = find(&small).map(|_| small.clone());
        let near = || known.iter().find(|known| plain(known) == plain(name)).map(|known| (*known).to_owned());
        usual.or_else(near).or_else(|| customary(&plain(name)))
    };
    let said = |name: &str| {
        let wanted = nearest(name)?;
        Some(format!(
            "column '{name}' is not '{wanted}', and is ranked by nothing; columns are known by their exact names"
        ))
    };
    others.filter_map(said).collect()
}

/// The column that other tools' tables call so, in small letters without separators.
fn customary(name: &str) -> Option<String> {
    const WHOLE: [(&str, &str); 9] = [
        ("acc", "accuracy"),
        ("ap", "map"),
        ("auroc", "auc"),
        ("lr", "learning_rate"),
        ("meanap", "map"),
        ("rocauc", "auc"),
        ("rp", "r_precision"),
        ("rprec", "r_precision"),
        ("trainloss", "loss"),
    ];
    /// What stands before a number: how many neighbours, or a rate.
    const COUNTED: [(&str, &str); 17] = [
        ("cmc@", "recall@"),
        ("cmc", "recall@"),
        ("hit@", "recall@"),
        ("hits@", "recall@"),
        ("r@", "recall@"),
        ("rank@", "recall@"),
        ("rank", "recall@"),
        ("recallat", "recall@"),
        ("recall", "recall@"),
        ("top", "recall@"),
        ("p@", "precision@"),
        ("prec@", "precision@"),
        ("precision", "precision@"),
        ("ndcg", "ndcg@"),
        ("tar@", "tar@far="),
        ("tpr@fpr=", "tar@far="),
        ("frr@far=", "fnmr@fmr="),
    ];
    let whole = WHOLE.iter().find(|(short, _)| *short == name).map(|(_, column)| (*column).to_owned());
    let counted = |(short, column): &(&str, &str)| {
        let column = format!("{column}{}", name.strip_prefix(short)?);
        find(&column).map(|_| column)
    };
    whole.or_else(|| COUNTED.iter().find_map(counted))
}

pub(super) fn result(row: &Record) -> String {
    row.get("result").map(Value::word).unwrap_or_default()
}

/// Says so where rows are ordered by a measure that was taken on several data.
pub(super) fn say_of_data(rows: &[Record], by: &str) {
    let measured = rows.iter().filter(|row| better(by).is_some() && row.get(by).and_then(Value::number).is_some());
    let data: HashSet<String> = measured.map(|row| measured_on(row, by)).collect();
    if data.len() > 1 {
        note(&format!("--sort {by}: measured on {} different data; rows on different data are not ranked", data.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tools_names_are_said() {
        let mut row = Record::new();
        ["R@1", "Rank-5", "top_10", "lr", "mAP", "TPR@FPR=0.01", "colour", "rank", "recall@2"].iter().for_each(
            |name| {
                row.set(*name, 0.5);
            },
        );
        let said = misspelt(&[row]);
        let wanted = ["recall@1", "recall@5", "recall@10", "learning_rate", "map", "tar@far=0.01"];
        assert_eq!(said.len(), wanted.len(), "{said:?}");
        for (sentence, wanted) in said.iter().zip(wanted) {
            assert!(sentence.contains(&format!("is not '{wanted}'")), "{sentence}");
        }
    }
}
