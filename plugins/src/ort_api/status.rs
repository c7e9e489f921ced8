//! Results as statuses: the one way from a C callback into this library.
#![allow(unsafe_code)]

use std::{
    any::Any,
    ffi::{CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use ort_sys::{OrtApiBase, OrtErrorCode, OrtStatusPtr};

use super::Api;
use crate::error::{Error, Result};

impl Api {
    /// Makes the status the host expects from a callback: null for success.
    fn status(self, result: Result<()>, operator: &str) -> OrtStatusPtr {
        let Err(error) = result else { return OrtStatusPtr(ptr::null_mut()) };
        // SAFETY: `CreateStatus` is the first entry of the table of every level.
        let create = unsafe { (*self.0.as_ptr()).CreateStatus };
        // SAFETY: `create` was just read from a live table.
        unsafe { new_status(create, operator, &error) }
    }
}

type CreateStatus = unsafe extern "system" fn(code: OrtErrorCode, message: *const c_char) -> OrtStatusPtr;

/// # Safety
/// `create` is the `CreateStatus` entry of a live table.
unsafe fn new_status(create: CreateStatus, operator: &str, error: &Error) -> OrtStatusPtr {
    let code = match error {
        Error::Panic(_) | Error::Runtime(_) | Error::Device(_) => OrtErrorCode::ORT_FAIL,
        Error::TooOld { .. } => OrtErrorCode::ORT_NOT_IMPLEMENTED,
        _ => OrtErrorCode::ORT_INVALID_ARGUMENT,
    };
    let text = format!("{operator}: {error}").replace('\0', " ");
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: the host copies the NUL-terminated message before it returns.
    unsafe { create(code, text.as_ptr()) }
}

/// The status for a host that has no table of our level: made with its table of level 1, which every host has.
///
/// # Safety
/// As for [`Api::from_base`].
pub(crate) unsafe fn status_without_table(base: *const OrtApiBase, operator: &str, error: &Error) -> OrtStatusPtr {
    if base.is_null() {
        return OrtStatusPtr(ptr::null_mut());
    }
    // SAFETY: not null, and by contract a live `OrtApiBase`.
    let get_api = unsafe { (*base).GetApi };
    // SAFETY: `GetApi` takes any number.
    let table = unsafe { get_api(1) };
    if table.is_null() {
        return OrtStatusPtr(ptr::null_mut());
    }
    // SAFETY: `CreateStatus` is the first entry of the table of every level.
    let create = unsafe { (*table).CreateStatus };
    // SAFETY: `create` was just read from a live table.
    unsafe { new_status(create, operator, error) }
}

/// The one way from a C callback into this library: runs `body`, stops a panic, and turns the outcome into a status that
/// begins with the operator's name.
pub(crate) fn guard(api: Api, operator: &str, body: impl FnOnce() -> Result<()>) -> OrtStatusPtr {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let result = outcome.unwrap_or_else(|panic| Err(Error::Panic(panic_text(panic.as_ref()))));
    api.status(result, operator)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
