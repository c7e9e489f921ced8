//! Files of scores: delimited text, `.npy` or `.parquet`.

use std::io::Read;
use std::path::Path;

use ndarray::ArrayViewD;
use ndarray_npy::ViewNpyExt;
use polars::prelude::DataType;

use pdloss_embed::delimited::{Blanks, Record, Table};
use pdloss_embed::files::{ending, open_file};
use pdloss_embed::guard::guarded;

use crate::table::{read_parquet, read_text};
use crate::{Error, Result};

/// More rows than this are no list of scores but a damaged file.
const MOST_ROWS: usize = 1 << 28;
/// A header of an .npy file is short and flat; its parser takes a stack frame for each bracket.
const MOST_BRACKETS: usize = 16;

/// Scores in the order of their file, none of them NaN.
#[derive(Clone, Debug, PartialEq)]
struct Scores {
    values: Vec<f64>,
    /// What one of them is called there: its line, row or place, from 1.
    unit: &'static str,
    /// The number of each; its place where there is none.
    numbers: Option<Vec<usize>>,
}

/// Reads scores of this `kind` by the file's ending: `.npy`, `.parquet`, else delimited text; adds what is assumed to `notes`.
/// With `failures` NaN is let through, and a missing value of parquet is one.
///
/// # Errors
/// [`Error::File`], [`Error::Data`] naming file and line (also of NaN), [`Error::Usage`] where a column has to be chosen.
pub(super) fn read(
    path: &Path,
    column: Option<&str>,
    kind: &str,
    failures: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<f64>> {
    let scores = match ending(path).as_str() {
        "npy" => read_npy(path)?,
        "parquet" => read_columns(path, column, failures)?,
        _ => read_delimited(path, column, notes)?,
    };
    if let Some(at) = scores.values.iter().position(|score| score.is_nan()).filter(|_| !failures) {
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

fn read_delimited(path: &Path, column: Option<&str>, notes: &mut Vec<String>) -> Result<Scores> {
    // A comment leaves an empty line, so that lines keep their numbers.
    let text: String = read_text(path)?
        .split_inclusive(['\n', '\r'])
        .map(|line| {
            if line.trim_start().starts_with('#') { line.trim_start_matches(|c| c != '\n' && c != '\r') } else { line }
        })
        .collect();
    if text.trim().is_empty() {
        return Ok(Scores { values: Vec::new(), unit: "line", numbers: None });
    }
    let is_header = |first: &[Record<'_>]| !first[0].fields.iter().any(|field| is_number(field));
    let table = Table::parse(path, text, Blanks::Separate, is_header)?;
    let at = match (column, table.width()?) {
        (Some(column), _) => table.column_of(column).map_err(|e| Error::Usage(e.to_string()))?,
        (None, width) => match table.column(&["score"])? {
            Some(at) => at,
            None if width == 1 => {
                if let [name] = table.header() {
                    notes.push(format!("{}: '{name}' is taken for the name of the column", path.display()));
                }
                0
            }
            None => return Err(choose(path, table.header(), width)),
        },
    };
    let (mut values, mut numbers) = (Vec::new(), Vec::new());
    for record in table.records() {
        let record = record?;
        let field = record.fields[at].as_ref();
        let value: f64 =
            field.parse().map_err(|_| table.error(record.line, &format!("'{field}' is not one number")))?;
        if value.is_infinite() && field.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(table.error(record.line, &format!("{field} is beyond what a number of 64 bits holds")));
        }
        values.push(value);
        numbers.push(record.line);
    }
    Ok(Scores { values, unit: "line", numbers: Some(numbers) })
}

/// Several columns, and none of them asked for.
fn choose(path: &Path, names: &[String], width: usize) -> Error {
    let names = if names.is_empty() { format!("1 to {width}") } else { names.join(", ") };
    Error::Usage(format!("{}: choose one by --column; its columns are {names}", path.display()))
}

fn read_npy(path: &Path) -> Result<Scores> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    let wrong = |e: &dyn std::fmt::Display| {
        Error::data(path, format!("wanted an .npy file of float32 or float64, little-endian: {e}"))
    };
    let header = &bytes[..bytes.len().min(1 << 16)];
    let header = &header[..header.iter().position(|&byte| byte == b'\n').unwrap_or(header.len())];
    if header.iter().filter(|byte| b"([{".contains(byte)).count() > MOST_BRACKETS {
        return Err(wrong(&"its header is nested too deep"));
    }
    // A view is of the bytes that are there, whatever the header claims; it wants them where a number may stand.
    let first = bytes.as_ptr().align_offset(align_of::<f64>()).min(align_of::<f64>());
    let bytes = if first == 0 { bytes } else { [vec![0; align_of::<f64>()], bytes].concat() };
    let start = if first == 0 { 0 } else { align_of::<f64>() };
    let bytes = &bytes[start..];
    let (shape, values): (Vec<usize>, Vec<f64>) = guarded(path, || match ArrayViewD::<f64>::view_npy(bytes) {
        Ok(values) => Ok((values.shape().into(), values.iter().copied().collect())),
        Err(double) => match ArrayViewD::<f32>::view_npy(bytes) {
            Ok(values) => Ok((values.shape().into(), values.iter().map(|&value| f64::from(value)).collect())),
            Err(_) => Err(wrong(&double)),
        },
    })?;
    if shape.iter().filter(|&&length| length != 1).count() > 1 {
        let problem =
            format!("holds an array {shape:?}; wanted one score a pair, in one row: take a column, or numpy.ravel");
        return Err(Error::data(path, problem));
    }
    Ok(Scores { values, unit: "value", numbers: None })
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
            by_name("score").or((names.len() == 1).then_some(0)).ok_or_else(|| choose(path, &names, names.len()))?
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
        Ok(Scores { values: values.into_iter().flatten().collect(), unit: "row", numbers: None })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(name: &str, bytes: &[u8], column: Option<&str>) -> std::result::Result<Vec<f64>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let at = folder.path().display().to_string() + "/";
        read(&folder.path().join(name), column, "genuine", false, &mut Vec::new())
            .map_err(|e| e.to_string().replace(&at, ""))
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
    fn npy_files_hold_what_they_claim() {
        let npy = |shape: &str, kind: &str, data: &[u8]| {
            let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
            header.push_str(&" ".repeat(117 - header.len()));
            header.push('\n');
            [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), data].concat()
        };
        let two: Vec<u8> = [0.5_f64, -1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(scores("s.npy", &npy("(2,)", "<f8", &two), None), Ok(vec![0.5, -1.0]));
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
        assert!(scores("s.npy", &npy("(2,)", "<i8", &[0; 16]), None).unwrap_err().contains("float32 or float64"));
    }
}
