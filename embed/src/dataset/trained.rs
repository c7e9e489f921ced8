//! What a model says of its own training, wherever it lies: an entry among its metadata that `pdloss train` writes.

use std::path::Path;

use prost::Message;
use serde::{Deserialize, Serialize};

/// The entry's key. Its value is a list as JSON, the latest training first.
const KEY: &str = "pdloss.trained_on";

/// A training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trained {
    /// [`Dataset::sha256`](super::Dataset::sha256) of what it was trained on.
    pub data_sha256: String,
    /// Images of that.
    pub images: usize,
    /// Their classes.
    pub classes: usize,
}

/// What is read of a model's file: all else is passed over.
#[derive(Clone, PartialEq, Message)]
struct Facts {
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Trained {
    /// The trainings that a model's file tells of, the latest first; none where it tells of none, or is no model.
    pub fn of(model: &Path) -> Vec<Self> {
        let facts = std::fs::read(model).ok().and_then(|bytes| Facts::decode(bytes.as_slice()).ok());
        let metadata = facts.unwrap_or_default().metadata;
        let entry = metadata.iter().find(|entry| entry.key == KEY);
        entry.and_then(|entry| serde_json::from_str(&entry.value).ok()).unwrap_or_default()
    }

    /// Key and value of the entry for a model, with the trainings of the weights that it began with.
    pub fn entry(self, earlier: Vec<Self>) -> (String, String) {
        let mut all = vec![self];
        for earlier in earlier {
            if !all.contains(&earlier) {
                all.push(earlier);
            }
        }
        (KEY.to_owned(), serde_json::to_string(&all).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_comes_first_and_each_once() {
        let of = |images| Trained { data_sha256: format!("{images:x}"), images, classes: 2 };
        let (key, value) = of(30).entry(vec![of(20), of(30), of(20), of(10)]);
        let other = Entry { key: "other".into(), value: "[]".into() };
        let model = Facts { metadata: vec![other, Entry { key, value }] };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), model.encode_to_vec()).unwrap();
        assert_eq!(Trained::of(file.path()), [of(30), of(20), of(10)]);
        std::fs::write(file.path(), "no model").unwrap();
        assert_eq!(Trained::of(file.path()), []);
    }
}
