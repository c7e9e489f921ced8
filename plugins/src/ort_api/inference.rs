//! Types and shapes while a graph is built.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char},
    ptr,
};

use ort_sys::OrtShapeInferContext;

use super::{Api, TypeCode, run::describe, types::element_type};
use crate::error::Result;

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
        call!(unsafe self.api, ShapeInferContext_GetInputCount(self.context, &mut count))?;
        if index >= count {
            return Ok(None);
        }
        let mut info = ptr::null_mut(); // belongs to the context: not ours to release
        call!(unsafe self.api, ShapeInferContext_GetInputTypeShape(self.context, index, &mut info))?;
        if info.is_null() {
            return Ok(None);
        }
        let (element, dimensions) = describe(self.api, info)?;
        let mut names = vec![ptr::null::<c_char>(); dimensions.len()];
        call!(unsafe self.api, GetSymbolicDimensions(info, names.as_mut_ptr(), names.len()))?;
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
        call!(unsafe self.api, CreateTensorTypeAndShapeInfo(&mut info))?;
        let declared = (|| {
            call!(unsafe self.api, SetTensorElementType(info, element_type(element)?))?;
            call!(unsafe self.api, SetDimensions(info, dimensions.as_ptr(), dimensions.len()))?;
            call!(unsafe self.api, SetSymbolicDimensions(info, names.as_mut_ptr(), names.len()))?;
            call!(unsafe self.api, ShapeInferContext_SetOutputTypeShape(self.context, index, info))
        })();
        call_void!(unsafe self.api, ReleaseTensorTypeAndShapeInfo(info));
        declared
    }
}
