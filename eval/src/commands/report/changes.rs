//! The same queries in two runs: which were wrong and became right, and which were right and became wrong.

use serde::Serialize;

use super::gallery::{Arranged, Gallery, Image, Row};
use super::thumbnails::Pictures;
use super::{Named, Table, figure, word};
use crate::runs::{Query, Retrieved};

/// Queries that are shown of each kind.
const SHOWN: usize = 8;

/// What became of the queries, or pairs, of one run in another.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    words: String,
    table: Table,
    /// How many of them the galleries show.
    pictured: String,
    galleries: Vec<Gallery>,
}

impl Changes {
    /// Of so many queries or pairs that changed. Galleries without a row are left out.
    pub(super) fn new(words: String, table: Table, changed: (usize, &str), galleries: Vec<Gallery>) -> Self {
        let galleries: Vec<Gallery> = galleries.into_iter().filter(|gallery| !gallery.rows.is_empty()).collect();
        let shown: usize = galleries.iter().map(|gallery| gallery.rows.len()).sum();
        let pictured = format!("Pictures of {shown} of the {} {} that changed", changed.0, changed.1);
        Self { words, table, pictured, galleries }
    }
}

/// Whether the nearest image is of the query's class.
fn is_right(query: &Query) -> bool {
    query.first_hit == Some(1)
}

/// Of two runs over the same queries in the same order. `pictures` are those of the first.
pub(super) fn changes(
    (a, of_a): (&Named<'_>, &Retrieved),
    (b, of_b): (&Named<'_>, &Retrieved),
    pictures: &mut Option<Pictures>,
) -> Changes {
    let both = || of_a.queries.iter().zip(&of_b.queries);
    let of = |before: bool, after: bool| {
        both().filter(move |(a, b)| is_right(a) == before && is_right(b) == after).collect::<Vec<(&Query, &Query)>>()
    };
    let (kept, lost, won, never) = (of(true, true), of(true, false), of(false, true), of(false, false));
    let (a, b) = (a.name.as_str(), b.name.as_str());
    let count = |queries: &[(&Query, &Query)]| figure(queries.len().to_string());
    let columns = ["nearest image".to_owned(), format!("right in {b}"), format!("wrong in {b}")];
    let rows = vec![
        vec![word(&format!("right in {a}")), count(&kept), count(&lost)],
        vec![word(&format!("wrong in {a}")), count(&won), count(&never)],
    ];
    let mut table = Table::new(&format!("Queries by what {a} and {b} find first"), columns.into_iter(), rows);
    table.sortable = false;
    let mut gallery = |mut queries: Vec<(&Query, &Query)>, caption: String, wrong_in: &str| {
        // The more alike a query and its wrong neighbour were, the more there was to mend, or was broken.
        let wrong =
            |&(a, b): &(&Query, &Query)| if is_right(a) { b } else { a }.neighbours.first().map(|near| near.score);
        let score = |both: &(&Query, &Query)| wrong(both).unwrap_or(f64::NEG_INFINITY);
        queries.sort_by(|one, other| score(other).total_cmp(&score(one)));
        let row = |&(of_a, of_b): &(&Query, &Query)| {
            let mut images = vec![Image::new(&of_a.name, &of_a.class, "query", None, pictures)];
            for found in [of_a, of_b].into_iter().filter_map(|query| query.neighbours.first()) {
                let kind = if found.class == of_a.class { "right" } else { "wrong" };
                images.push(Image::new(&found.name, &found.class, kind, Some(found.score), pictures));
            }
            Row::of(images)
        };
        let rows: Vec<Row> = queries.iter().take(SHOWN).map(row).collect();
        let note = format!(
            "{} of {} queries, the most confident mistakes of {wrong_in} first: each query, what {a} finds, what {b} finds.",
            rows.len(),
            queries.len()
        );
        Gallery { caption, note, arranged: Arranged::Few, rows }
    };
    let words = format!(
        "Of {} queries {} went from wrong to right and {} from right to wrong between {a} and {b}; {} are right in both, {} in neither.",
        of_a.queries.len(),
        won.len(),
        lost.len(),
        kept.len(),
        never.len()
    );
    let changed = won.len() + lost.len();
    let galleries = [
        gallery(won, format!("Wrong in {a}, right in {b}"), a),
        gallery(lost, format!("Right in {a}, wrong in {b}"), b),
    ];
    Changes::new(words, table, (changed, "queries"), galleries.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Details, Neighbour, Run};
    use crate::table::Record;

    fn retrieved(hits: &[(Option<u32>, f64)]) -> Retrieved {
        let query = |(at, &(first_hit, score)): (usize, &(Option<u32>, f64))| Query {
            name: format!("q{at}"),
            class: "a".into(),
            relevant: 1,
            first_hit,
            r_precision: 0.0,
            ap_at_r: 0.0,
            neighbours: vec![Neighbour {
                name: format!("n{at}"),
                class: if first_hit == Some(1) { "a" } else { "b" }.into(),
                score,
            }],
        };
        Retrieved { queries: hits.iter().enumerate().map(query).collect(), scores: None, map: None, files: None }
    }

    #[test]
    fn queries_are_counted_by_what_became_of_them() {
        let a = [(Some(1), 0.9), (Some(2), 0.3), (None, 0.8), (Some(1), 0.5), (Some(3), 0.2)];
        let b = [(Some(1), 0.8), (Some(1), 0.4), (Some(1), 0.4), (Some(2), 0.7), (None, 0.6)];
        let run = Run { path: "run".into(), records: vec![Record::new()], details: Details::None };
        let named = |name: &str| Named { name: name.into(), dataset: String::new(), data: String::new(), run: &run };
        let found = changes((&named("x"), &retrieved(&a)), (&named("y"), &retrieved(&b)), &mut None);
        let wanted = "Of 5 queries 2 went from wrong to right and 1 from right to wrong between x and y; 1 are right in both, 1 in neither.";
        assert_eq!(found.words, wanted);
        let texts: Vec<Vec<&str>> =
            found.table.rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect();
        assert_eq!(texts, [["right in x", "1", "1"], ["wrong in x", "2", "1"]]);
        let json = serde_json::to_value(&found.galleries).unwrap();
        let names = |gallery: usize, row: usize| -> Vec<String> {
            let images = json[gallery]["rows"][row]["images"].as_array().unwrap();
            images
                .iter()
                .map(|image| format!("{} {}", image["kind"].as_str().unwrap(), image["name"].as_str().unwrap()))
                .collect()
        };
        // The mistake that was most confident first: 0.8 before 0.3.
        assert_eq!(names(0, 0), ["query q2", "wrong n2", "right n2"]);
        assert_eq!(names(0, 1), ["query q1", "wrong n1", "right n1"]);
        assert_eq!(names(1, 0), ["query q3", "right n3", "wrong n3"]);
        // Runs that find the same have nothing to show.
        let same = changes((&named("x"), &retrieved(&a)), (&named("y"), &retrieved(&a)), &mut None);
        assert!(
            same.galleries.is_empty() && same.words.contains("0 went from wrong to right and 0 from right to wrong")
        );
    }
}
