//! What is set once for the whole process: threads of FAISS and BLAS, and the style of tables.

use std::ffi::c_int;
use std::io::IsTerminal;

// FAISS is linked with libgomp, the OpenMP runtime of GCC; its index types do not expose a thread count.
unsafe extern "C" {
    fn omp_set_num_threads(count: c_int);
}

/// Makes `count` threads the number for FAISS and an OpenMP BLAS, called from this thread, and for our own pool.
///
/// ONNX Runtime's and tract's threads are told where their sessions are made. Our pool is made once a process: a second
/// call changes the others only.
pub fn set_threads(count: usize) {
    let openmp = c_int::try_from(count.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: the function is part of OpenMP 2.0 with this signature, takes any positive count, touches only the calling
    // thread's settings, and may be called at any time outside a parallel region; Rust code never runs inside one.
    unsafe { omp_set_num_threads(openmp) }
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
}

/// The processors that this process may use.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Makes polars draw tables as Markdown with nothing cut off; what the user's own `POLARS_` variables say stays.
///
/// # Safety
/// No other thread may exist yet: the environment is written.
pub unsafe fn set_table_style() {
    let style = [
        ("POLARS_FMT_TABLE_FORMATTING", "ASCII_MARKDOWN"),
        ("POLARS_FMT_TABLE_HIDE_COLUMN_DATA_TYPES", "1"),
        ("POLARS_FMT_TABLE_HIDE_DATAFRAME_SHAPE_INFORMATION", "1"),
        ("POLARS_FMT_TABLE_CELL_NUMERIC_ALIGNMENT", "RIGHT"),
        ("POLARS_FMT_MAX_COLS", "-1"),
        ("POLARS_FMT_MAX_ROWS", "-1"),
        ("POLARS_FMT_STR_LEN", "10000"),
    ];
    // A terminal's own width wraps long cells; what reads a pipe gets whole lines.
    let width = (!std::io::stdout().is_terminal()).then_some(("POLARS_TABLE_WIDTH", "60000"));
    for (name, value) in style.into_iter().chain(width).filter(|(name, _)| std::env::var_os(name).is_none()) {
        // SAFETY: the caller promises that no other thread can be reading the environment.
        unsafe { std::env::set_var(name, value) }
    }
}
