//! A run that goes on, compared with the run that was begun: model, data, settings and checkpoint must be the same.

use std::path::Path;

use pdloss_embed::console::note;
use pdloss_embed::{Error, Result};
use serde_json::Value;

use crate::folder::{Folder, MadeWith};
use crate::plan;
use crate::settings::{self, differences};

/// Under this name a checkpoint's settings have the digests of what its state follows from.
pub(crate) const OF_RUN: &str = "of_run";

/// Those digests.
pub(crate) fn of_run(made_with: &MadeWith) -> Value {
    serde_json::json!({
        "model_sha256": made_with.model_sha256,
        "data_sha256": made_with.data_sha256,
        "validation_sha256": made_with.validation_sha256,
        "init_sha256": made_with.init_sha256,
    })
}

/// Refuses a checkpoint of another run, which has the same settings and another model or other data. Those of version 0.1 say
/// nothing of it.
pub(crate) fn of_this_run(path: &Path, settings: &Value, begun: Option<&MadeWith>) -> Result<()> {
    let (Some(of_checkpoint), Some(begun)) = (settings.get(OF_RUN), begun) else { return Ok(()) };
    match differences(of_checkpoint, &of_run(begun)).first() {
        Some((name, _)) => {
            let value = |of: &Value| of.get(name).and_then(Value::as_str).unwrap_or("none").to_owned();
            let (found, wanted) = (value(of_checkpoint), value(&of_run(begun)));
            let problem = format!("is not of the run of the run.toml beside it: {name} {found}, wanted {wanted}");
            Err(Error::data(path, problem))
        }
        None => Ok(()),
    }
}

/// Refuses to go on with other data than the run was begun with; what is to be said where it goes on with other programs.
pub(crate) fn go_on(
    begun: &MadeWith,
    now: &MadeWith,
    source: &Path,
    validation: Option<&settings::Validation>,
) -> Result<Option<String>> {
    if begun.data_sha256 != now.data_sha256 && begun.images_sha256.is_some() && begun.images_sha256 == now.images_sha256
    {
        let problem = "has the images that the run was begun with in another order, which its batches follow from: put the lines \
                       back into their order, or begin a new run";
        return Err(Error::data(source, problem));
    }
    plan::same("data set", source, &begun.data_sha256, &now.data_sha256)?;
    if let (Some(begun), Some(now), Some(chosen)) = (&begun.validation_sha256, &now.validation_sha256, validation) {
        plan::same("validation set", &chosen.data.path, begun, now)?;
    }
    if (&begun.program, &begun.onnxruntime) == (&now.program, &now.onnxruntime) {
        return Ok(None);
    }
    let said = format!(
        "the run was begun with {}, onnxruntime {}, and goes on with {}, onnxruntime {}: it may differ by rounding",
        begun.program, begun.onnxruntime, now.program, now.onnxruntime
    );
    note(&said);
    Ok(Some(said))
}

/// Refuses to go on from a checkpoint with other settings than it was reached by; what is to be said of those that may differ.
pub(crate) fn same_settings(folder: &Folder, before: &Value, now: &Value) -> Result<Vec<String>> {
    if before.is_null() {
        return Ok(Vec::new());
    }
    let mut before = before.clone();
    // They have been compared.
    before.as_object_mut().and_then(|before| before.remove(OF_RUN));
    let (may_differ, others): (Vec<_>, Vec<_>) = differences(&before, now)
        .into_iter()
        .partition(|(name, _)| ["device", "threads", "ranks"].contains(&name.as_str()));
    let said = may_differ.into_iter().map(|(name, values)| {
        format!("{name} was {values}: the run may differ by rounding from one that was never stopped")
    });
    let said: Vec<String> = said.inspect(|said| note(said)).collect();
    match others.first() {
        Some((name, values)) => {
            let problem = format!(
                "setting {name} was {values}: its checkpoint was reached with the former; put it back, or begin a new run"
            );
            Err(Error::data(folder.manifest(), problem))
        }
        None => Ok(said),
    }
}
