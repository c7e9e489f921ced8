//! Delimited text whose delimiter is not known beforehand: what lists of images and of pairs share.

/// The delimiter that a line shows: tab, semicolon or comma, in this order.
pub fn delimiter(line: &str) -> Option<u8> {
    [b'\t', b';', b','].into_iter().find(|&delimiter| line.bytes().any(|byte| byte == delimiter))
}

/// Every record, a header like any other: the number of its line, from 1, and its fields without surrounding blanks.
/// Records may differ in width.
pub fn read_records(text: &str, delimiter: u8) -> Result<Vec<(u64, Vec<String>)>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let numbered = |record: csv::StringRecord| {
        (record.position().map_or(0, csv::Position::line), record.iter().map(str::to_owned).collect())
    };
    reader.records().map(|record| record.map(numbered)).collect()
}
