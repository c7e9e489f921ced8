//! A folder: walked once, links followed.

use std::fs::File;
use std::path::Path;

use super::names::{is_hidden, several};
use super::read_all;
use crate::dataset::is_image;
use crate::error::{Error, Result};

/// The names of all regular files, and a sentence on what could not be listed. A link that leads nowhere is such, unless it
/// is called like an image: then it is listed, and reading it is an error that names it.
///
/// # Errors
/// [`Error::File`] where the folder itself cannot be read.
pub(super) fn walk(path: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut unreadable) = (Vec::new(), Vec::new());
    let relative = |at: &Path| {
        let parts: Vec<_> =
            at.strip_prefix(path).unwrap_or(at).iter().map(|p| p.to_string_lossy().into_owned()).collect();
        parts.join("/")
    };
    for entry in walkdir::WalkDir::new(path).follow_links(true) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => names.push(relative(entry.path())),
            Ok(_) => {}
            Err(e) if e.depth() == 0 => return Err(Error::read(path, e.into())),
            Err(e) => {
                let name = relative(e.path().unwrap_or(path));
                if is_hidden(&name) {
                    continue;
                }
                if is_image(&name) && e.path().is_some_and(Path::is_symlink) {
                    names.push(name);
                } else {
                    unreadable.push(format!("{name} ({})", reason(&e)));
                }
            }
        }
    }
    let note = (!unreadable.is_empty())
        .then(|| format!("passed over {} that cannot be read: {}", entries(unreadable.len()), several(unreadable)));
    Ok((names, note.into_iter().collect()))
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".into() } else { format!("{count} entries") }
}

fn reason(e: &walkdir::Error) -> String {
    match (e.path().map(std::fs::read_link), e.loop_ancestor(), e.io_error()) {
        (_, Some(ancestor), _) => format!("a link to {}, which holds it", ancestor.display()),
        (Some(Ok(target)), _, Some(_)) => format!("a link to {}, which is not there", target.display()),
        (_, _, Some(io)) => io.to_string(),
        _ => "unreadable".into(),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let about = std::fs::metadata(path).map_err(|e| Error::read(path, e))?;
    if !about.is_file() {
        return Err(Error::data(path, "is no regular file"));
    }
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    read_all(path, file, about.len())
}
