//! CUB-200-2011 (Wah et al. 2011): `images.txt`, `image_class_labels.txt`, `classes.txt`, `train_test_split.txt`,
//! each line an id and a value; images lie under `images/`. Metric learning measures the second half of the classes.
//!
//! NABirds (Van Horn et al. 2015) has the same files with words for ids and a part of its own that is measured.

use std::collections::{BTreeMap, HashMap};

use super::part::Part;
use super::{Listed, Listing, Lists, Source, Split, is_image, number};
use crate::delimited::lines;
use crate::error::{Error, Result};

/// Classes of CUB-200-2011, whose lists may have been cut.
const CUB_CLASSES: usize = 200;
/// The first of its classes and every tenth: a cut list is known by them.
const CUB_NAMES: [&str; 21] = [
    "001.Black_footed_Albatross",
    "010.Red_winged_Blackbird",
    "020.Yellow_breasted_Chat",
    "030.Fish_Crow",
    "040.Olive_sided_Flycatcher",
    "050.Eared_Grebe",
    "060.Glaucous_winged_Gull",
    "070.Green_Violetear",
    "080.Green_Kingfisher",
    "090.Red_breasted_Merganser",
    "100.Brown_Pelican",
    "110.Geococcyx",
    "120.Fox_Sparrow",
    "130.Tree_Sparrow",
    "140.Summer_Tanager",
    "150.Sage_Thrasher",
    "160.Black_throated_Blue_Warbler",
    "170.Mourning_Warbler",
    "180.Wilson_Warbler",
    "190.Red_cockaded_Woodpecker",
    "200.Common_Yellowthroat",
];

/// What else the format needs beside its list of images.
const LABELS: &str = "image_class_labels.txt";
/// Where its images lie.
const IMAGES: &str = "images/";

/// Whether a file called `images.txt` is this format's: what names the labels lies beside it, or its lines are numbers and images. Others
/// call their own lists so.
pub(super) fn is_list(source: &Source, file: &str) -> Result<bool> {
    if source.contains(LABELS) {
        return Ok(true);
    }
    let text = source.read_text(file)?;
    let is_numbered = |line: &str| {
        let pair = line.split_once(char::is_whitespace);
        pair.is_some_and(|(id, name)| id.parse::<u64>().is_ok() && is_image(name.trim()))
    };
    Ok(lines(&text).take(100).all(|(_, line)| is_numbered(line)))
}

pub(super) fn list(lists: &Lists<'_>) -> Result<Listing> {
    let source = lists.source;
    let root = match lists.given {
        Some(_) => String::new(),
        None => source
            .folder_of("images.txt")
            .ok_or_else(|| Error::data(source.path(), "format cub wants images.txt, which is not there"))?,
    };
    let file = |name: &str| format!("{root}{name}");
    if lists.given.is_some() && !source.contains(LABELS) {
        return Err(Error::data(
            source.path().join(LABELS),
            "is not there, and images.txt of format cub has no labels of its own; wanted it beside images.txt (--format list reads a table of paths and labels)",
        ));
    }
    let wrong = |name: &str, line: usize, problem: String| {
        Error::data(source.path().join(file(name)), format!("line {line}: {problem}"))
    };
    let images = pairs(source, &file("images.txt"))?;
    let labels = pairs(source, &file("image_class_labels.txt"))?;
    if labels.len() != images.len() {
        return Err(Error::data(
            source.path().join(&root),
            format!("images.txt has {} lines and image_class_labels.txt {}", images.len(), labels.len()),
        ));
    }
    let labels = by_id(&labels);
    let mut class_names = BTreeMap::new();
    for Pair { line, id, value } in pairs(source, &file("classes.txt"))? {
        class_names.insert(number(source, &file("classes.txt"), line, &id)?, value);
    }
    let parts = match source.contains(&file("train_test_split.txt")) {
        true => Some(pairs(source, &file("train_test_split.txt"))?),
        false => None,
    };
    let parts = parts.as_deref().map(by_id);
    let mut listed = Vec::with_capacity(images.len());
    // `--root` may be the folder of images itself.
    let mut place = None;
    for Pair { line, id, value } in &images {
        let label = labels.get(id.as_str());
        let label = label
            .ok_or_else(|| wrong("images.txt", *line, format!("image {id} has no label in image_class_labels.txt")))?;
        let class = number(source, &file("image_class_labels.txt"), label.line, &label.value)?;
        if !class_names.contains_key(&class) {
            let count = class_names.len();
            let problem = format!("class {class} is not in classes.txt, which lists {count}; wanted all of them there");
            return Err(wrong("image_class_labels.txt", label.line, problem));
        }
        let part = match &parts {
            None => None,
            Some(parts) => {
                let part = parts.get(id.as_str()).ok_or_else(|| {
                    wrong("images.txt", *line, format!("image {id} has no part in train_test_split.txt"))
                })?;
                match part.value.as_str() {
                    "1" => Some(Part::Train),
                    "0" => Some(Part::Test),
                    other => {
                        let problem = format!("'{other}' is neither 1 (train) nor 0 (test)");
                        return Err(wrong("train_test_split.txt", part.line, problem));
                    }
                }
            }
        };
        let place = *place.get_or_insert_with(|| {
            let holds = |place: &&str| lists.images.contains(&format!("{root}{place}{value}"));
            [IMAGES, ""].into_iter().find(holds).filter(|_| lists.given.is_some()).unwrap_or(IMAGES)
        });
        listed.push(Listed { part, line: Some(*line), ..Listed::new(format!("{root}{place}{value}"), class) });
    }
    let words = images.iter().any(|pair| pair.id.parse::<u64>().is_err());
    let protocol = if words && parts.is_some() { Split::Test } else { Split::ZeroShot };
    let (class_count, note) = count(&class_names);
    let unparted = (words && parts.is_none())
        .then(|| "there is no train_test_split.txt, which says NABirds' own test part: the second half of the classes is taken".to_owned());
    Ok(Listing {
        class_count,
        notes: note.into_iter().chain(unparted).collect(),
        ..Listing::new(listed, class_names, protocol)
    })
}

/// How many classes the data set has, of which the list may hold fewer; what is then said.
fn count(names: &BTreeMap<usize, String>) -> (usize, Option<String>) {
    let listed = names.len();
    let is_cub = names.values().any(|name| CUB_NAMES.contains(&name.as_str()));
    let last = names.last_key_value().map_or(0, |(&number, _)| number);
    if is_cub && listed < CUB_CLASSES && last <= CUB_CLASSES {
        let note = format!(
            "classes.txt lists {listed} classes of CUB-200-2011's {CUB_CLASSES}; its second half is 101 to 200"
        );
        (CUB_CLASSES, Some(note))
    } else if last > listed {
        let note =
            format!("classes.txt lists {listed} classes, numbered up to {last}: taken for a part of {last} classes");
        (last, Some(note))
    } else {
        (listed, None)
    }
}

/// A line of `id value`.
struct Pair {
    line: usize,
    id: String,
    value: String,
}

fn by_id(pairs: &[Pair]) -> HashMap<&str, &Pair> {
    pairs.iter().map(|pair| (pair.id.as_str(), pair)).collect()
}

/// Lines of `id value`, in file order, each id once.
fn pairs(source: &Source, file: &str) -> Result<Vec<Pair>> {
    let text = source.read_text(file)?;
    let wrong = |line: usize, problem: String| Error::data(source.path().join(file), format!("line {line}: {problem}"));
    let (mut pairs, mut first) = (Vec::new(), HashMap::new());
    for (at, line) in lines(&text) {
        let (id, value) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| wrong(at, format!("wanted 'id value', found '{line}'")))?;
        if let Some(before) = first.insert(id, at) {
            return Err(wrong(at, format!("id {id} is there already, in line {before}; wanted each once")));
        }
        pairs.push(Pair { line: at, id: id.to_owned(), value: value.trim().to_owned() });
    }
    Ok(pairs)
}
