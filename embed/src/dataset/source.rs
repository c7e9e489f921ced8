//! Where the bytes of a data set come from: a folder, a zip or a tar, behind one `list` and one `read`.
//!
//! Names are relative, with `/` between parts, whatever the system.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};

/// A folder or an archive of one, readable from several threads at once.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    store: Store,
    names: Vec<String>,
}

#[derive(Debug)]
enum Store {
    Folder,
    /// One reader at a time takes bytes out; decoding them happens outside the lock.
    Zip(Mutex<zip::ZipArchive<File>>),
    /// Offset and length of each member in an uncompressed tar.
    Tar {
        file: Mutex<File>,
        members: HashMap<String, (u64, u64)>,
    },
    /// Files that another file brought with it.
    Memory(HashMap<String, Vec<u8>>),
}

impl Source {
    /// Files that are in memory already; `path` is the file that brought them.
    pub fn of_memory(path: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: HashMap<_, _> = files.into_iter().collect();
        let mut names: Vec<_> = files.keys().cloned().collect();
        names.sort();
        Self { path: path.into(), store: Store::Memory(files), names }
    }

    /// Opens a folder, or a file that ends in `.zip`, `.tar`, `.tar.gz` or `.tgz`, and lists its files.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Data`] where the archive is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        let file = File::open(path).map_err(|e| Error::read(path, e))?;
        let name = path.to_string_lossy().to_lowercase();
        if name.ends_with(".zip") {
            Self::open_zip(path, file)
        } else if name.ends_with(".tar") {
            Self::open_tar(path, file)
        } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
            let mut plain = tempfile::tempfile().map_err(|e| Error::write(std::env::temp_dir(), e))?;
            let mut unpacked = flate2::read::GzDecoder::new(file);
            std::io::copy(&mut unpacked, &mut plain)
                .map_err(|e| Error::data(path, format!("not a gzip archive: {e}")))?;
            plain.flush().map_err(|e| Error::write(path, e))?;
            Self::open_tar(path, plain)
        } else {
            Err(Error::data(path, "neither a folder nor a .zip, .tar, .tar.gz or .tgz archive"))
        }
    }

    /// Whether the name looks like an archive that [`Source::open`] reads.
    pub fn is_archive(path: &Path) -> bool {
        let name = path.to_string_lossy().to_lowercase();
        [".zip", ".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
    }

    fn open_folder(path: &Path) -> Result<Self> {
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(path).follow_links(true) {
            let entry = entry.map_err(|e| {
                let at = e.path().unwrap_or(path).to_path_buf();
                Error::read(at, e.into())
            })?;
            if entry.file_type().is_file() {
                let relative = entry.path().strip_prefix(path).unwrap_or(entry.path());
                let parts: Vec<_> = relative.iter().map(|p| p.to_string_lossy()).collect();
                names.push(parts.join("/"));
            }
        }
        names.sort();
        Ok(Self { path: path.into(), store: Store::Folder, names })
    }

    fn open_zip(path: &Path, file: File) -> Result<Self> {
        let archive = zip::ZipArchive::new(file).map_err(|e| Error::data(path, format!("not a zip archive: {e}")))?;
        let damaged = |e: zip::result::ZipError| Error::data(path, format!("not a zip archive: {e}"));
        let mut names = Vec::new();
        for name in archive.file_names() {
            let name = name.map_err(damaged)?;
            if !name.ends_with('/') {
                names.push(name.into_owned());
            }
        }
        names.sort();
        Ok(Self { path: path.into(), store: Store::Zip(Mutex::new(archive)), names })
    }

    fn open_tar(path: &Path, mut file: File) -> Result<Self> {
        let damaged = |e: std::io::Error| Error::data(path, format!("not a tar archive: {e}"));
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::read(path, e))?;
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(&mut file);
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            if entry.header().entry_type().is_file() {
                let name = entry.path().map_err(damaged)?.to_string_lossy().replace('\\', "/");
                let name = name.trim_start_matches("./").to_owned();
                members.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        let mut names: Vec<_> = members.keys().cloned().collect();
        names.sort();
        Ok(Self { path: path.into(), store: Store::Tar { file: Mutex::new(file), members }, names })
    }

    /// The folder or archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files, sorted by name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a file of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.names.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Data`] naming it.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let here = || self.path.join(name);
        match &self.store {
            Store::Folder => std::fs::read(here()).map_err(|e| Error::read(here(), e)),
            Store::Zip(archive) => {
                let mut archive = archive.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let mut member = archive.by_name(name).map_err(|e| Error::data(here(), e.to_string()))?;
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).map_err(|e| Error::read(here(), e))?;
                Ok(bytes)
            }
            Store::Memory(files) => files.get(name).cloned().ok_or_else(|| Error::data(here(), "not in the file")),
            Store::Tar { file, members } => {
                let &(offset, length) = members.get(name).ok_or_else(|| Error::data(here(), "not in the archive"))?;
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset)).map_err(|e| Error::read(here(), e))?;
                let mut bytes = Vec::new();
                let got = (&mut *file).take(length).read_to_end(&mut bytes).map_err(|e| Error::read(here(), e))?;
                if got as u64 != length {
                    return Err(Error::data(here(), format!("the archive ends after {got} of {length} bytes")));
                }
                Ok(bytes)
            }
        }
    }

    /// A text file as UTF-8, without a byte-order mark.
    ///
    /// # Errors
    /// As [`Source::read`], and [`Error::Data`] where it is not UTF-8.
    pub fn read_text(&self, name: &str) -> Result<String> {
        let bytes = self.read(name)?;
        let text =
            String::from_utf8(bytes).map_err(|e| Error::data(self.path.join(name), format!("not UTF-8: {e}")))?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// The folder (with a trailing `/`, or empty) that holds `marker`, at the top or in the one sub-folder that has it.
    pub fn folder_of(&self, marker: &str) -> Option<String> {
        if self.contains(marker) {
            return Some(String::new());
        }
        let ending = format!("/{marker}");
        let mut holders = self.names.iter().filter(|n| n.ends_with(&ending)).map(|n| &n[..n.len() - marker.len()]);
        let first = holders.next()?;
        holders.all(|other| other == first).then(|| first.to_owned())
    }
}
