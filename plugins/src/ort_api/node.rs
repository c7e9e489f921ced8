//! A node's attributes, when its kernel is made.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char},
    marker::PhantomData,
    ptr,
};

use ort_sys::OrtKernelInfo;

use super::Api;
use crate::error::{Error, Result};

/// What a node says about itself when its kernel is made.
pub(crate) struct NodeInfo<'a> {
    pub(super) api: Api,
    pub(super) info: *const OrtKernelInfo,
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
        if call!(unsafe self.api, KernelInfoGetAttribute_float(self.info, name.as_ptr(), &mut number)).is_ok() {
            return Ok(Attribute::Number(number));
        }
        let mut integer = 0_i64;
        if call!(unsafe self.api, KernelInfoGetAttribute_int64(self.info, name.as_ptr(), &mut integer)).is_ok() {
            #[allow(clippy::cast_precision_loss)] // settings of this kind are small
            return Ok(Attribute::Number(integer as f32));
        }
        let mut size = 0_usize;
        let query =
            call!(unsafe self.api, KernelInfoGetAttribute_string(self.info, name.as_ptr(), ptr::null_mut(), &mut size));
        if query.is_ok() {
            let mut bytes = vec![0_u8; size.max(1)];
            let text = bytes.as_mut_ptr().cast::<c_char>();
            call!(unsafe self.api, KernelInfoGetAttribute_string(self.info, name.as_ptr(), text, &mut size))?;
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
        list(
            call!(unsafe self.api, KernelInfoGetAttributeArray_float(self.info, name.as_ptr(), ptr::null_mut(), &mut size)),
        )?;
        list(
            call!(unsafe self.api, KernelInfoGetAttributeArray_int64(self.info, name.as_ptr(), ptr::null_mut(), &mut size)),
        )?;
        Ok(Attribute::Missing)
    }

    /// Reads an attribute that is a list of integers; `None` where there is none of this name and type, or it is empty.
    pub(crate) fn integers(&self, name: &CStr) -> Result<Option<Vec<i64>>> {
        let (name, mut size) = (name.as_ptr(), 0_usize);
        let query =
            call!(unsafe self.api, KernelInfoGetAttributeArray_int64(self.info, name, ptr::null_mut(), &mut size));
        // A single integer is a list of none to the host.
        if query.is_err() || size == 0 {
            return Ok(None);
        }
        let mut values = vec![0_i64; size];
        call!(unsafe self.api, KernelInfoGetAttributeArray_int64(self.info, name, values.as_mut_ptr(), &mut size))?;
        values.truncate(size);
        Ok(Some(values))
    }
}
