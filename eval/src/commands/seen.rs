//! Whether a model has seen what it is measured on: beside the embedder of a run of `pdloss train`, `run.toml` says what that trained on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};
use pdloss_embed::dataset::{Chosen, Dataset};

/// What is read of `run.toml`.
#[derive(Deserialize)]
struct Run {
    settings: Settings,
}

#[derive(Deserialize)]
struct Settings {
    model: PathBuf,
    init: Option<Init>,
    data: Chosen,
    validation: Option<Validation>,
    #[serde(default)]
    leave_out: bool,
}

/// What the run began with.
#[derive(Deserialize)]
struct Init {
    init_from: PathBuf,
    init: Vec<String>,
}

#[derive(Deserialize)]
struct Validation {
    data: Chosen,
}

/// The name of a run's embedder, and that of what says how it was made.
const EMBEDDER: &str = "embedder.onnx";
const MANIFEST: &str = "run.toml";

/// What is to be said of a model that was trained on images that are measured, by its run or by those that this began with.
pub(super) fn seen(model: &Path, measured: &Dataset) -> Vec<String> {
    let of_measured = places(measured, |_| true);
    let (mut said, mut known) = (Vec::new(), HashSet::new());
    let mut next: Vec<PathBuf> = manifest_of(model).into_iter().collect();
    while let Some(run) = next.pop() {
        if !known.insert(run.clone()) {
            continue;
        }
        let found = read(&run).and_then(|settings| {
            next.extend(manifest_of(&settings.model));
            let init = settings.init.iter().filter(|init| init.init.iter().any(|part| part == "embedder"));
            next.extend(init.filter_map(|init| init.init_from.join(MANIFEST).canonicalize().ok()));
            let trained = trained_on(&settings)?;
            Ok(of_measured.iter().filter(|place| trained.contains(*place)).count())
        });
        match found {
            Ok(0) => {}
            Ok(count) => said.push(format!(
                "{count} of the {} images measured are among those that the model was trained on ({}): figures of them are of what it has seen",
                measured.items.len(),
                run.display()
            )),
            Err(error) => said.push(format!(
                "what the model was trained on cannot be read ({error}): it may have seen the images measured"
            )),
        }
    }
    said
}

/// The manifest of the run whose embedder a model is, behind links, too.
fn manifest_of(model: &Path) -> Option<PathBuf> {
    let model = model.canonicalize().ok().filter(|model| model.file_name().is_some_and(|name| name == EMBEDDER))?;
    Some(model.with_file_name(MANIFEST)).filter(|manifest| manifest.is_file())
}

fn read(run: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(run).map_err(|e| Error::read(run, e))?;
    let Run { settings } = toml::from_str(&text).map_err(|e| Error::data(run, e.to_string().trim()))?;
    Ok(settings)
}

/// Where the images of these classes lie, through whatever folder they are named.
fn places(data: &Dataset, is_of: impl Fn(&str) -> bool) -> HashSet<PathBuf> {
    let root = data.source.path().canonicalize().unwrap_or_else(|_| data.source.path().to_path_buf());
    let items = data.items.iter().filter(|item| is_of(&data.classes[item.class]));
    items.map(|item| root.join(&item.name)).collect()
}

/// Where the images lie that a run was trained on; none where its data is not here.
fn trained_on(settings: &Settings) -> Result<HashSet<PathBuf>> {
    if !settings.data.path.exists() {
        return Ok(HashSet::new());
    }
    let data = Dataset::load(&settings.data.request())?;
    let validation = settings.validation.as_ref().filter(|_| settings.leave_out);
    let validation = validation.map(|validation| Dataset::load(&validation.data.request())).transpose()?;
    let left: HashSet<&str> = validation.iter().flat_map(|data| &data.classes).map(String::as_str).collect();
    Ok(places(&data, |class| !left.contains(class)))
}
