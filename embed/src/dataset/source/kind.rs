//! Which kind of archive a file is: by its name, held against how it begins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::beginnings::Beginning;
use crate::error::{Error, Result};

/// Archives that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zip,
    Tar,
    TarGz,
}

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
        let Some(beginning) = Beginning::of(&first) else { return Ok(()) };
        let kind = match beginning {
            Beginning::Zip => Some(Self::Zip),
            Beginning::Gzip => Some(Self::TarGz),
            Beginning::Tar => Some(Self::Tar),
            _ => None,
        };
        if kind == Some(self) {
            return Ok(());
        }
        let cure = match kind {
            Some(kind) => format!("call it {}", kind.endings()),
            None => "wanted a zip or tar archive: pack it anew".into(),
        };
        let what = beginning.what();
        Err(Error::data(path, format!("is called {} and begins like {what}; {cure}", self.endings())))
    }
}
