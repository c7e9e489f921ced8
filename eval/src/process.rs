//! Threads of FAISS and its BLAS beside those of our own pool.

use std::ffi::c_int;

// FAISS is linked with libgomp, the OpenMP runtime of GCC; its index types do not expose a thread count.
unsafe extern "C" {
    fn omp_set_num_threads(count: c_int);
}

/// Makes `count` threads the number for FAISS and an OpenMP BLAS, called from this thread, and for our own pool.
pub fn set_threads(count: usize) {
    let openmp = c_int::try_from(count.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: the function is part of OpenMP 2.0 with this signature, takes any positive count, touches only the calling
    // thread's settings, and may be called at any time outside a parallel region; Rust code never runs inside one.
    unsafe { omp_set_num_threads(openmp) }
    pdloss_embed::process::set_threads(count);
}
