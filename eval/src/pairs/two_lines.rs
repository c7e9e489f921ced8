//! The lists of CPLFW and CALFW: two lines a pair, each a file name and a number. In CPLFW's that is 1 (same) or 0
//! (different), and folds are not named. In CALFW's it is the fold from 1 for genuine pairs, and 0 for impostor pairs, which
//! are dealt to the folds in order. Both hold all genuine pairs before all impostor pairs.

use std::path::Path;

use pdloss_embed::dataset::is_image;

use super::{Builder, answer};
use crate::{Error, Result};

/// More folds than any list has.
const MOST_FOLDS: usize = 1000;

/// What stands behind a name.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Different,
    Same,
    /// Same, in a fold from 2 on.
    Fold(usize),
}

fn parse(line: &str) -> Option<(&str, Mark)> {
    let (name, word) = line.rsplit_once(char::is_whitespace)?;
    let name = name.trim_end();
    (!name.contains(['\t', ',', ';'])).then_some(())?;
    let fold = || word.parse().ok().filter(|fold| (2..=MOST_FOLDS).contains(fold)).map(Mark::Fold);
    let mark = answer(word).map(|same| if same { Mark::Same } else { Mark::Different }).or_else(fold)?;
    Some((name, mark)).filter(|_| is_image(name))
}

pub(super) fn recognises(line: &str) -> bool {
    // `path path 1` has an image's ending inside, too
    parse(line).is_some_and(|(name, _)| !name.split_whitespace().rev().skip(1).any(is_image))
}

pub(super) fn read(path: &Path, lines: &[(usize, &str)]) -> Result<Builder> {
    let lines = if parse(lines[0].1).is_none() { &lines[1..] } else { lines };
    let mut builder = Builder::default();
    let mut marks = Vec::new();
    for pair in lines.chunks(2) {
        let read = |&(number, line): &(usize, &'_ str)| {
            parse(line)
                .map(|(name, mark)| (name.to_owned(), mark))
                .ok_or_else(|| Error::data(path, format!("line {number}: '{line}' is not a file name and 1 or 0")))
        };
        let [first, second] = pair else {
            return Err(Error::data(
                path,
                format!("line {}: the last pair has one line; wanted two lines a pair", pair[0].0),
            ));
        };
        let ((a, mark), (b, other)) = (read(first)?, read(second)?);
        if mark != other {
            let different = mark == Mark::Different || other == Mark::Different;
            let problem = if different { "one says same, the other different" } else { "they name different folds" };
            return Err(Error::data(path, format!("lines {} and {}: {problem}", first.0, second.0)));
        }
        builder.pair(&a, &b, mark != Mark::Different, None);
        marks.push(mark);
    }
    let folds = marks.iter().map(|mark| if let Mark::Fold(fold) = mark { *fold } else { 1 }).max().unwrap_or(1);
    if folds > 1 {
        let impostor = marks.iter().filter(|mark| **mark == Mark::Different).count();
        let mut dealt = 0;
        for (pair, mark) in builder.pairs.iter_mut().zip(&marks) {
            pair.fold = Some(match mark {
                Mark::Same => 0,
                Mark::Fold(fold) => fold - 1,
                Mark::Different => {
                    dealt += 1;
                    (dealt - 1) * folds / impostor
                }
            });
        }
    }
    Ok(builder)
}
