//! The compiled kernels are those of the sources beside them: checksums of both, written when they were compiled.

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest as _, Sha256};

fn kernels() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels"))
}

/// Digest by path, as `kernels/build.py` wrote them.
fn sums() -> BTreeMap<String, String> {
    let text = fs::read_to_string(kernels().join("generated/SHA256SUMS")).expect("generated/SHA256SUMS");
    let pair = |line: &str| line.split_once("  ").map(|(digest, path)| (path.to_owned(), digest.to_owned()));
    text.lines().map(|line| pair(line).expect("digest and path")).collect()
}

#[test]
fn images_are_compiled_from_these_sources() {
    for (path, wanted) in sums() {
        let bytes = fs::read(kernels().join(&path)).unwrap_or_else(|error| panic!("kernels/{path}: {error}"));
        let got: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(got, wanted, "kernels/{path} has changed since the images were made: run plugins/kernels/build.py");
    }
}

#[test]
fn no_source_is_left_out() {
    let sums = sums();
    let mut sources = 0;
    for entry in fs::read_dir(kernels()).expect("the kernels") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let counts = path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh");
        if counts || name == "toolchain.txt" {
            assert!(
                sums.contains_key(&name),
                "kernels/{name} is not among the checksums: run plugins/kernels/build.py"
            );
            sources += 1;
        }
    }
    let images = sums.keys().filter(|path| path.starts_with("generated/")).count();
    assert_eq!((images, sources + images), (4, sums.len()));
}
