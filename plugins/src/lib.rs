//! PD-Loss and D-Loss as ONNX Runtime operators: domain `com.pdloss`, version 1, on the CPU and on CUDA.
//!
//! | operator | inputs | outputs |
//! |---|---|---|
//! | `PDLoss` | embeddings `[B, D]`, proxies `[C, D]`, labels `[B]` | loss `[]`, moments `[8]`, saved `[n]` |
//! | `PDLossGrad` | loss_grad `[]`, embeddings, proxies, labels, moments, saved | embeddings_grad, proxies_grad |
//! | `PDLossWithGrad` | embeddings, proxies, labels, loss_grad `[]` (optional) | loss, moments, embeddings_grad, proxies_grad |
//! | `DLoss` | embeddings, labels | loss, moments, saved |
//! | `DLossGrad` | loss_grad, embeddings, labels, moments, saved | embeddings_grad |
//! | `AllGather` | token `[]`, rows `[n, ...]` | token, rows of all ranks `[N, ...]`, place of the own first row `[]` |
//! | `AllReduce` | token `[]`, values ... | token, their sums over all ranks ... |
//! | `PDLossOverRanks` | token `[]`, embeddings `[B, D]`, proxies `[C / N, D]`, labels `[B]` | token, loss, moments, embeddings_grad, proxies_grad |
//! | `GradientNorm` | tensors ... | norm `[]` |
//! | `Update` | learning_rate `[]`, step `[]`, gradient_norm `[]`, settings `[n, 3]`, tensors ... | next values of the tensors ... |
//! | `ActivationGrad` | grad, kept, second (optional) | input_grad |
//! | `BatchNormTraining` | x `[N, C, ...]`, scale, bias, running_mean, running_variance `[C]` | y, mean, variance, next_mean, next_variance |
//! | `BatchNormGrad` | grad, x, scale, mean, variance | x_grad, scale_grad, bias_grad |
//! | `LayerNormGrad` | grad, x, scale, mean, inverse_deviation | x_grad, scale_grad, bias_grad |
//! | `ConvWeightGrad` | grad `[N, M, ...]`, x `[N, C, ...]` | weight_grad `[M, C / group, ...]` |
//! | `ConvInputGrad` | grad `[N, M, ...]`, weights `[M, C / group, ...]` | x_grad `[N, C, ...]` |
//! | `MaxPoolGrad` | grad, x `[N, C, ...]` | x_grad |
//! | `WinogradConv` | x `[N, C, H, W]`, weights `[M, C, 3, 3]`, bias `[M]` (optional) | y `[N, M, ...]` |
//!
//! The last ten are of training steps, in float32 and float64, all but `WinogradConv` on CUDA in float32, float16 and bfloat16:
//! `docs/operators.md`.
//! `PDLossOverRanks` is PD-Loss with a part of the classes on each rank, in their order; both gradients are those of `1 * loss`.
//! `AllGather` and `AllReduce` are exchanges between the ranks of an MPI launcher, and those of a world of one without the feature `mpi`: what
//! goes in comes out. The token, int64, puts them in order, the same on all ranks whatever the host's schedule: each takes that of
//! the one before, and gives it on with one added. Rows are of any type, values float32 or float64.
//!
//! The gradients of `PDLossWithGrad` are those of `loss_grad * loss`, of `1 * loss` without one. They are multiplied before they are
//! rounded: a float16 gradient needs a factor, or those of absent classes are below its smallest number.
//!
//! Embeddings, proxies, loss and gradients are float32 or float64, on CUDA float32, float16 or bfloat16, all of one type; labels
//! are int64 or int32; moments and saved are float64. Attributes of the operators that compute a loss, each optional: `form` (`log`, `negative`, `inverse`; of
//! `DLoss` `inverse` by default), `floor`, `floor_mode` (`tangent`, `clamp`), `temperature`, `eps`. The gradient operators have
//! none: the saved state carries the settings. Moments are mu_genuine, mu_impostor, var_genuine, var_impostor, d',
//! n_genuine, n_impostor and the number of bad labels. On the CPU that is 0, because a bad label is an error. On CUDA, where
//! nobody waits to look at labels, a bad one makes the loss NaN and the gradients zero, and is counted. Likewise a batch of
//! `DLoss` without a genuine or without an impostor pair is an error on the CPU; on CUDA its loss is NaN, its gradient zero.
//!
//! The cdylib is what a session's options load; a Rust program calls [`register()`] instead.
//!
//! # Map
//!
//! ```text
//! ort-sys (declarations) -> ort_api (calls, as Result) -> register (callbacks) -> kernel -> forward / backward -> cpu -> pdloss
//!                                                                   -> collective -> pdloss-ranks
//!                                                         schema, settings, state: data -> cuda -> kernels/*.cu
//! ```
//!
//! The repository's pages: `docs/operators.md` has the operators in sessions, in ORT training and on stock ONNX Runtime,
//! `docs/gpu.md` what was tried on CUDA and what was not, `docs/extending.md` how an operator and a kernel are added.
#![deny(unsafe_code)]

mod activation;
mod backward;
mod collective;
mod convolution;
mod cpu;
mod cuda;
mod error;
mod forward;
mod kernel;
mod normalization;
mod ort_api;
mod register;
pub mod schema;
mod settings;
mod sharded;
mod state;
mod types;
mod update;

pub use error::{Error, Result};
pub use register::{RegisterCustomOps, register};
