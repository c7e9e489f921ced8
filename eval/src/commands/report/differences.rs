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
    verdict: String,
    table: Option<Table>,
    changes: Option<Changes>,
}

impl Difference {
    fn not(verdict: String) -> Self {
        Self { verdict, table: None, changes: None }
    }
}

/// Comparisons of those runs that have the same data; why there is none, where two have it and are not compared. `pictures` are
/// those of each run.
pub(super) fn all(runs: &[Named<'_>], pictures: &mut [Option<Pictures>]) -> Vec<Difference> {
    let size = |run: &Named<'_>| match &run.run.details {
        Details::Retrieval(of) => Some(("recall", of.queries.len())),
        Details::Verification(of) => {
            Some(("verification", of.pairs.as_ref().map_or(usize::MAX, |pairs| pairs.pairs.len())))
        }
        Details::Training(_) | Details::None => None,
    };
    let measured = runs.iter().enumerate().filter_map(|(at, run)| size(run).map(|(kind, count)| (at, kind, count)));
    let mut all = Vec::new();
    for alike in grouped(measured, |&(at, kind, _)| (kind, runs[at].data.clone())) {
        let [(a, ..), others @ ..] = &alike[..] else { continue };
        let compared = others.iter().take(OTHERS);
        all.extend(compared.map(|(b, _, count)| difference(&runs[*a], &runs[*b], *count > UP_TO, &mut pictures[*a])));
        if let Some((b, ..)) = others.get(OTHERS) {
            let left = others.len() - OTHERS - 1;
            let more = if left == 0 { String::new() } else { format!(" and {left} more") };
            let verdict = format!("{}{more} are not compared here; `pdloss-eval compare` does it.", runs[*b].name);
            all.push(Difference::not(verdict));
        }
    }
    all
}

fn difference(a: &Named<'_>, b: &Named<'_>, many: bool, pictures: &mut Option<Pictures>) -> Difference {
    let not = |why: &str| Difference::not(format!("{} and {} are not compared: {why}.", b.name, a.name));
    if many {
        return not("too many queries or pairs for a page; `pdloss-eval compare` does it");
    }
    let mut about = Record::new();
    let ordered = in_order_of(a.run, b.run);
    let b = &Named {
        run: ordered.as_ref().unwrap_or(b.run),
        name: b.name.clone(),
        dataset: b.dataset.clone(),
        data: b.data.clone(),
    };
    let found = match compared(a.run, b.run, None, &HOW, &mut about) {
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
    Difference {
        verdict: found.verdict(1.0 - HOW.level, &a.name, &b.name),
        table: Some(Table::new(&caption, columns.into_iter(), found.rows().iter().map(row).collect())),
        changes,
    }
}
