//! What a run on a device has beside its tensors: the provider's stream and handles, and memory for the time of the run.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    marker::PhantomData,
    ptr::{self, NonNull},
};

use ort_sys::{OrtAllocator, OrtKernelContext, OrtMemType, OrtMemoryInfo};

use super::{Api, NodeInfo, Run};
use crate::error::{Error, Result};

impl<'a> Run<'a> {
    /// A resource of the execution provider by the host's number; null is an answer too (the default stream).
    pub(crate) fn resource(&self, id: c_int) -> Result<*mut c_void> {
        self.resource_of(1, id)
    }

    /// One that there is since this version of the resources. A host refuses versions above its own.
    pub(crate) fn resource_of(&self, version: c_int, id: c_int) -> Result<*mut c_void> {
        let mut resource = ptr::null_mut();
        call!(unsafe self.api, KernelContext_GetResource(self.context, version, id, &mut resource))?;
        Ok(resource)
    }

    /// Memory of the device that the node runs on.
    pub(crate) fn memory(&self, place: &'a Place) -> Result<Memory<'a>> {
        let place = place.info;
        let mut allocator = ptr::null_mut();
        call!(unsafe self.api, KernelContext_GetAllocator(self.context, place, &mut allocator))?;
        let allocator = NonNull::new(allocator).ok_or_else(|| Error::Runtime("no allocator".to_owned()))?;
        Ok(Memory { api: self.api, context: self.context, place, allocator, run: PhantomData })
    }
}

/// Where a node's provider has its memory: that of the kernel's own allocator. Tensors may lie in memory that the caller bound,
/// for which the host has no allocator.
#[derive(Debug)]
pub(crate) struct Place {
    api: Api,
    allocator: NonNull<OrtAllocator>,
    info: *const OrtMemoryInfo,
}

// SAFETY: the description is constant; the allocator is only kept so that it lives, and released once.
unsafe impl Send for Place {}
// SAFETY: as for `Send`.
unsafe impl Sync for Place {}

impl Drop for Place {
    fn drop(&mut self) {
        call_void!(unsafe self.api, ReleaseAllocator(self.allocator.as_ptr()));
    }
}

impl NodeInfo<'_> {
    /// The place of the node's provider.
    pub(crate) fn place(&self) -> Result<Place> {
        let mut allocator = ptr::null_mut();
        let kind = OrtMemType::OrtMemTypeDefault;
        call!(unsafe self.api, KernelInfoGetAllocator(self.info, kind, &mut allocator))?;
        let allocator = NonNull::new(allocator).ok_or_else(|| Error::Runtime("no allocator".to_owned()))?;
        let mut place = Place { api: self.api, allocator, info: ptr::null() };
        call!(unsafe self.api, AllocatorGetInfo(allocator.as_ptr(), &mut place.info))?;
        Ok(place)
    }
}

/// The host's allocator for a device.
pub(crate) struct Memory<'a> {
    api: Api,
    context: *const OrtKernelContext,
    place: *const OrtMemoryInfo,
    allocator: NonNull<OrtAllocator>,
    run: PhantomData<&'a OrtKernelContext>,
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // The wrapper around the host's allocator belongs to whoever asked for it.
        call_void!(unsafe self.api, ReleaseAllocator(self.allocator.as_ptr()));
    }
}

impl Memory<'_> {
    /// Memory of this size, which holds anything.
    ///
    /// The host ties a scratch buffer to the run's stream: once freed, another stream gets it only after what this stream was
    /// given before. So it may be freed as soon as everything that uses it is enqueued.
    pub(crate) fn take(&self, bytes: usize) -> Result<Scratch> {
        let mut memory = ptr::null_mut();
        call!(unsafe self.api, KernelContext_GetScratchBuffer(self.context, self.place, bytes.max(1), &mut memory))?;
        let memory =
            NonNull::new(memory).ok_or_else(|| Error::Runtime(format!("no {bytes} bytes of device memory")))?;
        Ok(Scratch(memory))
    }

    /// Gives it back; the host's scratch buffers are not freed by anybody else.
    pub(crate) fn give_back(&self, scratch: Scratch) -> Result<()> {
        call!(unsafe self.api, AllocatorFree(self.allocator.as_ptr(), scratch.0.as_ptr()))
    }
}

/// A piece of device memory. Not dereferenced here.
#[derive(Debug)]
pub(crate) struct Scratch(NonNull<c_void>);

impl Scratch {
    pub(crate) fn address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }
}
