//! Files written whole or not at all, and places to write that are tried before the work.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::ranks::{agree, world};

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
fn folder_exists(flag: &str, path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::Usage(format!(
            "{flag} {}: there is no folder {}; make it first",
            path.display(),
            folder.display()
        )));
    }
    Ok(())
}

/// Opens a file to read it. Only plain files (also behind links) are opened, the pipes that a shell makes for `<(...)`, and
/// standard input by its name: a device or a pipe that nobody writes into would be read for ever.
///
/// # Errors
/// [`Error::File`] naming it.
pub fn open_file(path: &Path) -> Result<File> {
    let failed = |e| Error::read(path, e);
    let is_given = path == Path::new("/dev/stdin");
    let is_substitution = is_given || ["/dev/fd/", "/proc/self/fd/"].iter().any(|folder| path.starts_with(folder));
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() && !is_substitution {
        let what = if about.is_dir() { "is a folder" } else { "is no plain file, but a device, pipe or socket" };
        return Err(failed(std::io::Error::other(format!("{what}; wanted a file"))));
    }
    File::open(path).map_err(failed)
}

/// All bytes of a file that [`open_file`] opens.
///
/// # Errors
/// [`Error::File`] naming it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    Ok(bytes)
}

/// Tries, before any work is done, whether [`write_atomically`] can write this file. Nothing is left behind.
///
/// # Errors
/// [`Error::Usage`] naming flag and file: it is a folder or a device, its folder is not there or is a file, or nothing may be
/// written into it.
pub fn can_write(flag: &str, path: &Path) -> Result<()> {
    let wrong = |problem: String| Err(Error::Usage(format!("{flag} {}: {problem}", path.display())));
    if path.file_name().is_none() || path.is_dir() {
        return wrong("is a folder, wanted a file".into());
    }
    if path.exists() && !path.is_file() {
        return wrong("is neither a file nor a new name".into());
    }
    let folder = folder_of(path);
    match existing(folder) {
        Some(there) if !there.is_dir() => wrong(format!("{} is a file, not a folder", there.display())),
        Some(there) if there == folder => is_open(flag, path, folder),
        _ => folder_exists(flag, path),
    }
}

/// Tries, before any work is done, whether files can be written into this folder, which may still have to be made with the
/// folders above it. Nothing is left behind.
///
/// # Errors
/// [`Error::Usage`] naming flag and folder.
pub fn can_fill(flag: &str, folder: &Path) -> Result<()> {
    match existing(folder) {
        Some(there) if !there.is_dir() => {
            let text = if there == folder {
                "is a file, wanted a folder".to_owned()
            } else {
                format!("{} is a file, not a folder", there.display())
            };
            Err(Error::Usage(format!("{flag} {}: {text}", folder.display())))
        }
        Some(there) => is_open(flag, folder, there),
        None => is_open(flag, folder, Path::new(".")),
    }
}

/// Refuses outputs of one command that would be written over each other, however their paths are spelled. An output that
/// lies in a folder that another one makes as a whole is refused, too. Flag and path of each.
///
/// # Errors
/// [`Error::Usage`] naming both flags.
pub fn distinct(outputs: &[(&str, &Path)]) -> Result<()> {
    let resolved: Vec<PathBuf> = outputs.iter().map(|(_, path)| resolve(path)).collect();
    for (at, (flag, path)) in outputs.iter().enumerate() {
        for (before, (other_flag, other)) in outputs[..at].iter().enumerate() {
            let (a, b) = (&resolved[at], &resolved[before]);
            let within = |inner: &Path, outer: &Path| inner.starts_with(outer) && !outer.is_dir();
            if a == b || within(a, b) || within(b, a) {
                let what = if a == b { "are the same place" } else { "lie within each other" };
                return Err(Error::Usage(format!(
                    "{other_flag} {} and {flag} {} {what}; give each a place of its own",
                    other.display(),
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// Refuses an output that would be written over a file that the command reads, however their paths are spelled. Flag and path
/// of each.
///
/// # Errors
/// [`Error::Usage`] naming both flags.
pub fn spares(inputs: &[(&str, &Path)], outputs: &[(&str, &Path)]) -> Result<()> {
    let inputs: Vec<_> = inputs.iter().map(|&(flag, path)| (flag, path, resolve(path))).collect();
    for (flag, path) in outputs {
        let place = resolve(path);
        if let Some((other_flag, other, _)) = inputs.iter().find(|(.., input)| *input == place) {
            return Err(Error::Usage(format!(
                "{flag} {} would be written over {other_flag} {}; give it a place of its own",
                path.display(),
                other.display()
            )));
        }
    }
    Ok(())
}

/// The path itself, or the nearest folder (or file) above it that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().filter(|above| !above.as_os_str().is_empty()).find(|above| above.symlink_metadata().is_ok())
}

/// Whether a file can be made in a folder, by making one for a moment.
fn is_open(flag: &str, path: &Path, folder: &Path) -> Result<()> {
    match tempfile::Builder::new().prefix(".pdloss-").tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::Usage(format!(
            "{flag} {}: cannot write into the folder {}: {}",
            path.display(),
            folder.display(),
            reason(&e)
        ))),
    }
}

/// What the system said, without the path of a temporary file that nobody asked for.
fn reason(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<std::io::Error>());
    let system = [Some(error), inner].into_iter().flatten().find_map(std::io::Error::raw_os_error);
    system.map_or_else(|| error.kind().to_string(), |code| std::io::Error::from_raw_os_error(code).to_string())
}

/// The one spelling of a path: links followed as far as it is there, `.` and `..` taken out of the rest.
fn resolve(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let there = whole.ancestors().find_map(|above| above.canonicalize().ok().map(|real| (above, real)));
    let Some((above, mut real)) = there else { return whole };
    for part in whole.strip_prefix(above).unwrap_or(Path::new("")).components() {
        match part {
            Component::Normal(name) => real.push(name),
            Component::ParentDir => {
                real.pop();
            }
            _ => {}
        }
    }
    real
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

/// Takes a block of bytes.
pub type Take<'t> = dyn FnMut(&[u8]) -> std::io::Result<()> + 't;

/// [`write_atomically`] by the first rank, of what all ranks bring: `head` begins the file, and `bring`, which every rank calls, gives the
/// rest block by block on the first one, as [`stream`](crate::ranks::stream) does. Alone it is a way to write what is not all in memory.
///
/// # Errors
/// [`Error::File`] naming `path`, [`Error::Ranks`] on every one of several ranks; the file beside it is removed.
pub fn write_over_ranks(
    path: &Path,
    head: impl FnOnce(&mut File) -> std::io::Result<()>,
    mut bring: impl FnMut(&mut Take<'_>) -> std::io::Result<()>,
) -> Result<()> {
    let (is_first, mut is_brought) = (world().is_first(), false);
    let written = if is_first {
        write_atomically(path, |file| {
            is_brought = true;
            let mut begun = head(file);
            // Where it cannot be written, the other ranks still bring theirs.
            let brought = bring(&mut |block| {
                std::mem::replace(&mut begun, Ok(()))?;
                file.write_all(block)
            });
            begun.and(brought)
        })
    } else {
        Ok(())
    };
    if !is_brought {
        // Nothing is taken, so nothing fails.
        let _ = bring(&mut |_| Ok(()));
    }
    agree(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<()>) -> String {
        match result {
            Err(error @ Error::Usage(_)) => error.to_string(),
            other => panic!("wanted a usage error, got {other:?}"),
        }
    }

    #[test]
    fn places_to_write_are_tried() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "kept").unwrap();
        can_write("--out", &at("new.csv")).unwrap();
        can_write("--out", &at("file")).unwrap();
        can_fill("--plot", &at("a/b/c")).unwrap();
        can_fill("--plot", folder.path()).unwrap();
        assert!(message(can_write("--out", folder.path())).contains("is a folder"));
        assert!(message(can_write("--out", &at("none/r.csv"))).contains("there is no folder"));
        assert!(message(can_write("--out", &at("file/r.csv"))).contains("file is a file, not a folder"));
        assert!(message(can_write("--out", &at("file/deep/r.csv"))).contains("file is a file, not a folder"));
        assert!(message(can_fill("--plot", &at("file"))).contains("wanted a folder"));
        assert!(message(can_fill("--plot", &at("file/deep"))).contains("is a file, not a folder"));
        assert!(message(can_write("--out", &at(".."))).contains("is a folder"));
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn only_plain_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        open_file(&folder.path().join("file")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("link.csv")).unwrap();
        for path in [folder.path().join("link.csv"), "/dev/null".into()] {
            assert!(open_file(&path).unwrap_err().to_string().contains("is no plain file"), "{path:?}");
        }
        assert!(open_file(folder.path()).unwrap_err().to_string().contains("is a folder"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_takes_no_file_is_named() {
        // not even root may make files there
        let text = message(can_write("--out", Path::new("/proc/self/r.csv")));
        assert!(text.contains("--out /proc/self/r.csv: cannot write into the folder /proc/self: "), "{text}");
        assert!(!text.contains(".pdloss-"), "{text}");
    }

    #[test]
    fn outputs_have_a_place_each() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        let distinct = |a: &str, b: &str| distinct(&[("--out", &at(a)), ("--points", &at(b))]);
        distinct("a.csv", "b.csv").unwrap();
        distinct("sub", "sub/a.csv").unwrap();
        for (a, b) in [("a.csv", "a.csv"), ("a.csv", "sub/../a.csv"), ("./a.csv", "a.csv"), ("new/x/..", "new")] {
            let text = message(distinct(a, b));
            assert!(text.contains("--out") && text.contains("--points") && text.contains("same place"), "{text}");
        }
        assert!(message(distinct("new", "new/a.csv")).contains("within each other"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("sub"), at("link")).unwrap();
            assert!(message(distinct("sub/a.csv", "link/a.csv")).contains("same place"));
        }
    }
}
