//! Tables for people and papers: Markdown, and LaTeX with booktabs; the best of a column in bold.

use std::fmt::Write;

use serde::Serialize;

/// A cell, worded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    /// What stands in it, not escaped.
    pub(crate) text: String,
    /// Stands on the right.
    pub(crate) number: bool,
    /// Is the best of its column.
    pub(crate) best: bool,
}

/// Columns by name, and rows of as many cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Sheet {
    fn is_number(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].number)
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
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
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
    for letter in text.chars() {
        match letter {
            '|' | '*' | '`' | '\\' | '[' | ']' | '~' => out.extend(['\\', letter]),
            // an underscore within a word is one
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            _ => out.push(letter),
        }
    }
    if out.starts_with('_') || out.ends_with('_') { out.replace('_', "\\_") } else { out }
}

fn escape_latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '\n' | '\r' => out.push(' '),
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
}
