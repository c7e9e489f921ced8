//! TensorBoard's event files: a run's numbers as its `SCALARS` page reads them.
//!
//! A file is a row of records: length (8 bytes), its checksum, an `Event` of `tensorflow/core/util/event.proto`, its checksum;
//! little-endian, checksums CRC-32C, masked as TensorFlow's `lib/hash/crc32c.h` has it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use pdloss_embed::{Error, Result};
use prost::Message;

/// `tensorflow.Event`, as far as scalars need it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value` with a number in it.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// A file of events of one kind: `train/loss`, `validation/recall@1`, ...
#[derive(Debug)]
pub(crate) struct Events {
    path: PathBuf,
    kind: &'static str,
    file: BufWriter<File>,
}

impl Events {
    /// Whether a folder holds events already.
    pub(crate) fn are_in(folder: &Path) -> bool {
        let is_one = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("tfevents"))
        };
        std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_one))
    }

    /// A new file in a folder, which is made where it is missing. A run that goes on adds a file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn create(folder: &Path, kind: &'static str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::write(folder, e))?;
        // TensorBoard reads files whose name holds `tfevents`, in the order of the time in it.
        let path = folder.join(format!("events.out.tfevents.{:.0}.{}.{kind}", now().floor(), std::process::id()));
        let file = File::create(&path).map_err(|e| Error::write(&path, e))?;
        let mut events = Self { path, kind, file: BufWriter::new(file) };
        let version = Some("brain.Event:2".to_owned());
        events.record(&Event { wall_time: now(), file_version: version, ..Event::default() })?;
        events.flush()?;
        Ok(events)
    }

    /// Adds the numbers of a step; what is no number is left out.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn add(&mut self, row: &[(&str, String)]) -> Result<()> {
        let step = row.iter().find(|(name, _)| *name == "step").and_then(|(_, step)| step.parse().ok()).unwrap_or(0);
        let scalars = row.iter().filter(|(name, _)| *name != "step").filter_map(|(name, value)| {
            Some(Scalar { tag: format!("{}/{name}", self.kind), simple_value: Some(value.parse().ok()?) })
        });
        let summary = Some(Summary { value: scalars.collect() });
        self.record(&Event { wall_time: now(), step, summary, ..Event::default() })
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::write(&self.path, e))
    }

    fn record(&mut self, event: &Event) -> Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let parts: [&[u8]; 4] = [&length, &masked(&length).to_le_bytes(), &data, &masked(&data).to_le_bytes()];
        self.file.write_all(&parts.concat()).map_err(|e| Error::write(&self.path, e))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A checksum as it stands beside what it is of.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_with_their_checksums() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), "train").unwrap();
        events.add(&[("step", "7".to_owned()), ("loss", "0.5".to_owned()), ("d_prime", String::new())]).unwrap();
        events.flush().unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap();
            assert_eq!(word(at + 8), masked(&bytes[at..at + 8]));
            let data = &bytes[at + 12..at + 12 + length];
            assert_eq!(word(at + 12 + length), masked(data));
            found.push(Event::decode(data).unwrap());
            at += length + 16;
        }
        assert_eq!(found[0].file_version.as_deref(), Some("brain.Event:2"));
        let scalars = &found[1].summary.as_ref().unwrap().value;
        assert_eq!((found[1].step, scalars.len()), (7, 1), "an empty cell is no number");
        assert_eq!((scalars[0].tag.as_str(), scalars[0].simple_value), ("train/loss", Some(0.5)));
        // A known checksum: RFC 3720, 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
