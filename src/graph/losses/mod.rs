//! Losses for embeddings in standard operators: PD-Loss and D-Loss, and the baselines they are compared with.
//!
//! One file a loss, its formula above it. All normalise the rows they compare; `s` are cosines. Every loss is finite and
//! differentiable wherever its inputs are finite, but for the corners of masks and mining.

use std::collections::BTreeMap;

use serde_json::Value as Setting;

use crate::loss::Config;

use super::{
    Error, Result,
    build::{Value, attribute},
    nodes::Nodes,
};

mod d_loss;
mod labels;
mod multi_similarity;
mod pairs;
mod pd;
mod proxy_anchor;
mod proxy_nca;
mod softmax;

use labels::Labels;

pub use multi_similarity::MultiSimilarity;
pub use proxy_anchor::ProxyAnchor;
pub use proxy_nca::ProxyNca;
pub use softmax::NormalizedSoftmax;

pub(super) use pd::pd_loss;

/// A loss for embeddings `[batch, dim]` and labels `[batch]`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// PD-Loss, against proxies `[classes, dim]`.
    Pd(Config),
    /// The same index over all pairs of the batch, without proxies (Silva et al. 2022). A batch without a genuine or
    /// without an impostor pair has no index: the operator refuses it, the standard operators answer NaN.
    DLoss(Config),
    /// Cross-entropy of cosines.
    Softmax(NormalizedSoftmax),
    /// ProxyNCA++.
    ProxyNca(ProxyNca),
    /// Proxy-Anchor.
    ProxyAnchor(ProxyAnchor),
    /// Multi-Similarity, without proxies.
    MultiSimilarity(MultiSimilarity),
}

/// The names of a loss and of its reported moments in a graph.
pub(crate) struct Written {
    pub(crate) loss: String,
    /// mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine, n_impostor, bad labels; float64.
    pub(crate) moments: Option<String>,
}

impl Loss {
    /// The name it goes by in a description and on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pd(_) => "pd",
            Self::DLoss(_) => "d-loss",
            Self::Softmax(_) => "softmax",
            Self::ProxyNca(_) => "proxy-nca",
            Self::ProxyAnchor(_) => "proxy-anchor",
            Self::MultiSimilarity(_) => "multi-similarity",
        }
    }

    /// Whether it learns a row for each class.
    #[must_use]
    pub fn has_proxies(&self) -> bool {
        !matches!(self, Self::DLoss(_) | Self::MultiSimilarity(_))
    }

    /// Whether it reports the moments of genuine and impostor similarities.
    #[must_use]
    pub fn has_moments(&self) -> bool {
        matches!(self, Self::Pd(_) | Self::DLoss(_))
    }

    /// Its hyperparameters by name.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, Setting> {
        let named = |settings: &[(&str, f64)]| {
            settings.iter().map(|&(name, value)| (name.to_owned(), Setting::from(value))).collect()
        };
        match self {
            Self::Pd(config) | Self::DLoss(config) => {
                let mut settings: BTreeMap<String, Setting> =
                    named(&[("floor", config.floor()), ("temperature", config.temperature()), ("eps", config.eps())]);
                settings.insert("form".to_owned(), Setting::from(config.form().to_string()));
                settings.insert("floor_mode".to_owned(), Setting::from(config.floor_mode().to_string()));
                settings
            }
            Self::Softmax(loss) => named(&loss.settings()),
            Self::ProxyNca(loss) => named(&loss.settings()),
            Self::ProxyAnchor(loss) => named(&loss.settings()),
            Self::MultiSimilarity(loss) => named(&loss.settings()),
        }
    }

    /// Refuses hyperparameters that no loss can be computed with.
    pub(crate) fn check(&self) -> Result<()> {
        let (settings, may_be_zero): (&[(&str, f64)], &[&str]) = match self {
            Self::Pd(_) | Self::DLoss(_) => return Ok(()), // checked when they were set
            Self::Softmax(loss) => (&loss.settings(), &[]),
            Self::ProxyNca(loss) => (&loss.settings(), &[]),
            Self::ProxyAnchor(loss) => (&loss.settings(), &["margin"]),
            Self::MultiSimilarity(loss) => (&loss.settings(), &["base", "epsilon"]),
        };
        for &(name, value) in settings {
            let is_zero = value == 0.0 && may_be_zero.contains(&name);
            if !(value.is_finite() && (value > 0.0 || is_zero)) {
                let least = if may_be_zero.contains(&name) { "not below 0" } else { "above 0" };
                let reason = format!("wanted a finite number {least}, got {value}");
                return Err(Error::model(format!("{name} of the loss {}", self.name()), reason));
            }
        }
        Ok(())
    }

    /// Writes the loss in standard operators. `proxies` is the name of the proxies and their number. A run with another
    /// number of labels than rows fails; with a label that is not below the number of proxies, the loss is NaN and its
    /// gradients are zero.
    pub(crate) fn write(
        &self,
        nodes: &mut Nodes,
        embeddings: &str,
        proxies: Option<(&str, usize)>,
        labels: &str,
    ) -> Written {
        let (rows, classes) = proxies.unwrap_or_default();
        let (loss, labels) = match self {
            Self::Pd(config) => return pd_loss(nodes, config, embeddings, rows, labels),
            Self::DLoss(config) => {
                let labels = Labels::compared(nodes, labels, embeddings);
                return d_loss::d_loss(nodes, config, embeddings, &labels);
            }
            Self::MultiSimilarity(loss) => {
                let labels = Labels::compared(nodes, labels, embeddings);
                (loss.write(nodes, embeddings, &labels.values), labels)
            }
            Self::Softmax(loss) => {
                let labels = Labels::of_classes(nodes, labels, embeddings, rows);
                (loss.write(nodes, embeddings, rows, &labels.values), labels)
            }
            Self::ProxyNca(loss) => {
                let labels = Labels::of_classes(nodes, labels, embeddings, rows);
                (loss.write(nodes, embeddings, rows, &labels.values), labels)
            }
            Self::ProxyAnchor(loss) => {
                let labels = Labels::of_classes(nodes, labels, embeddings, rows);
                (loss.write(nodes, embeddings, rows, classes, &labels.values), labels)
            }
        };
        Written { loss: labels.guard(nodes, &loss), moments: None }
    }
}

/// `s = z q'`: cosines of all rows of `left` with all rows of `right`.
fn cosines(nodes: &mut Nodes, left: &str, right: &str) -> String {
    let z = nodes.unit_rows(left);
    let q = if left == right { z.clone() } else { nodes.unit_rows(right) };
    let transposed = nodes.transpose(&q);
    nodes.op("MatMul", &[&z, &transposed])
}

/// `-mean_i log softmax(logits)_iy`
fn cross_entropy(nodes: &mut Nodes, logits: &str, labels: &str) -> String {
    let logs = nodes.with("LogSoftmax", &[logits], vec![attribute("axis", Value::Int(1))]);
    let column = nodes.unsqueeze(labels, 1);
    let own = nodes.with("GatherElements", &[&logs, &column], vec![attribute("axis", Value::Int(1))]);
    let mean = nodes.reduce_all("ReduceMean", &own);
    nodes.op("Neg", &[&mean])
}

/// `log(1 + sum exp(values))` along an axis, over those values that the mask lets through.
fn log_one_plus_sum_exp(nodes: &mut Nodes, mask: &str, values: &str, axis: i64) -> String {
    // Its exponential is zero beside the one, and so is its slope.
    let nothing = nodes.number(-1e9);
    let kept = nodes.op("Where", &[mask, values, &nothing]);
    let pads = nodes.integers(if axis == 0 { &[1, 0, 0, 0] } else { &[0, 1, 0, 0] });
    let with_zero = nodes.op("Pad", &[&kept, &pads]);
    nodes.reduce("ReduceLogSumExp", &with_zero, axis, false)
}
