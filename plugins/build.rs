//! Link options of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Once loaded the library stays: onnxruntime closes a custom-op library with the session that opened it, while the
    // operator tables handed to it (see `register.rs`) and thread-local destructors point into the library's code.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
