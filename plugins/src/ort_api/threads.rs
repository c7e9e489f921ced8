//! The host's intra-op threads.
#![allow(unsafe_code)]

use std::{
    any::Any,
    ffi::c_void,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::Mutex,
};

use ort_sys::OrtKernelContext;

use super::Api;
use crate::error::Result;

/// The thread pool of the session that a run is in.
pub(crate) struct Threads<'a> {
    api: Api,
    context: *const OrtKernelContext,
    call: PhantomData<&'a OrtKernelContext>,
}

// SAFETY: all that is done with the context here is `KernelContext_ParallelFor`, which takes it as constant and only looks up
// the session's pool in it; the pool may be used from several threads at once.
unsafe impl Sync for Threads<'_> {}

impl Threads<'_> {
    /// For the run of `context`, which must be in progress as long as the result lives: [`Run::threads`](super::Run::threads)
    /// sees to that.
    pub(super) fn new(api: Api, context: *const OrtKernelContext) -> Self {
        Self { api, context, call: PhantomData }
    }

    /// Calls `body(0)` to `body(total - 1)`, each once, on the host's intra-op threads, and returns when all are done.
    ///
    /// # Panics
    /// When a `body` panicked, in the thread that called this.
    pub(crate) fn parallel_for(&self, total: usize, body: &(dyn Fn(usize) + Sync)) -> Result<()> {
        struct Loop<'b> {
            body: &'b (dyn Fn(usize) + Sync),
            panic: Mutex<Option<Box<dyn Any + Send>>>,
        }
        unsafe extern "C" fn step(state: *mut c_void, index: usize) {
            // SAFETY: `state` is the `Loop` below, which outlives the host's loop because the call waits for its end;
            // it is only shared here, and it is `Sync`.
            let state = unsafe { &*state.cast::<Loop<'_>>() };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (state.body)(index)))
                && let Ok(mut slot) = state.panic.lock()
            {
                *slot = Some(panic);
            }
        }
        if total == 0 {
            return Ok(());
        }
        let state = Loop { body, panic: Mutex::new(None) };
        let pointer = ptr::from_ref(&state).cast_mut().cast::<c_void>();
        call!(unsafe self.api, KernelContext_ParallelFor(self.context, step, total, 0, pointer))?;
        match state.panic.into_inner() {
            Ok(Some(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(()),
        }
    }
}
