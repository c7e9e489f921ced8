//! For which processors FAISS was compiled: its build leaves that in its folder.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=PDLOSS_FAISS_LEVELS={}", levels());
}

/// Names of levels from the lowest on, two where both are in (`.cargo/faiss.cmake`); else what `-march` says, and where nothing does,
/// the architecture's first.
fn levels() -> String {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let lowest = if architecture == "x86_64" { "x86-64".to_owned() } else { architecture };
    // Set for who uses a crate that names itself `links = "faiss_c"`.
    let Some(root) = env::var_os("DEP_FAISS_C_ROOT") else { return lowest };
    let build = PathBuf::from(root).join("build");
    let of = |name: &str| {
        let text = fs::read_to_string(build.join(name)).ok()?;
        // A file that is not there would count as changed each time.
        println!("cargo:rerun-if-changed={}", build.join(name).display());
        Some(text)
    };
    if let Some(both) = of("levels") {
        return both.trim().to_owned();
    }
    let cache = of("CMakeCache.txt").unwrap_or_default();
    let flags = cache.lines().find_map(|line| line.strip_prefix("CMAKE_CXX_FLAGS:STRING=")).unwrap_or_default();
    flags.split_whitespace().rev().find_map(|flag| flag.strip_prefix("-march=")).map_or(lowest, str::to_owned)
}
