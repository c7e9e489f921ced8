//! The lists of CPLFW and CALFW: two lines a pair, each a file name and 1 (same) or 0 (different). They hold all genuine
//! pairs before all impostor pairs and name no folds.

use std::path::Path;

use super::{Builder, answer};
use crate::{Error, Result};

fn parse(line: &str) -> Option<(&str, bool)> {
    let (name, word) = line.rsplit_once(char::is_whitespace)?;
    let name = name.trim_end();
    (!name.contains(['\t', ',', ';'])).then_some(())?;
    Some((name, answer(word)?)).filter(|_| pdloss_embed::dataset::is_image(name))
}

pub(super) fn recognises(line: &str) -> bool {
    // `path path 1` has an image's ending inside, too
    parse(line).is_some_and(|(name, _)| !name.split_whitespace().rev().skip(1).any(pdloss_embed::dataset::is_image))
}

pub(super) fn read(path: &Path, lines: &[(usize, &str)]) -> Result<Builder> {
    let lines = if parse(lines[0].1).is_none() { &lines[1..] } else { lines };
    let mut builder = Builder::default();
    for pair in lines.chunks(2) {
        let read = |&(number, line): &(usize, &'_ str)| {
            parse(line)
                .map(|(name, same)| (name.to_owned(), same))
                .ok_or_else(|| Error::data(path, format!("line {number}: '{line}' is not a file name and 1 or 0")))
        };
        let [first, second] = pair else {
            return Err(Error::data(
                path,
                format!("line {}: the last pair has one line; wanted two lines a pair", pair[0].0),
            ));
        };
        let ((a, same), (b, other)) = (read(first)?, read(second)?);
        if same != other {
            return Err(Error::data(
                path,
                format!("lines {} and {}: one says same, the other different", first.0, second.0),
            ));
        }
        builder.pair(&a, &b, same, None);
    }
    Ok(builder)
}
