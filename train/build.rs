//! Whether there is an onnxruntime to test with.

use std::{env, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Tests that need an onnxruntime are listed as ignored where there is none, instead of passing without having run.
    println!("cargo:rustc-check-cfg=cfg(onnxruntime)");
    println!("cargo:rerun-if-env-changed=ORT_DYLIB_PATH");
    let beside = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../.runtime/onnxruntime/libonnxruntime.so");
    println!("cargo:rerun-if-changed={}", beside.display());
    if env::var_os("ORT_DYLIB_PATH").map_or(beside, Into::into).is_file() {
        println!("cargo:rustc-cfg=onnxruntime");
    }
}
