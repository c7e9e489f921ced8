//! Results put together: which of them are of the same data, and what a reader would not see of those that are not.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use pdloss_embed::console::note;

use crate::runs::Run;
use crate::table::schema::{Column, Tells, better, find, tells};
use crate::table::{Record, Value};

/// On what a row's figures were measured, and how: what the schema's columns [`tell`](crate::table::schema::Tells) of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Of all figures.
    all: String,
    /// What some columns say of some figures.
    some: Vec<(&'static Column, String)>,
}

impl Measured {
    pub(super) fn of(row: &Record) -> Self {
        let told = told(row);
        let word = |name: &str| row.get(name).map(Value::word).unwrap_or_default();
        // Images without a digest are known by their name.
        let named = if word("data_sha256").is_empty() {
            format!("{} {}", word("dataset"), word("data"))
        } else {
            String::new()
        };
        let line = |column: &&(&'static Column, String, String)| format!("\0{} {}", column.1, column.2);
        let all = told.iter().filter(|(column, ..)| column.tells == Tells::All);
        let all = all.map(|column| line(&column)).collect::<String>();
        let some = told.iter().filter(|(column, ..)| column.tells != Tells::All);
        Self { all: format!("{named}{all}"), some: some.map(|column| (column.0, line(&column))).collect() }
    }

    /// The same of one figure: values that differ in it are not ranked.
    pub(super) fn figure(&self, figure: &str) -> String {
        let some = self.some.iter().filter(|(column, _)| tells(column, figure));
        format!("{}{}", self.all, some.map(|(_, line)| line.as_str()).collect::<String>())
    }
}

/// The columns of a row that tell how its figures were measured, their names and words, by name.
fn told(row: &Record) -> Vec<(&'static Column, String, String)> {
    let is_known_otherwise = is_known_beside_its_digest(row);
    let has_copies = row.get("copies").and_then(Value::number).is_some_and(|copies| copies > 0.0);
    let told = row.iter().filter_map(|(name, value)| {
        let column = find(name)?.column;
        // Images as they are, and copies that are not there, are no other data.
        let is_none = *value == Value::Missing
            || (name == "corruption" && value.word() == "none")
            || (name == "copies_counted" && !has_copies)
            || (name == "data_sha256" && is_known_otherwise);
        (column.tells != Tells::Nothing && !is_none).then(|| (column, name.clone(), value.word()))
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by(|a, b| a.1.cmp(&b.1));
    told
}

/// Whether something says better than `data_sha256` which data a row is of: a digest of the images in any order; of kept embeddings, whose
/// numbers are the model's, one of the names and classes of their rows.
fn is_known_beside_its_digest(row: &Record) -> bool {
    ["images_sha256", "rows_sha256"].iter().any(|name| has_word(row, name))
}

fn has_word(row: &Record, name: &str) -> bool {
    row.get(name).is_some_and(|value| !value.word().is_empty())
}

/// Adds what results of earlier versions do not say, where another of these results does: images of one digest in their order are of
/// one digest in any.
pub(in crate::commands) fn know_images(runs: &mut [Run]) {
    let word = |row: &Record, name: &str| row.get(name).map(Value::word).filter(|word| !word.is_empty());
    let rows = runs.iter().flat_map(|run| &run.records);
    let known: HashMap<String, String> =
        rows.filter_map(|row| Some((word(row, "data_sha256")?, word(row, "images_sha256")?))).collect();
    for row in runs.iter_mut().flat_map(|run| &mut run.records).filter(|row| !has_word(row, "images_sha256")) {
        if let Some(images) = word(row, "data_sha256").and_then(|data| known.get(&data)) {
            row.set("images_sha256", images.as_str());
        }
    }
}

/// On what a row's figures were measured.
pub(in crate::commands) fn data_of(row: &Record) -> String {
    Measured::of(row).all
}

/// On what a column of a row was measured, and over what: figures that differ in it are not ranked.
pub(in crate::commands) fn measured_on(row: &Record, column: &str) -> String {
    Measured::of(row).figure(column)
}

/// The same, of the figure that comes first among those of a row's measure.
pub(in crate::commands) fn measured(row: &Record) -> String {
    measured_on(row, first_figure(row))
}

fn first_figure(row: &Record) -> &'static str {
    let is_of_pairs = row.get("measure").map(Value::word).as_deref() == Some("verification");
    if is_of_pairs { "eer" } else { "recall@1" }
}

/// The fewest columns that tell these rows apart, of those that say how their figures were measured, and for rows of one model all in
/// which what was tried differs: what a figure is put down to must not be one of them alone.
pub(in crate::commands) fn apart(rows: &[Record]) -> Vec<String> {
    let names = Record::columns(rows);
    let known: Vec<Known<'_>> = names.iter().filter_map(|&name| Some((find(name)?.column, name))).collect();
    let mut shown: Vec<String> = Vec::new();
    for column in telling(rows, &names, &known) {
        let alike: Vec<&str> = shown.iter().map(String::as_str).collect();
        if !is_tried(column) && is_apart(rows, column, &alike) {
            shown.push(column.to_owned());
        }
    }
    let tried = || known.iter().map(|(_, name)| *name).filter(|name| is_tried(name));
    // Settings of a loss are those of no other.
    let kinds = tried().filter(|name| kind_of(name) == Some(name));
    for column in kinds.chain(tried().filter(|name| kind_of(name) != Some(name))) {
        // How rows were compared and searched counts between models, too.
        let model = (!["metric", "index"].contains(&column)).then_some("model");
        let alike: Vec<&str> = model.into_iter().chain(kind_of(column).filter(|kind| *kind != column)).collect();
        if is_apart(rows, column, &alike) {
            shown.push(column.to_owned());
        }
    }
    shown
}

/// Whether a column is of what was tried.
fn is_tried(name: &str) -> bool {
    find(name).is_some_and(|found| found.column.tried)
}

/// The column that names the loss, the optimiser or the schedule that a setting is of.
fn kind_of(name: &str) -> Option<&'static str> {
    ["loss.loss", "optimizer.optimizer", "schedule.schedule"]
        .into_iter()
        .find(|kind| name.split_once('.').map(|(of, _)| of) == kind.split_once('.').map(|(of, _)| of))
}

/// A column of these rows, and its name.
type Known<'r> = (&'static Column, &'r str);

/// The columns that say how any figure of these rows was measured: names, then digests of what has none, then counts, which are for
/// what nothing else tells apart.
fn telling<'r>(rows: &[Record], names: &[&'r str], known: &[Known<'r>]) -> Vec<&'r str> {
    let figures: Vec<&str> = names.iter().copied().filter(|name| better(name).is_some()).collect();
    let is_told =
        |column: &Column| column.tells != Tells::Nothing && figures.iter().any(|figure| tells(column, figure));
    let differs = |name: &str| {
        let mut words = rows.iter().map(|row| row.get(name).map(Value::word).unwrap_or_default());
        words.next().is_some_and(|first| words.any(|word| word != first))
    };
    let is_count = |column: &Column| matches!(column.tells, Tells::OfQueries | Tells::OfPairs);
    // Of a file that is another one the name says more than its digest; of images the set's name does.
    let is_name = |(column, name): &&Known<'_>| {
        let digest = format!("{name}_sha256");
        let is_of_file = names.contains(&digest.as_str()) && !["data", "images", "model"].contains(name);
        !is_count(column) && (is_of_file && differs(&digest) || is_told(column) && !name.ends_with("_sha256"))
    };
    let is_digest = |(column, name): &&Known<'_>| {
        let has_name = ["data_sha256", "images_sha256", "rows_sha256", "model_sha256"].contains(name);
        is_told(column) && name.ends_with("_sha256") && !has_name
    };
    let is_counted = |(column, _): &&Known<'_>| is_told(column) && is_count(column);
    let of = known.iter().filter(is_name).chain(known.iter().filter(is_digest)).chain(known.iter().filter(is_counted));
    of.map(|(_, name)| *name).collect()
}

/// Whether rows of one measure and data set that are alike in these columns differ in another one.
fn is_apart(rows: &[Record], column: &str, alike: &[&str]) -> bool {
    let word = |row: &Record, name: &str| match row.get(name).map(Value::word).unwrap_or_default() {
        none if name == "corruption" && none == "none" => String::new(),
        word => word,
    };
    // What tells of some figures alone is missing where these are; what was tried, where it was not.
    let of_some = find(column).is_some_and(|found| matches!(found.column.tells, Tells::Of(_)) && !found.column.tried);
    let mut first: HashMap<Vec<String>, String> = HashMap::new();
    rows.iter().filter(|row| !of_some || !word(row, column).is_empty()).any(|row| {
        let key = ["measure", "dataset"].iter().chain(alike).map(|name| word(row, name)).collect();
        let own = word(row, column);
        *first.entry(key).or_insert_with(|| own.clone()) != own
    })
}

/// What a reader would not see of one file's rows; `seen` has all rows so far, and what they are called.
pub(in crate::commands) fn of_each(run: &Run, rows: &[Record], seen: &mut HashMap<Vec<String>, String>) -> Vec<String> {
    again(run, rows, seen).into_iter().chain(without_figures(rows)).collect()
}

/// What a reader would not see of rows that are put together.
pub(in crate::commands) fn of_all(rows: &[Record]) -> Vec<String> {
    let of_data = of_one_name(rows).into_iter().chain(of_kept(rows)).chain(of_unknown_data(rows));
    of_data.chain(misspelt(rows)).collect()
}

/// What was said of these results when they were made: a table of figures alone would not tell. The same words are said once.
pub(super) fn of_notes(rows: &[Record]) -> Vec<String> {
    const SHOWN: usize = 8;
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let notes = row.get("notes").map(Value::word).filter(|notes| !notes.is_empty());
        let Some(notes) = notes else { continue };
        match said.iter_mut().find(|(known, _)| *known == notes) {
            Some((_, results)) => results.push(result(row)),
            None => said.push((notes, vec![result(row)])),
        }
    }
    let more = said.len().saturating_sub(SHOWN);
    let sentence = |(notes, results): &(String, Vec<String>)| match results.as_slice() {
        [one] => format!("{one}: {notes}"),
        [first, others @ ..] if results.len() < rows.len() => format!("{first} and {} more: {notes}", others.len()),
        _ => format!("all {} results: {notes}", rows.len()),
    };
    let rest = (more > 0).then(|| format!("of {more} more results something else was said: --columns result,notes"));
    said.iter().take(SHOWN).map(sentence).chain(rest).collect()
}

/// What is to be said of rows that were there before: a result knows its times, so that no two are alike in every column. `seen` has
/// all rows so far, and what they are called.
fn again(run: &Run, rows: &[Record], seen: &mut HashMap<Vec<String>, String>) -> Vec<String> {
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
fn of_one_name(rows: &[Record]) -> Vec<String> {
    let word = |row: &Record, name: &str| row.get(name).map(Value::word).filter(|word| !word.is_empty());
    let mut data: BTreeMap<(String, Option<String>), BTreeMap<String, &Record>> = BTreeMap::new();
    for row in rows.iter().filter(|row| word(row, "data_sha256").is_some()) {
        if let Some(name) = word(row, "dataset") {
            data.entry((name, word(row, "measure"))).or_default().entry(measured(row)).or_insert(row);
        }
    }
    let several = data.iter().filter(|(_, of)| of.len() > 1);
    let sentence = |((name, _), of): (&(String, Option<String>), &BTreeMap<String, &Record>)| {
        const SHOWN: usize = 4;
        let results: Vec<String> = of.values().take(SHOWN).map(|row| result(row)).collect();
        let more = if of.len() > SHOWN { ", ..." } else { "" };
        let mut differ: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        let is_of_first = |row: &Record, column: &Column| tells(column, first_figure(row));
        let told = of
            .values()
            .map(|row| told(row).into_iter().filter(|(column, ..)| is_of_first(row, column)).collect::<Vec<_>>());
        let told: Vec<_> = told.collect();
        let names: HashSet<&String> = told.iter().flatten().map(|(_, name, _)| name).collect();
        for name in names {
            let word = |row: &Vec<(&Column, String, String)>| {
                row.iter().find(|(_, own, _)| own == name).map(|(.., word)| word.clone()).unwrap_or_default()
            };
            differ.insert(name.clone(), told.iter().map(word).collect());
        }
        let differ: Vec<&str> =
            differ.iter().filter(|(_, words)| words.len() > 1).map(|(name, _)| name.as_str()).collect();
        format!(
            "'{name}' is {} different data (they differ in {}), measured by {}{more}: their figures are not to be compared",
            of.len(),
            differ.join(", "),
            results.join(", ")
        )
    };
    several.map(sentence).collect()
}

/// What is to be said of several rows that do not say on which data they were measured: their figures are ranked as if it were one.
fn of_unknown_data(rows: &[Record]) -> Option<String> {
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

/// What is to be said of kept embeddings that are ranked as of one data set: they do not say which images they are of.
fn of_kept(rows: &[Record]) -> Vec<String> {
    const SHOWN: usize = 4;
    let is_kept = |row: &&Record| has_figure(row) && has_word(row, "rows_sha256");
    let mut alike: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for row in rows.iter().filter(is_kept) {
        alike.entry(measured(row)).or_default().push(row);
    }
    let several = alike.into_values().filter(|rows| {
        let digest = |row: &Record| row.get("data_sha256").map(Value::word);
        rows.iter().any(|row| digest(row) != digest(rows[0]))
    });
    let sentence = |rows: Vec<&Record>| {
        let shown: Vec<String> = rows.iter().take(SHOWN).map(|row| result(row)).collect();
        let more = if rows.len() > SHOWN { ", ..." } else { "" };
        format!(
            "{}{more} are of kept embeddings, which do not say of which images: ranked as of the same, for the names of their rows agree (and the classes, where these count)",
            shown.join(", ")
        )
    };
    several.map(sentence).collect()
}

fn has_figure(row: &Record) -> bool {
    row.iter().any(|(name, value)| better(name).is_some() && *value != Value::Missing)
}

/// What is to be said of a file none of whose rows has a figure that is known.
fn without_figures(rows: &[Record]) -> Option<String> {
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
fn misspelt(rows: &[Record]) -> Vec<String> {
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

    fn rows(measure: &str, of: &[&[(&'static str, &str)]]) -> Vec<Record> {
        let row = |columns: &&[(&'static str, &str)]| {
            let mut row = Record::new();
            row.set("measure", measure);
            row.set("dataset", "shapes");
            row.set(if measure == "retrieval" { "recall@1" } else { "last loss" }, 0.5);
            for (name, value) in *columns {
                match value.parse::<f64>() {
                    Ok(number) => row.set(*name, number),
                    Err(_) => row.set(*name, *value),
                };
            }
            row
        };
        of.iter().map(row).collect()
    }

    #[test]
    fn all_settings_that_runs_differ_in_are_shown_and_none_of_another_loss() {
        let pd = [
            ("model", "a"),
            ("loss.loss", "pd"),
            ("loss.eps", "0.5"),
            ("schedule.learning_rate", "0.1"),
            ("seed", "1"),
        ];
        let softmax = [("model", "a"), ("loss.loss", "softmax"), ("schedule.learning_rate", "0.2"), ("seed", "2")];
        let shown = apart(&rows("training", &[&pd, &softmax]));
        assert_eq!(shown, ["loss.loss", "schedule.learning_rate", "seed"]);
        let other = [("model", "a"), ("loss.loss", "pd"), ("loss.eps", "0.25"), ("optimizer.ema", "0.9")];
        let shown = apart(&rows("training", &[&pd, &other]));
        assert!(["loss.eps", "optimizer.ema"].iter().all(|name| shown.iter().any(|own| own == name)), "{shown:?}");
        assert!(apart(&rows("training", &[&pd, &pd])).is_empty());
    }

    #[test]
    fn how_images_were_compared_is_shown_between_models_too() {
        let one = [("model", "a"), ("metric", "cosine"), ("index", "Flat"), ("dim", "8")];
        let two = [("model", "b"), ("metric", "l2"), ("index", "HNSW8"), ("dim", "9")];
        assert_eq!(apart(&rows("retrieval", &[&one, &two])), ["metric", "index"]);
    }

    #[test]
    fn what_one_model_was_given_and_run_by_is_shown() {
        let one = [("model", "a"), ("preprocessing", "crop=8x8 scale=1"), ("runtime", "onnxruntime")];
        let two = [("model", "a"), ("preprocessing", "crop=9x9 scale=1"), ("runtime", "tract")];
        assert_eq!(apart(&rows("retrieval", &[&one, &two])), ["preprocessing", "runtime"]);
        let other = [("model", "b"), ("preprocessing", "crop=9x9 scale=1"), ("runtime", "tract")];
        assert!(apart(&rows("retrieval", &[&one, &other])).is_empty());
    }

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
