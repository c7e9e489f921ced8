//! How much a program says on standard error, as its flags have it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::note;

/// How much is said. Warnings always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// What was opened, started and written.
    pub steps: bool,
    /// With each result, what was run: files, digests, settings, times.
    pub settings: bool,
    /// Bars and lines that show how far a stage is.
    pub progress: bool,
}

static STEPS: AtomicBool = AtomicBool::new(true);
static SETTINGS: AtomicBool = AtomicBool::new(false);
static PROGRESS: AtomicBool = AtomicBool::new(true);
static SILENT: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on: of the ranks of a run, one speaks for all.
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

pub(super) fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

impl Speech {
    /// Makes this the way of the whole process; a library that never calls it says steps and progress.
    pub fn set(self) {
        STEPS.store(self.steps, Ordering::Relaxed);
        SETTINGS.store(self.settings, Ordering::Relaxed);
        PROGRESS.store(self.progress, Ordering::Relaxed);
    }

    /// The way of the process.
    pub fn now() -> Self {
        let of = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let progress = of(&PROGRESS) && !is_silent();
        Self { steps: of(&STEPS), settings: of(&SETTINGS), progress }
    }
}

/// A line on standard error that is no warning; nothing with `--quiet`.
pub fn inform(line: &str) {
    if Speech::now().steps {
        note(line);
    }
}

/// Says that a file or folder was written, and its size.
pub fn wrote(path: &Path) {
    inform(&match size(path) {
        Some(bytes) => format!("wrote {} ({})", path.display(), indicatif::HumanBytes(bytes)),
        None => format!("wrote {}", path.display()),
    });
}

/// Bytes of a file, or of all files below a folder.
fn size(path: &Path) -> Option<u64> {
    let entries = walkdir::WalkDir::new(path).into_iter();
    let files = entries.map(|entry| entry.ok()?.metadata().ok());
    files.map(|data| data.map(|data| if data.is_file() { data.len() } else { 0 })).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_folder_is_that_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("in/b"), [0; 5]).unwrap();
        assert_eq!(size(folder.path()), Some(15));
        assert_eq!(size(&folder.path().join("a")), Some(10));
        assert_eq!(size(&folder.path().join("none")), None);
    }
}
