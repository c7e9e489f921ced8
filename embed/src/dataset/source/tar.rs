//! A tar: its members' places in the file, and gzip around it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tar::EntryType;

use super::links::{Link, follow};
use super::{Limits, Opened, Store, names, read_all};
use crate::console::{Pace, Speech, note};
use crate::error::{Error, Result};

/// Bytes of a tar's blocks.
const BLOCK: usize = 512;

/// Where a member's bytes begin, and how many they are.
pub(super) type Place = (u64, u64);

/// The tar inside a gzip file of one member or several, in a temporary file.
pub(super) fn unpack(path: &Path, file: File, limits: &Limits) -> Result<File> {
    let packed = file.metadata().map_err(|e| Error::read(path, e))?.len();
    let most = limits.unpacked(packed);
    let mut plain = tempfile::tempfile().map_err(|e| Error::write(std::env::temp_dir(), e))?;
    let mut unpacked = flate2::read::MultiGzDecoder::new(std::io::BufReader::new(file)).take(most.saturating_add(1));
    let mut block = vec![0; 1 << 16];
    let mut total = 0_u64;
    let (is_told, pace) = (Speech::now().progress, Pace::default());
    loop {
        let got = match unpacked.read(&mut block) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if total > 0 => {
                return Err(Error::data(
                    path,
                    format!(
                        "the gzip archive is cut off, or followed by something else, after {total} unpacked bytes: {e}"
                    ),
                ));
            }
            Err(e) => return Err(Error::data(path, format!("not a gzip archive: {e}"))),
        };
        total += got as u64;
        if total > most {
            return Err(Limits::too_large(path, packed, most));
        }
        plain.write_all(&block[..got]).map_err(|e| Error::write(std::env::temp_dir(), e))?;
        if is_told && pace.is_due() {
            note(&format!("unpacking {}: {} MiB so far, at most {}", path.display(), total >> 20, most >> 20));
        }
    }
    plain.flush().map_err(|e| Error::write(std::env::temp_dir(), e))?;
    Ok(plain)
}

pub(super) fn open(path: &Path, mut file: File, limits: &Limits) -> Result<Opened> {
    let wrong = |problem: String| Error::data(path, problem);
    let damaged = |e: std::io::Error| wrong(format!("not a tar archive: {e}"));
    let end = file.seek(SeekFrom::End(0)).map_err(|e| Error::read(path, e))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| Error::read(path, e))?;
    let mut members: HashMap<String, Place> = HashMap::new();
    let mut links = Vec::new();
    let (mut others, mut foreign) = (Vec::new(), Vec::new());
    let mut archive = tar::Archive::new(&mut file);
    // Archives put one behind the other are read to the last; other readers end with the first and say nothing.
    archive.set_ignore_zeros(true);
    for (count, entry) in archive.entries_with_seek().map_err(damaged)?.enumerate() {
        limits.check_members(path, count + 1)?;
        let entry = entry.map_err(damaged)?;
        let Ok(written) = String::from_utf8(entry.path_bytes().into_owned()) else {
            // In other words it would be one with others.
            foreign.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
            continue;
        };
        let name = names::member(&written)
            .ok_or_else(|| wrong(format!("member {written} lies outside of the archive; wanted no '..'")))?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous if !written.ends_with('/') => {
                let (at, length) = (entry.raw_file_position(), entry.size());
                if at.checked_add(length).is_none_or(|last| last > end) {
                    return Err(wrong(format!(
                        "the archive is cut off: {name} is said to have {length} bytes from byte {at} on, the archive has {end}"
                    )));
                }
                if members.insert(name.clone(), (at, length)).is_some() {
                    return Err(wrong(format!("holds {name} twice; wanted each member once")));
                }
            }
            kind @ (EntryType::Link | EntryType::Symlink) => {
                let to = entry.link_name().map_err(damaged)?;
                let to = to.ok_or_else(|| wrong(format!("{name} is a link, but to what is not said")))?;
                let to = to.to_string_lossy().into_owned();
                // A hard link names its member from the root, a symbolic one from its own folder.
                let target = if kind == EntryType::Link { names::member(&to) } else { names::target(&name, &to) };
                links.push(Link { name, target, written: to });
            }
            EntryType::GNUSparse => {
                return Err(wrong(format!("{name} is a sparse file; wanted plain ones: pack it without --sparse")));
            }
            kind @ (EntryType::Char | EntryType::Block | EntryType::Fifo) => others.push(format!("{name} ({kind:?})")),
            _ => {}
        }
    }
    let mut notes = Vec::new();
    if !foreign.is_empty() {
        notes.push(format!(
            "passed over {} whose names are not UTF-8 (unpacked, convmv makes them so): {}",
            names::files(foreign.len()),
            names::several(foreign)
        ));
    }
    if !ends(&mut file, end).map_err(|e| Error::read(path, e))? {
        notes.push(format!(
            "{} ends without the blocks of zeros that end a tar archive: is it cut off? {} files were found in it",
            path.display(),
            members.len()
        ));
    }
    if !others.is_empty() {
        notes.push(format!("passed over {} devices and pipes: {}", others.len(), names::several(others)));
    }
    let (lost, note) = follow(path, &mut members, links)?;
    notes.extend(note);
    let names = members.keys().cloned().collect();
    Ok(Opened { store: Store::Tar(Mutex::new(file), members), names, notes, lost })
}

/// Whether the last block of a tar of this length is one of zeros.
fn ends(file: &mut File, length: u64) -> std::io::Result<bool> {
    let mut block = [0; BLOCK];
    if length < BLOCK as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(length - BLOCK as u64))?;
    file.read_exact(&mut block)?;
    Ok(block == [0; BLOCK])
}

pub(super) fn read(here: &Path, file: &Mutex<File>, (offset, length): Place) -> Result<Vec<u8>> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset)).map_err(|e| Error::read(here, e))?;
    read_all(here, (&mut *file).take(length), length)
}
