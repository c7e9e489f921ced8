//! Cars196 (Krause et al. 2013). Its annotations are MATLAB files: either `cars_annos.mat`, which holds all images with
//! class and part, or the devkit's `cars_train_annos.mat` and `cars_test_annos_withlabels.mat`. The devkit's plain
//! `cars_test_annos.mat` has no classes, and is not enough. Metric learning measures classes 99-196.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::matlab::{count, element, read, text, whole};
use super::part::Part;
use super::{Listed, Listing, Lists, Source, Split};
use crate::error::{Error, Result};

const CLASS_COUNT: usize = 196;
const ALL: &str = "cars_annos.mat";
/// The devkit's files: of which part, and in which folder its images are.
const DEVKIT: [(&str, &str, Part); 2] =
    [("cars_train_annos.mat", "cars_train", Part::Train), ("cars_test_annos_withlabels.mat", "cars_test", Part::Test)];

pub(super) fn list(lists: &Lists<'_>) -> Result<Listing> {
    let source = lists.source;
    if let Some(given) = lists.given {
        let of_part = DEVKIT.iter().find(|(file, ..)| *file == given);
        let (images, split) = match of_part {
            Some((_, folder, part)) => (devkit(lists, given, folder, *part)?, part.split()),
            None => (annotations(source, given, "relative_im_path", None)?, Split::ZeroShot),
        };
        return Ok(Listing { class_count: CLASS_COUNT, ..Listing::new(images, class_names(source)?, split) });
    }
    let mut images = Vec::new();
    if let Some(root) = source.folder_of(ALL) {
        images = annotations(source, &format!("{root}{ALL}"), "relative_im_path", None)?;
        images.iter_mut().for_each(|image| image.name.insert_str(0, &root));
    } else {
        for (file, folder, part) in DEVKIT {
            let Some(root) = source.folder_of(file) else {
                return Err(Error::data(
                    source.path(),
                    format!(
                        "format cars196 wants {file}, which is not there (cars_test_annos.mat has no class field; cars_annos.mat alone would do)"
                    ),
                ));
            };
            images.extend(devkit(lists, &format!("{root}{file}"), folder, part)?);
        }
    }
    Ok(Listing { class_count: CLASS_COUNT, ..Listing::new(images, class_names(source)?, Split::ZeroShot) })
}

/// The images of one file of the devkit.
fn devkit(lists: &Lists<'_>, file: &str, folder: &str, part: Part) -> Result<Vec<Listed>> {
    let mut images = annotations(lists.source, file, "fname", Some(part))?;
    let prefix = image_folder(lists.images, folder, &images)?;
    for image in &mut images {
        image.is_placed = Path::new(&image.name).is_relative();
        image.name.insert_str(0, &prefix);
    }
    Ok(images)
}

/// Where the images of one part lie: the devkit does not say, so look for a folder of just this name that holds some of them.
/// Copies are kept beside it under longer names: `aug_cars_train`.
fn image_folder(source: &Source, folder: &str, images: &[Listed]) -> Result<String> {
    let listed: HashSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
    let mut holders = BTreeSet::new();
    for (path, file) in source.names().iter().filter_map(|name| name.rsplit_once('/')) {
        if path.rsplit('/').next() == Some(folder) && listed.contains(file) {
            holders.insert(path);
        }
    }
    let mut all = holders.iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(format!("{one}/")),
        // As with lists, the top alone where it is there.
        (Some(_), Some(_)) if holders.contains(folder) => Ok(format!("{folder}/")),
        (Some(first), Some(second)) => Err(Error::data(
            source.path(),
            format!(
                "{folder} is there {} times, in {first} and {second}, with images of the same names; give --data a folder with one of them",
                holders.len()
            ),
        )),
        // A folder that is not walked: that of a list which was given itself.
        (None, _) => {
            let first = images.first().map_or("", |image| &image.name);
            let places = [
                format!("{folder}/"),
                format!("{folder}/{folder}/"),
                format!("../{folder}/"),
                format!("../{folder}/{folder}/"),
                String::new(),
            ];
            let found = places.into_iter().find(|place| source.contains(&format!("{place}{first}")));
            Ok(found.unwrap_or_else(|| format!("{folder}/")))
        }
    }
}

/// The images that a file lists, by the names that it gives them.
fn annotations(source: &Source, file: &str, name_field: &str, part: Option<Part>) -> Result<Vec<Listed>> {
    let here = || source.path().join(file);
    read(source, file, |mat| {
        let annos = &mat["annotations"];
        let fields = annos.fieldnames().ok_or_else(|| Error::data(here(), "holds no struct array 'annotations'"))?;
        let parts = part.is_none().then_some("test");
        for field in [name_field, "class"].into_iter().chain(parts) {
            if !fields.iter().any(|f| f == field) {
                return Err(Error::data(
                    here(),
                    format!("annotations have no field '{field}' (they have {})", fields.join(", ")),
                ));
            }
        }
        let image = |at: usize| {
            let one = element(annos, at);
            let wrong = |field: &str| {
                let wanted = if field == name_field { "a name" } else { "one whole number" };
                Error::data(here(), format!("annotation {}: field '{field}' is not {wanted}", at + 1))
            };
            let name = text(&one[name_field]).ok_or_else(|| wrong(name_field))?;
            let class = whole(&one["class"]).ok_or_else(|| wrong("class"))?;
            let part = match part {
                Some(given) => given,
                None if whole(&one["test"]).ok_or_else(|| wrong("test"))? == 0 => Part::Train,
                None => Part::Test,
            };
            Ok(Listed { part: Some(part), ..Listed::new(name, class) })
        };
        (0..count(annos)).map(image).collect()
    })
}

fn class_names(source: &Source) -> Result<BTreeMap<usize, String>> {
    let Some(root) = source.folder_of("cars_meta.mat") else { return Ok(BTreeMap::new()) };
    read(source, &format!("{root}cars_meta.mat"), |mat| {
        let names = &mat["class_names"];
        Ok((0..count(names)).filter_map(|at| text(&names[at]).map(|name| (at + 1, name))).collect())
    })
}
