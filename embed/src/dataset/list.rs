//! A table of a path and one or more labels, a line an image; comma, tab, semicolon or blanks part its columns.
//!
//! With a header, the path is in the column called `path`, `image`, `file`, ... and the label in the one called `label`,
//! `class`, ...; else the path is in the one column whose values look like images, and the label in the first other one.
//! A column `role` (or `is_query` and `is_gallery`) holds `query`, `gallery` or `both`, a column `split` (or `is_train`, `is_val`
//! and `is_test`) the image's part, or both in one column (`train`, `query`, `gallery`); a column that is called otherwise and holds
//! nothing but such words is taken for one, too.
//! Columns without a use are said. A column of weights is read where one is named.
//! An index without a name, as pandas writes it, is no label, nor is a column called `id`, `width`, ..., nor one whose values
//! are all different where there is another.

use std::path::Path;

use super::assigned::{Columns, ID};
use super::cameras;
use super::columns::{LABEL, PATH, called, is_known};
use super::layout::Place;
use super::part::{Part, with_ending};
use super::roles::unsaid;
use super::{Listed, Listing, Request, Role, Source, Split, is_image, numbers};
use crate::delimited::{Blanks, Delimiter, Record, Table, plain};
use crate::error::{Error, Result};
use crate::files::folder_of;

/// Where the images of a list are: `--root`, else the list's own folder. Neither is walked.
pub(super) fn images_of(request: &Request) -> Result<Source> {
    match &request.root {
        None => Ok(Source::folder(folder_of(&request.path))),
        Some(root) if root.is_dir() => Ok(Source::folder(root)),
        Some(root) if Source::is_archive(root) => Source::open_within(root, &request.limits),
        Some(root) => Err(Error::Usage(format!("--root {}: is neither a folder nor an archive", root.display()))),
    }
}

/// An image, as a line has it.
struct Row {
    line: usize,
    name: String,
    label: String,
    part: Option<Part>,
    role: Role,
    weight: Option<f64>,
    camera: Option<u32>,
}

/// The list, and where its images are.
pub(super) fn list(source: Source, request: &Request) -> Result<(Source, Listing)> {
    let path = &request.path;
    let mut path_column = 0;
    let table = Table::read(path, Blanks::Separate, |records| {
        path_column = records.iter().map(|r| r.fields.len()).max().map_or(0, |width| path_place(records, width));
        let named = |record: &Record<'_>| {
            let is_there = |f: &str| source.find(f).is_some() || with_ending(&source, f).is_some();
            record.fields.get(path_column).is_some_and(|f| is_image(f) || is_there(f))
        };
        let is_row = has_path(&records[0], path_column) && !knows(&records[0]);
        !named(&records[0]) && !is_row && (records[1..].iter().any(named) || has_names(records))
    })?;
    let columns = Columns::find(&table, path_column, request, path)?;
    let (mut rows, mut any_role, mut silent): (Vec<Row>, bool, Option<usize>) = (Vec::new(), false, None);
    let (mut places, mut cameras) = (Vec::new(), Vec::new());
    for record in table.records() {
        let record = record.map_err(|e| with_hint(e, table.delimiter()))?;
        let Record { line, fields } = &record;
        let part = columns.part(&table, &record)?;
        let is_train = part == Some(Part::Train);
        let said = columns.roles.of(&table, &record, is_train)?;
        if said.is_none() && !is_train {
            silent.get_or_insert(*line);
        }
        places.extend(columns.place(&record));
        cameras.extend(columns.camera.map(|c| fields[c].to_string()));
        let role = said.unwrap_or(Role::Both);
        any_role |= role != Role::Both;
        if fields[columns.path].is_empty() {
            return Err(table.error(*line, "the path is empty"));
        }
        if fields[columns.label].is_empty() {
            return Err(table.error(*line, "the label is empty"));
        }
        let weight = columns.weight(&table, &record)?;
        let (name, label) = (fields[columns.path].to_string(), fields[columns.label].to_string());
        rows.push(Row { line: *line, name, label, part, role, weight, camera: None });
    }
    if rows.is_empty() {
        return Err(Error::data(path, "holds a header and no image"));
    }
    if let Some(line) = silent.filter(|_| any_role) {
        return Err(table.error(line, &unsaid("lines")));
    }
    let mut notes = columns.notes(&table);
    rows.iter_mut().zip(cameras::numbered(&cameras)).for_each(|(row, camera)| row.camera = camera);
    if columns.places.is_some() {
        any_role |= settle(&mut rows, &places, &mut notes);
    }
    match columns.camera {
        Some(column) => notes.push(cameras::said(&called(&table, column))),
        None if any_role => {
            let compared = rows.iter().filter(|row| row.part != Some(Part::Train));
            notes.extend(cameras::untold(compared.map(|row| (row.name.as_str(), row.label.as_str()))));
        }
        None => {}
    }
    if let Some((line, names)) = table.header_line().filter(|(_, names)| !names.iter().any(|name| is_known(name))) {
        notes.push(format!("line {line}, '{}', is taken for the names of the columns", names.join(", ")));
    }
    let source = match under_current_folder(&source, request, rows.iter().map(|row| row.name.as_str())) {
        None => source,
        Some(current) => {
            notes.push(format!(
                "its images are not in {}, but relative to the current folder, and taken from there",
                source.path().display()
            ));
            current
        }
    };
    let numbers = numbers::of_names(rows.iter().map(|row| row.label.as_str()));
    let image = |row: &Row| Listed {
        part: row.part,
        role: row.role,
        line: Some(row.line),
        weight: row.weight,
        camera: row.camera,
        ..Listed::new(row.name.clone(), numbers[row.label.as_str()])
    };
    let images: Vec<Listed> = rows.iter().map(image).collect();
    // Only the held-out part has queries and a gallery.
    let has = |part| images.iter().any(|i| i.part == Some(part));
    let protocol = match (any_role && has(Part::Train), has(Part::Test), has(Part::Validation)) {
        (true, true, _) => Split::Test,
        (true, false, true) => Split::Val,
        _ => Split::All,
    };
    let names = numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect();
    Ok((source, Listing { notes, label: Some(columns.label_word(&table)), ..Listing::new(images, names, protocol) }))
}

/// Part and role of each image by its place among all that there are; whether any has a role.
fn settle(rows: &mut Vec<Row>, places: &[Place], notes: &mut Vec<String>) -> bool {
    let mut there = places.to_vec();
    there.sort_unstable();
    there.dedup();
    let before = rows.len();
    let mut any_role = false;
    let mut of_rows = places.iter();
    rows.retain_mut(|row| {
        let Some((its_part, its_role)) = of_rows.next().and_then(|place| place.part_and_role(&there)) else {
            return false;
        };
        (row.part, row.role) = (Some(its_part), its_role);
        any_role |= its_role != Role::Both;
        true
    });
    match before - rows.len() {
        0 => notes.extend(Place::note(&there)),
        left => notes.push(format!("left out {left} images of test: there are query and gallery beside it")),
    }
    any_role
}

/// The first column that most of the records give an image's name in.
fn path_place(records: &[Record<'_>], width: usize) -> usize {
    let images = |column: usize| records.iter().filter(|r| r.fields.get(column).is_some_and(|f| is_image(f))).count();
    (0..width).rev().max_by_key(|&column| images(column)).unwrap_or(0)
}

/// Whether a record names a column by one of these words.
fn knows(record: &Record<'_>) -> bool {
    record.fields.iter().any(|field| is_known(field))
}

/// Whether a record has what looks like a path, though it ends as no image does that is read: `bird/1.heic`, `bird/1`, `1.jpgx`.
fn has_path(record: &Record<'_>, column: usize) -> bool {
    let is_ending = |end: &str| (1..=5).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric());
    let ends = |field: &str| field.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && is_ending(end));
    record.fields.get(column).is_some_and(|field| field.contains(['/', '\\']) || ends(field))
}

/// Whether a first line without an image's name is a header: it names a path in a column where no other line has that word, or an id,
/// as Kaggle's lists have it, and a label.
fn has_names(records: &[Record<'_>]) -> bool {
    let words: Vec<String> = records[0].fields.iter().map(|f| plain(f)).collect();
    let any = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let is_alone = |(at, word): (usize, &String)| {
        let is_again = |record: &Record<'_>| record.fields.get(at).is_some_and(|field| plain(field) == *word);
        PATH.contains(&word.as_str()) && !records[1..].iter().any(is_again)
    };
    any(&[ID]) && any(&LABEL) || words.iter().enumerate().any(is_alone)
}

/// The current folder, where all images of the list are there and none in the list's own folder.
fn under_current_folder<'n>(
    source: &Source,
    request: &Request,
    mut names: impl Iterator<Item = &'n str> + Clone,
) -> Option<Source> {
    let current = Source::folder(Path::new("."));
    let elsewhere = request.root.is_none()
        && !names.clone().any(|name| source.find(name).is_some())
        && names.all(|name| current.find(name).is_some());
    elsewhere.then_some(current)
}

fn with_hint(error: Error, delimiter: Delimiter) -> Error {
    match error {
        Error::Data { path, problem } if delimiter == Delimiter::Blanks => Error::Data {
            path,
            problem: format!(
                "{problem}; blanks part the fields: put names with blanks into quotes, or part by comma or tab"
            ),
        },
        other => other,
    }
}
