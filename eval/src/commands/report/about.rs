//! Figures as people read them: units, groups of three digits, intervals beside their figure.

use super::{Table, word};
use crate::plot::scale::{digits, grouped, short};
use crate::table::schema::{find, is_interval_end};
use crate::table::{Cell, Record, Value};

/// Counts from here on are written in groups of three digits.
const LARGE: u64 = 10_000;

/// Everything that a result says, a row each; an interval stands beside its figure.
pub(super) fn table(record: &Record) -> Table {
    let known = record.iter().filter(|(name, value)| *value != Value::Missing && !is_interval_end(name));
    let row = |(name, value): &(String, Value)| {
        let text = match (value, interval(record, name)) {
            (Value::Real(real), Some((from, to))) => format!("{} [{}, {}]", rounded(*real), rounded(from), rounded(to)),
            (Value::Real(real), None) => rounded(*real),
            _ => value.word(),
        };
        vec![word(&with_unit(name)), word(&text)]
    };
    let rows: Vec<Vec<Cell>> = known.map(row).collect();
    let caption = format!("What was run, and every figure: {} values", rows.len());
    let mut table = Table::new(&caption, ["what", "value"].map(str::to_owned).into_iter(), rows);
    table.sortable = false;
    table
}

/// Six digits that say something; files have them all.
fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    #[allow(clippy::cast_possible_truncation)] // a handful of digits
    let places = 5 - value.abs().log10().floor() as i32;
    if places > 12 {
        return format!("{value:.5e}");
    }
    let text = digits(value, usize::try_from(places).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn interval(record: &Record, name: &str) -> Option<(f64, f64)> {
    let end = |end: &str| record.get(&format!("{name}_{end}")).and_then(Value::number);
    // Some columns are called so and are no ends.
    is_interval_end(&format!("{name}_from")).then(|| end("from").zip(end("to")))?
}

/// A column's name, and of what is no share or plain count its unit.
pub(super) fn with_unit(name: &str) -> String {
    match find(name).map_or("", |found| found.column.unit) {
        unit @ ("ms" | "s" | "bytes" | "images/s") => format!("{name} ({unit})"),
        _ => name.to_owned(),
    }
}

/// Words large counts, and times that nobody reads to the last digit.
pub(super) fn readable(columns: &[String], rows: &[Record], cells: &mut [Vec<Cell>]) {
    for (row, cells) in rows.iter().zip(cells) {
        for (name, cell) in columns.iter().zip(cells) {
            let unit = find(name).map_or("", |found| found.column.unit);
            match row.get(name) {
                Some(Value::Whole(count)) if *count >= LARGE => cell.text = grouped(*count),
                Some(Value::Real(real)) if ["ms", "images/s"].contains(&unit) => cell.text = format!("{real:.2}"),
                _ => {}
            }
        }
    }
}

/// Adds intervals to figures that have one; whether there was any.
pub(super) fn with_intervals(columns: &[String], rows: &[Record], cells: &mut [Vec<Cell>]) -> bool {
    let mut any = false;
    for (row, cells) in rows.iter().zip(cells) {
        for (name, cell) in columns.iter().zip(cells) {
            if let Some((from, to)) = interval(row, name) {
                cell.text = format!("{} [{}, {}]", cell.text, short(from), short(to));
                any = true;
            }
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_stands_beside_its_figure_and_numbers_are_short() {
        let mut record = Record::new();
        record.set("model", "m.onnx").set("latency", 6.339_061_234).set("peak_memory", 127_684_608_usize);
        record.set("accuracy", 0.945_499_999_999_999_8).set("accuracy_from", 0.937_122_7).set("accuracy_to", 0.953_295);
        record.set("preprocessing_from", "flags").set("eer", Value::Missing);
        let rows: Vec<Vec<String>> =
            table(&record).rows.into_iter().map(|row| row.into_iter().map(|cell| cell.text).collect()).collect();
        let wanted = [
            ["model", "m.onnx"],
            ["latency (ms)", "6.33906"],
            ["peak_memory (bytes)", "127684608"],
            ["accuracy", "0.9455 [0.937123, 0.953295]"],
            ["preprocessing_from", "flags"],
        ];
        assert_eq!(rows, wanted);
        assert_eq!([0.999_999_966, 1.0].map(rounded), ["0.999999966", "1"]);
        assert_eq!([1234567.0, 0.000_012_345_678, -0.5, 0.0].map(rounded), ["1234567", "0.0000123457", "-0.5", "0"]);
    }

    #[test]
    fn tables_have_groups_of_digits_and_intervals() {
        let mut record = Record::new();
        record.set("operations", 467_620_864_usize).set("throughput", 134.029_9).set("eer", 0.0583);
        record.set("eer_from", 0.050_66).set("eer_to", 0.066_48);
        let columns: Vec<String> = ["operations", "throughput", "eer"].map(str::to_owned).to_vec();
        let mut cells = vec![columns.iter().map(|name| word(&record.get(name).unwrap().word())).collect::<Vec<_>>()];
        readable(&columns, &[record.clone()], &mut cells);
        assert!(with_intervals(&columns, &[record], &mut cells));
        let texts: Vec<&str> = cells[0].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(texts, ["467,620,864", "134.03", "0.0583 [0.051, 0.066]"]);
    }
}
