//! Files written whole or not at all, and places to write that are tried before the work.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// The folder that a file lies in, or is to.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The ending of a file's name in lower case, without its point; empty where it has none.
pub fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Refuses, before any work is done, a file whose folder is not there.
///
/// # Errors
/// [`Error::Usage`] naming flag, file and folder.
pub fn folder_exists(flag: &str, path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::Usage(format!("{flag} {}: there is no folder {}", path.display(), folder.display())));
    }
    Ok(())
}

/// Writes a file beside `path` and renames it, so that `path` is either the whole file or what it was.
///
/// # Errors
/// [`Error::File`] naming `path`; the file beside it is removed.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let failed = |e: std::io::Error| Error::write(path, e);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: readable by all that the user's mask lets.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut beside = builder.prefix(".pdloss-").tempfile_in(folder_of(path)).map_err(failed)?;
    write(beside.as_file_mut()).map_err(failed)?;
    beside.as_file().sync_all().map_err(failed)?;
    beside.persist(path).map(|_| ()).map_err(|e| failed(e.error))
}
