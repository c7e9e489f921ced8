//! Tables for people and papers: Markdown, and LaTeX with booktabs; the best of a column on the same data in bold.

use std::collections::HashMap;
use std::fmt::Write;

use pdloss_embed::console::{Align, Table, printable_line};
use serde::Serialize;

use super::schema::Better;
use super::{Record, Value};

/// A cell, worded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    /// What stands in it, not escaped.
    pub(crate) text: String,
    /// Stands on the right.
    pub(crate) number: bool,
    /// Is the best of its column on the same data.
    pub(crate) best: bool,
}

/// Columns by name, and rows of as many cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// Cells of a column, worded, its numbers by `word`. In bold is, of those that were measured on the same `data`, the best, where
/// there are several.
pub(crate) fn cells(
    values: &[Value],
    data: &[String],
    better: Option<Better>,
    word: &dyn Fn(f64) -> String,
) -> Vec<Cell> {
    let mut cells: Vec<Cell> = values.iter().map(|value| cell(value, word)).collect();
    // What is missing among numbers stands where they stand.
    if cells.iter().any(|cell| cell.number) {
        let missing = values.iter().zip(&mut cells).filter(|(value, _)| **value == Value::Missing);
        missing.for_each(|(_, cell)| cell.number = true);
    }
    let Some(better) = better else { return cells };
    let mut best: HashMap<&str, (f64, usize)> = HashMap::new();
    let numbers = values.iter().zip(data).filter_map(|(value, data)| Some((value.number()?, data.as_str())));
    for (number, data) in numbers.filter(|(number, _)| !number.is_nan()) {
        let (so_far, count) = best.entry(data).or_insert((number, 0));
        *so_far = if better == Better::Higher { so_far.max(number) } else { so_far.min(number) };
        *count += 1;
    }
    for (at, cell_here) in cells.iter_mut().enumerate() {
        // Of what reads alike, none is better.
        let of_data = best.get(data[at].as_str()).filter(|(_, count)| *count > 1);
        let reads = of_data.map(|(best, _)| word(*best));
        let own = values[at].number().map(word);
        cell_here.best = reads.is_some() && reads == own;
    }
    cells
}

fn cell(value: &Value, word: &dyn Fn(f64) -> String) -> Cell {
    let text = match value {
        Value::Real(real) => word(*real),
        Value::Missing => "-".into(),
        other => other.word(),
    };
    Cell { text, number: value.number().is_some(), best: false }
}

impl Sheet {
    /// All columns of these rows, every figure as it is.
    pub(crate) fn of(rows: &[Record]) -> Self {
        let names = Record::columns(rows);
        let cell = |row: &Record, name: &str| match row.get(name) {
            None | Some(Value::Missing) => Cell { text: "-".into(), ..Cell::default() },
            Some(value) => Cell { text: value.word(), number: value.number().is_some(), best: false },
        };
        Self {
            rows: rows.iter().map(|row| names.iter().map(|name| cell(row, name)).collect()).collect(),
            columns: names.into_iter().map(str::to_owned).collect(),
        }
    }

    fn is_number(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].number)
    }

    /// For a terminal of this width; a whole Markdown table where it is none.
    pub(crate) fn text(&self, width: Option<usize>) -> String {
        if width.is_none() {
            return self.markdown();
        }
        let align = |column: usize| if self.is_number(column) { Align::Right } else { Align::Left };
        let columns = self.columns.iter().enumerate().map(|(at, name)| (name.clone(), align(at))).collect();
        let cell = |cell: &Cell| if cell.best { format!("**{}**", cell.text) } else { cell.text.clone() };
        let rows = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        format!("{}\n", Table { columns, rows }.text(width))
    }

    /// A Markdown table whose columns are also straight as plain text.
    pub(crate) fn markdown(&self) -> String {
        let cell = |cell: &Cell| {
            let text = escape_markdown(&cell.text);
            if cell.best { format!("**{text}**") } else { text }
        };
        let header: Vec<String> = self.columns.iter().map(|name| escape_markdown(name)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
            cells.map(|text| text.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let mut out = String::new();
        let mut line = |cells: &[String]| {
            for (column, text) in cells.iter().enumerate() {
                let width = widths[column];
                // Writing to a string cannot fail.
                let _ = if self.is_number(column) {
                    write!(out, "| {text:>width$} ")
                } else {
                    write!(out, "| {text:<width$} ")
                };
            }
            out.push_str("|\n");
        };
        line(&header);
        let rule = |column: usize| {
            let dashes = "-".repeat(widths[column] - 1);
            if self.is_number(column) { format!("{dashes}:") } else { format!("{dashes}-") }
        };
        line(&(0..header.len()).map(rule).collect::<Vec<_>>());
        rows.iter().for_each(|row| line(row));
        out
    }

    /// A `tabular` that wants the package booktabs.
    pub(crate) fn latex(&self) -> String {
        let cell = |cell: &Cell| {
            let text = escape_latex(&cell.text);
            if cell.best { format!("\\textbf{{{text}}}") } else { text }
        };
        let columns: String = (0..self.columns.len()).map(|c| if self.is_number(c) { 'r' } else { 'l' }).collect();
        let header: Vec<String> = self.columns.iter().map(|name| escape_latex(name)).collect();
        let line = |cells: Vec<String>| {
            let mut text = cells.join(" & ");
            // After the `\\` of the row before, these would be taken for its optional argument or its star.
            if text.trim_start().starts_with(['[', '*']) {
                text.insert_str(0, "{}");
            }
            format!("{text} \\\\\n")
        };
        let rows: String = self.rows.iter().map(|row| line(row.iter().map(cell).collect())).collect();
        format!(
            "\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n",
            line(header)
        )
    }
}

/// What Markdown and the HTML within it would take for their own.
fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in printable_line(text).chars() {
        match letter {
            '|' | '*' | '`' | '\\' | '[' | ']' | '~' => out.extend(['\\', letter]),
            // an underscore within a word is one
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            _ => out.push(letter),
        }
    }
    if out.starts_with('_') || out.ends_with('_') { out.replace('_', "\\_") } else { out }
}

fn escape_latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in printable_line(text).chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            // Two of them would be a dash.
            '-' if out.ends_with('-') => out.push_str("{}-"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let cell = |text: &str, number, best| Cell { text: text.into(), number, best };
        Sheet {
            columns: vec!["class".into(), "map@r".into()],
            rows: vec![
                vec![cell("a & b|<script>", false, false), cell("0.5", true, true)],
                vec![cell("100%_#{x}^~\\", false, false), cell("0.25", true, false)],
            ],
        }
    }

    #[test]
    fn markdown_is_straight_and_escaped() {
        let expected = "\
| class                         |   map@r |
| ----------------------------- | ------: |
| a &amp; b\\|&lt;script&gt;      | **0.5** |
| 100%_#{x}^\\~\\\\                |    0.25 |
";
        let found = sheet().markdown();
        let squeeze = |text: &str| text.replace("  ", " ").replace("  ", " ").replace("  ", " ").replace("  ", " ");
        let lines: Vec<_> = found.lines().map(|l| l.chars().count()).collect();
        assert!(lines.iter().all(|&l| l == lines[0]), "{found}");
        let dashes = |text: &str| squeeze(text).lines().filter(|l| !l.contains("---")).collect::<Vec<_>>().join("\n");
        assert_eq!(dashes(&found), dashes(expected));
        assert!(found.lines().nth(1).is_some_and(|rule| rule.ends_with("-: |")), "{found}");
    }

    #[test]
    fn latex_is_escaped() {
        let expected = "\\begin{tabular}{lr}\n\\toprule\nclass & map@r \\\\\n\\midrule\n\
            a \\& b\\textbar{}\\textless{}script\\textgreater{} & \\textbf{0.5} \\\\\n\
            100\\%\\_\\#\\{x\\}\\textasciicircum{}\\textasciitilde{}\\textbackslash{} & 0.25 \\\\\n\
            \\bottomrule\n\\end{tabular}\n";
        assert_eq!(sheet().latex(), expected);
    }

    #[test]
    fn rows_that_latex_would_take_for_an_argument_are_held_apart() {
        let cell = |text: &str| Cell { text: text.into(), ..Cell::default() };
        let rows = ["[2pt]", "*", " [x]", "plain"].map(|text| vec![cell(text), cell("[1]")]).to_vec();
        let latex = Sheet { columns: vec!["[a]".into(), "b".into()], rows }.latex();
        let latex = Sheet { columns: vec!["a--b".into()], rows: Vec::new() }.latex() + &latex;
        assert!(latex.contains("a-{}-b"), "{latex}");
        for line in ["{}[a] & b", "{}[2pt] & [1]", "{}* & [1]", "{} [x] & [1]", "\nplain & [1]"] {
            assert!(latex.contains(&format!("{line} \\\\\n")), "{line}: {latex}");
        }
    }

    #[test]
    fn the_best_is_the_best_on_the_same_data() {
        let values = [0.5, 0.25, 0.9, 0.5].map(Value::Real);
        let data = ["cub", "cub", "sop", "cub"].map(str::to_owned);
        let best = |better| {
            cells(&values, &data, better, &|real| format!("{real:.2}")).iter().map(|cell| cell.best).collect::<Vec<_>>()
        };
        assert_eq!(best(Some(Better::Higher)), [true, false, false, true]);
        assert_eq!(best(Some(Better::Lower)), [false, true, false, false]);
        assert_eq!(best(None), [false; 4]);
        let mixed = [Value::Whole(1), Value::Real(0.99), Value::Missing, "x".into()];
        let best = cells(&mixed, &["a"; 4].map(str::to_owned), Some(Better::Higher), &|real| format!("{real:.1}"));
        assert_eq!(best.iter().map(|cell| cell.best).collect::<Vec<_>>(), [true, true, false, false]);
    }

    #[test]
    fn names_bring_no_control_characters() {
        let cell = Cell { text: "a\u{1b}[31m\nb".into(), ..Cell::default() };
        let sheet = Sheet { columns: vec!["n".into()], rows: vec![vec![cell]] };
        for text in [sheet.markdown(), sheet.latex(), sheet.text(Some(80))] {
            assert!(!text.contains('\u{1b}') && text.contains("31m"), "{text}");
        }
    }
}
