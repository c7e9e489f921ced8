//! Where the bytes of a data set come from: a folder, a zip or a tar, behind one list and one `read`.
//!
//! Names are relative, with `/` between parts, whatever the system. Hidden files ([`names::is_hidden`]) are not listed, but
//! are there where a list names them.

mod folder;
mod kind;
mod links;
pub(super) mod names;
mod tar;
mod zip;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::dataset::is_image;
use crate::delimited;
use crate::error::{Error, Result};
use crate::files::{ending, open_file};
use kind::Kind;
use names::{composed, is_hidden, tidy};

/// The most bytes that one file may have: no image is larger.
const LARGEST_FILE: u64 = 1 << 30;

/// What opening an archive may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most members.
    pub members: usize,
    /// The most bytes that all members may have unpacked; `None` for 200 times the archive's size, and at least 4 GiB.
    pub unpacked: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 10_000_000, unpacked: None }
    }
}

impl Limits {
    fn unpacked(&self, packed: u64) -> u64 {
        self.unpacked.unwrap_or_else(|| packed.saturating_mul(200).max(4 << 30))
    }

    fn check_members(&self, path: &Path, members: usize) -> Result<()> {
        if members <= self.members {
            return Ok(());
        }
        Err(Error::data(
            path,
            format!("holds {members} members or more; wanted at most {} (--max-members takes more)", self.members),
        ))
    }

    fn too_large(path: &Path, packed: u64, most: u64) -> Error {
        Error::data(
            path,
            format!("its {packed} bytes unpack to more than {most}; wanted fewer (--max-unpacked takes more)"),
        )
    }
}

/// A folder or an archive of one, readable from several threads at once.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    store: Store,
    names: Vec<String>,
    notes: Vec<String>,
    /// Links of an archive that are called like images and lead nowhere, and where to: they are listed, and reading them is an error.
    lost: HashMap<String, String>,
    /// Names by their composed Unicode form, made when a name is first missed.
    composed: OnceLock<HashMap<String, usize>>,
}

#[derive(Debug)]
enum Store {
    Folder,
    /// One reader at a time takes bytes out; decoding them happens outside the lock.
    Zip(Mutex<::zip::ZipArchive<File>>, HashMap<String, usize>),
    /// Offset and length of each member in an uncompressed tar.
    Tar(Mutex<File>, HashMap<String, tar::Place>),
    /// Files that another file brought with it.
    Memory(HashMap<String, Vec<u8>>),
}

/// What opening an archive found.
struct Opened {
    store: Store,
    names: Vec<String>,
    /// What was passed over, and why.
    notes: Vec<String>,
    /// As [`Source::lost`].
    lost: HashMap<String, String>,
}

impl Source {
    /// Files that are in memory already; `path` is the file that brought them.
    pub fn of_memory(path: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: HashMap<_, _> = files.into_iter().collect();
        let names = files.keys().cloned().collect();
        Self::new(path, Store::Memory(files), names, Vec::new())
    }

    /// A folder whose files are looked up one by one: it is not walked, and [`Source::names`] is empty.
    pub fn folder(path: &Path) -> Self {
        Self::new(path, Store::Folder, Vec::new(), Vec::new())
    }

    /// Opens a folder, or a file that ends in `.zip`, `.tar`, `.tar.gz` or `.tgz`, and lists its files.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Data`] where the archive is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, &Limits::default())
    }

    /// [`Source::open`], refusing archives that hold more than `limits`.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open_within(path: &Path, limits: &Limits) -> Result<Self> {
        if path.is_dir() {
            let (names, notes) = folder::walk(path)?;
            return Ok(Self::new(path, Store::Folder, names, notes));
        }
        let file = open_file(path)?;
        let kind = Kind::of(path);
        kind.map_or(Ok(()), |kind| kind.check(path, &file))?;
        let Opened { store, mut names, notes, lost } = match kind {
            Some(Kind::Zip) => zip::open(path, file, limits)?,
            Some(Kind::Tar) => tar::open(path, file, limits)?,
            Some(Kind::TarGz) => tar::open(path, tar::unpack(path, file, limits)?, limits)?,
            None => return Err(Error::data(path, "neither a folder nor a .zip, .tar, .tar.gz or .tgz archive")),
        };
        names.extend(lost.keys().cloned());
        Ok(Self { lost, ..Self::new(path, store, names, notes) })
    }

    /// Leaves hidden files out of the list and says so.
    fn new(path: &Path, store: Store, names: Vec<String>, mut notes: Vec<String>) -> Self {
        let (hidden, mut names): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| is_hidden(name));
        names.sort();
        notes.extend(names::passed_over(&hidden));
        Self { path: path.into(), store, names, notes, lost: HashMap::new(), composed: OnceLock::new() }
    }

    /// Whether the name looks like an archive that [`Source::open`] reads.
    pub fn is_archive(path: &Path) -> bool {
        Kind::of(path).is_some()
    }

    /// The folder or archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files that are not hidden, sorted by name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Kinds of files that hold pictures, but are not decoded, and the text that lies beside images, the most frequent first: a sentence.
    pub fn undecoded(&self) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.names.iter().filter(|name| !is_image(name)) {
            let kind = ending(Path::new(name));
            *counts.entry(if kind.is_empty() { "without ending".into() } else { format!(".{kind}") }).or_default() += 1;
        }
        let total = counts.values().sum();
        let mut by_count: Vec<(String, usize)> = counts.into_iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let kinds = names::several(by_count.into_iter().map(|(kind, count)| format!("{count} {kind}")));
        (total > 0).then(|| format!("passed over {} of kinds that are not decoded: {kinds}", names::files(total)))
    }

    /// What was passed over, and why: a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a file of exactly this name is there.
    pub fn contains(&self, name: &str) -> bool {
        if self.lost.contains_key(name) {
            return true;
        }
        match &self.store {
            Store::Folder => {
                self.names.binary_search_by(|n| n.as_str().cmp(name)).is_ok() || self.path.join(name).is_file()
            }
            Store::Zip(_, members) => members.contains_key(name),
            Store::Tar(_, members) => members.contains_key(name),
            Store::Memory(files) => files.contains_key(name),
        }
    }

    /// The name of the file that a list calls `wanted`: the same, or the same without `./`, with `/` for `\`, or with its
    /// accents composed or decomposed (Unicode NFC, NFD).
    pub fn find(&self, wanted: &str) -> Option<String> {
        let plain = tidy(wanted);
        let spelt = [composed(&plain), names::decomposed(&plain)];
        let spellings = [plain.as_str(), wanted, &spelt[0], &spelt[1]];
        if let Some(found) = spellings.into_iter().find(|name| self.contains(name)) {
            return Some(found.to_owned());
        }
        let of = |(at, name): (usize, &String)| (composed(name), at);
        let by_form = self.composed.get_or_init(|| self.names.iter().enumerate().map(of).collect());
        by_form.get(&spelt[0]).map(|&at| self.names[at].clone())
    }

    /// Whether a file that is listed is known to be none before it is read.
    ///
    /// # Errors
    /// [`Error::Data`] for a link in an archive that leads nowhere.
    pub fn check(&self, name: &str) -> Result<()> {
        let wrong =
            |target| Error::data(self.path.join(name), format!("is a link to {target}, which is not in the archive"));
        self.lost.get(name).map_or(Ok(()), |target| Err(wrong(target)))
    }

    /// How many bytes a file has, where it is there.
    pub fn size(&self, name: &str) -> Option<u64> {
        match &self.store {
            Store::Folder => self.path.join(name).metadata().ok().map(|data| data.len()),
            Store::Zip(archive, members) => zip::size(archive, *members.get(name)?),
            Store::Tar(_, members) => members.get(name).map(|&(_, length)| length),
            Store::Memory(files) => files.get(name).map(|bytes| bytes.len() as u64),
        }
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Data`] naming it; files of more than 1 GiB are refused.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let here = || self.path.join(name);
        self.check(name)?;
        let absent = || Error::data(here(), "not in the archive");
        match &self.store {
            Store::Folder => folder::read(&here()),
            Store::Zip(archive, members) => zip::read(&here(), archive, *members.get(name).ok_or_else(absent)?),
            Store::Tar(file, members) => tar::read(&here(), file, *members.get(name).ok_or_else(absent)?),
            Store::Memory(files) => files.get(name).cloned().ok_or_else(|| Error::data(here(), "not in the file")),
        }
    }

    /// A text file as UTF-8, without a byte-order mark.
    ///
    /// # Errors
    /// As [`Source::read`] and [`delimited::decode`].
    pub fn read_text(&self, name: &str) -> Result<String> {
        delimited::decode(&self.path.join(name), self.read(name)?)
    }

    /// The folder (with a trailing `/`, or empty) that holds `marker`, at the top or in the one sub-folder that has it.
    pub fn folder_of(&self, marker: &str) -> Option<String> {
        let mut holders = self.folders_of(marker).into_iter();
        let first = holders.next()?;
        holders.next().is_none().then_some(first)
    }

    /// The folders that hold `marker`: the top alone where it does, else every sub-folder that does.
    pub fn folders_of(&self, marker: &str) -> Vec<String> {
        if self.contains(marker) {
            return vec![String::new()];
        }
        let ending = format!("/{marker}");
        let holders = self.names.iter().filter(|n| n.ends_with(&ending));
        holders.map(|n| n[..n.len() - marker.len()].to_owned()).collect()
    }
}

/// All bytes of a file that says it has `length`; never more than [`LARGEST_FILE`] are taken.
fn read_all(path: &Path, reader: impl Read, length: u64) -> Result<Vec<u8>> {
    if length > LARGEST_FILE {
        return Err(Error::data(path, format!("has {length} bytes; wanted an image of at most {LARGEST_FILE}")));
    }
    let mut bytes = Vec::new();
    reader.take(length + 1).read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    if bytes.len() as u64 != length {
        let more = if bytes.len() as u64 > length { "more".to_owned() } else { bytes.len().to_string() };
        return Err(Error::data(path, format!("says it has {length} bytes and has {more}")));
    }
    Ok(bytes)
}
