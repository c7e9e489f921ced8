//! Link options of the shared library, and whether there is an onnxruntime and a C++ compiler to test with.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Once loaded the library stays: onnxruntime closes a custom-op library with the session that opened it, while the
    // operator tables handed to it (see `register.rs`) and thread-local destructors point into the library's code.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }

    // As for onnxruntime below: the tests that compile the CUDA kernels for the CPU.
    println!("cargo:rustc-check-cfg=cfg(cxx)");
    println!("cargo:rerun-if-env-changed=CXX");
    println!("cargo:rerun-if-env-changed=PATH");
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("cargo:rustc-cfg=cxx");
    }

    // Tests that need an onnxruntime are listed as ignored where there is none, instead of passing without having run.
    println!("cargo:rustc-check-cfg=cfg(onnxruntime)");
    println!("cargo:rerun-if-env-changed=ORT_DYLIB_PATH");
    let beside = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../.runtime/onnxruntime/libonnxruntime.so");
    println!("cargo:rerun-if-changed={}", beside.display());
    let path = env::var_os("ORT_DYLIB_PATH").map_or(beside, Into::into);
    if path.is_file() {
        println!("cargo:rustc-cfg=onnxruntime");
        println!("cargo:rustc-env=PDLOSS_TEST_ONNXRUNTIME={}", path.display());
    }
}
