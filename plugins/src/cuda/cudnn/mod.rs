//! Gradients of convolutions by cuDNN, on ONNX Runtime's handle.
//!
//! The handle says which library it must be used with, as for cuBLAS: its functions are found through the CUDA provider's own. They
//! are those of the older interface, which versions 8 and 9 have alike.
//!
//! Algorithms are chosen by cuDNN's heuristics, which time nothing, among those that give the same bits each time. A choice is made
//! once for a convolution of these lengths: later runs, a captured CUDA graph among them, ask nothing.
#![allow(unsafe_code)]

mod library;
mod problem;

use std::{
    collections::HashMap,
    ffi::{c_int, c_void},
    ptr,
    sync::{LazyLock, Mutex, PoisonError},
};

use library::{Library, Listed, Opaque, call};
use problem::{DEFAULT_MATH, Descriptors, FMA_MATH, TENSOR_OP_MATH};
pub(crate) use problem::{Problem, Wanted};

use super::params::Address;
use crate::error::{Error, Result};

/// Of `cudnnDeterminism_t`.
const DETERMINISTIC: c_int = 1;

/// More algorithms than either gradient has.
const ROOM: u16 = 16;

/// Scratch memory that an algorithm may take: four times the tensors, but no less than the first and no more than the second.
const WORKSPACE_FACTOR: usize = 4;
const SOME_WORKSPACE: usize = 16 << 20;
const MOST_WORKSPACE: usize = 256 << 20;

/// How a gradient is computed.
#[derive(Clone, Copy, Debug)]
struct Choice {
    algorithm: c_int,
    math: c_int,
    workspace: usize,
}

/// The choices by the number of their context: one device's are not another's.
static CHOICES: LazyLock<Mutex<HashMap<(u64, Problem), Choice>>> = LazyLock::new(Mutex::default);

/// ONNX Runtime's handle, on the run's stream; on drop it is as it was.
pub(crate) struct Dnn {
    handle: Opaque,
    library: &'static Library,
    /// The number of the stream's context.
    context: u64,
    /// Its own stream, where that was changed.
    stream: Option<*mut c_void>,
}

impl Drop for Dnn {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            // SAFETY: the handle is live by the contract of `of`; this is the stream it had.
            let _ = unsafe { (self.library.cudnnSetStream)(self.handle, stream) };
        }
    }
}

impl Dnn {
    /// # Safety
    /// `handle` is a live cuDNN handle of the CUDA provider which nobody else uses as long as the result lives; `stream` is a
    /// live stream of its device, in the context of this number.
    pub(crate) unsafe fn of(handle: Opaque, stream: *mut c_void, context: u64) -> Result<Self> {
        if handle.is_null() {
            return Err(Error::Device("onnxruntime's CUDA provider gave no cuDNN handle".to_owned()));
        }
        let library = library::library()?;
        let mut own = ptr::null_mut();
        call!(unsafe library, cudnnGetStream(handle, &raw mut own))?;
        if own != stream {
            call!(unsafe library, cudnnSetStream(handle, stream))?;
        }
        Ok(Self { handle, library, context, stream: (own != stream).then_some(own) })
    }

    /// Enqueues a gradient: `operand` is `x` or the weights, `scratch` gives memory of so many bytes. As for kernels, addresses are of
    /// the device: wrong ones cannot touch this program's memory.
    ///
    /// # Errors
    /// With the call that failed and the lengths.
    pub(crate) fn gradient(
        &self,
        problem: &Problem,
        [operand, grad, out]: [Address; 3],
        scratch: impl Fn(usize) -> Result<Address>,
    ) -> Result<()> {
        let enqueue = || {
            let descriptors = Descriptors::of(self.library, problem)?;
            let choice = self.choice(problem, &descriptors)?;
            descriptors.set_math(choice.math)?;
            let workspace = if choice.workspace == 0 { Address::NULL } else { scratch(choice.workspace)? };
            let [of_operand, of_grad, convolution, of_out] = descriptors.raw();
            let (factor, factor_on_out) = (1.0_f32, 0.0_f32);
            let (function, name) = match problem.wanted {
                Wanted::Weights => (self.library.cudnnConvolutionBackwardFilter, "cudnnConvolutionBackwardFilter"),
                Wanted::Input => (self.library.cudnnConvolutionBackwardData, "cudnnConvolutionBackwardData"),
            };
            // SAFETY: the handle is live and not in use elsewhere, the descriptors live; the factors are read before the call returns.
            // Tensors are device memory, packed, of the lengths described; the workspace has the size that was asked for.
            let status = unsafe {
                function(
                    self.handle,
                    (&raw const factor).cast(),
                    of_operand,
                    operand.0 as *const c_void,
                    of_grad,
                    grad.0 as *const c_void,
                    convolution,
                    choice.algorithm,
                    workspace.0 as *mut c_void,
                    choice.workspace,
                    (&raw const factor_on_out).cast(),
                    of_out,
                    out.0 as *mut c_void,
                )
            };
            self.library.check(name, status)
        };
        enqueue().map_err(|error| match error {
            Error::Device(what) => Error::Device(format!("{what}; the convolution is {problem}")),
            other => other,
        })
    }

    /// What was chosen for it before, or is now.
    fn choice(&self, problem: &Problem, descriptors: &Descriptors) -> Result<Choice> {
        let key = (self.context, *problem);
        let known = CHOICES.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let choice = self.choose(problem, descriptors)?;
        CHOICES.lock().unwrap_or_else(PoisonError::into_inner).insert(key, choice);
        Ok(choice)
    }

    /// The first that the heuristics list of those that give the same bits each time in so much memory.
    fn choose(&self, problem: &Problem, descriptors: &Descriptors) -> Result<Choice> {
        let most = (WORKSPACE_FACTOR.saturating_mul(problem.bytes())).clamp(SOME_WORKSPACE, MOST_WORKSPACE);
        let mut passed_over = Vec::new();
        for listed in self.list(problem, descriptors)? {
            let mut pass = |why: String| passed_over.push(format!("algorithm {}: {why}", listed.algorithm));
            if listed.status != 0 {
                pass(self.library.word(listed.status));
                continue;
            }
            if listed.determinism != DETERMINISTIC {
                pass("other bits each time".to_owned());
                continue;
            }
            let math = if problem.is_exact() { FMA_MATH } else { listed.math };
            if !matches!(math, DEFAULT_MATH | TENSOR_OP_MATH | FMA_MATH) {
                pass("rounds its operands to float16".to_owned());
                continue;
            }
            descriptors.set_math(math)?;
            match self.workspace(problem, descriptors, listed.algorithm) {
                Ok(workspace) if workspace <= most => {
                    return Ok(Choice { algorithm: listed.algorithm, math, workspace });
                }
                Ok(workspace) => pass(format!("{workspace} bytes of workspace, above {most}")),
                Err(error) => pass(error.to_string()),
            }
        }
        let what = passed_over.join("; ");
        Err(Error::Device(format!(
            "cuDNN has no algorithm here whose bits repeat ({what}); write the step in standard operators (`pdloss train --inline`, `pdloss \
             export --as inline`)"
        )))
    }

    fn list(&self, problem: &Problem, descriptors: &Descriptors) -> Result<Vec<Listed>> {
        let (handle, [operand, grad, convolution, out]) = (self.handle, descriptors.raw());
        let (mut list, mut count, room) = ([Listed::NONE; ROOM as usize], 0, c_int::from(ROOM));
        let (of, found) = (list.as_mut_ptr(), &raw mut count);
        match problem.wanted {
            Wanted::Weights => call!(unsafe self.library, cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                handle, operand, grad, convolution, out, room, found, of
            ))?,
            Wanted::Input => call!(unsafe self.library, cudnnGetConvolutionBackwardDataAlgorithm_v7(
                handle, operand, grad, convolution, out, room, found, of
            ))?,
        }
        let count = usize::try_from(count).unwrap_or(0).min(list.len());
        Ok(list[..count].to_vec())
    }

    fn workspace(&self, problem: &Problem, descriptors: &Descriptors, algorithm: c_int) -> Result<usize> {
        let (handle, [operand, grad, convolution, out]) = (self.handle, descriptors.raw());
        let mut size = 0;
        match problem.wanted {
            Wanted::Weights => call!(unsafe self.library, cudnnGetConvolutionBackwardFilterWorkspaceSize(
                handle, operand, grad, convolution, out, algorithm, &raw mut size
            ))?,
            Wanted::Input => call!(unsafe self.library, cudnnGetConvolutionBackwardDataWorkspaceSize(
                handle, operand, grad, convolution, out, algorithm, &raw mut size
            ))?,
        }
        Ok(size)
    }
}
