//! What the first weights of a run were trained on already: by the run of `--init-from`, by the one whose embedder the model is, and by those
//! that these began with. What was seen then is no test now.

use std::collections::HashSet;

use pdloss_embed::dataset::{Dataset, Past};
use pdloss_embed::ranks::of_first;
use pdloss_embed::{Error, Result};

use crate::cli::Part;
use crate::overlap;
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
    let init = settings.init.as_ref().filter(|init| init.init.contains(&Part::Embedder));
    let (runs, unread) = Past::of(&settings.model, init.map(|init| init.init_from.as_path()));
    notes.extend(unread.into_iter().map(|error| {
        format!("the first weights are of an earlier run, of which nothing is known ({error}): it may have seen what is validated on")
    }));
    let untold = Past::untold(&settings.first_net(), &runs).into_iter();
    notes.extend(untold.map(|what| format!("the first weights were {what}: they may have seen what is validated on")));
    let (mut of_validation, mut pixels) = (None, None);
    for earlier in runs {
        let name = earlier.folder.display();
        let data = earlier.load().and_then(|data| Ok((overlap::digests(&data, true)?, data)));
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
        let (begun, now) = (&earlier.data_sha256, data.sha256(&of_data));
        let has_changed = *begun != now;
        if has_changed {
            let or_skipped = if earlier.data.skip_bad { " (or some were skipped then)" } else { "" };
            notes.push(format!(
                "the first weights are of {name}, and the images that it was trained on have changed since{or_skipped}: SHA-256 {now}, then \
                 {begun}: what they were may be validated on under another name"
            ));
        }
        if of_validation.is_none() {
            of_validation = Some(overlap::digests(validation, true)?);
        }
        let digests = (&of_data[..], of_validation.as_deref().unwrap_or_default());
        let shared = match shared(&data, validation, digests, has_changed) {
            None => stored_anew(&data, validation, &mut pixels)?,
            shared => shared,
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

/// Images of the earlier data that are validated on in other files, in words. `pixels` are digests of those validated on, once they are known.
fn stored_anew(earlier: &Dataset, validation: &Dataset, pixels: &mut Option<Vec<[u8; 32]>>) -> Result<Option<String>> {
    let of_validation = match pixels {
        Some(pixels) => pixels,
        None => pixels.insert(overlap::digests_of_whole(validation)?),
    };
    let of_earlier = overlap::digests_of_whole(earlier)?;
    Ok(overlap::shared_images(overlap::PIXELS, earlier, &of_earlier, validation, of_validation))
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
    let images = || overlap::shared_images(overlap::BYTES, earlier, of_earlier, validation, of_validation);
    classes.or_else(images).or_else(|| if is_one && has_changed { by_name() } else { None })
}
