//! Where the library of ONNX Runtime is found.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The runtime, for errors.
pub(super) const NAME: &str = "onnxruntime";
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The folder, beside the checkout, that set-up fills.
const SET_UP: &str = ".runtime/onnxruntime";
/// Variables that hold the Python environment that is active.
const ACTIVE: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];
const LIBRARY: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// What led to it, in words.
    pub by: &'static str,
}

/// The library: by flag, else by `ORT_DYLIB_PATH`, else where [`search`] finds it.
///
/// # Errors
/// [`Error::Runtime`] where the flag or the variable names a file that is not there.
pub(super) fn find(flag: Option<&Path>) -> Result<Option<Library>> {
    let variable = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let named = flag.map(|p| ("--onnxruntime", p.to_path_buf())).or(variable.map(|p| (VARIABLE, p)));
    if let Some((by, path)) = named {
        if !path.is_file() {
            let problem = format!("{by} names {}, which is no file", path.display());
            return Err(Error::Runtime { runtime: NAME, problem });
        }
        return Ok(Some(Library { path, by }));
    }
    let executable = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    let active = ACTIVE.iter().filter_map(std::env::var_os).filter(|v| !v.is_empty()).map(PathBuf::from);
    Ok(search(executable.as_deref(), &active.collect::<Vec<_>>()))
}

/// The library that [`Embedder::open`](super::Embedder::open) would open, with `--onnxruntime` as given.
///
/// # Errors
/// [`Error::Runtime`] where there is none.
pub fn library(flag: Option<&Path>) -> Result<Library> {
    find(flag)?.ok_or_else(|| Error::Runtime { runtime: NAME, problem: not_found() })
}

/// Where was looked, and what to do.
pub(super) fn not_found() -> String {
    format!(
        "{LIBRARY} was not found (looked at --onnxruntime, {VARIABLE}, in the Python environment that the program is installed in, \
         beside the program, in {SET_UP} above it, and in the active Python environment); it comes with: pip install onnxruntime"
    )
}

/// The library in the Python environment that the program is installed in, beside the program, in the folder that set-up
/// fills above it, or in one of the active Python environments: the first of these.
fn search(executable: Option<&Path>, active: &[PathBuf]) -> Option<Library> {
    let folder = executable.and_then(Path::parent);
    let own = folder.and_then(Path::parent).and_then(in_environment);
    let beside = || folder.and_then(in_folder);
    let above = || folder?.ancestors().find_map(|above| in_folder(&above.join(SET_UP)));
    own.map(|path| Library { path, by: "in the program's Python environment" })
        .or_else(|| Some(Library { path: beside()?, by: "beside the program" }))
        .or_else(|| Some(Library { path: above()?, by: "of the checkout" }))
        .or_else(|| {
            let path = active.iter().find_map(|prefix| in_environment(prefix))?;
            Some(Library { path, by: "in the active Python environment" })
        })
}

/// The library of the package `onnxruntime` in the Python environment with this prefix; of several Pythons the newest has it.
fn in_environment(prefix: &Path) -> Option<PathBuf> {
    let mut pythons = Vec::new();
    for folder in ["lib", "lib64"] {
        let entries = std::fs::read_dir(prefix.join(folder)).into_iter().flatten().flatten();
        pythons.extend(entries.filter_map(|entry| Some((python_version(entry.file_name().to_str()?)?, entry.path()))));
    }
    pythons.sort();
    let packages =
        pythons.iter().rev().flat_map(|(_, python)| ["site-packages", "dist-packages"].map(|name| python.join(name)));
    // Windows has no folder of the version; `pip install --target` has none at all.
    let mut packages = packages.chain([prefix.join("Lib/site-packages"), prefix.to_path_buf()]);
    packages.find_map(|packages| in_folder(&packages.join("onnxruntime/capi")))
}

/// `python3.12` is version 12; Debian's `python3` is 0.
fn python_version(folder: &str) -> Option<u32> {
    match folder.strip_prefix("python3")? {
        "" => Some(0),
        minor => minor.strip_prefix('.')?.parse().ok(),
    }
}

/// The library in a folder: by its plain name, else with its version behind it, as Python's packages have it.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(LIBRARY);
    if plain.is_file() {
        return Some(plain);
    }
    let (stem, ending) =
        if cfg!(target_os = "macos") { ("libonnxruntime.", ".dylib") } else { ("libonnxruntime.so.", "") };
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(stem) && name.ends_with(ending) && path.is_file()
    };
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_library).max()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Files, empty, in a folder of the test's own.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("is in a folder")).expect("is made");
            std::fs::write(path, "").expect("is written");
        }
        folder
    }

    #[test]
    fn the_environment_of_the_program_comes_first_and_the_active_one_last() {
        let (own, beside) =
            ("env/lib/python3.9/site-packages/onnxruntime/capi/libonnxruntime.so.1.20.0", "env/bin/libonnxruntime.so");
        let (above, active) = (
            ".runtime/onnxruntime/libonnxruntime.so",
            "active/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0",
        );
        let files = folder(&[own, beside, above, active]);
        let at = |name: &str| files.path().join(name);
        let found = || search(Some(&at("env/bin/pdloss")), &[at("nothing"), at("active")]);
        for (place, by) in [
            (own, "in the program's Python environment"),
            (beside, "beside the program"),
            (above, "of the checkout"),
            (active, "in the active Python environment"),
        ] {
            assert_eq!(found(), Some(Library { path: at(place), by }));
            std::fs::remove_file(at(place)).unwrap();
        }
        assert_eq!(found(), None);
    }

    #[test]
    fn of_several_pythons_the_newest_counts_and_other_libraries_do_not() {
        let capi = |python: &str| format!("lib/{python}/onnxruntime/capi/libonnxruntime.so.1.32.0");
        let names = ["python3.9/site-packages", "python3.12/site-packages", "python3/dist-packages"].map(capi);
        let other = "lib/python3.13/site-packages/onnxruntime/capi/libonnxruntime_providers_shared.so";
        let files = folder(&[&names[0], &names[1], &names[2], other]);
        for name in [&names[1], &names[0], &names[2]] {
            assert_eq!(in_environment(files.path()), Some(files.path().join(name)));
            std::fs::remove_file(files.path().join(name)).unwrap();
        }
        assert_eq!(in_environment(files.path()), None);
        let target = folder(&["onnxruntime/capi/libonnxruntime.so.1.32.0"]);
        assert!(in_environment(target.path()).is_some(), "pip install --target");
    }
}
