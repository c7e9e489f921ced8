//! Which classes are taken for which: a matrix of the most confused ones, pairs of classes by their mistakes, and pictures of these.

use serde::Serialize;

use super::gallery::{Arranged, Gallery, Image, Row, cut};
use super::thumbnails::Pictures;
use super::{Table, figure, word};
use crate::metrics::confusion::{Confused, Confusion};
use crate::plot::scale::{digits, percent};
use crate::runs::{Neighbour, Query, Retrieved};

/// Classes of a matrix, at most.
const CLASSES: usize = 30;
/// Rows of the list of pairs.
const PAIRS: usize = 20;
/// Pairs with pictures, and mistakes shown of each.
const PICTURED: usize = 6;
const MISTAKES: usize = 3;

/// What a run's section says of confused classes.
#[derive(Debug, Serialize)]
pub(super) struct Mixed {
    matrix: Matrix,
    pairs: Table,
    gallery: Option<Gallery>,
}

/// Classes by classes.
#[derive(Debug, Serialize)]
struct Matrix {
    note: String,
    classes: Vec<Class>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Serialize)]
struct Class {
    name: String,
    /// The name, to be shown.
    label: String,
}

#[derive(Debug, Serialize)]
struct Cell {
    /// How many queries; 0 is left empty.
    times: u64,
    /// Their share of the queries of the row's class.
    share: String,
    /// All of it in words.
    words: String,
}

/// A run's queries by their class and that of their nearest image; `None` where no nearest image is of another class.
pub(super) fn mixed(run: &Retrieved, pictures: &mut Option<Pictures>) -> Option<Mixed> {
    let nearest = || run.queries.iter().filter_map(|query| Some((query, query.neighbours.first()?)));
    let mut names: Vec<&str> = nearest().flat_map(|(query, near)| [query.class.as_str(), &near.class]).collect();
    names.sort_unstable();
    names.dedup();
    let class = |name: &str| names.binary_search(&name).expect("every class is there");
    let confusion =
        Confusion::of(names.len(), nearest().map(|(query, near)| (class(&query.class), class(&near.class))));
    if confusion.mistakes() == 0 {
        return None;
    }
    let pairs = confusion.pairs();
    let pictured = pictures.is_some().then(|| {
        let mistakes = |pair: &Confused| {
            let of = |name: &str| [pair.a, pair.b].contains(&class(name));
            let mut found: Vec<(&Query, &Neighbour)> =
                nearest().filter(|(query, near)| query.class != near.class && of(&query.class) && of(&near.class)).collect();
            // Those of the class that is taken for the other more often first; then the most alike.
            let back = |query: &Query| query.class != names[pair.a];
            found.sort_by(|a, b| back(a.0).cmp(&back(b.0)).then(b.1.score.total_cmp(&a.1.score)));
            found.truncate(MISTAKES);
            found
        };
        let row = |pair: &Confused| {
            let both = |(query, near): (&Query, &Neighbour)| {
                [
                    Image::new(&query.name, &query.class, "query", None, pictures),
                    Image::new(&near.name, &near.class, "wrong", Some(near.score), pictures),
                ]
            };
            let images = mistakes(pair).into_iter().flat_map(both).collect();
            Row::under(words(&confusion, pair, &names), images)
        };
        Gallery {
            caption: "Most confused classes".into(),
            note: format!(
                "{} of {} pairs of classes; of each up to {MISTAKES} queries, with the image of the other class that they find first.",
                pairs.len().min(PICTURED),
                pairs.len()
            ),
            arranged: Arranged::Twos,
            rows: pairs.iter().take(PICTURED).map(row).collect(),
        }
    });
    Some(Mixed { matrix: matrix(&confusion, &names), pairs: table(&confusion, &pairs, &names), gallery: pictured })
}

/// A pair of classes in words.
fn words(confusion: &Confusion, pair: &Confused, names: &[&str]) -> String {
    let way = |a: usize, b: usize, times: u64| {
        format!("{times} of {} queries of class {} find class {} first", confusion.queries(a), names[a], names[b])
    };
    let there = way(pair.a, pair.b, pair.there);
    if pair.back == 0 { there } else { format!("{there}; {}", way(pair.b, pair.a, pair.back)) }
}

fn matrix(confusion: &Confusion, names: &[&str]) -> Matrix {
    let taken = confusion.most_confused(CLASSES);
    let mistakes = confusion.mistakes();
    let which = if taken.len() == names.len() {
        format!("All {} classes, and {mistakes} mistakes", names.len())
    } else {
        format!(
            "{} of {} classes, those of the pairs that are most often confused; {} of {mistakes} mistakes are among them",
            taken.len(),
            names.len(),
            confusion.mistakes_among(&taken)
        )
    };
    let order = confusion.clustered(&taken);
    let cell = |a: usize, b: usize| {
        let times = confusion.times(a, b);
        let found = if a == b { "their own class".to_owned() } else { format!("class {}", names[b]) };
        let share = confusion.share(a, b);
        Cell {
            times,
            share: format!("{share:.2}"),
            words: format!(
                "{times} of {} queries of class {} find {found} first ({})",
                confusion.queries(a),
                names[a],
                percent(share)
            ),
        }
    };
    Matrix {
        note: format!("{which}. Classes that are confused stand together; the numbers of columns are those of rows."),
        rows: order.iter().map(|&a| order.iter().map(|&b| cell(a, b)).collect()).collect(),
        classes: order.iter().map(|&at| Class { name: names[at].into(), label: cut(names[at]) }).collect(),
    }
}

fn table(confusion: &Confusion, pairs: &[Confused], names: &[&str]) -> Table {
    let row = |pair: &Confused| {
        let of = confusion.queries(pair.a) + confusion.queries(pair.b);
        let count = |count: u64| figure(count.to_string());
        vec![
            word(names[pair.a]),
            word(names[pair.b]),
            count(pair.mistakes()),
            figure(digits(pair.mistakes() as f64 / of as f64, 4)),
            count(pair.there),
            count(pair.back),
        ]
    };
    let columns = ["class", "other class", "mistakes", "of their queries", "class for other", "other for class"];
    Table::new(
        &format!("{} of {} pairs of classes, by mistakes", pairs.len().min(PAIRS), pairs.len()),
        columns.map(str::to_owned).into_iter(),
        pairs.iter().take(PAIRS).map(row).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queries of a class whose nearest is of another, by their names.
    fn run(of: &[(&str, &str)]) -> Retrieved {
        let query = |(at, (class, near)): (usize, &(&str, &str))| Query {
            name: at.to_string(),
            class: (*class).into(),
            relevant: 1,
            first_hit: None,
            r_precision: 0.0,
            ap_at_r: 0.0,
            neighbours: vec![Neighbour { name: "n".into(), class: (*near).into(), score: 0.5 }],
        };
        Retrieved { queries: of.iter().enumerate().map(query).collect(), scores: None, map: None, files: None }
    }

    #[test]
    fn the_matrix_says_what_it_shows_and_of_how_many() {
        assert!(mixed(&run(&[("a", "a"), ("b", "b")]), &mut None).is_none());
        let found = mixed(&run(&[("a", "c"), ("a", "c"), ("b", "b"), ("c", "a"), ("c", "c")]), &mut None).unwrap();
        assert!(found.gallery.is_none(), "there are no pictures");
        assert!(found.matrix.note.starts_with("All 3 classes, and 3 mistakes."), "{}", found.matrix.note);
        let names: Vec<&str> = found.matrix.classes.iter().map(|class| class.name.as_str()).collect();
        assert_eq!(names, ["a", "c", "b"]);
        let times: Vec<Vec<u64>> =
            found.matrix.rows.iter().map(|row| row.iter().map(|cell| cell.times).collect()).collect();
        assert_eq!(times, [[0, 2, 0], [1, 1, 0], [0, 0, 1]]);
        assert_eq!(found.matrix.rows[0][1].words, "2 of 2 queries of class a find class c first (100 %)");
        assert_eq!(found.matrix.rows[1][1].words, "1 of 2 queries of class c find their own class first (50 %)");
        let texts: Vec<&str> = found.pairs.rows[0].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(texts, ["a", "c", "3", "0.7500", "2", "1"]);
        // Each of forty classes is once taken for the next: pairs are as often confused, and the first are taken.
        let names: Vec<String> = (0..41).map(|n| format!("{n:02}")).collect();
        let chain: Vec<(&str, &str)> = names.windows(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
        let found = mixed(&run(&chain), &mut None).unwrap();
        let says =
            "30 of 41 classes, those of the pairs that are most often confused; 29 of 40 mistakes are among them.";
        assert!(found.matrix.note.starts_with(says), "{}", found.matrix.note);
        assert_eq!((found.matrix.rows.len(), found.pairs.rows.len()), (30, 20));
        assert_eq!(found.pairs.caption, "20 of 40 pairs of classes, by mistakes");
    }
}
