//! The threads of the whole process.

/// Makes `count` threads the number of our own pool. It is made once a process: a second call changes nothing.
///
/// ONNX Runtime's and tract's threads are set where their sessions are made.
pub fn set_threads(count: usize) {
    // An error says that the pool is there already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
}

/// The processors that this process may use.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The threads that can be asked for: more than any processor has, and few enough for the system to make.
pub fn most_threads() -> usize {
    available_threads().saturating_mul(16).max(256)
}
