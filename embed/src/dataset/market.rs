//! Market-1501 (Zheng et al. 2015) and sets named after it (DukeMTMC-reID): `query/` searches `bounding_box_test/` (or
//! `gallery/`), and a file's name is `PERSON_cCAMERA...`: `0002_c1s1_000451_03.jpg` is person 2 seen by camera 1.
//!
//! Images of the query's person by the query's camera do not count; images of person -1 are junk, and left out. Those of person 0 in a gallery
//! that nobody asks for are distractors (false detections, other people): each is of a class of its own.

use std::collections::{BTreeMap, HashMap};

use super::layout::{self, Layout, Place};
use super::source::names::{files, several};
use super::{Listed, Listing, Source, Split, is_image, numbers};
use crate::error::{Error, Result};

/// Person and camera; the person -1 is `None`.
fn parse(name: &str) -> Option<(Option<&str>, u32)> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let (person, rest) = file.split_once("_c")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let behind = rest[digits..].chars().next()?;
    let camera = rest[..digits].parse().ok().filter(|_| behind == 's' || behind == '_')?;
    match person {
        "-1" => Some((None, camera)),
        _ if !person.is_empty() && person.bytes().all(|b| b.is_ascii_digit()) => Some((Some(person), camera)),
        _ => None,
    }
}

fn layout(source: &Source) -> Option<Layout<'_>> {
    let names: Vec<&str> = source.names().iter().map(String::as_str).filter(|n| is_image(n)).collect();
    layout::find(&names, |rest| parse(rest).is_some())
}

/// Whether folders inside of parts say who is on an image as its name does, however they spell it.
fn agree<'n>(rests: impl Iterator<Item = &'n str>) -> bool {
    are_one_to_one(rests.filter_map(|rest| {
        let (path, _) = rest.rsplit_once('/')?;
        let person = parse(rest).map_or("", |(person, _)| person.unwrap_or("-1"));
        Some((path.rsplit('/').next().unwrap_or(path), person))
    }))
}

/// Whether each first word of these pairs stands beside one second word alone, and the other way round.
pub(super) fn are_one_to_one<'n>(mut pairs: impl Iterator<Item = (&'n str, &'n str)>) -> bool {
    let (mut seconds, mut firsts): (HashMap<&str, &str>, HashMap<&str, &str>) = (HashMap::new(), HashMap::new());
    pairs.all(|(first, second)| {
        *seconds.entry(first).or_insert(second) == second && *firsts.entry(second).or_insert(first) == first
    })
}

/// The person that a name tells, where that is somebody.
pub(super) fn person(name: &str) -> Option<&str> {
    parse(name)?.0.filter(|person| person.bytes().any(|digit| digit != b'0'))
}

/// Whether a file is called PERSON_cCAMERA....
pub(super) fn is_called_so(name: &str) -> bool {
    parse(name).is_some()
}

/// Queries, a gallery, and all of their images called so.
pub(super) fn recognises(source: &Source) -> bool {
    layout(source).filter(|found| agree(found.images.iter().map(|&(.., rest)| rest))).is_some_and(|found| {
        let gallery = found.places.contains(&Place::Gallery) || found.places.contains(&Place::Test);
        gallery && found.places.contains(&Place::Query)
    })
}

pub(super) fn list(source: &Source) -> Result<Listing> {
    let found = layout(source).ok_or_else(|| {
        Error::data(
            source.path(),
            "format market wants query/ and bounding_box_test/ (or gallery/) with images called PERSON_cCAMERA..., such as 0002_c1s1_000451_03.jpg",
        )
    })?;
    let mut notes: Vec<String> = source.undecoded().into_iter().collect();
    if !found.others.is_empty() {
        notes.push(format!(
            "left out {} outside of query, gallery and train, or not called PERSON_cCAMERA...: {}",
            files(found.others.len()),
            several(found.others.iter().map(|&n| n.to_owned()))
        ));
    }
    let parsed: Vec<_> =
        found.images.iter().filter_map(|&(name, place, _)| Some((name, place, parse(name)?))).collect();
    let junk = parsed.iter().filter(|(_, _, (person, _))| person.is_none()).count();
    if junk > 0 {
        notes.push(format!("left out {} of person -1, which the data set's authors call junk", files(junk)));
    }
    let is_nobody = |person: &str| person.bytes().all(|digit| digit == b'0');
    let is_elsewhere = |&(_, place, (person, _)): &(&str, Place, (Option<&str>, u32))| {
        person.is_some_and(is_nobody) && !matches!(place, Place::Gallery | Place::Test)
    };
    let has_distractors = !parsed.iter().any(is_elsewhere);
    let is_distractor = |person: &str| has_distractors && is_nobody(person);
    let people = parsed.iter().filter_map(|(_, _, (person, _))| person.filter(|person| !is_distractor(person)));
    let numbers = numbers::of_names(people);
    let mut names: BTreeMap<usize, String> =
        numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect();
    let next = |names: &BTreeMap<usize, String>| names.keys().next_back().map_or(0, |last| last + 1);
    let first_distractor = next(&names);
    notes.extend(found.together());
    notes.extend(Place::note(&found.places));
    let listed: Vec<Listed> = parsed
        .iter()
        .filter_map(|&(name, place, (person, camera))| {
            let (part, role) = place.part_and_role(&found.places)?;
            let class = match person? {
                person if is_distractor(person) => {
                    let file = name.rsplit('/').next().unwrap_or(name);
                    let number = next(&names);
                    names.insert(number, format!("distractor {file}"));
                    number
                }
                person => numbers[person],
            };
            Some(Listed { part: Some(part), role, camera: Some(camera), ..Listed::new(name.to_owned(), class) })
        })
        .collect();
    let distractors = names.range(first_distractor..).count();
    if distractors > 0 {
        notes.push(format!(
            "{} of person 0 in the gallery, whom no query is of, are distractors, as the data set's authors call them: each is a class of its own",
            files(distractors)
        ));
    }
    notes.push(
        "Recall@K and the like do not count images of the query's person by the query's camera (Market-1501's rule)"
            .into(),
    );
    Ok(Listing { notes, ..Listing::new(listed, names, Split::Test) })
}

#[cfg(test)]
mod tests {
    use super::{agree, parse};

    #[test]
    fn folders_of_classes_are_not_taken_for_nothing() {
        for rest in ["0002_c1s1_000451_03.jpg", "0002/0002_c1s1_000451_03.jpg", "-1/-1_c3s2_064619_05.jpg"] {
            assert!(agree([rest].into_iter()), "{rest}");
        }
        let all = |rests: &[&str]| agree(rests.iter().copied());
        assert!(all(&["2/0002_c1_1.jpg", "2/0002_c2_1.jpg", "id7/0007_c1_1.jpg"]), "spelt otherwise");
        assert!(!all(&["cat/0002_c1s1_1.jpg", "cat/0003_c1s1_1.jpg"]), "two in one");
        assert!(!all(&["cat/0002_c1s1_1.jpg", "dog/0002_c1s1_1.jpg"]), "one in two");
    }

    #[test]
    fn names_say_person_and_camera() {
        assert_eq!(parse("query/0002_c1s1_000451_03.jpg"), Some((Some("0002"), 1)));
        assert_eq!(parse("0005_c2_f0046985.jpg"), Some((Some("0005"), 2)));
        assert_eq!(parse("-1_c3s2_064619_05.jpg"), Some((None, 3)));
        for other in ["big_cat_1.jpg", "12_cx.jpg", "_c1s1.jpg", "0002_c1.jpg", "a_c1s1_0.jpg"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
