//! Names of files: tidied, hidden or not, and the spellings of accents.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

/// Folders and files that systems and programs leave beside a person's own, beside those whose names begin with a point.
const LEFT_BEHIND: [&str; 19] = [
    "@eadir",
    "@tmp",
    "@recycle",
    "@__thumb",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "__macosx",
    "__pycache__",
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "lost+found",
    "_gsdata_",
    "cvs",
    "thumbs.db",
    "desktop.ini",
    "icon\r",
];

/// Whether a part of the path begins with a point, or is something that a system leaves behind: `.ipynb_checkpoints`,
/// `.cache`, `@eaDir`, `__MACOSX`, `Thumbs.db` ...
pub(super) fn is_hidden(name: &str) -> bool {
    hidden_part(name).is_some()
}

/// The path as far as its first hidden part.
fn hidden_part(name: &str) -> Option<&str> {
    let mut end = 0;
    for part in name.split('/') {
        end += part.len();
        let pointed = part.starts_with('.') && part != "." && part != "..";
        if pointed || LEFT_BEHIND.contains(&part.to_lowercase().as_str()) {
            return Some(&name[..end]);
        }
        end += 1;
    }
    None
}

/// A sentence on hidden files, by the names that hide them.
pub(super) fn passed_over(hidden: &[String]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in hidden {
        let part = hidden_part(name).unwrap_or(name);
        *counts.entry(part.rsplit('/').next().unwrap_or(part)).or_default() += 1;
    }
    (!counts.is_empty()).then(|| {
        format!(
            "passed over {} hidden: {}",
            files(hidden.len()),
            several(counts.iter().map(|(n, c)| format!("{c} in {n}")))
        )
    })
}

/// "1 file", "2 files".
pub(in crate::dataset) fn files(count: usize) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

/// The first few of these, and how many more there are.
pub fn several(all: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let mut all = all.into_iter();
    let shown: Vec<String> = all.by_ref().take(SHOWN).collect();
    match all.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A path as lists write it: `\` for `/`, `.` as a part and doubled `/` left out.
pub(in crate::dataset) fn tidy(name: &str) -> String {
    let name = name.replace('\\', "/");
    let root = if name.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{root}{}", parts.join("/"))
}

/// The name of an archive's member: tidied, below the archive's root; `None` where it leaves that by `..`.
pub(super) fn member(name: &str) -> Option<String> {
    let name = tidy(name);
    let name = name.trim_start_matches('/');
    (!name.split('/').any(|part| part == "..")).then(|| name.to_owned())
}

/// Where a link of an archive leads: `target` seen from the folder of the member `link`; `None` where that is outside.
pub(super) fn target(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// With accents composed (Unicode NFC).
pub(crate) fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// With accents apart (Unicode NFD).
pub(super) fn decomposed(name: &str) -> String {
    name.nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_leave_behind_is_hidden() {
        for name in [
            "a/.ipynb_checkpoints/1.jpg",
            "@eaDir/1.jpg",
            "#snapshot/1.jpg",
            "a/@Recycle/1.jpg",
            "__pycache__/1.jpg",
            "a/__MACOSX/x",
            ".cache/1",
            "a/Thumbs.db",
            "a/.x.png",
        ] {
            assert!(is_hidden(name), "{name}");
        }
        for name in ["a/1.jpg", "./a/1.jpg", "../a/1.jpg", "a.b/c.d"] {
            assert!(!is_hidden(name), "{name}");
        }
        let hidden = ["a/.git/x", "b/.git/y", "Thumbs.db"].map(String::from);
        assert_eq!(passed_over(&hidden).unwrap(), "passed over 3 files hidden: 2 in .git, 1 in Thumbs.db");
        assert_eq!(passed_over(&[]), None);
    }

    #[test]
    fn paths_are_tidied_and_links_followed() {
        assert_eq!(tidy("./a//b\\c.png"), "a/b/c.png");
        assert_eq!(tidy("/a/./b"), "/a/b");
        assert_eq!(member("./a\\b.png").unwrap(), "a/b.png");
        assert_eq!(member("/etc/x").unwrap(), "etc/x");
        assert_eq!(member("a/../../x"), None);
        assert_eq!(target("a/b/l.png", "../c/1.png").unwrap(), "a/c/1.png");
        assert_eq!(target("l.png", "./1.png").unwrap(), "1.png");
        assert_eq!(target("l.png", "../1.png"), None);
        assert_eq!(target("l.png", "/1.png"), None);
    }
}
