//! Images that a list names, among those of a data set or of kept embeddings.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::{Error, Result};
use pdloss_embed::dataset::{Finder, are_of_other_folders, cut_off};

/// Names to be looked for, as they are or as paths.
pub(super) struct Named<'a> {
    as_they_are: HashMap<&'a str, usize>,
    finder: Finder<'a>,
}

impl<'a> Named<'a> {
    /// Over these names of images.
    pub(super) fn new(names: &'a [String]) -> Self {
        Self::over(names, Finder::new(names))
    }

    /// Over files, some of which may be no images.
    pub(super) fn of_files(names: &'a [String]) -> Self {
        Self::over(names, Finder::of_files(names))
    }

    fn over(names: &'a [String], finder: Finder<'a>) -> Self {
        let as_they_are = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        Self { as_they_are, finder }
    }

    /// Where it is: the same name, for kept embeddings may have any, else as [`Finder::find`].
    ///
    /// # Errors
    /// Those of [`Finder::find`].
    pub(super) fn find(&self, wanted: &str) -> std::result::Result<Option<usize>, String> {
        self.as_they_are.get(wanted).map_or_else(|| self.finder.find(wanted), |&at| Ok(Some(at)))
    }
}

/// What is to be said of images of a list that were found by their file names alone, or below folders that the list's names do not
/// share; `data` is the folder that they were looked for in.
///
/// # Errors
/// [`Error::Data`] where one file is what two names of different folders mean, or the list has one name below `data` and another beside it.
pub(super) fn namesakes(
    path: &Path,
    images: &[String],
    found: &[Option<usize>],
    names: &[String],
    data: Option<&Path>,
) -> Result<Vec<String>> {
    let (mut alone, mut owners): (Vec<(&str, &str)>, HashMap<usize, &str>) = (Vec::new(), HashMap::new());
    // What is cut off the names, and the first that it is cut off.
    let mut cut: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (wanted, at) in images.iter().zip(found).filter_map(|(wanted, at)| Some((wanted.as_str(), (*at)?))) {
        let name = names[at].as_str();
        if are_of_other_folders(wanted, name) {
            alone.push((wanted, name));
        }
        if let Some(rest) = cut_off(wanted, name) {
            cut.entry(rest).or_insert((0, wanted)).0 += 1;
        }
        let owner = *owners.entry(at).or_insert(wanted);
        if are_of_other_folders(owner, wanted) {
            let problem =
                format!("names {owner} and {wanted}, and the data has one such file, {name}; wanted a file for each");
            return Err(Error::data(path, problem));
        }
    }
    let own = data.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    // Where it lies, and what it is called.
    let parted = |rest: &'_ str| {
        let rest = rest.trim_end_matches('/');
        rest.rsplit_once('/')
            .map_or((String::new(), rest.to_owned()), |(above, last)| (above.to_owned(), last.to_owned()))
    };
    let here = cut.keys().map(|rest| parted(rest)).find(|(_, last)| Some(last) == own.as_ref());
    let is_beside =
        |rest: &str| here.as_ref().is_some_and(|(above, last)| parted(rest).0 == *above && parted(rest).1 != *last);
    if let (Some(data), Some((rest, (_, wanted)))) = (data, cut.iter().find(|(rest, _)| is_beside(rest))) {
        let problem = format!(
            "names {wanted}, which lies in {rest} beside {}, where other names of it lie; wanted the folder that holds both",
            data.display()
        );
        return Err(Error::data(path, problem));
    }
    let mut said = Vec::new();
    if let Some((wanted, name)) = alone.first() {
        said.push(format!(
            "{} of {} images of {} were found by their file names alone, in other folders than the list has: {wanted} is {name} ...",
            alone.len(),
            images.len(),
            path.display()
        ));
    }
    if cut.len() > 1 {
        let parts: Vec<String> = cut.iter().take(4).map(|(rest, (count, _))| format!("'{rest}' ({count})")).collect();
        said.push(format!(
            "names of {} begin in {} ways, {}, all of which are cut off to find them in the data: are they of one folder?",
            path.display(),
            cut.len(),
            parts.join(", ")
        ));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(images: &[&str], names: &[&str], data: &str) -> std::result::Result<Vec<String>, String> {
        let [images, names] = [images, names].map(|all| all.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let finder = Finder::of_files(&names);
        let found: Vec<Option<usize>> = images.iter().map(|image| finder.find(image).unwrap()).collect();
        namesakes(Path::new("pairs.csv"), &images, &found, &names, Some(Path::new(data))).map_err(|e| e.to_string())
    }

    #[test]
    fn one_file_is_not_what_names_of_two_folders_mean() {
        let names = ["001/1.jpg", "001/2.jpg"];
        let error = said(&["frontal/001/1.jpg", "profile/001/1.jpg"], &names, "faces").unwrap_err();
        assert!(
            error.contains("names frontal/001/1.jpg and profile/001/1.jpg, and the data has one such file"),
            "{error}"
        );
        // The data are one of the folders, and the other is not there.
        let error = said(&["frontal/001/1.jpg", "profile/001/2.jpg"], &names, "faces/frontal").unwrap_err();
        assert!(error.contains("names profile/001/2.jpg, which lies in profile/ beside faces/frontal"), "{error}");
        let notes = said(&["frontal/001/1.jpg", "profile/001/2.jpg"], &names, "faces").unwrap();
        assert!(notes.len() == 1 && notes[0].contains("begin in 2 ways, 'frontal/' (1), 'profile/' (1)"), "{notes:?}");
        for same in [["/home/me/001/1.jpg", "/home/me/001/2.jpg"], ["001/1.jpg", "./001/2.jpg"], ["1.jpg", "001/2.jpg"]]
        {
            assert_eq!(said(&same, &names, "faces/001"), Ok(Vec::new()), "{same:?}");
        }
        // Two machines, to whose folders the list has absolute paths.
        let notes = said(&["/home/me/faces/001/1.jpg", "/mnt/lfw/001/2.jpg"], &names, "faces").unwrap();
        assert!(notes.len() == 1 && notes[0].contains("begin in 2 ways"), "{notes:?}");
        let notes = said(&["NIR/1.jpg"], &["VIS/1.jpg"], "faces").unwrap();
        assert!(notes[0].contains("1 of 1 images of pairs.csv were found by their file names alone"), "{notes:?}");
    }
}
