//! A checkpoint: every tensor of the state and how far the run is, in one safetensors file that is there whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use pdloss_embed::files::write_atomically;
use pdloss_embed::{Error, Result};
use safetensors::tensor::{SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::tensor::Tensor;

/// The key of the counters among the file's metadata.
const KEY: &str = "pdloss.run";

/// How far a run is. The order of images follows from the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    /// Finished steps.
    pub(crate) step: u64,
    /// The best Recall@1 so far, and the step that it was measured after.
    pub(crate) best: Option<(f64, u64)>,
    /// Validations since then.
    pub(crate) stale: u32,
}

/// A run at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) counters: Counters,
    /// In the order of the step graph's description.
    pub(crate) state: Vec<Tensor>,
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
        let counters = serde_json::to_string(&self.counters).map_err(|e| wrong(&e))?;
        let metadata = HashMap::from([(KEY.to_owned(), counters)]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| wrong(&e))?;
        write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
    }

    /// Reads the file, whose tensors must be those of `like`, in any order.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Data`] naming the tensor that is missing or of another type or shape.
    pub(crate) fn read(path: &Path, like: &[Tensor]) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let wrong = |e: &dyn std::fmt::Display| Error::data(path, format!("is no checkpoint: {e}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(&e))?;
        let counters = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let counters = counters.ok_or_else(|| wrong(&format!("its metadata has no '{KEY}'")))?;
        let counters: Counters = serde_json::from_str(counters).map_err(|e| wrong(&e))?;
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
        Ok(Self { counters, state: state.collect::<Result<_>>()? })
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
        Checkpoint { counters: Counters { step: 7, best: Some((0.1 + 0.2, 5)), stale: 1 }, state }
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
