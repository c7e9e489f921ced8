//! What `compare` says of runs on the same data: the first of them against each of the others; and what became of its queries or pairs.

use serde::Serialize;

use super::changed_pairs::changed_pairs;
use super::changes::{Changes, changes};
use super::thumbnails::Pictures;
use super::{Named, Table, figure, grouped, word};
use crate::commands::compare::{compared, in_order_of};
use crate::metrics::significance::Resampling;
use crate::plot::scale::short;
use crate::runs::Details;
use crate::table::{Record, Value};

/// Draws of test and interval: a tenth of the command's, for the page is drawn anew often.
const HOW: Resampling = Resampling { draws: 1000, seed: 0, level: 0.95 };
/// Runs that the first is compared with, at most.
const OTHERS: usize = 4;
/// Queries or pairs beyond which the page does not compare.
const UP_TO: usize = 100_000;

/// Two runs beside each other.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// Which runs; nothing, where none are compared.
    heading: String,
    verdict: String,
    /// What the difference may come of beside the models, and what is doubtful of it.
    notes: Vec<String>,
    table: Option<Table>,
    changes: Option<Changes>,
}

impl Difference {
    fn not(verdict: String) -> Self {
        Self { heading: String::new(), verdict, notes: Vec::new(), table: None, changes: None }
    }
}

/// Comparisons of those runs that have the same data; why there is none, where two have it and are not compared. `pictures` are
/// those of each run.
pub(super) fn all(runs: &[Named<'_>], pictures: &mut [Option<Pictures>]) -> Vec<Difference> {
    let size = |run: &Named<'_>| match &run.run.details {
        Details::Retrieval(of) => Some(("recall", Some(of.queries.len()))),
        Details::Verification(of) => Some(("verification", of.pairs.as_ref().map(|pairs| pairs.pairs.len()))),
        Details::Training(_) | Details::None => None,
    };
    let measured = runs.iter().enumerate().filter_map(|(at, run)| size(run).map(|(kind, count)| (at, kind, count)));
    let mut all = Vec::new();
    for alike in grouped(measured, |&(at, kind, _)| (kind, runs[at].data.clone())) {
        let (alike, counted) = parted(&alike);
        let name = |at: usize| runs[at].name.as_str();
        if alike.len() + counted.len() > 1 && !counted.is_empty() {
            all.push(Difference::not(uncompared(&counted.iter().map(|&at| name(at)).collect::<Vec<_>>())));
        }
        let [(a, _), others @ ..] = &alike[..] else { continue };
        let compared = others.iter().take(OTHERS);
        all.extend(compared.map(|(b, count)| difference(&runs[*a], &runs[*b], *count > UP_TO, &mut pictures[*a])));
        if let Some((b, _)) = others.get(OTHERS) {
            let left = others.len() - OTHERS - 1;
            let more = if left == 0 { String::new() } else { format!(" and {left} more") };
            let verdict = format!("{}{more} are not compared here; `pdloss-eval compare` does it.", runs[*b].name);
            all.push(Difference::not(verdict));
        }
    }
    all
}

/// Runs with their queries or pairs, and how many these are; runs that kept counts alone.
fn parted(alike: &[(usize, &str, Option<usize>)]) -> (Vec<(usize, usize)>, Vec<usize>) {
    let kept = alike.iter().filter_map(|&(at, _, count)| Some((at, count?))).collect();
    (kept, alike.iter().filter(|(.., count)| count.is_none()).map(|&(at, ..)| at).collect())
}

/// Why these runs are not compared, as `compare` says it.
fn uncompared(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let (shown, left) = names.split_at(names.len().min(SHOWN));
    let (last, before) = shown.split_last().unwrap_or((&"", &[]));
    let named = match (before, left) {
        ([], _) => (*last).to_owned(),
        (_, []) => format!("{} and {last}", before.join(", ")),
        _ => format!("{} and {} more", shown.join(", "), left.len()),
    };
    let (are, kept) = if names.len() == 1 { ("is", "this run kept") } else { ("are", "these runs kept") };
    format!(
        "{named} {are} not compared: {kept} counts and no pairs, being of scores without names, of very many pairs, or of templates in \
         an earlier version."
    )
}

fn difference(a: &Named<'_>, b: &Named<'_>, many: bool, pictures: &mut Option<Pictures>) -> Difference {
    let not = |why: &str| Difference::not(format!("{} and {} are not compared: {why}.", b.name, a.name));
    if many {
        return not("too many queries or pairs for a page; `pdloss-eval compare` does it");
    }
    let ordered = in_order_of(a.run, b.run);
    let b = &Named {
        run: ordered.as_ref().unwrap_or(b.run),
        name: b.name.clone(),
        dataset: b.dataset.clone(),
        data: b.data.clone(),
    };
    let found = match compared((a.run, a.name.as_str()), (b.run, b.name.as_str()), None, &HOW) {
        Ok(found) => found,
        Err(error) => return not(error.to_string().trim_end_matches('.')),
    };
    let number = |row: &Record, name: &str| figure(row.get(name).and_then(Value::number).map_or("-".to_owned(), short));
    let row = |row: &Record| {
        let name = row.get("figure").map(Value::word).unwrap_or_default();
        let numbers = ["A", "B", "B - A", "from", "to", "p_holm"].map(|name| number(row, name));
        [word(&name)].into_iter().chain(numbers).collect()
    };
    let columns = ["figure", &a.name, &b.name, "difference", "from", "to", "p (Holm)"].map(str::to_owned);
    let caption = format!("{} against {}: difference with its 95 % interval", b.name, a.name);
    // What is compared has the same queries or pairs in the same order.
    let changes = match (&a.run.details, &b.run.details) {
        (Details::Retrieval(of_a), Details::Retrieval(of_b)) => Some(changes((a, of_a), (b, of_b), pictures)),
        (Details::Verification(of_a), Details::Verification(of_b)) => {
            let pairs = of_a.pairs.as_ref().zip(of_b.pairs.as_ref());
            pairs.map(|(of_a, of_b)| changed_pairs((a, of_a), (b, of_b), pictures))
        }
        _ => None,
    };
    let notes = found.notes.iter().cloned().chain(found.doubts(&a.name, &b.name));
    Difference {
        heading: format!("{} against {}", b.name, a.name),
        notes: notes.collect(),
        verdict: found.verdict(1.0 - HOW.level, &a.name, &b.name),
        table: Some(Table::new(&caption, columns.into_iter(), found.rows().iter().map(row).collect())),
        changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Pairs, Run, Verified};

    #[test]
    fn runs_that_kept_no_pairs_are_not_said_to_have_too_many() {
        let run = |name: &str, pairs: Option<Pairs>| Run {
            path: name.into(),
            records: vec![Record::new()],
            details: Details::Verification(Verified { pairs, ..Verified::default() }),
        };
        let verdicts = |kept: &[bool]| -> Vec<String> {
            let runs: Vec<Run> = kept.iter().map(|kept| run("run", kept.then(Pairs::default))).collect();
            let named =
                |(at, run)| Named { name: format!("run{at}"), dataset: String::new(), data: String::new(), run };
            let named: Vec<Named<'_>> = runs.iter().enumerate().map(named).collect();
            let mut pictures: Vec<Option<Pictures>> = runs.iter().map(|_| None).collect();
            all(&named, &mut pictures).into_iter().map(|found| found.verdict).collect()
        };
        assert!(verdicts(&[false]).is_empty());
        let why = "counts and no pairs, being of scores without names, of very many pairs, or of templates in an earlier version.";
        assert_eq!(verdicts(&[false, false]), [format!("run0 and run1 are not compared: these runs kept {why}")]);
        let many = format!("run0, run1, run2 and 2 more are not compared: these runs kept {why}");
        assert_eq!(verdicts(&[false; 5]), [many]);
        // The first of those that have pairs is what the others are compared with.
        let mixed = verdicts(&[false, true, true]);
        assert_eq!(mixed[0], format!("run0 is not compared: this run kept {why}"));
        assert!(mixed.len() == 2 && mixed[1].contains("run2") && mixed[1].contains("run1"), "{mixed:?}");
    }
}
