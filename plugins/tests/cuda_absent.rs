//! Machines without a GPU: the operators register and run on the CPU without the driver being looked for, and a node on the CUDA
//! provider is refused with a sentence. Alone in its process, because the driver is looked for once.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/emulation.rs"]
mod emulation;

use std::{env, fs, path::Path, process::Command};

use common::{
    case::{Case, alone, drawn, given},
    of_shape, session,
};
use emulation::{emulated_builder, give_dnn, give_handle, load_driver};
use libloading::Library;
use pdloss::graph::build::Element;

const CHILD: &str = "PDLOSS_TEST_CUDA_ABSENT";
const ON_CUDA: &str = "PDLOSS_TEST_ON_CUDA";

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn without_a_driver_cuda_is_refused() {
    let problem = of_shape(17, 23);
    let mut session = session::open(emulated_builder().expect("it registers"), &problem.model()).expect("it opens");
    let error = session::run(&mut session, problem.inputs()).expect_err("it is refused").to_string();
    // With a driver, what is missing is a context: the tensors and the stream of this test are the CPU's.
    let driver = ["/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libcuda.so.1"]
        .iter()
        .any(|path| Path::new(path).exists());
    let wanted = if driver { "CUDA: " } else { "CUDA: libcuda.so.1 is not found: is the NVIDIA driver installed?" };
    assert!(error.contains("PDLoss") && error.contains(wanted), "{error}");
}

/// A driver, but no cuBLAS, or no handle of it.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn without_cublas_cuda_is_refused() {
    if env::var_os(CHILD).is_none() {
        let mut child = Command::new(env::current_exe().expect("this test"));
        let output = child.args(["--exact", "without_cublas_cuda_is_refused"]).env(CHILD, "1").output();
        let output = output.expect("it starts");
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let _driver = load_driver();
    let problem = of_shape(17, 23);
    let mut session = session::open(emulated_builder().expect("it registers"), &problem.model()).expect("it opens");
    let mut refused = || session::run(&mut session, problem.inputs()).expect_err("it is refused").to_string();
    let error = refused();
    assert!(error.contains("CUDA: onnxruntime's CUDA provider gave no cuBLAS handle"), "{error}");
    let installed = ["libcublas.so.13", "libcublas.so.12"].iter().any(|name| {
        // SAFETY: cuBLAS's initialisers, where it is installed at all.
        unsafe { Library::new(*name) }.is_ok()
    });
    // With an installed one, a made-up handle would be used.
    if !installed {
        give_handle(16);
        let error = refused();
        assert!(error.contains("CUDA: cuBLAS is not found (libcublas.so.13: "), "{error}");
    }
}

/// A driver, but no cuDNN, or no handle of it.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn without_cudnn_convolutions_are_refused() {
    if env::var_os(CHILD).is_none() {
        let mut child = Command::new(env::current_exe().expect("this test"));
        let output = child.args(["--exact", "without_cudnn_convolutions_are_refused"]).env(CHILD, "1").output();
        let output = output.expect("it starts");
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let _driver = load_driver();
    let case = Case::new(2, [3, 4], 1, &[5, 6], &[3, 3]);
    let graph = alone("ConvWeightGrad", (["grad", "x"], "weight_grad"), (Element::F32, case.attributes()));
    let mut session = session::open(emulated_builder().expect("it registers"), &graph).expect("it opens");
    let tensor = |name, shape: Vec<usize>| given(name, Element::F32, &shape, &drawn(&shape, 1));
    let mut refused = || {
        let inputs = vec![tensor("grad", case.y()), tensor("x", case.x())];
        session::run(&mut session, inputs).expect_err("it is refused").to_string()
    };
    let error = refused();
    let wanted = "ConvWeightGrad: CUDA: onnxruntime's CUDA provider gave no cuDNN handle";
    assert!(error.contains(wanted), "{error}");
    let installed = ["libcudnn.so.9", "libcudnn.so.8"].iter().any(|name| {
        // SAFETY: cuDNN's initialisers, where it is installed at all.
        unsafe { Library::new(*name) }.is_ok()
    });
    // With an installed one, a made-up handle would be used.
    if !installed {
        give_dnn(16);
        let error = refused();
        assert!(error.contains("CUDA: cuDNN is not found (libcudnn.so.9: "), "{error}");
        assert!(error.contains("libcudnn.so.8: "), "{error}");
    }
}

/// The script that is to run on a GPU does not pass for having found none.
#[test]
fn gpu_check_fails_without_a_gpu() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-driver");
    fs::create_dir_all(&folder).expect("a folder");
    // No library at all: it hides the driver where there is one.
    fs::write(folder.join("libcuda.so.1"), "").expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu-check");
    let output = Command::new("python3").arg(script).env("LD_LIBRARY_PATH", &folder).output().expect("python3");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("gpu-check: no GPU: libcuda.so.1 (the NVIDIA driver) is not found"), "{text}");
    assert!(output.stdout.is_empty());
}

/// A driver whose mere loading ends the process: whatever ends well has not looked for it.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn the_cpu_never_asks_for_a_driver() {
    if env::var_os(CHILD).is_some() {
        let problem = of_shape(17, 23);
        if env::var_os(ON_CUDA).is_some() {
            let mut session =
                session::open(emulated_builder().expect("it registers"), &problem.model()).expect("it opens");
            let _ = session::run(&mut session, problem.inputs());
            return;
        }
        let mut session = session::open(session::builder().expect("it registers"), &problem.model()).expect("it opens");
        let outputs = session::run(&mut session, problem.inputs()).expect("it runs");
        return problem.check(&outputs).expect("it is right");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trap");
    fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("trap.cpp");
    let text = "#include <cstdlib>\n__attribute__((constructor)) static void loaded() { _Exit(77); }\n";
    fs::write(&source, text).expect("a file");
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
        .args([&folder.join("libcuda.so.1"), &source])
        .status();
    assert!(status.expect("the compiler starts").success());

    let child = |on_cuda: bool| {
        let mut child = Command::new(env::current_exe().expect("this test"));
        child.args(["--exact", "the_cpu_never_asks_for_a_driver"]).env(CHILD, "1").env("LD_LIBRARY_PATH", &folder);
        if on_cuda {
            child.env(ON_CUDA, "1");
        }
        child.output().expect("it starts")
    };
    let output = child(false);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    assert_eq!(child(true).status.code(), Some(77), "the trap works: on the CUDA provider the driver is loaded");
}
