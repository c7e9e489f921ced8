//! The CUDA operators in sessions of a CPU build of ONNX Runtime, on an emulated driver.
//!
//! `libcuda.so.1`, `libcublas.so.12` and `libcudnn.so.9` are compiled from `kernels/emulate/` and the kernels' own sources, and loaded before
//! anything asks for them by those names; everything of the library then runs as it would on a device, down to the launches.
//! ONNX Runtime's part of a CUDA provider is played by a copy of its C table with four entries of our own: the operators'
//! CUDA tables are taken as CPU kernels (memory is the process's either way), and stream, handle and scratch memory are ours.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    alloc::{Layout, alloc, dealloc},
    collections::HashMap,
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    ptr, slice,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};
use ort::{
    AsPointer as _,
    session::{Session, builder::SessionBuilder},
};
use ort_sys::{
    OrtAllocator, OrtApi, OrtCustomOp, OrtCustomOpDomain, OrtKernelContext, OrtMemoryInfo, OrtStatusPtr, OrtValue,
};

use crate::common::session::environment;

/// Tensor-core products with TF32, and factors in device memory: a handle must come back as its owner left it.
const OWNERS_MATH: c_int = 3;
const OWNERS_POINTERS: c_int = 1;

/// The emulated driver, cuBLAS and cuDNN, and the one stream and handles on them. Held by one test at a time.
pub(crate) struct Emulation {
    cuda: Library,
    cublas: Library,
    cudnn: Library,
    handle: usize,
    dnn: usize,
}

/// The stream's first word is the number of its context.
static STREAM: AtomicUsize = AtomicUsize::new(0x1000);
static OTHER_STREAM: AtomicUsize = AtomicUsize::new(0x1000);
static HANDLE: AtomicUsize = AtomicUsize::new(0);
static DNN: AtomicUsize = AtomicUsize::new(0);
/// As a provider's options are handed out: in a pointer's place.
static TF32: AtomicUsize = AtomicUsize::new(0);

impl Emulation {
    /// Builds and loads the libraries the first time; waits for other tests of this process.
    pub(crate) fn get() -> MutexGuard<'static, Self> {
        static ONE: OnceLock<Mutex<Emulation>> = OnceLock::new();
        let one = ONE.get_or_init(|| Mutex::new(Self::new()));
        let emulation = one.lock().unwrap_or_else(PoisonError::into_inner);
        STREAM.store(0x1000, Ordering::Relaxed);
        emulation.log();
        emulation
    }

    fn new() -> Self {
        let (cublas, cudnn) = (build("cublas.cpp", "libcublas.so.12"), build("cudnn.cpp", "libcudnn.so.9"));
        let emulation = Self { cuda: load_driver(), cublas: load(&cublas), cudnn: load(&cudnn), handle: 0, dnn: 0 };
        let mut handle: *mut c_void = ptr::null_mut();
        type New = unsafe extern "C" fn(*mut *mut c_void, *mut c_void, c_int, c_int) -> c_int;
        let new: Symbol<New> = find(&emulation.cublas, "emulate_cublas_handle");
        // SAFETY: as declared in cublas.cpp.
        unsafe { new(&raw mut handle, OTHER_STREAM.as_ptr().cast(), OWNERS_MATH, OWNERS_POINTERS) };
        HANDLE.store(handle as usize, Ordering::Relaxed);
        let mut dnn: *mut c_void = ptr::null_mut();
        let new: Symbol<unsafe extern "C" fn(*mut *mut c_void, *mut c_void) -> c_int> =
            find(&emulation.cudnn, "emulate_cudnn_handle");
        // SAFETY: as declared in cudnn.cpp.
        unsafe { new(&raw mut dnn, OTHER_STREAM.as_ptr().cast()) };
        give_dnn(dnn as usize);
        Self { handle: handle as usize, dnn: dnn as usize, ..emulation }
    }

    /// Has a driver function answer with a code until it is 0.
    pub(crate) fn fail(&self, function: &str, code: c_int) {
        let fail: Symbol<unsafe extern "C" fn(*const c_char, c_int)> = find(&self.cuda, "emulate_fail");
        let name = CString::new(function).expect("a name");
        // SAFETY: as declared in driver.cpp.
        unsafe { fail(name.as_ptr(), code) };
    }

    fn set(&self, function: &str, value: c_int) {
        let set: Symbol<unsafe extern "C" fn(c_int)> = find(&self.cuda, function);
        // SAFETY: as declared in driver.cpp.
        unsafe { set(value) };
    }

    /// Runs threads and blocks in the opposite order.
    pub(crate) fn reverse(&self, on: bool) {
        self.set("emulate_reverse", c_int::from(on));
    }

    /// Has the log say what each launch moves.
    pub(crate) fn count(&self, on: bool) {
        self.set("emulate_count", c_int::from(on));
    }

    /// The device's compute capability.
    pub(crate) fn capability(&self, major: c_int) {
        self.set("emulate_capability", major);
    }

    /// The driver's version.
    pub(crate) fn version(&self, version: c_int) {
        self.set("emulate_version", version);
    }

    /// A context in which nothing is loaded yet.
    pub(crate) fn new_context(&self) {
        static CONTEXTS: AtomicUsize = AtomicUsize::new(0x2000);
        STREAM.store(CONTEXTS.fetch_add(16, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What the driver was asked to load and launch since the last call.
    pub(crate) fn log(&self) -> Vec<String> {
        let log: Symbol<unsafe extern "C" fn() -> *mut c_char> = find(&self.cuda, "emulate_log");
        // SAFETY: as declared in driver.cpp.
        let text = unsafe { log() };
        // SAFETY: a copy of the log for us, as text; leaked, there is little of it.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().lines().map(str::to_owned).collect()
    }

    /// What the driver writes of the stream that runs go to.
    pub(crate) fn stream(&self) -> String {
        format!("stream {:p}", STREAM.as_ptr())
    }

    /// Whether the handle is as its owner left it.
    pub(crate) fn handle_is_untouched(&self) -> bool {
        type State = unsafe extern "C" fn(usize, *mut *mut c_void, *mut c_int, *mut c_int) -> c_int;
        let state: Symbol<State> = find(&self.cublas, "emulate_cublas_state");
        let (mut stream, mut math, mut pointers) = (ptr::null_mut(), 0, 0);
        // SAFETY: as declared in cublas.cpp.
        unsafe { state(self.handle, &raw mut stream, &raw mut math, &raw mut pointers) };
        stream == OTHER_STREAM.as_ptr().cast() && math == OWNERS_MATH && pointers == OWNERS_POINTERS
    }

    /// Has a function of cuDNN answer with a status until it is 0.
    pub(crate) fn fail_in_cudnn(&self, function: &str, status: c_int) {
        let fail: Symbol<unsafe extern "C" fn(*const c_char, c_int)> = find(&self.cudnn, "emulate_cudnn_fail");
        let name = CString::new(function).expect("a name");
        // SAFETY: as declared in cudnn.cpp.
        unsafe { fail(name.as_ptr(), status) };
    }

    /// What cuDNN was called for since the last call, and how it computed what it did.
    pub(crate) fn log_of_cudnn(&self) -> Vec<String> {
        let log: Symbol<unsafe extern "C" fn() -> *mut c_char> = find(&self.cudnn, "emulate_cudnn_log");
        // SAFETY: as declared in cudnn.cpp.
        let text = unsafe { log() };
        // SAFETY: a copy of the log for us, as text; leaked, there is little of it.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().lines().map(str::to_owned).collect()
    }

    /// Whether cuDNN's handle is as its owner left it, and all descriptors are destroyed.
    pub(crate) fn cudnn_is_untouched(&self) -> bool {
        let stream: Symbol<unsafe extern "C" fn(usize) -> *mut c_void> = find(&self.cudnn, "emulate_cudnn_stream");
        let living: Symbol<unsafe extern "C" fn() -> c_int> = find(&self.cudnn, "emulate_cudnn_living");
        // SAFETY: as declared in cudnn.cpp.
        let stream = unsafe { stream(self.dnn) };
        // SAFETY: as declared in cudnn.cpp.
        let living = unsafe { living() };
        stream == OTHER_STREAM.as_ptr().cast() && living == 0
    }

    /// Takes descriptors for destroyed that a failure has left.
    pub(crate) fn forget_descriptors(&self) {
        let forget: Symbol<unsafe extern "C" fn()> = find(&self.cudnn, "emulate_cudnn_forget");
        // SAFETY: as declared in cudnn.cpp.
        unsafe { forget() };
    }

    /// Whether the provider says that TF32 is allowed.
    pub(crate) fn allow_tf32(&self, on: bool) {
        TF32.store(usize::from(on), Ordering::Relaxed);
    }

    /// Scratch buffers that were taken and not given back.
    pub(crate) fn held(&self) -> usize {
        SCRATCH.lock().expect("the table of buffers").len()
    }

    /// A builder whose sessions run the CUDA operators here.
    pub(crate) fn builder(&self) -> Result<SessionBuilder> {
        emulated_builder()
    }
}

fn find<T>(library: &Library, name: &str) -> Symbol<T> {
    // SAFETY: the callers name the type that the C++ source declares.
    unsafe { library.get(name.as_bytes()) }.expect(name)
}

/// The emulated driver, in this process under the driver's name from now on.
pub(crate) fn load_driver() -> Library {
    load(&build("driver.cpp", "libcuda.so.1"))
}

/// What the provider gives as its cuBLAS handle from now on.
pub(crate) fn give_handle(handle: usize) {
    HANDLE.store(handle, Ordering::Relaxed);
}

/// What the provider gives as its cuDNN handle from now on.
pub(crate) fn give_dnn(handle: usize) {
    DNN.store(handle, Ordering::Relaxed);
}

fn load(path: &Path) -> Library {
    // SAFETY: built a moment ago; its initialisers fill a table.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.expect("the library loads")
}

/// Compiles a library; its own name inside is that by which it is looked for.
fn build(source: &str, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/emulate").join(source);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).expect("cargo's folder for tests");
    let (path, partial) = (folder.join(name), folder.join(format!("{name}.{}", process::id())));
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let options = [
        "-std=c++17",
        "-O2",
        "-fPIC",
        "-shared",
        "-pthread",
        "-U_FORTIFY_SOURCE",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
    ];
    let status = Command::new(&compiler)
        .args(options)
        .arg(format!("-Wl,-soname,{name}"))
        .args([&source, Path::new("-o"), &partial])
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(status.success(), "{compiler} {}: {status}", source.display());
    fs::rename(&partial, &path).expect("the library's place");
    path
}

/// A builder whose sessions run the CUDA operators on whatever answers to the name of the driver.
pub(crate) fn emulated_builder() -> Result<SessionBuilder> {
    let mut builder = Session::builder(environment())?;
    // SAFETY: the options live inside `builder`; the table is a complete copy, kept for ever, of the table of the onnxruntime
    // that made them.
    unsafe { pdloss_ort::register(builder.ptr_mut(), table()) }?;
    Ok(builder)
}

fn table() -> *const OrtApi {
    static TABLE: OnceLock<usize> = OnceLock::new();
    *TABLE.get_or_init(|| {
        // SAFETY: a table of function pointers, which a copy does not wear out.
        let mut table = Box::new(unsafe { ptr::read(ort::api()) });
        table.CustomOpDomain_Add = add_operator;
        table.KernelContext_GetResource = resource;
        table.KernelContext_GetScratchBuffer = scratch;
        table.AllocatorFree = free;
        table.GetTensorMemoryInfo = memory_of_tensor;
        Box::into_raw(table) as usize
    }) as *const OrtApi
}

unsafe extern "system" fn cpu_provider(_: *const OrtCustomOp) -> *const c_char {
    ptr::null()
}

/// Takes the CUDA tables as the CPU's, and leaves out those of the CPU.
unsafe extern "system" fn add_operator(domain: *mut OrtCustomOpDomain, operator: *const OrtCustomOp) -> OrtStatusPtr {
    // SAFETY: the library's tables are complete, and leaked boxes that nobody else looks at yet.
    let table = unsafe { &mut *operator.cast_mut() };
    // SAFETY: a callback of the library with its own table.
    let provider = unsafe { table.GetExecutionProviderType.expect("a callback")(operator) };
    if provider.is_null() {
        return OrtStatusPtr(ptr::null_mut());
    }
    // SAFETY: a provider's name is text.
    assert_eq!(unsafe { CStr::from_ptr(provider) }, c"CUDAExecutionProvider");
    table.GetExecutionProviderType = Some(cpu_provider);
    // SAFETY: the host's own entry, with what the library gave.
    unsafe { (ort::api().CustomOpDomain_Add)(domain, operator) }
}

unsafe extern "system" fn resource(
    _: *const OrtKernelContext,
    version: c_int,
    id: c_int,
    out: *mut *mut c_void,
) -> OrtStatusPtr {
    let found = match (version, id) {
        (1..=3, 10_000) => STREAM.as_ptr().cast(),
        (1..=3, 10_001) => DNN.load(Ordering::Relaxed) as *mut c_void,
        (3, 10_011) => TF32.load(Ordering::Relaxed) as *mut c_void,
        (1..=3, 10_002) => HANDLE.load(Ordering::Relaxed) as *mut c_void,
        _ => ptr::null_mut(),
    };
    // SAFETY: the library asks with a place to write to.
    unsafe { *out = found };
    OrtStatusPtr(ptr::null_mut())
}

/// The caller may have bound memory for which onnxruntime has no allocator.
unsafe extern "system" fn memory_of_tensor(_: *const OrtValue, _: *mut *const OrtMemoryInfo) -> OrtStatusPtr {
    eprintln!("scratch memory is the kernel's own, not a tensor's");
    process::abort();
}

/// Bytes before and behind each scratch buffer that nobody may write to.
const GUARD: usize = 256;
const GUARD_BYTE: u8 = 0xa5;

static SCRATCH: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

trait Len {
    fn len(&self) -> usize;
}

impl Len for Option<HashMap<usize, usize>> {
    fn len(&self) -> usize {
        self.as_ref().map_or(0, HashMap::len)
    }
}

fn block(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + 2 * GUARD, 256).expect("a size")
}

/// Memory full of NaN, between guards.
unsafe extern "system" fn scratch(
    _: *const OrtKernelContext,
    _: *const OrtMemoryInfo,
    bytes: usize,
    out: *mut *mut c_void,
) -> OrtStatusPtr {
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(block(bytes)) };
    assert!(!start.is_null());
    // SAFETY: just allocated, of this size.
    let all = unsafe { slice::from_raw_parts_mut(start.cast::<std::mem::MaybeUninit<u8>>(), bytes + 2 * GUARD) };
    for (at, byte) in all.iter_mut().enumerate() {
        byte.write(if (GUARD..GUARD + bytes).contains(&at) { 0xff } else { GUARD_BYTE });
    }
    let buffer = start.wrapping_add(GUARD);
    SCRATCH.lock().expect("the table of buffers").get_or_insert_default().insert(buffer as usize, bytes);
    // SAFETY: the library asks with a place to write to.
    unsafe { *out = buffer.cast() };
    OrtStatusPtr(ptr::null_mut())
}

unsafe extern "system" fn free(_: *mut OrtAllocator, buffer: *mut c_void) -> OrtStatusPtr {
    let known = SCRATCH.lock().expect("the table of buffers").as_mut().and_then(|all| all.remove(&(buffer as usize)));
    let bytes = known.expect("a buffer that was taken and not freed yet");
    let start = buffer.cast::<u8>().wrapping_sub(GUARD);
    // SAFETY: allocated in `scratch` with this size, and written all over there.
    let all = unsafe { slice::from_raw_parts(start, bytes + 2 * GUARD) };
    let intact = all[..GUARD].iter().chain(&all[GUARD + bytes..]).all(|&byte| byte == GUARD_BYTE);
    if !intact {
        // This is called from C: unwinding through it would be the next defect.
        eprintln!("a kernel wrote beyond a scratch buffer of {bytes} bytes");
        process::abort();
    }
    // SAFETY: as allocated; nobody has it any more.
    unsafe { dealloc(start, block(bytes)) };
    OrtStatusPtr(ptr::null_mut())
}
