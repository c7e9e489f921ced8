//! Which runs of `pdloss train` a model comes from, and what each was trained on: `run.toml` beside their embedders says it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Chosen, Dataset, Trained};
use crate::error::{Error, Result};

/// The name of a run's embedder, and that of what says how it was made.
const EMBEDDER: &str = "embedder.onnx";
const MANIFEST: &str = "run.toml";
/// The part of a run that is its net, as `--init` names it.
const NET: &str = "embedder";

/// A run, as far as its manifest says what it was trained on.
#[derive(Clone, Debug)]
pub struct Past {
    /// The run's folder.
    pub folder: PathBuf,
    /// What it was trained on.
    pub data: Chosen,
    /// [`Dataset::sha256`] of that, as it was then.
    pub data_sha256: String,
    /// How many images that were.
    pub images: usize,
    /// Whose classes were left out.
    left_out: Option<Chosen>,
}

/// What is read of a manifest.
#[derive(Deserialize)]
struct Manifest {
    made_with: MadeWith,
    settings: Settings,
}

#[derive(Deserialize)]
struct MadeWith {
    data_sha256: String,
    images: usize,
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

impl Past {
    /// The run whose embedder a model is, that of this folder whose net was taken, and those that these began with, the latest first;
    /// and why others cannot be read.
    pub fn of(model: &Path, taken: Option<&Path>) -> (Vec<Self>, Vec<Error>) {
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut next: Vec<PathBuf> = folder_of(model).into_iter().chain(taken.map(Path::to_path_buf)).collect();
        while let Some(folder) = next.pop() {
            if !seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
                continue;
            }
            match read(&folder) {
                Ok(Manifest { made_with, settings }) => {
                    next.extend(folder_of(&settings.model));
                    let init = settings.init.filter(|init| init.init.iter().any(|part| part == NET));
                    next.extend(init.map(|init| init.init_from));
                    let left_out = settings.validation.filter(|_| settings.leave_out).map(|validation| validation.data);
                    let (data, data_sha256) = (settings.data, made_with.data_sha256);
                    found.push(Self { folder, data, data_sha256, images: made_with.images, left_out });
                }
                Err(error) => unread.push(error),
            }
        }
        (found, unread)
    }

    /// What is to be said of trainings that the model tells of, and that none of these runs is.
    pub fn untold(model: &Path, runs: &[Self]) -> Vec<String> {
        let is_told = |trained: &Trained| runs.iter().any(|run| run.data_sha256 == trained.data_sha256);
        let say = |Trained { images, classes, .. }| {
            format!(
                "trained on {images} images of {classes} classes by `pdloss train`, as it says itself, and that run's folder is not here"
            )
        };
        Trained::of(model).into_iter().filter(|trained| !is_told(trained)).map(say).collect()
    }

    /// What it was trained on, as it is now.
    ///
    /// # Errors
    /// Those of [`Dataset::load`].
    pub fn load(&self) -> Result<Dataset> {
        let mut data = Dataset::load(&self.data.request())?;
        if let Some(left_out) = &self.left_out {
            data.leave_out(&Dataset::load(&left_out.request())?);
        }
        Ok(data)
    }
}

/// The folder of the run whose embedder a model is, behind links, and under another name in that folder, too.
fn folder_of(model: &Path) -> Option<PathBuf> {
    let model = model.canonicalize().unwrap_or_else(|_| model.to_path_buf());
    let folder = model.parent().filter(|folder| folder.join(MANIFEST).is_file())?;
    let is_of_run = || {
        let run = read(folder).map(|manifest| manifest.made_with.data_sha256);
        run.is_ok_and(|run| Trained::of(&model).iter().any(|trained| trained.data_sha256 == run))
    };
    (model.file_name().is_some_and(|name| name == EMBEDDER) || is_of_run()).then(|| folder.to_path_buf())
}

fn read(folder: &Path) -> Result<Manifest> {
    let file = folder.join(MANIFEST);
    let text = std::fs::read_to_string(&file).map_err(|e| Error::read(&file, e))?;
    toml::from_str(&text).map_err(|e| Error::data(&file, e.to_string().trim()))
}
