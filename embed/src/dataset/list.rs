//! A CSV of a path and one or more label columns, with or without a header; comma, tab or semicolon; blanks around
//! fields do not count. A column whose header is `role` (or `part`) holds `query`, `gallery` or `both`.

use std::collections::BTreeMap;

use super::{Listed, Listing, Role, Source, Split};
use crate::delimited::{delimiter, read_records};
use crate::error::{Error, Result};

pub(super) fn list(source: &Source, file: &str, label: Option<&str>) -> Result<Listing> {
    let here = || source.path().join(file);
    let text = source.read_text(file)?;
    let first = text.lines().next().unwrap_or_default();
    let records =
        read_records(&text, delimiter(first).unwrap_or(b',')).map_err(|e| Error::data(here(), e.to_string()))?;
    let Some((_, head)) = records.first() else { return Err(Error::data(here(), "is empty")) };
    let width = head.len();
    if width < 2 {
        return Err(Error::data(
            here(),
            format!("line 1: wanted a path and at least one label, found '{}'", first.trim()),
        ));
    }
    // A first line whose path is no file, while the second line's is one (or ends unlike an image), is a header.
    let has_header = !source.contains(&head[0]) && !super::is_image(&head[0]);
    let header: Vec<String> = if has_header { head.clone() } else { Vec::new() };
    let role_column = header.iter().position(|h| ["role", "part"].contains(&h.to_lowercase().as_str()));
    let column = label_column(&header, width, role_column, label).map_err(|problem| Error::data(here(), problem))?;

    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (line, record) in records.iter().skip(usize::from(has_header)) {
        if record.len() != width {
            return Err(Error::data(here(), format!("line {line}: {} fields, where line 1 has {width}", record.len())));
        }
        let role = match role_column {
            None => Role::Both,
            Some(at) => Role::parse(&record[at]).ok_or_else(|| {
                Error::data(here(), format!("line {line}: role '{}' is none of query, gallery, both", &record[at]))
            })?,
        };
        if record[column].is_empty() {
            return Err(Error::data(here(), format!("line {line}: the label is empty")));
        }
        numbers.insert(record[column].to_owned(), 0);
        rows.push((record[0].replace('\\', "/"), record[column].to_owned(), role));
    }
    // Numbers in label order: by value where all are whole numbers, else by name.
    let mut names: Vec<String> = numbers.into_keys().collect();
    if names.iter().all(|n| n.parse::<u64>().is_ok()) {
        names.sort_by_key(|n| n.parse::<u64>().unwrap_or(0));
    }
    let numbers: BTreeMap<&str, usize> = names.iter().enumerate().map(|(at, n)| (n.as_str(), at + 1)).collect();
    let images =
        rows.into_iter().map(|(name, class, role)| Listed { class: numbers[class.as_str()], name, train: None, role });
    Ok(Listing {
        images: images.collect(),
        class_count: names.len(),
        class_names: names.iter().enumerate().map(|(at, n)| (at + 1, n.clone())).collect(),
        protocol: Split::All,
    })
}

/// The column that `--label` means: a header's name, or a number from 1 counting label columns.
fn label_column(
    header: &[String],
    width: usize,
    role: Option<usize>,
    label: Option<&str>,
) -> std::result::Result<usize, String> {
    let columns: Vec<usize> = (1..width).filter(|&c| Some(c) != role).collect();
    let Some(label) = label else { return columns.first().copied().ok_or_else(|| "has no label column".to_owned()) };
    if let Some(at) = header.iter().position(|h| h == label) {
        return Ok(at);
    }
    let by_number = label.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).and_then(|at| columns.get(at).copied());
    by_number.ok_or_else(|| {
        let names = if header.is_empty() { "none (there is no header)".to_owned() } else { header[1..].join(", ") };
        format!("has no label column '{label}'; columns by name: {names}; by number: 1 to {}", columns.len())
    })
}
