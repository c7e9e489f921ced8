//! Labelled images: which files, which classes, which part each plays. One file a format.

mod alike;
mod assigned;
mod cameras;
mod cars196;
mod celeba;
mod chosen;
pub mod columns;
mod cub;
mod finder;
mod folder;
mod inshop;
mod layout;
mod list;
mod market;
mod matlab;
mod numbers;
mod outside;
mod part;
mod past;
mod roles;
mod slips;
mod sop;
mod source;
mod trained;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::beginnings::Beginning;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::files::{ending, folder_of, open_file};
pub use celeba::table as celeba_table;
pub use chosen::Chosen;
pub use finder::{Finder, are_of_other_folders, cut_off};
use part::Part;
pub use past::Past;
pub(crate) use roles::{Roles, by_flags, said_by_one, unsaid};
pub use slips::{folded, nearly_alike, plain_number, slips_in, slips_of};
pub(crate) use source::names::composed;
pub use source::names::several;
pub use source::{Limits, Source};
pub use trained::Trained;

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

    /// The role of that word, or of another that the field has for it; upper case and surrounding blanks do not matter.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_lowercase().as_str() {
            "both" => Some(Self::Both),
            "query" | "queries" | "probe" | "probes" => Some(Self::Query),
            "gallery" | "database" => Some(Self::Gallery),
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
    /// The camera that took it, where the data set's protocol does not count images of the same class and camera.
    pub camera: Option<u32>,
}

/// A format that `--format` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Recognise the format by its files
    Auto,
    /// Class = the folder that an image lies in, below train/, val/, test/, query/, gallery/ where there are such
    Folder,
    /// CUB-200-2011 and NABirds: images.txt, image_class_labels.txt, classes.txt
    Cub,
    /// Cars196: cars_annos.mat, or cars_train_annos.mat and cars_test_annos_withlabels.mat
    Cars196,
    /// Stanford Online Products: Ebay_train.txt, Ebay_test.txt
    Sop,
    /// In-Shop Clothes Retrieval: list_eval_partition.txt
    Inshop,
    /// CelebA: identity_CelebA.txt, and list_eval_partition.txt for the parts
    Celeba,
    /// Market-1501, DukeMTMC-reID: query/ and bounding_box_test/, images called PERSON_cCAMERA...
    Market,
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
            Self::Celeba => "celeba",
            Self::Market => "market",
            Self::List => "list",
        }
    }

    /// The K of Recall@K that papers report on this data set.
    pub fn usual_ks(self) -> &'static [usize] {
        match self {
            Self::Sop => &[1, 10, 100, 1000],
            Self::Inshop => &[1, 10, 20, 30, 40],
            Self::Market => &[1, 5, 10],
            _ => &[1, 2, 4, 8],
        }
    }
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What papers on this data set measure: zero-shot for CUB and Cars196, test (query and gallery) where there is such, else all
    Protocol,
    /// Every image
    All,
    /// The data set's own training part
    Train,
    /// The data set's own validation part
    Val,
    /// The data set's own test part
    Test,
    /// The second half of the classes, unseen in zero-shot training
    ZeroShot,
    /// What papers train on: the first half of the classes of CUB and Cars196, the training part where there is one, else all
    ProtocolTrain,
    /// What is validated on: the validation part where there is one, the test part where there is a training part, else what
    /// papers measure
    ProtocolVal,
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
    /// Classes to keep, by the data set's own numbers: those that its lists or its folders' names give, else from 1 in
    /// order of names; empty for all that the split has.
    pub classes: Vec<usize>,
    /// Label column of a `list`: a header's name or a number from 1; `None` for the first.
    pub label: Option<String>,
    /// Folder or archive of a list's images; `None` for the list's own folder.
    pub root: Option<PathBuf>,
    /// Column of a `list` with what each image weighs: a header's name or a number from 1; `None` for none.
    pub weights: Option<String>,
    /// Whether images that contradict themselves (one file under two labels) are left out instead of refused.
    pub skip_bad: bool,
    /// What opening an archive may cost.
    pub limits: Limits,
}

impl Request {
    /// All that is to be measured of `path`.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Auto,
            split: Split::Protocol,
            classes: Vec::new(),
            label: None,
            root: None,
            weights: None,
            skip_bad: false,
            limits: Limits::default(),
        }
    }

    /// The list that images and labels are read from, where that is what was given.
    pub fn list(&self) -> Option<&Path> {
        Some(self.path.as_path()).filter(|path| path.is_file() && !Source::is_archive(path))
    }
}

/// Labelled images, checked to exist.
///
/// A file that is listed twice under one label counts once; under two labels it is an error, or left out where bad images
/// are. Files of equal bytes under other names stay (see [`crate::embeddings::Row::image`]).
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
    /// The column of a list that labels were read from, as `--label` takes it: its header, else its number.
    pub label: Option<String>,
    /// What each image weighs, by its name, where a column of a list says so.
    pub weights: HashMap<String, f64>,
    /// What was assumed and what was passed over: a sentence each.
    pub notes: Vec<String>,
}

/// One image as a format's file lists it, before a part is chosen.
#[derive(Clone, Debug, PartialEq)]
struct Listed {
    name: String,
    /// The class's number in the data set.
    class: usize,
    part: Option<Part>,
    role: Role,
    camera: Option<u32>,
    /// The line of the list, from 1.
    line: Option<usize>,
    /// What it weighs.
    weight: Option<f64>,
    /// Whether the format's reader, not the list, says the folder that its name begins with.
    is_placed: bool,
}

impl Listed {
    fn new(name: String, class: usize) -> Self {
        Self { name, class, part: None, role: Role::Both, camera: None, line: None, weight: None, is_placed: false }
    }
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
    /// As [`Dataset::label`].
    label: Option<String>,
    notes: Vec<String>,
}

impl Listing {
    fn new(images: Vec<Listed>, class_names: BTreeMap<usize, String>, protocol: Split) -> Self {
        Self { images, class_count: class_names.len(), class_names, protocol, label: None, notes: Vec::new() }
    }
}

impl Dataset {
    /// Images that a list of another kind names (of pairs, of templates, of queries and a gallery), found in `source`.
    pub fn named(source: Source, items: Vec<Item>, classes: Vec<String>, list: &Path) -> Self {
        let (part, notes) = (format!("images of {}", list.display()), source.notes().to_vec());
        let (format, weights) = (Format::List, HashMap::new());
        Self { source, format, part, items, classes, label: None, weights, notes }
    }

    /// Takes the classes of another data set out, and numbers the others anew; how many those were.
    pub fn leave_out(&mut self, other: &Self) -> usize {
        let theirs: HashSet<&str> = other.classes.iter().map(String::as_str).collect();
        let stays: Vec<bool> = self.classes.iter().map(|class| !theirs.contains(class.as_str())).collect();
        // New numbers of the classes that stay.
        let number: Vec<usize> =
            stays.iter().scan(0, |next, &stays| Some(std::mem::replace(next, *next + usize::from(stays)))).collect();
        self.items.retain(|item| stays[item.class]);
        self.items.iter_mut().for_each(|item| item.class = number[item.class]);
        let mut stay = stays.iter();
        self.classes.retain(|_| stay.next() == Some(&true));
        stays.len() - self.classes.len()
    }

    /// Reads the lists of a data set and takes the part that was asked for.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::File`] where lists disagree, name files that are not there, or leave nothing;
    /// [`Error::Usage`] where the format has no such part, class or column.
    pub fn load(request: &Request) -> Result<Self> {
        let path = &request.path;
        if !path.exists() {
            let problem = "there is no such folder, archive or list";
            return Err(Error::read(path, std::io::Error::new(std::io::ErrorKind::NotFound, problem)));
        }
        let is_list_file = path.is_file() && !Source::is_archive(path);
        if !(path.is_file() || path.is_dir()) {
            let problem = "is no plain file, but a device, pipe or socket; data is read more than once: write a list into a file first";
            return Err(Error::data(path, problem));
        }
        if is_list_file && OTHER_ARCHIVES.contains(&ending(path).as_str()) {
            return Err(Error::data(path, packed(path)?));
        }
        if request.root.is_some() && !is_list_file {
            return Err(Error::Usage(format!("--root: only a list has one; {} is none", path.display())));
        }
        let (source, list_name) = if is_list_file {
            (list::images_of(request)?, Some(path.file_name().unwrap_or_default().to_string_lossy().into_owned()))
        } else {
            (Source::open_within(path, &request.limits)?, None)
        };
        // A list that is given itself lies in its own folder, wherever its images are.
        let beside = list_name.is_some().then(|| Source::folder(folder_of(path)));
        let lists = Lists { source: beside.as_ref().unwrap_or(&source), given: list_name.as_deref(), images: &source };
        let format = match request.format {
            Format::Auto => recognise(&lists)?,
            given => given,
        };
        lists.check(path, format)?;
        if request.label.is_some() && format != Format::List {
            return Err(Error::Usage(format!(
                "--label: format {} has one label an image; only lists have columns to choose from",
                format.as_str()
            )));
        }
        if let (Some(column), true) = (&request.weights, format != Format::List) {
            return Err(Error::Usage(format!(
                "--weight-column {column}: format {} has no columns to choose from, as a list has",
                format.as_str()
            )));
        }
        if format == Format::List {
            if list_name.is_none() {
                return Err(Error::Usage(format!(
                    "--data {0}: --format list wants a CSV file, not a folder or an archive of images: --data LIST.csv --root {0}",
                    path.display()
                )));
            }
            let (source, listing) = list::list(source, request)?;
            return part::take(source, format, listing, request);
        }
        let listing = match format {
            Format::Cub => cub::list(&lists)?,
            Format::Cars196 => cars196::list(&lists)?,
            Format::Sop => sop::list(&lists)?,
            Format::Inshop => inshop::list(&lists)?,
            Format::Celeba => celeba::list(&lists)?,
            Format::Market => market::list(&source)?,
            Format::Folder | Format::Auto | Format::List => folder::list(&source, request.format == Format::Folder)?,
        };
        part::take(source, format, listing, request)
    }

    /// `160 images of 10 classes, part 'test' of photos/`.
    pub fn in_words(&self) -> String {
        let (images, classes) = (self.items.len(), self.classes.len());
        format!("{images} images of {classes} classes, part '{}' of {}", self.part, self.source.path().display())
    }

    /// The same of what was asked for; with `, by the list labels.csv, label 'shape'` where a list was.
    pub fn in_words_of(&self, request: &Request) -> String {
        let label = self.label.as_ref().map_or(String::new(), |label| format!(", label '{label}'"));
        let list = request.list().map_or(String::new(), |list| format!(", by the list {}{label}", list.display()));
        format!("{}{list}", self.in_words())
    }

    /// SHA-256 over the digest (of its file's bytes), name, class, role and weight of every image, in order.
    pub fn sha256(&self, digests: &[[u8; 32]]) -> String {
        let mut hasher = Sha256::new();
        self.items.iter().zip(digests).for_each(|(item, digest)| self.update(&mut hasher, item, digest));
        hex(&hasher.finalize())
    }

    /// The same of the images in any order: lists that differ in the order of their lines have one.
    pub fn sha256_in_any_order(&self, digests: &[[u8; 32]]) -> String {
        let of_image = |(item, digest)| {
            let mut hasher = Sha256::new();
            self.update(&mut hasher, item, digest);
            hasher.finalize()
        };
        let mut images: Vec<_> = self.items.iter().zip(digests).map(of_image).collect();
        images.sort_unstable();
        let mut hasher = Sha256::new();
        images.iter().for_each(|image| hasher.update(image));
        hex(&hasher.finalize())
    }

    fn update(&self, hasher: &mut Sha256, item: &Item, digest: &[u8; 32]) {
        hasher.update(digest);
        for part in [item.name.as_str(), &self.classes[item.class], item.role.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        if let Some(weight) = self.weights.get(&item.name) {
            hasher.update(weight.to_le_bytes());
        }
    }
}

/// What is wrong with a file that ends in one of [`OTHER_ARCHIVES`].
fn packed(path: &Path) -> Result<String> {
    let mut first = Vec::new();
    open_file(path)?.take(300).read_to_end(&mut first).map_err(|e| Error::read(path, e))?;
    Ok(Beginning::of(&first).map_or_else(
        || "is an archive of a kind that is not read; wanted .zip, .tar, .tar.gz or .tgz".to_owned(),
        |found| format!("is {}; wanted .zip, .tar, .tar.gz or .tgz, or a list of text: {}", found.what(), found.cure()),
    ))
}

/// Endings of archives that are not read, so that they are not taken for lists.
const OTHER_ARCHIVES: [&str; 10] = ["7z", "bz2", "gz", "lz4", "parquet", "rar", "tbz2", "txz", "xz", "zst"];

/// Where a format's lists are, and where its images.
#[derive(Clone, Copy)]
struct Lists<'a> {
    /// The data set's folder or archive; the list's own folder where one was given.
    source: &'a Source,
    /// The file that was given in place of a folder: that which is read, whatever lies elsewhere by its name.
    given: Option<&'a str>,
    /// What the images are in: the same, or `--root`.
    images: &'a Source,
}

impl Lists<'_> {
    /// Refuses a file as the list of a format that has none, or not that.
    fn check(&self, path: &Path, format: Format) -> Result<()> {
        let Some(given) = self.given else { return Ok(()) };
        let wanted = match format {
            Format::Cub if given != "images.txt" => "its list images.txt, or the data set's folder",
            Format::Folder | Format::Market => "a folder or an archive: this format has no list",
            _ => return Ok(()),
        };
        Err(Error::Usage(format!(
            "--format {}: {} is a file; wanted {wanted} (--format list reads a table of paths and labels)",
            format.as_str(),
            path.display()
        )))
    }
}

fn recognise(lists: &Lists<'_>) -> Result<Format> {
    let source = lists.source;
    if let Some(name) = lists.given {
        return Ok(match name {
            "list_eval_partition.txt" if inshop::is_partition(source, name)? => Format::Inshop,
            "list_eval_partition.txt" | "identity_CelebA.txt" => Format::Celeba,
            "list_eval_partition.csv" if source.folder_of("identity_CelebA.txt").is_some() => Format::Celeba,
            "Ebay_train.txt" | "Ebay_test.txt" => Format::Sop,
            "images.txt" if cub::is_list(source, name)? => Format::Cub,
            n if n.ends_with(".mat") => Format::Cars196,
            _ => Format::List,
        });
    }
    let markers = [
        ("image_class_labels.txt", Format::Cub),
        ("Ebay_test.txt", Format::Sop),
        ("list_eval_partition.txt", Format::Inshop),
        ("identity_CelebA.txt", Format::Celeba),
        ("cars_annos.mat", Format::Cars196),
        ("cars_train_annos.mat", Format::Cars196),
    ];
    for (marker, format) in markers {
        let holders = source.folders_of(marker);
        match holders.as_slice() {
            [] => {}
            [holder] if format == Format::Inshop => {
                let inshop = inshop::is_partition(source, &format!("{holder}{marker}"))?;
                return Ok(if inshop { Format::Inshop } else { Format::Celeba });
            }
            [_] => return Ok(format),
            [first, second, ..] => {
                return Err(Error::data(
                    source.path(),
                    format!(
                        "{marker} is there {} times, in {first} and {second}; give --data the folder of one data set, or --format folder",
                        holders.len()
                    ),
                ));
            }
        }
    }
    Ok(if market::recognises(source) { Format::Market } else { Format::Folder })
}

/// Whether the file name ends like an image's.
pub fn is_image(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let ending = file.rsplit_once('.').map(|(_, e)| e.to_lowercase());
    !file.starts_with('.')
        && !name.starts_with("__MACOSX/")
        && ending.is_some_and(|e| IMAGE_ENDINGS.contains(&e.as_str()))
}

/// A whole number in a list, or an error that names file, line and word.
fn number(source: &Source, file: &str, line: usize, word: &str) -> Result<usize> {
    word.trim()
        .parse()
        .map_err(|_| Error::data(source.path().join(file), format!("line {line}: '{word}' is not a whole number")))
}
