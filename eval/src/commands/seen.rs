//! Whether a model has seen what it is measured on: beside the embedder of a run of `pdloss train`, `run.toml` says what that trained on.

use std::collections::HashSet;
use std::path::Path;

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
    data: Chosen,
    validation: Option<Validation>,
    #[serde(default)]
    leave_out: bool,
}

#[derive(Deserialize)]
struct Validation {
    data: Chosen,
}

/// What is to be said of a model that was trained on images that are measured, known by their names in one data set.
pub(super) fn seen(model: &Path, measured: &Dataset) -> Option<String> {
    let model =
        model.canonicalize().ok().filter(|model| model.file_name().is_some_and(|name| name == "embedder.onnx"))?;
    let run = model.with_file_name("run.toml");
    if !run.is_file() {
        return None;
    }
    match trained_on(&run, measured) {
        Ok(0) => None,
        Ok(count) => Some(format!(
            "{count} of the {} images measured are among those that the model was trained on ({}): figures of them are of what it has seen",
            measured.items.len(),
            run.display()
        )),
        Err(error) => Some(format!(
            "what the model was trained on cannot be read ({error}): it may have seen the images measured"
        )),
    }
}

/// How many of the images measured a run was trained on. None where its data is not here, or is another data set.
fn trained_on(run: &Path, measured: &Dataset) -> Result<usize> {
    let text = std::fs::read_to_string(run).map_err(|e| Error::read(run, e))?;
    let Run { settings } = toml::from_str(&text).map_err(|e| Error::data(run, e.to_string().trim()))?;
    if !settings.data.path.exists() {
        return Ok(0);
    }
    let data = Dataset::load(&settings.data.request())?;
    let place = |data: &Dataset| data.source.path().canonicalize().ok();
    if place(&data).is_none() || place(&data) != place(measured) {
        return Ok(0);
    }
    let validation = settings.validation.filter(|_| settings.leave_out);
    let validation = validation.map(|validation| Dataset::load(&validation.data.request())).transpose()?;
    let left: HashSet<&str> = validation.iter().flat_map(|data| &data.classes).map(String::as_str).collect();
    let trained = data.items.iter().filter(|item| !left.contains(data.classes[item.class].as_str()));
    let trained: HashSet<&str> = trained.map(|item| item.name.as_str()).collect();
    Ok(measured.items.iter().filter(|item| trained.contains(item.name.as_str())).count())
}
