//! Lists of image pairs, genuine and impostor, one file a format; their images found in a data set, and who and what is on
//! them.

mod attributes;
mod insightface;
mod lfw;
mod pickle;
mod revisited;
mod subjects;
mod table;
mod templates;
mod two_lines;

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};
pub use attributes::{Attributes, in_words};
use pdloss_embed::delimited::{Blanks, Table, decode, lines};
pub use revisited::{GroundTruth, Judged};
pub use subjects::Subjects;
pub use templates::{Identities, Member, TemplatePair, Templates, nearly_the_same};

/// Two images, by position in [`PairList::images`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// One image.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Whether both show the same person.
    pub same: bool,
    /// The fold that the list puts the pair in, from 0.
    pub fold: Option<usize>,
}

/// A list of pairs as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairList {
    /// The format that was read, in words.
    pub format: &'static str,
    /// Each distinct image as the list names it: a path, or LFW's `Name/Name_0001` without an ending.
    pub images: Vec<String>,
    /// The pairs in the order of the list.
    pub pairs: Vec<Pair>,
    /// The images themselves, where the list brings them.
    pub contents: Option<Vec<Vec<u8>>>,
    /// SHA-256 of the list.
    pub sha256: String,
    /// What was assumed in reading it: a sentence each.
    pub notes: Vec<String>,
}

/// Gathers a list: numbers its images in order of appearance.
#[derive(Debug, Default)]
struct Builder {
    images: Vec<String>,
    numbers: HashMap<String, usize>,
    pairs: Vec<Pair>,
    notes: Vec<String>,
}

impl Builder {
    fn image(&mut self, name: &str) -> usize {
        let name = name.replace('\\', "/");
        let name = name.strip_prefix("./").map(str::to_owned).unwrap_or(name);
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.images.push(name.clone());
            self.images.len() - 1
        })
    }

    fn pair(&mut self, a: &str, b: &str, same: bool, fold: Option<usize>) {
        let (a, b) = (self.image(a), self.image(b));
        self.pairs.push(Pair { a, b, same, fold });
    }
}

impl PairList {
    /// Whether [`PairList::read`] takes the file for insightface's pickle of images and answers.
    pub fn brings_images(path: &Path) -> bool {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("bin"))
    }

    /// Reads a list and recognises its format by its lines.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = pdloss_embed::files::read(path)?;
        let sha256 = pdloss_embed::digest::hex(&Sha256::digest(&bytes));
        if Self::brings_images(path) {
            let (builder, contents) = insightface::read(path, &bytes)?;
            return Self::checked(path, "insightface .bin", builder, Some(contents), sha256);
        }
        let text = decode(path, bytes)?;
        let numbered: Vec<(usize, &str)> = lines(&text).collect();
        // The first line may be a header; the second is like all others.
        let typical = |count: usize| usize::from(count > 1);
        let two_lines = numbered.get(typical(numbered.len())).is_some_and(|(_, line)| two_lines::recognises(line));
        if two_lines {
            let builder = two_lines::read(path, &numbered)?;
            return Self::checked(path, "two lines a pair", builder, None, sha256);
        }
        let plain = Table::parse(path, text.clone(), Blanks::Separate, |_| false)?;
        let sample = plain.ragged().take(2).collect::<Result<Vec<_>>>()?;
        // A header of a table says so, though ids that are numbers look like LFW's.
        let is_table = sample.first().is_some_and(table::names_columns);
        let (format, builder) = if !is_table && lfw::recognises(&sample[typical(sample.len())], plain.delimiter()) {
            ("LFW", lfw::read(path, &plain)?)
        } else {
            let table = Table::parse(path, text.clone(), Blanks::Separate, table::is_header)?;
            ("table of paths", table::read(&table)?)
        };
        Self::checked(path, format, builder, None, sha256)
    }

    /// Pairs of an image with itself.
    pub fn with_itself(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.a == pair.b).count()
    }

    fn checked(
        path: &Path,
        format: &'static str,
        builder: Builder,
        contents: Option<Vec<Vec<u8>>>,
        sha256: String,
    ) -> Result<Self> {
        let Builder { images, pairs, notes, .. } = builder;
        let genuine = pairs.iter().filter(|p| p.same).count();
        if genuine == 0 || genuine == pairs.len() {
            return Err(Error::data(
                path,
                format!(
                    "holds {genuine} genuine and {} impostor pairs; verification needs both (read as format '{format}'; lists of one kind each are put together into one file)",
                    pairs.len() - genuine
                ),
            ));
        }
        let notes = notes.into_iter().map(|said| format!("{}: {said}", path.display())).collect();
        Ok(Self { format, images, pairs, contents, sha256, notes })
    }
}

/// What a list may write for "the same person" or not.
fn answer(word: &str) -> Option<bool> {
    match word.trim().to_lowercase().as_str() {
        "1" | "+1" | "1.0" | "true" | "same" | "yes" | "y" | "genuine" | "match" | "positive" => Some(true),
        "0" | "-1" | "0.0" | "-1.0" | "false" | "different" | "diff" | "no" | "n" | "impostor" | "imposter"
        | "mismatch" | "negative" => Some(false),
        _ => None,
    }
}
