//! Matrix products by cuBLAS, on ONNX Runtime's handle.
//!
//! The handle says which library it must be used with: the one that the CUDA provider is linked to. Its functions are
//! found through the provider's own library, so that a second cuBLAS in the process (another framework's) is never mistaken
//! for it.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_int, c_longlong, c_void},
    sync::OnceLock,
};

use libloading::Library;

use super::{loaded, params::Address};
use crate::error::{Error, Result};

type Handle = *mut c_void;
const POINTERS_ON_HOST: c_int = 0;
const DEFAULT_MATH: c_int = 0;

type GetInt = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type SetInt = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Multiply = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const f32,
    *const f32,
    c_int,
    c_longlong,
    *const f32,
    c_int,
    c_longlong,
    *const f32,
    *mut f32,
    c_int,
    c_longlong,
    c_int,
) -> c_int;

/// The functions of cuBLAS that are called here: the same in versions 12 and 13.
#[derive(Clone, Copy)]
struct Functions {
    get_stream: unsafe extern "C" fn(Handle, *mut *mut c_void) -> c_int,
    set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> c_int,
    get_math: GetInt,
    set_math: SetInt,
    get_pointers: GetInt,
    set_pointers: SetInt,
    multiply: Multiply,
}

fn functions() -> Result<&'static Functions> {
    static FOUND: OnceLock<std::result::Result<Functions, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut tried = Vec::new();
        let provider = loaded::path_of("libonnxruntime_providers_cuda.so");
        for name in provider.into_iter().chain(["libcublas.so.13", "libcublas.so.12"].map(str::to_owned)) {
            // SAFETY: the provider is loaded already; cuBLAS's initialisers run wherever the provider does.
            match unsafe { Library::new(&name) } {
                Ok(library) => match Functions::of(&library) {
                    Ok(functions) => {
                        std::mem::forget(library); // its functions are used until the process ends
                        return Ok(functions);
                    }
                    Err(error) => tried.push(format!("{name}: {error}")),
                },
                Err(error) => tried.push(format!("{name}: {error}")),
            }
        }
        Err(tried.join("; "))
    });
    found.as_ref().map_err(|tried| Error::Device(format!("cuBLAS is not found ({tried})")))
}

impl Functions {
    fn of(library: &Library) -> std::result::Result<Self, libloading::Error> {
        fn get<T: Copy>(library: &Library, name: &CStr) -> std::result::Result<T, libloading::Error> {
            // SAFETY: the types below are those of cuBLAS's documentation; an enum is an int, a handle a pointer.
            unsafe { library.get::<T>(name.to_bytes_with_nul()) }.map(|symbol| *symbol)
        }
        Ok(Self {
            get_stream: get(library, c"cublasGetStream_v2")?,
            set_stream: get(library, c"cublasSetStream_v2")?,
            get_math: get(library, c"cublasGetMathMode")?,
            set_math: get(library, c"cublasSetMathMode")?,
            get_pointers: get(library, c"cublasGetPointerMode_v2")?,
            set_pointers: get(library, c"cublasSetPointerMode_v2")?,
            multiply: get(library, c"cublasSgemmStridedBatched")?,
        })
    }
}

fn check(doing: &str, status: c_int) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Error::Device(format!("cuBLAS: {doing}: status {status}"))) }
}

/// ONNX Runtime's handle, set up for f32 products that are not rounded to TF32; on drop it is as it was.
pub(crate) struct Blas {
    handle: Handle,
    functions: Functions,
    /// Its own stream, where that was changed.
    stream: Option<*mut c_void>,
    math: c_int,
    pointers: c_int,
}

impl Drop for Blas {
    fn drop(&mut self) {
        let Self { handle, functions, stream, math, pointers } = *self;
        // SAFETY: the handle is live by the contract of `of`; these are the values it had.
        let _ = unsafe { (functions.set_pointers)(handle, pointers) };
        // SAFETY: as above.
        let _ = unsafe { (functions.set_math)(handle, math) };
        if let Some(stream) = stream {
            // SAFETY: as above. Only where it was changed: setting a stream also drops a workspace that the owner chose.
            let _ = unsafe { (functions.set_stream)(handle, stream) };
        }
    }
}

/// A matrix as it lies in memory, row after row, and whether the product takes it transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(crate) address: Address,
    pub(crate) transposed: bool,
}

/// `out[m, n] = left[m, k] right[k, n]`, or added to what is there; `count` times, each operand going on where it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) out: Address,
    pub(crate) left: Operand,
    pub(crate) right: Operand,
    pub(crate) shape: [usize; 3],
    pub(crate) count: usize,
    pub(crate) add: bool,
}

impl Blas {
    /// # Safety
    /// `handle` is a live cuBLAS handle of the CUDA provider which nobody else uses as long as the result lives; `stream` is a
    /// live stream of its device.
    pub(crate) unsafe fn of(handle: Handle, stream: *mut c_void) -> Result<Self> {
        if handle.is_null() {
            return Err(Error::Device("onnxruntime's CUDA provider gave no cuBLAS handle".to_owned()));
        }
        let functions = *functions()?;
        let (mut own, mut math, mut pointers) = (std::ptr::null_mut(), 0, 0);
        // SAFETY: the handle is live by this function's contract; each call writes one value.
        check("asking for the stream", unsafe { (functions.get_stream)(handle, &raw mut own) })?;
        // SAFETY: as above.
        check("asking for the math mode", unsafe { (functions.get_math)(handle, &raw mut math) })?;
        // SAFETY: as above.
        check("asking for the pointer mode", unsafe { (functions.get_pointers)(handle, &raw mut pointers) })?;
        let changed = own != stream;
        let blas = Self { handle, functions, stream: changed.then_some(own), math, pointers };
        // From here on the drop puts everything back, whatever fails.
        if changed {
            // SAFETY: handle and stream are live by this function's contract.
            check("setting the stream", unsafe { (functions.set_stream)(handle, stream) })?;
        }
        // SAFETY: as above.
        check("setting the math mode", unsafe { (functions.set_math)(handle, DEFAULT_MATH) })?;
        // SAFETY: as above.
        check("setting the pointer mode", unsafe { (functions.set_pointers)(handle, POINTERS_ON_HOST) })?;
        Ok(blas)
    }

    /// Enqueues a product. As for kernels, addresses are of the device: wrong ones cannot touch this program's memory.
    pub(crate) fn multiply(&self, product: &Product) -> Result<()> {
        let [m, n, k] = product.shape;
        let int = |length: usize| {
            c_int::try_from(length).map_err(|_| Error::Device(format!("a matrix of {length} rows is too large")))
        };
        let stride = |elements: usize| {
            c_longlong::try_from(elements).map_err(|_| Error::Device(format!("{elements} elements are too many")))
        };
        let (left, right) = (product.left, product.right);
        let (one, beta) = (1.0_f32, if product.add { 1.0_f32 } else { 0.0 });
        // cuBLAS reads columns where these are rows: it sees transposes, and out' = right' left'.
        let leading =
            |operand: &Operand, rows: usize, columns: usize| int(if operand.transposed { rows } else { columns });
        // SAFETY: the handle is live and not in use elsewhere; the two factors are read before the call returns, because the
        // pointer mode is the host's; matrices are device memory, packed, of the shapes given.
        let status = unsafe {
            (self.functions.multiply)(
                self.handle,
                c_int::from(right.transposed),
                c_int::from(left.transposed),
                int(n)?,
                int(m)?,
                int(k)?,
                &raw const one,
                right.address.0 as *const f32,
                leading(&right, k, n)?,
                stride(k * n)?,
                left.address.0 as *const f32,
                leading(&left, m, k)?,
                stride(m * k)?,
                &raw const beta,
                product.out.0 as *mut f32,
                int(n)?,
                stride(m * n)?,
                int(product.count)?,
            )
        };
        check("multiplying", status)
    }
}
