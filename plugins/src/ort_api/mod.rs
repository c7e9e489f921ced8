//! ONNX Runtime's C table, made to answer with [`Result`].
//!
//! Second of three storeys: `ort-sys` declares, these modules call, everything above is safe code. The table is read
//! through a raw pointer, one entry at a time, because an older host's table is shorter than the declared struct; no
//! entry beyond level 17 is ever read.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_void},
    ptr::{self, NonNull},
};

use ort_sys::{OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain, OrtLoggingLevel, OrtSessionOptions, OrtStatusPtr};

use crate::error::{Error, Result};

/// The level of the C API this library is written against: that of onnxruntime 1.17.
pub(crate) const API_LEVEL: u32 = 17;

/// The C API table of the onnxruntime that loaded this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Api(NonNull<OrtApi>);

// SAFETY: the table is a constant of the host library: it is never written to and never freed while the process can
// still call into that library, and its functions may be called from any thread.
unsafe impl Send for Api {}
// SAFETY: as for `Send`.
unsafe impl Sync for Api {}

/// Calls one entry of the table; a status becomes an [`Error`]. Written `call!(unsafe api, Entry(arguments))`: nothing but the
/// caller's care keeps the arguments within the entry's contract.
macro_rules! call {
    (unsafe $api:expr, $entry:ident($($argument:expr),* $(,)?)) => {{
        let api: Api = $api;
        // SAFETY: `api` points at a table of level 17 or later (checked in `Api::from_base` or promised to
        // `Api::from_table`), which contains this entry; the arguments obey the entry's contract as stated where
        // they were made: pointers received from the host for the call in progress, or locals that outlive it.
        let status = unsafe { ((*api.0.as_ptr()).$entry)($($argument),*) };
        api.check(status)
    }};
}

/// Calls one entry of the table that returns nothing.
macro_rules! call_void {
    (unsafe $api:expr, $entry:ident($($argument:expr),* $(,)?)) => {{
        let api: Api = $api;
        // SAFETY: as in `call!`.
        unsafe { ((*api.0.as_ptr()).$entry)($($argument),*) }
    }};
}

mod device;
mod in_place;
mod inference;
mod node;
mod run;
mod status;
mod threads;
mod types;

pub(crate) use device::{Memory, Place, Scratch};
pub(crate) use in_place::{Block, NextValue};
pub(crate) use inference::{Inference, Length};
pub(crate) use node::{Attribute, NodeInfo};
pub(crate) use run::{Run, Tensor};
pub(crate) use status::{guard, status_without_table};
pub(crate) use threads::Threads;
use types::size_of_type;
pub(crate) use types::{BFLOAT16, FLOAT16, Plain, TypeCode, type_name};

impl Api {
    /// The table of level 17 of this host.
    ///
    /// # Safety
    /// `base` is null or the `OrtApiBase` of a loaded onnxruntime, which stays loaded as long as the result is used.
    pub(crate) unsafe fn from_base(base: *const OrtApiBase) -> Result<Self> {
        let base = NonNull::new(base.cast_mut()).ok_or(Error::TooOld { wanted: API_LEVEL })?;
        // SAFETY: not null, and by this function's contract a live `OrtApiBase`.
        let get_api = unsafe { (*base.as_ptr()).GetApi };
        // SAFETY: `GetApi` takes any number and answers null for levels it does not have.
        let table = unsafe { get_api(API_LEVEL) };
        NonNull::new(table.cast_mut()).map(Self).ok_or(Error::TooOld { wanted: API_LEVEL })
    }

    /// Wraps a table that the host handed over.
    ///
    /// # Safety
    /// `table` is null or a table of level 17 or later of an onnxruntime that stays loaded as long as the result is used.
    pub(crate) unsafe fn from_table(table: *const OrtApi) -> Result<Self> {
        NonNull::new(table.cast_mut()).map(Self).ok_or(Error::TooOld { wanted: API_LEVEL })
    }

    /// Makes an empty operator domain. Nothing here frees it.
    pub(crate) fn new_domain(self, name: &CStr) -> Result<*mut OrtCustomOpDomain> {
        let mut domain = ptr::null_mut();
        call!(unsafe self, CreateCustomOpDomain(name.as_ptr(), &mut domain))?;
        Ok(domain)
    }

    /// Puts an operator into a domain.
    ///
    /// # Safety
    /// `domain` came from [`Api::new_domain`], is with no session options yet, and is used by this thread only; `operator`
    /// is a table whose callbacks may be called from any thread until the process ends.
    pub(crate) unsafe fn add_operator(
        self,
        domain: *mut OrtCustomOpDomain,
        operator: *const OrtCustomOp,
    ) -> Result<()> {
        call!(unsafe self, CustomOpDomain_Add(domain, operator))
    }

    /// Puts a domain into session options.
    ///
    /// # Safety
    /// `options` is live session options of the onnxruntime of this table; `domain` came from its [`Api::new_domain`].
    pub(crate) unsafe fn add_domain(
        self,
        options: *mut OrtSessionOptions,
        domain: *mut OrtCustomOpDomain,
    ) -> Result<()> {
        call!(unsafe self, AddCustomOpDomain(options, domain))
    }

    /// Opens and closes one session of an empty graph with this domain, where the host lets us.
    ///
    /// The first session with a new domain enters it into a table of the whole process, and onnxruntime (1.17 to 1.32)
    /// looks there and enters in two steps, so of two first sessions at once one may fail ("the domain is already
    /// exist"). After this one no session enters anything. It happens before the graph is looked at: whether a host can
    /// run an empty graph does not matter. The Python module of the training build keeps an environment of its own and
    /// refuses another: there first sessions stay as they were.
    ///
    /// # Safety
    /// `domain` came from [`Api::new_domain`] of this table and is complete.
    pub(crate) unsafe fn enter_domain(self, domain: *mut OrtCustomOpDomain) {
        /// `ModelProto { ir_version: 8, graph: { name: "g" }, opset_import: [{ version: 17 }] }`
        const EMPTY: &[u8] = b"\x08\x08\x3a\x03\x0a\x01g\x42\x02\x10\x11";
        let (mut environment, mut options, mut session) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // The process has one environment: where the host has made it already, this is another reference to it.
        let quiet = OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL;
        let opened = call!(unsafe self, CreateEnv(quiet, c"pdloss".as_ptr(), &mut environment))
            .and_then(|()| call!(unsafe self, CreateSessionOptions(&mut options)))
            .and_then(|()| call!(unsafe self, SetIntraOpNumThreads(options, 1)))
            .and_then(|()| call!(unsafe self, AddCustomOpDomain(options, domain)));
        if opened.is_ok() {
            let model = EMPTY.as_ptr().cast::<c_void>();
            let _ = call!(unsafe self, CreateSessionFromArray(environment, model, EMPTY.len(), options, &mut session));
        }
        call_void!(unsafe self, ReleaseSession(session));
        call_void!(unsafe self, ReleaseSessionOptions(options));
        call_void!(unsafe self, ReleaseEnv(environment));
    }

    /// Turns a status into a result, and frees it.
    fn check(self, status: OrtStatusPtr) -> Result<()> {
        if status.0.is_null() {
            return Ok(());
        }
        // SAFETY: the table is live and has this entry at every level.
        let read = unsafe { (*self.0.as_ptr()).GetErrorMessage };
        // SAFETY: as above.
        let release = unsafe { (*self.0.as_ptr()).ReleaseStatus };
        // SAFETY: a status that is not null is an error object owned by us until released below.
        let message = unsafe { read(status.0) };
        // SAFETY: the message is a NUL-terminated string that lives as long as its status.
        let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
        // SAFETY: released once; neither `status` nor `message` is used afterwards.
        unsafe { release(status.0) };
        Err(Error::Runtime(text))
    }
}
