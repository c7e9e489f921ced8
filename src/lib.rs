//! PD-Loss (proxy-decidability): a loss for embeddings that pulls the similarities of genuine and impostor pairs apart,
//! after Silva et al., "PD-Loss: Proxy-Decidability for Efficient Metric Learning", arXiv 2508.17082.
//!
//! ```text
//! z_i = x_i / |x_i|     q_c = p_c / |p_c|     s_ic = z_i . q_c     genuine: c = y_i     impostor: c != y_i
//!
//! d' = (mu_genuine - mu_impostor) / sqrt((var_genuine + var_impostor) / 2)          L = -log d' + log(2) / 2
//! ```
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | `X`, `x_i` | `[B, D]` | embeddings of a batch |
//! | `P`, `p_c` | `[C, D]` | proxies: one learned row a class |
//! | `y` | `[B]` | labels, `0 <= y_i < C` |
//! | `s_ic` | `B x C` of them, never stored | cosines; the paper's temperature cancels and only scales the moments |
//! | `d'` | scalar | decidability index |
//!
//! Below `d' = floor` the loss goes on by its tangent, so that it has a slope from the first step, where random proxies
//! leave `d'` at zero. Other forms (`-d'`, `1 / d'`) and the paper's clamp are settings: [`loss::Config`].
//!
//! # Exact without similarities
//!
//! The loss sees similarities only through sums of `s` and `s^2`, and those are polynomials in the rows. With means
//! `zbar`, `qbar` and deviations `a_i`, `b_c`,
//!
//! ```text
//! sum_ic (s_ic - mean)^2 = B sum_c (zbar.b_c)^2 + C sum_i (a_i.qbar)^2 + < A'A , B'B >
//! ```
//!
//! two `D x D` matrices, every term positive, no digits lost where rows are nearly parallel. The genuine pairs are
//! taken out by the formula of Chan, Golub and LeVeque for merging moments. Every impostor similarity weighs `a + b s`
//! in the gradient, so that too is a product with a `D x D` matrix, plus one row for each genuine pair. Where the batch
//! is small against `D`, tiles of similarities are cheaper; they are streamed over the classes and dropped.
//! The derivation stands where the code is: sums in `loss/gram.rs` and `loss/tiles.rs`, the loss as a function of `d'`
//! and its slopes in `loss/decidability.rs`, the gradient in `loss/gradient.rs`, all pairs of a batch in
//! `loss/dloss.rs`.
//!
//! # Example
//!
//! ```
//! use ndarray::array;
//! use pdloss::loss::{Batch, Config, Threads, backward, forward};
//!
//! let embeddings = array![[1.0_f32, 0.2, 0.0], [0.1, 0.9, 0.3], [0.8, 0.3, -0.1]];
//! let proxies = array![[0.9_f32, 0.1, 0.1], [0.0, 1.0, 0.2], [-0.3, 0.1, 1.0], [0.2, -0.8, 0.5]];
//! let labels = [0_i64, 1, 0];
//! let batch = Batch { embeddings: embeddings.view(), proxies: proxies.view(), labels: &labels };
//!
//! let out = forward(&Config::default(), &batch, &Threads)?;
//! assert!(out.moments.mu_genuine > out.moments.mu_impostor);
//! let gradients = backward(&out.saved, 1.0, &batch, &Threads)?;
//! assert_eq!(gradients.proxies.dim(), (4, 3));
//!
//! // A step against the gradient lowers the loss.
//! let (x, p) = (&embeddings - &(gradients.embeddings * 0.1), &proxies - &(gradients.proxies * 0.1));
//! let moved = Batch { embeddings: x.view(), proxies: p.view(), labels: &labels };
//! assert!(forward(&Config::default(), &moved, &Threads)?.loss < out.loss);
//! # Ok::<(), pdloss::loss::Error>(())
//! ```
//!
//! # Map
//!
//! | module | what it holds |
//! |---|---|
//! | [`loss`] | the loss, its gradient, D-Loss, first proxies, shards |
//! | `graph` (feature `onnx`) | ONNX models: read, put the loss behind an embedder, write |
//! | [`mod@reference`] | the oracle: plain loops in `f64` |
//! | `testing` (feature) | the cases and the error budget that every implementation is held to |
//!
//! # Pages
//!
//! The repository's folder `docs/` is a book (`make book`): `docs/loss.md` on the loss, `docs/training.md` on training with it,
//! `docs/step-graph.md` on graphs that train, `docs/extending.md` on adding a loss or a gradient rule.
#![forbid(unsafe_code)]

#[cfg(feature = "onnx")]
pub mod graph;
pub mod loss;
pub mod reference;
#[cfg(feature = "testing")]
pub mod testing;

/// The page's Rust code, compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../docs/loss.md")]
struct Page;
