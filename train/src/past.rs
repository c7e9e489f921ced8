//! What the first weights of a run were trained on already: by the run of `--init-from`, by the one whose embedder the model is, and by those
//! that these began with. What was seen then is no test now.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pdloss_embed::dataset::Dataset;
use pdloss_embed::ranks::of_first;
use pdloss_embed::{Error, Result};

use crate::cli::Part;
use crate::folder::{Folder, Manifest};
use crate::parts;
use crate::settings::Settings;

/// Compares what is validated on with what earlier runs were trained on; what is to be said of it.
///
/// # Errors
/// [`Error::Usage`] where they have classes or images in common, and that was not allowed.
pub(crate) fn check(settings: &Settings, validation: &Dataset) -> Result<Vec<String>> {
    // Other ranks may not see the folders of earlier runs.
    of_first(|| seen_here(settings, validation))
}

fn seen_here(settings: &Settings, validation: &Dataset) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let (runs, unread) = earlier(settings);
    notes.extend(unread.into_iter().map(|error| {
        format!("the first weights are of an earlier run, of which nothing is known ({error}): it may have seen what is validated on")
    }));
    for (run, earlier) in runs {
        let name = run.display();
        let shared = match trained_on(&earlier.settings) {
            Ok(data) => shared(&data, validation)?,
            Err(error) => {
                notes.push(format!(
                    "the first weights are of {name}, and what that was trained on cannot be read any more ({error}): it may have been what is \
                     validated on"
                ));
                continue;
            }
        };
        let Some(shared) = shared else { continue };
        if settings.allow_overlap == Some(false) {
            return Err(Error::Usage(format!(
                "the first weights are of {name}, and there {shared}: Recall@1 would be that of what they have seen; validate on something \
                 else, begin with other weights, or give --allow-overlap"
            )));
        }
        notes.push(format!("the first weights are of {name}, and there {shared} (--allow-overlap)"));
    }
    Ok(notes)
}

/// The runs that the first weights come from, the latest first, and why others cannot be read.
fn earlier(settings: &Settings) -> (Vec<(PathBuf, Manifest)>, Vec<Error>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut next = sources(settings);
    while let Some(folder) = next.pop() {
        if !seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            continue;
        }
        match Folder::look(&folder) {
            Ok(manifest) => {
                next.extend(sources(&manifest.settings));
                found.push((folder, manifest));
            }
            Err(error) => unread.push(error),
        }
    }
    (found, unread)
}

/// Folders of the runs that a run may have begun with: that of `--init-from`, and the model's, where it is a run's embedder.
fn sources(settings: &Settings) -> Vec<PathBuf> {
    let folder = settings.model.parent().filter(|folder| Folder::is_embedder_of(folder, &settings.model));
    let init = settings.init.as_ref().filter(|init| init.init.contains(&Part::Embedder));
    let init = init.map(|init| init.init_from.clone());
    folder.map(Path::to_path_buf).into_iter().chain(init).collect()
}

/// What a run was trained on.
fn trained_on(settings: &Settings) -> Result<Dataset> {
    let mut data = Dataset::load(&settings.request())?;
    if let Some(validation) = settings.validation.as_ref().filter(|_| settings.leave_out) {
        parts::leave_out(&mut data, &Dataset::load(&validation.data.request())?)?;
    }
    Ok(data)
}

/// What the earlier data and that validated on have in common, in words: of one data set by the names of classes and images, else by the
/// bytes of the images.
fn shared(earlier: &Dataset, validation: &Dataset) -> Result<Option<String>> {
    let place = |data: &Dataset| data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    if place(earlier) != place(validation) {
        let digests = |data: &Dataset| parts::digests(data, true);
        return Ok(parts::shared_images(earlier, &digests(earlier)?, validation, &digests(validation)?));
    }
    let names: HashSet<&str> = earlier.items.iter().map(|item| item.name.as_str()).collect();
    let again = validation.items.iter().filter(|item| names.contains(item.name.as_str())).count();
    let images = || {
        (again > 0).then(|| format!("{again} of the {} images to validate on are trained on", validation.items.len()))
    };
    Ok(parts::shared_classes(earlier, validation).or_else(images))
}
