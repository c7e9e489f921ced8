//! In-Shop Clothes Retrieval (Liu et al. 2016): `list_eval_partition.txt` holds a count, a header, and lines of
//! `image_name item_id evaluation_status`, the status being train, query or gallery. Queries search the gallery.

use super::part::Part;
use super::{Listed, Listing, Lists, Role, Source, Split, number, numbers};
use crate::delimited::lines;
use crate::error::{Error, Result};

const FILE: &str = "list_eval_partition.txt";

/// Whether a file of In-Shop's name is In-Shop's: CelebA has one too, of an image and a number a line.
pub(super) fn is_partition(source: &Source, file: &str) -> Result<bool> {
    let text = source.read_text(file)?;
    let celeba = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [_, "0" | "1" | "2"])
    };
    Ok(!lines(&text).take(3).any(|(_, line)| celeba(line)))
}

pub(super) fn list(lists: &Lists<'_>) -> Result<Listing> {
    let source = lists.source;
    let absent = || Error::data(source.path(), format!("format inshop wants {FILE}, which is not there"));
    let (holder, file) = match lists.given {
        Some(given) => (String::new(), given.to_owned()),
        None => source.folder_of(FILE).map(|holder| (holder.clone(), format!("{holder}{FILE}"))).ok_or_else(absent)?,
    };
    let here = || source.path().join(&file);
    let text = source.read_text(&file)?;
    let mut rows = lines(&text);
    let (at, count) = rows.next().ok_or_else(|| Error::data(here(), "is empty"))?;
    let count = number(source, &file, at, count)?;
    let mut parsed = Vec::new();
    for (at, line) in rows.skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[name, item, status] = fields.as_slice() else {
            return Err(Error::data(
                here(),
                format!("line {at}: wanted 'image_name item_id evaluation_status', found '{line}'"),
            ));
        };
        let (part, role) = match status {
            "train" => (Part::Train, Role::Both),
            "query" => (Part::Test, Role::Query),
            "gallery" => (Part::Test, Role::Gallery),
            other => {
                return Err(Error::data(
                    here(),
                    format!("line {at}: status '{other}' is none of train, query, gallery"),
                ));
            }
        };
        parsed.push((at, name, item, part, role));
    }
    if parsed.len() != count {
        return Err(Error::data(here(), format!("its first line says {count} images, {} follow", parsed.len())));
    }
    // The data set is handed out with its images beside the list or in the folder Img, and the list in Eval.
    let prefix = parsed.first().map_or(String::new(), |(_, name, ..)| image_folder(lists.images, &holder, name));
    let numbers = numbers::of_names(parsed.iter().map(|(_, _, item, ..)| *item));
    let image = |&(at, name, item, part, role): &(usize, &str, &str, Part, Role)| Listed {
        part: Some(part),
        role,
        line: Some(at),
        is_placed: !prefix.is_empty(),
        ..Listed::new(format!("{prefix}{name}"), numbers[item])
    };
    let images = parsed.iter().map(image).collect();
    let class_names = numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect();
    Ok(Listing::new(images, class_names, Split::Test))
}

fn image_folder(source: &Source, holder: &str, name: &str) -> String {
    let up = holder.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(up, _)| format!("{up}/"));
    let mut places = vec![holder.to_owned(), format!("{holder}Img/"), up.clone(), format!("{up}Img/")];
    if holder.is_empty() {
        // The list itself was given: its folder is not the data set's.
        places.extend(["../".to_owned(), "../Img/".to_owned()]);
    }
    places.into_iter().find(|place| source.contains(&format!("{place}{name}"))).unwrap_or_else(|| holder.to_owned())
}
