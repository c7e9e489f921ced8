//! What tables that people give call their columns: lists of images, labels of kept embeddings, groups of images.
//!
//! All of them know the same names, and find the column that names the images by one rule ([`image_column`]).

use std::collections::HashSet;

use super::is_image;
use super::layout::Place;
use super::part::Part;
use super::source::names::several;
use crate::delimited::{Table, is_index, plain};
use crate::error::Result;

/// What headers call the path of an image.
pub const PATH: [&str; 16] = [
    "path",
    "image_path",
    "img_path",
    "file_path",
    "filepath",
    "image",
    "img",
    "file",
    "filename",
    "file_name",
    "image_name",
    "img_name",
    "image_file",
    "image_id",
    "name",
    "fname",
];
/// What they call its label.
pub(crate) const LABEL: [&str; 19] = [
    "label",
    "labels",
    "class",
    "class_id",
    "class_name",
    "label_id",
    "label_name",
    "identity",
    "person",
    "person_id",
    "item_id",
    "target",
    "category",
    "category_id",
    "species",
    "breed",
    "subject",
    "subject_id",
    "y",
];
/// What they call columns that are no labels.
pub(super) const NO_LABEL: [&str; 17] = [
    "id",
    "idx",
    "index",
    "width",
    "height",
    "w",
    "h",
    "size",
    "bytes",
    "format",
    "url",
    "md5",
    "sha1",
    "sha256",
    "date",
    "timestamp",
    "source",
];
/// What they call the part that an image plays in retrieval; the second also where it holds parts of the data set.
pub(crate) const ROLE: [&str; 2] = ["role", "part"];
/// What they call the part of the data set that it is of.
pub(super) const SPLIT: [&str; 3] = ["split", "subset", "set"];
/// Columns of true and false; the shorter names only where they hold nothing else.
pub(crate) const IS_QUERY: [&str; 2] = ["is_query", "query"];
pub(crate) const IS_GALLERY: [&str; 2] = ["is_gallery", "gallery"];
pub(super) const IS_PART: [(Part, &[&str]); 3] = [
    (Part::Train, &["is_train", "is_training", "is_training_image", "in_train", "train", "training"]),
    (Part::Validation, &["is_val", "is_valid", "is_validation", "in_val", "val", "valid", "validation"]),
    (Part::Test, &["is_test", "is_testing", "in_test", "test", "testing"]),
];

/// Whether a field is a word that headers have.
pub(super) fn is_known(field: &str) -> bool {
    let word = plain(field);
    let parts = IS_PART.iter().flat_map(|(_, names)| names.iter());
    let known: [&[&str]; 7] = [&PATH, &LABEL, &NO_LABEL, &ROLE, &SPLIT, &IS_QUERY, &IS_GALLERY];
    known.iter().flat_map(|names| names.iter()).chain(parts).any(|known| *known == word)
}

/// What a word of a column of true and false means.
pub(crate) fn truth(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "true" | "1" | "1.0" | "yes" | "t" | "y" => Some(true),
        "false" | "0" | "0.0" | "no" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// The column of a flag: called by the first name, or by another where it holds nothing but true and false.
pub(super) fn flag_column(table: &Table, names: &[&str]) -> Result<Option<usize>> {
    let surely = table.column(&names[..1])?;
    let holds = |&c: &usize| holds_only(table, c, |word| truth(word).is_some());
    Ok(surely.or(table.column(&names[1..])?.filter(holds)))
}

/// Whether every value of a column is one of these words.
pub(super) fn holds_only(table: &Table, column: usize, known: impl Fn(&str) -> bool) -> bool {
    let mut records = table.ragged().filter_map(Result::ok).peekable();
    records.peek().is_some() && records.all(|record| record.fields.get(column).is_some_and(|field| known(field)))
}

/// Whether some value of a column is one of these words.
pub(super) fn holds_some(table: &Table, column: usize, known: impl Fn(&str) -> bool) -> bool {
    table.ragged().filter_map(Result::ok).any(|record| record.fields.get(column).is_some_and(|field| known(field)))
}

/// Whether a column has no name though others have, as pandas writes the numbers of rows.
pub fn is_index_of(table: &Table, column: usize) -> bool {
    table.header().get(column).is_some_and(|name| is_index(name))
}

/// A column as messages call it: by its name in quotes, else by its number.
pub fn called(table: &Table, column: usize) -> String {
    match table.header().get(column) {
        Some(name) if name.is_empty() => format!("{}, which has no name", column + 1),
        Some(name) => format!("'{name}'"),
        None => (column + 1).to_string(),
    }
}

/// Several columns as messages call them.
pub(super) fn called_all(table: &Table, columns: &[usize]) -> String {
    several(columns.iter().map(|&column| called(table, column)))
}

/// The column of this name, in this case or another.
pub(super) fn header_of(table: &Table, wanted: &str) -> Option<usize> {
    let by_name = table.header().iter().position(|h| h == wanted);
    by_name.or_else(|| table.header().iter().position(|h| h.to_lowercase() == wanted.to_lowercase()))
}

/// Whether a column may be a label by its name and by its values, which repeat.
pub(super) fn may_be_label(table: &Table, column: usize) -> bool {
    let name = table.header().get(column).map(|name| plain(name));
    if name.is_some_and(|name| NO_LABEL.contains(&name.as_str())) {
        return false;
    }
    !holds_parts(table, column) && repeats(table, column)
}

/// Whether a value of a column is there again.
pub(super) fn repeats(table: &Table, column: usize) -> bool {
    let mut seen = HashSet::new();
    table.ragged().filter_map(Result::ok).any(|r| r.fields.get(column).is_some_and(|f| !seen.insert(f.to_string())))
}

/// Whether most values of a column are parts of a data set, of two at least: `TRAIN`, `TEST`, `UNASSIGNED`.
fn holds_parts(table: &Table, column: usize) -> bool {
    let (mut places, mut those, mut all) = (HashSet::new(), 0, 0);
    for record in table.ragged().filter_map(Result::ok) {
        let place = record.fields.get(column).and_then(|field| Place::of_word(field));
        all += 1;
        those += usize::from(place.is_some());
        places.extend(place);
    }
    places.len() > 1 && 2 * those > all
}

/// Whether some of the first fields of a column name files: they end as images do, or have a folder.
pub(crate) fn may_hold_images(table: &Table, column: usize) -> bool {
    let mut first = table.ragged().take(SAMPLE).filter_map(Result::ok);
    first.any(|r| r.fields.get(column).is_some_and(|field| is_image(field) || field.contains(['/', '\\'])))
}

/// Lines by which it is seen what a column holds.
const SAMPLE: usize = 100;

/// The column that names the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Its place.
    pub at: usize,
    /// Whether a header says that it is the one.
    pub is_named: bool,
    /// Others that hold names of images, too.
    pub others: Vec<usize>,
}

impl Images {
    /// What is said where the column was chosen: `images are named by column 'file', not 'mask'`.
    pub fn note(&self, table: &Table) -> Option<String> {
        let column = called(table, self.at);
        match (self.is_named, self.others.as_slice()) {
            (true, []) => None,
            (true, others) => Some(format!("images are named by column {column}, not {}", called_all(table, others))),
            (false, _) => Some(format!("images are named by column {column}; one called 'path' would be it")),
        }
    }
}

/// The column that names the images, of those that are `free`: one that is called so and holds names of files; else the one column
/// that holds names of images, an index without a name only where no other does; else one that is called so. `None` where there is
/// none of them.
///
/// # Errors
/// [`crate::Error::Data`] where several columns hold names of images and none is called so, or a header has a name twice.
pub fn image_column(table: &Table, free: impl Fn(usize) -> bool) -> Result<Option<Images>> {
    let sample: Vec<_> = table.ragged().take(SAMPLE).filter_map(Result::ok).collect();
    let images = |column: usize| sample.iter().filter(|r| r.fields.get(column).is_some_and(|f| is_image(f))).count();
    let width = table.width()?;
    let free: Vec<usize> = (0..width).filter(|&c| free(c)).collect();
    let mut holding: Vec<usize> = free.iter().copied().filter(|&c| 2 * images(c) > sample.len()).collect();
    if holding.is_empty() {
        // Most names have no ending, or one that no image has.
        holding.extend(free.iter().copied().filter(|&c| images(c) > 0).rev().max_by_key(|&c| images(c)));
    }
    let (indices, holding): (Vec<usize>, Vec<usize>) = holding.into_iter().partition(|&c| is_index_of(table, c));
    let mut named = Vec::new();
    for name in PATH {
        named.extend(table.column(&[name])?.filter(|c| free.contains(c)));
    }
    let found = |at: usize, is_named: bool| {
        let others = holding.iter().copied().filter(|&c| c != at).collect();
        Ok(Some(Images { at, is_named, others }))
    };
    if let Some(&at) = named.iter().find(|&&c| may_hold_images(table, c)) {
        return found(at, true);
    }
    match (holding.as_slice(), indices.first().map(|&at| (at, false)).or(named.first().map(|&at| (at, true)))) {
        ([at], _) => found(*at, false),
        ([], other) => other.map_or(Ok(None), |(at, is_named)| found(at, is_named)),
        (several, _) => {
            let problem = format!(
                "columns {} hold names of images, and none is called as such a column is; wanted a header that calls the one that is \
                 meant 'path'",
                called_all(table, several)
            );
            Err(table.error(table.header_line().map_or(1, |(line, _)| line), &problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::delimited::Blanks;

    fn found(text: &str, has_header: bool) -> std::result::Result<Option<(usize, Option<String>)>, String> {
        let table = Table::parse(Path::new("t.csv"), text.into(), Blanks::Belong, |_| has_header).unwrap();
        let images = image_column(&table, |_| true).map_err(|e| e.to_string())?;
        Ok(images.map(|images| (images.at, images.note(&table))))
    }

    #[test]
    fn the_column_that_names_images_is_found_by_its_name_and_by_what_it_holds() {
        let said = |at: usize, note: &str| Ok(Some((at, (!note.is_empty()).then(|| note.to_owned()))));
        for name in PATH {
            assert_eq!(found(&format!(",{name},sex\n0,1.jpg,m\n1,2.jpg,f\n"), true), said(1, ""), "{name}");
        }
        // What is called so and holds none gives way to what does; ids are names where no column holds images.
        let crop = "images are named by column 'crop'; one called 'path' would be it";
        assert_eq!(found("name,crop\nAnn,1.jpg\nBob,2.jpg\n", true), said(1, crop));
        assert_eq!(
            found("name,crop,cut\nAnn,1.jpg,x\nBob,2,y\nCid,3,1.png\nDan,4.jpg,z\nEva,5.jpg,z\n", true),
            said(1, crop)
        );
        assert_eq!(found("name,crop\nAnn,1.jpg\nBob,2\nCid,3\n", true), said(1, crop), "some");
        assert_eq!(found("id,name\n1,S001\n2,S002\n", true), said(1, ""));
        assert_eq!(found("id,who\n1,S001\n2,S002\n", true), Ok(None));
        // An index holds the names where nothing else does.
        let index = "images are named by column 1, which has no name; one called 'path' would be it";
        assert_eq!(found(",sex\n1.jpg,m\n2.jpg,f\n", true), said(0, index));
        assert_eq!(found("m,1.jpg\nf,2.jpg\n", false).unwrap().unwrap().0, 1);
        let text = "path,mask\na/1.jpg,m/1.png\na/2.jpg,m/2.png\n";
        assert_eq!(found(text, true), said(0, "images are named by column 'path', not 'mask'"));
        let error = found("photo,mask\na/1.jpg,m/1.png\na/2.jpg,m/2.png\n", true).unwrap_err();
        assert!(error.contains("line 1: columns 'photo', 'mask' hold names of images"), "{error}");
        assert!(found("1.jpg,1.png\n2.jpg,2.png\n", false).unwrap_err().contains("columns 1, 2 hold names"));
    }

    #[test]
    fn names_of_one_kind_are_none_of_another() {
        let all = [&PATH[..], &LABEL, &NO_LABEL, &ROLE, &SPLIT, &IS_QUERY, &IS_GALLERY];
        for (at, names) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert!(names.iter().all(|name| !other.contains(name)), "{names:?} {other:?}");
            }
        }
    }
}
