//! Whether a model has seen what it is measured on, as the runs of `pdloss train` say that it comes from.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::Result;
use pdloss_embed::dataset::{Dataset, Past};

/// What is to be said of a model that was trained on images that are measured, by its run or by those that this began with.
pub(super) fn seen(model: &Path, measured: &Dataset) -> Vec<String> {
    let (runs, unread) = Past::of(model, None);
    let doubt =
        |error| format!("what the model was trained on cannot be read ({error}): it may have seen the images measured");
    let mut said: Vec<String> = unread.into_iter().map(doubt).collect();
    let untold = Past::untold(model, &runs).into_iter();
    said.extend(untold.map(|what| format!("the model was {what}: it may have seen the images measured")));
    let of_measured = if runs.is_empty() { HashSet::new() } else { places(measured) };
    for run in runs {
        match trained_on(&run).map(|trained| of_measured.intersection(&trained).count()) {
            Ok(0) => {}
            Ok(count) => said.push(format!(
                "{count} of the {} images measured are among those that the model was trained on ({}): figures of them are of what it has seen",
                measured.items.len(),
                run.folder.join("run.toml").display()
            )),
            Err(error) => said.push(doubt(error)),
        }
    }
    said
}

/// Where the images lie that a run was trained on; none where its data is not here.
fn trained_on(run: &Past) -> Result<HashSet<PathBuf>> {
    if !run.data.path.exists() {
        return Ok(HashSet::new());
    }
    Ok(places(&run.load()?))
}

/// Where images lie, through whatever folder they are named.
fn places(data: &Dataset) -> HashSet<PathBuf> {
    let root = data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    data.items.iter().map(|item| root.join(&item.name)).collect()
}
