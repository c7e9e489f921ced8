//! The shared cases through sessions of ONNX Runtime, against the oracle.

use crate::common::{problems, session};
use anyhow::Result;
use ort::session::builder::SessionBuilder;

fn hold_to_oracle(builder: impl Fn() -> Result<SessionBuilder>, every: usize) {
    let problems = problems();
    assert!(problems.len() > 200);
    let mut failures = Vec::new();
    for problem in problems.iter().step_by(every) {
        let outcome = builder()
            .and_then(|builder| session::open(builder, &problem.model()))
            .and_then(|mut session| session::run(&mut session, problem.inputs()))
            .map_err(|error| error.to_string())
            .and_then(|outputs| problem.check(&outputs));
        if let Err(reason) = outcome {
            failures.push(format!("{}: {reason}", problem.name()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn registered_from_rust() {
    hold_to_oracle(session::builder, 1);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn loaded_as_a_library() {
    hold_to_oracle(session::builder_from_library, 5);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn on_one_thread_and_on_four() {
    for threads in [1, 4] {
        let builder = || session::builder()?.with_intra_threads(threads).map_err(|error| anyhow::anyhow!("{error}"));
        hold_to_oracle(builder, 3);
    }
}
