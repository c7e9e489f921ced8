//! Error rates by group, of a verification run that kept them.

use super::super::groups::by_three;
use super::{Table, figure, word};
use crate::plot::scale::{digits, grouped, short};
use crate::table::{Record, Value};

/// The groups of a run whose result is `record`; nothing, where there are none.
pub(super) fn table(groups: &[Record], record: &Record) -> Option<Table> {
    if groups.is_empty() {
        return None;
    }
    let text = |row: &Record, name: &str| row.get(name).map(Value::word).unwrap_or_default();
    let number = |row: &Record, name: &str| row.get(name).and_then(Value::number);
    let rate = |row: &Record, rate: &str, pairs: &str| {
        let (of, value) = (number(row, pairs).unwrap_or(0.0), number(row, rate));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts
        let count = |number: f64| grouped(number.round() as u64);
        let ends = number(row, &format!("{rate}_from")).zip(number(row, &format!("{rate}_to")));
        let by_three = by_three(value, of).filter(|_| value == Some(0.0) && of > 0.0);
        let interval = match by_three {
            // Also of runs that were not drawn from, and of those before, whose draws had none either.
            Some((_, to)) => format!("0 to {} (rule of three)", short(to)),
            None => ends.map_or("-".to_owned(), |(from, to)| format!("{} to {}", short(from), short(to))),
        };
        let errors = value.map_or("-".to_owned(), |value| count(value * of));
        [
            figure(count(of)),
            figure(errors),
            figure(value.map_or("-".to_owned(), |value| digits(value, 4))),
            figure(interval),
        ]
    };
    let row = |row: &Record| {
        let (fmr, fnmr) = (rate(row, "fmr", "impostor_pairs"), rate(row, "fnmr", "genuine_pairs"));
        [word(&text(row, "group"))].into_iter().chain(fmr).chain(fnmr).collect()
    };
    let columns =
        ["group", "impostor pairs", "accepted", "fmr", "interval", "genuine pairs", "rejected", "fnmr", "interval"];
    let threshold = number(record, "group_threshold").map_or("-".to_owned(), short);
    let caption =
        format!("By {}, at threshold {threshold} ({})", text(record, "group_by"), text(record, "group_threshold_from"));
    Some(Table::new(&caption, columns.map(str::to_owned).into_iter(), groups.iter().map(row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_counts_and_intervals_that_say_something() {
        let mut record = Record::new();
        record
            .set("group_by", "sex")
            .set("group_threshold", 0.33675)
            .set("group_threshold_from", "FMR 0.01 of all pairs");
        let mut row = Record::new();
        row.set("group", "f").set("genuine_pairs", 1848_usize).set("impostor_pairs", 60_usize);
        row.set("fmr", 0.0).set("fmr_from", 0.0).set("fmr_to", 0.0);
        row.set("fnmr", 182.0 / 1848.0).set("fnmr_from", 0.0848).set("fnmr_to", 0.1118);
        assert!(table(&[], &record).is_none());
        let table = table(&[row], &record).unwrap();
        assert_eq!(table.caption, "By sex, at threshold 0.337 (FMR 0.01 of all pairs)");
        let cells: Vec<&str> = table.rows[0].iter().map(|cell| cell.text.as_str()).collect();
        let wanted =
            ["f", "60", "0", "0.0000", "0 to 0.050 (rule of three)", "1,848", "182", "0.0985", "0.085 to 0.112"];
        assert_eq!(cells, wanted);
    }
}
