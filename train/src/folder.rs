//! A run's folder: what is in it, and what it takes to run it again.

use std::path::{Path, PathBuf};

use pdloss_embed::files::write_atomically;
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The folder's files.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// `run.toml`: what the run was made with, and all its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) made_with: MadeWith,
    pub(crate) settings: Settings,
}

/// What a run depends on beside its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MadeWith {
    /// This program and its version.
    pub(crate) program: String,
    /// Version of onnxruntime.
    pub(crate) onnxruntime: String,
    /// As pdloss-eval has it.
    pub(crate) model_sha256: String,
    /// As pdloss-eval has it, of the part that is trained on.
    pub(crate) data_sha256: String,
    /// That part in words.
    pub(crate) part: String,
    /// Images trained on.
    pub(crate) images: usize,
    /// Their classes: rows of the proxies.
    pub(crate) classes: usize,
}

const MANIFEST: &str = "run.toml";
/// Prefix of files that are not whole yet ...
const UNFINISHED: &str = ".pdloss-";
/// ... and ending of models that are not.
const PARTIAL: &str = ".partial";

impl Folder {
    /// The place of a new run, which must not be there yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where something is there.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            let path = path.display();
            return Err(Error::Usage(format!(
                "--out {path}: exists; give another name, or go on with --resume {path}"
            )));
        }
        Ok(Self(path.into()))
    }

    /// The folder of a run that was begun, and its manifest.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none; [`Error::Data`] where its manifest is none of this program's.
    pub(crate) fn open(path: &Path) -> Result<(Self, Manifest)> {
        let file = path.join(MANIFEST);
        let text = std::fs::read_to_string(&file).map_err(|e| {
            Error::Usage(format!("--resume {}: no run was begun there: {}: {e}", path.display(), file.display()))
        })?;
        let manifest = toml::from_str(&text).map_err(|e| Error::data(&file, e.to_string().trim()))?;
        Ok((Self(path.into()), manifest))
    }

    /// Makes the folder and its manifest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn begin(&self, manifest: &Manifest) -> Result<()> {
        let create = |source| Error::File { path: self.0.clone(), action: "create", source };
        if let Some(parent) = self.0.parent() {
            std::fs::create_dir_all(parent).map_err(create)?;
        }
        std::fs::create_dir(&self.0).map_err(create)?;
        write_toml(&self.file(MANIFEST), manifest)
    }

    /// Removes what a process that was killed left half written.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn sweep(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.0).map_err(|e| Error::read(&self.0, e))? {
            let entry = entry.map_err(|e| Error::read(&self.0, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) || name.ends_with(PARTIAL) {
                std::fs::remove_file(entry.path()).map_err(|e| Error::write(entry.path(), e))?;
            }
        }
        Ok(())
    }

    /// The last checkpoint.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.file("checkpoint.safetensors")
    }

    /// A row a step.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.file("metrics.csv")
    }

    /// A row a validation.
    pub(crate) fn validation(&self) -> PathBuf {
        self.file("validation.csv")
    }

    /// The embedder.
    pub(crate) fn embedder(&self) -> PathBuf {
        self.file("embedder.onnx")
    }

    /// An embedder that is being validated.
    pub(crate) fn candidate(&self) -> PathBuf {
        self.file(&format!("{UNFINISHED}candidate.onnx"))
    }

    /// How the embedder wants its images.
    pub(crate) fn preprocessing(&self) -> PathBuf {
        self.file("embedder.toml")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Writes a value as TOML, whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write_toml(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = toml::to_string(value).map_err(|e| Error::write(path, std::io::Error::other(e)))?;
    write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))
}
