//! Lists whose paths lead out of the folder that they start at, by `..` or because they are absolute.

use std::path::{Component, Path, PathBuf};

use super::source::names::tidy;
use super::{Listed, Request, Source};
use crate::error::{Error, Result};

/// Whether a path leads out of a folder, of which these are the absolute spellings.
fn leads_out(image: &Listed, roots: &[PathBuf]) -> bool {
    let name = tidy(&image.name);
    let path = Path::new(&name);
    if path.is_absolute() {
        return name.split('/').any(|part| part == "..") || !roots.iter().any(|root| path.starts_with(root));
    }
    // What our own readers put before a name finds images beside the list's folder.
    let mut depth = 0_usize;
    !image.is_placed
        && name.split('/').any(|part| match (part, depth) {
            ("..", 0) => true,
            ("..", _) => {
                depth -= 1;
                false
            }
            _ => {
                depth += 1;
                false
            }
        })
}

/// The absolute spellings of a folder.
fn spellings(folder: &Path) -> Vec<PathBuf> {
    [std::path::absolute(folder), folder.canonicalize()].into_iter().filter_map(std::io::Result::ok).collect()
}

/// Refuses a list whose paths lead away from `--root`: other images than its would be measured.
///
/// # Errors
/// [`Error::Data`] naming the first of them.
pub(super) fn stay_below(kept: &[Listed], root: &Path, request: &Request) -> Result<()> {
    let roots = spellings(root);
    let mut away = kept.iter().filter(|image| leads_out(image, &roots));
    let Some(first) = away.next() else { return Ok(()) };
    let line = first.line.map_or(String::new(), |line| format!("line {line}: "));
    let how = if Path::new(&first.name).is_absolute() { "is an absolute path" } else { "leads out of it" };
    Err(Error::data(
        &request.path,
        format!(
            "{line}--root {} is where its paths start, and {} {how} ({} of {} do not stay below it); wanted paths below it, or no --root",
            root.display(),
            first.name,
            away.count() + 1,
            kept.len()
        ),
    ))
}

/// Where the images of a list are that has no `--root`: where all its paths lead out of its folder, the folder that they share, from which
/// relative ones are then told. What is said of it.
pub(super) fn follow(source: Source, images: &mut [Listed], notes: &mut Vec<String>) -> Source {
    let roots = spellings(source.path());
    let mut away = images.iter().filter(|image| leads_out(image, &roots));
    let Some(first) = away.next() else { return source };
    let (count, total, here) = (1 + away.count(), images.len(), source.path().display().to_string());
    let shared = if count == total { shared_folder(images) } else { None };
    let Some(shared) = shared else {
        let line = first.line.map_or(String::new(), |line| format!(" (line {line})"));
        let name = &first.name;
        notes.push(format!(
            "{count} of {total} images lie out of {here}, where their paths lead; the first is {name}{line}"
        ));
        return source;
    };
    for image in images.iter_mut().filter(|_| shared.is_relative()) {
        let name = PathBuf::from(tidy(&image.name));
        image.name = name.strip_prefix(&shared).unwrap_or(&name).to_string_lossy().into_owned();
    }
    let folder = if source.path() == Path::new(".") { shared } else { source.path().join(shared) };
    notes.push(format!("its images are not in {here}, but where their paths lead, in {}", folder.display()));
    Source::folder(&folder)
}

/// The folder that all images lie in, by their names; `None` where some lead further up than others, or are absolute and others not.
fn shared_folder(images: &[Listed]) -> Option<PathBuf> {
    let folder = |image: &Listed| Path::new(&tidy(&image.name)).parent().map(Path::to_path_buf);
    let mut folders = images.iter().map(folder);
    let mut shared = folders.next()??;
    for other in folders {
        let other = other?;
        let alike = shared.components().zip(other.components()).take_while(|(one, other)| one == other);
        let alike: PathBuf = alike.map(|(one, _)| one).collect();
        let goes_up = |path: &Path| path.strip_prefix(&alike).is_ok_and(|rest| rest.starts_with(".."));
        if alike.as_os_str().is_empty() || goes_up(&shared) || goes_up(&other) {
            return None;
        }
        shared = alike;
    }
    let leads_out = matches!(shared.components().next(), Some(Component::RootDir | Component::ParentDir));
    leads_out.then_some(shared)
}
