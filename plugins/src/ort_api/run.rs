//! A run of one node: its inputs and outputs as tensors.
#![allow(unsafe_code)]

use std::{cell::RefCell, collections::HashSet, ffi::c_void, marker::PhantomData, mem::MaybeUninit, ptr, ptr::NonNull};

use ort_sys::{OrtKernelContext, OrtTensorTypeAndShapeInfo, OrtValue};

use super::{Api, Plain, Threads, TypeCode, size_of_type, type_name};
use crate::error::{Error, Result};

/// A run of one node: its inputs, its outputs and the host's threads.
pub(crate) struct Run<'a> {
    pub(super) api: Api,
    pub(super) context: *mut OrtKernelContext,
    taken: RefCell<HashSet<usize>>,
    /// Inputs that were handed out to be read, and those that may become their own next values.
    pub(super) read: RefCell<HashSet<usize>>,
    pub(super) changed: RefCell<HashSet<usize>>,
    call: PhantomData<&'a mut OrtKernelContext>,
}

impl<'a> Run<'a> {
    /// # Safety
    /// `context` is what the host passed to `KernelComputeV2`, that call is still in progress during `'a`, and no other
    /// `Run` is made of it.
    pub(crate) unsafe fn new(api: Api, context: *mut OrtKernelContext) -> Self {
        let (taken, read, changed) = <(RefCell<_>, RefCell<_>, RefCell<_>)>::default();
        Self { api, context, taken, read, changed, call: PhantomData }
    }

    /// How many inputs the node has.
    pub(crate) fn inputs(&self) -> Result<usize> {
        let mut count = 0_usize;
        call!(unsafe self.api, KernelContext_GetInputCount(self.context, &mut count))?;
        Ok(count)
    }

    /// The input at `index`, or `None` where an optional input was left out.
    ///
    /// # Panics
    /// When the input may become its own next value: then nobody else reads it.
    pub(crate) fn input(&self, index: usize, name: &'static str) -> Result<Option<Tensor<'a>>> {
        assert!(!self.changed.borrow().contains(&index), "input {index} is changed elsewhere");
        self.read.borrow_mut().insert(index);
        self.tensor(index, name)
    }

    pub(super) fn tensor(&self, index: usize, name: &'static str) -> Result<Option<Tensor<'a>>> {
        if index >= self.inputs()? {
            return Ok(None);
        }
        let mut value = ptr::null();
        call!(unsafe self.api, KernelContext_GetInput(self.context, index, &mut value))?;
        NonNull::new(value.cast_mut()).map(|value| Tensor::read(self.api, value, name)).transpose()
    }

    /// An input that must be there.
    pub(crate) fn required(&self, index: usize, name: &'static str) -> Result<Tensor<'a>> {
        self.input(index, name)?.ok_or_else(|| Error::tensor(name, "a tensor", "none"))
    }

    /// Whether the node has an output at `index`. (It may still be one that nobody named.)
    pub(crate) fn wants(&self, index: usize) -> Result<bool> {
        let mut count = 0_usize;
        call!(unsafe self.api, KernelContext_GetOutputCount(self.context, &mut count))?;
        Ok(index < count)
    }

    /// Has the host allocate the output at `index`, or `None` where nobody asked for an optional output.
    ///
    /// # Panics
    /// When one output is taken twice: there must be one writer only.
    pub(crate) fn output_tensor(&self, index: usize, shape: &[usize]) -> Result<Option<Tensor<'a>>> {
        if !self.wants(index)? {
            return Ok(None);
        }
        assert!(self.taken.borrow_mut().insert(index), "output {index} is taken twice");
        let lengths = shape.iter().map(|&length| i64::try_from(length)).collect::<Result<Vec<i64>, _>>();
        let dimensions = lengths.map_err(|_| Error::tensor("output", "lengths below 2^63", format!("{shape:?}")))?;
        let mut value = ptr::null_mut();
        let (first, rank) = (dimensions.as_ptr(), dimensions.len());
        call!(unsafe self.api, KernelContext_GetOutput(self.context, index, first, rank, &mut value))?;
        NonNull::new(value).map(|value| Tensor::read(self.api, value, "output")).transpose()
    }

    /// The memory of [`output_tensor`](Self::output_tensor) on the CPU, to be written in full: the host has written nothing to it.
    ///
    /// # Panics
    /// As `output_tensor`.
    pub(crate) fn output<T: Plain>(&self, index: usize, shape: &[usize]) -> Result<Option<&'a mut [MaybeUninit<T>]>> {
        let Some(tensor) = self.output_tensor(index, shape)? else { return Ok(None) };
        let length = shape.iter().product::<usize>();
        let data = tensor.elements::<T>(length)?.cast::<MaybeUninit<T>>();
        if length == 0 {
            return Ok(Some(&mut []));
        }
        // SAFETY: `elements` checked type, alignment and length of the host's buffer; the host has each output written by
        // its one node only, and `taken` lets this run hand it out once, so nobody else reads or writes it during `'a`.
        // Memory that nobody wrote to is a valid `MaybeUninit`.
        Ok(Some(unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), length) }))
    }

    /// The memory of an output as bytes, of this type, and otherwise as [`output`](Self::output).
    ///
    /// # Panics
    /// As `output_tensor`.
    pub(crate) fn output_bytes(
        &self,
        index: usize,
        element: TypeCode,
        shape: &[usize],
    ) -> Result<Option<&'a mut [MaybeUninit<u8>]>> {
        let Some(tensor) = self.output_tensor(index, shape)? else { return Ok(None) };
        if tensor.element != element {
            return Err(Error::tensor("output", type_name(element), type_name(tensor.element)));
        }
        let length = tensor.byte_count()?;
        let Some(data) = NonNull::new(tensor.data.cast_mut().cast::<MaybeUninit<u8>>()).filter(|_| length > 0) else {
            return Ok(Some(&mut []));
        };
        // SAFETY: the host's tensor has the type and shape that were checked and asked for above, so as many bytes; it is handed
        // out once, as in `output`.
        Ok(Some(unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), length) }))
    }

    /// The same, full of zeros.
    ///
    /// # Panics
    /// As `output_tensor`.
    pub(crate) fn output_of_zeros<T: Plain + Default>(
        &self,
        index: usize,
        shape: &[usize],
    ) -> Result<Option<&'a mut [T]>> {
        let Some(memory) = self.output::<T>(index, shape)? else { return Ok(None) };
        for element in &mut *memory {
            element.write(T::default());
        }
        // SAFETY: every element was written in the loop above.
        Ok(Some(unsafe { memory.assume_init_mut() }))
    }

    /// The host's intra-op threads.
    pub(crate) fn threads(&self) -> Threads<'_> {
        Threads::new(self.api, self.context)
    }
}

/// A tensor of the host: its name in our signature, its type, its shape and where its numbers are.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    name: &'static str,
    element: TypeCode,
    shape: Vec<usize>,
    pub(super) data: *const c_void,
    run: PhantomData<&'a OrtValue>,
}

impl<'a> Tensor<'a> {
    fn read(api: Api, value: NonNull<OrtValue>, name: &'static str) -> Result<Self> {
        let mut info = ptr::null_mut();
        call!(unsafe api, GetTensorTypeAndShape(value.as_ptr(), &mut info))?;
        let described = describe(api, info);
        call_void!(unsafe api, ReleaseTensorTypeAndShapeInfo(info));
        let (element, dimensions) = described?;
        let shape = dimensions
            .iter()
            .map(|&length| usize::try_from(length))
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|_| Error::tensor(name, "lengths of 0 and more", format!("{dimensions:?}")))?;
        let mut data = ptr::null_mut();
        call!(unsafe api, GetTensorMutableData(value.as_ptr(), &mut data))?;
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
        // inputs are neither written nor freed before the run's callback returns, but for those that become their own next values:
        // `Run` hands these out for nothing else.
        Ok(unsafe { std::slice::from_raw_parts(data.as_ptr(), length) })
    }

    /// Its type.
    pub(crate) fn element(&self) -> TypeCode {
        self.element
    }

    /// Its numbers as bytes, where the type is one of known size.
    pub(crate) fn as_bytes(&self) -> Result<&'a [u8]> {
        let length = self.byte_count()?;
        if length == 0 || self.data.is_null() {
            return Ok(&[]);
        }
        // SAFETY: the host's tensor has as many bytes by its own type and shape; inputs are neither written nor freed before the
        // run's callback returns, as in `as_slice`.
        Ok(unsafe { std::slice::from_raw_parts(self.data.cast::<u8>(), length) })
    }

    pub(super) fn byte_count(&self) -> Result<usize> {
        let size = size_of_type(self.element)
            .ok_or_else(|| Error::tensor(self.name, "numbers of a known size", type_name(self.element)))?;
        Ok(self.shape.iter().product::<usize>() * size)
    }

    /// Where its numbers are, on whichever device, if they are of this type.
    pub(crate) fn address(&self, element: TypeCode) -> Result<u64> {
        if self.element != element {
            return Err(Error::tensor(self.name, type_name(element), type_name(self.element)));
        }
        Ok(self.data.expose_provenance() as u64)
    }

    /// Checks type, length and alignment; an empty tensor may have no memory at all.
    pub(super) fn elements<T: Plain>(&self, length: usize) -> Result<NonNull<T>> {
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
    call!(unsafe api, GetTensorElementType(info, ptr::from_mut(&mut element).cast()))?;
    let mut rank = 0_usize;
    call!(unsafe api, GetDimensionsCount(info, &mut rank))?;
    let mut dimensions = vec![0_i64; rank];
    call!(unsafe api, GetDimensions(info, dimensions.as_mut_ptr(), rank))?;
    Ok((element, dimensions))
}
