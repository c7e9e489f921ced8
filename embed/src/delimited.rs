//! The one reader of delimited text: lists of images and pairs, labels, landmarks, scores, training tables.
//!
//! A record is a line; records are numbered by their lines, from 1, and blank lines are passed over. The delimiter (tab,
//! semicolon, comma, or runs of blanks where the caller allows them) is recognised from the first lines, outside of quotes.
//! A first line `sep=;`, as Excel writes and reads it, says the delimiter and is no record.
//! Fields are trimmed; a field in double quotes keeps its delimiters and its blanks, and `""` inside is one quote. Text is
//! UTF-8, with or without a byte-order mark, its lines ended by LF, CRLF or CR.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::beginnings::Beginning;
use crate::error::{Error, Result};
use crate::files::read;

/// Bytes of the longest line that is one of a table; what has longer ones is text of another kind, or damaged.
const LONGEST_LINE: usize = 1 << 20;
/// Lines looked at to recognise the delimiter and the header.
const SAMPLE: usize = 100;

/// What runs of blanks mean where no tab, semicolon or comma parts the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blanks {
    /// They part fields.
    Separate,
    /// They are part of the one field that a line then is.
    Belong,
}

/// What parts the fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// `\t`
    Tab,
    /// `;`
    Semicolon,
    /// `,`
    Comma,
    /// Runs of blanks and tabs.
    Blanks,
    /// Nothing: a line is one field.
    None,
}

impl Delimiter {
    fn is(self, c: char) -> bool {
        match self {
            Self::Tab => c == '\t',
            Self::Semicolon => c == ';',
            Self::Comma => c == ',',
            Self::Blanks => c == ' ' || c == '\t',
            Self::None => false,
        }
    }

    /// The first of tab, semicolon and comma that parts every line into as many fields; else the first that most lines
    /// have; else blanks or nothing.
    fn recognise(lines: &[&str], blanks: Blanks) -> Self {
        let candidates = [Self::Tab, Self::Semicolon, Self::Comma];
        let counts = |delimiter: Self| lines.iter().map(move |line| count(line, delimiter));
        let even = |&delimiter: &Self| {
            let mut counts = counts(delimiter);
            counts.next().is_some_and(|first| first > 0 && counts.all(|n| n == first))
        };
        let usual = |&delimiter: &Self| 2 * counts(delimiter).filter(|&n| n > 0).count() > lines.len();
        let found = candidates.into_iter().find(even).or_else(|| candidates.into_iter().find(usual));
        found.unwrap_or(match blanks {
            Blanks::Separate => Self::Blanks,
            Blanks::Belong => Self::None,
        })
    }
}

/// How often the delimiter stands outside of quotes.
fn count(line: &str, delimiter: Delimiter) -> usize {
    let (mut quoted, mut field_begins, mut found) = (false, true, 0);
    for c in line.chars() {
        if c == '"' && (quoted || field_begins) {
            quoted = !quoted;
        } else if !quoted && delimiter.is(c) {
            found += 1;
        }
        field_begins = c.is_whitespace() || matches!(c, ',' | ';');
    }
    found
}

/// One line's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'t> {
    /// The line's number, from 1.
    pub line: usize,
    /// Its fields, trimmed and without their quotes.
    pub fields: Vec<Cow<'t, str>>,
}

/// Delimited text, its delimiter and its header recognised.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    text: String,
    delimiter: Delimiter,
    header: Option<(usize, Vec<String>)>,
    /// Every line of the sample ends with a delimiter, behind which nothing follows.
    closed: bool,
    /// The first column is left out.
    has_index: bool,
}

/// The bytes of a text file as UTF-8 without a byte-order mark; `path` is named where they are none.
///
/// # Errors
/// [`Error::Data`] for packed files, UTF-16, NUL bytes and whatever else is not UTF-8, naming the line.
pub fn decode(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let wrong = |problem: String| Err(Error::data(path, problem));
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return wrong("is UTF-16 text; wanted UTF-8: save it as such".into());
    }
    let (nul, not_utf8) = (bytes.iter().position(|&b| b == 0), std::str::from_utf8(&bytes).err());
    // Text may begin so, too.
    let beginning = Beginning::of(&bytes).filter(|_| nul.is_some() || not_utf8.is_some());
    if let Some(beginning) = beginning {
        return wrong(format!("is {}; wanted text: {}", beginning.what(), beginning.cure()));
    }
    let line_of = |at: usize| 1 + bytes[..at].iter().filter(|&&b| b == b'\n').count();
    if let Some(at) = nul {
        return wrong(format!(
            "line {}: holds a NUL byte, as UTF-16 text and binary files do; wanted UTF-8 text",
            line_of(at)
        ));
    }
    if let Some(at) = not_utf8.map(|e| e.valid_up_to()) {
        return wrong(format!(
            "line {}: byte 0x{:02x} is not UTF-8 (Latin-1 or Windows-1252?); wanted UTF-8: save it as such",
            line_of(at),
            bytes[at]
        ));
    }
    let text = String::from_utf8(bytes).or_else(|_| wrong("is not UTF-8".into()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a text file as [`decode`] does.
///
/// # Errors
/// [`Error::File`], and those of [`decode`].
pub fn read_text(path: &Path) -> Result<String> {
    decode(path, read(path)?)
}

/// The lines that are not blank, trimmed, with their numbers from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    let lines = text.split(end).zip(1..).filter(|&(line, number)| !(number == 1 && declared(line).is_some()));
    lines.map(|(line, number)| (number, line.trim())).filter(|(_, line)| !line.is_empty())
}

impl Table {
    /// Reads a file; see [`Table::parse`].
    ///
    /// # Errors
    /// [`Error::File`], and those of [`decode`] and [`Table::parse`].
    pub fn read(path: &Path, blanks: Blanks, is_header: impl FnOnce(&[Record<'_>]) -> bool) -> Result<Self> {
        Self::parse(path, read_text(path)?, blanks, is_header)
    }

    /// Recognises delimiter and header. `is_header` is given the first records (at least one, at most 100) and says whether
    /// the very first is a header; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Data`] where the text is empty, or a quote among the first lines is not closed on its line.
    pub fn parse(
        path: &Path,
        text: String,
        blanks: Blanks,
        is_header: impl FnOnce(&[Record<'_>]) -> bool,
    ) -> Result<Self> {
        let sample: Vec<(usize, &str)> = untrimmed(&text).take(SAMPLE).collect();
        if sample.is_empty() {
            return Err(Error::data(path, "is empty"));
        }
        refuse_json(path, &text)?;
        check_lines(path, &text)?;
        let declared = text.split(['\r', '\n']).next().and_then(declared);
        let recognise = || Delimiter::recognise(&sample.iter().map(|(_, line)| *line).collect::<Vec<_>>(), blanks);
        let delimiter = declared.unwrap_or_else(recognise);
        Self::parted(path, text, delimiter, is_header)
    }

    /// Text whose delimiter is known, such as a table that this project wrote; as [`Table::parse`] otherwise.
    ///
    /// # Errors
    /// As [`Table::parse`].
    pub fn parted(
        path: &Path,
        text: String,
        delimiter: Delimiter,
        is_header: impl FnOnce(&[Record<'_>]) -> bool,
    ) -> Result<Self> {
        let mut records = untrimmed(&text)
            .take(SAMPLE)
            .map(|(number, line)| record(path, number, line, delimiter))
            .collect::<Result<Vec<Record<'_>>>>()?;
        if records.is_empty() {
            return Err(Error::data(path, "is empty"));
        }
        let closed = records.iter().all(|r| r.fields.len() > 1 && r.fields.last().is_some_and(|last| last.is_empty()));
        if closed {
            records.iter_mut().for_each(|r| drop(r.fields.pop()));
        }
        let header = is_header(&records).then(|| {
            let Record { line, fields } = records.swap_remove(0);
            (line, fields.into_iter().map(Cow::into_owned).collect())
        });
        drop(records);
        Ok(Self { path: path.into(), text, delimiter, header, closed, has_index: false })
    }

    /// What parts the fields.
    pub fn delimiter(&self) -> Delimiter {
        self.delimiter
    }

    /// The names of the columns, as the header writes them; empty where there is none.
    pub fn header(&self) -> &[String] {
        self.header.as_ref().map_or(&[], |(_, names)| names)
    }

    /// The same table without a first column that has no name, as pandas writes the number of each row.
    #[must_use]
    pub fn without_index(mut self) -> Self {
        if let Some((_, names)) = self.header.as_mut().filter(|(_, names)| names.len() > 1 && is_index(&names[0])) {
            names.remove(0);
            self.has_index = true;
        }
        self
    }

    /// The line of the header, and its names, where there is one.
    pub fn header_line(&self) -> Option<(usize, &[String])> {
        self.header.as_ref().map(|(line, names)| (*line, names.as_slice()))
    }

    /// The column of the first of `names` that the header has; upper and lower case are alike.
    ///
    /// # Errors
    /// [`Error::Data`] where the header has that name twice.
    pub fn column(&self, names: &[&str]) -> Result<Option<usize>> {
        for name in names {
            let mut found = self.header().iter().enumerate().filter(|(_, h)| plain(h) == plain(name));
            if let Some((first, _)) = found.next() {
                return match found.next() {
                    None => Ok(Some(first)),
                    Some((second, _)) => Err(self.error(
                        self.header.as_ref().map_or(1, |(line, _)| *line),
                        &format!("columns {} and {} are both called '{name}'", first + 1, second + 1),
                    )),
                };
            }
        }
        Ok(None)
    }

    /// The column that a flag means: a header's name (upper and lower case are alike), else a number from 1.
    ///
    /// # Errors
    /// [`Error::Data`] naming the columns that there are.
    pub fn column_of(&self, wanted: &str) -> Result<usize> {
        if let Some(at) = self.column(&[wanted])? {
            return Ok(at);
        }
        let width = self.width()?;
        let by_number = wanted.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|&at| at < width);
        by_number.ok_or_else(|| {
            let names = match self.header() {
                [] => "none (there is no header)".to_owned(),
                header => header.join(", "),
            };
            Error::data(
                &self.path,
                format!("has no column '{wanted}'; columns by name: {names}; by number: 1 to {width}"),
            )
        })
    }

    /// How many fields the header has, or the first record.
    ///
    /// # Errors
    /// Those of [`Table::ragged`].
    pub fn width(&self) -> Result<usize> {
        if let Some((_, names)) = &self.header {
            return Ok(names.len());
        }
        self.ragged().next().transpose().map(|first| first.map_or(0, |r| r.fields.len()))
    }

    /// The records behind the header, each as wide as the first line.
    ///
    /// # Errors
    /// Each record may be [`Error::Data`]: it is narrower or wider, or a quote is not closed; the line is named.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>>> {
        let mut wanted = self.header.as_ref().map(|(line, names)| (*line, names.len()));
        self.ragged().map(move |record| {
            let record = record?;
            let (first, width) = *wanted.get_or_insert((record.line, record.fields.len()));
            if record.fields.len() != width {
                let problem = format!("{} fields, where line {first} has {width}", record.fields.len());
                return Err(self.error(record.line, &problem));
            }
            Ok(record)
        })
    }

    /// The records behind the header, of whatever width.
    ///
    /// # Errors
    /// Each record may be [`Error::Data`]: a quote is not closed; the line is named.
    pub fn ragged(&self) -> impl Iterator<Item = Result<Record<'_>>> {
        untrimmed(&self.text).skip(usize::from(self.header.is_some())).map(|(number, line)| {
            let mut record = record(&self.path, number, line, self.delimiter)?;
            if self.closed && record.fields.len() > 1 && record.fields.last().is_some_and(|last| last.is_empty()) {
                record.fields.pop();
            }
            if self.has_index {
                record.fields.remove(0);
            }
            Ok(record)
        })
    }

    /// An error about a line of this text.
    pub fn error(&self, line: usize, problem: &str) -> Error {
        Error::data(&self.path, format!("line {line}: {problem}"))
    }
}

/// The lines that are not blank with their numbers from 1; a delimiter at their end stays.
fn untrimmed(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    text.split(end)
        .zip(1..)
        .map(|(line, number)| (number, line.strip_suffix('\r').unwrap_or(line)))
        .filter(|&(number, line)| !(line.trim().is_empty() || number == 1 && declared(line).is_some()))
}

/// The delimiter that a first line `sep=;` declares. Excel puts it into quotes where it saves such a file again, and delimiters behind it.
fn declared(line: &str) -> Option<Delimiter> {
    let (word, marks) = line.trim_start_matches('"').split_at_checked(4)?;
    let mut marks = marks.trim_end_matches('\r').chars().filter(|c| *c != '"');
    let first = marks.next().filter(|first| word.eq_ignore_ascii_case("sep=") && marks.all(|c| c == *first))?;
    [Delimiter::Tab, Delimiter::Semicolon, Delimiter::Comma].into_iter().find(|delimiter| delimiter.is(first))
}

/// Refuses JSON, whose quotes and commas would be taken for those of a table.
fn refuse_json(path: &Path, text: &str) -> Result<()> {
    let text = text.trim();
    let is_of_lines =
        text.starts_with('{') && text.lines().next().is_some_and(|line| line.trim_end().ends_with(['}', '{']));
    let is_list = text.starts_with('[') && text.ends_with(']') && text.contains([',', '{']);
    if is_of_lines || is_list {
        let problem = "is JSON; wanted a table as text, such as CSV (pandas: read_json(FILE, lines=True) reads lines of it, and to_csv writes one)";
        return Err(Error::data(path, problem));
    }
    Ok(())
}

/// Refuses text with a line that is too long, or that ends its lines in two ways.
fn check_lines(path: &Path, text: &str) -> Result<()> {
    if let Some((number, _)) = untrimmed(text).find(|(_, line)| line.trim_end_matches('\r').contains('\r')) {
        let problem = format!(
            "line {number}: holds a carriage return, which ends lines in other files; wanted all lines ended alike"
        );
        return Err(Error::data(path, problem));
    }
    match untrimmed(text).find(|(_, line)| line.len() > LONGEST_LINE) {
        None => Ok(()),
        Some((number, line)) => {
            let problem = format!(
                "line {number}: is {} bytes long; wanted a table of lines of at most {LONGEST_LINE}",
                line.len()
            );
            Err(Error::data(path, problem))
        }
    }
}

fn record<'t>(path: &Path, number: usize, line: &'t str, delimiter: Delimiter) -> Result<Record<'t>> {
    let fields = split(line, delimiter).map_err(|problem| Error::data(path, format!("line {number}: {problem}")))?;
    Ok(Record { line: number, fields })
}

fn split(line: &str, delimiter: Delimiter) -> std::result::Result<Vec<Cow<'_, str>>, String> {
    let blank = |c: char| c.is_whitespace() && (delimiter == Delimiter::Blanks || !delimiter.is(c));
    let mut fields = Vec::new();
    let mut rest = line.trim_start_matches(blank);
    if delimiter == Delimiter::Blanks {
        rest = rest.trim_end();
    }
    loop {
        let begin = rest.trim_start_matches(blank);
        rest = match begin.strip_prefix('"') {
            Some(quoted) => {
                let (field, behind) = closing(quoted)
                    .ok_or_else(|| format!("field {}: the quote is not closed on its line", fields.len() + 1))?;
                fields.push(field);
                let next = behind.trim_start_matches(blank);
                // Blanks that part fields were just passed over.
                let parted = next.is_empty() || next.starts_with(|c| delimiter.is(c));
                if !(parted || delimiter == Delimiter::Blanks && next.len() < behind.len()) {
                    return Err(format!("field {}: goes on behind its closing quote", fields.len()));
                }
                next
            }
            None => {
                let end = begin.find(|c| delimiter.is(c)).unwrap_or(begin.len());
                fields.push(Cow::Borrowed(begin[..end].trim()));
                if delimiter == Delimiter::Blanks { begin[end..].trim_start_matches(blank) } else { &begin[end..] }
            }
        };
        if rest.is_empty() {
            return Ok(fields);
        }
        if delimiter != Delimiter::Blanks {
            // Each of tab, semicolon and comma is one byte.
            rest = &rest[1..];
        }
    }
}

/// What is inside the quote that has been opened, and what follows the closing one.
fn closing(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let at = from + quoted[from..].find('"')?;
        if quoted[at + 1..].starts_with('"') {
            from = at + 2;
            continue;
        }
        let inside = &quoted[..at];
        let field = if inside.contains('"') { Cow::Owned(inside.replace("\"\"", "\"")) } else { Cow::Borrowed(inside) };
        return Some((field, &quoted[at + 1..]));
    }
}

/// A header as it is compared with others: `Image Path` and `imagePath` are `image_path`.
pub fn plain(header: &str) -> String {
    let mut words = String::with_capacity(header.len() + 2);
    let mut was_small = false;
    for c in header.trim().chars() {
        if was_small && c.is_uppercase() {
            words.push('_');
        }
        was_small = c.is_lowercase() || c.is_ascii_digit();
        words.push(if matches!(c, ' ' | '-') { '_' } else { c });
    }
    words.to_lowercase()
}

/// An index without a name, as pandas writes it.
pub fn is_index(header: &str) -> bool {
    header.is_empty() || header.to_lowercase().starts_with("unnamed:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, header: bool) -> Table {
        Table::parse(Path::new("list.csv"), text.into(), Blanks::Separate, |_| header).unwrap()
    }

    fn fields(text: &str) -> Vec<Vec<String>> {
        let table = table(text, false);
        table.records().map(|r| r.unwrap().fields.into_iter().map(Cow::into_owned).collect()).collect()
    }

    #[test]
    fn every_delimiter_is_recognised_outside_of_quotes() {
        let wanted = [["a b.png", "x, y"], ["c.png", "1"]];
        for text in [
            "a b.png,\"x, y\"\nc.png,1\n",
            "a b.png ; x, y\r\nc.png;1\r\n\r\n",
            "a b.png\tx, y\nc.png\t1",
            "\"a b.png\"   \"x, y\"\n\nc.png \t 1  \n",
            "\"a b.png\",\"x, y\"\rc.png,1\r",
            "\"a b.png\" , \"x, y\" \nc.png, 1\n\n\n",
        ] {
            assert_eq!(fields(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_delimiter_that_parts_all_lines_alike_goes_before_one_inside_a_name() {
        assert_eq!(fields("a;b.png,1\nc.png,2\n"), [["a;b.png", "1"], ["c.png", "2"]]);
        assert_eq!(fields("say \"\"x, 1\ny, 2"), [["say \"\"x", "1"], ["y", "2"]]);
        assert_eq!(fields("\"say \"\"x\"\"\", 1\ny, 2"), [["say \"x\"", "1"], ["y", "2"]]);
    }

    #[test]
    fn without_a_delimiter_a_line_is_one_field_or_words() {
        let read = |blanks| {
            let table = Table::parse(Path::new("l"), "Cocker Spaniel\n\"Pug\"\n".into(), blanks, |_| false).unwrap();
            let widths = table.ragged().map(|r| r.unwrap().fields.len()).collect::<Vec<_>>();
            (table.delimiter(), widths)
        };
        assert_eq!(read(Blanks::Belong), (Delimiter::None, vec![1, 1]));
        assert_eq!(read(Blanks::Separate), (Delimiter::Blanks, vec![2, 1]));
    }

    #[test]
    fn a_first_line_that_says_the_delimiter_is_no_record() {
        for text in
            ["sep=;\na,b;1\nc;2\n", "SEP=;\r\na,b;1\r\nc;2\r\n", "\"sep=;\"\na,b;1\nc;2\n", "\"sep=;\";\na,b;1\nc;2"]
        {
            assert_eq!(fields(text), [["a,b", "1"], ["c", "2"]], "{text:?}");
            assert_eq!(table(text, false).records().next().unwrap().unwrap().line, 2, "{text:?}");
            assert_eq!(lines(text).next(), Some((2, "a,b;1")));
        }
        // What is declared goes before what looks right.
        assert_eq!(fields("sep=,\na;b,1\nc;d,2\n"), [["a;b", "1"], ["c;d", "2"]]);
        assert_eq!(fields("sep=\t\na;b\t1\n"), [["a;b", "1"]]);
        assert_eq!(table("sep=;\nPath;Label\na;1\n", true).header(), ["Path", "Label"]);
        for text in ["sep=x;1\n", "separate;1\n", "sep=;a\n", "a;1\nsep=;\n"] {
            assert_eq!(table(text, false).ragged().count(), text.lines().count(), "{text:?}");
        }
        let empty = Table::parse(Path::new("l"), "sep=;\n".into(), Blanks::Separate, |_| false);
        assert_eq!(empty.unwrap_err().to_string(), "l: is empty");
    }

    #[test]
    fn lines_are_numbered_as_an_editor_numbers_them() {
        let table = table("path,label\n\na,1\n\nb,2,3\n", true);
        let read: Vec<_> = table.records().collect();
        assert_eq!(read[0].as_ref().unwrap().line, 3);
        assert_eq!(read[1].as_ref().unwrap_err().to_string(), "list.csv: line 5: 3 fields, where line 1 has 2");
    }

    #[test]
    fn an_index_without_a_name_is_left_out_where_it_is_asked() {
        for name in ["", "Unnamed: 0"] {
            let table = table(&format!("{name},a,b\n0,x,1\n1,y,2\n"), true).without_index();
            let rows: Vec<String> = table.records().map(|record| record.unwrap().fields.join(" ")).collect();
            assert_eq!((table.header().join(" "), rows), ("a b".into(), vec!["x 1".to_owned(), "y 2".into()]));
        }
        assert_eq!(table("a,b\n0,x\n", true).without_index().header(), ["a", "b"]);
    }

    #[test]
    fn columns_are_found_by_name_or_number() {
        let table = table("Path;Label;label\na;1;2\n", true);
        assert_eq!(table.column(&["file", "PATH"]).unwrap(), Some(0));
        assert!(table.column(&["label"]).unwrap_err().to_string().contains("line 1: columns 2 and 3 are both"));
        assert_eq!(table.column_of("3").unwrap(), 2);
        let message = table.column_of("colour").unwrap_err().to_string();
        assert!(message.contains("no column 'colour'; columns by name: Path, Label, label; by number: 1 to 3"));
        assert!(table.column_of("0").is_err() && table.column_of("4").is_err());
    }

    #[test]
    fn headers_are_compared_by_their_words() {
        for (header, wanted) in [
            ("Image Path", "image_path"),
            ("imagePath", "image_path"),
            ("ClassId", "class_id"),
            ("personID", "person_id"),
            ("CLASS-ID", "class_id"),
            (" isQuery ", "is_query"),
            ("URL", "url"),
            ("Roi.X1", "roi.x1"),
        ] {
            assert_eq!(plain(header), wanted);
        }
        let table = table("Roi.X1;ClassId;Path\n1;2;a\n", true);
        assert_eq!((table.column(&["class_id"]).unwrap(), table.column(&["path"]).unwrap()), (Some(1), Some(2)));
    }

    #[test]
    fn a_delimiter_that_ends_every_line_makes_no_column() {
        assert_eq!(fields("name,n,\nA,1,\n"), [["name", "n"], ["A", "1"]]);
        assert_eq!(fields("name,n,\nA,1,x\n"), [["name", "n", ""], ["A", "1", "x"]]);
        assert_eq!(fields(",path\n0,a\n"), [["", "path"], ["0", "a"]]);
    }

    #[test]
    fn quotes_are_closed_on_their_line() {
        let wrong = |text: &str| {
            let table = Table::parse(Path::new("l"), text.into(), Blanks::Belong, |_| false);
            table.and_then(|t| t.records().collect::<Result<Vec<_>>>().map(drop)).unwrap_err().to_string()
        };
        assert_eq!(wrong("a,1\n\"b,2\nc,3\n"), "l: line 2: field 1: the quote is not closed on its line");
        assert_eq!(wrong("a,1\n\"b\"c,2\n"), "l: line 2: field 1: goes on behind its closing quote");
        assert_eq!(
            wrong(&format!("{}a,\"1\n", "a,1\n".repeat(200))),
            "l: line 201: field 2: the quote is not closed on its line"
        );
        assert_eq!(wrong("\n \n"), "l: is empty");
    }

    #[test]
    fn json_is_refused_as_such() {
        let parse = |text: &str| Table::parse(Path::new("l"), text.to_owned(), Blanks::Belong, |_| false);
        for text in [
            "{\"file_name\": \"a.jpg\", \"label\": 1}\n{\"file_name\": \"b.jpg\", \"label\": 2}\n",
            "[1, 2]\n",
            "{\n \"images\": []\n}\n",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("is JSON; wanted a table"), "{error}");
        }
        assert!(parse("[a]\n[b]\n").is_ok() && parse("{a},1\n{b},2\n").is_ok());
    }

    #[test]
    fn a_line_without_end_is_refused_before_anything_is_done_with_it() {
        let wrong = |text: String| {
            Table::parse(Path::new("l"), text, Blanks::Separate, |_| panic!("looked at")).unwrap_err().to_string()
        };
        let long = "a".repeat(LONGEST_LINE + 1);
        assert!(wrong(long.clone()).starts_with("l: line 1: is 1048577 bytes long"));
        assert!(wrong(format!("a,1\n{}b,{long}\n", "a,1\n".repeat(200))).starts_with("l: line 202: is 1048579 bytes"));
        assert_eq!(fields(&"a".repeat(LONGEST_LINE)).len(), 1);
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_by_name_and_line() {
        let wrong = |bytes: &[u8]| decode(Path::new("l"), bytes.to_vec()).unwrap_err().to_string();
        assert!(wrong(b"\xff\xfea\0").contains("UTF-16"));
        assert!(wrong(b"\xfe\xff\0a").contains("UTF-16"));
        assert!(wrong(b"a\nb\0").contains("line 2: holds a NUL byte"));
        assert!(wrong(b"a\nb\nJos\xe9\n").contains("line 3: byte 0xe9 is not UTF-8"));
        assert_eq!(decode(Path::new("l"), "\u{feff}é\n".into()).unwrap(), "é\n");
        let packed: [(&[u8], &str); 8] = [
            (b"\x1f\x8b\x08\0", "is a gzip file; wanted text: unpack it (gunzip)"),
            (b"BZh91AY&SY\xff", "is a bzip2 file; wanted text: unpack it (bunzip2)"),
            (b"\xfd7zXZ\0", "is an xz file; wanted text: unpack it (unxz)"),
            (b"\x28\xb5\x2f\xfd\x04", "is a zstandard file; wanted text: unpack it (unzstd)"),
            (
                b"PK\x03\x04\x14\0",
                "is a zip archive; wanted text: unpack it, or save the sheet as CSV where it is Excel's",
            ),
            (b"7z\xbc\xaf\x27\x1c\0", "is a 7z archive; wanted text: unpack it"),
            (b"\x93NUMPY\x01\0", "is an .npy file; wanted text: write it by numpy.savetxt"),
            (b"PAR1\x15\0", "is a parquet file; wanted text: write paths and labels as CSV"),
        ];
        for (bytes, said) in packed {
            assert!(wrong(bytes).contains(said), "{}", wrong(bytes));
        }
        for text in ["BZh\n", "Rar!\n", "PAR1,1\n"] {
            assert_eq!(decode(Path::new("l"), text.into()).unwrap(), text, "words that are so");
        }
    }
}
