//! Files of scores: delimited text, `.npy` or `.parquet`.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::{ReadNpyExt, ReadableElement};
use polars::prelude::DataType;

use pdloss_embed::dataset::is_image;
use pdloss_embed::delimited::{Blanks, Delimiter, Record, Table, lines, plain};
use pdloss_embed::files::{ending, open_file};
use pdloss_embed::guard::guarded;
use pdloss_embed::npy;

use crate::table::{read_parquet, read_text};
use crate::{Error, Result};

/// More rows than this are no list of scores but a damaged file.
const MOST_ROWS: usize = 1 << 28;
/// What spreadsheets write for a value that they could not work out; no comment, though it begins like one.
const BROKEN_CELLS: [&str; 8] = ["#N/A", "#DIV/0!", "#VALUE!", "#NUM!", "#REF!", "#NAME?", "#NULL!", "#ERROR!"];

/// Scores in the order of their file, none of them NaN.
#[derive(Clone, Debug, PartialEq)]
struct Scores {
    values: Vec<f64>,
    /// What one of them is called there: its line, row or place, from 1.
    unit: &'static str,
    /// The number of each; its place where there is none.
    numbers: Option<Vec<usize>>,
    /// What their column is called.
    name: Option<String>,
}

/// What is asked for of a file of scores.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// The column, by name or number.
    pub(super) column: Option<&'a str>,
    /// Whether the scores are distances.
    pub(super) distance: bool,
    /// Whether NaN is a failure that counts, and is let through.
    pub(super) failures: bool,
}

/// Reads scores of this `kind` by the file's ending: `.npy`, `.parquet`, else delimited text; adds what is assumed to `notes`.
/// Where failures count, a missing value of parquet is NaN, too.
///
/// # Errors
/// [`Error::File`], [`Error::Data`] naming file and line (also of NaN), [`Error::Usage`] where a column has to be chosen.
pub(super) fn read(path: &Path, asked: Asked<'_>, kind: &str, notes: &mut Vec<String>) -> Result<Vec<f64>> {
    let column = asked.column;
    let scores = match ending(path).as_str() {
        "npy" => match column {
            None => read_npy(path)?,
            Some(column) => {
                let path = path.display();
                return Err(Error::Usage(format!(
                    "--column {column}: {path} is one array and has no columns; wanted text or .parquet, or no --column"
                )));
            }
        },
        "parquet" => read_columns(path, column, asked.failures)?,
        _ => read_delimited(path, column, notes)?,
    };
    notes.extend(scores.name.as_ref().and_then(|name| doubt_of_name(path, name, asked.distance)));
    if let Some(at) = scores.values.iter().position(|score| score.is_nan()).filter(|_| !asked.failures) {
        let number = scores.numbers.as_ref().map_or(at + 1, |numbers| numbers[at]);
        let (unit, count) = (scores.unit, scores.values.len());
        return Err(Error::data(
            path,
            format!(
                "{unit} {number}: {kind} score {} of {count} is NaN, which is neither above nor below a threshold; \
                 --count-failures counts such pairs as failures to acquire",
                at + 1
            ),
        ));
    }
    Ok(scores.values)
}

fn is_number(field: &str) -> bool {
    field.parse::<f64>().is_ok()
}

/// Whether the first line names columns: it has no number; or it is what pandas writes above a series, `,0` over an index.
fn is_header(records: &[Record<'_>]) -> bool {
    let [first, others @ ..] = records else { return false };
    if !first.fields.iter().any(|field| is_number(field)) {
        return true;
    }
    let counts = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    let [index, behind @ ..] = first.fields.as_slice() else { return false };
    index.is_empty() && behind.iter().all(|field| counts(field)) && others.iter().all(|r| counts(&r.fields[0]))
}

/// What is said of a `0` above nothing but fractions: it is a score, or what pandas writes above a column without a name.
fn doubt_of_zero(path: &Path, table: &Table) -> Option<String> {
    let mut records = table.ragged().filter_map(Result::ok);
    let first = records.next()?;
    let mut fractions = records.map(|record| record.fields[0].contains(['.', 'e', 'E'])).peekable();
    let is_alone = table.header().is_empty() && first.fields == ["0"] && fractions.peek().is_some();
    (is_alone && fractions.all(|fraction| fraction)).then(|| {
        let (path, line) = (path.display(), first.line);
        format!("{path}: line {line}: 0 is taken for a score; pandas writes it above a column without a name: take it out if it is that")
    })
}

/// The first line where numbers seem to be written with a comma for the point (`0,85`, `9,1E-05`): every record is two columns of
/// digits that a comma parts, or one number. With whether one field is what is sure to be meant.
fn decimal_comma(table: &Table) -> Option<(usize, String, bool)> {
    let whole = |field: &str| field.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    let behind = |field: &str| {
        let (digits, exponent) = field.split_once(['e', 'E']).unwrap_or((field, "0"));
        digits.bytes().all(|byte| byte.is_ascii_digit()) && exponent.parse::<i32>().is_ok()
    };
    let columns = table.header().len();
    if table.delimiter() != Delimiter::Comma || columns > 2 {
        return None;
    }
    let (mut first, mut one) = (None, columns == 1);
    for record in table.ragged().filter_map(Result::ok) {
        match record.fields.as_slice() {
            [before, after] if whole(before) && behind(after) => {
                first.get_or_insert_with(|| (record.line, record.fields.join(",")));
            }
            [number] if is_number(number) && columns < 2 => one = true,
            _ => return None,
        }
    }
    first.map(|(line, text)| (line, text, one))
}

const DECIMAL_COMMA: &str = "; numbers with a comma for the point are not read: write 0.5 for 0,5";

/// What is said where the scores' own name says that they are the contrary of what they are read as.
fn doubt_of_name(path: &Path, name: &str, distance: bool) -> Option<String> {
    let lower = name.to_lowercase();
    let far = ["dist", "euclid", "l2"].iter().any(|word| lower.contains(word));
    let near = !far && ["simil", "cosine", "likelihood", "llr"].iter().any(|word| lower.contains(word));
    let path = path.display();
    match (far, near, distance) {
        (true, _, false) => {
            Some(format!("{path}: '{name}' is read as scores, larger is more alike; --distance turns distances round"))
        }
        (_, true, true) => {
            Some(format!("{path}: '{name}' is read as distances by --distance, smaller is more alike; are they?"))
        }
        _ => None,
    }
}

/// What is said of columns that tell kinds of pairs apart.
fn doubts_of(path: &Path, table: &Table, at: usize) -> Vec<String> {
    /// What files of both kinds call the column that tells them apart.
    const KIND: [&str; 8] = ["label", "same", "issame", "is_same", "target", "genuine", "match", "kind"];
    let path = path.display();
    let mut doubts = Vec::new();
    for (column, name) in table.header().iter().enumerate().filter(|(column, _)| *column != at) {
        let values =
            table.ragged().filter_map(Result::ok).filter_map(|record| Some(record.fields.get(column)?.to_string()));
        if !KIND.contains(&plain(name).as_str()) {
            continue;
        }
        let values: BTreeSet<String> = values.collect();
        if values.len() == 2 {
            doubts.push(format!(
                "{path}: column '{name}' holds two kinds, {}, and all rows are read as one: wanted a file of each kind",
                values.into_iter().collect::<Vec<_>>().join(" and ")
            ));
        }
    }
    doubts
}

fn read_delimited(path: &Path, column: Option<&str>, notes: &mut Vec<String>) -> Result<Scores> {
    let whole = read_text(path)?;
    let is_comment = |line: &str| {
        let begins = line.trim_start();
        begins.starts_with('#') && !BROKEN_CELLS.iter().any(|cell| begins.starts_with(cell))
    };
    // A comment leaves an empty line, so that lines keep their numbers.
    let text: String = whole
        .split_inclusive(['\n', '\r'])
        .map(|line| if is_comment(line) { line.trim_start_matches(|c| c != '\n' && c != '\r') } else { line })
        .collect();
    if text.trim().is_empty() {
        return Ok(Scores { values: Vec::new(), unit: "line", numbers: None, name: None });
    }
    let table = Table::parse(path, text, Blanks::Separate, is_header)?;
    let comma = decimal_comma(&table);
    if let Some((line, text, true)) = comma {
        return Err(table.error(line, &format!("'{text}' is not one number{DECIMAL_COMMA}")));
    }
    let commas = if comma.is_some() { DECIMAL_COMMA } else { "" };
    let width = table.width()?;
    let at = match column {
        Some(column) => table.column_of(column).map_err(|e| Error::Usage(e.to_string()))?,
        None => match table.column(&["score"])? {
            Some(at) => at,
            None if width == 1 => {
                if let [name] = table.header() {
                    notes.push(format!("{}: '{name}' is taken for the name of the column", path.display()));
                }
                0
            }
            None => return Err(choose(path, table.header(), width, commas)),
        },
    };
    if let Some((line, names)) = table.header_line() {
        let name = names.get(at).map_or("", String::as_str);
        let begins = name.trim_start_matches(['-', '+', '.']).starts_with(|c: char| c.is_ascii_digit());
        let is_slip = !is_number(name) && (begins || name.is_empty());
        if is_slip || names.iter().any(|name| is_image(name)) {
            return Err(table.error(line, &format!("'{name}' is not one number, and the line names no columns")));
        }
        let is_named =
            column.is_some_and(|column| !is_number(column)) || names.iter().any(|name| plain(name) == "score");
        if width > 1 && !is_named {
            notes.push(format!(
                "{}: line {line}, '{}', is taken for the names of the columns",
                path.display(),
                names.join(", ")
            ));
        }
    }
    for (line, text) in lines(&whole).filter(|(_, line)| width > 1 && is_comment(line)) {
        let alone = Table::parted(path, text.to_owned(), table.delimiter(), |_| false)?;
        let fields = alone.ragged().next().transpose()?.map(|record| record.fields).unwrap_or_default();
        if fields.len() == width && is_number(&fields[at]) {
            let problem = "begins with '#', as a comment does, and is a row otherwise; take the '#' off, or put its cell into quotes";
            return Err(table.error(line, problem));
        }
    }
    if !commas.is_empty() {
        notes.push(format!("{}: two columns of whole numbers{commas}", path.display()));
    }
    notes.extend(doubts_of(path, &table, at));
    notes.extend(doubt_of_zero(path, &table));
    let name = table.header().get(at).cloned();
    let (mut values, mut numbers) = (Vec::new(), Vec::new());
    for record in table.records() {
        let record = record?;
        let field = record.fields[at].as_ref();
        let value: f64 = field.parse().map_err(|_| {
            let comma = field.replacen(',', ".", 1).parse::<f64>().is_ok() && field.contains(',');
            let cure = if comma { DECIMAL_COMMA } else { "" };
            table.error(record.line, &format!("'{field}' is not one number{cure}"))
        })?;
        if value.is_infinite() && field.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(table.error(record.line, &format!("{field} is beyond what a number of 64 bits holds")));
        }
        values.push(value);
        numbers.push(record.line);
    }
    Ok(Scores { values, unit: "line", numbers: Some(numbers), name })
}

/// The first few names, and how many there are.
fn first_of(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        None => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Several columns, and none of them asked for.
fn choose(path: &Path, names: &[String], width: usize, cure: &str) -> Error {
    let names = if names.is_empty() { format!("1 to {width}") } else { first_of(names) };
    Error::Usage(format!("{}: choose one by --column; its columns are {names}{cure}", path.display()))
}

const DIGITS: &str = "it has whole numbers beyond 2^53, of whose digits scores lose some";

/// Shape and values of an `.npy` file of this type, of which each must be one of 64 bits.
fn numbers_of<T: ReadableElement + Copy>(
    bytes: &[u8],
    number: impl Fn(T) -> Option<f64>,
) -> std::result::Result<(Vec<usize>, Vec<f64>), String> {
    let values = ArrayD::<T>::read_npy(bytes).map_err(|e| e.to_string())?;
    let numbers = values.iter().map(|&value| number(value)).collect::<Option<_>>();
    Ok((values.shape().into(), numbers.ok_or(DIGITS)?))
}

/// A whole number that is one of 64 bits exactly.
fn whole(value: i64) -> Option<f64> {
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    #[expect(clippy::cast_precision_loss, reason = "it is exact")]
    (value.unsigned_abs() <= EXACT).then_some(value as f64)
}

fn read_npy(path: &Path) -> Result<Scores> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    let wrong = |e: &dyn std::fmt::Display| {
        Error::data(path, format!("wanted an .npy file of numbers of 64, 32, 16 or 8 bits: {e}"))
    };
    npy::check(&bytes).map_err(|problem| wrong(&problem))?;
    let bytes = npy::widened(bytes);
    let (shape, values) = guarded(path, || {
        numbers_of::<f64>(&bytes, Some)
            .or_else(|problem| numbers_of::<f32>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| {
                numbers_of::<i64>(&bytes, whole).map_err(|own| if own == DIGITS { own } else { problem })
            })
            .or_else(|problem| numbers_of::<i32>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| numbers_of::<i16>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| numbers_of::<i8>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| {
                let exact = |value: u64| i64::try_from(value).ok().and_then(whole);
                numbers_of::<u64>(&bytes, exact).map_err(|own| if own == DIGITS { own } else { problem })
            })
            .or_else(|problem| numbers_of::<u32>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| numbers_of::<u16>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .or_else(|problem| numbers_of::<u8>(&bytes, |v| Some(v.into())).map_err(|_| problem))
            .map_err(|problem| wrong(&problem))
    })?;
    if shape.iter().filter(|&&length| length != 1).count() > 1 {
        let problem =
            format!("holds an array {shape:?}; wanted one score a pair, in one row: take a column, or numpy.ravel");
        return Err(Error::data(path, problem));
    }
    Ok(Scores { values, unit: "value", numbers: None, name: None })
}

fn read_columns(path: &Path, column: Option<&str>, failures: bool) -> Result<Scores> {
    let table = read_parquet(path, MOST_ROWS)?;
    let names: Vec<String> = table.get_column_names().iter().map(|name| name.to_string()).collect();
    let by_name = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let at = match column {
        Some(column) => {
            let by_number = || column.parse::<usize>().ok()?.checked_sub(1).filter(|&at| at < names.len());
            by_name(column).or_else(by_number).ok_or_else(|| {
                let names = names.join(", ");
                Error::Usage(format!("{}: there is no column '{column}'; its columns are {names}", path.display()))
            })?
        }
        None => {
            by_name("score").or((names.len() == 1).then_some(0)).ok_or_else(|| choose(path, &names, names.len(), ""))?
        }
    };
    let name = &names[at];
    guarded(path, || {
        let wrong = |e: polars::prelude::PolarsError| Error::data(path, format!("column {name}: {e}"));
        let column = table.column(name).map_err(wrong)?;
        if !column.dtype().is_primitive_numeric() {
            let kind = column.dtype();
            return Err(Error::data(path, format!("column {name} is of type {kind}; wanted numbers")));
        }
        let scores = column.cast(&DataType::Float64).map_err(wrong)?;
        let missing = failures.then_some(f64::NAN);
        let values: Vec<Option<f64>> = scores.f64().map_err(wrong)?.iter().map(|value| value.or(missing)).collect();
        if let Some(row) = values.iter().position(Option::is_none) {
            return Err(Error::data(path, format!("column {name}: row {} has no value", row + 1)));
        }
        Ok(Scores {
            values: values.into_iter().flatten().collect(),
            unit: "row",
            numbers: None,
            name: Some(name.clone()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(name: &str, bytes: &[u8], column: Option<&str>) -> std::result::Result<Vec<f64>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let at = folder.path().display().to_string() + "/";
        let asked = Asked { column, ..Asked::default() };
        read(&folder.path().join(name), asked, "genuine", &mut Vec::new()).map_err(|e| e.to_string().replace(&at, ""))
    }

    #[test]
    fn text_comes_in_any_delimiter_with_or_without_header() {
        let wanted = Ok(vec![0.5, -1.0]);
        for text in
            ["0.5\n-1\n", "\u{feff}0.5\r\n-1", "# s\n\n0.5\n # t\n-1\n\n", "score\n0.5\n-1\n", "\"0.5\"\n\"-1\"\n"]
        {
            for name in ["s.txt", "s.csv"] {
                assert_eq!(scores(name, text.as_bytes(), None), wanted, "{text:?}");
            }
        }
        for text in
            ["a,score\nx,0.5\ny,-1\n", "a;score\nx;0.5\ny;-1\n", "a\tscore\nx\t0.5\ny\t-1\n", "a score\nx 0.5\ny -1\n"]
        {
            assert_eq!(scores("s.txt", text.as_bytes(), None), wanted, "{text:?}");
            assert_eq!(scores("s.txt", text.as_bytes(), Some("2")), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_score_is_named_with_its_line() {
        let message = |name: &str, bytes: &[u8], column: Option<&str>| scores(name, bytes, column).unwrap_err();
        assert_eq!(message("s.txt", b"0.1\n# c\nhigh\n", None), "s.txt: line 3: 'high' is not one number");
        for cell in BROKEN_CELLS {
            let text = format!("0.5\n0.25\n{cell}\n# a comment\n");
            assert_eq!(message("s.txt", text.as_bytes(), None), format!("s.txt: line 3: '{cell}' is not one number"));
        }
        let nan = message("s.csv", b"score\n1\nnan\n", None);
        assert!(nan.starts_with("s.csv: line 3: genuine score 2 of 2 is NaN"), "{nan}");
        assert!(message("s.txt", b"1e400\n", None).contains("line 1: 1e400 is beyond"));
        assert_eq!(scores("s.txt", b"inf\n-inf\n", None), Ok(vec![f64::INFINITY, f64::NEG_INFINITY]));
        assert!(
            message("s.txt", b"0.1 0.2\n0.3 0.4\n", None).contains("choose one by --column; its columns are 1 to 2")
        );
        assert!(message("s.csv", b"a,b\n1,2\n", Some("c")).contains("no column 'c'"));
        assert!(message("s.csv", b"a,b\n1,2\n3\n", Some("a")).contains("line 3"));
        assert!(message("s.txt", b"\xff\xfe0\0", None).contains("UTF-16"));
    }

    #[test]
    fn parquet_columns_of_few_bits_are_named() {
        use parquet::data_type::Int32Type;
        use parquet::file::writer::SerializedFileWriter;
        let of = |kind: &str| {
            let schema = format!("message m {{ required int32 score {kind}; }}");
            let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(&schema).unwrap());
            let mut bytes = Vec::new();
            let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&[3, 1], None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
            writer.close().unwrap();
            scores("s.parquet", &bytes, None)
        };
        assert_eq!(of(""), Ok(vec![3.0, 1.0]));
        for (kind, called) in [("(INTEGER(8,false))", "UInt8"), ("(INTEGER(16,true))", "Int16")] {
            let error = of(kind).unwrap_err();
            assert!(error.contains(&format!("column 'score' ({called}) has numbers of fewer than 32 bits")), "{error}");
        }
    }

    #[test]
    fn npy_files_hold_what_they_claim() {
        let npy = |shape: &str, kind: &str, data: &[u8]| {
            let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
            header.push_str(&" ".repeat(117 - header.len()));
            header.push('\n');
            [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), data].concat()
        };
        let two: Vec<u8> = [0.5_f64, -1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(scores("s.npy", &npy("(2,)", "<f8", &two), None), Ok(vec![0.5, -1.0]));
        let halves = [0x00, 0x38, 0x00, 0xbc];
        assert_eq!(scores("s.npy", &npy("(2,)", "<f2", &halves), None), Ok(vec![0.5, -1.0]));
        let two: Vec<u8> = [0.5_f32, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(
            scores("s.npy", &npy("(2,)", "<f4", &two), None)
                .unwrap_err()
                .contains("value 2: genuine score 2 of 2 is NaN")
        );
        for shape in ["(1000000000000,)", "(4611686018427387904, 4)", "(3,)", "((((((((((((((((((2,))))))))))))))))))"]
        {
            let message = scores("s.npy", &npy(shape, "<f4", &two), None).unwrap_err();
            assert!(message.contains("s.npy: "), "{message}");
        }
        let whole = [3_i64, -7].map(i64::to_le_bytes).concat();
        assert_eq!(scores("s.npy", &npy("(2,)", "<i8", &whole), None), Ok(vec![3.0, -7.0]));
        assert_eq!(scores("s.npy", &npy("(2,)", "|u1", &[3, 200]), None), Ok(vec![3.0, 200.0]));
        let long = [3_i64, -(1 << 53) - 1].map(i64::to_le_bytes).concat();
        assert!(scores("s.npy", &npy("(2,)", "<i8", &long), None).unwrap_err().contains("whole numbers beyond 2^53"));
        assert!(scores("s.npy", &npy("(2,)", "<c8", &[0; 16]), None).unwrap_err().contains("numbers of 64, 32, 16"));
    }
}
