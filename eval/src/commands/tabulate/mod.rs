//! The command `tabulate`: many results in one table.

mod mixed;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use pdloss_embed::console::{note, width, wrote};
use pdloss_embed::files::{can_write, distinct, ending, write_atomically};
use pdloss_embed::program::Usual;

use super::given::{names, once_each};
use crate::runs::{Details, Run};
use crate::table::schema::{Better, better, is_beside, is_cost, range};
use crate::table::{Cell, Filter, Kind, Record, Sheet, Value, cells, in_column, matches};
use crate::{Error, Result};
use mixed::{Measured, of_notes, say_of_data};
pub(super) use mixed::{apart, data_of, know_images, measured, measured_on, of_all, of_each};

const EXAMPLES: &str = "Examples:
  pdloss-eval tabulate results/*.json --sort recall@1
  pdloss-eval tabulate runs/* --where 'dataset=cub*' --where 'recall@1>0.5' \\
      --out table.md
  pdloss-eval tabulate runs/* --pivot dataset --measure recall@1,map@r \\
      --out table.tex

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "The columns 'result' (which file), 'model' and 'dataset' (last part of the data's path) are made where they lack. \
    LaTeX wants \\usepackage{booktabs}.";

pub(super) const USUAL: Usual = Usual {
    command: "tabulate",
    calls: &["tabulate RESULT..."],
    flags: &["results", "where", "columns", "sort", "pivot", "out", "json"],
};

/// Arguments of `tabulate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct TabulateArgs {
    /// Result files (.json, .csv, .parquet), or folders that --save-run or `pdloss train` wrote
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// Only rows for which this holds: =, !=, <, <=, > or >= between a column and a value; * stands for any letters
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub filters: Vec<Filter>,
    /// Columns, in this order; * stands for any letters, and a name with a comma stands in quotes [default: every column for .csv, .json and .parquet; result,
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
    /// Digits after the point, for people: 0 to 17
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub digits: usize,
    /// Write the table: .csv, .json, .parquet, or with the best in bold .md or .tex
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    pub json: bool,
}

/// A column of the table that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    better: Option<Better>,
    /// A figure that is a share, whose digits behind the point are asked for.
    is_share: bool,
}

impl Column {
    fn new(name: &str) -> Self {
        let better = better(name);
        Self { name: name.to_owned(), better, is_share: better.is_some() && range(name).is_some() }
    }
}

/// More digits after the point say nothing of an f64 between 0 and 1.
const MOST_DIGITS: usize = 17;

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
        can_write("--out", path)?;
        Ok(sink)
    }
}

/// Reads all results, makes the table, writes it to `stdout` and where it is wanted, and returns its rows.
///
/// # Errors
/// [`Error::Usage`] for columns that are not there and two results in one pivoted cell; those of reading and writing.
pub fn run(args: &TabulateArgs, stdout: &mut dyn Write) -> Result<Vec<Record>> {
    if args.digits > MOST_DIGITS {
        return Err(Error::Usage(format!("--digits {}: wanted 0 to {MOST_DIGITS}", args.digits)));
    }
    let sink = args.out.as_deref().map(|path| Sink::of(path).map(|sink| (path, sink))).transpose()?;
    if let Some(out) = &args.out {
        for result in &args.results {
            distinct(&[("RESULT", result), ("--out", out)])?;
        }
    }
    let mut rows = Vec::new();
    let mut seen = HashMap::new();
    // Of runs their rows are wanted, and nothing else of what may be large.
    let row_of = |path: &PathBuf| Run::read(path).map(|run| Run { details: Details::None, ..run });
    let mut runs = args.results.iter().map(row_of).collect::<Result<Vec<_>>>()?;
    know_images(&mut runs);
    for (run, path) in runs.into_iter().zip(&args.results) {
        let of_run = self::rows(&run, &path.display().to_string());
        of_each(&run, &of_run, &mut seen).iter().for_each(|sentence| note(sentence));
        rows.extend(of_run);
    }
    Record::agree(&mut rows);
    for filter in &args.filters {
        known(&rows, &filter.column, "--where")?;
        rows.retain(|row| filter.accepts(row));
        if rows.is_empty() {
            let text = format!("--where {}: none of the results is left", filter.column);
            return Err(Error::Usage(text));
        }
    }
    of_all(&rows).iter().chain(&of_notes(&rows)).for_each(|sentence| note(sentence));
    let sort = args.sort.as_deref().map(|by| by.strip_prefix('-').map_or((by, false), |by| (by, true)));
    let in_rows = sort.filter(|(by, _)| Record::columns(&rows).contains(by));
    if let Some((by, turned)) = in_rows {
        sort_by(&mut rows, by, better(by), turned);
        say_of_data(&rows, by);
    }
    let (lines, columns) = match &args.pivot {
        Some(pivot) => {
            let (mut lines, columns) = pivoted(&rows, pivot, &args.rows, &names(&args.measure))?;
            if let Some((by, turned)) = sort.filter(|_| in_rows.is_none()) {
                let column = columns.iter().find(|column| column.name == by);
                let column = column.ok_or_else(|| unknown(columns.iter().map(|c| c.name.as_str()), by, "--sort"))?;
                sort_by(&mut lines, by, column.better, turned);
            }
            (lines, columns)
        }
        None => {
            sort.map_or(Ok(()), |(by, _)| known(&rows, by, "--sort"))?;
            let columns = Record::columns(&rows).into_iter().map(Column::new).collect();
            (rows.iter().cloned().map(Line::of).collect(), columns)
        }
    };
    let chosen = chosen(&columns, &names(&args.columns))?;
    let every_column = args.columns.is_empty() && args.pivot.is_none();
    let for_people = if every_column { usual(&lines, &chosen) } else { chosen.clone() };
    let sheet = sheet(&lines, &for_people, args.digits, every_column);
    let picked = |line: &Line| {
        let mut picked = Record::new();
        for Column { name, .. } in &chosen {
            picked.set(name.as_str(), line.get(name).cloned().unwrap_or(Value::Missing));
        }
        picked
    };
    let picked: Vec<Record> = lines.iter().map(picked).collect();
    match &sink {
        Some((path, Sink::Data(kind))) if every_column => kind.write_results(path, &picked)?,
        Some((path, Sink::Data(kind))) => kind.write(path, &picked)?,
        Some((path, Sink::Latex)) => write_atomically(path, |file| file.write_all(sheet.latex().as_bytes()))?,
        Some((path, Sink::Markdown)) => write_atomically(path, |file| file.write_all(sheet.markdown().as_bytes()))?,
        None => {}
    }
    if let Some((path, _)) = &sink {
        wrote(path);
    }
    let printed =
        if args.json { Record::write_json(&picked, stdout) } else { write!(stdout, "{}", sheet.text(width())) };
    printed.map_err(|e| Error::write("standard output", e))?;
    Ok(picked)
}

/// A row of the table that is made, and what its figures were measured on.
#[derive(Clone, Debug)]
struct Line {
    record: Record,
    measured: Measured,
    /// By column, where a row is put together of several results.
    data_of: HashMap<String, String>,
}

impl Line {
    fn of(record: Record) -> Self {
        Self { measured: Measured::of(&record), record, data_of: HashMap::new() }
    }

    fn get(&self, column: &str) -> Option<&Value> {
        self.record.get(column)
    }

    fn data(&self, column: &str) -> String {
        self.data_of.get(column).cloned().unwrap_or_else(|| self.measured.figure(column))
    }
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
    let dataset = given("dataset").or_else(|| given("list").or_else(|| given("data")).map(|data| last(data).into()));
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
    if columns.contains(&column) { Ok(()) } else { Err(unknown(columns.into_iter(), column, flag)) }
}

fn unknown<'c>(columns: impl Iterator<Item = &'c str>, column: &str, flag: &str) -> Error {
    let columns: Vec<&str> = columns.collect();
    Error::Usage(format!("{flag}: there is no column '{column}'; there are {}", columns.join(", ")))
}

/// A row that has values by column.
trait Values {
    fn value(&self, column: &str) -> Option<&Value>;
}

impl Values for Record {
    fn value(&self, column: &str) -> Option<&Value> {
        self.get(column)
    }
}

impl Values for Line {
    fn value(&self, column: &str) -> Option<&Value> {
        self.get(column)
    }
}

/// Measures from the best on, other numbers and words ascending, what is missing or no number last.
fn sort_by<R: Values>(rows: &mut [R], column: &str, better: Option<Better>, turned: bool) {
    let compare = |a: &Value, b: &Value| {
        let order = match (a.number(), b.number()) {
            (Some(a), Some(b)) if better == Some(Better::Higher) => b.total_cmp(&a),
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.word().cmp(&b.word()),
        };
        if turned { order.reverse() } else { order }
    };
    let is_there = |value: &&Value| **value != Value::Missing && !value.number().is_some_and(f64::is_nan);
    rows.sort_by(|a, b| match (a.value(column).filter(is_there), b.value(column).filter(is_there)) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Greater,
        (_, None) => Ordering::Less,
        (Some(a), Some(b)) => compare(a, b),
    });
}

/// One row for each value of `by`, one column for each value of `pivot` and measure.
fn pivoted(rows: &[Record], pivot: &str, by: &str, measures: &[String]) -> Result<(Vec<Line>, Vec<Column>)> {
    known(rows, pivot, "--pivot")?;
    known(rows, by, "--rows")?;
    measures.iter().try_for_each(|measure| known(rows, measure, "--measure"))?;
    let word = |row: &Record, column: &str| {
        let word = row.get(column).map(Value::word).unwrap_or_default();
        if word.is_empty() { "-".to_owned() } else { word }
    };
    let distinct = |column: &str| once_each(rows.iter().map(|row| word(row, column)));
    let (heads, stubs) = (distinct(pivot), distinct(by));
    let name = |head: &str, measure: &str| {
        if measures.len() == 1 { head.to_owned() } else { format!("{head} {measure}") }
    };
    let column = |head: &str, measure: &String| Column { name: name(head, measure), ..Column::new(measure) };
    let measured = heads.iter().flat_map(|head| measures.iter().map(move |measure| column(head, measure)));
    let columns: Vec<Column> =
        [Column { name: by.to_owned(), better: None, is_share: false }].into_iter().chain(measured).collect();
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        return Err(Error::Usage(format!("--pivot {pivot}: two columns would be called '{}'", twice.name)));
    }
    let mut table = Vec::new();
    for stub in &stubs {
        let mut line = Line { record: Record::new(), measured: Measured::default(), data_of: HashMap::new() };
        line.record.set(by, stub.as_str());
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
                line.record.set(name(head, measure), value);
                line.data_of.extend(here.first().map(|row| (name(head, measure), measured_on(row, measure))));
            }
        }
        table.push(line);
    }
    Ok((table, columns))
}

/// The columns that patterns name, in their order; all where there are none.
fn chosen(columns: &[Column], patterns: &[String]) -> Result<Vec<Column>> {
    if patterns.is_empty() {
        return Ok(columns.to_vec());
    }
    let mut chosen: Vec<Column> = Vec::new();
    for pattern in patterns {
        let before = chosen.len();
        chosen.extend(columns.iter().filter(|column| matches(pattern, &column.name)).cloned());
        if chosen.len() == before {
            return Err(unknown(columns.iter().map(|column| column.name.as_str()), pattern, "--columns"));
        }
    }
    Ok(once_each(chosen))
}

/// The usual columns of these rows.
pub(crate) fn overview(rows: &[Record]) -> Sheet {
    let columns: Vec<Column> = Record::columns(rows).into_iter().map(Column::new).collect();
    let lines: Vec<Line> = rows.iter().cloned().map(Line::of).collect();
    sheet(&lines, &usual(&lines, &columns), 4, true)
}

/// What a reader wants first: which result, and the measures that any of them has.
fn usual(rows: &[Line], columns: &[Column]) -> Vec<Column> {
    const NAMES: [&str; 11] =
        ["result", "model", "dataset", "run of A", "run of B", "figure", "A", "B", "B - A", "p", "p_holm"];
    let has = |name: &str| rows.iter().any(|row| row.get(name).is_some_and(|value| *value != Value::Missing));
    let records: Vec<Record> = rows.iter().map(|row| row.record.clone()).collect();
    let apart = apart(&records);
    // TAR at FAR is FNMR at FMR once more.
    let wanted = |Column { name, better, .. }: &&Column| {
        (better.is_some() && !name.starts_with("tar@") && !is_beside(name)) || NAMES.contains(&name.as_str())
    };
    let found: Vec<Column> = columns.iter().filter(wanted).filter(|column| has(&column.name)).cloned().collect();
    let (about, figures): (Vec<Column>, Vec<Column>) =
        found.into_iter().partition(|column| ["result", "model", "dataset"].contains(&column.name.as_str()));
    // What a model costs is read after what it does.
    let (costs, figures): (Vec<Column>, Vec<Column>) = figures.into_iter().partition(|column| is_cost(&column.name));
    about.into_iter().chain(apart.iter().map(|name| Column::new(name))).chain(figures).chain(costs).collect()
}

/// Letters of a digest that tables show.
const DIGEST: usize = 12;

/// `chosen_for_people` says that nobody asked for these columns: of preprocessing, what its rows have in common is then left away.
fn sheet(rows: &[Line], columns: &[Column], digits: usize, chosen_for_people: bool) -> Sheet {
    let worded = |Column { name, better, is_share }: &Column| -> Vec<Cell> {
        let values: Vec<Value> = rows.iter().map(|row| row.get(name).cloned().unwrap_or(Value::Missing)).collect();
        let data: Vec<String> = rows.iter().map(|row| row.data(name)).collect();
        let mut cells = cells(&values, &data, *better, &|real| in_column(real, *is_share, digits));
        if ["model", "result", "run of A", "run of B"].contains(&name.as_str()) {
            shorten(&mut cells);
        }
        if name.ends_with("_sha256") {
            cells.iter_mut().for_each(|cell| cell.text.truncate(DIGEST));
        }
        if name == "preprocessing" && chosen_for_people {
            leave_common_away(&mut cells);
        }
        cells
    };
    let by_column: Vec<Vec<Cell>> = columns.iter().map(worded).collect();
    Sheet {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        rows: (0..rows.len()).map(|row| by_column.iter().map(|column| column[row].clone()).collect()).collect(),
    }
}

/// Steps, parted by blanks, without those that all cells have which have any.
fn leave_common_away(cells: &mut [Cell]) {
    let of = |cell: &Cell| -> Vec<String> { cell.text.split(' ').map(str::to_owned).collect() };
    let all: Vec<Vec<String>> = cells.iter().filter(|cell| cell.text.contains('=')).map(of).collect();
    let is_common = |step: &String| all.iter().all(|steps| steps.contains(step));
    for cell in cells.iter_mut().filter(|cell| cell.text.contains('=')) {
        cell.text = of(cell).into_iter().filter(|step| !is_common(step)).collect::<Vec<_>>().join(" ");
    }
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
