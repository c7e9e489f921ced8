//! Labelled images: which files, which classes, which part each plays. One file a format.

mod cars196;
mod cub;
mod finder;
mod folder;
mod inshop;
mod list;
mod sop;
mod source;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::error::{Error, Result};
pub use finder::Finder;
pub use source::Source;

/// File endings that count as images.
const IMAGE_ENDINGS: [&str; 13] =
    ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "jfif"];

/// The part that an image plays in retrieval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Searches, and is searched among the others (itself left out).
    Both,
    /// Searches only.
    Query,
    /// Is searched only.
    Gallery,
}

impl Role {
    /// The word used in files: `both`, `query` or `gallery`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Query => "query",
            Self::Gallery => "gallery",
        }
    }

    /// The role of that word; upper case and surrounding blanks do not matter.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_lowercase().as_str() {
            "both" => Some(Self::Both),
            "query" => Some(Self::Query),
            "gallery" => Some(Self::Gallery),
            _ => None,
        }
    }
}

/// One image of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Name within the [`Source`].
    pub name: String,
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// The part it plays.
    pub role: Role,
}

/// A format that `--format` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Recognise the format by its files
    Auto,
    /// Class = the folder that an image lies in
    Folder,
    /// CUB-200-2011: images.txt, image_class_labels.txt, classes.txt
    Cub,
    /// Cars196: cars_annos.mat, or cars_train_annos.mat and cars_test_annos_withlabels.mat
    Cars196,
    /// Stanford Online Products: Ebay_train.txt, Ebay_test.txt
    Sop,
    /// In-Shop Clothes Retrieval: list_eval_partition.txt
    Inshop,
    /// A CSV of a path and one or more label columns
    List,
}

impl Format {
    /// The word used on the command line and in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Folder => "folder",
            Self::Cub => "cub",
            Self::Cars196 => "cars196",
            Self::Sop => "sop",
            Self::Inshop => "inshop",
            Self::List => "list",
        }
    }

    /// The K of Recall@K that papers report on this data set.
    pub fn usual_ks(self) -> &'static [usize] {
        match self {
            Self::Sop => &[1, 10, 100, 1000],
            Self::Inshop => &[1, 10, 20, 30, 40],
            _ => &[1, 2, 4, 8],
        }
    }
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What papers on this data set measure: zero-shot for CUB and Cars196, test for SOP and In-Shop, else all
    Protocol,
    /// Every image
    All,
    /// The data set's own training part
    Train,
    /// The data set's own test part
    Test,
    /// The second half of the classes, unseen in zero-shot training
    ZeroShot,
    /// What papers train on: the first half of the classes of CUB and Cars196, train of SOP and In-Shop, else all
    ProtocolTrain,
    /// The first half of the classes, which zero-shot training sees
    ZeroShotTrain,
}

/// What to load.
#[derive(Clone, Debug)]
pub struct Request {
    /// Folder, archive or list file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The part of it.
    pub split: Split,
    /// Classes to keep, by the data set's own numbers (from 1); empty for all that the split has.
    pub classes: Vec<usize>,
    /// Label column of a `list`: a header's name or a number from 1; `None` for the first.
    pub label: Option<String>,
}

/// Labelled images, checked to exist.
#[derive(Debug)]
pub struct Dataset {
    /// Where the bytes are.
    pub source: Source,
    /// The format that was read.
    pub format: Format,
    /// The part that was taken, in words.
    pub part: String,
    /// The images, in the order of the data set's own lists (else sorted by name).
    pub items: Vec<Item>,
    /// Class names; each has at least one item.
    pub classes: Vec<String>,
}

/// One image as a format's file lists it, before a part is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    /// The class's number in the data set, from 1.
    class: usize,
    /// Whether it belongs to the training part, where the format has parts.
    train: Option<bool>,
    role: Role,
}

/// A format's lists, read.
#[derive(Debug)]
struct Listing {
    images: Vec<Listed>,
    /// Names of classes by number.
    class_names: BTreeMap<usize, String>,
    /// How many classes the data set has (the zero-shot half is of this number).
    class_count: usize,
    /// The split that papers measure.
    protocol: Split,
}

impl Dataset {
    /// Reads the lists of a data set and takes the part that was asked for.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::File`] where lists disagree, name files that are not there, or leave nothing;
    /// [`Error::Usage`] where the format has no such part.
    pub fn load(request: &Request) -> Result<Self> {
        let path = &request.path;
        if !path.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::read(path, source));
        }
        let is_list_file = path.is_file() && !Source::is_archive(path);
        let source = if is_list_file {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Source::open(parent)?
        } else {
            Source::open(path)?
        };
        let list_name = is_list_file.then(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let format = match request.format {
            Format::Auto => recognise(&source, list_name.as_deref()),
            given => given,
        };
        let listing = match format {
            Format::Folder | Format::Auto => folder::list(&source)?,
            Format::Cub => cub::list(&source)?,
            Format::Cars196 => cars196::list(&source)?,
            Format::Sop => sop::list(&source)?,
            Format::Inshop => inshop::list(&source)?,
            Format::List => {
                let name = list_name.ok_or_else(|| {
                    Error::Usage(format!("--data {}: --format list wants a CSV file, not a folder", path.display()))
                })?;
                list::list(&source, &name, request.label.as_deref())?
            }
        };
        if request.label.is_some() && format != Format::List {
            return Err(Error::Usage(format!(
                "--label: format {} has one label an image; only lists have columns to choose from",
                format.as_str()
            )));
        }
        take_part(source, format, listing, request)
    }

    /// SHA-256 over the digest (of its file's bytes), name, class and role of every image, in order.
    pub fn sha256(&self, digests: &[[u8; 32]]) -> String {
        let mut hasher = Sha256::new();
        for (item, digest) in self.items.iter().zip(digests) {
            hasher.update(digest);
            for part in [item.name.as_str(), &self.classes[item.class], item.role.as_str()] {
                hasher.update(part.as_bytes());
                hasher.update([0]);
            }
        }
        hex(&hasher.finalize())
    }
}

fn recognise(source: &Source, list_file: Option<&str>) -> Format {
    if let Some(name) = list_file {
        return match name {
            "list_eval_partition.txt" => Format::Inshop,
            n if n.starts_with("Ebay_") => Format::Sop,
            "images.txt" => Format::Cub,
            n if n.ends_with(".mat") => Format::Cars196,
            _ => Format::List,
        };
    }
    let markers = [
        ("image_class_labels.txt", Format::Cub),
        ("Ebay_test.txt", Format::Sop),
        ("list_eval_partition.txt", Format::Inshop),
        ("cars_annos.mat", Format::Cars196),
        ("cars_train_annos.mat", Format::Cars196),
    ];
    let found = markers.iter().find(|(marker, _)| source.folder_of(marker).is_some());
    found.map_or(Format::Folder, |&(_, format)| format)
}

fn take_part(source: Source, format: Format, listing: Listing, request: &Request) -> Result<Dataset> {
    let Listing { images, class_names, class_count, protocol } = listing;
    let path = &request.path;
    if images.is_empty() {
        return Err(Error::data(path, format!("no images found (read as format {})", format.as_str())));
    }
    // Classes given by number are a part of their own; with no split named they are taken from the whole.
    let split = match (request.split, protocol) {
        (Split::Protocol | Split::ProtocolTrain, Split::ZeroShot) if !request.classes.is_empty() => Split::All,
        (Split::Protocol, protocol) => protocol,
        (Split::ProtocolTrain, Split::ZeroShot) => Split::ZeroShotTrain,
        (Split::ProtocolTrain, Split::Test) => Split::Train,
        (Split::ProtocolTrain, protocol) => protocol,
        (given, _) => given,
    };
    if matches!(split, Split::Train | Split::Test) && images.iter().any(|i| i.train.is_none()) {
        return Err(Error::Usage(format!(
            "--split: {} (format {}) has no train and test parts",
            path.display(),
            format.as_str()
        )));
    }
    let half = class_count / 2;
    let (first, last) =
        (images.iter().map(|i| i.class).min().unwrap_or(0), images.iter().map(|i| i.class).max().unwrap_or(0));
    let in_split = |image: &Listed| match split {
        Split::All | Split::Protocol | Split::ProtocolTrain => true,
        Split::Train => image.train == Some(true),
        Split::Test => image.train == Some(false),
        Split::ZeroShot => image.class > half,
        Split::ZeroShotTrain => image.class <= half,
    };
    let wanted = |image: &Listed| request.classes.is_empty() || request.classes.contains(&image.class);
    let total = images.len();
    let kept: Vec<Listed> = images.into_iter().filter(|i| in_split(i) && wanted(i)).collect();
    let mut part = match split {
        Split::All | Split::Protocol | Split::ProtocolTrain => "all".to_owned(),
        Split::Train => "train".into(),
        Split::Test => "test".into(),
        Split::ZeroShot => format!("zero-shot (classes {}-{class_count})", half + 1),
        Split::ZeroShotTrain => format!("zero-shot train (classes 1-{half})"),
    };
    if !request.classes.is_empty() {
        part = format!("{part}, {} classes by number", request.classes.len());
    }
    if kept.is_empty() {
        return Err(Error::data(
            path,
            format!(
                "part '{part}' holds none of the {total} images, whose classes are {first} to {last}; --split all takes them"
            ),
        ));
    }
    let missing: Vec<_> = kept.iter().filter(|i| !source.contains(&i.name)).collect();
    if let Some(image) = missing.first() {
        return Err(Error::data(
            path,
            format!(
                "lists {} images, {} of which are not there; the first is {}",
                kept.len(),
                missing.len(),
                image.name
            ),
        ));
    }
    let mut numbers: Vec<usize> = kept.iter().map(|i| i.class).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let index: HashMap<usize, usize> = numbers.iter().enumerate().map(|(at, &number)| (number, at)).collect();
    let classes = numbers.iter().map(|n| class_names.get(n).cloned().unwrap_or_else(|| n.to_string())).collect();
    let items = kept.into_iter().map(|i| Item { name: i.name, class: index[&i.class], role: i.role }).collect();
    Ok(Dataset { source, format, part, items, classes })
}

/// Whether the file name ends like an image's.
pub fn is_image(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let ending = file.rsplit_once('.').map(|(_, e)| e.to_lowercase());
    !file.starts_with('.')
        && !name.starts_with("__MACOSX/")
        && ending.is_some_and(|e| IMAGE_ENDINGS.contains(&e.as_str()))
}

/// The lines of a list with their numbers from 1, blank ones left out.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

/// A whole number in a list, or an error that names file, line and word.
fn number(source: &Source, file: &str, line: usize, word: &str) -> Result<usize> {
    word.trim()
        .parse()
        .map_err(|_| Error::data(source.path().join(file), format!("line {line}: '{word}' is not a whole number")))
}
