//! Attributes of images: a table of paths and of columns such as sex or age.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use pdloss_embed::dataset::columns::{called, image_column, is_index_of};
use pdloss_embed::dataset::{Finder, celeba_table, is_image, slips_of};
use pdloss_embed::delimited::{Blanks, Record, Table, read_text};

use crate::{Error, Result};

/// Between the values of several columns.
const JOINED: &str = "/";

/// The values of an image, as tables have them. One that has a mark of those that part values in it stands in quotes, so that no
/// two groups are called alike.
pub fn in_words(values: &[String]) -> String {
    let is_doubtful = |value: &str| {
        let parts_groups =
            value.contains(" -") || value.contains("- ") || value.starts_with('-') || value.ends_with('-');
        parts_groups || value.contains('"') || (values.len() > 1 && value.contains(JOINED))
    };
    let word = |value: &String| {
        if is_doubtful(value) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.clone() }
    };
    values.iter().map(word).collect::<Vec<_>>().join(JOINED)
}

/// What some columns say of each image.
#[derive(Debug)]
pub struct Attributes {
    path: PathBuf,
    /// An image's path, and its value in each column.
    values: Vec<(String, Vec<String>)>,
    /// What is to be said of the values: a sentence each.
    pub doubts: Vec<String>,
}

impl Attributes {
    /// Reads these columns of a table with a header.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Data`] naming file and line, also of an image that has other values in an earlier line, and where
    /// several columns hold names of images; [`Error::Usage`] for a column that is not there.
    pub fn read(path: &Path, columns: &[String]) -> Result<Self> {
        // A first line that names an image file is a line like others.
        let is_row = |record: &Record<'_>| record.fields.iter().any(|field| is_image(field));
        let text = read_text(path)?;
        let (text, blanks) = match celeba_table(&text) {
            Some(table) => (table, Blanks::Separate),
            None => (text, Blanks::Belong),
        };
        let table = Table::parse(path, text, blanks, |records| !is_row(&records[0]))?;
        let columns = columns
            .iter()
            .map(|name| table.column_of(name).map_err(|error| Error::Usage(format!("--group-by: {error}"))))
            .collect::<Result<Vec<_>>>()?;
        let (image, assumed) = naming_column(&table, &columns)?;
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for record in table.records() {
            let record = record?;
            let name = record.fields[image].replace('\\', "/");
            let words: Vec<&str> = columns.iter().map(|&column| record.fields[column].as_ref()).collect();
            if let Some(at) = words.iter().position(|word| word.is_empty()) {
                let column = called(&table, columns[at]);
                return Err(table.error(record.line, &format!("{name} has no value in column {column}")));
            }
            let value: Vec<String> = words.into_iter().map(str::to_owned).collect();
            match seen.get(&name).map(|&at: &usize| &values[at].1) {
                Some(before) if *before != value => {
                    let (here, before) = (in_words(&value), in_words(before));
                    let problem = format!("{name} is '{here}' here and '{before}' in an earlier line");
                    return Err(table.error(record.line, &problem));
                }
                Some(_) => {}
                None => {
                    seen.insert(name.clone(), values.len());
                    values.push((name, value));
                }
            }
        }
        let assumed = assumed.map(|said| format!("{}: {said}", path.display()));
        let doubts = assumed.into_iter().chain(doubts(path, &values)).collect();
        Ok(Self { path: path.into(), values, doubts })
    }

    /// The values of images by the names that a data set gives them; `None` for those that the table does not have.
    ///
    /// # Errors
    /// [`Error::Data`] naming an image that two of `names` fit, or that fits two lines with different values.
    pub fn of(&self, names: &[String]) -> Result<Vec<Option<&[String]>>> {
        let finder = Finder::new(names);
        let mut found: Vec<Option<&[String]>> = vec![None; names.len()];
        for (listed, value) in &self.values {
            let at = finder.find(listed).map_err(|problem| Error::data(&self.path, problem))?;
            // A line about another folder's image is about another image.
            let Some(at) = at.filter(|&at| !finder.is_by_name_alone(listed, at)) else { continue };
            if let Some(before) = found[at].filter(|before| before != value) {
                let (before, value) = (in_words(before), in_words(value));
                let problem = format!("{} is '{before}' in one line and '{value}' in that of {listed}", names[at]);
                return Err(Error::data(&self.path, problem));
            }
            found[at] = Some(value);
        }
        Ok(found)
    }
}

/// The column that names the images, beside those that are asked for, and what is said where it was chosen: where none holds names of
/// images or is called so, it is the first that is no index, as pandas writes it.
fn naming_column(table: &Table, asked: &[usize]) -> Result<(usize, Option<String>)> {
    if let Some(found) = image_column(table, |column| !asked.contains(&column))? {
        return Ok((found.at, found.note(table)));
    }
    let first = (0..table.width()?).find(|column| !asked.contains(column) && !is_index_of(table, *column)).unwrap_or(0);
    Ok((first, Some(format!("images are named by column {}; one called 'path' would be it", called(table, first)))))
}

/// Values that a slip tells apart, and columns of numbers that make a group of nearly every image.
fn doubts(path: &Path, values: &[(String, Vec<String>)]) -> Vec<String> {
    let distinct: HashSet<String> = values.iter().map(|(_, value)| in_words(value)).collect();
    let path = path.display();
    let slips = slips_of(("groups", "group"), distinct.iter().map(String::as_str)).into_iter();
    let mut doubts: Vec<String> = slips.map(|said| format!("{path}: {said}")).collect();
    if 2 * distinct.len() > values.len() && distinct.len() > 2 {
        doubts.push(format!(
            "{path}: {} images have {} values, a group each: are they numbers that should be ranges, such as 20-29?",
            values.len(),
            distinct.len()
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, columns: &[&str]) -> std::result::Result<Vec<Option<String>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let names = ["x/1.jpg", "x/2.jpg", "y/3.png"].map(str::to_owned);
        let found = |attributes: Attributes| {
            let values = attributes.of(&names)?;
            Ok(values.into_iter().map(|value| value.map(in_words)).collect())
        };
        Attributes::read(&path, &columns).and_then(found).map_err(|e: Error| e.to_string())
    }

    #[test]
    fn values_are_found_by_path_and_joined() {
        let text = "path,sex,age\nx/2.jpg,f,old\n./x/1.jpg,m,young\nz/9.jpg,f,young\n";
        let word = |text: &str| Some(text.to_owned());
        assert_eq!(read(text, &["sex"]), Ok(vec![word("m"), word("f"), None]));
        assert_eq!(read(text, &["age", "sex"]), Ok(vec![word("young/m"), word("old/f"), None]));
        assert_eq!(read("sex;file\nm;3\n", &["sex"]), Ok(vec![None, None, word("m")]));
    }

    #[test]
    fn several_columns_of_images_are_told_apart_by_a_name() {
        let word = |text: &str| Some(text.to_owned());
        let rows = "x/2.jpg,m/2.png,f\nx/1.jpg,m/1.png,m\n";
        let error = read(&format!("photo,mask,sex\n{rows}"), &["sex"]).unwrap_err();
        assert!(error.contains("line 1: columns 'photo', 'mask' hold names of images, and none is called"), "{error}");
        assert!(read(rows, &["3"]).unwrap_err().contains("columns 1, 2 hold names of images"));
        let text = format!("mask,file,sex\n{}", "m/2.png,x/2.jpg,f\nm/1.png,x/1.jpg,m\n");
        assert_eq!(read(&text, &["sex"]), Ok(vec![word("m"), word("f"), None]));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let said = Attributes::read(file.path(), &["sex".to_owned()]).unwrap().doubts.join("; ");
        assert!(said.contains("images are named by column 'file', not 'mask'"), "{said}");
        // A value may be the name of an image.
        assert_eq!(read("photo,twin\nx/1.jpg,a.png\n", &["twin"]), Ok(vec![word("a.png"), None, None]));
    }

    #[test]
    fn celebas_own_list_is_read() {
        let word = |text: &str| Some(text.to_owned());
        let text = "2\nMale Young \nx/1.jpg -1  1\nx/2.jpg  1 -1\n";
        assert_eq!(read(text, &["Male"]), Ok(vec![word("\"-1\""), word("1"), None]));
        assert_eq!(read(text, &["young"]), Ok(vec![word("1"), word("\"-1\""), None]));
        assert!(read(text, &["Smiling"]).unwrap_err().contains("columns by name: path, Male, Young"));
        // A header that is whole, or a first line that counts nothing, is another table's.
        assert!(read("path sex\nMale\nx/1.jpg 1\n", &["Male"]).is_err());
        assert!(read("2\npath Male\nx/1.jpg 1\n", &["Male"]).is_err());
    }

    #[test]
    fn no_two_groups_are_called_alike() {
        let words = |values: &[&str]| in_words(&values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>());
        assert_eq!([words(&["20-29"]), words(&["f", "old"]), words(&["x/y"])], ["20-29", "f/old", "x/y"]);
        assert_eq!([words(&["x/y", "z"]), words(&["x", "y/z"])], ["\"x/y\"/z", "x/\"y/z\""]);
        assert_eq!([words(&["a - b"]), words(&["\"a - b\""])], ["\"a - b\"", "\"\"\"a - b\"\"\""]);
    }

    #[test]
    fn values_that_make_groups_of_a_slip_are_said() {
        let said = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| (String::new(), vec![(*value).to_owned()])).collect();
            doubts(Path::new("a.csv"), &values).join("; ")
        };
        assert_eq!(said(&["f", "m", "f", "m"]), "");
        assert!(said(&["f", "m", "F", "m", "f", "m"]).starts_with("a.csv: groups whose names are nearly the same"));
        assert!(said(&["f", "nan", "m", "f", "m", "m"]).contains("'nan' counts as a group like any other"));
        assert!(said(&["20.5", "31.2", "44", "20.5"]).contains("4 images have 3 values, a group each"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fails = |text: &str, columns: &[&str], says: &str| {
            let error = read(text, columns).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        fails("path,sex\nx/1.jpg,m\n", &["race"], "--group-by: ");
        fails("path,sex\nx/1.jpg,\n", &["sex"], "line 2: x/1.jpg has no value in column 'sex'");
        fails("path,sex\nx/1.jpg,m\nx/1.jpg,f\n", &["sex"], "line 3: x/1.jpg is 'f' here and 'm' in an earlier line");
        fails("path,sex\nx/1.jpg,m\n1,f\n", &["sex"], "x/1.jpg is 'm' in one line and 'f' in that of 1");
    }
}
