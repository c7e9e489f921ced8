//! Which kind of archive a file is: by its name, held against how it begins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};

/// Archives that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zip,
    Tar,
    TarGz,
}

/// How files begin, at which byte, what they are, and whether that is a kind that is read.
const BEGINNINGS: [(usize, &[u8], &str, Option<Kind>); 8] = [
    (0, b"PK\x03\x04", "a zip archive", Some(Kind::Zip)),
    (0, b"\x1f\x8b", "a gzip file", Some(Kind::TarGz)),
    (257, b"ustar", "a tar archive", Some(Kind::Tar)),
    (0, b"BZh", "a bzip2 file", None),
    (0, b"\xfd7zXZ\0", "an xz file", None),
    (0, b"\x28\xb5\x2f\xfd", "a zstandard file", None),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", None),
    (0, b"Rar!", "a rar archive", None),
];

impl Kind {
    /// What the name says.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.to_string_lossy().to_lowercase();
        let ends = |ending: &str| name.ends_with(ending);
        if ends(".zip") {
            Some(Self::Zip)
        } else if ends(".tar") {
            Some(Self::Tar)
        } else {
            (ends(".tar.gz") || ends(".tgz")).then_some(Self::TarGz)
        }
    }

    fn endings(self) -> &'static str {
        match self {
            Self::Zip => ".zip",
            Self::Tar => ".tar",
            Self::TarGz => ".tar.gz or .tgz",
        }
    }

    /// Refuses a file that begins like one of another kind.
    ///
    /// # Errors
    /// [`Error::Data`] naming both kinds; [`Error::File`].
    pub(super) fn check(self, path: &Path, mut file: &File) -> Result<()> {
        let mut first = Vec::new();
        file.take(300).read_to_end(&mut first).map_err(|e| Error::read(path, e))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::read(path, e))?;
        let begins = |&&(at, bytes, ..): &&(usize, &[u8], &str, Option<Self>)| {
            first.get(at..at + bytes.len()).is_some_and(|there| there == bytes)
        };
        match BEGINNINGS.iter().find(begins) {
            Some(&(_, _, what, kind)) if kind != Some(self) => {
                let cure = match kind {
                    Some(kind) => format!("call it {}", kind.endings()),
                    None => "wanted a zip or tar archive: pack it anew".into(),
                };
                Err(Error::data(path, format!("is called {} and begins like {what}; {cure}", self.endings())))
            }
            _ => Ok(()),
        }
    }
}
