//! From all images that a data set lists to the part that was asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::numbers::ranges;
use super::slips::slips_in;
use super::source::names::{composed, files, several, tidy};
use super::{Dataset, Format, IMAGE_ENDINGS, Item, Listed, Listing, Request, Source, Split, is_image, outside};
use crate::error::{Error, Result};

/// The part of a data set that an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// The word of `--split`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "val",
            Self::Test => "test",
        }
    }

    /// The split that is this part.
    pub(super) fn split(self) -> Split {
        match self {
            Self::Train => Split::Train,
            Self::Validation => Split::Val,
            Self::Test => Split::Test,
        }
    }
}

pub(super) fn take(source: Source, format: Format, listing: Listing, request: &Request) -> Result<Dataset> {
    let Listing { mut images, class_names, class_count, protocol, label, mut notes } = listing;
    let path = &request.path;
    notes.splice(0..0, source.notes().iter().cloned());
    if images.is_empty() {
        let passed = if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
        return Err(Error::data(path, format!("no images found (read as format {}){passed}", format.as_str())));
    }
    let source = match request.root {
        None => outside::follow(source, &mut images, &mut notes),
        Some(_) => source,
    };
    if !matches!(format, Format::Folder | Format::Market) && request.list().is_none() {
        notes.extend(unlisted(&source, &images));
    }
    let mut sizes: BTreeMap<Part, usize> = BTreeMap::new();
    images.iter().filter_map(|i| i.part).for_each(|part| *sizes.entry(part).or_default() += 1);
    let split = resolve(request, protocol, &sizes);
    let wanted = match split {
        Split::Train => Some(Part::Train),
        Split::Val => Some(Part::Validation),
        Split::Test => Some(Part::Test),
        _ => None,
    };
    let sizes_in_words = || several(sizes.iter().map(|(part, n)| format!("{} ({n} images)", part.as_str())));
    if let Some(part) = wanted.filter(|part| !sizes.contains_key(part)) {
        let has = if sizes.is_empty() {
            format!(
                "has no train and test parts, and so no '{}': folders train/, val/, test/, or the column split of a list, make them",
                part.as_str()
            )
        } else {
            // Why it is not there, where it was seen and left out.
            let left: Vec<&str> =
                notes.iter().map(String::as_str).filter(|said| said.starts_with("left out")).collect();
            let left = if left.is_empty() { String::new() } else { format!("; {}", left.join("; ")) };
            format!("has no part '{}'; its parts are {}{left}", part.as_str(), sizes_in_words())
        };
        return Err(Error::Usage(format!("--split: {} (format {}) {has}", path.display(), format.as_str())));
    }
    if split == Split::All && request.split == Split::Protocol && sizes.len() > 1 {
        notes.push(format!(
            "measured together: {}, classes joined by name; --split {} takes one",
            sizes_in_words(),
            sizes.keys().map(|part| part.as_str()).collect::<Vec<_>>().join(" or ")
        ));
    }
    let has_train = sizes.contains_key(&Part::Train) || matches!(split, Split::ZeroShotTrain);
    if request.split == Split::ProtocolTrain && !sizes.is_empty() && !has_train {
        notes.push(format!(
            "there is no training part: what is measured otherwise is taken, which is {}",
            wanted.map_or_else(|| format!("all of {}", sizes_in_words()), |part| format!("part {}", part.as_str()))
        ));
    }
    let numbers = class_names.keys().copied().chain(images.iter().map(|image| image.class));
    let [start, half, after, end] = halves(numbers.collect(), class_count);
    let in_split = |image: &Listed| match split {
        Split::All | Split::Protocol | Split::ProtocolTrain | Split::ProtocolVal => true,
        Split::Train | Split::Val | Split::Test => image.part == wanted,
        Split::ZeroShot => image.class >= after,
        Split::ZeroShotTrain => image.class < after,
    };
    let mut part = match split {
        Split::All | Split::Protocol | Split::ProtocolTrain | Split::ProtocolVal => "all".to_owned(),
        Split::Train => "train".into(),
        Split::Val => "val".into(),
        Split::Test => "test".into(),
        Split::ZeroShot => format!("zero-shot (classes {after}-{end})"),
        Split::ZeroShotTrain => format!("zero-shot train (classes {start}-{half})"),
    };
    let total = images.len();
    let (first, last) =
        (images.iter().map(|i| i.class).min().unwrap_or(0), images.iter().map(|i| i.class).max().unwrap_or(0));
    let mut kept: Vec<Listed> = images.into_iter().filter(in_split).collect();
    if kept.is_empty() {
        return Err(Error::data(
            path,
            format!(
                "part '{part}' holds none of the {total} images, whose classes are {first} to {last}; --split all takes them"
            ),
        ));
    }
    if !request.classes.is_empty() {
        choose(&mut kept, request, &part)?;
        let name = |class: &usize| class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
        notes.push(format!("--classes takes {}", several(request.classes.iter().map(name))));
        part = format!("{part}, {} classes by number: {}", request.classes.len(), ranges(&request.classes));
    }
    notes.extend(slips_in(kept.iter().filter_map(|image| class_names.get(&image.class)).map(String::as_str)));
    find_files(&source, &mut kept, request, &mut notes)?;
    if !request.skip_bad {
        kept.iter().try_for_each(|image| source.check(&image.name))?;
    }
    let kept = once_each(kept, request, &class_names, &mut notes)?;

    let mut numbers: Vec<usize> = kept.iter().map(|i| i.class).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let index: HashMap<usize, usize> = numbers.iter().enumerate().map(|(at, &number)| (number, at)).collect();
    let classes = numbers.iter().map(|n| class_names.get(n).cloned().unwrap_or_else(|| n.to_string())).collect();
    let item = |i: Listed| Item { name: i.name, class: index[&i.class], role: i.role, camera: i.camera };
    let weights = kept.iter().filter_map(|image| Some((image.name.clone(), image.weight?))).collect();
    let items = kept.into_iter().map(item).collect();
    Ok(Dataset { source, format, part, items, classes, label, weights, notes })
}

/// The first and last class of the first half of `count` classes, and of the second: by their numbers where these run from 1 or 0, of which
/// a list may lack some, else by their places.
fn halves(numbers: BTreeSet<usize>, count: usize) -> [usize; 4] {
    let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    for start in [1, 0] {
        if first >= start && last < start + count {
            let half = start + count / 2;
            return [start, half.saturating_sub(1), half, start + count - 1];
        }
    }
    let numbers: Vec<usize> = numbers.into_iter().collect();
    let half = numbers.len() / 2;
    [first, numbers[half.saturating_sub(1)], numbers[half], last]
}

/// The split that is meant, where the protocol is asked for.
fn resolve(request: &Request, protocol: Split, sizes: &BTreeMap<Part, usize>) -> Split {
    match (request.split, protocol) {
        // Classes given by number are a part of their own; with no split named they are taken from the whole.
        (Split::Protocol | Split::ProtocolTrain | Split::ProtocolVal, Split::ZeroShot)
            if !request.classes.is_empty() =>
        {
            Split::All
        }
        (Split::Protocol, protocol) => protocol,
        (Split::ProtocolTrain, Split::ZeroShot) => Split::ZeroShotTrain,
        (Split::ProtocolTrain, _) if sizes.contains_key(&Part::Train) => Split::Train,
        (Split::ProtocolVal, Split::All) if sizes.contains_key(&Part::Validation) => Split::Val,
        (Split::ProtocolVal, Split::All) if sizes.contains_key(&Part::Train) && sizes.contains_key(&Part::Test) => {
            Split::Test
        }
        (Split::ProtocolTrain | Split::ProtocolVal, protocol) => protocol,
        (given, _) => given,
    }
}

/// Keeps the classes that were asked for by number.
fn choose(kept: &mut Vec<Listed>, request: &Request, part: &str) -> Result<()> {
    let mut there: Vec<usize> = kept.iter().map(|i| i.class).collect();
    there.sort_unstable();
    there.dedup();
    let unknown: Vec<usize> =
        request.classes.iter().copied().filter(|class| there.binary_search(class).is_err()).collect();
    if !unknown.is_empty() {
        return Err(Error::Usage(format!(
            "--classes: part '{part}' of {} has no images of class {}; it has classes {}",
            request.path.display(),
            ranges(&unknown),
            ranges(&there)
        )));
    }
    let wanted: HashSet<usize> = request.classes.iter().copied().collect();
    kept.retain(|image| wanted.contains(&image.class));
    Ok(())
}

/// Images of a data set's folder or archive that its lists do not name.
fn unlisted(source: &Source, images: &[Listed]) -> Option<String> {
    let listed: HashSet<String> = images.iter().map(|image| composed(&tidy(&image.name))).collect();
    let is_left = |name: &&String| is_image(name) && !listed.contains(&composed(name));
    let left: Vec<String> = source.names().iter().filter(is_left).cloned().collect();
    (!left.is_empty())
        .then(|| format!("left out {} that the data set's lists do not name: {}", files(left.len()), several(left)))
}

/// Gives each image the name that its file has.
fn find_files(source: &Source, kept: &mut [Listed], request: &Request, notes: &mut Vec<String>) -> Result<()> {
    let total = kept.len();
    if let Some(root) = &request.root {
        outside::stay_below(kept, root, request)?;
    }
    let (mut missing, mut ended): (Vec<&Listed>, Vec<String>) = (Vec::new(), Vec::new());
    for image in kept.iter_mut() {
        match source.find(&image.name) {
            Some(name) => image.name = name,
            None => match with_ending(source, &image.name) {
                Some(name) => {
                    ended.push(format!("{} is {name}", image.name));
                    image.name = name;
                }
                None => missing.push(image),
            },
        }
    }
    if let Some(first) = ended.first() {
        notes.push(format!("{} of {total} names of the list have no ending: {first}", ended.len()));
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let (path, count) = (&request.path, missing.len());
    let line = first.line.map_or(String::new(), |line| format!(" (line {line})"));
    let here = Path::new(".");
    let is_relative = |image: &Listed| Path::new(&image.name).is_relative();
    let is_here = |image: &&&Listed| is_relative(image) && here.join(&image.name).is_file();
    let elsewhere = missing.iter().filter(is_here).count();
    let several = with_endings(source, &first.name);
    let hint = if several.len() > 1 {
        format!("; without its ending it may be {}, so the list must say which", several.join(" or "))
    } else if !is_relative(first) {
        "; absolute paths are taken as they are, and --root DIR is for relative ones".into()
    } else if elsewhere > 0 && path.is_file() {
        format!("; {elsewhere} are there relative to the current folder: --root .")
    } else if path.is_file() && !Source::is_archive(path) {
        "; --root DIR names the folder that they lie in".into()
    } else {
        String::new()
    };
    Err(Error::data(
        path,
        format!(
            "lists {total} images, {count} of which are not there; the first is {}{line}, looked for in {}{hint}",
            first.name,
            source.path().display()
        ),
    ))
}

/// The one file that a name without an ending means, as lists of FGVC-Aircraft and Oxford-IIIT Pets have it.
pub(super) fn with_ending(source: &Source, name: &str) -> Option<String> {
    let mut found = with_endings(source, name);
    found.pop().filter(|_| found.is_empty())
}

/// The files that a name without an ending may mean; none of one that has an image's.
fn with_endings(source: &Source, name: &str) -> Vec<String> {
    if is_image(name) {
        return Vec::new();
    }
    let spellings = IMAGE_ENDINGS.iter().flat_map(|ending| [(*ending).to_owned(), ending.to_uppercase()]);
    spellings.filter_map(|ending| source.find(&format!("{name}.{ending}"))).collect()
}

/// A file under one label counts once; under two it contradicts itself.
fn once_each(
    kept: Vec<Listed>,
    request: &Request,
    class_names: &BTreeMap<usize, String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Listed>> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let (mut again, mut contrary) = (vec![false; kept.len()], HashSet::<&str>::new());
    let mut example = None;
    let name = |class: usize| class_names.get(&class).cloned().unwrap_or_else(|| class.to_string());
    let at_line = |line: Option<usize>| line.map_or(String::new(), |line| format!(" (line {line})"));
    let mut roles = HashSet::new();
    for (at, image) in kept.iter().enumerate() {
        let &mut before = first.entry(&image.name).or_insert(at);
        let other = &kept[before];
        if other.class != image.class {
            if !request.skip_bad {
                return Err(Error::data(
                    &request.path,
                    format!(
                        "{} has two labels: '{}'{} and '{}'{}; wanted one. --skip-bad goes on without such images",
                        image.name,
                        name(other.class),
                        at_line(other.line),
                        name(image.class),
                        at_line(image.line)
                    ),
                ));
            }
            contrary.insert(&image.name);
        }
        if other.weight != image.weight {
            let weight = |of: &Listed| of.weight.map_or("none".to_owned(), |weight| weight.to_string());
            return Err(Error::data(
                &request.path,
                format!(
                    "{} has two weights: {}{} and {}{}; wanted one",
                    image.name,
                    weight(other),
                    at_line(other.line),
                    weight(image),
                    at_line(image.line)
                ),
            ));
        }
        again[at] = !roles.insert((&image.name, image.role));
        if again[at] {
            example.get_or_insert_with(|| format!("{}{}", image.name, at_line(image.line)));
        }
    }
    if !contrary.is_empty() {
        notes.push(format!("left out {} listed under two labels: {}", files(contrary.len()), {
            let mut names: Vec<String> = contrary.iter().map(|&name| name.to_owned()).collect();
            names.sort();
            several(names)
        }));
    }
    let doubled = kept.iter().zip(&again).filter(|(i, again)| **again && !contrary.contains(i.name.as_str())).count();
    if let (true, Some(example)) = (doubled > 0, example) {
        notes.push(format!("{doubled} lines list an image again; each counts once: {example} ..."));
    }
    let contrary: HashSet<String> = contrary.into_iter().map(str::to_owned).collect();
    Ok(kept
        .into_iter()
        .zip(again)
        .filter(|(image, again)| !again && !contrary.contains(&image.name))
        .map(|(image, _)| image)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_of_the_classes_whatever_their_numbers() {
        let of = |numbers: &[usize], count| halves(numbers.iter().copied().collect(), count);
        let run = |first: usize, last: usize| (first..=last).collect::<Vec<_>>();
        assert_eq!(of(&run(1, 10), 10), [1, 5, 6, 10]);
        assert_eq!(of(&run(0, 9), 10), [0, 4, 5, 9]);
        assert_eq!(of(&run(1, 7), 7), [1, 3, 4, 7]);
        // A part of CUB's 200, counted from 1 and from 0.
        assert_eq!(of(&[3, 4, 150], 200), [1, 100, 101, 200]);
        assert_eq!(of(&[0, 4, 150], 200), [0, 99, 100, 199]);
        assert_eq!(of(&run(5, 14), 10), [5, 9, 10, 14]);
        assert_eq!(of(&run(100, 109), 10), [100, 104, 105, 109]);
        assert_eq!(of(&[2, 30, 400], 3), [2, 2, 30, 400]);
        assert_eq!(of(&[7], 1), [7, 7, 7, 7]);
    }
}
