//! A zip: its directory read once, its members taken out one at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use zip::ZipArchive;

use super::links::{Link, follow};
use super::{Limits, Opened, Store, names, read_all};
use crate::error::{Error, Result};

/// The longest path that a symbolic link may lead to.
const LONGEST_TARGET: u64 = 4096;

pub(super) fn open(path: &Path, file: File, limits: &Limits) -> Result<Opened> {
    let wrong = |problem: String| Error::data(path, problem);
    let damaged = |e: zip::result::ZipError| wrong(format!("not a zip archive: {e}"));
    let packed = file.metadata().map_err(|e| Error::read(path, e))?.len();
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    limits.check_members(path, archive.len())?;
    if archive.offset() > 0 && starts_like_zip(path)? {
        return Err(wrong(format!(
            "its first {} bytes are another zip archive, which would be left out; wanted one archive",
            archive.offset()
        )));
    }
    if archive.has_duplicate_names() {
        return Err(wrong("holds two members of one name; wanted each once".into()));
    }
    let most = limits.unpacked(packed);
    let (mut members, mut links, mut total) = (HashMap::new(), Vec::new(), 0_u64);
    for at in 0..archive.len() {
        let entry = archive.by_index_data(at).map_err(damaged)?;
        let written = entry.name().map_err(damaged)?.into_owned();
        if written.ends_with(['/', '\\']) {
            continue;
        }
        total = total.saturating_add(entry.size());
        if total > most {
            return Err(Limits::too_large(path, packed, most));
        }
        let is_link = entry.is_symlink();
        let name = names::member(&written)
            .ok_or_else(|| wrong(format!("member {written} lies outside of the archive; wanted no '..'")))?;
        if is_link {
            let mut to = String::new();
            let member = archive.by_index(at).map_err(damaged)?;
            member.take(LONGEST_TARGET).read_to_string(&mut to).map_err(|e| Error::read(path.join(&name), e))?;
            links.push(Link { target: names::target(&name, &to), name, written: to });
        } else if members.insert(name.clone(), at).is_some() {
            return Err(wrong(format!("holds {name} twice; wanted each member once")));
        }
    }
    let (lost, note) = follow(path, &mut members, links)?;
    let names = members.keys().cloned().collect();
    let store = Store::Zip(Mutex::new(archive), members);
    Ok(Opened { store, names, notes: note.into_iter().collect(), lost })
}

/// Whether a member's header is what the file begins with; a program that unpacks itself begins otherwise.
fn starts_like_zip(path: &Path) -> Result<bool> {
    let mut first = [0; 4];
    let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
    file.read_exact(&mut first).map_err(|e| Error::read(path, e))?;
    Ok(first == *b"PK\x03\x04")
}

pub(super) fn size(archive: &Mutex<ZipArchive<File>>, at: usize) -> Option<u64> {
    let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
    archive.by_index_raw(at).ok().map(|member| member.size())
}

pub(super) fn read(here: &Path, archive: &Mutex<ZipArchive<File>>, at: usize) -> Result<Vec<u8>> {
    let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
    let member = archive.by_index(at).map_err(|e| Error::data(here, e.to_string()))?;
    let length = member.size();
    read_all(here, member, length)
}
