//! A part of a data set as a run writes down what it took.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Format, Request, Split};

/// What was taken, in the words of the flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// As [`Request::path`].
    pub path: PathBuf,
    /// As [`Request::format`].
    pub format: Format,
    /// As [`Request::split`].
    pub split: Split,
    /// As [`Request::classes`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub classes: Vec<usize>,
    /// As [`Request::label`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// As [`Request::root`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub root: Option<PathBuf>,
    /// As [`Request::skip_bad`].
    pub skip_bad: bool,
}

impl Chosen {
    /// What loads it.
    pub fn request(&self) -> Request {
        Request {
            format: self.format,
            split: self.split,
            classes: self.classes.clone(),
            label: self.label.clone(),
            root: self.root.clone(),
            skip_bad: self.skip_bad,
            ..Request::of(&self.path)
        }
    }
}
