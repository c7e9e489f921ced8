//! ONNX Runtime's C table, made to answer with [`Result`].
//!
//! Second of three storeys: `ort-sys` declares, this module calls, everything above is safe code. The table is read
//! through a raw pointer, one entry at a time, because an older host's table is shorter than the declared struct; no
//! entry beyond level 17 is ever read.
#![allow(unsafe_code)]

use std::{
    any::Any,
    cell::Cell,
    ffi::{CStr, CString, c_char, c_void},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::Mutex,
};

use ort_sys::{
    ONNXTensorElementDataType as Type, OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain, OrtErrorCode,
    OrtKernelContext, OrtKernelInfo, OrtLoggingLevel, OrtSessionOptions, OrtShapeInferContext, OrtStatusPtr,
    OrtTensorTypeAndShapeInfo, OrtValue,
};

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

/// Calls one entry of the table; a status becomes an [`Error`].
macro_rules! call {
    ($api:expr, $entry:ident($($argument:expr),* $(,)?)) => {{
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
    ($api:expr, $entry:ident($($argument:expr),* $(,)?)) => {{
        let api: Api = $api;
        // SAFETY: as in `call!`.
        unsafe { ((*api.0.as_ptr()).$entry)($($argument),*) }
    }};
}

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
        call!(self, CreateCustomOpDomain(name.as_ptr(), &mut domain))?;
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
        call!(self, CustomOpDomain_Add(domain, operator))
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
        call!(self, AddCustomOpDomain(options, domain))
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
        let opened = call!(self, CreateEnv(quiet, c"pdloss".as_ptr(), &mut environment))
            .and_then(|()| call!(self, CreateSessionOptions(&mut options)))
            .and_then(|()| call!(self, SetIntraOpNumThreads(options, 1)))
            .and_then(|()| call!(self, AddCustomOpDomain(options, domain)));
        if opened.is_ok() {
            let model = EMPTY.as_ptr().cast::<c_void>();
            let _ = call!(self, CreateSessionFromArray(environment, model, EMPTY.len(), options, &mut session));
        }
        call_void!(self, ReleaseSession(session));
        call_void!(self, ReleaseSessionOptions(options));
        call_void!(self, ReleaseEnv(environment));
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
        Error::Panic(_) | Error::Runtime(_) => OrtErrorCode::ORT_FAIL,
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

/// A number type that a tensor of ours can hold.
///
/// # Safety
/// Every bit pattern of `Self` is a value, and `TYPE` is the host's name of exactly this type.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {
    /// The host's name for this type.
    const TYPE: Type;
}

/// The host's number of an element type. A number, not the enum: a newer host may know types that the enum does not.
pub(crate) type TypeCode = i32;

// SAFETY: f32 is the host's FLOAT, any 32 bits are an f32.
unsafe impl Plain for f32 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}
// SAFETY: f64 is the host's DOUBLE, any 64 bits are an f64.
unsafe impl Plain for f64 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
}
// SAFETY: i32 is the host's INT32, any 32 bits are an i32.
unsafe impl Plain for i32 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
}
// SAFETY: i64 is the host's INT64, any 64 bits are an i64.
unsafe impl Plain for i64 {
    const TYPE: Type = Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

/// What a node says about itself when its kernel is made.
pub(crate) struct NodeInfo<'a> {
    api: Api,
    info: *const OrtKernelInfo,
    call: PhantomData<&'a OrtKernelInfo>,
}

/// An attribute as found on the node.
pub(crate) enum Attribute {
    Missing,
    Number(f32),
    Text(String),
}

impl NodeInfo<'_> {
    /// # Safety
    /// `info` is what the host passed to `CreateKernelV2`, and that call is still in progress while the result lives.
    pub(crate) unsafe fn new(api: Api, info: *const OrtKernelInfo) -> Self {
        Self { api, info, call: PhantomData }
    }

    /// Reads an attribute whatever its type; the host's only sign of absence is that every typed read fails. An integer
    /// is taken as a number, because `floor=1` is what people write.
    pub(crate) fn attribute(&self, name: &CStr) -> Result<Attribute> {
        let mut number = 0.0_f32;
        if call!(self.api, KernelInfoGetAttribute_float(self.info, name.as_ptr(), &mut number)).is_ok() {
            return Ok(Attribute::Number(number));
        }
        let mut integer = 0_i64;
        if call!(self.api, KernelInfoGetAttribute_int64(self.info, name.as_ptr(), &mut integer)).is_ok() {
            #[allow(clippy::cast_precision_loss)] // settings of this kind are small
            return Ok(Attribute::Number(integer as f32));
        }
        let mut size = 0_usize;
        let query =
            call!(self.api, KernelInfoGetAttribute_string(self.info, name.as_ptr(), ptr::null_mut(), &mut size));
        if query.is_ok() {
            let mut bytes = vec![0_u8; size.max(1)];
            let text = bytes.as_mut_ptr().cast::<c_char>();
            call!(self.api, KernelInfoGetAttribute_string(self.info, name.as_ptr(), text, &mut size))?;
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            return Ok(Attribute::Text(String::from_utf8_lossy(text).into_owned()));
        }
        let list = |found: Result<()>| match found {
            Ok(()) => Err(Error::Attribute {
                name: name.to_string_lossy().into_owned(),
                reason: "wanted one number or string, got a list".to_owned(),
            }),
            Err(_) => Ok(()),
        };
        list(call!(self.api, KernelInfoGetAttributeArray_float(self.info, name.as_ptr(), ptr::null_mut(), &mut size)))?;
        list(call!(self.api, KernelInfoGetAttributeArray_int64(self.info, name.as_ptr(), ptr::null_mut(), &mut size)))?;
        Ok(Attribute::Missing)
    }
}

/// A run of one node: its inputs, its outputs and the host's threads.
pub(crate) struct Run<'a> {
    api: Api,
    context: *mut OrtKernelContext,
    taken: Cell<u64>,
    call: PhantomData<&'a mut OrtKernelContext>,
}

impl<'a> Run<'a> {
    /// # Safety
    /// `context` is what the host passed to `KernelComputeV2`, that call is still in progress during `'a`, and no other
    /// `Run` is made of it.
    pub(crate) unsafe fn new(api: Api, context: *mut OrtKernelContext) -> Self {
        Self { api, context, taken: Cell::new(0), call: PhantomData }
    }

    /// The input at `index`, or `None` where an optional input was left out.
    pub(crate) fn input(&self, index: usize, name: &'static str) -> Result<Option<Tensor<'a>>> {
        let mut count = 0_usize;
        call!(self.api, KernelContext_GetInputCount(self.context, &mut count))?;
        if index >= count {
            return Ok(None);
        }
        let mut value = ptr::null();
        call!(self.api, KernelContext_GetInput(self.context, index, &mut value))?;
        NonNull::new(value.cast_mut()).map(|value| Tensor::read(self.api, value, name)).transpose()
    }

    /// An input that must be there.
    pub(crate) fn required(&self, index: usize, name: &'static str) -> Result<Tensor<'a>> {
        self.input(index, name)?.ok_or_else(|| Error::tensor(name, "a tensor", "none"))
    }

    /// Whether the node has an output at `index`. (It may still be one that nobody named.)
    pub(crate) fn wants(&self, index: usize) -> Result<bool> {
        let mut count = 0_usize;
        call!(self.api, KernelContext_GetOutputCount(self.context, &mut count))?;
        Ok(index < count)
    }

    /// Has the host allocate the output at `index`, or `None` where nobody asked for an optional output. What the memory
    /// holds is unspecified: write every element.
    ///
    /// # Panics
    /// When one output is taken twice: there must be one writer only.
    pub(crate) fn output<T: Plain>(&self, index: usize, shape: &[usize]) -> Result<Option<&'a mut [T]>> {
        if !self.wants(index)? {
            return Ok(None);
        }
        assert!(index < 64 && self.taken.get() & (1 << index) == 0, "output {index} is taken twice");
        self.taken.set(self.taken.get() | 1 << index);
        let dimensions: Vec<i64> = shape.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX)).collect();
        let mut value = ptr::null_mut();
        let (first, rank) = (dimensions.as_ptr(), dimensions.len());
        call!(self.api, KernelContext_GetOutput(self.context, index, first, rank, &mut value))?;
        let Some(value) = NonNull::new(value) else { return Ok(None) };
        let tensor = Tensor::read(self.api, value, "output")?;
        let length = shape.iter().product::<usize>();
        let data = tensor.elements::<T>(length)?;
        if length == 0 {
            return Ok(Some(&mut []));
        }
        // SAFETY: `elements` checked type, alignment and length of the host's buffer; the host has each output written by
        // its one node only, and `taken` lets this run hand it out once, so nobody else reads or writes it during `'a`.
        // Plain numbers need no initialisation to be written, and reading an unwritten element yields some number.
        Ok(Some(unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), length) }))
    }

    /// The host's intra-op threads.
    pub(crate) fn threads(&self) -> Threads<'_> {
        Threads { api: self.api, context: self.context, call: PhantomData }
    }
}

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
        call!(self.api, KernelContext_ParallelFor(self.context, step, total, 0, pointer))?;
        match state.panic.into_inner() {
            Ok(Some(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(()),
        }
    }
}

/// A tensor of the host: its name in our signature, its type, its shape and where its numbers are.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    name: &'static str,
    element: TypeCode,
    shape: Vec<usize>,
    data: *const c_void,
    run: PhantomData<&'a OrtValue>,
}

impl<'a> Tensor<'a> {
    fn read(api: Api, value: NonNull<OrtValue>, name: &'static str) -> Result<Self> {
        let mut info = ptr::null_mut();
        call!(api, GetTensorTypeAndShape(value.as_ptr(), &mut info))?;
        let described = describe(api, info);
        call_void!(api, ReleaseTensorTypeAndShapeInfo(info));
        let (element, dimensions) = described?;
        let shape = dimensions
            .iter()
            .map(|&length| usize::try_from(length))
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|_| Error::tensor(name, "lengths of 0 and more", format!("{dimensions:?}")))?;
        let mut data = ptr::null_mut();
        call!(api, GetTensorMutableData(value.as_ptr(), &mut data))?;
        Ok(Self { name, element, shape, data, run: PhantomData })
    }

    /// The name under which errors speak of it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its lengths.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers in row-major order.
    pub(crate) fn as_slice<T: Plain>(&self) -> Result<&'a [T]> {
        let length = self.shape.iter().product::<usize>();
        let data = self.elements::<T>(length)?;
        if length == 0 {
            return Ok(&[]);
        }
        // SAFETY: `elements` checked type and alignment, the host's tensor has `length` elements by its own shape, and
        // inputs are neither written nor freed before the run's callback returns.
        Ok(unsafe { std::slice::from_raw_parts(data.as_ptr(), length) })
    }

    /// Checks type, length and alignment; an empty tensor may have no memory at all.
    fn elements<T: Plain>(&self, length: usize) -> Result<NonNull<T>> {
        if self.element != T::TYPE as TypeCode {
            return Err(Error::tensor(self.name, type_name(T::TYPE as TypeCode), type_name(self.element)));
        }
        if self.shape.iter().product::<usize>() != length {
            return Err(Error::tensor(self.name, format!("{length} elements"), format!("shape {:?}", self.shape)));
        }
        if length == 0 {
            return Ok(NonNull::dangling());
        }
        let data = NonNull::new(self.data.cast_mut().cast::<T>());
        data.filter(|data| data.is_aligned()).ok_or_else(|| {
            Error::tensor(self.name, format!("memory aligned to {} bytes", align_of::<T>()), format!("{:p}", self.data))
        })
    }
}

/// Type and lengths; a length that is not known while a graph is built is -1.
pub(crate) fn describe(api: Api, info: *const OrtTensorTypeAndShapeInfo) -> Result<(TypeCode, Vec<i64>)> {
    let mut element: TypeCode = 0;
    call!(api, GetTensorElementType(info, ptr::from_mut(&mut element).cast()))?;
    let mut rank = 0_usize;
    call!(api, GetDimensionsCount(info, &mut rank))?;
    let mut dimensions = vec![0_i64; rank];
    call!(api, GetDimensions(info, dimensions.as_mut_ptr(), rank))?;
    Ok((element, dimensions))
}

pub(crate) fn type_name(element: TypeCode) -> String {
    let known = [(f32::TYPE, "float32"), (f64::TYPE, "float64"), (i32::TYPE, "int32"), (i64::TYPE, "int64")];
    let name = known.iter().find(|(known, _)| *known as TypeCode == element);
    name.map_or_else(|| format!("element type {element}"), |(_, name)| (*name).to_owned())
}

/// What is known of a node's inputs while a graph is built, and where its outputs' types and shapes go.
pub(crate) struct Inference {
    api: Api,
    context: *mut OrtShapeInferContext,
}

/// One length of a tensor while a graph is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Known(i64),
    Named(CString),
    Unknown,
}

impl Inference {
    /// # Safety
    /// `context` is what the host passed to `InferOutputShapeFn`, and that call is still in progress while the result lives.
    pub(crate) unsafe fn new(api: Api, context: *mut OrtShapeInferContext) -> Self {
        Self { api, context }
    }

    /// Type and lengths of an input; `None` where it was left out or nothing is known of it.
    pub(crate) fn input(&self, index: usize) -> Result<Option<(TypeCode, Vec<Length>)>> {
        let mut count = 0_usize;
        call!(self.api, ShapeInferContext_GetInputCount(self.context, &mut count))?;
        if index >= count {
            return Ok(None);
        }
        let mut info = ptr::null_mut(); // belongs to the context: not ours to release
        call!(self.api, ShapeInferContext_GetInputTypeShape(self.context, index, &mut info))?;
        if info.is_null() {
            return Ok(None);
        }
        let (element, dimensions) = describe(self.api, info)?;
        let mut names = vec![ptr::null::<c_char>(); dimensions.len()];
        call!(self.api, GetSymbolicDimensions(info, names.as_mut_ptr(), names.len()))?;
        let lengths = dimensions.iter().zip(names).map(|(&length, name)| {
            if length >= 0 {
                return Length::Known(length);
            }
            // SAFETY: a name that is not null is a NUL-terminated string owned by `info`, which lives during this call.
            let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
            name.filter(|name| !name.is_empty()).map_or(Length::Unknown, |name| Length::Named(name.to_owned()))
        });
        Ok(Some((element, lengths.collect())))
    }

    /// Declares an output.
    pub(crate) fn set_output(&self, index: usize, element: TypeCode, lengths: &[Length]) -> Result<()> {
        let dimensions: Vec<i64> =
            lengths.iter().map(|length| if let Length::Known(length) = length { *length } else { -1 }).collect();
        let mut names: Vec<*const c_char> = lengths
            .iter()
            .map(|length| if let Length::Named(name) = length { name.as_ptr() } else { c"".as_ptr() })
            .collect();
        let mut info = ptr::null_mut();
        call!(self.api, CreateTensorTypeAndShapeInfo(&mut info))?;
        let declared = (|| {
            call!(self.api, SetTensorElementType(info, element_type(element)?))?;
            call!(self.api, SetDimensions(info, dimensions.as_ptr(), dimensions.len()))?;
            call!(self.api, SetSymbolicDimensions(info, names.as_mut_ptr(), names.len()))?;
            call!(self.api, ShapeInferContext_SetOutputTypeShape(self.context, index, info))
        })();
        call_void!(self.api, ReleaseTensorTypeAndShapeInfo(info));
        declared
    }
}

fn element_type(code: TypeCode) -> Result<Type> {
    let known = [f32::TYPE, f64::TYPE, i32::TYPE, i64::TYPE].into_iter().find(|known| *known as TypeCode == code);
    known.ok_or_else(|| Error::tensor("output", "a known element type", type_name(code)))
}
