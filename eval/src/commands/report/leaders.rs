//! Which run is ahead, in a sentence.

use super::{grouped, measure};
use crate::commands::tabulate;
use crate::plot::scale::digits;
use crate::table::{Record, Value};

/// Figures that differ by less are level.
const LEVEL: f64 = 5e-4;

/// A sentence for each measure on each data that several runs have: which is ahead, and by how much.
pub(super) fn leaders(every: &[Record]) -> Vec<String> {
    const FIRST: [(&str, bool); 5] =
        [("recall@1", true), ("accuracy", true), ("eer", false), ("best recall@1", true), ("map@r", true)];
    let word = |row: &Record, column: &str| row.get(column).map(Value::word).unwrap_or_default();
    let sentence = |rows: &Vec<&Record>| {
        // What tells these from others of that measure and data set.
        let beside =
            |row: &&Record| ["measure", "dataset"].iter().all(|column| word(row, column) == word(rows[0], column));
        let apart = tabulate::apart(&every.iter().filter(beside).cloned().collect::<Vec<_>>());
        let all = |figure: &str| {
            let number = |row: &&Record| row.get(figure).and_then(Value::number).filter(|number| !number.is_nan());
            let numbers = rows.iter().map(number);
            numbers.collect::<Option<Vec<f64>>>()
        };
        // Some figures are measured in ways that others of their row are not.
        let is_alike = |figure: &str| {
            let first = tabulate::measured_on(rows[0], figure);
            rows[1..].iter().all(|row| tabulate::measured_on(row, figure) == first)
        };
        let (figure, higher, values) = FIRST
            .iter()
            .filter(|(figure, _)| is_alike(figure))
            .find_map(|&(figure, higher)| Some((figure, higher, all(figure)?)))?;
        let mut order: Vec<(f64, String)> =
            values.into_iter().zip(rows.iter().map(|row| word(row, "result"))).collect();
        order.sort_by(|a, b| if higher { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) });
        let [(best, leader), (next, other), ..] = &order[..] else { return None };
        let as_good_as = |value: f64| order.iter().filter(|(other, _)| (other - value).abs() < LEVEL).count();
        // Files of kept embeddings have names of their own.
        let dataset = word(rows[0], "dataset");
        let is_one = rows.iter().all(|row| word(row, "dataset") == dataset);
        let on = if dataset.is_empty() || !is_one { String::new() } else { format!(" on {dataset}") };
        let apart = apart.iter().map(|name| (name, word(rows[0], name))).filter(|(name, word)| {
            !word.is_empty() && rows.iter().all(|row| row.get(name).map(Value::word).as_ref() == Some(word))
        });
        let apart: Vec<String> = apart.map(|(name, word)| format!("{name} {word}")).collect();
        let on = if apart.is_empty() { on } else { format!("{on} ({})", apart.join(", ")) };
        let by = (best - next).abs();
        let level = as_good_as(*best);
        let (first, last) = (digits(*best, 4), digits(order[level.max(1) - 1].0, 4));
        let values = if first == last { first.clone() } else { format!("{first} to {last}") };
        Some(match (by < LEVEL, as_good_as(*next)) {
            (true, _) if order.len() == 2 || level == 2 => {
                format!("{leader} and {other} are level in {figure}{on}: {values}.")
            }
            (true, _) if level == order.len() => format!("All {level} runs are level in {figure}{on}: {values}."),
            (true, _) => format!("{level} of {} runs are level in {figure}{on}: {values}.", order.len()),
            (false, alike) => format!(
                "{leader} is ahead in {figure}{on}: {first}, {} {} than {other}{}.",
                digits(by, 4),
                if higher { "more" } else { "less" },
                if alike > 1 {
                    format!(" and {} more that {} level with it", alike - 1, if alike == 2 { "is" } else { "are" })
                } else {
                    String::new()
                }
            ),
        })
    };
    grouped(every, |row| (measure(row), tabulate::measured(row))).iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(figure: &str, values: &[f64]) -> String {
        let row = |(at, &value): (usize, &f64)| {
            let mut row = Record::new();
            row.set("result", format!("run{at}")).set("measure", "recall").set("dataset", "shapes").set(figure, value);
            row
        };
        leaders(&values.iter().enumerate().map(row).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn what_tells_rows_of_other_data_apart_is_not_told_of_these() {
        let row = |name: &str, measure: &str, figure: &'static str, (value, batch): (f64, u32), part: &str| {
            let mut row = Record::new();
            row.set("result", name).set("measure", measure).set("dataset", measure).set(figure, value);
            row.set("batch", u64::from(batch)).set("part", part).set("throughput", 1.0);
            row
        };
        let rows = [
            row("a", "verification", "eer", (0.1, 1), "all"),
            row("b", "verification", "eer", (0.2, 8), "all"),
            row("c", "retrieval", "recall@1", (0.1, 8), "test"),
            row("d", "retrieval", "recall@1", (0.2, 8), "test"),
            row("e", "retrieval", "recall@1", (0.3, 8), "train"),
            row("f", "retrieval", "recall@1", (0.5, 8), "train"),
        ];
        assert_eq!(
            leaders(&rows),
            [
                "a is ahead in eer on verification: 0.1000, 0.1000 less than b.",
                "d is ahead in recall@1 on retrieval (part test): 0.2000, 0.1000 more than c.",
                "f is ahead in recall@1 on retrieval (part train): 0.5000, 0.2000 more than e.",
            ]
        );
    }

    #[test]
    fn of_many_that_are_level_two_are_not_named() {
        let ahead = "run1 is ahead in recall@1 on shapes: 0.7500, 0.2500 more than run0.";
        assert_eq!(said("recall@1", &[0.5, 0.75]), ahead);
        assert_eq!(said("recall@1", &[0.5, 0.5, 0.25]), "run0 and run1 are level in recall@1 on shapes: 0.5000.");
        assert_eq!(
            said("recall@1", &[0.5, 0.25, 0.5, 0.5004]),
            "3 of 4 runs are level in recall@1 on shapes: 0.5004 to 0.5000."
        );
        assert_eq!(said("recall@1", &[0.5; 3]), "All 3 runs are level in recall@1 on shapes: 0.5000.");
        let several =
            "run0 is ahead in recall@1 on shapes: 0.7500, 0.2500 more than run1 and 2 more that are level with it.";
        assert_eq!(said("recall@1", &[0.75, 0.5, 0.5, 0.5]), several);
        assert_eq!(
            said("recall@1", &[0.999_96, 0.9]),
            "run0 is ahead in recall@1 on shapes: 0.999960, 0.1000 more than run1."
        );
    }
}
