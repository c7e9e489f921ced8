//! A run's folder: what is in it, and what it takes to run it again.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pdloss::graph::step::Parameters;
use pdloss_embed::dataset::Trained;
use pdloss_embed::files::{can_fill, write_atomically};
use pdloss_embed::ranks::of_first;
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

impl MadeWith {
    /// What its embedder says of it.
    pub(crate) fn trained(&self) -> Trained {
        Trained { data_sha256: self.data_sha256.clone(), images: self.images, classes: self.classes }
    }
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
    /// The same, of what is validated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validation_sha256: Option<String>,
    /// As pdloss-eval has it: of these images in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) images_sha256: Option<String>,
    /// The list that is trained on, where the data is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) list: Option<PathBuf>,
    /// The column of the list that holds the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The same of the list that is validated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validation_label: Option<String>,
    /// The part that is trained on, in words.
    pub(crate) part: String,
    /// Images trained on.
    pub(crate) images: usize,
    /// Their classes: rows of the proxies.
    pub(crate) classes: usize,
    /// SHA-256 of their names in the order of these rows; nothing in runs of version 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) class_order_sha256: Option<String>,
    /// SHA-256 of the checkpoint that the run started from, of another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init_sha256: Option<String>,
    /// What was assumed, chosen or passed over at the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// What of the backbone is trained; nothing in runs of version 0.1.
    #[serde(default)]
    pub(crate) parameters: Parameters,
}

const MANIFEST: &str = "run.toml";
const EMBEDDER: &str = "embedder.onnx";
/// Prefix of this program's files that are not whole yet.
const UNFINISHED: &str = ".pdloss-";
/// What version 0.1 called a model that is not.
const UNFINISHED_BEFORE: [&str; 2] = ["embedder.onnx.partial", ".pdloss-candidate.onnx.partial"];

impl Folder {
    /// The place of a new run, which must not be there yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where something is there.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            return Err(exists(path));
        }
        of_first(|| can_fill("--out", path))?;
        Ok(Self(path.into()))
    }

    /// The folder of a run that was begun, and its manifest. Of several ranks only the first one needs the folder.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none; [`Error::Data`] where its manifest is none of this program's.
    pub(crate) fn open(path: &Path) -> Result<(Self, Manifest)> {
        let file = path.join(MANIFEST);
        let text = of_first(|| {
            std::fs::read_to_string(&file).map_err(|e| {
                Error::Usage(format!("--resume {}: no run was begun there: {}: {e}", path.display(), file.display()))
            })
        })?;
        let manifest = toml::from_str(&text).map_err(|e| Error::data(&file, e.to_string().trim()))?;
        Ok((Self(path.into()), manifest))
    }

    /// Makes the folder and its manifest. What was made is removed again when the answer is dropped, unless it is kept.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn begin(&self, manifest: &Manifest) -> Result<Begun> {
        let create = |source| Error::File { path: self.0.clone(), action: "create", source };
        let missing = self.0.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let begun = Begun { folder: self.clone(), made: missing.map(Path::to_path_buf).collect() };
        if let Some(parent) = self.0.parent() {
            std::fs::create_dir_all(parent).map_err(create)?;
        }
        // Another run may have begun there since `new` looked.
        std::fs::create_dir(&self.0)
            .map_err(|e| if e.kind() == ErrorKind::AlreadyExists { exists(&self.0) } else { create(e) })?;
        write_toml(&self.manifest(), manifest)?;
        Ok(begun)
    }

    /// Adds a sentence to what `run.toml` has to say of the run.
    ///
    /// # Errors
    /// Those of [`Folder::open`]; [`Error::File`].
    pub(crate) fn record(&self, said: &str) -> Result<()> {
        let file = self.manifest();
        let text = std::fs::read_to_string(&file).map_err(|e| Error::read(&file, e))?;
        let mut manifest: Manifest = toml::from_str(&text).map_err(|e| Error::data(&file, e.to_string().trim()))?;
        let notes = &mut manifest.made_with.notes;
        if notes.iter().any(|known| known == said) {
            return Ok(());
        }
        notes.push(said.to_owned());
        write_toml(&file, &manifest)
    }

    /// Keeps other processes from writing into the folder, for as long as the answer is kept.
    ///
    /// # Errors
    /// [`Error::Usage`] where one does.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        // Where folders cannot be opened, or their file system has no locks, nobody can tell.
        let Ok(folder) = File::open(&self.0) else { return Ok(None) };
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::Error(_)) => Ok(None),
            Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
                "{}: another process is training there; wait until it ends, or end it",
                self.0.display()
            ))),
        }
    }

    /// Removes what a process that was killed left half written, by this program's own names.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn sweep(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.0).map_err(|e| Error::read(&self.0, e))? {
            let entry = entry.map_err(|e| Error::read(&self.0, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.starts_with(UNFINISHED) || UNFINISHED_BEFORE.contains(&name.as_str());
            if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                std::fs::remove_file(entry.path()).map_err(|e| Error::write(entry.path(), e))?;
            }
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
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
        self.file(EMBEDDER)
    }

    /// An embedder that is being validated.
    pub(crate) fn candidate(&self) -> PathBuf {
        self.file(&format!("{UNFINISHED}candidate.onnx"))
    }

    /// How the embedder wants its images.
    pub(crate) fn preprocessing(&self) -> PathBuf {
        self.file("embedder.toml")
    }

    /// What the run was made with, and its settings.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.file(MANIFEST)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A folder that was made, until its run has made a step: a run that fails before leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Begun {
    folder: Folder,
    /// The folders made, innermost first.
    made: Vec<PathBuf>,
}

impl Begun {
    /// Keeps the folder.
    pub(crate) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.made.is_empty() {
            return;
        }
        // There is nobody to tell what cannot be removed; a folder with anything else in it stays.
        let _ = self.folder.sweep();
        let files = [
            self.folder.manifest(),
            self.folder.preprocessing(),
            self.folder.metrics(),
            self.folder.validation(),
            self.folder.embedder(),
        ];
        files.iter().for_each(|file| drop(std::fs::remove_file(file)));
        self.made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
    }
}

fn exists(path: &Path) -> Error {
    let path = path.display();
    Error::Usage(format!("--out {path}: exists; give another name, or go on with --resume {path}"))
}

/// Writes a value as TOML, whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write_toml(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = toml::to_string(value).map_err(|e| Error::write(path, std::io::Error::other(e)))?;
    write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))
}
