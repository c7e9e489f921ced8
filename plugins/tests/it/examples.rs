//! The C and the Rust example do what their first lines say.

use std::{env, fs, path::Path, process::Command};

use crate::common::session::library;

/// What both print: three samples and two classes, worked out by the oracle's loops.
const LOSS: &str = "loss -0.816545";

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {error}");
    out.into_owned()
}

fn onnxruntime() -> String {
    env::var("ORT_DYLIB_PATH")
        .ok()
        .or_else(|| option_env!("PDLOSS_TEST_ONNXRUNTIME").map(str::to_owned))
        .expect("a path")
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn rust() {
    let example = library().expect("built").with_file_name("../examples/register");
    assert!(output(Command::new(&example).env("ORT_DYLIB_PATH", onnxruntime())).starts_with(LOSS));

    let folder = env::temp_dir().join(format!("pdloss-example-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("loss.onnx");
    output(Command::new(&example).arg(&path));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/loss.onnx");
    assert!(
        fs::read(path).expect("written") == fs::read(committed).expect("there"),
        "examples/loss.onnx is another model"
    );
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn c() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let program = env::temp_dir().join(format!("pdloss-c-example-{}", std::process::id()));
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    output(
        Command::new(compiler)
            .args(["-Wall", "-Wextra", "-Werror", "-O1"])
            .arg(examples.join("c/register.c"))
            .arg("-o")
            .arg(&program)
            .arg("-ldl"),
    );
    let printed = output(
        Command::new(&program).arg(onnxruntime()).arg(library().expect("built")).arg(examples.join("loss.onnx")),
    );
    fs::remove_file(&program).expect("removed");
    assert!(printed.starts_with(LOSS), "{printed}");
}
