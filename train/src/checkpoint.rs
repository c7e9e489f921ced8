//! A checkpoint: every tensor of the state and how far the run is, in one safetensors file that is there whole or not at all.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use pdloss_embed::console::note;
use pdloss_embed::digest::hex;
use pdloss_embed::files::write_over_ranks;
use pdloss_embed::ranks::{agree, of_first, world};
use pdloss_embed::tensors::{OpenTensors, TensorPart};
use pdloss_embed::{Error, Result};
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::shards::Shards;
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
    /// SHA-256 of the embedder that was kept as the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) best_sha256: Option<String>,
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

/// What a tensor adds to the digest before its bytes.
fn mark(name: &str, dtype: Dtype, shape: &[usize]) -> String {
    format!("\0{name}\0{dtype:?}{shape:?}\0")
}

/// The tensors' numbers in the order of the file and its digest: that of safetensors, by type and name.
fn in_file_order(state: &[Tensor]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..state.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&state[a], &state[b]);
        b.dtype().cmp(&a.dtype()).then(a.name.cmp(&b.name))
    });
    order
}

/// The tensors of a run's checkpoint whose step is not known, where they are what was written.
///
/// # Errors
/// [`Error::Data`] for what is no checkpoint, or was changed.
pub(crate) fn whole<'b>(path: &Path, bytes: &'b [u8]) -> Result<SafeTensors<'b>> {
    let wrong = |e: &dyn std::fmt::Display| Error::data(path, format!("is no checkpoint: {e}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(&e))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(&e))?;
    let (header, mut hasher) = header(path, &metadata)?;
    for name in metadata.offset_keys() {
        let tensor = file.tensor(&name).map_err(|e| wrong(&e))?;
        hasher.update(mark(&name, tensor.dtype(), tensor.shape()));
        hasher.update(tensor.data());
    }
    is_whole(path, &header, hasher)?;
    Ok(file)
}

/// What the file says beside its tensors, and the beginning of its digest.
fn header(path: &Path, metadata: &Metadata) -> Result<(Header, Sha256)> {
    let wrong = |e: &dyn std::fmt::Display| Error::data(path, format!("is no checkpoint: {e}"));
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY)).cloned();
    let text = text.ok_or_else(|| wrong(&format!("its metadata has no '{KEY}'")))?;
    let header: Header = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
    let mut hasher = Sha256::new();
    if let Some(sha256) = &header.sha256 {
        hasher.update(text.replacen(&digest_entry(sha256), &digest_entry(""), 1));
    }
    Ok((header, hasher))
}

/// Refuses a file whose digest is not that of its contents.
fn is_whole(path: &Path, header: &Header, contents: Sha256) -> Result<()> {
    let Some(wanted) = &header.sha256 else {
        note(&format!("{}: has no digest (pdloss 0.1 wrote none), so it is taken as it is", path.display()));
        return Ok(());
    };
    let found = hex(&contents.finalize());
    if found != *wanted {
        let problem = format!("was changed after it was written: SHA-256 of its contents {found}, wanted {wanted}");
        return Err(Error::data(path, problem));
    }
    Ok(())
}

impl Checkpoint {
    /// Writes the file, in which tensors that are spread over the ranks are whole: every rank brings its part, the first one writes, and
    /// none holds it all.
    ///
    /// # Errors
    /// [`Error::File`]; the file is then what it was before.
    pub(crate) fn write(&self, path: &Path, shards: &Shards) -> Result<()> {
        let wrong = |e: &dyn std::fmt::Display| Error::write(path, std::io::Error::other(e.to_string()));
        let header =
            Header { counters: self.counters.clone(), settings: self.settings.clone(), sha256: Some(String::new()) };
        let header = serde_json::to_string(&header).map_err(|e| wrong(&e))?;
        // Over everything that a run goes on from: the header without its digest, and the state.
        let mut hasher = Sha256::new();
        hasher.update(&header);
        let order = in_file_order(&self.state);
        for tensor in order.iter().map(|&at| &self.state[at]) {
            hasher.update(mark(&tensor.name, tensor.dtype(), &shards.whole_shape(tensor)));
            // Nothing fails.
            let _ = shards.stream(tensor, &mut |block| {
                hasher.update(block);
                Ok(())
            });
        }
        let header = header.replacen(&digest_entry(""), &digest_entry(&hex(&hasher.finalize())), 1);
        let order: Vec<&Tensor> = order.iter().map(|&at| &self.state[at]).collect();
        let parts = order.iter().map(|tensor| {
            let part = TensorPart { dtype: tensor.dtype(), shape: shards.whole_shape(tensor), data: Vec::new() };
            (tensor.name.as_str(), part)
        });
        let head = safetensors::serialize(parts, Some(HashMap::from([(KEY.to_owned(), header)])));
        let head = head.map_err(|e| wrong(&e))?;
        write_over_ranks(
            path,
            |file| file.write_all(&head),
            |take| {
                // All ranks take part in every exchange, also behind an error.
                let mut done = Ok(());
                for tensor in &order {
                    let streamed = shards.stream(tensor, take);
                    done = done.and(streamed);
                }
                done
            },
        )
    }

    /// Reads the file, whose tensors must be those of `like`, in any order; of several ranks the first one reads, and each gets all of the
    /// state but what the others have of tensors that are spread. Files of version 0.1 have no digest and no settings, which are `null`
    /// then.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Data`] naming the tensor that is missing or of another type or shape, or where what is read
    /// is not what was written. On every one of several ranks.
    pub(crate) fn read(path: &Path, like: &[Tensor], shards: &Shards) -> Result<Self> {
        /// Bytes that are read, and travel, at a time.
        const BLOCK: usize = 1 << 24;
        let mut opened = agree(world().is_first().then(|| Opened::new(path, like, shards)).transpose())?;
        let mut state = like.to_vec();
        let mut read = Ok(());
        for at in in_file_order(like) {
            let tensor = &mut state[at];
            let shape = shards.whole_shape(tensor);
            let length = shape.iter().product::<usize>() * tensor.size_of_number();
            let own = shards.own_bytes(tensor);
            if let Some(opened) = &mut opened {
                opened.hasher.update(mark(&tensor.name, tensor.dtype(), &shape));
            }
            tensor.bytes = Vec::with_capacity(own.len());
            for first in (0..length).step_by(BLOCK) {
                let last = (first + BLOCK).min(length);
                let block = opened.as_mut().map(|opened| opened.read(&tensor.name, first, last - first));
                // After an error the rest still travels, so that no rank waits for ever.
                let block = block.unwrap_or_else(|| Ok(Vec::new())).unwrap_or_else(|error| {
                    read = Err(Error::read(path, error));
                    vec![0; last - first]
                });
                let block = world().broadcast(block);
                let (from, to) = (own.start.clamp(first, last) - first, own.end.clamp(first, last) - first);
                tensor.bytes.extend_from_slice(&block[from..to]);
            }
        }
        let checked = read.and_then(|()| opened.map(|opened| opened.finish(path)).transpose());
        let header = of_first(|| checked?.ok_or_else(|| Error::data(path, "was not read")))?;
        Ok(Self { counters: header.counters, settings: header.settings, state })
    }
}

/// A file whose header is read.
struct Opened {
    tensors: OpenTensors,
    header: Header,
    /// Over what was read so far.
    hasher: Sha256,
}

impl Opened {
    /// Reads the header, and compares it with what is wanted.
    fn new(path: &Path, like: &[Tensor], shards: &Shards) -> Result<Self> {
        let tensors = OpenTensors::new(path, "checkpoint")?;
        let metadata = &tensors.header;
        let (header, hasher) = header(path, metadata)?;
        let count = metadata.tensors().len();
        if count != like.len() {
            return Err(Error::data(path, format!("has {count} tensors; wanted {}", like.len())));
        }
        for wanted in like {
            let missing = || Error::data(path, format!("has no tensor '{}'", wanted.name));
            let (found, shape) = (metadata.info(&wanted.name).ok_or_else(missing)?, shards.whole_shape(wanted));
            if (found.dtype, &found.shape) != (wanted.dtype(), &shape) {
                return Err(Error::data(
                    path,
                    format!(
                        "tensor '{}' is {:?} {:?}; wanted {:?} {shape:?}",
                        wanted.name,
                        found.dtype,
                        found.shape,
                        wanted.dtype()
                    ),
                ));
            }
        }
        Ok(Self { tensors, header, hasher })
    }

    /// Some bytes of a tensor.
    fn read(&mut self, name: &str, first: usize, length: usize) -> std::io::Result<Vec<u8>> {
        let tensor = self.tensors.header.info(name).cloned();
        let tensor = tensor.ok_or_else(|| std::io::Error::other(format!("no tensor '{name}'")))?;
        let bytes = self.tensors.read(&tensor, first, length)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// The header, where what was read is what was written.
    fn finish(self, path: &Path) -> Result<Header> {
        is_whole(path, &self.header, self.hasher)?;
        Ok(self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdloss::graph::build::Element;
    use safetensors::tensor::TensorView;

    fn checkpoint() -> Checkpoint {
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let state = vec![
            Tensor::new("b".into(), Element::F32, vec![2, 1], floats(&[1.5, f32::MIN_POSITIVE])).unwrap(),
            Tensor::new("a".into(), Element::I64, vec![], 7_i64.to_le_bytes().to_vec()).unwrap(),
        ];
        let counters = Counters { step: 7, best: Some((0.1 + 0.2, 5)), stale: 1, best_sha256: None, passed_over: 2 };
        Checkpoint { counters, settings: serde_json::json!({ "seed": 3, "rate": 0.25 }), state }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        checkpoint().write(&path, &Shards::default()).unwrap();
        assert_eq!(Checkpoint::read(&path, &checkpoint().state, &Shards::default()).unwrap(), checkpoint());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_byte_that_changed_is_noticed_and_a_file_of_version_0_1_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let whole = checkpoint();
        whole.write(&path, &Shards::default()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Checkpoint::read(&path, &whole.state, &Shards::default()).unwrap_err().to_string()
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
            let of_other_run = super::whole(&path, &changed).unwrap_err().to_string();
            assert!(of_other_run.contains("was changed after it was written"), "{of_other_run}");
        }
        assert_eq!(super::whole(&path, &bytes).unwrap().len(), whole.state.len());
        assert!(super::whole(&path, &weight).unwrap_err().to_string().contains("was changed after it was written"));
        let views = whole.state.iter().map(|tensor| {
            (tensor.name.as_str(), TensorView::new(tensor.dtype(), tensor.shape.clone(), &tensor.bytes).unwrap())
        });
        let old = HashMap::from([(KEY.to_owned(), r#"{"step":7,"best":null,"stale":1}"#.to_owned())]);
        std::fs::write(&path, safetensors::serialize(views, Some(old)).unwrap()).unwrap();
        let read = Checkpoint::read(&path, &whole.state, &Shards::default()).unwrap();
        assert_eq!((read.counters.step, read.settings, read.state), (7, Value::Null, whole.state));
    }

    #[test]
    fn another_run_s_or_a_damaged_file_is_refused_with_the_tensor_s_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let whole = checkpoint();
        whole.write(&path, &Shards::default()).unwrap();
        let refused = |like: &[Tensor]| Checkpoint::read(&path, like, &Shards::default()).unwrap_err().to_string();
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
