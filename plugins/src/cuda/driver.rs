//! The CUDA driver: kernels loaded into the context of a stream, and launched on it.
//!
//! Nothing here is called before the first run of a node on the CUDA provider, so a machine without a driver registers the
//! operators as fast as any other.
#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    ffi::{CString, c_char, c_void},
    ptr,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use cudarc::driver::{result::DriverError, sys};
use libloading::Library;

use super::{
    images,
    params::{Address, Parameters},
};
use crate::error::{Error, Result};

/// Shared memory that kernels with dynamic one have beside it, at most: a device's limit is for both.
const STATIC_SHARED: i32 = 3 * 1024;

/// The first driver whose calls and images these are: that of CUDA 12.0.
const LEAST_VERSION: i32 = 12000;

fn failed(doing: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |error| Error::Device(format!("{doing}: {:?}", error.0))
}

/// The driver's functions that are called here, found in its library.
macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        #[allow(non_snake_case, reason = "the driver's names")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> sys::CUresult,)*
        }

        impl Functions {
            fn of(library: &Library) -> std::result::Result<Self, libloading::Error> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the types below are those that CUDA's documentation gives, as `sys` has them.
                        *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?
                    },)*
                })
            }
        }
    };
}

functions! {
    cuDriverGetVersion(*mut i32);
    cuCtxGetCurrent(*mut sys::CUcontext);
    cuCtxSetCurrent(sys::CUcontext);
    cuCtxGetId(sys::CUcontext, *mut u64);
    cuCtxGetDevice(*mut sys::CUdevice);
    cuDeviceGetAttribute(*mut i32, sys::CUdevice_attribute, sys::CUdevice);
    cuStreamGetCtx(sys::CUstream, *mut sys::CUcontext);
    cuThreadExchangeStreamCaptureMode(*mut sys::CUstreamCaptureMode);
    cuModuleLoadData(*mut sys::CUmodule, *const c_void);
    cuModuleGetFunction(*mut sys::CUfunction, sys::CUmodule, *const c_char);
    cuFuncSetAttribute(sys::CUfunction, sys::CUfunction_attribute, i32);
    cuMemsetD8Async(sys::CUdeviceptr, u8, usize, sys::CUstream);
    cuLaunchKernel(sys::CUfunction, u32, u32, u32, u32, u32, u32, u32, sys::CUstream, *mut *mut c_void, *mut *mut c_void);
}

/// The driver; looked for once. `libcuda.so.1` comes first, because `libcuda.so` may be the toolkit's stub.
fn driver() -> Result<&'static Functions> {
    static FOUND: OnceLock<std::result::Result<Functions, String>> = OnceLock::new();
    let names = if cfg!(windows) { ["nvcuda.dll", "nvcuda"] } else { ["libcuda.so.1", "libcuda.so"] };
    let found = FOUND.get_or_init(|| {
        // SAFETY: opens the driver's library, whose initialisers run wherever CUDA is used at all.
        let library = names.iter().find_map(|&name| unsafe { Library::new(name) }.ok());
        let library = library.ok_or_else(|| format!("{} is not found: is the NVIDIA driver installed?", names[0]))?;
        let functions = Functions::of(&library)
            .map_err(|error| format!("{}: {error}; wanted a driver for CUDA 12.0 or later", names[0]))?;
        std::mem::forget(library); // its functions are used until the process ends
        Ok(functions)
    });
    found.as_ref().map_err(|reason| Error::Device(reason.clone()))
}

/// The driver, if it is one that this library can work with.
fn check_driver() -> Result<&'static Functions> {
    let driver = driver()?;
    let mut version = 0;
    // SAFETY: writes one integer; every driver has this call, before any initialisation.
    unsafe { (driver.cuDriverGetVersion)(&raw mut version) }
        .result()
        .map_err(failed("asking for the driver's version"))?;
    if version < LEAST_VERSION {
        let text = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
        let (wanted, got) = (text(LEAST_VERSION), text(version));
        return Err(Error::Device(format!("wanted a driver for CUDA {wanted} or later, got one for {got}")));
    }
    Ok(driver)
}

/// The kernels of one context, by name. Never unloaded: the context's end does that.
struct Module {
    /// That of the context.
    id: u64,
    functions: HashMap<String, sys::CUfunction>,
    /// See [`Stream::tensor_memory`].
    tensor_memory: Option<usize>,
}

// SAFETY: functions are handles that may be launched from any thread while their context is current, which `Stream::launch`
// sees to; the map is not changed once it is shared.
unsafe impl Send for Module {}
// SAFETY: as for `Send`.
unsafe impl Sync for Module {}

/// The modules by the number of their context, which, unlike its address, is not used again.
static MODULES: LazyLock<Mutex<HashMap<u64, &'static Module>>> = LazyLock::new(Mutex::default);

/// A context that is current in this thread as long as this lives.
struct Current {
    driver: &'static Functions,
    /// What was current before, and is again afterwards.
    before: sys::CUcontext,
    context: sys::CUcontext,
}

impl Current {
    /// # Safety
    /// `context` is live, and stays so as long as the result.
    unsafe fn make(driver: &'static Functions, context: sys::CUcontext) -> Result<Self> {
        let mut before = ptr::null_mut();
        // SAFETY: writes one pointer.
        unsafe { (driver.cuCtxGetCurrent)(&raw mut before) }
            .result()
            .map_err(failed("asking for the current context"))?;
        if before != context {
            // SAFETY: live by this function's contract.
            unsafe { (driver.cuCtxSetCurrent)(context) }
                .result()
                .map_err(failed("making the stream's context current"))?;
        }
        Ok(Self { driver, before, context })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.before != self.context {
            // SAFETY: was this thread's current context, or null, when the other one took its place.
            let _ = unsafe { (self.driver.cuCtxSetCurrent)(self.before) };
        }
    }
}

/// ONNX Runtime's stream, its context current, the kernels loaded in that.
pub(crate) struct Stream {
    driver: &'static Functions,
    raw: sys::CUstream,
    module: &'static Module,
    _current: Current,
}

impl Stream {
    /// Makes the stream's context current in this thread and loads the kernels where that has not happened yet.
    ///
    /// # Safety
    /// `raw` is a live stream of the CUDA runtime or driver in this process, or null for the default stream of the current
    /// context, and stays alive as long as the result.
    pub(crate) unsafe fn of(raw: *mut c_void) -> Result<Self> {
        let driver = check_driver()?;
        let raw = raw.cast::<sys::CUstream_st>();
        let mut context = ptr::null_mut();
        // SAFETY: `raw` is live by this function's contract; writes one pointer.
        unsafe { (driver.cuStreamGetCtx)(raw, &raw mut context) }
            .result()
            .map_err(failed("asking for the context of the provider's stream"))?;
        // SAFETY: a live stream's context is live.
        let current = unsafe { Current::make(driver, context) }?;
        Ok(Self { driver, raw, module: module_of(driver, context)?, _current: current })
    }

    /// Shared memory that a block of a kernel for tensor cores may have; none on devices that run none.
    pub(crate) fn tensor_memory(&self) -> Option<usize> {
        self.module.tensor_memory
    }

    /// The number of its context, which is not used again.
    pub(crate) fn context(&self) -> u64 {
        self.module.id
    }

    /// Enqueues zeros.
    pub(crate) fn fill_with_zeros(&self, address: Address, bytes: usize) -> Result<()> {
        // SAFETY: the stream is live, its context current; as for kernels, the address is of the device.
        unsafe { (self.driver.cuMemsetD8Async)(address.0, 0, bytes, self.raw) }
            .result()
            .map_err(failed("filling with zeros"))
    }

    /// The stream, as cuBLAS takes it.
    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Enqueues a kernel. The host's memory is not touched by it: device memory holds no object of this program, so the
    /// worst that wrong parameters do is to spoil numbers on the device or to fault its context, which later calls report.
    pub(crate) fn launch<P: Parameters>(
        &self,
        name: &str,
        (columns, rows): (u32, u32),
        threads: u32,
        shared: u32,
        parameters: &P,
    ) -> Result<()> {
        let known = self.module.functions.get(name);
        let function = *known.ok_or_else(|| Error::Device(format!("the image has no kernel {name}")))?;
        let mut arguments = [ptr::from_ref(parameters).cast_mut().cast::<c_void>()];
        // SAFETY: the function belongs to the stream's context, which is current. The kernel takes exactly one parameter, of
        // the layout that `Parameters` promises; the driver copies it before the call returns, and does not write to it.
        unsafe {
            (self.driver.cuLaunchKernel)(
                function,
                columns,
                rows,
                1,
                threads,
                1,
                1,
                shared,
                self.raw,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        }
        .result()
        .map_err(failed(name))
    }
}

/// The kernels in the current context.
fn module_of(driver: &Functions, context: sys::CUcontext) -> Result<&'static Module> {
    let mut id = 0;
    // SAFETY: the context is live; writes one number.
    unsafe { (driver.cuCtxGetId)(context, &raw mut id) }.result().map_err(failed("asking for the context's number"))?;
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(&id) {
        return Ok(module);
    }
    // Leaked on purpose: kernels stay loaded as long as their context, and there is one context a device.
    let module: &'static Module = Box::leak(Box::new(load(driver, id)?));
    modules.insert(id, module);
    Ok(module)
}

/// Loads the image for the current context's device, and every kernel in it.
///
/// Under a CUDA graph this happens in the runs that ONNX Runtime makes before it captures one. Should a capture be under way
/// all the same, in this thread or another, the relaxed mode keeps loading from spoiling it: it allocates, but enqueues
/// nothing on the captured stream.
fn load(driver: &Functions, id: u64) -> Result<Module> {
    let mut device = 0;
    // SAFETY: a context is current; writes one integer.
    unsafe { (driver.cuCtxGetDevice)(&raw mut device) }.result().map_err(failed("asking for the device"))?;
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: the device was just named by the driver; writes one integer.
        unsafe { (driver.cuDeviceGetAttribute)(&raw mut value, attribute, device) }
            .result()
            .map_err(failed("asking for the device's compute capability and shared memory"))?;
        Ok(value)
    };
    let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let shared = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
    // The kernels' products are instructions of 8.0.
    let tensor_memory = (major >= 8).then_some(shared - STATIC_SHARED);
    let image = images::image(major)?;
    let mut mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    // SAFETY: swaps this thread's mode with the variable's.
    unsafe { (driver.cuThreadExchangeStreamCaptureMode)(&raw mut mode) }
        .result()
        .map_err(failed("changing the capture mode"))?;
    let loaded = load_image(driver, id, &image, tensor_memory);
    // SAFETY: as above; puts back what was.
    let restored = unsafe { (driver.cuThreadExchangeStreamCaptureMode)(&raw mut mode) };
    let module = loaded?;
    restored.result().map_err(failed("changing the capture mode back"))?;
    Ok(module)
}

fn load_image(driver: &Functions, id: u64, image: &[u8], tensor_memory: Option<i32>) -> Result<Module> {
    let mut module = ptr::null_mut();
    // SAFETY: a complete cubin, or a PTX that ends in NUL: the checksums beside the images are tested. The driver copies it.
    unsafe { (driver.cuModuleLoadData)(&raw mut module, image.as_ptr().cast()) }
        .result()
        .map_err(failed("loading the kernels"))?;
    let names = images::KERNELS.iter().map(|name| name.to_string_lossy().into_owned());
    let by_element =
        images::BY_ELEMENT.iter().flat_map(|name| ["f32", "f16", "bf16"].map(|element| format!("{name}_{element}")));
    let mut functions = HashMap::new();
    for name in names.chain(by_element) {
        let text = CString::new(name.clone()).unwrap_or_default();
        let mut function = ptr::null_mut();
        // SAFETY: the module was just loaded and is never unloaded; the name ends in NUL.
        unsafe { (driver.cuModuleGetFunction)(&raw mut function, module, text.as_ptr()) }
            .result()
            .map_err(|error| Error::Device(format!("kernel {name}: {:?}", error.0)))?;
        if let Some(most) = tensor_memory
            .filter(|_| ["tensor_gradient", "tensor_gram", "sweep"].iter().any(|with| name.starts_with(with)))
        {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of the module just loaded; the size is what the device gives a block beside
            // what the function has of itself.
            unsafe { (driver.cuFuncSetAttribute)(function, attribute, most) }
                .result()
                .map_err(failed("asking for shared memory"))?;
        }
        functions.insert(name, function);
    }
    Ok(Module { id, functions, tensor_memory: tensor_memory.and_then(|bytes| usize::try_from(bytes).ok()) })
}
