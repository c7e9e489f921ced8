//! The same pairs in two runs: which were decided wrongly and then rightly, and which the other way round.

use super::changes::Changes;
use super::gallery::{Arranged, Gallery, Image, Mark, Row};
use super::mistakes::{is_right, threshold};
use super::thumbnails::Pictures;
use super::{Named, Table, figure, word};
use crate::runs::{Pair, Pairs};

/// Pairs that are shown of each kind.
const SHOWN: usize = 8;

/// A pair in one run and in the other.
type Both<'p> = (&'p Pair, &'p Pair);

/// Of two runs over the same pairs in the same order. `pictures` are those of the first.
pub(super) fn changed_pairs(
    (a, of_a): (&Named<'_>, &Pairs),
    (b, of_b): (&Named<'_>, &Pairs),
    pictures: &mut Option<Pictures>,
) -> Changes {
    let thresholds = (threshold(&a.run.records[0]), threshold(&b.run.records[0]));
    // By whether they are genuine, were decided rightly, and then are: there may be millions, which are gone through once.
    let mut of: [Vec<Both<'_>>; 8] = Default::default();
    let place =
        |same: bool, before: bool, after: bool| usize::from(same) * 4 + usize::from(before) * 2 + usize::from(after);
    for (one, other) in of_a.pairs.iter().zip(&of_b.pairs) {
        let (before, after) = (is_right(one, thresholds.0), is_right(other, thresholds.1));
        of[place(one.same, before, after)].push((one, other));
    }
    let (a, b) = (a.name.as_str(), b.name.as_str());
    let counts = of.each_ref().map(Vec::len);
    let count = |same, before, after| counts[place(same, before, after)];
    let row = |same: bool, before: bool| {
        let words = format!(
            "{} {} in {a}",
            if same { "genuine," } else { "impostor," },
            if before { "right" } else { "wrong" }
        );
        let counts = [true, false].map(|after| figure(count(same, before, after).to_string()));
        [word(&words)].into_iter().chain(counts).collect()
    };
    let columns = ["pairs".to_owned(), format!("right in {b}"), format!("wrong in {b}")];
    let rows = [(true, true), (true, false), (false, true), (false, false)].map(|(same, before)| row(same, before));
    let mut table = Table::new(&format!("Pairs by how {a} and {b} decide them"), columns.into_iter(), rows.into());
    table.sortable = false;
    let mut gallery = |same: bool, won: bool| {
        let mut pairs = std::mem::take(&mut of[place(same, !won, won)]);
        let wrong = |(one, other): &Both<'_>| if won { one.score } else { other.score };
        // The farther on the wrong side, the more there was to mend, or was broken.
        pairs.sort_by(|x, y| if same { wrong(x).total_cmp(&wrong(y)) } else { wrong(y).total_cmp(&wrong(x)) });
        let mut side = |at: u32| {
            let person = &of_a.images[at as usize];
            Image::new(&person.name, &person.subject, "", None, pictures)
        };
        let row = |(one, other): &Both<'_>| {
            Row::judged(
                vec![side(one.a), side(one.b)],
                vec![Mark::new(!won, one.score, a), Mark::new(won, other.score, b)],
            )
        };
        let rows: Vec<Row> = pairs.iter().take(SHOWN).map(row).collect();
        let kind = if same { "Genuine pairs" } else { "Impostors" };
        let (mistake, cure) = if same { ("rejected", "accepted") } else { ("accepted", "rejected") };
        let (before, after) = if won { (mistake, cure) } else { (cure, mistake) };
        Gallery {
            caption: format!("{kind} {before} in {a}, {after} in {b}"),
            note: format!(
                "{} of {} pairs, the most confident mistakes of {} first.",
                rows.len(),
                pairs.len(),
                if won { a } else { b }
            ),
            arranged: Arranged::Few,
            rows,
        }
    };
    let galleries = [(true, true), (false, true), (true, false), (false, false)].map(|(same, won)| gallery(same, won));
    let total = |before, after| count(true, before, after) + count(false, before, after);
    let words = format!(
        "Of {} pairs {} went from wrong to right and {} from right to wrong between {a} and {b}, each run by its own thresholds; {} are \
         right in both, {} in neither.",
        of_a.pairs.len(),
        total(false, true),
        total(true, false),
        total(true, true),
        total(false, false)
    );
    let changed = total(false, true) + total(true, false);
    Changes::new(words, table, (changed, "pairs"), galleries.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Details, Person, Run};
    use crate::table::Record;

    fn pairs(scores: &[f64], right: Option<&[bool]>) -> Pairs {
        let person = |at: usize| Person { name: format!("i{at}"), subject: "s".into() };
        let pair = |(at, &score): (usize, &f64)| Pair {
            a: u32::try_from(at).expect("few"),
            b: u32::try_from(at).expect("few") + 1,
            same: at % 2 == 0,
            score,
            fold: None,
            right: right.map(|right| right[at]),
        };
        let pairs = scores.iter().enumerate().map(pair).collect();
        Pairs { images: (0..=scores.len()).map(person).collect(), pairs, files: None }
    }

    fn found(a: &Pairs, b: &Pairs, thresholds: (f64, f64)) -> Changes {
        let run = |threshold: f64| {
            let mut record = Record::new();
            record.set("eer_threshold", threshold);
            Run { path: "run".into(), records: vec![record], details: Details::None }
        };
        let (x, y) = (run(thresholds.0), run(thresholds.1));
        let named = |name: &str, run| Named { name: name.into(), dataset: String::new(), data: String::new(), run };
        changed_pairs((&named("x", &x), a), (&named("y", &y), b), &mut None)
    }

    #[test]
    fn pairs_are_counted_and_shown_by_what_became_of_them() {
        // By turns genuine and impostor; x accepts from 0.5 on, y from 50.
        let a = pairs(&[0.9, 0.1, 0.4, 0.7, 0.2, 0.6, 0.8, 0.3], None);
        let b = pairs(&[90.0, 10.0, 60.0, 20.0, 70.0, 80.0, 30.0, 55.0], None);
        let json = serde_json::to_value(found(&a, &b, (0.5, 50.0))).unwrap();
        assert_eq!(
            json["words"],
            "Of 8 pairs 3 went from wrong to right and 2 from right to wrong between x and y, each run by its own thresholds; 2 are \
             right in both, 1 in neither."
        );
        let text = |cell: &serde_json::Value| cell["text"].as_str().unwrap().to_owned();
        let rows = json["table"]["rows"].as_array().unwrap();
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.as_array().unwrap().iter().map(text).collect()).collect();
        assert_eq!(rows[0], ["genuine, right in x", "1", "1"]);
        assert_eq!(rows[1], ["genuine, wrong in x", "2", "0"]);
        assert_eq!(rows[2], ["impostor, right in x", "1", "1"]);
        assert_eq!(rows[3], ["impostor, wrong in x", "1", "1"]);
        let galleries = json["galleries"].as_array().unwrap();
        let captions: Vec<&str> = galleries.iter().map(|gallery| gallery["caption"].as_str().unwrap()).collect();
        let wanted = [
            "Genuine pairs rejected in x, accepted in y",
            "Impostors accepted in x, rejected in y",
            "Genuine pairs accepted in x, rejected in y",
            "Impostors rejected in x, accepted in y",
        ];
        assert_eq!(captions, wanted);
        let images = |gallery: usize, row: usize| {
            let row = &galleries[gallery]["rows"][row];
            let names =
                row["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned());
            let marks = row["marks"].as_array().unwrap().iter();
            let words = |mark: &serde_json::Value| {
                let text = |key: &str| mark[key].as_str().unwrap();
                format!("{} {} in {}", if mark["right"] == true { "right" } else { "wrong" }, text("score"), text("of"))
            };
            names.chain(marks.map(words)).collect::<Vec<_>>()
        };
        // The genuine pair that was rejected with 0.2 before the one with 0.4.
        assert_eq!(images(0, 0), ["i4", "i5", "wrong 0.200 in x", "right 70.000 in y"]);
        assert_eq!(images(0, 1), ["i2", "i3", "wrong 0.400 in x", "right 60.000 in y"]);
        assert_eq!(images(1, 0), ["i3", "i4", "wrong 0.700 in x", "right 20.000 in y"]);
        assert_eq!(images(2, 0), ["i6", "i7", "right 0.800 in x", "wrong 30.000 in y"]);
        assert_eq!(images(3, 0), ["i7", "i8", "right 0.300 in x", "wrong 55.000 in y"]);
    }

    #[test]
    fn decisions_over_folds_go_before_thresholds() {
        let (a, b) = (pairs(&[0.9, 0.1], Some(&[false, true])), pairs(&[0.9, 0.1], Some(&[true, true])));
        let json = serde_json::to_value(found(&a, &b, (0.5, 0.5))).unwrap();
        assert!(json["words"].as_str().unwrap().starts_with("Of 2 pairs 1 went from wrong to right and 0 "), "{json}");
        assert_eq!(json["galleries"].as_array().unwrap().len(), 1);
        assert_eq!(json["pictured"], "Pictures of 1 of the 1 pairs that changed");
    }
}
