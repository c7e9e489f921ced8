//! What belongs to the process as a whole: threads of FAISS and its BLAS beside those of our own pool, and memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_int;

use pdloss_embed::guard;

/// The system's allocator, but that a damaged file cannot ask for more than a file of its size may: the program then ends
/// with an error that names the file, where it would be aborted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

impl Allocator {
    /// What `allocate` gives for so many bytes, where the reader under way may ask for them.
    fn within(bytes: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
        let place = if guard::allows(bytes) { allocate() } else { std::ptr::null_mut() };
        if place.is_null() {
            guard::end_for_want_of(bytes);
        }
        place
    }
}

// SAFETY: every block comes from `System`, with the layout that was asked for, and goes back to it; a null pointer is what the
// trait wants where there is none. `guard` allocates nothing in `allows` and `end_for_want_of`, and neither unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the same for `System`.
        Self::within(layout.size(), || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same for `System`.
        Self::within(layout.size(), || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`; `block` is of `System`, as all blocks are.
        Self::within(size, || unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `block` is of `System`, as all blocks are.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The least address space that FAISS's BLAS starts in: with less, OpenBLAS waits for ever before `main`.
#[cfg(target_os = "linux")]
const LEAST_ADDRESS_SPACE: u64 = 512 << 20;

/// Ends the process where its address space is limited to less than its libraries start in. For `.preinit_array`, which runs
/// before any library's own start.
#[cfg(target_os = "linux")]
pub extern "C" fn check_address_space() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid `rlimit` that the call fills.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } != 0;
    if failed || limit.rlim_cur >= LEAST_ADDRESS_SPACE {
        return;
    }
    let message = "error: the address space is limited to less than 512 MiB (ulimit -v), in which the linear algebra does not start\n";
    // SAFETY: the pointer and the length are those of one string; nothing is read beyond it.
    unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
    // SAFETY: ends the process at once, without the ends of libraries that have not started.
    unsafe { libc::_exit(1) }
}

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
