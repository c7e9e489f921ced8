//! Folders that are parts of a data set, not classes: `train/CLASS` and `val/CLASS`, `CLASS/train` and `CLASS/val`, `query/`
//! and `gallery/`, Market-1501's `bounding_box_test/`.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use super::part::Part;
use super::source::names::several;
use crate::delimited::plain;

/// What a folder of a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Train,
    Validation,
    Test,
    Query,
    Gallery,
}

impl Place {
    /// The part and the role of its images, among these places. Queries need something to search, which is the gallery, or
    /// where there is none the test part; without the one the other has no role. Where both are there, `test` is neither,
    /// and there is no place for it.
    pub(super) fn part_and_role(self, places: &[Self]) -> Option<(Part, Role)> {
        let has = |place| places.contains(&place);
        let searches = has(Self::Query) && (has(Self::Gallery) || has(Self::Test));
        match self {
            Self::Train => Some((Part::Train, Role::Both)),
            Self::Validation => Some((Part::Validation, Role::Both)),
            Self::Query if searches => Some((Part::Test, Role::Query)),
            Self::Gallery if searches => Some((Part::Test, Role::Gallery)),
            Self::Test if searches && has(Self::Gallery) => None,
            Self::Test if searches => Some((Part::Test, Role::Gallery)),
            Self::Test | Self::Query | Self::Gallery => Some((Part::Test, Role::Both)),
        }
    }

    /// What must be said of queries without a gallery, a gallery without queries, and a test part beside both.
    pub(super) fn note(places: &[Self]) -> Option<String> {
        let [query, gallery, test] = [Self::Query, Self::Gallery, Self::Test].map(|place| places.contains(&place));
        match (query, gallery, test) {
            (true, true, true) => Some("left out the folder test: query and gallery are there beside it".into()),
            (true, false, false) => {
                Some("there are queries and neither gallery nor test: they search each other".into())
            }
            (false, true, _) => Some("there is a gallery and no query: its images search each other".into()),
            _ => None,
        }
    }

    /// The place that a folder's name says: `train`, `Train_images`, `train2017`, `val-set` ...
    fn of(folder: &str) -> Option<Self> {
        match plain(folder).as_str() {
            "bounding_box_train" => Some(Self::Train),
            "bounding_box_test" => Some(Self::Gallery),
            words => named(words).filter(|(_, beside)| beside.is_empty()).map(|(place, _)| place),
        }
    }

    /// The place that a word of a table says.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        Self::of(word.trim())
    }

    /// The place that a folder's name says beside these others: a folder of queries makes a gallery of what may be a class elsewhere,
    /// and `faces_train` is a part beside `faces_test`.
    fn among<'n>(folder: &str, mut others: impl Iterator<Item = &'n str> + Clone) -> Option<Self> {
        if let Some(place) = Self::of(folder) {
            return Some(place);
        }
        let lower = plain(folder);
        // As CVAT writes subsets of Market-1501's kind: `bounding_box_SUBSET/` and `query_SUBSET/`, or `query/`. Of those that are
        // not measured queries are images like others.
        let trained = |subset: &str| Self::of(subset).filter(|place| matches!(place, Self::Train | Self::Validation));
        if let Some(subset) = lower.strip_prefix("bounding_box_") {
            let queries = [format!("query_{subset}"), "query".to_owned()];
            let is_one = others.any(|other| queries.contains(&plain(other)));
            return is_one.then(|| trained(subset).unwrap_or(Self::Gallery));
        }
        if let Some(subset) = lower.strip_prefix("query_")
            && others.clone().any(|other| plain(other) == format!("bounding_box_{subset}"))
        {
            return Some(trained(subset).unwrap_or(Self::Query));
        }
        let (word, set) = lower.split_once(['_', '-', ' ']).unwrap_or((&lower, "set"));
        if SEARCHED.contains(&word) && FILLING.contains(&set) {
            return others.any(|other| Self::of(other) == Some(Self::Query)).then_some(Self::Gallery);
        }
        let (place, beside) = named(&lower)?;
        let is_fellow =
            |other: &str| named(&plain(other)).is_some_and(|(theirs, words)| theirs != place && words == beside);
        others.any(is_fellow).then_some(place)
    }
}

/// The one place that a word of a folder's name (as [`plain`] has it) says, and the words beside it that say something else.
fn named(folder: &str) -> Option<(Place, Vec<&str>)> {
    let words =
        folder.split(['_', '-', '.', ' ', '(', ')']).map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    let (mut place, mut beside) = (None, Vec::new());
    for word in words.filter(|word| !word.is_empty() && !FILLING.contains(word)) {
        let said = match word.strip_suffix("set").unwrap_or(word) {
            "train" | "training" | "trainval" => Place::Train,
            "val" | "valid" | "validate" | "validation" | "dev" => Place::Validation,
            "test" | "tests" | "testing" | "eval" | "evaluation" | "holdout" => Place::Test,
            "query" | "queries" | "probe" | "probes" => Place::Query,
            "gallery" | "database" => Place::Gallery,
            _ => {
                beside.push(word);
                continue;
            }
        };
        place = match (place, said) {
            (None, said) => Some(said),
            // Of the part that is measured: `test_query/` and `test_gallery/`.
            (Some(Place::Test), role @ (Place::Query | Place::Gallery))
            | (Some(role @ (Place::Query | Place::Gallery)), Place::Test) => Some(role),
            (Some(Place::Train), Place::Validation) | (Some(Place::Validation), Place::Train) => Some(Place::Train),
            _ => return None,
        };
    }
    Some((place?, beside))
}

/// What is searched is called so, too.
const SEARCHED: [&str; 16] = [
    "index",
    "reference",
    "references",
    "ref",
    "refs",
    "enroll",
    "enrol",
    "enrolled",
    "enrollment",
    "enrolment",
    "db",
    "base",
    "target",
    "targets",
    "support",
    "distractors",
];

/// Words beside the one that names a part.
const FILLING: [&str; 16] = [
    "set", "split", "data", "images", "image", "imgs", "img", "part", "folder", "mini", "bbox", "crop", "crops",
    "cropped", "photos", "pics",
];

/// Whether a folder is called like a part of a data set.
pub(super) fn names_part(folder: &str) -> bool {
    Place::of(folder).is_some()
}

/// Those of these folders that are called like parts, where they are called like several.
pub(super) fn parts_among<'n>(folders: &[&'n str]) -> Vec<&'n str> {
    let place = |folder: &'n str| Some((Place::among(folder, folders.iter().copied())?, folder));
    let parts: Vec<(Place, &str)> = folders.iter().filter_map(|&folder| place(folder)).collect();
    let places: BTreeSet<Place> = parts.iter().map(|(place, _)| *place).collect();
    if places.len() < 2 { Vec::new() } else { parts.into_iter().map(|(_, folder)| folder).collect() }
}

/// Whether these folders, beside each other, are one part by its name and others that are none.
pub(super) fn has_lone_part(folders: &[&str]) -> bool {
    let parts = folders.iter().filter(|folder| Place::of(folder).is_some()).count();
    parts == 1 && folders.len() > 1
}

/// Images by the part that their folder is.
#[derive(Debug, Default)]
pub(super) struct Layout<'n> {
    /// Name, place, and the path without the part's folder, which names the class.
    pub images: Vec<(&'n str, Place, &'n str)>,
    /// Images in other folders beside the parts.
    pub others: Vec<&'n str>,
    /// The places that there are.
    pub places: Vec<Place>,
    /// The folders that are of each.
    folders: BTreeMap<Place, BTreeSet<&'n str>>,
}

impl<'n> Layout<'n> {
    /// What is said of several folders that are one part: `query_drone/` and `query_satellite/`.
    pub(super) fn together(&self) -> Option<String> {
        let joined = self.folders.values().filter(|folders| folders.len() > 1);
        let joined: Vec<String> = joined
            .map(|folders| folders.iter().map(|folder| format!("{folder}/")).collect::<Vec<_>>().join(" and "))
            .collect();
        (!joined.is_empty()).then(|| format!("taken together, as of one part: {}", several(joined)))
    }

    /// Takes folders of queries and of a gallery that hold all of one part, `test/query/a/1.png`, for what they are; of two such parts
    /// those of the test part, and in the other they are no names of classes.
    fn take_roles(&mut self, labelled: impl Fn(&str) -> bool) {
        if self.places.contains(&Place::Query) || self.places.contains(&Place::Gallery) {
            return;
        }
        // Of each place the folders in it; none where an image lies in no folder with a class.
        let mut tops: BTreeMap<Place, Option<BTreeSet<&str>>> = BTreeMap::new();
        for &(_, place, rest) in &self.images {
            let top = rest.split_once('/').filter(|(_, below)| labelled(below)).map(|(top, _)| top);
            let tops = tops.entry(place).or_insert_with(|| Some(BTreeSet::new()));
            match (top, tops.as_mut()) {
                (Some(top), Some(tops)) => drop(tops.insert(top)),
                _ => *tops = None,
            }
        }
        let roles = |(place, tops): (Place, Option<BTreeSet<&'n str>>)| {
            let tops = tops.filter(|_| place != Place::Train)?;
            let of = |top: &&'n str| Some((*top, Place::among(top, tops.iter().copied())?));
            let roles: BTreeMap<&str, Place> = tops.iter().map(of).collect::<Option<_>>()?;
            let places: BTreeSet<&Place> = roles.values().collect();
            (places == BTreeSet::from([&Place::Query, &Place::Gallery])).then_some((place, roles))
        };
        // The test part comes last.
        let mut found: Vec<_> = tops.into_iter().filter_map(roles).collect();
        let Some((part, roles)) = found.pop() else { return };
        for (_, place, rest) in &mut self.images {
            let is_measured = *place == part;
            if let (true, Some((top, below))) =
                (is_measured || found.iter().any(|(other, _)| other == place), rest.split_once('/'))
            {
                *rest = below;
                if is_measured {
                    *place = roles[top];
                }
            }
        }
        self.places.retain(|place| *place != part);
        self.places.extend([Place::Query, Place::Gallery]);
    }

    /// Takes a folder inside a part's folder away that is called like that part, or like nothing, and holds all that the part has:
    /// `train/train/cat/1.png`, as archives are unpacked, `val/images/cat/2.png`.
    fn take_doubled(&mut self, labelled: impl Fn(&str) -> bool) {
        // Of each place the folder that all of its images lie in, as long as there is one.
        let mut tops: BTreeMap<Place, Option<&str>> = BTreeMap::new();
        for &(_, place, rest) in &self.images {
            let top = rest.split_once('/').filter(|(_, below)| labelled(below)).map(|(top, _)| top);
            let same = tops.entry(place).or_insert(top);
            *same = same.filter(|same| top == Some(*same));
        }
        let is_again = |place: Place, top: &str| {
            let words = plain(top);
            let is_named = named(&words).is_some_and(|(said, _)| said == place);
            let says_nothing = words.split('_').all(|word| FILLING.contains(&word));
            is_named || says_nothing || Place::among(top, ["query"].into_iter()) == Some(place)
        };
        for (_, place, rest) in &mut self.images {
            if let Some(top) = tops[place].filter(|top| is_again(*place, top)) {
                *rest = &rest[top.len() + 1..];
            }
        }
    }

    /// Takes out parts whose images all lie in one folder that is no class of the parts beside them, of which one has classes
    /// to tell apart: `test/unknown/`, `val/images/`. Gives their images, which nobody labelled.
    pub(super) fn take_unlabelled(&mut self) -> Vec<&'n str> {
        let class = |rest: &'n str| rest.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut classes: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
        for &(_, place, rest) in &self.images {
            classes.entry(place).or_default().insert(class(rest));
        }
        let several = |places: &BTreeSet<&str>| places.len() > 1;
        let unlabelled = |place: &Place| {
            let of_others = || classes.iter().filter(|(other, _)| *other != place).map(|(_, classes)| classes);
            let own = &classes[place];
            let mut with_classes = of_others().filter(|others| several(others)).peekable();
            own.len() == 1 && with_classes.peek().is_some() && !with_classes.any(|others| others.is_superset(own))
        };
        let out: Vec<Place> = classes.keys().copied().filter(unlabelled).collect();
        let (taken, left) = self.images.iter().partition(|(_, place, _)| out.contains(place));
        self.images = left;
        self.places.retain(|place| !out.contains(place));
        let taken: Vec<(&'n str, Place, &'n str)> = taken;
        taken.into_iter().map(|(name, ..)| name).collect()
    }
}

/// Parts at the top, or in the one folder that holds everything. `labelled` says of the path below the part's folder whether
/// it names a class. Folders are parts where two of them are called like parts, or one that stands alone, and one of them
/// has images with a class; `None` where they are not. [`inner`] is tried where no part is at the top.
pub(super) fn find<'n>(names: &[&'n str], labelled: impl Fn(&str) -> bool) -> Option<Layout<'n>> {
    let mut skip = 0;
    loop {
        let mut tops: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        for name in names {
            *tops.entry(name[skip..].split_once('/').map(|(top, _)| top)).or_default() += 1;
        }
        let place = |top: &str| Place::among(top, tops.keys().flatten().copied());
        let parts = tops.keys().flatten().filter(|top| place(top).is_some()).count();
        if parts == 0 {
            match tops.first_key_value() {
                Some((Some(only), _)) if tops.len() == 1 => skip += only.len() + 1,
                _ => return None,
            }
            continue;
        }
        if parts == 1 && tops.len() > 1 {
            return None;
        }
        let mut layout = Layout::default();
        for name in names {
            match name[skip..].split_once('/').and_then(|(top, rest)| Some((place(top)?, rest))) {
                Some((place, rest)) if labelled(rest) => {
                    layout.images.push((name, place, rest));
                    layout.folders.entry(place).or_default().extend(name[skip..].split('/').next());
                    if !layout.places.contains(&place) {
                        layout.places.push(place);
                    }
                }
                _ => layout.others.push(name),
            }
        }
        layout.take_doubled(&labelled);
        layout.take_roles(&labelled);
        return (!layout.images.is_empty()).then_some(layout);
    }
}

/// Parts below the classes: every image lies in `CLASS/PART`, and there are two parts or more.
pub(super) fn inner<'n>(names: &[&'n str]) -> Option<Layout<'n>> {
    let mut placed = Vec::new();
    for name in names {
        let (folder, _) = name.rsplit_once('/')?;
        let (class, part) = folder.rsplit_once('/')?;
        placed.push((*name, class, part));
    }
    let parts: BTreeSet<&str> = placed.iter().map(|&(.., part)| part).collect();
    let place = |&part: &&'n str| Some((part, Place::among(part, parts.iter().copied())?));
    let places: BTreeMap<&str, Place> = parts.iter().map(place).collect::<Option<_>>()?;
    let mut layout = Layout::default();
    for (name, class, part) in placed {
        let place = places[part];
        layout.images.push((name, place, &name[..=class.len()]));
        if !layout.places.contains(&place) {
            layout.places.push(place);
        }
    }
    (layout.places.len() > 1).then_some(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_classes() {
        let nested = |rest: &str| rest.contains('/');
        let places = |names: &[&'static str]| find(names, nested).map(|l| (l.images.len(), l.others.len()));
        assert_eq!(places(&["train/a/1.png", "val/a/2.png"]), Some((2, 0)));
        assert_eq!(places(&["set/images/Train/a/1.png", "set/images/Test/a/2.png"]), Some((2, 0)));
        assert_eq!(
            places(&["train/a/1.png", "test/1.png", "test/2.png", "doc/1.png"]),
            Some((1, 3)),
            "test is unlabelled"
        );
        assert_eq!(places(&["train/a/1.png"]), Some((1, 0)));
        assert_eq!(places(&["train/1.png", "test/1.png"]), None, "classes called train and test");
        assert_eq!(places(&["train/steam/1.png", "car/vw/1.png"]), None, "the railway's train");
        assert_eq!(places(&["a/1.png", "b/1.png"]), None);
        assert_eq!(places(&["1.png"]), None);
        assert_eq!(places(&[]), None);
        assert_eq!(places(&["train_images/a/1.png", "test-set/a/2.png"]), Some((2, 0)));
        assert_eq!(places(&["Train2017/a/1.png", "val2017/a/2.png", "devset/a/3.png"]), Some((3, 0)));
        assert_eq!(places(&["train_car/a/1.png", "test tube/a/2.png"]), None);
        assert_eq!(places(&["bbox_train/1/1.png", "bbox_test/2/2.png"]), Some((2, 0)), "MARS");
        assert_eq!(places(&["seg_train/a/1.png", "seg_test/a/2.png", "seg_pred/3.png"]), Some((2, 1)));
        assert_eq!(places(&["train_faces/a/1.png", "valid_faces/a/2.png"]), Some((2, 0)));
        assert_eq!(places(&["train_car/a/1.png", "train_bus/a/2.png"]), None, "one part, twice");
        assert_eq!(places(&["train_test/a/1.png", "test_train/a/2.png"]), None);
        assert_eq!(places(&["TrainData/a/1.png", "TestData/b/2.png"]), Some((2, 0)));
        assert_eq!(places(&["trainImages/a/1.png", "ValImages/b/2.png", "TESTSET/c/3.png"]), Some((3, 0)));
        let inner = |names: &[&'static str]| inner(names).map(|l| l.images.iter().map(|i| i.2).collect::<Vec<_>>());
        assert_eq!(inner(&["a/train/1.png", "x/b/val/2.png"]), Some(vec!["a/", "x/b/"]));
        assert_eq!(inner(&["a/train/1.png", "a/good/2.png"]), None);
        assert_eq!(inner(&["a/train/1.png", "b/train/2.png"]), None, "one part parts nothing");
        assert_eq!(inner(&["a/query/1.png", "a/index/2.png"]), Some(vec!["a/", "a/"]));
    }

    #[test]
    fn queries_and_gallery_inside_a_part_are_such() {
        use Place::{Gallery, Query, Test, Train, Validation};
        let found = |names: &[&'static str]| {
            let layout = find(names, |rest| rest.contains('/')).unwrap();
            layout.images.into_iter().map(|(_, place, rest)| (place, rest)).collect::<Vec<_>>()
        };
        for (query, gallery) in [("query", "gallery"), ("probe", "gallery_images"), ("queries", "index")] {
            let image = |path: String| -> &'static str { path.leak() };
            let names =
                ["train/x/1.png", image(format!("test/{query}/a/2.png")), image(format!("test/{gallery}/a/3.png"))];
            assert_eq!(found(&names), [(Train, "x/1.png"), (Query, "a/2.png"), (Gallery, "a/3.png")]);
        }
        let names = ["train/x/1.png", "val/query/a/2.png", "val/gallery/a/3.png"];
        assert_eq!(found(&names), [(Train, "x/1.png"), (Query, "a/2.png"), (Gallery, "a/3.png")]);
        // Classes beside them, and images in no class.
        let names = ["train/x/1.png", "test/query/a/2.png", "test/b/3.png"];
        assert_eq!(found(&names)[1], (Test, "query/a/2.png"));
        let names = ["train/x/1.png", "test/query/2.png", "test/gallery/a/3.png"];
        assert_eq!(found(&names)[1], (Test, "query/2.png"));
        let names = ["val/query/a/1.png", "val/gallery/a/2.png", "test/query/a/3.png", "test/gallery/a/4.png"];
        assert_eq!(
            found(&names)[1..],
            [(Validation, "a/2.png"), (Query, "a/3.png"), (Gallery, "a/4.png")],
            "of two parts"
        );
    }

    #[test]
    fn a_part_inside_its_own_folder_is_that_part() {
        let classes = |names: &[&'static str]| {
            let images = find(names, |rest| rest.contains('/')).unwrap().images;
            images.into_iter().map(|(.., rest)| rest).collect::<Vec<_>>()
        };
        assert_eq!(
            classes(&["seg_train/seg_train/a/1.png", "seg_test/seg_test/a/2.png", "seg_test/seg_test/b/2.png"]),
            ["a/1.png", "a/2.png", "b/2.png"]
        );
        assert_eq!(classes(&["train/train/a/1.png", "val/a/2.png"]), ["a/1.png", "a/2.png"]);
        assert_eq!(classes(&["query/a/1.png", "index/index/a/2.png"]), ["a/1.png", "a/2.png"]);
        assert_eq!(classes(&["train/imgs/a/1.png", "val/a/2.png"]), ["a/1.png", "a/2.png"]);
        assert_eq!(classes(&["train/train/1.png", "train/test/2.png"]), ["train/1.png", "test/2.png"], "classes");
        assert_eq!(classes(&["train/train/a/1.png", "train/b/1.png"]), ["train/a/1.png", "b/1.png"], "not all of it");
    }

    #[test]
    fn what_queries_search_is_a_gallery_by_many_names() {
        let named = |names: &[&'static str]| find(names, |rest| rest.contains('/')).map(|layout| layout.places);
        for searched in ["index", "Reference", "references", "enroll", "enrolled_images", "db", "base", "target-set"] {
            for query in ["query", "probe"] {
                let image = |folder: &str| -> &'static str { format!("{folder}/a/1.png").leak() };
                assert_eq!(
                    named(&[image(query), image(searched)]),
                    Some(vec![Place::Query, Place::Gallery]),
                    "{query} {searched}"
                );
            }
        }
        assert_eq!(named(&["index/a/1.png", "target/a/1.png"]), None, "without queries these are classes");
        assert_eq!(named(&["query/a/1.png", "target practice/a/1.png"]), None);
    }

    #[test]
    fn a_part_of_one_folder_that_is_no_class_beside_it_has_no_labels() {
        let taken = |names: &[&'static str]| {
            let mut layout = find(names, |rest| rest.contains('/')).unwrap();
            (layout.take_unlabelled().len(), layout.places.len())
        };
        let train = ["train/a/1.png", "train/b/1.png"];
        assert_eq!(taken(&[train[0], train[1], "test/unknown/1.png", "test/unknown/2.png"]), (2, 1));
        assert_eq!(taken(&["train/a/images/1.png", "train/b/images/1.png", "val/images/1.png"]), (1, 1));
        assert_eq!(taken(&[train[0], train[1], "test/test/1.png", "val/a/1.png"]), (1, 2));
        assert_eq!(taken(&[train[0], train[1], "test/a/1.png"]), (0, 2), "a class of train");
        assert_eq!(taken(&[train[0], train[1], "test/c/1.png", "test/d/1.png"]), (0, 2), "other classes");
        assert_eq!(taken(&["train/a/1.png", "test/b/1.png"]), (0, 2), "nothing has classes");
    }

    #[test]
    fn queries_and_gallery_have_roles_only_beside_each_other() {
        let role = |place: Place, places: &[Place]| place.part_and_role(places).map(|(_, role)| role);
        use Place::{Gallery, Query, Test, Train};
        assert_eq!(role(Query, &[Query, Gallery]), Some(Role::Query));
        assert_eq!(role(Test, &[Query, Test]), Some(Role::Gallery));
        assert_eq!(role(Test, &[Query, Gallery, Test]), None);
        for alone in [&[Query][..], &[Gallery], &[Query, Train], &[Gallery, Test]] {
            assert_eq!(role(alone[0], alone), Some(Role::Both), "{alone:?}");
            assert!(Place::note(alone).unwrap().contains("search each other"));
        }
        assert_eq!(Place::note(&[Query, Test]), None);
    }
}
