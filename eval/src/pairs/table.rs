//! A table of pairs: `path_a, path_b, same[, fold]`, with or without a header; comma, semicolon, tab or blanks.
//!
//! With a header, columns are found by name (`same` also as `label`, `issame`, `match`; `fold` also as `split`), else by
//! place. Folds are numbers or words; their order of appearance numbers them.

use pdloss_embed::delimited::{Record, Table};

use super::{Builder, answer};
use crate::Result;

/// What headers call the first image of a pair ...
const FIRST: [&str; 8] = ["path_a", "a", "img1", "image1", "path1", "file1", "image_a", "img_a"];
/// ... and the second.
const SECOND: [&str; 8] = ["path_b", "b", "img2", "image2", "path2", "file2", "image_b", "img_b"];
/// What they call the answer.
const SAME: [&str; 6] = ["same", "label", "issame", "is_same", "match", "genuine"];
const FOLD: [&str; 2] = ["fold", "split"];

/// What was wanted of a list.
pub(super) const SHAPE: &str = "wanted path_a, path_b, same (1 or 0) and perhaps fold; or LFW's 'name n m' and 'name n name m'; or two lines a pair";

/// Whether the first record names columns; `same` does, and is an answer, too.
pub(super) fn is_header(records: &[Record<'_>]) -> bool {
    let fields = &records[0].fields;
    let any = |names: &[&str]| fields.iter().any(|f| names.contains(&f.to_lowercase().as_str()));
    (any(&FIRST) && any(&SAME)) || fields.get(2).is_some_and(|third| answer(third).is_none())
}

pub(super) fn read(table: &Table) -> Result<Builder> {
    let width = table.width()?;
    if width < 3 {
        let first = table.ragged().next().transpose()?;
        let (line, text) = first.map_or((1, table.header().join(" ")), |r| (r.line, r.fields.join(" ")));
        return Err(table.error(line, &format!("'{text}' is no pair: {SHAPE}")));
    }
    let same_column = table.column(&SAME)?.unwrap_or(2);
    let fold_column = table.column(&FOLD)?.or((width > 3 && same_column == 2).then_some(3));
    let mut others = (0..width).filter(|&c| c != same_column && Some(c) != fold_column);
    let a = table.column(&FIRST)?.or_else(|| others.next()).unwrap_or(0);
    let b = table.column(&SECOND)?.or_else(|| others.find(|&c| c != a)).unwrap_or(1);

    let mut builder = Builder::default();
    let mut folds: Vec<String> = Vec::new();
    for record in table.records() {
        let record = record?;
        let (line, fields) = (record.line, &record.fields);
        let same = answer(&fields[same_column]).ok_or_else(|| {
            table.error(
                line,
                &format!("'{}' does not say whether the pair is the same person; wanted 1 or 0", fields[same_column]),
            )
        })?;
        if fields[a].is_empty() || fields[b].is_empty() {
            return Err(table.error(line, "an image's path is empty"));
        }
        let fold = fold_column.map(|column| {
            let word = &fields[column];
            folds.iter().position(|f| f == word).unwrap_or_else(|| {
                folds.push(word.to_string());
                folds.len() - 1
            })
        });
        builder.pair(&fields[a], &fields[b], same, fold);
    }
    if folds.len() == 1 {
        builder.pairs.iter_mut().for_each(|p| p.fold = None);
    }
    Ok(builder)
}
