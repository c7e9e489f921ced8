//! What is trained on and what is validated on, kept apart.

use std::collections::{HashMap, HashSet};

use pdloss_embed::dataset::{Dataset, Format, folded};
use pdloss_embed::{Error, Result};

/// How many names a message shows.
pub(crate) const SHOWN: usize = 3;

/// Takes the classes of `validation` out of `data`; how many those were.
///
/// # Errors
/// [`Error::Usage`] where fewer than two are left.
pub(crate) fn leave_out(data: &mut Dataset, validation: &Dataset) -> Result<usize> {
    let all = data.classes.len();
    let taken = data.leave_out(validation);
    let left = all - taken;
    if left < 2 {
        return Err(Error::Usage(format!(
            "--validation-classes names {taken} of the {all} classes of part '{}': {left} are left to train on; wanted at least 2",
            data.part
        )));
    }
    if taken > 0 {
        data.part = format!("{}, without the {taken} classes validated on", data.part);
    }
    Ok(taken)
}

/// What the two parts have in common by the names of their classes, in words.
pub(crate) fn shared_classes(data: &Dataset, validation: &Dataset) -> Option<String> {
    let own: HashSet<&str> = data.classes.iter().map(String::as_str).collect();
    let shared: Vec<&str> = validation.classes.iter().map(String::as_str).filter(|class| own.contains(class)).collect();
    let (first, count) = (shared.iter().take(SHOWN).map(|class| format!("'{class}'")), shared.len());
    let first: Vec<String> = first.collect();
    (count > 0).then(|| {
        let more = if count > SHOWN { ", ..." } else { "" };
        let of = validation.classes.len();
        format!("{count} of the {of} classes to validate on are trained on: {}{more}", first.join(", "))
    })
}

/// Classes of the two parts whose names a slip tells apart, which count as different ones, in words.
pub(crate) fn nearly_shared(data: &Dataset, validation: &Dataset) -> Option<String> {
    let own: HashMap<String, &str> = data.classes.iter().map(|class| (folded(class), class.as_str())).collect();
    let exact: HashSet<&str> = data.classes.iter().map(String::as_str).collect();
    // A folder around all of them, as archives have it, makes no other classes; alphabets, each with its letters, do.
    let (alone, by_last) = (by_last_part(&data.classes), by_last_part(&validation.classes));
    let is_around = alone.is_some() && by_last.is_some();
    let others = validation.classes.iter().filter(|class| !exact.contains(class.as_str()));
    let nearly = |class: &String| {
        let around = || alone.as_ref().filter(|_| is_around)?.get(&folded(last_part(class))).copied();
        own.get(&folded(class)).copied().or_else(around)
    };
    let found: Vec<String> = others.filter_map(|class| Some(format!("{class:?} and {:?}", nearly(class)?))).collect();
    let more = if found.len() > SHOWN { ", ..." } else { "" };
    (!found.is_empty()).then(|| {
        format!(
            "{} of the {} classes to validate on are called nearly as classes that are trained on, and count as others: {}{more}",
            found.len(),
            validation.classes.len(),
            found[..found.len().min(SHOWN)].join(", ").replace('"', "'")
        )
    })
}

fn last_part(class: &str) -> &str {
    class.rsplit('/').next().unwrap_or(class)
}

/// Classes by the last part of their paths, where they lie in one folder.
fn by_last_part(classes: &[String]) -> Option<HashMap<String, &str>> {
    let folders = classes.iter().map(|class| class.rsplit_once('/').map_or("", |(folder, _)| folder));
    let folders: HashSet<&str> = folders.collect();
    let last = || classes.iter().map(|class| (folded(last_part(class)), class.as_str()));
    (folders.len() == 1).then(|| last().collect())
}

/// Classes of which no image is left, in words.
pub(crate) fn emptied(data: &Dataset) -> Option<String> {
    let filled: HashSet<usize> = data.items.iter().map(|item| item.class).collect();
    let empty = data.classes.iter().enumerate().filter(|(class, _)| !filled.contains(class));
    let empty: Vec<String> = empty.map(|(_, name)| format!("'{name}'")).collect();
    let more = if empty.len() > SHOWN { ", ..." } else { "" };
    (!empty.is_empty()).then(|| {
        format!(
            "{} of the {} classes have no image that can be used: {}{more}; a loss with proxies keeps theirs, which all images are pushed away \
             from: take the classes out of the data",
            empty.len(),
            data.classes.len(),
            empty[..empty.len().min(SHOWN)].join(", ")
        )
    })
}

/// Images of a class in a batch, for a loss that compares the images of a batch or a sampler of classes (`who`, and its verb), where
/// nobody said how many: 4, which is usual, or `takes` where it compares so many of each class, or the nearest that makes batches of
/// this size.
///
/// # Errors
/// [`Error::Usage`] where nothing does.
pub(crate) fn per_class(who: &str, takes: Option<usize>, batch: usize, classes: usize) -> Result<usize> {
    let makes_batches = |each: &usize| batch.is_multiple_of(*each) && (2..=classes).contains(&(batch / each));
    let more = 5..=batch / 2;
    takes.into_iter().chain([4, 3, 2]).chain(more).find(makes_batches).ok_or_else(|| {
        Error::Usage(format!(
            "--batch {batch}: {who} images of one class and of different classes; give --per-class N, at \
             least 2, and --batch as N times 2 to {classes} classes"
        ))
    })
}

/// Classes of which a batch wants more images than they have, so that an image comes more than once, in words.
pub(crate) fn repeats(labels: &[usize], per_class: Option<usize>) -> Option<String> {
    let wanted = per_class?;
    let mut counts: HashMap<usize, usize> = HashMap::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let few = counts.values().filter(|&&count| count < wanted).count();
    (few > 0).then(|| {
        let of = counts.len();
        format!(
            "{few} of the {of} classes have fewer than the {wanted} images that --per-class wants: a batch holds some of theirs more \
             than once, which makes genuine pairs of an image with itself"
        )
    })
}

/// Refuses batches that a loss of pairs has nothing to compare in.
///
/// # Errors
/// [`Error::Usage`] naming the flag.
pub(crate) fn check_pairs(loss: &str, batch: usize, per_class: usize) -> Result<()> {
    if per_class < 2 || batch / per_class < 2 {
        return Err(Error::Usage(format!(
            "--per-class {per_class}: the loss {loss} compares images of one class and of different classes; wanted at least 2 \
             images of each of at least 2 classes in a --batch of {batch}"
        )));
    }
    Ok(())
}

/// Whether a batch has two images of one class, and two of different classes.
pub(crate) fn has_pairs(labels: &[i64]) -> bool {
    let distinct = labels.iter().collect::<HashSet<_>>().len();
    distinct > 1 && distinct < labels.len()
}

/// SHA-256 of the names of the classes, in the order of the rows of the proxies.
pub(crate) fn order_sha256(data: &Dataset) -> String {
    pdloss_embed::digest::sha256(data.classes.join("\n").as_bytes())
}

/// Refuses to go on where classes may be numbered otherwise than when the run was begun: each would get another's proxy. Runs
/// of version 0.1 have no digest of the order, in which classes that names number followed the order of characters
/// (`class_10` before `class_2`).
///
/// # Errors
/// [`Error::Data`] naming the data.
pub(crate) fn check_order(data: &Dataset, begun: Option<&str>) -> Result<()> {
    let path = data.source.path();
    let now = order_sha256(data);
    if let Some(begun) = begun {
        let wrong = "numbers its classes otherwise than when the run was begun, so that proxies would belong to other classes: \
                     SHA-256 of the names in order";
        return if begun == now { Ok(()) } else { Err(Error::data(path, format!("{wrong} {now}, wanted {begun}"))) };
    }
    let by_names =
        matches!(data.format, Format::Folder | Format::List | Format::Inshop | Format::Celeba | Format::Market);
    match data.classes.windows(2).find(|two| two[0] > two[1]).filter(|_| by_names) {
        None => Ok(()),
        Some(two) => Err(Error::data(
            path,
            format!(
                "numbers class '{}' before '{}' now, and the version that began the run may have had them the other way round, so \
                 that each would get the other's proxy; begin a new run, or go on with the version that began this one",
                two[0], two[1]
            ),
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pdloss_embed::dataset::{Item, Role, Source};
    use std::path::Path;

    /// Classes by name, with as many images each.
    pub(crate) fn data(classes: &[(&str, usize)], start: u8) -> Dataset {
        let (mut items, mut files) = (Vec::new(), Vec::new());
        for (class, &(name, count)) in classes.iter().enumerate() {
            for number in 0..count {
                let name = format!("{name}/{number}");
                files.push((name.clone(), vec![start, u8::try_from(items.len()).unwrap()]));
                items.push(Item { name, class, role: Role::Both, camera: None });
            }
        }
        let names = classes.iter().map(|(name, _)| (*name).to_owned()).collect();
        Dataset {
            weights: HashMap::new(),
            source: Source::of_memory(Path::new("memory"), files),
            format: Format::Folder,
            part: "all".to_owned(),
            items,
            classes: names,
            label: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_run_goes_on_only_with_its_classes_in_the_order_in_which_it_was_begun() {
        let natural = data(&[("class_2", 1), ("class_10", 1)], 0);
        let sorted = data(&[("class_10", 1), ("class_2", 1)], 0);
        assert!(check_order(&natural, Some(&order_sha256(&natural))).is_ok());
        let error = check_order(&natural, Some(&order_sha256(&sorted))).unwrap_err().to_string();
        assert!(error.contains("proxies would belong to other classes"), "{error}");
        // Runs of version 0.1 say nothing of the order, which was that of characters.
        let error = check_order(&natural, None).unwrap_err().to_string();
        assert!(error.contains("numbers class 'class_2' before 'class_10' now"), "{error}");
        assert!(check_order(&sorted, None).is_ok());
        assert!(check_order(&Dataset { format: Format::Sop, ..data(&[("2", 1), ("10", 1)], 0) }, None).is_ok());
    }

    #[test]
    fn classes_that_are_validated_on_are_left_out_and_the_others_numbered_anew() {
        let mut all = data(&[("a", 2), ("b", 1), ("c", 3), ("d", 1)], 0);
        assert_eq!(leave_out(&mut all, &data(&[("b", 1), ("z", 1)], 0)).unwrap(), 1);
        assert_eq!(all.classes, ["a", "c", "d"]);
        assert_eq!(all.items.iter().map(|item| item.class).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 2]);
        assert!(all.items.iter().all(|item| item.name.starts_with(&all.classes[item.class])));
        assert!(all.part.contains("without the 1 classes"), "{}", all.part);
        assert!(shared_classes(&all, &data(&[("b", 1), ("z", 1)], 0)).is_none());
        let error = leave_out(&mut all, &data(&[("a", 1), ("c", 1)], 0)).unwrap_err();
        assert!(error.to_string().contains("2 of the 3 classes") && error.exit_code() == 2, "{error}");
    }

    #[test]
    fn what_is_shared_is_counted_by_class() {
        let (one, two) = (data(&[("a", 2), ("b", 1)], 0), data(&[("b", 1), ("c", 1)], 1));
        let words = shared_classes(&one, &two).unwrap();
        assert!(words.contains("1 of the 2") && words.contains("'b'"), "{words}");
        assert_eq!(nearly_shared(&one, &two), None);
        // The folder that an archive has around its classes; letters of alphabets are others in each.
        let around = nearly_shared(&one, &data(&[("top/b", 1), ("top/z", 1)], 1)).unwrap();
        assert!(around.starts_with("1 of the 2") && around.contains("'top/b' and "), "{around}");
        let letters = data(&[("greek/1", 1), ("latin/2", 1)], 1);
        assert_eq!(nearly_shared(&letters, &data(&[("hebrew/1", 1), ("hebrew/2", 1)], 1)), None);
        let words = nearly_shared(&one, &data(&[("B", 1), ("a ", 1), ("z", 1)], 1)).unwrap();
        assert!(words.contains("2 of the 3") && words.contains("'B' and 'b', 'a ' and 'a'"), "{words}");
        let (one_form, other) = (data(&[("caf\u{e9}", 1)], 0), data(&[("cafe\u{301}", 1)], 1));
        assert!(nearly_shared(&one_form, &other).unwrap().starts_with("1 of the 1"));
    }

    #[test]
    fn images_that_come_more_than_once_are_said() {
        assert_eq!(repeats(&[0, 0, 1, 1], Some(2)), None);
        assert_eq!(repeats(&[0, 1], None), None);
        assert!(repeats(&[0, 0, 1], Some(2)).unwrap().contains("1 of the 2 classes"));
        assert!(repeats(&[0, 0, 1, 2], Some(3)).unwrap().contains("3 of the 3 classes have fewer than the 3 images"));
    }

    #[test]
    fn batches_of_pairs_are_found_or_refused() {
        for (batch, classes, each) in [(12, 10, 4), (9, 10, 3), (10, 10, 2), (64, 10, 8), (25, 6, 5), (64, 100, 4)] {
            assert_eq!(per_class("it takes", None, batch, classes).unwrap(), each, "{batch} of {classes}");
        }
        for (batch, classes) in [(7, 10), (2, 10), (3, 2), (1, 5)] {
            let error = per_class("it takes", None, batch, classes).unwrap_err();
            assert!(error.to_string().contains("--per-class") && error.exit_code() == 2, "{error}");
        }
        assert!(check_pairs("d-loss", 8, 4).is_ok());
        assert!(check_pairs("d-loss", 8, 1).is_err() && check_pairs("d-loss", 8, 8).is_err());
        assert!(has_pairs(&[1, 1, 2]) && !has_pairs(&[1, 1]) && !has_pairs(&[1, 2, 3]) && !has_pairs(&[]));
    }
}
