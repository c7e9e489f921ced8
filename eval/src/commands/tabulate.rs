//! The command `tabulate`: many results in one table.

use std::cmp::Ordering;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::{Error, Result};
use pdloss_embed::files::{ending, folder_exists, write_atomically};

use crate::runs::Run;
use crate::table::{Cell, Filter, Kind, Record, Sheet, Value, matches};

const EXAMPLES: &str = "Examples:
  pdloss-eval tabulate results/*.json --sort recall@1
  pdloss-eval tabulate runs/* --where dataset=cub* --where 'recall@1>0.5' --out table.md
  pdloss-eval tabulate runs/* --pivot dataset --measure recall@1,map@r --out table.tex

The columns 'result' (which file), 'model' and 'dataset' (last part of the data's path) are made where they lack.
LaTeX wants \\usepackage{booktabs}.";

/// Arguments of `tabulate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TabulateArgs {
    /// Result files (.json, .csv, .parquet), or folders that --save-run or `pdloss train` wrote
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// Only rows for which this holds: =, !=, <, <=, > or >= between a column and a value; * stands for any letters
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub filters: Vec<Filter>,
    /// Columns, in this order; * stands for any letters [default: every column for .csv, .json and .parquet; result,
    /// model, dataset and the measures for people]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Sort by this column, measures from the best on; -COLUMN turns it round
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// A column for each value of this one
    #[arg(long, value_name = "COLUMN")]
    pub pivot: Option<String>,
    /// What stands in the pivoted columns
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', default_value = "recall@1", requires = "pivot")]
    pub measure: Vec<String>,
    /// What tells the rows of a pivoted table apart
    #[arg(long, value_name = "COLUMN", default_value = "model", requires = "pivot")]
    pub rows: String,
    /// Digits after the point, for people
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub digits: usize,
    /// Write the table: .csv, .json, .parquet, or with the best in bold .md or .tex
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which way a measure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Good {
    High,
    Low,
}

/// A column of the table that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    good: Option<Good>,
}

impl Column {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), good: good(name) }
    }
}

/// The good direction of a measure; `None` for what is no measure.
fn good(column: &str) -> Option<Good> {
    let name = column.trim_start_matches("last ").trim_start_matches("best ");
    if name.ends_with("_from") || name.ends_with("_to") {
        return None;
    }
    let starts = |of: &[&str]| of.iter().any(|start| name.starts_with(start));
    if starts(&["recall@", "tar@far="]) || ["r_precision", "map@r", "accuracy", "auc", "d_prime"].contains(&name) {
        Some(Good::High)
    } else if starts(&["fnmr@fmr="]) || ["eer", "zero_fmr", "zero_fnmr", "loss"].contains(&name) {
        Some(Good::Low)
    } else {
        None
    }
}

/// Where the table goes.
enum Sink {
    Data(Kind),
    Latex,
    Markdown,
}

impl Sink {
    fn of(path: &Path) -> Result<Self> {
        let sink = match ending(path).as_str() {
            "tex" => Self::Latex,
            "md" => Self::Markdown,
            "csv" | "json" | "parquet" => return Kind::of("--out", path).map(Self::Data),
            _ => {
                return Err(Error::Usage(format!(
                    "--out {}: wanted a file that ends in .csv, .json, .parquet, .md or .tex",
                    path.display()
                )));
            }
        };
        folder_exists("--out", path)?;
        Ok(sink)
    }
}

/// Reads all results, makes the table, writes it to `stdout` and where it is wanted, and returns its rows.
///
/// # Errors
/// [`Error::Usage`] for columns that are not there and two results in one pivoted cell; those of reading and writing.
pub fn run(args: &TabulateArgs, stdout: &mut dyn Write) -> Result<Vec<Record>> {
    let sink = args.out.as_deref().map(|path| Sink::of(path).map(|sink| (path, sink))).transpose()?;
    let mut rows = Vec::new();
    for path in &args.results {
        rows.extend(self::rows(&Run::read(path)?, &path.display().to_string()));
    }
    for filter in &args.filters {
        known(&rows, &filter.column, "--where")?;
        rows.retain(|row| filter.accepts(row));
        if rows.is_empty() {
            let text = format!("--where {}: none of the results is left", filter.column);
            return Err(Error::Usage(text));
        }
    }
    let sort = args.sort.as_deref().map(|by| by.strip_prefix('-').map_or((by, false), |by| (by, true)));
    let in_rows = sort.filter(|(by, _)| Record::columns(&rows).contains(by));
    if let Some((by, turned)) = in_rows {
        sort_by(&mut rows, by, good(by), turned);
    }
    let (rows, columns) = match &args.pivot {
        Some(pivot) => {
            let (mut rows, columns) = pivoted(&rows, pivot, &args.rows, &args.measure)?;
            if let Some((by, turned)) = sort.filter(|_| in_rows.is_none()) {
                known(&rows, by, "--sort")?;
                let column = columns.iter().find(|column| column.name == by);
                sort_by(&mut rows, by, column.and_then(|column| column.good), turned);
            }
            (rows, columns)
        }
        None => {
            sort.map_or(Ok(()), |(by, _)| known(&rows, by, "--sort"))?;
            let columns = Record::columns(&rows).into_iter().map(Column::new).collect();
            (rows, columns)
        }
    };
    let chosen = chosen(&rows, &columns, &args.columns)?;
    let for_people =
        if args.columns.is_empty() && args.pivot.is_none() { usual(&rows, &chosen) } else { chosen.clone() };
    let sheet = sheet(&rows, &for_people, args.digits);
    let only = |columns: &[Column]| {
        let picked = |row: &Record| {
            let mut picked = Record::new();
            for Column { name, .. } in columns {
                picked.set(name.as_str(), row.get(name).cloned().unwrap_or(Value::Missing));
            }
            picked
        };
        rows.iter().map(picked).collect::<Vec<_>>()
    };
    match &sink {
        Some((path, Sink::Data(kind))) => kind.write(path, &Record::table(&only(&chosen)))?,
        Some((path, Sink::Latex)) => write_atomically(path, |file| file.write_all(sheet.latex().as_bytes()))?,
        Some((path, Sink::Markdown)) => write_atomically(path, |file| file.write_all(sheet.markdown().as_bytes()))?,
        None => {}
    }
    write!(stdout, "{}", sheet.markdown()).map_err(|e| Error::write("standard output", e))?;
    Ok(only(&chosen))
}

/// The rows of a run that is called so, with `result`, `model` and `dataset`.
pub(crate) fn rows(run: &Run, called: &str) -> Vec<Record> {
    let several = run.records.len() > 1;
    let called = |at: usize| if several { format!("{called} row {}", at + 1) } else { called.to_owned() };
    run.records.iter().enumerate().map(|(at, row)| about(run, row, called(at))).collect()
}

fn about(run: &Run, row: &Record, called: String) -> Record {
    let given = |name: &str| row.get(name).filter(|value| **value != Value::Missing).cloned();
    let last = |value: Value| {
        let word = value.word();
        Path::new(&word).file_name().map_or(word.clone(), |name| name.to_string_lossy().into_owned())
    };
    let model = given("model").unwrap_or_else(|| run.name().into());
    let dataset = given("dataset").or_else(|| given("data").map(|data| last(data).into()));
    let mut all = Record::new();
    all.set("result", given("result").unwrap_or_else(|| called.into())).set("model", model);
    all.set("dataset", dataset.unwrap_or(Value::Missing));
    let ours = ["result", "model", "dataset"];
    row.iter().filter(|(name, _)| !ours.contains(&name.as_str())).for_each(|(name, value)| {
        all.set(name.as_str(), value.clone());
    });
    all
}

/// Refuses a column that no row has.
fn known(rows: &[Record], column: &str, flag: &str) -> Result<()> {
    let columns = Record::columns(rows);
    if columns.contains(&column) {
        return Ok(());
    }
    Err(Error::Usage(format!("{flag}: there is no column '{column}'; there are {}", columns.join(", "))))
}

/// Measures from the best on, other numbers and words ascending, what is missing last.
fn sort_by(rows: &mut [Record], column: &str, good: Option<Good>, turned: bool) {
    let compare = |a: &Value, b: &Value| {
        let order = match (a.number(), b.number()) {
            (Some(a), Some(b)) if good == Some(Good::High) => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.word().cmp(&b.word()),
        };
        if turned { order.reverse() } else { order }
    };
    rows.sort_by(|a, b| match (a.get(column), b.get(column)) {
        (None | Some(Value::Missing), None | Some(Value::Missing)) => Ordering::Equal,
        (None | Some(Value::Missing), _) => Ordering::Greater,
        (_, None | Some(Value::Missing)) => Ordering::Less,
        (Some(a), Some(b)) => compare(a, b),
    });
}

/// One row for each value of `by`, one column for each value of `pivot` and measure.
fn pivoted(rows: &[Record], pivot: &str, by: &str, measures: &[String]) -> Result<(Vec<Record>, Vec<Column>)> {
    known(rows, pivot, "--pivot")?;
    known(rows, by, "--rows")?;
    measures.iter().try_for_each(|measure| known(rows, measure, "--measure"))?;
    let word = |row: &Record, column: &str| row.get(column).map(Value::word).unwrap_or_default();
    let distinct = |column: &str| {
        let mut values: Vec<String> = Vec::new();
        for value in rows.iter().map(|row| word(row, column)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    };
    let (heads, stubs) = (distinct(pivot), distinct(by));
    let name = |head: &str, measure: &str| {
        if measures.len() == 1 { head.to_owned() } else { format!("{head} {measure}") }
    };
    let mut table = Vec::new();
    for stub in &stubs {
        let mut line = Record::new();
        line.set(by, stub.as_str());
        for head in &heads {
            let here: Vec<&Record> =
                rows.iter().filter(|row| word(row, by) == *stub && word(row, pivot) == *head).collect();
            if let [first, second, ..] = here[..] {
                return Err(Error::Usage(format!(
                    "--pivot {pivot}: two results of {by} '{stub}' on '{head}': {} and {}; --where leaves one out",
                    word(first, "result"),
                    word(second, "result")
                )));
            }
            for measure in measures {
                let value = here.first().and_then(|row| row.get(measure)).cloned().unwrap_or(Value::Missing);
                line.set(name(head, measure), value);
            }
        }
        table.push(line);
    }
    let column = |head: &str, measure: &String| Column { name: name(head, measure), good: good(measure) };
    let measured = heads.iter().flat_map(|head| measures.iter().map(move |measure| column(head, measure)));
    let columns = [Column { name: by.to_owned(), good: None }].into_iter().chain(measured).collect();
    Ok((table, columns))
}

/// The columns that patterns name, in their order; all where there are none.
fn chosen(rows: &[Record], columns: &[Column], patterns: &[String]) -> Result<Vec<Column>> {
    let mut chosen: Vec<Column> = Vec::new();
    for pattern in patterns {
        let before = chosen.len();
        let fitting = columns.iter().filter(|column| matches(pattern, &column.name));
        let fitting: Vec<_> = fitting.filter(|column| !chosen.contains(column)).cloned().collect();
        chosen.extend(fitting);
        if chosen.len() == before && !columns.iter().any(|column| matches(pattern, &column.name)) {
            known(rows, pattern, "--columns")?;
        }
    }
    Ok(if patterns.is_empty() { columns.to_vec() } else { chosen })
}

/// The usual columns of these rows.
pub(crate) fn overview(rows: &[Record]) -> Sheet {
    let columns: Vec<Column> = Record::columns(rows).into_iter().map(Column::new).collect();
    sheet(rows, &usual(rows, &columns), 4)
}

/// What a reader wants first: which result, and the measures that any of them has.
fn usual(rows: &[Record], columns: &[Column]) -> Vec<Column> {
    let has = |name: &str| rows.iter().any(|row| row.get(name).is_some_and(|value| *value != Value::Missing));
    // TAR at FAR is FNMR at FMR once more.
    let wanted = |Column { name, good }: &&Column| {
        (good.is_some() && !name.starts_with("tar@")) || ["result", "model", "dataset"].contains(&name.as_str())
    };
    columns.iter().filter(wanted).filter(|column| has(&column.name)).cloned().collect()
}

fn sheet(rows: &[Record], columns: &[Column], digits: usize) -> Sheet {
    let worded = |name: &str, good: Option<Good>| -> Vec<Cell> {
        let values: Vec<Value> = rows.iter().map(|row| row.get(name).cloned().unwrap_or(Value::Missing)).collect();
        let mut cells: Vec<Cell> = values.iter().map(|value| word(value, digits)).collect();
        if ["model", "result"].contains(&name) {
            shorten(&mut cells);
        }
        let numbers = || values.iter().filter_map(Value::number).filter(|v| !v.is_nan());
        // What is missing among numbers stands where they stand.
        if cells.iter().any(|cell| cell.number) {
            let missing = values.iter().zip(&mut cells).filter(|(value, _)| **value == Value::Missing);
            missing.for_each(|(_, cell)| cell.number = true);
        }
        let best = match good {
            Some(Good::High) => numbers().reduce(f64::max),
            Some(Good::Low) => numbers().reduce(f64::min),
            None => None,
        };
        // Of what reads alike, none is better.
        if let Some(best) = best.filter(|_| numbers().count() > 1).map(|best| word(&Value::Real(best), digits).text) {
            cells.iter_mut().for_each(|cell| cell.best = cell.number && cell.text == best);
        }
        cells
    };
    let by_column: Vec<Vec<Cell>> = columns.iter().map(|column| worded(&column.name, column.good)).collect();
    Sheet {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        rows: (0..rows.len()).map(|row| by_column.iter().map(|column| column[row].clone()).collect()).collect(),
    }
}

fn word(value: &Value, digits: usize) -> Cell {
    let text = match value {
        Value::Real(real) => format!("{real:.digits$}"),
        Value::Missing => "-".into(),
        other => other.word(),
    };
    Cell { text, number: value.number().is_some(), best: false }
}

/// Paths to their last part, where that tells as many apart.
fn shorten(cells: &mut [Cell]) {
    let distinct = |texts: &[String]| texts.iter().collect::<std::collections::HashSet<_>>().len();
    let long: Vec<String> = cells.iter().map(|cell| cell.text.clone()).collect();
    let last = |text: &String| Path::new(text).file_name().map_or(text.clone(), |n| n.to_string_lossy().into_owned());
    let short: Vec<String> = long.iter().map(last).collect();
    if distinct(&short) == distinct(&long) {
        cells.iter_mut().zip(short).for_each(|(cell, text)| cell.text = text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_know_their_direction() {
        assert_eq!([good("recall@10"), good("best recall@1"), good("map@r")], [Some(Good::High); 3]);
        assert_eq!([good("eer"), good("fnmr@fmr=0.001"), good("last loss")], [Some(Good::Low); 3]);
        assert_eq!([good("images"), good("eer_from"), good("eer_threshold"), good("index_recall")], [None; 4]);
    }
}
