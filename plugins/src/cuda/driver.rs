//! The CUDA driver: kernels loaded into the context of a stream, and launched on it.
//!
//! Nothing here is called before the first run of a node on the CUDA provider, so a machine without a driver registers the
//! operators as fast as any other.
#![allow(unsafe_code)]

use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    ptr,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use cudarc::driver::{result, sys};

use super::{images, params::Parameters};
use crate::error::{Error, Result};

/// The first driver whose calls and images these are: that of CUDA 12.0.
const LEAST_VERSION: i32 = 12000;

fn failed(doing: &str) -> impl Fn(result::DriverError) -> Error + '_ {
    move |error| Error::Device(format!("{doing}: {:?}", error.0))
}

/// Whether there is a driver that this library can work with; looked for once.
fn check_driver() -> Result<()> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens the driver's library, whose initialisers run wherever CUDA is used at all.
    if !PRESENT.get_or_init(|| unsafe { sys::is_culib_present() }) {
        return Err(Error::Device("libcuda.so.1 is not found: is the NVIDIA driver installed?".to_owned()));
    }
    let mut version = 0;
    // SAFETY: writes one integer; every driver has this call, before any initialisation.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(failed("asking for the driver's version"))?;
    if version < LEAST_VERSION {
        let text = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
        let (wanted, got) = (text(LEAST_VERSION), text(version));
        return Err(Error::Device(format!("wanted a driver for CUDA {wanted} or later, got one for {got}")));
    }
    Ok(())
}

/// The kernels of one context, by name. Never unloaded: the context's end does that.
struct Module {
    functions: HashMap<String, sys::CUfunction>,
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
    /// What was current before, and is again afterwards.
    before: sys::CUcontext,
    context: sys::CUcontext,
}

impl Current {
    /// # Safety
    /// `context` is live, and stays so as long as the result.
    unsafe fn make(context: sys::CUcontext) -> Result<Self> {
        let mut before = ptr::null_mut();
        // SAFETY: writes one pointer.
        unsafe { sys::cuCtxGetCurrent(&raw mut before) }.result().map_err(failed("asking for the current context"))?;
        if before != context {
            // SAFETY: live by this function's contract.
            unsafe { sys::cuCtxSetCurrent(context) }.result().map_err(failed("making the stream's context current"))?;
        }
        Ok(Self { before, context })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.before != self.context {
            // SAFETY: was this thread's current context, or null, when the other one took its place.
            let _ = unsafe { sys::cuCtxSetCurrent(self.before) };
        }
    }
}

/// ONNX Runtime's stream, its context current, the kernels loaded in that.
pub(crate) struct Stream {
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
        check_driver()?;
        let raw = raw.cast::<sys::CUstream_st>();
        let mut context = ptr::null_mut();
        // SAFETY: `raw` is live by this function's contract; writes one pointer.
        unsafe { sys::cuStreamGetCtx(raw, &raw mut context) }
            .result()
            .map_err(failed("asking for the context of the provider's stream"))?;
        // SAFETY: a live stream's context is live.
        let current = unsafe { Current::make(context) }?;
        Ok(Self { raw, module: module_of(context)?, _current: current })
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
        parameters: &P,
    ) -> Result<()> {
        let known = self.module.functions.get(name);
        let function = *known.ok_or_else(|| Error::Device(format!("the image has no kernel {name}")))?;
        let mut arguments = [ptr::from_ref(parameters).cast_mut().cast::<c_void>()];
        // SAFETY: the function belongs to the stream's context, which is current. The kernel takes exactly one parameter, of
        // the layout that `Parameters` promises; the driver copies it before the call returns, and does not write to it.
        unsafe { result::launch_kernel(function, (columns, rows, 1), (threads, 1, 1), 0, self.raw, &mut arguments) }
            .map_err(failed(name))
    }
}

/// The kernels in the current context.
fn module_of(context: sys::CUcontext) -> Result<&'static Module> {
    let mut id = 0;
    // SAFETY: the context is live; writes one number.
    unsafe { sys::cuCtxGetId(context, &raw mut id) }.result().map_err(failed("asking for the context's number"))?;
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(&id) {
        return Ok(module);
    }
    // Leaked on purpose: kernels stay loaded as long as their context, and there is one context a device.
    let module: &'static Module = Box::leak(Box::new(load()?));
    modules.insert(id, module);
    Ok(module)
}

/// Loads the image for the current context's device, and every kernel in it.
///
/// Under a CUDA graph this happens in the runs that ONNX Runtime makes before it captures one. Should a capture be under way
/// all the same, in this thread or another, the relaxed mode keeps loading from spoiling it: it allocates, but enqueues
/// nothing on the captured stream.
fn load() -> Result<Module> {
    let mut device = 0;
    // SAFETY: a context is current; writes one integer.
    unsafe { sys::cuCtxGetDevice(&raw mut device) }.result().map_err(failed("asking for the device"))?;
    let mut major = 0;
    let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
    // SAFETY: the device was just named by the driver; writes one integer.
    unsafe { sys::cuDeviceGetAttribute(&raw mut major, attribute, device) }
        .result()
        .map_err(failed("asking for the device's compute capability"))?;
    let image = images::image(major)?;
    let mut mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
    // SAFETY: swaps this thread's mode with the variable's.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) }
        .result()
        .map_err(failed("changing the capture mode"))?;
    let loaded = load_image(&image);
    // SAFETY: as above; puts back what was.
    let restored = unsafe { sys::cuThreadExchangeStreamCaptureMode(&raw mut mode) };
    let module = loaded?;
    restored.result().map_err(failed("changing the capture mode back"))?;
    Ok(module)
}

fn load_image(image: &[u8]) -> Result<Module> {
    // SAFETY: a complete cubin, or a PTX that ends in NUL: the checksums beside the images are tested. The driver copies it.
    let module = unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(failed("loading the kernels"))?;
    let names = images::KERNELS.iter().map(|name| name.to_string_lossy().into_owned());
    let by_element =
        images::BY_ELEMENT.iter().flat_map(|name| ["f32", "f16", "bf16"].map(|element| format!("{name}_{element}")));
    let mut functions = HashMap::new();
    for name in names.chain(by_element) {
        let text = CString::new(name.clone()).unwrap_or_default();
        // SAFETY: the module was just loaded and is never unloaded.
        let function = unsafe { result::module::get_function(module, text) }
            .map_err(|error| Error::Device(format!("kernel {name}: {:?}", error.0)))?;
        functions.insert(name, function);
    }
    Ok(Module { functions })
}
