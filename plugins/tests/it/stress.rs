//! Many runs of one session at once: nothing is lost or mixed up.

use std::{ffi::CString, ptr, thread};

use crate::common::{Numbers, Problem, of_shape, session};
use ort::{AsPointer as _, sys::OrtValue, value::Tensor};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn eight_threads_ten_thousand_runs_each() {
    run_at_once(&of_shape(17, 23), 8, 10_000);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn runs_at_once_that_share_the_thread_pool() {
    run_at_once(&of_shape(48, 300), 4, 200);
}

/// Pointers that are only read, by threads that end before what they point to does.
#[derive(Clone, Copy)]
struct Shared<T>(*const T);

// SAFETY: ONNX Runtime allows `Run` on one session, and reading one tensor, from any number of threads.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as for `Send`.
unsafe impl<T> Sync for Shared<T> {}

/// One session, run by several threads at once, which `ort`'s own `run(&mut self)` does not allow. Every result must have the
/// bits of the first.
fn run_at_once(problem: &Problem, threads: usize, runs: usize) {
    let builder = session::builder().expect("a builder").with_intra_threads(4).expect("four threads");
    let mut opened = session::open(builder, &problem.model()).expect("it opens");
    let first = session::run(&mut opened, problem.inputs()).expect("it runs");
    problem.check(&first).expect("it is right");

    let (mut names, mut tensors) = (Vec::new(), Vec::new());
    for (name, shape, numbers) in problem.inputs() {
        names.push(CString::new(name).expect("no NUL"));
        tensors.push(match numbers {
            Numbers::F32(values) => Tensor::from_array((shape, values)).expect("a tensor").into_dyn(),
            Numbers::I64(values) => Tensor::from_array((shape, values)).expect("a tensor").into_dyn(),
            _ => panic!("float32 and int64 here"),
        });
    }
    let inputs: Vec<Shared<OrtValue>> = tensors.iter().map(|tensor| Shared(tensor.ptr())).collect();
    let session = Shared(opened.ptr());
    let wanted = ["loss", "proxies_grad"];

    thread::scope(|scope| {
        for _ in 0..threads {
            let (names, inputs, first) = (&names, &inputs, &first);
            scope.spawn(move || {
                let session = session;
                let names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
                let inputs: Vec<_> = inputs.iter().map(|input| input.0).collect();
                let outputs = wanted.map(|name| CString::new(name).expect("no NUL"));
                let outputs = [outputs[0].as_ptr(), outputs[1].as_ptr()];
                for _ in 0..runs {
                    let mut values = [ptr::null_mut::<OrtValue>(); 2];
                    // SAFETY: all names and values outlive the call; session and inputs outlive the scope.
                    let status = unsafe {
                        (ort::api().Run)(
                            session.0.cast_mut(),
                            ptr::null(),
                            names.as_ptr(),
                            inputs.as_ptr(),
                            inputs.len(),
                            outputs.as_ptr(),
                            outputs.len(),
                            values.as_mut_ptr(),
                        )
                    };
                    assert!(status.0.is_null(), "a run failed");
                    for (name, value) in wanted.iter().zip(values) {
                        assert!(same_bits(value, &first[*name]), "{name} is not what the first run gave");
                        // SAFETY: a successful run handed the value over; it is released once.
                        unsafe { (ort::api().ReleaseValue)(value) };
                    }
                }
            });
        }
    });
}

fn same_bits(value: *mut OrtValue, wanted: &[f64]) -> bool {
    let mut data = ptr::null_mut();
    // SAFETY: `value` is a float32 tensor that a run has just made.
    let status = unsafe { (ort::api().GetTensorMutableData)(value, &mut data) };
    assert!(status.0.is_null());
    // SAFETY: the output has as many elements as in the first run of the same inputs.
    let got = unsafe { std::slice::from_raw_parts(data.cast::<f32>(), wanted.len()) };
    got.iter().zip(wanted).all(|(got, wanted)| f64::from(*got).to_bits() == wanted.to_bits())
}
