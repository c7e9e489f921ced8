//! The first sessions of a process, made by several threads at once: only once per process can they get in each other's way, so the
//! test runs itself again and again.

use std::{env, process::Command, sync::Barrier, thread};

use crate::common::{of_shape, session};

const THREADS: usize = 8;
const PROCESSES: usize = 20;
const CHILD: &str = "PDLOSS_TEST_FIRST_SESSIONS";

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn first_sessions_at_once() {
    if env::var_os(CHILD).is_some() {
        return all_at_once();
    }
    for _ in 0..PROCESSES {
        let mut child = Command::new(env::current_exe().expect("this test"));
        let output = child
            .args(["--exact", "first_sessions::first_sessions_at_once"])
            .env(CHILD, "1")
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn all_at_once() {
    let model = of_shape(17, 23).model();
    session::environment();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                session::open(session::builder().expect("a builder"), &model).expect("it opens");
            });
        }
    });
}
