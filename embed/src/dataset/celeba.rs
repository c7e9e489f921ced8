//! CelebA (Liu et al. 2015): `identity_CelebA.txt`, lines of `image person`, and `list_eval_partition.txt`, lines of
//! `image part` with 0 for train, 1 for validation, 2 for test. The test part is measured.

use std::collections::{HashMap, HashSet};

use super::part::Part;
use super::{Listed, Listing, Lists, Source, Split, number, numbers};
use crate::delimited::lines;
use crate::error::{Error, Result};

const IDENTITIES: &str = "identity_CelebA.txt";
const PARTS: &str = "list_eval_partition.txt";
/// As Kaggle has it, a table with a header.
const PARTS_TABLE: &str = "list_eval_partition.csv";

pub(super) fn list(lists: &Lists<'_>) -> Result<Listing> {
    let source = lists.source;
    let absent = || {
        Error::data(
            source.path(),
            format!(
                "{PARTS} gives CelebA's parts (image, 0 to 2); wanted {IDENTITIES} too, which says who is on each image (or --format folder)"
            ),
        )
    };
    // The list of parts may have been given itself: it then says which images are meant, the other who is on them.
    let gives_parts = lists.given.filter(|given| [PARTS, PARTS_TABLE].contains(given));
    let given = lists.given.filter(|_| gives_parts.is_none());
    let (root, file) = match given {
        Some(given) => (String::new(), given.to_owned()),
        None => {
            source.folder_of(IDENTITIES).map(|root| (root.clone(), format!("{root}{IDENTITIES}"))).ok_or_else(absent)?
        }
    };
    let mut persons = words(source, &file)?;
    let names = gives_parts.into_iter().chain([PARTS, PARTS_TABLE]);
    let of_parts = names.into_iter().find_map(|name| Some(format!("{}{name}", source.folder_of(name)?)));
    let parts = of_parts.as_ref().map(|file| parts(source, file)).transpose()?;
    let parts_file = of_parts.as_deref().unwrap_or(PARTS);
    let note = parts.is_none().then(|| {
        format!("there is no {PARTS} (or .csv), which says CelebA's parts: all of its images are taken, those that others train on among them")
    });
    if let (Some(parts), true) = (&parts, gives_parts.is_some()) {
        let known: HashSet<&str> = persons.iter().map(|(_, name, _)| name.as_str()).collect();
        if let Some(unknown) = parts.keys().filter(|name| !known.contains(name.as_str())).min() {
            return Err(Error::data(source.path().join(parts_file), format!("{unknown} is nobody's in {IDENTITIES}")));
        }
        persons.retain(|(_, name, _)| parts.contains_key(name));
    }
    let names = numbers::of_names(persons.iter().map(|(_, _, person)| person.as_str()));
    let mut prefix = None;
    let mut images = Vec::with_capacity(persons.len());
    for (line, name, person) in &persons {
        let prefix = prefix.get_or_insert_with(|| image_folder(lists.images, &root, name));
        let part = match &parts {
            None => None,
            Some(parts) => Some(*parts.get(name).ok_or_else(|| {
                Error::data(source.path().join(&file), format!("line {line}: {name} is in no part of {parts_file}"))
            })?),
        };
        let image = Listed::new(format!("{prefix}{name}"), names[person.as_str()]);
        images.push(Listed { part, line: Some(*line), ..image });
    }
    let protocol = if parts.is_some() { Split::Test } else { Split::All };
    let names = names.into_iter().map(|(name, number)| (number, name.to_owned())).collect();
    Ok(Listing { notes: note.into_iter().collect(), ..Listing::new(images, names, protocol) })
}

/// CelebA's own tables (attributes, landmarks) begin with how many lines there are, and a header that has no name for the path: the first is
/// left blank, so that lines keep their numbers, and the second gets one. `None` for text of another kind.
pub fn table(text: &str) -> Option<String> {
    let mut rest = text.split_inclusive('\n');
    let (count, header, first) = (rest.next()?, rest.next()?, rest.clone().next()?);
    let words: Vec<&str> = header.split_whitespace().collect();
    let has_names = !words.is_empty() && words.iter().all(|word| word.parse::<f64>().is_err());
    let is_one =
        has_names && count.trim().parse::<u64>().is_ok() && first.split_whitespace().count() == words.len() + 1;
    is_one.then(|| format!("\npath {header}{}", rest.collect::<String>()))
}

fn parts(source: &Source, file: &str) -> Result<HashMap<String, Part>> {
    let mut parts = HashMap::new();
    for (line, name, word) in words(source, file)? {
        let wrong = |problem: String| Error::data(source.path().join(file), format!("line {line}: {problem}"));
        let part = match number(source, file, line, &word)? {
            0 => Part::Train,
            1 => Part::Validation,
            2 => Part::Test,
            other => return Err(wrong(format!("part {other} is none of 0 (train), 1 (validation), 2 (test)"))),
        };
        if parts.insert(name.clone(), part).is_some() {
            return Err(wrong(format!("{name} is listed twice")));
        }
    }
    Ok(parts)
}

/// Lines of two words: number, first, second.
fn words(source: &Source, file: &str) -> Result<Vec<(usize, String, String)>> {
    let text = source.read_text(file)?;
    let is_table = file.ends_with(".csv");
    let is_blank = |c: char| c.is_whitespace() || is_table && (c == ',' || c == '"');
    let words =
        |line: &'_ str| line.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let is_header = |&(at, line): &(usize, &str)| is_table && at == 1 && line.contains("partition");
    let pair = |(at, line): (usize, &str)| match words(line).as_slice() {
        [image, word] => Ok((at, image.clone(), word.clone())),
        _ => Err(Error::data(
            source.path().join(file),
            format!("line {at}: wanted an image and a number, found '{line}'"),
        )),
    };
    lines(&text).filter(|line| !is_header(line)).map(pair).collect()
}

/// Images lie beside the lists or one folder down, aligned or not.
fn image_folder(source: &Source, root: &str, name: &str) -> String {
    let up = root.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(up, _)| format!("{up}/"));
    let folders =
        ["", "img_align_celeba/", "Img/img_align_celeba/", "img_align_celeba/img_align_celeba/", "img_celeba/"];
    let mut places = folders.iter().flat_map(|folder| [format!("{root}{folder}"), format!("{up}{folder}")]);
    places.find(|place| source.contains(&format!("{place}{name}"))).unwrap_or_else(|| root.to_owned())
}
