//! Tables as CSV: cells that a spreadsheet would take for a formula are marked, and read back as they were.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;

use super::Record;
use super::schema::type_of;
use super::value::Value;

/// Writes rows under a header of all their columns.
pub(super) fn write(file: &mut File, rows: &[Record]) -> std::io::Result<()> {
    let names = Record::columns(rows);
    let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(file));
    writer.write_record(names.iter().map(|name| marked(name).into_owned()))?;
    for row in rows {
        let cell = |name: &&str| match row.get(name) {
            Some(Value::Text(text)) => marked(text).into_owned(),
            Some(value) => value.word(),
            None => String::new(),
        };
        writer.write_record(names.iter().map(cell))?;
    }
    writer.into_inner().map_err(|e| std::io::Error::other(e.to_string()))?.flush()
}

/// The rows of a table with a header; columns that the schema knows have its type, others the one that all their cells fit.
///
/// # Errors
/// A sentence, with its line.
pub(super) fn read(text: &str) -> Result<Vec<Record>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        if let ([], [only]) = (records.as_slice(), record.iter().collect::<Vec<_>>().as_slice())
            && let Some(other) = [';', '\t', '|'].into_iter().find(|&other| only.contains(other))
        {
            return Err(format!(
                "has {other:?} between the words of its header; wanted a table whose cells commas part, and 0.5 for 0,5"
            ));
        }
        records.push(record);
    }
    let Some(header) = records.first() else { return Ok(Vec::new()) };
    let names: Vec<Cow<'_, str>> = header.iter().map(|name| unmarked(name.trim())).collect();
    if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
        return Err(format!("has two columns '{}'", names[twice]));
    }
    let mut rows = vec![Record::new(); records.len() - 1];
    for (at, name) in names.iter().enumerate() {
        let cells = || records[1..].iter().map(|record| record.get(at).unwrap_or_default());
        let values: Vec<Value> = match type_of(name) {
            Some(_) => cells().map(as_text).collect(),
            None => {
                let guessed: Vec<Value> = cells().map(|cell| Value::guess(cell.trim())).collect();
                let kinds = |is: fn(&Value) -> bool| guessed.iter().filter(|value| is(value)).count();
                let flags = kinds(|value| matches!(value, Value::Flag(_)));
                let numbers = kinds(|value| value.number().is_some());
                let missing = kinds(|value| *value == Value::Missing);
                let agree = flags + missing == guessed.len() || numbers + missing == guessed.len();
                if agree { guessed } else { cells().map(as_text).collect() }
            }
        };
        rows.iter_mut().zip(values).for_each(|(row, value)| {
            row.append(name.as_ref(), value);
        });
    }
    Ok(rows)
}

fn as_text(cell: &str) -> Value {
    match cell.trim() {
        "" => Value::Missing,
        _ => Value::Text(unmarked(cell).into_owned()),
    }
}

/// Whether a spreadsheet would read more than a text, were the text not marked.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

/// A text as it is, or with the `'` before it that makes spreadsheets take it for text.
fn marked(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

fn unmarked(cell: &str) -> Cow<'_, str> {
    match cell.strip_prefix('\'') {
        Some(text) if is_formula(text) => Cow::Owned(text.to_owned()),
        _ => Cow::Borrowed(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_marked_and_come_back() {
        for text in ["=1+1", "+a", "-b", "@c", "'=d", "''-e", "\tf", "it's", "'quoted'", "a=b", "", "＝1"] {
            let cell = marked(text);
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '＝']), "{cell}");
            assert_eq!(unmarked(&cell), text);
        }
    }

    #[test]
    fn a_table_reads_back_with_its_types() {
        let mut row = Record::new();
        row.set("model", "=cmd|x").set("images", 12_usize).set("eer_threshold", -0.25).set("inline", true);
        row.set("eer", Value::Missing).set("=sum", "-5").set("batch_note", "a, \"b\"\nc").set("part", "007");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        write(&mut File::create(&path).unwrap(), std::slice::from_ref(&row)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("'=cmd|x,12,-0.25,true,,'-5,"), "{text}");
        let back: Vec<Record> = read(&text).unwrap().into_iter().map(Record::typed).collect();
        assert_eq!(back, [row]);
    }

    #[test]
    fn what_is_no_table_is_named() {
        for other in ["model;recall@1\na;0,5\n", "model\trecall@1\na\t0.5\n", "model|recall@1|x\n", "a;b\n"] {
            assert!(read(other).unwrap_err().contains("wanted a table whose cells commas part"), "{other}");
        }
        assert!(read("a,b\n1\n").unwrap_err().contains("line: 2"), "{:?}", read("a,b\n1\n"));
        assert_eq!(read("a,a\n1,2\n").unwrap_err(), "has two columns 'a'");
        assert_eq!(read("images\r\n3\r\n").unwrap()[0].get("images"), Some(&"3".into()));
    }
}
