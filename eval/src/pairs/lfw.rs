//! LFW's lists: `name n m` for a genuine pair, `name n name m` for an impostor pair, parted by tabs, blanks or commas.
//!
//! View 2 (`pairs.txt`) has a header of two numbers, folds and pairs of each class a fold, and each fold lists its
//! genuine pairs before its impostor pairs. View 1 (`pairsDevTrain.txt`, `pairsDevTest.txt`) has one number and one
//! fold. Where the header is missing, a fold ends where genuine pairs follow impostor ones. Kaggle's CSV files begin with
//! names of columns, which may stand in the midst, too, where files were put together.

use std::path::Path;

use pdloss_embed::dataset::is_image;
use pdloss_embed::delimited::{Delimiter, Record, Table};

use super::Builder;
use crate::{Error, Result};

enum Line {
    Genuine(String, u32, u32),
    Impostor(String, u32, String, u32),
}

fn parse(record: &Record<'_>, delimiter: Delimiter) -> Option<Line> {
    let mut fields: Vec<&str> = record.fields.iter().map(AsRef::as_ref).collect();
    while fields.last().is_some_and(|last| last.is_empty()) {
        fields.pop();
    }
    let number = |word: &str| word.parse::<u32>().ok();
    let name = |words: &[&str]| {
        let name = words.join(" ");
        (!name.is_empty() && !is_image(&name)).then_some(name)
    };
    let impostor = |at: usize| {
        let (a, rest) = fields.split_at(at);
        let (n, rest) = rest.split_first()?;
        let (m, b) = rest.split_last()?;
        Some(Line::Impostor(name(a)?, number(n)?, name(b)?, number(m)?))
    };
    let count = fields.len();
    match count {
        ..3 => None,
        3 => Some(Line::Genuine(name(&fields[..1])?, number(fields[1])?, number(fields[2])?)),
        4 if number(fields[1]).is_some() => impostor(1),
        // Blanks part the words of a name, too.
        _ if delimiter == Delimiter::Blanks => match number(fields[count - 2]) {
            Some(n) => Some(Line::Genuine(name(&fields[..count - 2])?, n, number(fields[count - 1])?)),
            None => (1..count - 2).find(|&at| number(fields[at]).is_some()).and_then(impostor),
        },
        _ => None,
    }
}

pub(super) fn recognises(record: &Record<'_>, delimiter: Delimiter) -> bool {
    parse(record, delimiter).is_some()
}

fn image(name: &str, number: u32) -> String {
    format!("{name}/{name}_{number:04}")
}

/// The columns' names in Kaggle's files.
fn is_names(record: &Record<'_>) -> bool {
    record.fields.first().is_some_and(|f| f.eq_ignore_ascii_case("name"))
        && record.fields.iter().any(|f| f.to_lowercase().starts_with("imagenum"))
}

pub(super) fn read(path: &Path, table: &Table) -> Result<Builder> {
    let mut builder = Builder::default();
    let mut header: Option<(usize, Vec<String>)> = None;
    let (mut fold, mut last_same, mut first) = (0, true, true);
    for record in table.ragged() {
        let record = record?;
        let is_first = std::mem::take(&mut first);
        if is_names(&record) {
            continue;
        }
        let Some(parsed) = parse(&record, table.delimiter()) else {
            // Names of columns are no numbers, and numbers of pairs and folds nothing else.
            let numbers = record.fields.iter().filter(|field| field.parse::<f64>().is_ok()).count();
            if is_first && [0, record.fields.len()].contains(&numbers) {
                if numbers == 0 {
                    let words = record.fields.join(" ");
                    builder.notes.push(format!("line {}: '{words}' is taken for the names of columns", record.line));
                }
                header = Some((record.line, record.fields.iter().map(ToString::to_string).collect()));
                continue;
            }
            let text = record.fields.join(" ");
            return Err(table.error(record.line, &format!("'{text}' is neither 'name n m' nor 'name n name m'")));
        };
        let same = matches!(parsed, Line::Genuine(..));
        if same && !last_same {
            fold += 1;
        }
        last_same = same;
        match parsed {
            Line::Genuine(name, n, m) => builder.pair(&image(&name, n), &image(&name, m), true, Some(fold)),
            Line::Impostor(a, n, b, m) => builder.pair(&image(&a, n), &image(&b, m), false, Some(fold)),
        }
    }
    let folds = fold + 1;
    if let Some((line, words)) = header {
        let gap = if table.delimiter() == Delimiter::Tab { "\t" } else { " " };
        check_header(path, (line, &words.join(gap)), folds, &builder)?;
    }
    if folds == 1 {
        builder.pairs.iter_mut().for_each(|p| p.fold = None);
    }
    Ok(builder)
}

/// A header of numbers promises folds and pairs.
fn check_header(path: &Path, (line, header): (usize, &str), folds: usize, builder: &Builder) -> Result<()> {
    let numbers: Option<Vec<u128>> = header.split_whitespace().map(|w| w.parse().ok()).collect();
    let (want_folds, want) = match numbers.as_deref() {
        Some(&[folds, each]) => (folds, folds.saturating_mul(each)),
        Some(&[each]) => (1, each),
        _ => return Ok(()),
    };
    let genuine = builder.pairs.iter().filter(|p| p.same).count();
    let impostor = builder.pairs.len() - genuine;
    if (want_folds, want, want) == (folds as u128, genuine as u128, impostor as u128) {
        return Ok(());
    }
    Err(Error::data(
        path,
        format!(
            "line {line}: the header '{header}' promises {want_folds} folds of {want} genuine and {want} impostor pairs in all; the list holds {folds} folds of {genuine} genuine and {impostor} impostor pairs in all"
        ),
    ))
}
