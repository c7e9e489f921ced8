//! The exported entry point, and the tables of C callbacks through which ONNX Runtime reaches the operators.
//!
//! One table per operator and combination of types. A table, once handed over, is never freed: sessions point at it for
//! as long as they live, and nothing tells when the last one is gone. There is one set per onnxruntime in the process
//! (almost always one), however many sessions are made.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::Mutex,
};

use ort_sys::{
    ONNXTensorElementDataType as Type, OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain,
    OrtCustomOpInputOutputCharacteristic as Characteristic, OrtKernelContext, OrtKernelInfo, OrtMemType,
    OrtSessionOptions, OrtShapeInferContext, OrtStatusPtr,
};

use crate::{
    error::{Error, Result},
    kernel::Kernel,
    ort_api::{API_LEVEL, Api, Inference, NodeInfo, Plain, Run, guard, status_without_table},
    schema::{self, Kind, OPERATORS, Port, Signature},
    types::{ElementType, LabelType, Provider},
};

/// What `OrtSessionOptions` registers a custom-op library by: adds the domain `com.pdloss` to the options.
///
/// # Safety
/// Called by ONNX Runtime, or as it does: `options` is a live `OrtSessionOptions` of the onnxruntime whose `OrtApiBase`
/// `base` is, and that onnxruntime is not unloaded afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn RegisterCustomOps(
    options: *mut OrtSessionOptions,
    base: *const OrtApiBase,
) -> OrtStatusPtr {
    // SAFETY: by this function's contract.
    match unsafe { Api::from_base(base) } {
        Ok(api) => guard(api, "pdloss", || {
            // SAFETY: by this function's contract.
            unsafe { add_domain(api, options) }
        }),
        // SAFETY: as above.
        Err(error) => unsafe { status_without_table(base, "pdloss", &error) },
    }
}

/// Registers the operators with session options from a Rust program that links this crate, without a shared library.
///
/// With the crate `ort`: `register(builder.ptr_mut(), ort::api())`, see `examples/register.rs`.
///
/// # Errors
/// When `table` is null or onnxruntime refuses the domain.
///
/// # Safety
/// `options` is a live `OrtSessionOptions`; `table` is the `OrtApi` of level 17 or later of the same onnxruntime, which is
/// not unloaded afterwards.
pub unsafe fn register(options: *mut OrtSessionOptions, table: *const OrtApi) -> Result<()> {
    // SAFETY: by this function's contract.
    let api = unsafe { Api::from_table(table) }?;
    // SAFETY: as above.
    unsafe { add_domain(api, options) }
}

/// A domain made for one onnxruntime, kept for the life of the process.
struct Registered {
    api: Api,
    domain: *mut OrtCustomOpDomain,
}

// SAFETY: the domain is only read by the host once it is filled, from any thread; here it is only handed over.
unsafe impl Send for Registered {}

static DOMAINS: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// # Safety
/// `options` is null or live session options of the onnxruntime of this table.
unsafe fn add_domain(api: Api, options: *mut OrtSessionOptions) -> Result<()> {
    if options.is_null() {
        return Err(Error::Runtime("the session options are null".to_owned()));
    }
    let mut domains = DOMAINS.lock().map_err(|_| Error::Panic("an earlier registration failed".to_owned()))?;
    let known = domains.iter().find(|registered| registered.api == api).map(|registered| registered.domain);
    let domain = match known {
        Some(domain) => domain,
        None => {
            let domain = new_domain(api)?;
            // SAFETY: `domain` was just made by this `api`, with all its operators.
            unsafe { api.enter_domain(domain) };
            domains.push(Registered { api, domain });
            domain
        }
    };
    // SAFETY: `options` is live by this function's contract, `domain` was made by this `api` and is never freed.
    unsafe { api.add_domain(options, domain) }
}

fn new_domain(api: Api) -> Result<*mut OrtCustomOpDomain> {
    let domain = api.new_domain(schema::DOMAIN)?;
    for signature in OPERATORS {
        let add = |operator: CustomOp| {
            let operator = Box::into_raw(Box::new(operator));
            // SAFETY: the domain was made above and is in nobody's hands yet; the operator is leaked, so it outlives every
            // session, and its callbacks share it without writing.
            unsafe { api.add_operator(domain, operator.cast::<OrtCustomOp>()) }
        };
        if signature.operator.is_untyped() {
            // One table takes all types. On a device the host brings the tensors here and back.
            add(CustomOp::new(api, Provider::Cpu, signature, ElementType::F32, LabelType::I64))?;
            continue;
        }
        // The CPU's first: where types agree between providers, the host takes the schema from the first table.
        let providers =
            if signature.operator.is_collective() { &[Provider::Cpu][..] } else { &[Provider::Cpu, Provider::Cuda] };
        for &provider in providers {
            // Those of the step are refused on a device: in the types of the processor, where the host would else run them without a word.
            let elements = provider.elements();
            for &element in elements {
                for &label in signature.labels() {
                    add(CustomOp::new(api, provider, signature, element, label))?;
                }
            }
        }
    }
    Ok(domain)
}

/// A callback table followed by what its callbacks need: the host passes the table's address to each of them.
#[repr(C)]
struct CustomOp {
    table: OrtCustomOp,
    api: Api,
    provider: Provider,
    signature: &'static Signature,
    element: ElementType,
    label: LabelType,
}

impl CustomOp {
    fn new(
        api: Api,
        provider: Provider,
        signature: &'static Signature,
        element: ElementType,
        label: LabelType,
    ) -> Self {
        let table = OrtCustomOp {
            version: API_LEVEL,
            CreateKernel: None,
            GetName: Some(get_name),
            GetExecutionProviderType: Some(get_provider),
            GetInputType: Some(get_input_type),
            GetInputTypeCount: Some(get_input_count),
            GetOutputType: Some(get_output_type),
            GetOutputTypeCount: Some(get_output_count),
            KernelCompute: None,
            KernelDestroy: Some(kernel_destroy),
            GetInputCharacteristic: Some(get_input_characteristic),
            GetOutputCharacteristic: Some(get_output_characteristic),
            GetInputMemoryType: Some(get_input_memory),
            GetVariadicInputMinArity: Some(get_one),
            GetVariadicInputHomogeneity: Some(get_one),
            GetVariadicOutputMinArity: Some(get_one),
            GetVariadicOutputHomogeneity: Some(get_one),
            CreateKernelV2: Some(create_kernel),
            KernelComputeV2: Some(kernel_compute),
            InferOutputShapeFn: Some(infer_shapes),
            GetStartVersion: Some(get_version),
            GetEndVersion: Some(get_version),
            GetMayInplace: None,
            ReleaseMayInplace: None,
            GetAliasMap: None,
            ReleaseAliasMap: None,
        };
        Self { table, api, provider, signature, element, label }
    }

    /// # Safety
    /// `op` is the address of a table that [`new_domain`] made.
    unsafe fn of<'a>(op: *const OrtCustomOp) -> &'a Self {
        // SAFETY: the table is the first field of a `#[repr(C)]` `CustomOp` that is never freed nor written to again,
        // and the host was given the address of the whole.
        unsafe { &*op.cast::<Self>() }
    }

    fn type_of(&self, port: Option<&Port>) -> Type {
        match port.map(|port| port.kind) {
            Some(Kind::Element) => self.element.code(),
            Some(Kind::Label) => self.label.code(),
            Some(Kind::Double) => <f64 as Plain>::TYPE,
            Some(Kind::Single) => <f32 as Plain>::TYPE,
            Some(Kind::Token) => <i64 as Plain>::TYPE,
            Some(Kind::Any) | None => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED,
        }
    }
}

fn characteristic(port: Option<&Port>) -> Characteristic {
    match port {
        Some(port) if port.optional => Characteristic::INPUT_OUTPUT_OPTIONAL,
        Some(port) if port.variadic => Characteristic::INPUT_OUTPUT_VARIADIC,
        _ => Characteristic::INPUT_OUTPUT_REQUIRED,
    }
}

// The callbacks below that only read the table cannot fail and cannot panic: indices out of range get a harmless answer.

unsafe extern "system" fn get_name(op: *const OrtCustomOp) -> *const c_char {
    // SAFETY: the host passes back a table of ours.
    unsafe { CustomOp::of(op) }.signature.name.as_ptr()
}

unsafe extern "system" fn get_provider(op: *const OrtCustomOp) -> *const c_char {
    // SAFETY: the host passes back a table of ours.
    unsafe { CustomOp::of(op) }.provider.name().map_or(ptr::null(), CStr::as_ptr)
}

unsafe extern "system" fn get_input_count(op: *const OrtCustomOp) -> usize {
    // SAFETY: the host passes back a table of ours.
    unsafe { CustomOp::of(op) }.signature.inputs.len()
}

unsafe extern "system" fn get_output_count(op: *const OrtCustomOp) -> usize {
    // SAFETY: the host passes back a table of ours.
    unsafe { CustomOp::of(op) }.signature.outputs.len()
}

unsafe extern "system" fn get_input_type(op: *const OrtCustomOp, index: usize) -> Type {
    // SAFETY: the host passes back a table of ours.
    let op = unsafe { CustomOp::of(op) };
    op.type_of(op.signature.inputs.get(index))
}

unsafe extern "system" fn get_output_type(op: *const OrtCustomOp, index: usize) -> Type {
    // SAFETY: the host passes back a table of ours.
    let op = unsafe { CustomOp::of(op) };
    op.type_of(op.signature.outputs.get(index))
}

unsafe extern "system" fn get_input_characteristic(op: *const OrtCustomOp, index: usize) -> Characteristic {
    // SAFETY: the host passes back a table of ours.
    characteristic(unsafe { CustomOp::of(op) }.signature.inputs.get(index))
}

unsafe extern "system" fn get_output_characteristic(op: *const OrtCustomOp, index: usize) -> Characteristic {
    // SAFETY: the host passes back a table of ours.
    characteristic(unsafe { CustomOp::of(op) }.signature.outputs.get(index))
}

unsafe extern "system" fn get_input_memory(op: *const OrtCustomOp, index: usize) -> OrtMemType {
    // SAFETY: the host passes back a table of ours.
    let port = unsafe { CustomOp::of(op) }.signature.inputs.get(index);
    if port.is_some_and(|port| port.on_host) { OrtMemType::OrtMemTypeCPUInput } else { OrtMemType::OrtMemTypeDefault }
}

unsafe extern "system" fn get_one(_: *const OrtCustomOp) -> c_int {
    1 // what is variadic is there once at least, and of one type
}

unsafe extern "system" fn get_version(_: *const OrtCustomOp) -> c_int {
    schema::VERSION
}

unsafe extern "system" fn infer_shapes(op: *const OrtCustomOp, context: *mut OrtShapeInferContext) -> OrtStatusPtr {
    // SAFETY: the host passes back a table of ours.
    let op = unsafe { CustomOp::of(op) };
    guard(op.api, op.signature.label(), || {
        // SAFETY: `context` is the host's, for the call in progress, which the closure does not outlive.
        let graph = unsafe { Inference::new(op.api, context) };
        // Hosts from 1.17 to 1.32 ignore this callback's status, and never free it. Shapes that contradict each other
        // stay unknown here, and are refused with the same words when the node runs.
        let _ = schema::infer(op.signature, &graph);
        Ok(())
    })
}

unsafe extern "system" fn create_kernel(
    op: *const OrtCustomOp,
    _: *const OrtApi,
    info: *const OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> OrtStatusPtr {
    // SAFETY: the host passes back a table of ours.
    let op = unsafe { CustomOp::of(op) };
    guard(op.api, op.signature.label(), || {
        // SAFETY: `info` is the host's, for the call in progress, which the closure does not outlive.
        let node = unsafe { NodeInfo::new(op.api, info) };
        let made = Box::new(KernelState {
            api: op.api,
            kernel: Kernel::new(op.provider, op.signature, op.element, op.label, &node)?,
        });
        // SAFETY: `kernel` is where the host wants the address of what `kernel_destroy` will free.
        unsafe { *kernel = Box::into_raw(made).cast::<c_void>() };
        Ok(())
    })
}

struct KernelState {
    api: Api,
    kernel: Kernel,
}

unsafe extern "system" fn kernel_compute(state: *mut c_void, context: *mut OrtKernelContext) -> OrtStatusPtr {
    // SAFETY: `state` came from `create_kernel` and is not destroyed while a run is in progress. Runs may overlap:
    // all of them only share it, and it is `Sync` (asserted below).
    let state = unsafe { &*state.cast::<KernelState>() };
    guard(state.api, state.kernel.label(), || {
        // SAFETY: `context` is the host's, for the call in progress, which the closure does not outlive; this is its only `Run`.
        let run = unsafe { Run::new(state.api, context) };
        state.kernel.run(&run)
    })
}

const _: () = {
    const fn assert_sync<T: Sync + Send>() {}
    assert_sync::<KernelState>();
};

unsafe extern "system" fn kernel_destroy(state: *mut c_void) {
    if !state.is_null() {
        // SAFETY: `state` came from `Box::into_raw` in `create_kernel`; the host destroys a kernel once.
        drop(unsafe { Box::from_raw(state.cast::<KernelState>()) });
    }
}
