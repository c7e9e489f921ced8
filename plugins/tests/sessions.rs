//! Many sessions one after the other: nothing is left behind. Alone in its process, because it watches the memory of all of it.

mod common;

use std::fs;

use common::{of_shape, session};

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_thousand_sessions() {
    let problem = of_shape(17, 23);
    let model = problem.model();
    let mut resident = Vec::new();
    for round in 0..1000 {
        let builder = if round % 2 == 0 { session::builder() } else { session::builder_from_library() };
        let mut session = session::open(builder.expect("a builder"), &model).expect("it opens");
        let outputs = session::run(&mut session, problem.inputs()).expect("it runs");
        if round % 100 == 0 {
            problem.check(&outputs).expect("it is right");
            resident.push(resident_kib());
        }
    }
    // A leaked table of operators would be 20 kB a session, a leaked session more.
    let growth = resident[9].saturating_sub(resident[2]);
    assert!(growth < 4096, "{growth} KiB more after 700 sessions: {resident:?}");
}
