//! Class = the folder that an image lies in, named by its path below the folders that all of them lie in (so `alphabet/character` is one
//! class); below the folder of a part (see [`layout`]), by its path there, so that classes are joined across parts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::layout::{self, Layout, Place};
use super::source::names::{files, several};
use super::{Listed, Listing, Source, Split, is_image, market, numbers};
use crate::delimited::plain;
use crate::error::{Error, Result};

/// Class folders that are called alike and lie in different folders: what they lie in may be parts with other names.
fn namesakes(classes: &[String]) -> Option<String> {
    let mut holders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for class in classes {
        let (holder, name) = class.rsplit_once('/').unwrap_or(("", class));
        holders.entry(name).or_default().insert(holder);
    }
    let several_holders: Vec<_> = holders.iter().filter(|(_, holders)| holders.len() > 1).collect();
    let (name, first) = several_holders.first()?;
    let places = first.iter().map(|holder| if holder.is_empty() { "the top".to_owned() } else { format!("{holder}/") });
    Some(format!(
        "{} of {} names of class folders are there in several places and count as different classes, as '{name}' in {}; \
         parts of one data set are called train, val, test, query, gallery",
        several_holders.len(),
        holders.len(),
        several(places)
    ))
}

/// Folders that are called like parts hold images and no classes: taken for classes only where the format was asked for. Parts that
/// lie deeper, beside other folders, are said.
fn check_names(source: &Source, classes: &[String], asked: bool) -> Result<Option<String>> {
    let names: BTreeSet<&str> = classes.iter().map(|class| class.rsplit('/').next().unwrap_or(class)).collect();
    let all = names.len() > 1 && names.iter().all(|name| layout::names_part(name));
    let folders = match (all, parts_within(classes)) {
        (true, _) => several(names.into_iter().map(|name| format!("{name}/"))),
        (false, Some((folders, true))) => several(folders),
        (false, Some((folders, false))) => {
            return Ok(Some(format!(
                "{} are called like parts of a data set, but lie beside other folders, and are read as names of classes; --data \
                 takes the folder of one data set",
                several(folders)
            )));
        }
        (false, None) => return Ok(None),
    };
    if asked {
        return Ok(Some(format!("{folders} are called like parts of a data set, and count as classes")));
    }
    Err(Error::data(
        source.path(),
        format!(
            "its images lie in {folders}, which are called like parts of a data set and name no class; wanted PART/CLASS/IMAGE, \
             Market-1501's names (0002_c1s1_000451_03.jpg), or a list; --format folder takes these folders for classes"
        ),
    ))
}

/// Folders beside each other that are called like several parts, the first such ones in order of names; and whether they hold images
/// themselves.
fn parts_within(classes: &[String]) -> Option<(Vec<String>, bool)> {
    // Of each folder those in it, and whether images lie in them.
    let mut within: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for class in classes {
        let mut from = 0;
        while from <= class.len() {
            let end = class[from..].find('/').map_or(class.len(), |at| from + at);
            let holds_images = within.entry(&class[..from]).or_default().entry(&class[from..end]).or_default();
            *holds_images |= end == class.len();
            from = end + 1;
        }
    }
    within.into_iter().find_map(|(holder, folders)| {
        let parts = layout::parts_among(&folders.keys().copied().collect::<Vec<_>>());
        let direct = parts.iter().filter(|part| folders[*part]).count() > 1;
        let named = parts.iter().map(|part| format!("{holder}{part}/")).collect();
        (!parts.is_empty()).then_some((named, direct))
    })
}

/// One folder of classes that is called like a part, beside others that are not: what they hold may be other parts.
fn lone_part(classes: &[String]) -> Option<String> {
    // Where the names of folders part, and what is called so there.
    let mut skip = 0;
    let tops: BTreeSet<&str> = loop {
        let tops: Option<BTreeSet<&str>> =
            classes.iter().map(|class| class[skip..].split_once('/').map(|(top, _)| top)).collect();
        let tops = tops?;
        match tops.first() {
            Some(only) if tops.len() == 1 => skip += only.len() + 1,
            _ => break tops,
        }
    };
    let tops: Vec<&str> = tops.into_iter().collect();
    layout::has_lone_part(&tops).then(|| {
        let (parts, others): (Vec<&str>, Vec<&str>) = tops.iter().partition(|top| layout::names_part(top));
        let folders = |names: Vec<&str>| several(names.into_iter().map(|name| format!("{name}/")));
        format!(
            "{} is called like a part of a data set, and {} beside it not like one: all are read as names of classes, of one part",
            folders(parts),
            folders(others)
        )
    })
}

/// Refuses several sets such as Market-1501 beside each other, whose names would be the classes, where nobody asked for these.
fn several_markets<'n>(source: &Source, found: Layout<'n>, asked: bool) -> Result<Layout<'n>> {
    if asked || !found.images.iter().all(|(name, ..)| market::is_called_so(name)) {
        return Ok(found);
    }
    let sets: BTreeSet<&str> = found.images.iter().map(|&(.., class)| class).collect();
    Err(Error::data(
        source.path(),
        format!(
            "{} hold sets such as Market-1501, of images called PERSON_cCAMERA...; --data takes one of them, and --format folder each for a \
             class",
            several(sets.into_iter().map(str::to_owned))
        ),
    ))
}

/// Refuses images called as Market-1501's, PERSON_cCAMERA..., of which a person lies in several folders: those would be the classes.
fn one_folder_a_person<'n>(source: &Source, images: impl Iterator<Item = (&'n str, &'n String)>) -> Result<()> {
    let mut folders: HashMap<&str, &str> = HashMap::new();
    let mut several = None;
    for (name, class) in images {
        if !market::is_called_so(name) {
            return Ok(());
        }
        let Some(person) = market::person(name) else { continue };
        let folder = *folders.entry(person).or_insert(class);
        several = several.or((folder != class).then_some((person, folder, class.as_str())));
    }
    let Some((person, one, other)) = several else { return Ok(()) };
    Err(Error::data(
        source.path(),
        format!(
            "every image is called PERSON_cCAMERA... as Market-1501's are, and person {person} lies in {one}/ and in {other}/, which would be two \
             classes; wanted query/ beside bounding_box_test/ (or gallery/), and --format folder takes folders for classes all the same"
        ),
    ))
}

/// What is said of folders of masks beside those of the images that they are of.
fn masks(names: &[&str], classes: &[String]) -> Option<String> {
    const MASKS: [&str; 16] = [
        "mask",
        "masks",
        "trimap",
        "trimaps",
        "annotation",
        "annotations",
        "segmentation",
        "segmentations",
        "segmentation_class",
        "segmentation_object",
        "groundtruth",
        "ground_truth",
        "gt",
        "depth",
        "edges",
        "labels",
    ];
    let is_mask = |class: &str| class.split('/').any(|folder| MASKS.contains(&plain(folder).as_str()));
    let stem = |name: &'_ str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        ["_mask", "_masks", "_seg", "_segmentation"]
            .iter()
            .find_map(|end| stem.strip_suffix(end))
            .unwrap_or(stem)
            .to_owned()
    };
    let of_images: BTreeSet<String> =
        names.iter().zip(classes).filter(|(_, class)| !is_mask(class)).map(|(name, _)| stem(name)).collect();
    let mut found: BTreeMap<&str, bool> = BTreeMap::new();
    for (name, class) in names.iter().zip(classes).filter(|(_, class)| is_mask(class)) {
        *found.entry(class).or_insert(true) &= of_images.contains(&stem(name));
    }
    let folders: Vec<String> =
        found.into_iter().filter(|(_, all)| *all).map(|(class, _)| format!("{class}/")).collect();
    (!folders.is_empty()).then(|| {
        format!(
            "every image of {} has a namesake in another folder: are these masks, or maps of these images? They are read as classes of their own",
            several(folders)
        )
    })
}

/// What re-identification's sets call images of nobody: a folder that counts as a class beside people's numbers.
fn nobody(classes: &[String]) -> Option<String> {
    let name = |class: &'_ String| class.rsplit('/').next().unwrap_or(class).to_owned();
    let names: BTreeSet<String> = classes.iter().map(name).collect();
    let (nobody, people): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| ["-1", "00-1", "0000"].contains(&name.as_str()));
    let are_people = people.len() > 1 && people.iter().all(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let is_said = nobody.iter().any(|name| name.ends_with("-1"));
    (are_people && is_said).then(|| {
        format!(
            "folder {} counts as one class, where sets of people (MARS) have junk and distractors there; without it they are left out",
            several(nobody)
        )
    })
}

/// How long the path of folders is that all classes lie in, as archives have one at their top: it tells none of them from another.
fn shared(names: &[&str]) -> usize {
    let mut length = 0;
    loop {
        let mut tops = names.iter().map(|name| {
            let (top, rest) = name[length..].split_once('/')?;
            rest.contains('/').then_some(top)
        });
        match tops.next().flatten() {
            Some(top) if tops.all(|other| other == Some(top)) => length += top.len() + 1,
            _ => return length,
        }
    }
}

/// `asked` says that the format was named, not recognised.
pub(super) fn list(source: &Source, asked: bool) -> Result<Listing> {
    let names: Vec<&str> = source.names().iter().map(String::as_str).filter(|n| is_image(n)).collect();
    let mut notes: Vec<String> = source.undecoded().into_iter().collect();
    let (mut protocol, mut places) = (Split::All, Vec::new());
    let found = match layout::find(&names, |rest| rest.contains('/')) {
        Some(found) => Some(found),
        None => layout::inner(&names).map(|found| several_markets(source, found, asked)).transpose()?,
    };
    let placed: Vec<(&str, Option<Place>, &str)> = match found {
        Some(mut found) => {
            let unlabelled = found.take_unlabelled();
            if !unlabelled.is_empty() {
                notes.push(format!(
                    "left out {} of a part that has one folder, which is no class of the other parts: taken for images without \
                     labels: {}",
                    files(unlabelled.len()),
                    several(unlabelled.into_iter().map(str::to_owned))
                ));
            }
            if !found.others.is_empty() {
                notes.push(format!(
                    "left out {} in no class folder of a part ({}): {}",
                    files(found.others.len()),
                    "train, val, test, query, gallery",
                    several(found.others.iter().map(|&n| n.to_owned()))
                ));
            }
            notes.extend(found.together());
            places = found.places;
            notes.extend(Place::note(&places));
            if places.contains(&Place::Query) || places.contains(&Place::Gallery) {
                protocol = Split::Test;
            }
            let has_place = |place: &Place| place.part_and_role(&places).is_some();
            let placed = found.images.into_iter().filter(|(_, place, _)| has_place(place));
            placed.map(|(name, place, rest)| (name, Some(place), rest)).collect()
        }
        None => {
            let shared = shared(&names);
            names.iter().map(|&name| (name, None, &name[shared..])).collect()
        }
    };
    let class = |below: &'_ str| below.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    if let Some((loose, ..)) = placed.iter().find(|(_, _, below)| class(below).is_none()) {
        return Err(Error::data(
            source.path(),
            format!(
                "{loose} lies in no class folder; wanted CLASS/IMAGE, or a list of paths and labels (--data LIST.csv --root {})",
                source.path().display()
            ),
        ));
    }
    let classes: Vec<String> = placed.iter().filter_map(|(_, _, below)| class(below)).collect();
    if !asked {
        one_folder_a_person(source, placed.iter().map(|(name, ..)| *name).zip(&classes))?;
    }
    if places.is_empty() {
        notes.extend(check_names(source, &classes, asked)?);
        notes.extend(lone_part(&classes));
    } else if let Some((folders, _)) = parts_within(&classes) {
        notes.push(format!(
            "{} inside of parts are called like parts, too, and are read as names of classes",
            several(folders)
        ));
    }
    notes.extend(masks(&placed.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), &classes));
    notes.extend(namesakes(&classes));
    notes.extend(nobody(&classes));
    // Numbers follow the sorted names, so that `--classes 1-10` means the same on every machine.
    let numbers = numbers::of_names(classes.iter().map(String::as_str));
    let listed = placed.iter().zip(&classes).map(|(&(name, place, _), class)| {
        let mut image = Listed::new(name.to_owned(), numbers[class.as_str()]);
        if let Some((part, role)) = place.and_then(|place| place.part_and_role(&places)) {
            (image.part, image.role) = (Some(part), role);
        }
        image
    });
    let names = numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect();
    Ok(Listing { notes, ..Listing::new(listed.collect(), names, protocol) })
}
