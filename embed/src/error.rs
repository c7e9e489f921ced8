//! One error type for the whole tool: what went wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can stop a run. Each variant names the file, flag or row that it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line asked for something that cannot be: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read", "write", "create", ...
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A data set, list or archive is not what its format says.
    #[error("{}: {problem}", path.display())]
    Data {
        /// The file or folder of the data set.
        path: PathBuf,
        /// What was found and what was wanted.
        problem: String,
    },
    /// One image could not be used.
    #[error("image {name}: {problem}")]
    Image {
        /// Its name within the data set.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The model file, one of its inputs or outputs, or running it.
    #[error("model {}: {problem}", path.display())]
    Model {
        /// The model file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The runtime that was asked for cannot be had.
    #[error("runtime {runtime}: {problem}")]
    Runtime {
        /// `onnxruntime` or `tract`.
        runtime: &'static str,
        /// What is missing and how to get it.
        problem: String,
    },
    /// The preprocessing recipe contradicts itself, the model or the image.
    #[error("preprocessing: {0}")]
    Recipe(String),
    /// Embeddings that cannot be measured.
    #[error("embeddings: {0}")]
    Embeddings(String),
    /// The nearest-neighbour index.
    #[error("index {index}: {problem}")]
    Index {
        /// The factory string.
        index: String,
        /// What the library said.
        problem: String,
    },
    /// A measure that has no value on this data.
    #[error("{0}")]
    Measure(String),
    /// What all ranks of a run end with, because one of them, or each, has failed.
    #[error("{who}{problem}")]
    Ranks {
        /// `rank 1 on host: `; nothing where all ranks say the same.
        who: String,
        /// What that rank says.
        problem: String,
        /// Its exit code.
        code: u8,
    },
}

impl Error {
    /// The process's exit code for this error: 2 where the command line was wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Ranks { code, .. } => *code,
            _ => 1,
        }
    }

    /// A file that could not be read.
    pub fn read(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::File { path: path.as_ref().into(), action: "read", source }
    }

    /// A file that could not be written.
    pub fn write(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::File { path: path.as_ref().into(), action: "write", source }
    }

    /// A data set, list or archive that is not what it should be.
    pub fn data(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Data { path: path.as_ref().into(), problem: problem.into() }
    }

    /// A model that cannot be used.
    pub fn model(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Model { path: path.as_ref().into(), problem: problem.into() }
    }

    /// Of an image that cannot be used, says what goes on without it.
    #[must_use]
    pub fn or_skip_bad(mut self) -> Self {
        if let Self::Image { problem, .. } = &mut self {
            problem.push_str("; --skip-bad goes on without such images");
        }
        self
    }

    /// An image that cannot be used.
    pub fn image(name: &str, problem: impl Into<String>) -> Self {
        Self::Image { name: name.into(), problem: problem.into() }
    }
}
