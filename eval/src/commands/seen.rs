//! Whether a model has seen what it is measured on, as the runs of `pdloss train` say that it comes from.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pdloss_embed::console::Progress;
use pdloss_embed::dataset::{Dataset, Item, Past};
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
        let digests = digests_of_few(&run, &trained);
        if has_changed(&run, &trained, digests.as_deref()) {
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
        let (count, copies) = in_both(measured, &trained, digests.as_deref());
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

/// SHA-256 of the images that a run was trained on, where they are as many as then and few enough to be read for it.
fn digests_of_few(run: &Past, now: &Dataset) -> Option<Vec<Option<[u8; 32]>>> {
    /// Bytes that are read.
    const MOST: u64 = 1 << 30;
    let bytes = || now.items.iter().filter_map(|item| now.source.size(&item.name)).sum::<u64>();
    (run.images == now.items.len() && bytes() <= MOST).then(|| digests(now, &now.items.iter().collect::<Vec<_>>()))
}

/// Whether what a run was trained on is no longer what it was: by the number of images, and by their digests where these are known.
fn has_changed(run: &Past, now: &Dataset, digests: Option<&[Option<[u8; 32]>]>) -> bool {
    let whole =
        |digests: &[Option<[u8; 32]>]| digests.iter().map(|digest| digest.unwrap_or_default()).collect::<Vec<_>>();
    run.images != now.items.len() || digests.is_some_and(|digests| now.sha256(&whole(digests)) != run.data_sha256)
}

/// How many images that are measured were trained on, and how many of these lie elsewhere, as files of the same bytes. Of the trained ones
/// the digests are given, or only those that are as long as one of the others are read.
fn in_both(measured: &Dataset, trained: &Dataset, known: Option<&[Option<[u8; 32]>]>) -> (usize, usize) {
    let are_trained: HashSet<PathBuf> = trained.items.iter().map(place(trained)).collect();
    let place = place(measured);
    let elsewhere: Vec<&Item> = measured.items.iter().filter(|item| !are_trained.contains(&place(item))).collect();
    let size = |data: &Dataset, item: &Item| data.source.size(&item.name);
    let as_long = |data: &Dataset, items: &[&Item], sizes: &HashSet<u64>| {
        let is_so = |item: &&&Item| size(data, item).is_some_and(|size| sizes.contains(&size));
        digests(data, &items.iter().filter(is_so).copied().collect::<Vec<_>>())
    };
    let sizes =
        |data: &Dataset, items: &[&Item]| items.iter().filter_map(|item| size(data, item)).collect::<HashSet<_>>();
    let trained_ones: Vec<&Item> = trained.items.iter().collect();
    let of_both: HashSet<u64> =
        sizes(measured, &elsewhere).intersection(&sizes(trained, &trained_ones)).copied().collect();
    let of_trained: HashSet<[u8; 32]> = match known {
        Some(known) => known.iter().flatten().copied().collect(),
        None => as_long(trained, &trained_ones, &of_both).into_iter().flatten().collect(),
    };
    let copies = as_long(measured, &elsewhere, &of_both).into_iter().flatten();
    let copies = copies.filter(|digest| of_trained.contains(digest)).count();
    (measured.items.len() - elsewhere.len() + copies, copies)
}

/// SHA-256 of each of these images; none of one that cannot be read, which is said where it is embedded.
fn digests(data: &Dataset, items: &[&Item]) -> Vec<Option<[u8; 32]>> {
    let progress = Progress::new("comparing with what was trained on", "images", items.len());
    let digest = |item: &&Item| {
        progress.advance(1);
        data.source.read(&item.name).ok().map(|bytes| Sha256::digest(bytes).into())
    };
    let digests = items.par_iter().map(digest).collect();
    progress.finish();
    digests
}

/// Where an image lies, through whatever folder it is named.
fn place(data: &Dataset) -> impl Fn(&Item) -> PathBuf {
    let root = data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    move |item| root.join(&item.name)
}
