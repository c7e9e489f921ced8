//! Tables for people, in the form of Markdown. What is too wide for the terminal goes on below, column by column: a number
//! is never broken. Words of the last column of a table may wrap.

use comfy_table::{CellAlignment, ContentArrangement, presets::ASCII_MARKDOWN};

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Columns with a heading each, and rows of as many cells.
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

impl Table {
    /// The table as text, no wider than `width` as far as its cells allow, without a line break at its end.
    pub fn text(&self, width: Option<usize>) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width_of(at)).collect();
        let Some(limit) = width else { return self.part(&(0..widths.len()).collect::<Vec<_>>(), None) };
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut used = usize::MAX;
        for (at, &wide) in widths.iter().enumerate() {
            // A cell has a blank on both sides and a bar before it; one more bar ends the row.
            if used.saturating_add(wide + 3) + 1 > limit {
                parts.push(Vec::new());
                used = 0;
            }
            used += wide + 3;
            if let Some(part) = parts.last_mut() {
                part.push(at);
            }
        }
        // Two columns that do not fit beside each other are a name and a text: the text wraps.
        if self.columns.len() == 2 && parts.len() > 1 && widths[0] + 24 < limit {
            return self.part(&[0, 1], Some(limit));
        }
        parts.iter().map(|columns| self.part(columns, None)).collect::<Vec<_>>().join("\n\n")
    }

    fn width_of(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells.chain([self.columns[column].0.as_str()]).map(console::measure_text_width).max().unwrap_or(0)
    }

    fn part(&self, columns: &[usize], wrap: Option<usize>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(ASCII_MARKDOWN);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(limit) = wrap {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(limit).unwrap_or(u16::MAX));
        }
        table.set_header(columns.iter().map(|&at| self.columns[at].0.as_str()));
        for row in &self.rows {
            table.add_row(columns.iter().map(|&at| row.get(at).map_or("", String::as_str)));
        }
        for (place, &at) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(place) {
                let right = self.columns[at].1 == Align::Right;
                column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
            }
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
        assert_eq!(table().text(Some(34)), wanted);
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
}
