//! cuDNN's functions, found at run time: those that versions 8 and 9 have alike.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    sync::OnceLock,
};

use crate::{
    cuda::loaded,
    error::{Error, Result},
};

/// A handle or a descriptor.
pub(super) type Opaque = *mut c_void;

/// The first version whose calls these are.
const LEAST_VERSION: usize = 8000;

/// What the heuristics say of an algorithm: the structs of both gradients are alike.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Listed {
    pub(super) algorithm: c_int,
    pub(super) status: c_int,
    time: f32,
    workspace: usize,
    pub(super) determinism: c_int,
    pub(super) math: c_int,
    reserved: [c_int; 3],
}
const _: () = assert!(size_of::<Listed>() == 48);

impl Listed {
    pub(super) const NONE: Self =
        Self { algorithm: 0, status: 1, time: 0.0, workspace: 0, determinism: 0, math: 0, reserved: [0; 3] };
}

/// `(handle, factor, operand, its numbers, grad, its numbers, convolution, algorithm, workspace, its size, factor on what is there, out,
/// its numbers)`
pub(super) type Gradient = unsafe extern "C" fn(
    Opaque,
    *const c_void,
    Opaque,
    *const c_void,
    Opaque,
    *const c_void,
    Opaque,
    c_int,
    *mut c_void,
    usize,
    *const c_void,
    Opaque,
    *mut c_void,
) -> c_int;
/// `(handle, operand, grad, convolution, out, room, listed, list)`
pub(super) type List =
    unsafe extern "C" fn(Opaque, Opaque, Opaque, Opaque, Opaque, c_int, *mut c_int, *mut Listed) -> c_int;
/// `(handle, operand, grad, convolution, out, algorithm, size)`
pub(super) type Size = unsafe extern "C" fn(Opaque, Opaque, Opaque, Opaque, Opaque, c_int, *mut usize) -> c_int;
pub(super) type Destroy = unsafe extern "C" fn(Opaque) -> c_int;
type Create = unsafe extern "C" fn(*mut Opaque) -> c_int;

macro_rules! functions {
    ($($name:ident: $of:ty;)*) => {
        #[allow(non_snake_case, reason = "the library's names")]
        pub(super) struct Library {
            $(pub(super) $name: $of,)*
        }

        impl Library {
            fn of(library: &libloading::Library) -> std::result::Result<Self, libloading::Error> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the types below are those of cuDNN's headers; an enum is an int, a handle and a descriptor are pointers.
                        *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?
                    },)*
                })
            }
        }
    };
}

functions! {
    cudnnGetVersion: unsafe extern "C" fn() -> usize;
    cudnnGetErrorString: unsafe extern "C" fn(c_int) -> *const c_char;
    cudnnGetStream: unsafe extern "C" fn(Opaque, *mut *mut c_void) -> c_int;
    cudnnSetStream: unsafe extern "C" fn(Opaque, *mut c_void) -> c_int;
    cudnnCreateTensorDescriptor: Create;
    cudnnSetTensor4dDescriptor: unsafe extern "C" fn(Opaque, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    cudnnDestroyTensorDescriptor: Destroy;
    cudnnCreateFilterDescriptor: Create;
    cudnnSetFilter4dDescriptor: unsafe extern "C" fn(Opaque, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    cudnnDestroyFilterDescriptor: Destroy;
    cudnnCreateConvolutionDescriptor: Create;
    cudnnSetConvolution2dDescriptor:
        unsafe extern "C" fn(Opaque, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    cudnnSetConvolutionGroupCount: unsafe extern "C" fn(Opaque, c_int) -> c_int;
    cudnnSetConvolutionMathType: unsafe extern "C" fn(Opaque, c_int) -> c_int;
    cudnnDestroyConvolutionDescriptor: Destroy;
    cudnnGetConvolutionBackwardFilterAlgorithm_v7: List;
    cudnnGetConvolutionBackwardFilterWorkspaceSize: Size;
    cudnnConvolutionBackwardFilter: Gradient;
    cudnnGetConvolutionBackwardDataAlgorithm_v7: List;
    cudnnGetConvolutionBackwardDataWorkspaceSize: Size;
    cudnnConvolutionBackwardData: Gradient;
}

/// Calls a function; a status becomes an error with its name. Written `call!(unsafe library, function(arguments))`: nothing but the
/// caller's care keeps the arguments within its contract.
macro_rules! call {
    (unsafe $library:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let library: &crate::cuda::cudnn::library::Library = $library;
        // SAFETY: handle, descriptors and stream are live, as `Dnn::of` and `Descriptor` promise; other pointers are of locals that
        // outlive the call.
        let status = unsafe { (library.$name)($($argument),*) };
        library.check(stringify!($name), status)
    }};
}
pub(super) use call;

/// cuDNN; looked for once. The CUDA provider's own comes first, since the handle is of that.
pub(super) fn library() -> Result<&'static Library> {
    static FOUND: OnceLock<std::result::Result<Library, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut tried = Vec::new();
        let provider = loaded::path_of("libonnxruntime_providers_cuda.so");
        for name in provider.into_iter().chain(["libcudnn.so.9", "libcudnn.so.8"].map(str::to_owned)) {
            // SAFETY: the provider is loaded already; cuDNN's initialisers run wherever the provider does.
            let opened = unsafe { libloading::Library::new(&name) };
            match opened.and_then(|opened| Library::of(&opened).map(|library| (library, opened))) {
                Ok((library, opened)) => {
                    std::mem::forget(opened); // its functions are used until the process ends
                    return Ok(library);
                }
                Err(error) => tried.push(format!("{name}: {error}")),
            }
        }
        Err(tried.join("; "))
    });
    let library = found.as_ref().map_err(|tried| Error::Device(format!("cuDNN is not found ({tried})")))?;
    if library.version() < LEAST_VERSION {
        return Err(Error::Device(format!("wanted cuDNN 8 or later, got {}", library.version_text())));
    }
    Ok(library)
}

impl Library {
    fn version(&self) -> usize {
        // SAFETY: takes nothing, and answers without a device.
        unsafe { (self.cudnnGetVersion)() }
    }

    fn version_text(&self) -> String {
        let version = self.version();
        // Of 9 on, a major version has five digits.
        let major = if version < 10_000 { 1000 } else { 10_000 };
        format!("{}.{}.{}", version / major, version % major / 100, version % 100)
    }

    /// What a status is called.
    pub(super) fn word(&self, status: c_int) -> String {
        // SAFETY: takes any number; a constant text, or null.
        let text = unsafe { (self.cudnnGetErrorString)(status) };
        if text.is_null() {
            return format!("status {status}");
        }
        // SAFETY: not null, and text for ever.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        format!("{text} ({status})")
    }

    pub(super) fn check(&self, function: &str, status: c_int) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        Err(Error::Device(format!("cuDNN {}: {function}: {}", self.version_text(), self.word(status))))
    }
}
