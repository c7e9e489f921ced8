//! Small copies of a run's images, as data URIs.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pairs::PairList;
use crate::{Error, Result};
use pdloss_embed::dataset::Source;
use pdloss_embed::preprocess::{Orientation, decode};

/// Longer side of a small copy: shown smaller, for dense screens.
const SIDE: u32 = 160;
/// The same of the many that a map shows one at a time.
const SMALL: u32 = 72;
const QUALITY: u8 = 74;

/// Images of one folder or archive, each made small once.
pub(super) struct Pictures {
    source: Source,
    made: HashMap<(String, u32), Option<String>>,
    /// Why the first of those that cannot be had cannot.
    first_missing: Option<String>,
}

impl Pictures {
    /// Opens the folder, the archive, or the list that brings its images.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let source = if PairList::brings_images(path) {
            let list = PairList::read(path)?;
            Source::of_memory(path, list.images.into_iter().zip(list.contents.unwrap_or_default()))
        } else {
            Source::open(path)?
        };
        Ok(Self { source, made: HashMap::new(), first_missing: None })
    }

    /// An image as a data URI; `None` where it cannot be had.
    pub(super) fn get(&mut self, name: &str) -> Option<String> {
        self.sized(name, SIDE)
    }

    /// The same, smaller.
    pub(super) fn small(&mut self, name: &str) -> Option<String> {
        self.sized(name, SMALL)
    }

    fn sized(&mut self, name: &str, side: u32) -> Option<String> {
        let key = (name.to_owned(), side);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let made = match self.make(name, side) {
            Ok(made) => Some(made),
            Err(error) => {
                self.first_missing.get_or_insert_with(|| error.to_string());
                None
            }
        };
        self.made.insert(key, made.clone());
        made
    }

    /// How many of the images that were asked for cannot be had, and why the first cannot; `None` where all are there.
    pub(super) fn missing(&self) -> Option<String> {
        let first = self.first_missing.as_ref()?;
        let all: HashSet<&str> = self.made.keys().map(|(name, _)| name.as_str()).collect();
        let missing = self.made.iter().filter(|(_, made)| made.is_none());
        let missing: HashSet<&str> = missing.map(|((name, _), _)| name.as_str()).collect();
        Some(format!(
            "{} of {} images cannot be had, and their places are empty; the first: {first}",
            missing.len(),
            all.len()
        ))
    }

    fn make(&self, name: &str, side: u32) -> Result<String> {
        let image = decode(name, &self.source.read(name)?, Orientation::Exif)?;
        let small = if image.width().max(image.height()) > side {
            image::DynamicImage::from(image).thumbnail(side, side).into_rgb8()
        } else {
            image
        };
        let mut bytes = Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY)
            .encode_image(&small)
            .map_err(|e| Error::image(name, e.to_string()))?;
        Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
    }
}
