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
    let mut of_validation = None;
    for (run, earlier) in runs {
        let name = run.display();
        let data = trained_on(&earlier.settings).and_then(|data| Ok((parts::digests(&data, true)?, data)));
        let (of_data, data) = match data {
            Ok(read) => read,
            Err(error) => {
                notes.push(format!(
                    "the first weights are of {name}, and what that was trained on cannot be read any more ({error}): it may have been what is \
                     validated on"
                ));
                continue;
            }
        };
        let (begun, now) = (&earlier.made_with.data_sha256, data.sha256(&of_data));
        let has_changed = *begun != now;
        if has_changed {
            let or_skipped = if earlier.settings.data.skip_bad { " (or some were skipped then)" } else { "" };
            notes.push(format!(
                "the first weights are of {name}, and the images that it was trained on have changed since{or_skipped}: SHA-256 {now}, then \
                 {begun}: what they were may be validated on under another name"
            ));
        }
        if of_validation.is_none() {
            of_validation = Some(parts::digests(validation, true)?);
        }
        let digests = (&of_data[..], of_validation.as_deref().unwrap_or_default());
        let Some(shared) = shared(&data, validation, digests, has_changed) else { continue };
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
    // Behind a link, too.
    let model = settings.model.canonicalize().unwrap_or_else(|_| settings.model.clone());
    let folder = model.parent().filter(|folder| Folder::is_embedder_of(folder, &model));
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

/// What the earlier data and that validated on have in common, in words: by the bytes of the images, whose digests these are; of one data
/// set by the names of classes, too, and by those of the images where these are not those that were trained on.
fn shared(
    earlier: &Dataset,
    validation: &Dataset,
    (of_earlier, of_validation): (&[[u8; 32]], &[[u8; 32]]),
    has_changed: bool,
) -> Option<String> {
    let place = |data: &Dataset| data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    let is_one = place(earlier) == place(validation);
    let by_name = || {
        let names: HashSet<&str> = earlier.items.iter().map(|item| item.name.as_str()).collect();
        let again = validation.items.iter().filter(|item| names.contains(item.name.as_str())).count();
        let of = validation.items.len();
        (again > 0)
            .then(|| format!("{again} of the {of} images to validate on have names of images that are trained on"))
    };
    let classes = if is_one { parts::shared_classes(earlier, validation) } else { None };
    let images = || parts::shared_images(earlier, of_earlier, validation, of_validation);
    classes.or_else(images).or_else(|| if is_one && has_changed { by_name() } else { None })
}
