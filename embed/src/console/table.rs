//! Tables for people, in the form of Markdown, that fit the terminal. Where a table is too wide, its texts wrap; where that is
//! not enough, its columns go on below, beside the first one again. A number is never broken.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width, presets::ASCII_MARKDOWN};

use super::printable_line;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words, which may wrap.
    Left,
    /// Numbers, which may not.
    Right,
}

/// Columns with a heading each, and rows of as many cells. Control characters in cells are printed escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Headings.
    pub columns: Vec<(String, Align)>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// The columns of the terminal that standard output is; `None` where it is none: files and pipes get whole lines.
pub fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// The columns of the terminal, or, where there is none, those of one that is not wide: for texts that people read in files and behind
/// pipes, too.
pub fn readable_width() -> usize {
    width().unwrap_or(80)
}

/// What a column takes beside its cells: a bar and a blank before them, a blank after.
const AROUND: usize = 3;
/// Texts are not wrapped to less than this.
const NARROW: usize = 16;

impl Table {
    /// The table as text, no wider than `width` as far as its numbers allow, without a line break at its end.
    pub fn text(&self, width: Option<usize>) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.width_of(at)).collect();
        let all: Vec<usize> = (0..natural.len()).collect();
        let Some(limit) = width else { return self.part(&all, None) };
        if let Some(widths) = self.fitted(&all, &natural, limit) {
            return self.part(&all, Some(&widths));
        }
        let parts = self.split(&natural, limit).into_iter().map(|columns| {
            let widths = self.fitted(&columns, &natural, limit);
            self.part(&columns, widths.as_deref())
        });
        parts.collect::<Vec<_>>().join("\n\n")
    }

    /// Widths of these columns with which they fit: their own, or those of texts cut back, the widest first; `None` where
    /// that is not enough.
    fn fitted(&self, columns: &[usize], natural: &[usize], limit: usize) -> Option<Vec<usize>> {
        let mut widths: Vec<usize> = columns.iter().map(|&at| natural[at]).collect();
        let least: Vec<usize> = columns.iter().map(|&at| self.least(at, natural[at])).collect();
        let mut excess = (widths.iter().map(|wide| wide + AROUND).sum::<usize>() + 1).saturating_sub(limit);
        while excess > 0 {
            let spare = |&at: &usize| widths[at] > least[at];
            let widest = (0..widths.len()).filter(spare).max_by_key(|&at| widths[at])?;
            let next = (0..widths.len()).filter(|&at| at != widest && spare(&at)).map(|at| widths[at]).max();
            let down_to = next.map_or(least[widest], |next| next.saturating_sub(1).max(least[widest]));
            let cut = excess.min(widths[widest] - down_to);
            widths[widest] -= cut;
            excess -= cut;
        }
        Some(widths)
    }

    /// The least width of a column.
    fn least(&self, column: usize, natural: usize) -> usize {
        let (heading, align) = &self.columns[column];
        match align {
            Align::Right => natural,
            Align::Left => natural.min(NARROW.max(console::measure_text_width(heading))),
        }
    }

    /// Columns in parts that fit, the first column, where it says what a row is, in each of them.
    fn split(&self, natural: &[usize], limit: usize) -> Vec<Vec<usize>> {
        let least: Vec<usize> = natural.iter().enumerate().map(|(at, &wide)| self.least(at, wide)).collect();
        let names_rows = self.rows.len() > 1
            && self.columns.first().is_some_and(|(_, align)| *align == Align::Left)
            && least[0] + AROUND < limit / 2;
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut used = 0;
        for (at, &wide) in least.iter().enumerate() {
            // One more bar ends the row.
            if parts.is_empty() || used + wide + AROUND + 1 > limit {
                let again = names_rows && at > 0;
                parts.push(if again { vec![0] } else { Vec::new() });
                used = if again { least[0] + AROUND } else { 0 };
            }
            used += wide + AROUND;
            if let Some(part) = parts.last_mut() {
                part.push(at);
            }
        }
        // The first column alone says nothing that the next part does not say.
        if names_rows && parts.len() > 1 && parts[0] == [0] {
            parts.remove(0);
        }
        parts
    }

    fn width_of(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        let texts = cells.chain([self.columns[column].0.as_str()]);
        texts.map(|text| console::measure_text_width(&printable_line(text))).max().unwrap_or(0)
    }

    fn part(&self, columns: &[usize], widths: Option<&[usize]>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(ASCII_MARKDOWN);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|&at| printable_line(&self.columns[at].0).into_owned()));
        for row in &self.rows {
            table
                .add_row(columns.iter().map(|&at| printable_line(row.get(at).map_or("", String::as_str)).into_owned()));
        }
        for (place, &at) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(place) {
                let right = self.columns[at].1 == Align::Right;
                column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
            }
        }
        if let Some(widths) = widths {
            // The two blanks of a cell are within its width, the bars are not.
            let whole = widths.iter().map(|wide| wide + AROUND).sum::<usize>() + 1;
            let fixed = |wide: &usize| u16::try_from(wide + AROUND - 1).unwrap_or(u16::MAX);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(whole).unwrap_or(u16::MAX));
            table.set_constraints(widths.iter().map(|wide| ColumnConstraint::Absolute(Width::Fixed(fixed(wide)))));
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = ["recall@1", "recall@10", "map@r"].map(|name| (name.to_owned(), Align::Right));
        Table { columns: columns.to_vec(), rows: vec![["0.331250", "0.756250", "0.098078"].map(String::from).to_vec()] }
    }

    #[test]
    fn whole_where_there_is_room() {
        let wanted = "| recall@1 | recall@10 |    map@r |\n|----------|-----------|----------|\n\
                      | 0.331250 |  0.756250 | 0.098078 |";
        assert_eq!(table().text(None), wanted);
        assert_eq!(table().text(Some(35)), wanted);
    }

    #[test]
    fn columns_go_on_below_and_numbers_stay_whole() {
        for width in [1, 12, 24, 33] {
            let text = table().text(Some(width));
            for number in ["0.331250", "0.756250", "0.098078"] {
                assert!(text.contains(number), "{width}: {text}");
            }
            assert!(text.lines().all(|line| line.len() <= width.max(13)), "{width}: {text}");
        }
    }

    #[test]
    fn a_long_text_beside_a_name_wraps() {
        let columns = [("what".to_owned(), Align::Left), ("value".to_owned(), Align::Left)];
        let rows = vec![vec!["preprocessing".to_owned(), "word ".repeat(40)]];
        let text = Table { columns: columns.to_vec(), rows }.text(Some(80));
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn rows_are_named_in_every_part_and_texts_wrap_before_columns_move() {
        let mut columns = vec![("model".to_owned(), Align::Left)];
        columns.extend((1..=9).map(|k| (format!("recall@{k}"), Align::Right)));
        let row = |name: &str| {
            let numbers = (0..9).map(|n| format!("0.{n}12345"));
            [format!("models/of/somebody/{name}/embedder.onnx")].into_iter().chain(numbers).collect::<Vec<_>>()
        };
        let table = Table { columns, rows: vec![row("small"), row("large")] };
        let text = table.text(Some(80));
        let parts: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(parts.len(), 2, "{text}");
        for part in parts {
            assert!(part.contains("| model ") && part.lines().all(|line| line.len() <= 80), "{text}");
        }
        for n in 0..9 {
            assert_eq!(text.matches(&format!(" 0.{n}12345 ")).count(), 2, "{text}");
        }
        let few =
            Table { columns: table.columns[..4].to_vec(), rows: table.rows.iter().map(|r| r[..4].to_vec()).collect() };
        let text = few.text(Some(60));
        assert!(!text.contains("\n\n") && text.lines().all(|line| line.len() <= 60), "{text}");
        assert!(text.contains(" 0.112345 "), "{text}");
    }

    #[test]
    fn names_bring_no_escapes() {
        let columns = vec![("na\u{1b}[2Jme".to_owned(), Align::Left)];
        let text = Table { columns, rows: vec![vec!["a\u{1b}[31m\nb".into()]] }.text(None);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 3 && text.contains("\\u{1b}[31m\\nb"), "{text}");
    }
}
