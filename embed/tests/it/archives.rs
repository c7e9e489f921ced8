//! Archives: links followed or refused, damage and excess named.

use std::io::Write;
use std::path::{Path, PathBuf};

use pdloss_embed::dataset::{Dataset, Limits, Request};
use tar::{Builder, EntryType, Header};

use crate::tools::{png, put};

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header
}

fn file(tar: &mut Builder<Vec<u8>>, name: &str, color: u8) {
    let bytes = png([color, 1, 1]);
    tar.append_data(&mut header(EntryType::Regular, bytes.len()), name, bytes.as_slice()).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, target: &str) {
    tar.append_link(&mut header(kind, 0), name, target).unwrap();
}

fn tar_of(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    fill(&mut tar);
    tar.into_inner().unwrap()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        put(&path, bytes);
        path
    }
}

fn names(path: &Path) -> Vec<String> {
    Dataset::load(&Request::of(path)).unwrap().items.into_iter().map(|item| item.name).collect()
}

fn refused(path: &Path) -> String {
    Dataset::load(&Request::of(path)).unwrap_err().to_string()
}

#[cfg(unix)]
#[test]
fn names_in_a_tar_that_are_not_utf8_are_passed_over_and_said() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let path = place.put(
        "latin1.tar",
        tar_of(|tar| {
            file(tar, "a/1.png", 1);
            file(tar, "b/1.png", 2);
            // Both are one name where what is no UTF-8 is left out.
            for (at, name) in [&b"p\xe9che/1.png"[..], b"p\xeache/1.png"].into_iter().enumerate() {
                let bytes = png([3, at as u8, 1]);
                let name = Path::new(std::ffi::OsStr::from_bytes(name));
                tar.append_data(&mut header(EntryType::Regular, bytes.len()), name, bytes.as_slice()).unwrap();
            }
        }),
    );
    let data = Dataset::load(&Request::of(&path)).unwrap();
    assert_eq!(data.classes, ["a", "b"]);
    let notes = data.notes.join("; ");
    assert!(notes.contains("passed over 2 files whose names are not UTF-8"), "{notes}");
}

#[test]
fn links_in_a_tar_are_the_files_they_lead_to() {
    let place = Place::new();
    let path = place.put(
        "links.tar",
        tar_of(|tar| {
            file(tar, "a/1.png", 1);
            link(tar, EntryType::Link, "a/2.png", "a/1.png");
            link(tar, EntryType::Symlink, "b/3.png", "../a/2.png");
            link(tar, EntryType::Symlink, "c", "b");
            link(tar, EntryType::Symlink, "README.md", "nowhere.md");
        }),
    );
    let data = Dataset::load(&Request::of(&path)).unwrap();
    assert_eq!(names(&path), ["a/1.png", "a/2.png", "b/3.png", "c/3.png"]);
    assert_eq!(data.source.read("c/3.png").unwrap(), png([1, 1, 1]));
    assert!(data.notes.join("\n").contains("README.md is a link to nowhere.md, which is not in the archive"));
    // One that is called like an image is left to whoever goes on without bad ones, as in a folder; others are passed over.
    let dangling = tar_of(|tar| {
        file(tar, "a/1.png", 1);
        link(tar, EntryType::Symlink, "a/gone.png", "/nowhere/2.png");
        link(tar, EntryType::Symlink, "b", "/nowhere");
        link(tar, EntryType::Symlink, "a/up", "..");
    });
    let request = Request { skip_bad: true, ..Request::of(place.put("dangling.tar", dangling)) };
    let data = Dataset::load(&request).unwrap();
    let names: Vec<&str> = data.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["a/1.png", "a/gone.png"]);
    let error = data.source.read("a/gone.png").unwrap_err().to_string();
    assert!(error.contains("a/gone.png: is a link to /nowhere/2.png, which is not in the archive"), "{error}");
    assert!(data.notes.join("\n").contains("passed over 2 links that lead nowhere: "), "{:?}", data.notes);
    assert!(refused(&request.path).contains("a/gone.png: is a link to /nowhere/2.png"));
    for (target, kind) in
        [("a/9.png", EntryType::Link), ("../../etc/passwd", EntryType::Symlink), ("/x", EntryType::Symlink)]
    {
        let bytes = tar_of(|tar| {
            file(tar, "a/1.png", 1);
            link(tar, kind, "b/2.png", target);
        });
        let message = refused(&place.put("nowhere.tar", bytes));
        assert!(message.contains(&format!("b/2.png: is a link to {target}, which is not in the archive")), "{message}");
    }
    let circle = tar_of(|tar| {
        link(tar, EntryType::Symlink, "a/1.png", "2.png");
        link(tar, EntryType::Symlink, "a/2.png", "1.png");
    });
    assert!(refused(&place.put("circle.tar", circle)).contains("a/1.png: is a link to 2.png"));
}

#[test]
fn gzip_of_several_members_is_read_and_a_cut_one_refused() {
    let place = Place::new();
    let tar = tar_of(|tar| (0..40).for_each(|n| file(tar, &format!("{}/{n}.png", n % 2), n)));
    let packed = |bytes: &[u8]| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    let (first, second) = tar.split_at(tar.len() / 2);
    let path = place.put("two.tar.gz", [packed(first), packed(second)].concat());
    assert_eq!(names(&path).len(), 40);
    let whole = packed(&tar);
    assert!(refused(&place.put("cut.tgz", &whole[..whole.len() / 2])).contains("cut off"));
    assert!(refused(&place.put("cut.tar", &tar[..tar.len() / 2])).contains("cut off"));
    // Cut between two members, where nothing is half there.
    let between = 512 * (20 * (1 + png([1, 1, 1]).len().div_ceil(512)));
    let said = |path: PathBuf| Dataset::load(&Request::of(&path)).unwrap().notes.join("; ");
    for (name, bytes) in [("end.tar", tar[..between].to_vec()), ("end.tgz", packed(&tar[..between]))] {
        let notes = said(place.put(name, bytes));
        assert!(notes.contains("is it cut off? 20 files were found in it") && notes.contains(name), "{notes}");
    }
    assert!(!said(place.put("whole.tar", &tar)).contains("cut off"));
    let limits = Limits { unpacked: Some(4096), ..Limits::default() };
    let message = Dataset::load(&Request { limits, ..Request::of(&path) }).unwrap_err().to_string();
    assert!(message.contains("unpack to more than 4096; wanted fewer (--max-unpacked"), "{message}");
    let limits = Limits { members: 39, ..Limits::default() };
    let message = Dataset::load(&Request { limits, ..Request::of(&path) }).unwrap_err().to_string();
    assert!(message.contains("at most 39 (--max-members"), "{message}");
}

#[test]
fn archives_put_behind_one_another_are_read_or_refused() {
    let place = Place::new();
    let one = tar_of(|tar| file(tar, "a/1.png", 1));
    let two = tar_of(|tar| file(tar, "b/2.png", 2));
    let packed = |bytes: &[u8]| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    let both = ["a/1.png", "b/2.png"];
    assert_eq!(names(&place.put("both.tar", [&one[..], &two].concat())), both);
    assert_eq!(names(&place.put("both.tar.gz", [packed(&one), packed(&two)].concat())), both);
    assert_eq!(names(&place.put("padded.tar", [&one[..], &[0; 5120], &two].concat())), both);
    assert!(refused(&place.put("twice.tar", [&one[..], &one].concat())).contains("holds a/1.png twice"));
    assert!(refused(&place.put("more.tar", [&one[..], &[b'x'; 512]].concat())).contains("not a tar archive"));
    assert!(
        refused(&place.put("more.tgz", [&packed(&one)[..], b"more"].concat())).contains("followed by something else")
    );
    let zip_of = |name: &str| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&png([1, 1, 1])).unwrap();
        zip.finish().unwrap().into_inner()
    };
    let zips = [zip_of("a/1.png"), zip_of("b/2.png")].concat();
    let message = refused(&place.put("both.zip", zips));
    assert!(
        message.contains("bytes are another zip archive, which would be left out; wanted one archive"),
        "{message}"
    );
    let unpacks_itself = [b"#!/bin/sh\n".to_vec(), zip_of("a/1.png")].concat();
    assert_eq!(names(&place.put("program.zip", unpacks_itself)), ["a/1.png"]);
    let linked = tar_of(|tar| {
        file(tar, "a/1.png", 1);
        file(tar, "a/2.png", 2);
        link(tar, EntryType::Symlink, "a/2.png", "1.png");
    });
    assert!(refused(&place.put("linked.tar", linked)).contains("holds a/2.png twice"));
}

#[test]
fn archives_called_by_another_kind_are_named() {
    let place = Place::new();
    let tar = tar_of(|tar| file(tar, "a/1.png", 1));
    for (name, bytes, wanted) in [
        ("a.zip", &tar[..], "is called .zip and begins like a tar archive; call it .tar"),
        ("a.tar", b"PK\x03\x04and so on", "is called .tar and begins like a zip archive; call it .zip"),
        ("b.tar", b"\x1f\x8band so on", "begins like a gzip file; call it .tar.gz or .tgz"),
        ("a.tgz", &tar[..], "is called .tar.gz or .tgz and begins like a tar archive"),
        ("b.zip", b"7z\xbc\xaf\x27\x1c", "begins like a 7z archive; wanted a zip or tar archive"),
    ] {
        let message = refused(&place.put(name, bytes));
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn names_in_archives_are_tidied_or_refused() {
    let place = Place::new();
    let zip_of = |members: &[(&str, Vec<u8>)]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let image = || png([1, 1, 1]);
    let windows = zip_of(&[("set\\a\\1.png", image()), ("set\\b\\2.png", image()), ("__MACOSX\\a\\._1.png", image())]);
    let path = place.put("windows.zip", windows);
    assert_eq!(names(&path), ["set/a/1.png", "set/b/2.png"]);
    let doubled = zip_of(&[("a/1.png", image()), ("a\\1.png", image())]);
    assert!(refused(&place.put("doubled.zip", doubled)).contains("holds a/1.png twice"));
    let outside = zip_of(&[("../a/1.png", image())]);
    assert!(refused(&place.put("outside.zip", outside)).contains("member ../a/1.png lies outside of the archive"));
    let bomb = zip_of(&[("a/1.png", vec![0; 1 << 20]), ("b/1.png", image())]);
    let limits = Limits { unpacked: Some(1 << 19), ..Limits::default() };
    let request = Request { limits, ..Request::of(place.put("bomb.zip", bomb)) };
    assert!(Dataset::load(&request).unwrap_err().to_string().contains("--max-unpacked"));
    let twice = tar_of(|tar| {
        file(tar, "a/1.png", 1);
        file(tar, "./a/1.png", 2);
    });
    assert!(refused(&place.put("twice.tar", twice)).contains("holds a/1.png twice"));
    assert!(refused(&place.put("set.rar", "Rar!")).contains("is a rar archive; wanted .zip, .tar"));
    assert!(refused(&place.put("set.lz4", "?")).contains("an archive of a kind that is not read"));
    let sparse = tar_of(|tar| {
        tar.append_data(&mut header(EntryType::GNUSparse, 3), "a/1.png", b"abc".as_slice()).unwrap();
    });
    let message = refused(&place.put("sparse.tar", sparse));
    assert!(message.contains("sparse") || message.contains("not a tar archive"), "{message}");
}
