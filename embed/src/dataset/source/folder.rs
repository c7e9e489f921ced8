//! A folder: walked once, links followed.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::names::{is_hidden, several};
use super::read_all;
use crate::dataset::is_image;
use crate::error::{Error, Result};

/// The names of all regular files, and sentences on what could not be listed and on folders without a file. A link that leads nowhere is such, unless it
/// is called like an image: then it is listed, and reading it is an error that names it.
///
/// # Errors
/// [`Error::File`] where the folder itself cannot be read.
pub(super) fn walk(path: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut unreadable, mut folders) = (Vec::new(), Vec::new(), BTreeSet::new());
    let relative = |at: &Path| {
        let parts: Vec<_> =
            at.strip_prefix(path).unwrap_or(at).iter().map(|p| p.to_string_lossy().into_owned()).collect();
        parts.join("/")
    };
    for entry in walkdir::WalkDir::new(path).follow_links(true) {
        match entry {
            // By its name in other words it would not be found again, or be another file.
            Ok(entry) if entry.file_type().is_file() && entry.path().to_str().is_none() => {
                unreadable.push(format!("{} (its name is not UTF-8; convmv makes it so)", relative(entry.path())));
            }
            Ok(entry) if entry.file_type().is_file() => names.push(relative(entry.path())),
            Ok(entry) if entry.depth() > 0 && entry.file_type().is_dir() => {
                folders.insert(relative(entry.path()));
            }
            Ok(entry) => {
                if entry.depth() > 0 && !is_hidden(&relative(entry.path())) {
                    unreadable.push(format!("{} (no regular file)", relative(entry.path())));
                }
            }
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
    let notes = note.into_iter().chain(empty(folders, &names)).collect();
    Ok((names, notes))
}

/// A sentence on folders in which there is no file: classes that were never filled.
fn empty(mut folders: BTreeSet<String>, names: &[String]) -> Option<String> {
    for name in names {
        let mut below = name.as_str();
        while let Some((holder, _)) = below.rsplit_once('/') {
            if !folders.remove(holder) {
                break;
            }
            below = holder;
        }
    }
    folders.retain(|name| !is_hidden(name));
    let of_another = |name: &String| name.rsplit_once('/').is_some_and(|(holder, _)| folders.contains(holder));
    let outermost: Vec<String> =
        folders.iter().filter(|name| !of_another(name)).map(|name| format!("{name}/")).collect();
    (!outermost.is_empty()).then(|| {
        let hold = if outermost.len() == 1 { "folder holds" } else { "folders hold" };
        format!("{} {hold} no file: {}", outermost.len(), several(outermost.clone()))
    })
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
