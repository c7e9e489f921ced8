//! Labels of kept embeddings: one a line, or a CSV with a `label` column and perhaps `name`, `role`, `image`, `camera`, `row`.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use super::{Embeddings, Row};
use crate::dataset::columns::{LABEL, PATH, ROLE, called, image_column, may_hold_images};
use crate::dataset::{Role, Roles, composed, said_by_one, several, slips_in, unsaid};
use crate::delimited::{Blanks, Record, Table, decode, is_index, lines, plain};
use crate::error::{Error, Result};
use crate::files;
use crate::npy;

/// What a first line is, and no label, where there is no other column.
const LABEL_ALONE: [&str; 7] = ["label", "labels", "class", "class_id", "target", "identity", "y"];
/// What they call the name of the image; a person's own file may call it otherwise, too ([`PATH`]).
pub(super) const NAME: [&str; 4] = ["name", "path", "image_path", "filename"];
const IMAGE: &str = "image";
pub(super) const CAMERA: &str = "camera";
/// The row of the matrix, from 0: lines that were sorted anew are noticed by it.
const PLACE: &str = "row";
/// Of the embeddings that the labels were written for, in the first row.
const MATRIX: &str = "matrix_sha256";
/// What was said when they were made, in the first row.
const NOTES: &str = "notes";

/// What a file of labels says.
pub(super) struct Labels {
    pub rows: Vec<Row>,
    pub classes: Vec<String>,
    pub matrix_sha256: Option<String>,
    /// What was assumed: a sentence each.
    pub notes: Vec<String>,
    has_header: bool,
}

impl Labels {
    /// Why there may be one label too many for a matrix of these sizes, or as many as it has columns.
    pub(super) fn hint(&self, (rows, columns): (usize, usize)) -> String {
        match self.rows.first() {
            Some(first) if !self.has_header && self.rows.len() == rows + 1 => {
                format!(" (is its first line, '{}', a header? It must be called 'label')", self.classes[first.class])
            }
            Some(_) if self.has_header && self.rows.len() + 1 == rows => {
                " (its first line is taken for the names of the columns: is it a row? Write a header above it)".into()
            }
            _ if self.rows.len() == columns => " (is the matrix on its side? Wanted a row an image)".into(),
            _ => String::new(),
        }
    }
}

/// Writes the rows, the digest of their matrix, and what was said of it.
pub(super) fn write(embeddings: &Embeddings, matrix_sha256: &str, file: &mut File) -> std::io::Result<()> {
    let has_images = embeddings.rows.iter().any(|row| row.image.is_some());
    let has_cameras = embeddings.rows.iter().any(|row| row.camera.is_some());
    let optional = |has: bool, text: String| has.then_some(text);
    let number = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
    let texts = || embeddings.rows.iter().flat_map(|row| [&row.name, &embeddings.classes[row.class]]);
    if let Some(text) = texts().find(|text| text.contains(['\n', '\r'])) {
        let problem = format!(
            "{text:?} has a line break, which lines of a table cannot hold; wanted another name, or .safetensors"
        );
        return Err(std::io::Error::other(problem));
    }
    // Blanks at the ends are kept within quotes alone.
    let has_blanks = texts().any(|text| text.trim() != text);
    let style = if has_blanks { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(file);
    let head = [optional(has_images, IMAGE.into()), optional(has_cameras, CAMERA.into())];
    let head = head.into_iter().flatten();
    let has_notes = !embeddings.notes.is_empty();
    let tail = [Some(PLACE), Some(MATRIX), has_notes.then_some(NOTES)].into_iter().flatten().map(str::to_owned);
    writer.write_record(["name", "label", ROLE[0]].map(str::to_owned).into_iter().chain(head).chain(tail))?;
    for (at, row) in embeddings.rows.iter().enumerate() {
        let fields = [row.name.clone(), embeddings.classes[row.class].clone(), row.role.as_str().into()];
        let numbers = [optional(has_images, number(row.image)), optional(has_cameras, number(row.camera))];
        let of_all = |text: String| if at == 0 { text } else { String::new() };
        let tail = [
            Some(at.to_string()),
            Some(of_all(matrix_sha256.to_owned())),
            has_notes.then(|| of_all(embeddings.notes.join("; ").replace(['\n', '\r'], " "))),
        ];
        writer.write_record(fields.into_iter().chain(numbers.into_iter().chain(tail).flatten()))?;
    }
    writer.flush()
}

/// Reads either form, of a matrix of so many rows: where there is a label a line, and a line for each row, the first is no header if it is
/// there again.
pub(super) fn read(path: &Path, rows: usize) -> Result<Labels> {
    let bytes = files::read(path)?;
    if bytes.starts_with(npy::MAGIC) {
        let wanted = "numpy.savetxt('labels.txt', labels, fmt='%s')";
        return Err(Error::data(path, format!("is an .npy file; wanted text, one label a line or a CSV: {wanted}")));
    }
    let text = decode(path, bytes)?;
    let all: Vec<&str> = lines(&text).map(|(_, line)| line).collect();
    let is_label = all.split_first().is_some_and(|(first, others)| all.len() == rows && others.contains(first));
    let table = Table::parse(path, text, Blanks::Belong, |records| match records[0].fields.as_slice() {
        // A class may be called `person` or `category`.
        [alone] => !is_label && LABEL_ALONE.contains(&plain(alone).as_str()),
        several => several.iter().any(|field| LABEL.contains(&plain(field).as_str())),
    })?;
    let has_header = !table.header().is_empty();
    let label = table.column(&LABEL)?.unwrap_or(0);
    let width = table.width()?;
    if !has_header && width > 1 {
        return Err(table.error(
            1,
            &format!("{width} columns and no header with a column 'label'; wanted that, or one label a line (in quotes, where it has a comma)"),
        ));
    }
    let said = table
        .header()
        .iter()
        .position(|name| name == NOTES)
        .filter(|_| table.header().iter().any(|name| name == MATRIX));
    let columns = [NAME.as_slice(), &[IMAGE], &[CAMERA], &[MATRIX]].map(|names| table.column(names));
    let [name, image, camera, matrix] = columns;
    let (mut name, matrix) = (name?, matrix?);
    let holds_images = |column: usize| may_hold_images(&table, column);
    if matrix.is_none() && !name.is_some_and(holds_images) {
        // A person's name beside the name of a file.
        let images = image_column(&table, |column| column != label).ok().flatten().map(|images| images.at);
        name = images.filter(|&column| holds_images(column)).or(name);
    }
    if name.is_none() && matrix.is_none() {
        name = table.column(&PATH)?.filter(|&column| column != label);
    }
    // A person's column of that name may hold anything; only our own files number images.
    let image = if matrix.is_some() { image? } else { None };
    let place = if matrix.is_some() { table.column(&[PLACE])? } else { None };
    let camera = camera?;
    let roles = Roles::find(&table, &[Some(label), name, image, camera, matrix, place])?;
    let used = [Some(label), name, roles.role, roles.query, roles.gallery, image, camera, matrix, place, said];
    let mut notes = passed_over(path, &table, &used);
    if let Some(role) = roles.role.map(|column| &table.header()[column]).filter(|name| plain(name) != ROLE[0]) {
        notes.push(format!("{}: column '{role}' is taken for the role of each row", path.display()));
    } else if roles.role.is_none() {
        let [query, gallery] = [roles.query, roles.gallery].map(|column| column.map(|column| called(&table, column)));
        notes.extend(said_by_one("rows", query, gallery).map(|said| format!("{}: {said}", path.display())));
    }
    if let (Some(camera), None) = (camera, matrix) {
        let camera = &table.header()[camera];
        notes.push(format!(
            "{}: images of one class and one camera (column '{camera}') are not counted as each other's neighbours by Recall@K and the \
             like, as on Market-1501; another name for the column has them counted",
            path.display()
        ));
    }
    notes.extend(doubt_of_order(path, &table, &[Some(label), camera, place]));
    if let (Some(_), None) = (matrix, place) {
        notes.push(format!(
            "{}: has no column '{PLACE}', by which lines in another order than the matrix's rows are noticed",
            path.display()
        ));
    }
    let mut read = Labels { rows: Vec::new(), classes: Vec::new(), matrix_sha256: None, notes, has_header };
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let (mut last_line, mut silent) = (None, None);
    for (at, record) in table.records().enumerate() {
        let record = record?;
        let Record { line, fields } = &record;
        // One label a line: a blank line would move all that follow.
        if let Some(last) = last_line.replace(*line).filter(|last| width == 1 && last + 1 < *line) {
            return Err(table.error(last + 1, "is blank; wanted a label a line"));
        }
        if fields[label].is_empty() {
            return Err(table.error(*line, "the label is empty"));
        }
        if let Some(place) = place.map(|c| &fields[c]).filter(|place| place.parse() != Ok(at)) {
            let problem = format!(
                "is of row {place} of the matrix, wanted {at}: put the lines in order of their column '{PLACE}'"
            );
            return Err(table.error(*line, &problem));
        }
        let role = roles.of(&table, &record, false)?;
        silent = silent.or(role.is_none().then_some(*line));
        let number = |column: Option<usize>| match column.map(|c| fields[c].as_ref()) {
            None | Some("") => Ok(None),
            Some(word) => word
                .parse()
                .map(Some)
                .map_err(|_| table.error(*line, &format!("'{word}' is no number of an image or a camera"))),
        };
        // However its accents are spelt.
        let class = *numbers.entry(composed(&fields[label])).or_insert_with(|| {
            read.classes.push(fields[label].to_string());
            read.classes.len() - 1
        });
        let name = name.map_or_else(|| format!("row {at}"), |c| fields[c].to_string());
        read.rows.push(Row {
            image: number(image)?,
            camera: number(camera)?,
            ..Row::new(name, class, role.unwrap_or(Role::Both))
        });
        if let Some(digest) = matrix.map(|c| &fields[c]).filter(|digest| !digest.is_empty()) {
            if at > 0 {
                let problem = format!(
                    "has {MATRIX}, which the line of the matrix's first row has: put the lines in the order that they were written in"
                );
                return Err(table.error(*line, &problem));
            }
            read.matrix_sha256 = Some(digest.to_string());
        }
        if let Some(said) = said.map(|c| &fields[c]).filter(|said| !said.is_empty()) {
            read.notes.push(said_when_made(path, said));
        }
    }
    if read.rows.is_empty() {
        return Err(Error::data(path, "holds a header and no label"));
    }
    if let Some(line) = silent.filter(|_| read.rows.iter().any(|row| row.role != Role::Both)) {
        return Err(table.error(line, &unsaid("lines")));
    }
    read.notes.extend(slips_in(read.classes.iter().map(String::as_str)));
    Ok(read)
}

/// What was said of embeddings when they were made holds for them as long as they are kept.
pub(super) fn said_when_made(path: &Path, said: &str) -> String {
    format!("{}: when these embeddings were made it was said: {said}", path.display())
}

/// What is said of a column that numbers the lines, and has them in another order: a table that was shuffled or sorted keeps the
/// index that it had, whatever that is called.
fn doubt_of_order(path: &Path, table: &Table, others: &[Option<usize>]) -> Option<String> {
    let header = table.header();
    // Whether a column numbers the lines, and in their order.
    let numbers = |column: usize| -> Option<bool> {
        let records = table.records().map(|record| record.ok()?.fields[column].parse().ok());
        let numbers: Vec<usize> = records.collect::<Option<_>>()?;
        let first = *numbers.iter().min()?;
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let is_permutation = first <= 1 && sorted.iter().zip(first..).all(|(number, place)| *number == place);
        is_permutation.then_some(numbers == sorted)
    };
    // Our own column says that nothing was moved, whatever others number; pandas' index says only that it was numbered anew.
    if header.iter().position(|name| name == PLACE).and_then(numbers) == Some(true) {
        return None;
    }
    let mut columns = (0..header.len()).filter(|column| !others.contains(&Some(*column)));
    let column = columns.find(|&column| numbers(column) == Some(false))?;
    let name = if header[column].is_empty() { "1, which has no name," } else { header[column].as_str() };
    Some(format!(
        "{}: column {name} numbers the lines in another order than theirs, and rows of the matrix are taken in the order of the lines: \
         was the table sorted or shuffled?",
        path.display()
    ))
}

/// What is said of columns that nothing is read from; an index without a name, as pandas writes it, is none of them.
fn passed_over(path: &Path, table: &Table, used: &[Option<usize>]) -> Vec<String> {
    let header = table.header();
    let left: Vec<&String> = (0..header.len())
        .filter(|at| !used.contains(&Some(*at)))
        .map(|at| &header[at])
        .filter(|name| !is_index(name) && ![PLACE, MATRIX].contains(&name.as_str()))
        .collect();
    let mut notes = Vec::new();
    if let (Some(label), true) = (used[0], left.iter().any(|name| LABEL.contains(&plain(name).as_str()))) {
        notes.push(format!("{}: labels are read from column '{}'", path.display(), header[label]));
    }
    if !left.is_empty() {
        let left = several(left.into_iter().map(|name| format!("'{name}'")));
        notes.push(format!("{}: nothing is read from column {left}", path.display()));
    }
    notes
}
