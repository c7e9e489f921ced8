//! What was found and what went wrong, with pictures: galleries, mistakes, worst classes.

use std::collections::HashMap;

use super::gallery::{Arranged, Gallery, Image, Row};
use super::thumbnails::Pictures;
use super::{Table, figure, word};
use crate::plot::scale::digits;
use crate::runs::{Pair, Pairs, Query, Retrieved};
use crate::table::{Record, Value};

/// Queries in a gallery, and in a list of mistakes.
const SHOWN: usize = 12;
/// Neighbours beside each query.
const BESIDE: usize = 6;
/// Rows of a list of classes.
const CLASSES: usize = 20;

fn found(query: &Query, pictures: &mut Option<Pictures>) -> Row {
    let mut images = vec![Image::new(&query.name, &query.class, "query", None, pictures)];
    for near in query.neighbours.iter().take(BESIDE) {
        let kind = if near.class == query.class { "right" } else { "wrong" };
        images.push(Image::new(&near.name, &near.class, kind, Some(near.score), pictures));
    }
    Row::of(images)
}

/// Queries taken evenly over a run, and those whose nearest is wrong and yet nearest of all.
pub(super) fn retrieval(run: &Retrieved, pictures: &mut Option<Pictures>) -> Vec<Gallery> {
    let queries = &run.queries;
    let count = queries.len().min(SHOWN);
    let even = (0..count).map(|n| &queries[n * queries.len() / count]);
    let gallery = Gallery {
        caption: "Queries and what was found".into(),
        note: format!("{count} of {} queries, evenly taken; their nearest from left to right.", queries.len()),
        arranged: Arranged::Found,
        rows: even.map(|query| found(query, pictures)).collect(),
    };
    let nearest =
        |query: &Query| query.neighbours.first().filter(|near| near.class != query.class).map(|near| near.score);
    let mut wrong: Vec<(f64, &Query)> = queries.iter().filter_map(|q| nearest(q).map(|score| (score, q))).collect();
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mistakes = Gallery {
        caption: "Most confident mistakes".into(),
        note: format!(
            "{} of {} queries that have a wrong nearest neighbour; those most similar to it first.",
            wrong.len().min(SHOWN),
            wrong.len()
        ),
        arranged: Arranged::Found,
        rows: wrong.iter().take(SHOWN).map(|(_, query)| found(query, pictures)).collect(),
    };
    [gallery, mistakes].into_iter().filter(|gallery| !gallery.rows.is_empty()).collect()
}

/// Classes by their Recall@1, the worst first.
pub(super) fn worst_classes(run: &Retrieved) -> Table {
    #[derive(Default)]
    struct Class<'a> {
        queries: usize,
        hits: usize,
        ap: f64,
        taken_for: HashMap<&'a str, usize>,
    }
    let mut classes: HashMap<&str, Class<'_>> = HashMap::new();
    for query in &run.queries {
        let class = classes.entry(&query.class).or_default();
        class.queries += 1;
        class.hits += usize::from(query.first_hit == Some(1));
        class.ap += query.ap_at_r;
        if let Some(near) = query.neighbours.first().filter(|near| near.class != query.class) {
            *class.taken_for.entry(&near.class).or_default() += 1;
        }
    }
    let mut worst: Vec<(&str, Class<'_>)> = classes.into_iter().collect();
    let recall = |class: &Class<'_>| class.hits as f64 / class.queries as f64;
    let map = |class: &Class<'_>| class.ap / class.queries as f64;
    worst.sort_by(|(name, a), (other, b)| {
        recall(a).total_cmp(&recall(b)).then(map(a).total_cmp(&map(b))).then(name.cmp(other))
    });
    let row = |(name, class): &(&str, Class<'_>)| {
        let most = class.taken_for.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let taken = most.map_or("-".to_owned(), |(other, times)| format!("{other} ({times})"));
        let rate = |value: f64| figure(digits(value, 4));
        vec![word(name), figure(class.queries.to_string()), rate(recall(class)), rate(map(class)), word(&taken)]
    };
    Table::new(
        &format!("{} of {} classes, by recall@1 from the worst on", worst.len().min(CLASSES), worst.len()),
        ["class", "queries", "recall@1", "map@r", "most often taken for"].map(str::to_owned).into_iter(),
        worst.iter().take(CLASSES).map(row).collect(),
    )
}

/// The threshold by which pairs are decided that no fold decides: that of the EER.
pub(super) fn threshold(record: &Record) -> f64 {
    record.get("eer_threshold").and_then(Value::number).unwrap_or(f64::NAN)
}

/// Whether a pair is decided rightly, by its fold where it has one.
pub(super) fn is_right(pair: &Pair, threshold: f64) -> bool {
    pair.right.unwrap_or((pair.score >= threshold) == pair.same)
}

/// Pairs decided wrongly, the farthest beyond the threshold first: impostors that were accepted, genuine pairs rejected. Pairs that
/// other thresholds would decide wrongly are there, too, and not shown at first. `called` is the EER's threshold in words.
pub(super) fn verification(
    pairs: &Pairs,
    record: &Record,
    called: &str,
    pictures: &mut Option<Pictures>,
) -> Vec<Gallery> {
    let threshold = threshold(record);
    let by_fold = pairs.pairs.iter().any(|p| p.right.is_some());
    let place = if by_fold { "the threshold of its fold".to_owned() } else { format!("the EER's threshold, {called}") };
    let mut gallery = |same: bool, caption: &str| {
        let mut all: Vec<_> = pairs.pairs.iter().filter(|pair| pair.same == same).collect();
        all.sort_by(|a, b| if same { a.score.total_cmp(&b.score) } else { b.score.total_cmp(&a.score) });
        let is_wrong = |pair: &Pair| !is_right(pair, threshold);
        let wrong = all.iter().filter(|pair| is_wrong(pair)).count();
        let mut left = SHOWN;
        let shown = all.iter().enumerate().filter(|(place, pair)| {
            let is_shown = is_wrong(pair) && left > 0;
            left -= usize::from(is_shown);
            is_shown || *place < SHOWN
        });
        let mut side = |at: u32| {
            let person = &pairs.images[at as usize];
            Image::new(&person.name, &person.subject, "", None, pictures)
        };
        let rows = shown.map(|(_, p)| Row::decided(vec![side(p.a), side(p.b)], same, p.score, is_wrong(p)));
        let rows: Vec<Row> = rows.collect();
        let note = format!(
            "{} of {wrong} pairs that are decided wrongly, each at {place}; those farthest from it first.",
            wrong.min(SHOWN)
        );
        Gallery { caption: caption.into(), note, arranged: Arranged::Few, rows }
    };
    let both = [
        gallery(false, "Most confident mistakes: impostors accepted"),
        gallery(true, "Most confident mistakes: genuine pairs rejected"),
    ];
    both.into_iter().filter(|gallery| !gallery.rows.is_empty()).collect()
}
