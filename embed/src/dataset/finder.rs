//! Finds the images that a list names among those that are there: by path, with or without ending, and wherever the
//! data set's folder begins.

use std::collections::{HashMap, HashSet};

use super::is_image;
use super::source::names::{composed, tidy};

/// Names of images that are there, by what lists call them.
#[derive(Debug)]
pub struct Finder<'a> {
    names: &'a [String],
    /// The same with accents composed (Unicode NFC), as lists and file systems may spell them either way.
    composed: Vec<String>,
    /// Positions by file name without ending.
    by_stem: HashMap<String, Vec<usize>>,
    /// What the folders are called that images lie in.
    folders: HashSet<String>,
}

impl<'a> Finder<'a> {
    /// Over names of images; those of kept embeddings may be any: `S001`, `v1_000012`.
    pub fn new(names: &'a [String]) -> Self {
        Self::over(names, |_| true)
    }

    /// Over the files of a folder or an archive; those that are no images are left out.
    pub fn of_files(names: &'a [String]) -> Self {
        Self::over(names, is_image)
    }

    fn over(names: &'a [String], counts: impl Fn(&str) -> bool) -> Self {
        let composed: Vec<String> = names.iter().map(|name| composed(name)).collect();
        let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, name) in composed.iter().enumerate().filter(|(_, name)| counts(name)) {
            by_stem.entry(stem(last(name)).to_owned()).or_default().push(at);
        }
        let folders = composed.iter().filter(|name| counts(name)).filter_map(|name| folder_of_image(name));
        let folders = folders.map(str::to_owned).collect();
        Self { names, composed, by_stem, folders }
    }

    /// The position of the image that a list calls `wanted`: the same path, else the one path that ends with it (another
    /// ending of the file will do), else the longest path that it ends with, else the one file of that name in any folder.
    /// `Ok(None)` where there is none, where several files have that name and the folder that the list names fits none of them,
    /// and where there is that folder and the file is not in it: a namesake of another folder is another image.
    ///
    /// # Errors
    /// A sentence naming two images that fit equally well.
    pub fn find(&self, wanted: &str) -> Result<Option<usize>, String> {
        let wanted = &composed(&tidy(wanted));
        let Some(found) = self.by_stem.get(stem(last(wanted))) else { return Ok(None) };
        let key = if is_image(wanted) { stem(wanted) } else { wanted };
        let wanted = wanted.as_str();
        let within = |name: &str| name == key || name.strip_suffix(key).is_some_and(|rest| rest.ends_with('/'));
        let behind = |name: &str| key.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'));
        let held = found.iter().map(|&at| stem(&self.composed[at])).filter(|name| behind(name));
        let longest = held.max_by_key(|name| name.len());
        let is_elsewhere = folder_of_image(wanted).is_some_and(|folder| self.folders.contains(folder));
        let tiers: [&dyn Fn(&str) -> bool; 6] = [
            &|name| name == wanted,
            &|name| stem(name) == key,
            &|name| name.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/')),
            &|name| within(stem(name)),
            &|name| longest == Some(stem(name)),
            &|_| !is_elsewhere,
        ];
        for (tier, fits) in tiers.into_iter().enumerate() {
            let mut fitting = found.iter().copied().filter(|&at| fits(&self.composed[at]));
            if let Some(first) = fitting.next() {
                return match fitting.next() {
                    None => Ok(Some(first)),
                    Some(_) if tier == 5 && wanted.contains('/') => Ok(None),
                    Some(second) => Err(format!("{wanted} may be {} or {}", self.names[first], self.names[second])),
                };
            }
        }
        Ok(None)
    }

    /// Whether the image that was found for `wanted` has no more than its file's name in common with it: both name a folder, and
    /// another one.
    pub fn is_by_name_alone(&self, wanted: &str, at: usize) -> bool {
        are_of_other_folders(wanted, &self.names[at])
    }
}

/// Whether both names have folders, and neither's are the last of the other's.
pub fn are_of_other_folders(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| composed(&tidy(name)));
    let (Some((one, _)), Some((other, _))) = (one.rsplit_once('/'), other.rsplit_once('/')) else { return false };
    let ends_so =
        |path: &str, end: &str| path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    !one.is_empty() && !other.is_empty() && !ends_so(one, other) && !ends_so(other, one)
}

/// What of a name is cut off where an image was found below a folder further down: `frontal/` of `frontal/001/02.jpg` for `001/02.jpg`.
pub fn cut_off<'n>(wanted: &'n str, found: &str) -> Option<&'n str> {
    let wanted = wanted.strip_prefix("./").unwrap_or(wanted);
    let rest = stem(wanted).strip_suffix(stem(found))?;
    (rest.ends_with('/') && rest.len() > 1).then_some(rest)
}

/// What the folder is called that a file lies in.
fn folder_of_image(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(path, _)| last(path)).filter(|folder| !folder.is_empty())
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A path without the ending of an image file; other endings are part of the name.
fn stem(name: &str) -> &str {
    if is_image(name) { name.rsplit_once('.').map_or(name, |(stem, _)| stem) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_path_ending_or_name() {
        let names: Vec<String> =
            ["lfw/A_B/A_B_0001.png", "lfw/A_B/A_B_0002.jpg", "x/1.jpg", "y/1.jpg", "J.R_0001.jpg", "pairs.txt"]
                .map(String::from)
                .into();
        let finder = Finder::of_files(&names);
        assert_eq!(finder.find("A_B/A_B_0001"), Ok(Some(0)));
        assert_eq!(finder.find("A_B/A_B_0001.jpg"), Ok(Some(0)));
        assert_eq!(finder.find("A_B_0002.jpg"), Ok(Some(1)));
        assert_eq!(finder.find("x/1.jpg"), Ok(Some(2)));
        assert_eq!(finder.find("J.R/J.R_0001"), Ok(Some(4)));
        assert_eq!(finder.find("A_B/A_B_0003"), Ok(None));
        assert_eq!(finder.find("pairs.txt"), Ok(None));
        assert_eq!(finder.find("./x\\1.jpg"), Ok(Some(2)));
        assert_eq!(finder.find("/home/me/lfw/A_B/A_B_0002.jpg"), Ok(Some(1)));
        assert_eq!(finder.find("/home/me/x/1.jpg"), Ok(Some(2)), "the data's folder begins further down");
        assert_eq!(finder.find("z/1.jpg"), Ok(None));
        let decomposed = ["Jose\u{301}/Jose\u{301}_0001.jpg".to_owned()];
        assert_eq!(Finder::new(&decomposed).find("Jos\u{e9}/Jos\u{e9}_0001"), Ok(Some(0)));
        assert!(finder.find("1.jpg").unwrap_err().contains("x/1.jpg or y/1.jpg"));
    }

    #[test]
    fn names_of_kept_embeddings_may_end_as_they_like() {
        let names = ["S001", "v1_000012", "clips/a.mp4", "x.y", "7", "id1.jpg", "Jose\u{301}"].map(String::from);
        let finder = Finder::new(&names);
        for (at, name) in names.iter().enumerate() {
            assert_eq!(finder.find(name), Ok(Some(at)), "{name}");
        }
        assert_eq!(
            [finder.find("./S001"), finder.find("a.mp4"), finder.find("Jos\u{e9}")],
            [0, 2, 6].map(|at| Ok(Some(at)))
        );
        assert_eq!([finder.find("S001.jpg"), finder.find("id1")], [0, 5].map(|at| Ok(Some(at))));
        assert_eq!([finder.find("S002"), finder.find("a"), finder.find("x")], [Ok(None), Ok(None), Ok(None)]);
    }

    #[test]
    fn a_namesake_in_another_folder_is_another_image() {
        let names = ["alice/1.jpg", "bob/7.jpg", "part1/carol_2.jpg"].map(String::from);
        let finder = Finder::new(&names);
        assert_eq!(finder.find("alice/7.jpg"), Ok(None), "alice is there and has no 7");
        assert_eq!(finder.find("faces/alice/7"), Ok(None));
        assert_eq!(finder.find("7.jpg"), Ok(Some(1)));
        let found = finder.find("carol/carol_2.jpg").unwrap().unwrap();
        assert!(finder.is_by_name_alone("carol/carol_2.jpg", found));
        assert!(!finder.is_by_name_alone("carol_2.jpg", found) && !finder.is_by_name_alone("x/part1/carol_2", found));
        assert!(are_of_other_folders("frontal/001/1.jpg", "profile/001/1.jpg"));
        assert!(!are_of_other_folders("x/frontal/1.jpg", "frontal/1.jpg") && !are_of_other_folders("1.jpg", "a/1.jpg"));
        assert_eq!(cut_off("frontal/001/1.jpg", "001/1.png"), Some("frontal/"));
        assert_eq!((cut_off("./001/1.jpg", "001/1.jpg"), cut_off("al/1.jpg", "l/1.jpg")), (None, None));
    }
}
