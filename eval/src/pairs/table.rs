//! A table of pairs: `path_a, path_b, same[, fold]`, with or without a header; comma, semicolon, tab or blanks.
//!
//! With a header, columns are found by name (`same` also as `label`, `issame`, `match`; `fold` also as `split`), else by
//! place. Folds are numbers or words; their order of appearance numbers them.

use std::path::Path;

use super::{Builder, answer};
use crate::{Error, Result};
use pdloss_embed::delimited::{delimiter, read_records};

/// What headers call the first image of a pair.
const FIRST: [&str; 6] = ["path_a", "a", "img1", "image1", "path1", "file1"];
/// What they call the answer.
const SAME: [&str; 6] = ["same", "label", "issame", "is_same", "match", "genuine"];

pub(super) fn read(path: &Path, text: &str) -> Result<Builder> {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let records = match delimiter(first) {
        Some(delimiter) => read_records(text, delimiter).map_err(|e| Error::data(path, e.to_string()))?,
        None => text
            .lines()
            .zip(1..)
            .map(|(line, at)| (at, line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()))
            .filter(|(_, words)| !words.is_empty())
            .collect(),
    };
    let shape = "wanted path_a, path_b, same (1 or 0) and perhaps fold; or LFW's 'name n m' and 'name n name m'; or two lines a pair";
    let Some([path_a, _, third, ..]) = records.first().map(|(_, record)| record.as_slice()) else {
        return Err(Error::data(path, format!("line 1: '{}' is no pair: {shape}", first.trim())));
    };
    let width = records[0].1.len();
    // `same` names a column, and is an answer, too.
    let names = |word: &str, names: &[&str]| names.contains(&word.to_lowercase().as_str());
    let has_header = answer(third).is_none() || (names(path_a, &FIRST) && names(third, &SAME));
    let header: Vec<String> =
        if has_header { records[0].1.iter().map(|h| h.to_lowercase()).collect() } else { Vec::new() };
    let named = |names: &[&str]| header.iter().position(|h| names.contains(&h.as_str()));
    let same_column = named(&SAME).unwrap_or(2);
    let fold_column = named(&["fold", "split"]).or((width > 3 && same_column == 2).then_some(3));
    let mut others = (0..width).filter(|&c| c != same_column && Some(c) != fold_column);
    let a = named(&FIRST).or_else(|| others.next()).unwrap_or(0);
    let b =
        named(&["path_b", "b", "img2", "image2", "path2", "file2"]).or_else(|| others.find(|&c| c != a)).unwrap_or(1);

    let mut builder = Builder::default();
    let mut folds: Vec<String> = Vec::new();
    for (line, record) in records.iter().skip(usize::from(has_header)) {
        if record.len() != width {
            return Err(Error::data(
                path,
                format!("line {line}: {} fields, where the first line has {width}; {shape}", record.len()),
            ));
        }
        let same = answer(&record[same_column]).ok_or_else(|| {
            Error::data(
                path,
                format!(
                    "line {line}: '{}' does not say whether the pair is the same person; wanted 1 or 0",
                    record[same_column]
                ),
            )
        })?;
        let fold = fold_column.map(|column| {
            let word = &record[column];
            folds.iter().position(|f| f == word).unwrap_or_else(|| {
                folds.push(word.clone());
                folds.len() - 1
            })
        });
        builder.pair(&record[a], &record[b], same, fold);
    }
    if folds.len() == 1 {
        builder.pairs.iter_mut().for_each(|p| p.fold = None);
    }
    Ok(builder)
}
