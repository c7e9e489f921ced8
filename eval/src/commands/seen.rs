//! Whether a model has seen what it is measured on, as the runs of `pdloss train` say that it comes from.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pdloss_embed::console::Progress;
use pdloss_embed::dataset::{Dataset, Item, Past};
use pdloss_embed::digest::sha256;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

/// What is to be said of a model that was trained on images that are measured, by its run or by those that this began with.
pub(super) fn seen(model: &Path, measured: &Dataset) -> Vec<String> {
    let (runs, unread) = Past::of(model, None);
    let doubt =
        |error| format!("what the model was trained on cannot be read ({error}): it may have seen the images measured");
    let mut said: Vec<String> = unread.into_iter().map(doubt).collect();
    let untold = Past::untold(model, &runs).into_iter();
    said.extend(untold.map(|what| format!("the model was {what}: it may have seen the images measured")));
    for run in runs {
        let manifest = run.folder.join("run.toml");
        if !run.data.path.exists() {
            said.push(format!(
                "what the model was trained on ({}, by {}) is not here: it may have seen the images measured",
                run.data.path.display(),
                manifest.display()
            ));
            continue;
        }
        let trained = match run.load() {
            Ok(trained) => trained,
            Err(error) => {
                said.push(doubt(error));
                continue;
            }
        };
        if has_changed(&run, &trained) {
            let or_skipped = if run.data.skip_bad { " (or some were skipped then)" } else { "" };
            said.push(format!(
                "the images that the model was trained on ({}, by {}: {} then, {} now) have changed since{or_skipped}: it may have seen the \
                 images measured under another name",
                run.data.path.display(),
                manifest.display(),
                run.images,
                trained.items.len()
            ));
        }
        let (count, copies) = in_both(measured, &trained);
        if count > 0 {
            said.push(format!(
                "{count} of the {} images measured are among those that the model was trained on ({}){}: figures of them are of what it has seen",
                measured.items.len(),
                manifest.display(),
                if copies == 0 { String::new() } else { format!(", {copies} of them as copies, byte for byte") }
            ));
        }
    }
    said
}

/// Whether what a run was trained on is no longer what it was: by the number of images, and where these are few enough by their bytes.
fn has_changed(run: &Past, now: &Dataset) -> bool {
    /// Bytes that are read for that.
    const MOST: u64 = 1 << 30;
    if run.images != now.items.len() {
        return true;
    }
    let bytes: u64 = now.items.iter().filter_map(|item| now.source.size(&item.name)).sum();
    bytes <= MOST && {
        let progress = Progress::new("looking whether what was trained on is as it was", "images", now.items.len());
        let digest = |item: &Item| -> [u8; 32] {
            progress.advance(1);
            now.source.read(&item.name).map(|bytes| Sha256::digest(bytes).into()).unwrap_or_default()
        };
        let digests: Vec<[u8; 32]> = now.items.par_iter().map(digest).collect();
        progress.finish();
        now.sha256(&digests) != run.data_sha256
    }
}

/// How many images that are measured were trained on, and how many of these lie elsewhere, as files of the same bytes.
fn in_both(measured: &Dataset, trained: &Dataset) -> (usize, usize) {
    let places = |data: &Dataset| data.items.iter().map(place(data)).collect::<Vec<_>>();
    let (of_measured, of_trained) = (places(measured), places(trained));
    let are_trained: HashSet<&PathBuf> = of_trained.iter().collect();
    let elsewhere = measured.items.iter().zip(&of_measured).filter(|(_, place)| !are_trained.contains(place));
    let elsewhere: Vec<Item> = elsewhere.map(|(item, _)| item.clone()).collect();
    let copies = copies((measured, &elsewhere), (trained, &trained.items));
    (measured.items.len() - elsewhere.len() + copies, copies)
}

/// How many files of the first have the bytes of one of the second. Only files as long as one of the others are read.
fn copies((measured, own): (&Dataset, &[Item]), (trained, others): (&Dataset, &[Item])) -> usize {
    let size = |data: &Dataset, item: &Item| data.source.size(&item.name);
    let sizes =
        |data: &Dataset, items: &[Item]| items.iter().filter_map(|item| size(data, item)).collect::<HashSet<u64>>();
    let shared: HashSet<u64> = sizes(measured, own).intersection(&sizes(trained, others)).copied().collect();
    let of_a_size = |data: &Dataset, items: &[Item]| -> Vec<String> {
        let is_shared = |item: &&Item| size(data, item).is_some_and(|size| shared.contains(&size));
        items.iter().filter(is_shared).map(|item| item.name.clone()).collect()
    };
    let (own, others) = (of_a_size(measured, own), of_a_size(trained, others));
    let progress = Progress::new("comparing with what was trained on", "images", own.len() + others.len());
    let digests = |data: &Dataset, names: &[String]| -> Vec<Option<String>> {
        let of = |name: &String| {
            progress.advance(1);
            // What cannot be read is said where it is embedded.
            data.source.read(name).ok().map(|bytes| sha256(&bytes))
        };
        names.par_iter().map(of).collect()
    };
    let known: HashSet<String> = digests(trained, &others).into_iter().flatten().collect();
    let copies = digests(measured, &own).into_iter().flatten().filter(|digest| known.contains(digest)).count();
    progress.finish();
    copies
}

/// Where an image lies, through whatever folder it is named.
fn place(data: &Dataset) -> impl Fn(&Item) -> PathBuf {
    let root = data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    move |item| root.join(&item.name)
}
