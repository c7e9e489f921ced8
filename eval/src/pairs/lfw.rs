//! LFW's lists: `name n m` for a genuine pair, `name n name m` for an impostor pair, parted by tabs or blanks.
//!
//! View 2 (`pairs.txt`) has a header of two numbers, folds and pairs of each class a fold, and each fold lists its
//! genuine pairs before its impostor pairs. View 1 (`pairsDevTrain.txt`, `pairsDevTest.txt`) has one number and one
//! fold. Where the header is missing, a fold ends where genuine pairs follow impostor ones.

use std::path::Path;

use super::Builder;
use crate::{Error, Result};

enum Line<'a> {
    Genuine(&'a str, u32, u32),
    Impostor(&'a str, u32, &'a str, u32),
}

fn parse(line: &str) -> Option<Line<'_>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u32>().ok();
    match words.as_slice() {
        [name, n, m] => Some(Line::Genuine(name, number(n)?, number(m)?)),
        [a, n, b, m] => Some(Line::Impostor(a, number(n)?, b, number(m)?)),
        _ => None,
    }
}

pub(super) fn recognises(line: &str) -> bool {
    !line.contains([',', ';']) && parse(line).is_some()
}

fn image(name: &str, number: u32) -> String {
    format!("{name}/{name}_{number:04}")
}

pub(super) fn read(path: &Path, lines: &[(usize, &str)]) -> Result<Builder> {
    let has_header = parse(lines[0].1).is_none();
    let header: Option<Vec<usize>> =
        has_header.then(|| lines[0].1.split_whitespace().map(|w| w.parse().ok()).collect()).flatten();
    let mut builder = Builder::default();
    let (mut fold, mut last_same) = (0, true);
    for &(number, line) in &lines[usize::from(has_header)..] {
        let wrong = || Error::data(path, format!("line {number}: '{line}' is neither 'name n m' nor 'name n name m'"));
        let parsed = parse(line).ok_or_else(wrong)?;
        let same = matches!(parsed, Line::Genuine(..));
        if same && !last_same {
            fold += 1;
        }
        last_same = same;
        match parsed {
            Line::Genuine(name, n, m) => builder.pair(&image(name, n), &image(name, m), true, Some(fold)),
            Line::Impostor(a, n, b, m) => builder.pair(&image(a, n), &image(b, m), false, Some(fold)),
        }
    }
    let folds = fold + 1;
    let genuine = builder.pairs.iter().filter(|p| p.same).count();
    let found =
        format!("{folds} folds of {genuine} genuine and {} impostor pairs in all", builder.pairs.len() - genuine);
    let promised = match header.as_deref() {
        Some(&[folds, each]) => Some((folds, folds * each, folds * each)),
        Some(&[each]) => Some((1, each, each)),
        _ => None,
    };
    if let Some((want_folds, want_genuine, want_impostor)) = promised
        && (want_folds, want_genuine, want_impostor) != (folds, genuine, builder.pairs.len() - genuine)
    {
        return Err(Error::data(
            path,
            format!(
                "line {}: the header '{}' promises {want_folds} folds of {want_genuine} genuine and {want_impostor} impostor pairs in all; the list holds {found}",
                lines[0].0, lines[0].1
            ),
        ));
    }
    if folds == 1 {
        builder.pairs.iter_mut().for_each(|p| p.fold = None);
    }
    Ok(builder)
}
