//! Small copies of a run's images, as data URIs.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pairs::PairList;
use crate::runs::Files;
use crate::{Error, Result};
use pdloss_embed::dataset::Source;
use pdloss_embed::preprocess::{Orientation, decode};

/// Longer side of a small copy: shown smaller, for dense screens.
const SIDE: u32 = 160;
/// The same of the many that a map shows one at a time.
const SMALL: u32 = 72;
const QUALITY: u8 = 74;

/// An image made small.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// As a data URI.
    pub(super) uri: String,
    /// It is of another file than the one of this name that was measured.
    pub(super) other: bool,
}

/// Images of one folder or archive, each made small once.
pub(super) struct Pictures {
    source: Source,
    /// Digests of the files that were measured, by name; `None` where the run does not say.
    measured: Option<HashMap<String, String>>,
    made: HashMap<(String, u32), Option<Picture>>,
    /// Why the first of those that cannot be had cannot.
    first_missing: Option<String>,
    /// The first that is of another file.
    first_other: Option<String>,
}

impl Pictures {
    /// Opens the folder, the archive, or the list that brings its images; `files` are those that the run measured.
    pub(super) fn open(path: &Path, files: Option<&Files>) -> Result<Self> {
        let source = if PairList::brings_images(path) {
            let list = PairList::read(path)?;
            Source::of_memory(path, list.images.into_iter().zip(list.contents.unwrap_or_default()))
        } else {
            Source::open(path)?
        };
        let owned = |(name, digest): (&str, &str)| (name.to_owned(), digest.to_owned());
        let measured = files.map(|files| files.by_name().into_iter().map(owned).collect());
        Ok(Self { source, measured, made: HashMap::new(), first_missing: None, first_other: None })
    }

    /// An image; `None` where it cannot be had.
    pub(super) fn get(&mut self, name: &str) -> Option<Picture> {
        self.sized(name, SIDE)
    }

    /// The same, smaller.
    pub(super) fn small(&mut self, name: &str) -> Option<Picture> {
        self.sized(name, SMALL)
    }

    fn sized(&mut self, name: &str, side: u32) -> Option<Picture> {
        let key = (name.to_owned(), side);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let made = match self.make(name, side) {
            Ok(made) => {
                if made.other {
                    self.first_other.get_or_insert_with(|| name.to_owned());
                }
                Some(made)
            }
            Err(error) => {
                self.first_missing.get_or_insert_with(|| error.to_string());
                None
            }
        };
        self.made.insert(key, made.clone());
        made
    }

    /// What is to be said of the images that were asked for: how many cannot be had, and why the first cannot; how many are of other
    /// files than were measured; that this is not known.
    pub(super) fn doubts(&self) -> Vec<String> {
        let count = |is: &dyn Fn(&Option<Picture>) -> bool| {
            let such = self.made.iter().filter(|(_, made)| is(made)).map(|((name, _), _)| name.as_str());
            such.collect::<HashSet<&str>>().len()
        };
        let all = count(&|_| true);
        let missing = self.first_missing.as_ref().map(|first| {
            let missing = count(&Option::is_none);
            format!("{missing} of {all} images cannot be had, and their places are empty; the first: {first}")
        });
        let other = self.first_other.as_ref().map(|first| {
            let other = count(&|made| made.as_ref().is_some_and(|made| made.other));
            format!(
                "{other} of {all} images are of other files than those that were measured, and are marked; the first: {first} in {}",
                self.source.path().display()
            )
        });
        let shown = all > count(&Option::is_none);
        let unknown = (self.measured.is_none() && shown).then(|| {
            "the run does not say which files it measured (an earlier version kept it, or it is of kept embeddings): pictures are those \
             of the same names, unchecked"
                .to_owned()
        });
        missing.into_iter().chain(other).chain(unknown).collect()
    }

    fn make(&self, name: &str, side: u32) -> Result<Picture> {
        let bytes = self.source.read(name)?;
        let measured = self.measured.as_ref().and_then(|measured| measured.get(name));
        let other = measured.is_some_and(|digest| *digest != Files::digest(&bytes));
        let image = decode(name, &bytes, Orientation::Exif)?;
        let small = if image.width().max(image.height()) > side {
            image::DynamicImage::from(image).thumbnail(side, side).into_rgb8()
        } else {
            image
        };
        let mut bytes = Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY)
            .encode_image(&small)
            .map_err(|e| Error::image(name, e.to_string()))?;
        let uri = format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner()));
        Ok(Picture { uri, other })
    }
}
