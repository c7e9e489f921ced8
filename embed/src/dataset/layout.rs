//! Folders that are parts of a data set, not classes: `train/CLASS` and `val/CLASS`, `query/` and `gallery/`, Market-1501's
//! `bounding_box_test/`.

use std::collections::BTreeMap;

use super::Role;
use super::part::Part;

/// What a folder of a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Train,
    Validation,
    Test,
    Query,
    Gallery,
}

impl Place {
    /// The part and the role of its images. Where there are queries and no gallery, the test part is the gallery.
    pub(super) fn part_and_role(self, places: &[Self]) -> (Part, Role) {
        let searched = places.contains(&Self::Query) && !places.contains(&Self::Gallery);
        match self {
            Self::Train => (Part::Train, Role::Both),
            Self::Validation => (Part::Validation, Role::Both),
            Self::Test if searched => (Part::Test, Role::Gallery),
            Self::Test => (Part::Test, Role::Both),
            Self::Query => (Part::Test, Role::Query),
            Self::Gallery => (Part::Test, Role::Gallery),
        }
    }

    fn of(folder: &str) -> Option<Self> {
        match folder.to_lowercase().as_str() {
            "train" | "training" | "bounding_box_train" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            "query" => Some(Self::Query),
            "gallery" | "bounding_box_test" => Some(Self::Gallery),
            _ => None,
        }
    }
}

/// Images by the part that their folder is.
#[derive(Debug, Default)]
pub(super) struct Layout<'n> {
    /// Name, place, and the path below the part's folder.
    pub images: Vec<(&'n str, Place, &'n str)>,
    /// Images in other folders beside the parts.
    pub others: Vec<&'n str>,
    /// The places that there are.
    pub places: Vec<Place>,
}

/// Parts at the top, or in the one folder that holds everything. `labelled` says of the path below the part's folder whether
/// it names a class. Folders are parts where two of them are called like parts, or one that stands alone, and one of them
/// has images with a class; `None` where they are not.
pub(super) fn find<'n>(names: &[&'n str], labelled: impl Fn(&str) -> bool) -> Option<Layout<'n>> {
    let mut skip = 0;
    loop {
        let mut tops: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        for name in names {
            *tops.entry(name[skip..].split_once('/').map(|(top, _)| top)).or_default() += 1;
        }
        let parts = tops.keys().flatten().filter(|top| Place::of(top).is_some()).count();
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
            match name[skip..].split_once('/').and_then(|(top, rest)| Some((Place::of(top)?, rest))) {
                Some((place, rest)) if labelled(rest) => {
                    layout.images.push((name, place, rest));
                    if !layout.places.contains(&place) {
                        layout.places.push(place);
                    }
                }
                _ => layout.others.push(name),
            }
        }
        return (!layout.images.is_empty()).then_some(layout);
    }
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
    }
}
