//! A checkpoint: every tensor of the state and how far the run is, in one safetensors file that is there whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use pdloss_embed::console::note;
use pdloss_embed::digest::hex;
use pdloss_embed::files::write_atomically;
use pdloss_embed::{Error, Result};
use safetensors::tensor::{SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tensor::Tensor;

/// The key of the counters among the file's metadata.
const KEY: &str = "pdloss.run";

/// How far a run is. The order of images follows from the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Finished steps.
    pub(crate) step: u64,
    /// The best Recall@1 so far, and the step that it was measured after.
    pub(crate) best: Option<(f64, u64)>,
    /// Validations since then.
    pub(crate) stale: u32,
    /// Steps whose batch had no pairs to compare.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) passed_over: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the file says beside its tensors: one entry, because the order of several is not fixed.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    counters: Counters,
    /// The settings that the state follows from; none in files of version 0.1.
    #[serde(default)]
    settings: Value,
    /// SHA-256 of counters, settings and state; none in files of version 0.1.
    #[serde(default)]
    sha256: Option<String>,
}

/// A run at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) counters: Counters,
    /// The settings that the state follows from.
    pub(crate) settings: Value,
    /// In the order of the step graph's description.
    pub(crate) state: Vec<Tensor>,
}

/// The digest as the header has it.
fn digest_entry(sha256: &str) -> String {
    format!("\"sha256\":\"{sha256}\"")
}

/// SHA-256 over everything that a run goes on from: the header without its digest, and the state.
fn sha256(header: &str, state: &[Tensor]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(header);
    for tensor in state {
        hasher.update(format!("\0{}\0{:?}{:?}\0", tensor.name, tensor.dtype(), tensor.shape));
        hasher.update(&tensor.bytes);
    }
    hex(&hasher.finalize())
}

impl Checkpoint {
    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::File`]; the file is then what it was before.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let wrong = |e: &dyn std::fmt::Display| Error::write(path, std::io::Error::other(e.to_string()));
        let mut tensors = Vec::with_capacity(self.state.len());
        for tensor in &self.state {
            let view = TensorView::new(tensor.dtype(), tensor.shape.clone(), &tensor.bytes).map_err(|e| wrong(&e))?;
            tensors.push((tensor.name.as_str(), view));
        }
        let header =
            Header { counters: self.counters.clone(), settings: self.settings.clone(), sha256: Some(String::new()) };
        let header = serde_json::to_string(&header).map_err(|e| wrong(&e))?;
        let header = header.replacen(&digest_entry(""), &digest_entry(&sha256(&header, &self.state)), 1);
        let metadata = HashMap::from([(KEY.to_owned(), header)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| wrong(&e))?;
        write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
    }

    /// Reads the file, whose tensors must be those of `like`, in any order. Files of version 0.1 have no digest and no
    /// settings, which are `null` then.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Data`] naming the tensor that is missing or of another type or shape, or where what is read
    /// is not what was written.
    pub(crate) fn read(path: &Path, like: &[Tensor]) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let wrong = |e: &dyn std::fmt::Display| Error::data(path, format!("is no checkpoint: {e}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(&e))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or_else(|| wrong(&format!("its metadata has no '{KEY}'")))?;
        let Header { counters, settings, sha256: wanted } = serde_json::from_str(header).map_err(|e| wrong(&e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(&e))?;
        if file.len() != like.len() {
            return Err(Error::data(path, format!("has {} tensors; wanted {}", file.len(), like.len())));
        }
        let state = like.iter().map(|wanted| {
            let found = file.tensor(&wanted.name).map_err(|e| Error::data(path, e.to_string()))?;
            if (found.dtype(), found.shape()) != (wanted.dtype(), wanted.shape.as_slice()) {
                return Err(Error::data(
                    path,
                    format!(
                        "tensor '{}' is {:?} {:?}; wanted {:?} {:?}",
                        wanted.name,
                        found.dtype(),
                        found.shape(),
                        wanted.dtype(),
                        wanted.shape
                    ),
                ));
            }
            Ok(Tensor { bytes: found.data().to_vec(), ..wanted.clone() })
        });
        let read = Self { counters, settings, state: state.collect::<Result<_>>()? };
        let Some(wanted) = wanted else {
            note(&format!("{}: has no digest (pdloss 0.1 wrote none), so it is taken as it is", path.display()));
            return Ok(read);
        };
        let found = sha256(&header.replacen(&digest_entry(&wanted), &digest_entry(""), 1), &read.state);
        if found != wanted {
            let problem = format!("was changed after it was written: SHA-256 of its contents {found}, wanted {wanted}");
            return Err(Error::data(path, problem));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdloss::graph::build::Element;

    fn checkpoint() -> Checkpoint {
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let state = vec![
            Tensor::new("b".into(), Element::F32, vec![2, 1], floats(&[1.5, f32::MIN_POSITIVE])).unwrap(),
            Tensor::new("a".into(), Element::I64, vec![], 7_i64.to_le_bytes().to_vec()).unwrap(),
        ];
        let counters = Counters { step: 7, best: Some((0.1 + 0.2, 5)), stale: 1, passed_over: 2 };
        Checkpoint { counters, settings: serde_json::json!({ "seed": 3, "rate": 0.25 }), state }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        checkpoint().write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path, &checkpoint().state).unwrap(), checkpoint());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_byte_that_changed_is_noticed_and_a_file_of_version_0_1_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let whole = checkpoint();
        whole.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Checkpoint::read(&path, &whole.state).unwrap_err().to_string()
        };
        // A bit of a weight, the number of steps, the best recall, a setting: each keeps the file's form.
        let mut weight = bytes.clone();
        *weight.last_mut().unwrap() ^= 1;
        assert!(refused(&weight).contains("was changed after it was written"));
        for (old, new) in [("step\\\":7", "step\\\":8"), ("stale\\\":1", "stale\\\":0"), ("seed\\\":3", "seed\\\":4")] {
            let at = text.find(old).unwrap();
            let mut changed = bytes.clone();
            changed[at..at + old.len()].copy_from_slice(new.as_bytes());
            assert!(refused(&changed).contains("was changed after it was written"), "{new}");
        }
        let views = whole.state.iter().map(|tensor| {
            (tensor.name.as_str(), TensorView::new(tensor.dtype(), tensor.shape.clone(), &tensor.bytes).unwrap())
        });
        let old = HashMap::from([(KEY.to_owned(), r#"{"step":7,"best":null,"stale":1}"#.to_owned())]);
        std::fs::write(&path, safetensors::serialize(views, Some(old)).unwrap()).unwrap();
        let read = Checkpoint::read(&path, &whole.state).unwrap();
        assert_eq!((read.counters.step, read.settings, read.state), (7, Value::Null, whole.state));
    }

    #[test]
    fn another_run_s_or_a_damaged_file_is_refused_with_the_tensor_s_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let whole = checkpoint();
        whole.write(&path).unwrap();
        let refused = |like: &[Tensor]| Checkpoint::read(&path, like).unwrap_err().to_string();
        let mut other = whole.state.clone();
        other[0].shape = vec![1, 2];
        assert!(refused(&other).contains("tensor 'b' is F32 [2, 1]; wanted F32 [1, 2]"));
        other[0].name = "c".into();
        assert!(refused(&other).contains('c'));
        assert!(refused(&whole.state[..1]).contains("has 2 tensors; wanted 1"));
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(refused(&whole.state).contains("is no checkpoint"), "{length} bytes");
        }
    }
}
