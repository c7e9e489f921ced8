//! Losses for embeddings in standard operators: PD-Loss and D-Loss, and those that they are compared with.
//!
//! One file a loss or a family, its formula above it. All but [`NPair`] normalise the rows they compare; `s` are cosines. Every
//! loss is finite and differentiable wherever its inputs are finite, but for the corners of masks, margins and mining; where an
//! embedding is not finite, the loss is NaN.

use std::collections::BTreeMap;

use serde_json::Value as Setting;

use crate::loss::Config;

use super::{
    Result,
    build::{Value, attribute},
    nodes::Nodes,
};

mod centers;
mod circle;
mod contrast;
mod contrastive;
mod curricular_face;
mod d_loss;
mod formula;
mod histogram;
mod labels;
mod lifted;
mod margin;
mod multi_similarity;
mod n_pair;
mod pairs;
mod pd;
mod proxy_anchor;
mod proxy_nca;
mod rows;
mod softmax;
mod tiles;
mod triplet;

use formula::{Count, Formula, Number, Scope};
use labels::Labels;
use rows::{mean, sum_where};

pub use centers::{SoftTriple, SubcenterArcFace};
pub use circle::Circle;
pub use contrast::{NtXent, SupCon};
pub use contrastive::Contrastive;
pub use curricular_face::CurricularFace;
pub use histogram::Histogram;
pub use lifted::Lifted;
pub use margin::{ArcFace, CosFace};
pub use multi_similarity::MultiSimilarity;
pub use n_pair::NPair;
pub use proxy_anchor::ProxyAnchor;
pub use proxy_nca::ProxyNca;
pub use softmax::NormalizedSoftmax;
pub use triplet::{Triplet, Triplets};

pub(crate) use formula::{Kept, Remembered, Written};
pub(super) use pd::pd_loss;
pub(crate) use tiles::Tiled;

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
    /// ArcFace.
    ArcFace(ArcFace),
    /// CosFace.
    CosFace(CosFace),
    /// Sub-centre ArcFace, against proxies `[classes * centers, dim]`.
    SubcenterArcFace(SubcenterArcFace),
    /// CurricularFace.
    CurricularFace(CurricularFace),
    /// SoftTriple, against proxies `[classes * centers, dim]`.
    SoftTriple(SoftTriple),
    /// Multi-Similarity, without proxies.
    MultiSimilarity(MultiSimilarity),
    /// Circle loss, without proxies.
    Circle(Circle),
    /// Triplet loss, without proxies.
    Triplet(Triplet),
    /// Contrastive loss, without proxies.
    Contrastive(Contrastive),
    /// SupCon, without proxies.
    SupCon(SupCon),
    /// NT-Xent, without proxies.
    NtXent(NtXent),
    /// N-pair loss, without proxies.
    NPair(NPair),
    /// Lifted structured loss, without proxies.
    Lifted(Lifted),
    /// Histogram loss, without proxies.
    Histogram(Histogram),
}

impl Loss {
    /// What is written in standard operators alone; `None` for PD-Loss and D-Loss.
    fn formula(&mut self) -> Option<&mut dyn Formula> {
        Some(match self {
            Self::Pd(_) | Self::DLoss(_) => return None,
            Self::Softmax(loss) => loss,
            Self::ProxyNca(loss) => loss,
            Self::ProxyAnchor(loss) => loss,
            Self::ArcFace(loss) => loss,
            Self::CosFace(loss) => loss,
            Self::SubcenterArcFace(loss) => loss,
            Self::CurricularFace(loss) => loss,
            Self::SoftTriple(loss) => loss,
            Self::MultiSimilarity(loss) => loss,
            Self::Circle(loss) => loss,
            Self::Triplet(loss) => loss,
            Self::Contrastive(loss) => loss,
            Self::SupCon(loss) => loss,
            Self::NtXent(loss) => loss,
            Self::NPair(loss) => loss,
            Self::Lifted(loss) => loss,
            Self::Histogram(loss) => loss,
        })
    }

    /// The name it goes by in a description and on the command line.
    #[must_use]
    pub fn name(mut self) -> &'static str {
        match (self, self.formula()) {
            (_, Some(formula)) => formula.name(),
            (Self::DLoss(_), None) => "d-loss",
            _ => "pd",
        }
    }

    /// Whether it learns rows for each class.
    #[must_use]
    pub fn has_proxies(&self) -> bool {
        !self.compares_pairs()
    }

    /// Whether it compares the rows of a batch with each other, which then needs two of one class, and two classes.
    #[must_use]
    pub fn compares_pairs(mut self) -> bool {
        matches!(self, Self::DLoss(_)) || self.formula().is_some_and(|formula| formula.compares_pairs())
    }

    /// Whether it can compare a batch with rows of earlier ones, too: whatever follows from sums over the rows of a batch, each compared
    /// with others.
    #[must_use]
    pub fn takes_memory(mut self) -> bool {
        self.formula().is_some_and(|formula| formula.of_rows().is_some())
    }

    /// Rows of the proxies for each class: those of class `c` are `c n .. c n + n`.
    #[must_use]
    pub fn rows_per_class(mut self) -> usize {
        self.formula().map_or(1, |formula| formula.rows_per_class())
    }

    /// Whether it reports the moments of genuine and impostor similarities.
    #[must_use]
    pub fn has_moments(&self) -> bool {
        matches!(self, Self::Pd(_) | Self::DLoss(_))
    }

    /// Its hyperparameters by name.
    #[must_use]
    pub fn settings(mut self) -> BTreeMap<String, Setting> {
        let mut settings: BTreeMap<String, Setting> = BTreeMap::new();
        if let Self::Pd(config) | Self::DLoss(config) = &self {
            let numbers = [("floor", config.floor()), ("temperature", config.temperature()), ("eps", config.eps())];
            settings.extend(numbers.map(|(name, value)| (name.to_owned(), value.into())));
            let words = [("form", config.form().to_string()), ("floor_mode", config.floor_mode().to_string())];
            settings.extend(words.map(|(name, value)| (name.to_owned(), value.into())));
        }
        if let Some(formula) = self.formula() {
            settings.extend(formula.words().into_iter().map(|(name, word)| (name.to_owned(), word.into())));
            settings
                .extend(formula.numbers().into_iter().map(|number| (number.name.to_owned(), (*number.value).into())));
            settings.extend(formula.counts().into_iter().map(|count| (count.name.to_owned(), (*count.value).into())));
        }
        settings
    }

    /// The number of this name among its settings; `None` for PD-Loss and D-Loss, whose numbers are set by [`Config`].
    pub fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        self.formula()?.numbers().into_iter().find(|number| number.name == name).map(|number| number.value)
    }

    /// The whole number of this name among its settings.
    pub fn count_mut(&mut self, name: &str) -> Option<&mut usize> {
        self.formula()?.counts().into_iter().find(|count| count.name == name).map(|count| count.value)
    }

    /// Refuses hyperparameters that no loss can be computed with.
    pub(crate) fn check(mut self) -> Result<()> {
        let name = self.name();
        let Some(formula) = self.formula() else { return Ok(()) }; // checked when they were set
        formula.numbers().iter().try_for_each(|number| number.check(name))?;
        formula.counts().iter().try_for_each(|count| count.check(name))
    }

    /// Writes the loss in standard operators. `proxies` is the name of the proxies and the number of classes, `remembered` what a
    /// loss that [takes it](Loss::takes_memory) compares the rows with beside each other. A run with
    /// another number of labels than rows fails; with a label that is not below the number of classes, the loss is NaN and its
    /// gradients are zero.
    pub(crate) fn write(
        mut self,
        nodes: &mut Nodes,
        embeddings: &str,
        proxies: Option<(&str, usize)>,
        labels: &str,
        remembered: Option<Remembered<'_>>,
    ) -> Written {
        let (proxies, classes) = proxies.unwrap_or_default();
        if let Self::Pd(config) = &self {
            return pd_loss(nodes, config, embeddings, proxies, labels);
        }
        let labels = if self.has_proxies() {
            Labels::of_classes(nodes, labels, embeddings, classes)
        } else {
            Labels::compared(nodes, labels, embeddings)
        };
        if let Self::DLoss(config) = &self {
            return d_loss::d_loss(nodes, config, embeddings, &labels);
        }
        let Some(formula) = self.formula() else { unreachable!("all others are formulas") };
        let scope = Scope { embeddings, proxies, classes, labels: &labels.values, remembered };
        let written = formula.write(nodes, &scope);
        let loss = not_a_number_of(nodes, embeddings, &written.loss);
        Written { loss: labels.guard(nodes, &loss), ..written }
    }
}

/// The loss, or NaN where an embedding or the square of its length is not finite: masks and mining could pass over it.
fn not_a_number_of(nodes: &mut Nodes, embeddings: &str, loss: &str) -> String {
    let held = nodes.held(embeddings);
    let squares = nodes.mul(&held, &held);
    let square = nodes.reduce("ReduceSum", &squares, 1, true);
    let nothing = nodes.sub(&square, &square);
    let nothing = nodes.sum(&nothing);
    nodes.add(loss, &nothing)
}

/// `s = z q'`: cosines of all rows of `left` with all rows of `right`.
fn cosines(nodes: &mut Nodes, left: &str, right: &str) -> String {
    let z = nodes.unit_rows(left);
    let q = if left == right { z.clone() } else { nodes.unit_rows(right) };
    let transposed = nodes.transpose(&q);
    nodes.op("MatMul", &[&z, &transposed])
}

/// `|z - q|^2` of unit rows with these cosines.
fn squared_distances(nodes: &mut Nodes, cosines: &str) -> String {
    let twice = nodes.scale(cosines, -2.0);
    nodes.shift(&twice, 2.0)
}

/// `|z - q|` of unit rows with these cosines. Its slope is zero where they are equal.
fn distances(nodes: &mut Nodes, cosines: &str) -> String {
    let square = squared_distances(nodes, cosines);
    let least = nodes.number(1e-12);
    let square = nodes.op("Max", &[&square, &least]);
    nodes.op("Sqrt", &[&square])
}

/// The mean of the values that a mask of their shape lets through; 0 where it lets none through.
fn mean_where(nodes: &mut Nodes, mask: &str, values: &str) -> String {
    let [sum, count] = sum_where(nodes, mask, values);
    mean(nodes, &sum, &count)
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

/// `log(1 + exp(values))` of every number of a matrix; onnxruntime has no `Softplus` of float64.
fn softplus(nodes: &mut Nodes, values: &str) -> String {
    let column = nodes.unsqueeze(values, 2);
    let pads = nodes.integers(&[0, 0, 1, 0, 0, 0]);
    let with_zero = nodes.op("Pad", &[&column, &pads]);
    nodes.reduce("ReduceLogSumExp", &with_zero, 2, false)
}
