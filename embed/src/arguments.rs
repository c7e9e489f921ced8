//! The arguments that every program about images and models has: which images, which model, how it is run.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::dataset::{Format, Limits, Request, Split};
use crate::embedder::{Choice, Device, Options, Prepared};
use crate::error::{Error, Result};
use crate::preprocess::Patch;
use crate::process;

/// Which model, and how to run it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The tensor that is the embedding: an output, or any inner tensor
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// What runs the model
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub runtime: Choice,
    /// libonnxruntime.so to use [default: ORT_DYLIB_PATH, the program's Python environment, beside the program, the active environment]
    #[arg(long, value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// cpu, cuda or cuda:N; what cannot be had is an error
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Threads of everything together: decoding, the runtime, FAISS [default: all processors]
    #[arg(long, value_name = "N", alias = "workers")]
    pub threads: Option<usize>,
    /// Images a batch, where the model does not fix it [default: 8 on cpu, 32 on cuda]
    #[arg(long, value_name = "N", alias = "batch-size")]
    pub batch: Option<usize>,
    /// Run BatchNormalization and Dropout that were exported in training mode in inference mode
    #[arg(long)]
    pub inference_mode: bool,
    /// Preprocessing manifest [default: the model's path with .toml, where that exists]
    #[arg(long, value_name = "FILE.toml")]
    pub preprocess: Option<PathBuf>,
    /// Single steps of preprocessing
    #[command(flatten)]
    pub patch: Patch,
}

impl ModelArgs {
    /// The number of threads that was asked for, at least one.
    ///
    /// # Errors
    /// [`Error::Usage`] for zero, and for more than [`process::most_threads`].
    pub fn threads(&self) -> Result<usize> {
        match self.threads {
            Some(0) => Err(Error::Usage("--threads 0: wanted at least 1".into())),
            Some(given) if given > process::most_threads() => {
                let most = process::most_threads();
                Err(Error::Usage(format!("--threads {given}: wanted at most {most}")))
            }
            given => Ok(given.unwrap_or_else(process::available_threads)),
        }
    }

    /// Reads the model with these settings.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags that mean nothing beside each other; those of [`Prepared::read`].
    pub fn prepare(&self, model: &Path) -> Result<Prepared> {
        if let (Choice::Tract, Some(library)) = (self.runtime, &self.onnxruntime) {
            let library = library.display();
            return Err(Error::Usage(format!(
                "--onnxruntime {library}: --runtime tract is built in and opens no library; leave one of the two out"
            )));
        }
        let options = Options {
            runtime: self.runtime,
            library: self.onnxruntime.clone(),
            device: self.device,
            threads: self.threads()?,
            batch: self.batch,
        };
        let patch = (&self.patch, self.inference_mode);
        Prepared::read(model, self.output.as_deref(), self.preprocess.as_deref(), patch, options)
    }
}

/// Which images.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Folder, archive (.zip, .tar, .tar.gz) or list of labelled images
    #[arg(long, value_name = "PATH", required_unless_present = "embeddings")]
    pub data: Option<PathBuf>,
    /// How the data is laid out
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// The part to measure
    #[arg(long, value_enum, default_value_t = Split::Protocol)]
    pub split: Split,
    /// Only these classes, by the data set's own numbers (folders called 1, 2, 10; labels 0, 1, ...), else from 1 in natural
    /// order of names: 1-10,15
    #[arg(long, value_name = "RANGES", value_parser = parse_ranges)]
    pub classes: Option<Ranges>,
    /// Label column of a list: a header's name, or its number among the columns but that of the paths [default: the first]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Folder or archive that the paths of a list start from [default: the list's folder]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Most members that an archive may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().members)]
    pub max_members: usize,
    /// Most bytes that an archive may unpack to [default: 200 times its size, and at least 4 GiB]
    #[arg(long, value_name = "BYTES")]
    pub max_unpacked: Option<u64>,
    /// Go on without images that cannot be used, and report them
    #[arg(long)]
    pub skip_bad: bool,
}

impl DataArgs {
    /// What opening an archive may cost.
    pub fn limits(&self) -> Limits {
        Limits { members: self.max_members, unpacked: self.max_unpacked }
    }

    /// What is to be loaded from `path`.
    pub fn request(&self, path: &Path) -> Request {
        Request {
            path: path.into(),
            format: self.format,
            split: self.split,
            classes: self.classes.clone().map(|ranges| ranges.0).unwrap_or_default(),
            label: self.label.clone(),
            root: self.root.clone(),
            weights: None,
            skip_bad: self.skip_bad,
            limits: self.limits(),
        }
    }
}

/// Class numbers that `1-10,15` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(pub Vec<usize>);

/// More classes than any data set has.
const MOST_CLASSES: usize = 10_000_000;

/// Understands `1-10,15`.
///
/// # Errors
/// A sentence that says what is wanted.
pub fn parse_ranges(text: &str) -> std::result::Result<Ranges, String> {
    let wrong = || format!("'{text}' are no classes: wanted whole numbers and ranges, such as 1-10,15");
    let number = |t: &str| t.trim().parse::<usize>().map_err(|_| wrong());
    let mut classes = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= MOST_CLASSES || classes.len() + (last - first) >= MOST_CLASSES {
            return Err(wrong());
        }
        classes.extend(first..=last);
    }
    classes.sort_unstable();
    classes.dedup();
    Ok(Ranges(classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_numbers_in_order() {
        assert_eq!(parse_ranges("15,1-3,2").unwrap().0, [1, 2, 3, 15]);
        assert_eq!(parse_ranges("0,4000000000").unwrap().0, [0, 4_000_000_000], "folders may be called so");
        for wrong in ["", "3-1", "a", "1-", "-1", "0-10000000", "1-9999999,0-9"] {
            assert!(parse_ranges(wrong).is_err(), "{wrong}");
        }
    }
}
