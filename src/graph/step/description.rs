//! What a step graph says of itself, for the program that drives it.

use std::collections::BTreeMap;

use glob::Pattern;
use serde::{Deserialize, Serialize};
use serde_json::Value as Setting;

use super::{Group, Memory, Optimizer, Precision, Rounded, Shared};
use crate::graph::{
    Error, Result,
    build::Element,
    head::names::PROXIES,
    proto::{ModelProto, StringStringEntryProto},
};

/// The key of the description among the model's `metadata_props`.
pub const KEY: &str = "pdloss.step";

/// The layout of the description that this crate writes and reads.
const VERSION: u32 = 1;

/// A step graph's inputs, settings and state; JSON in the model's metadata, under the key `pdloss.step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The layout of this description: 1.
    pub version: u32,
    /// The backbone's own input.
    pub data: String,
    /// The backbone's output that the loss takes; the step graph gives it as `pdloss.embeddings`.
    pub embeddings: String,
    /// Length of an embedding.
    pub dim: usize,
    /// Classes; none for losses without proxies, which have a row for each, or as many as the loss's setting `centers`.
    pub classes: Option<usize>,
    /// The loss.
    pub loss: LossDescription,
    /// The optimiser and its settings.
    pub optimizer: Optimizer,
    /// Factor on the learning rate of the proxies.
    pub proxies_rate: f64,
    /// Weights with settings of their own.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<Group>,
    /// How the averages follow the weights; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ema: Option<f64>,
    /// The largest norm of all gradients together; none where they are not clipped.
    pub clip: Option<f64>,
    /// Patterns of the names of frozen weights.
    pub freeze: Vec<String>,
    /// The number of steps after which these are trained, too; none where they stay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unfreeze_at: Option<u64>,
    /// Factor on the learning rate from layer to layer, from the last one back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer_decay: Option<f64>,
    /// Seed of the proxies' first values and of dropout.
    pub seed: u64,
    /// Rows of earlier batches that the loss compares a batch with; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory: Option<Memory>,
    /// In what the backbone's products are computed; none where that is float32.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision: Option<Precision>,
    /// Which of them are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rounded: Option<Rounded>,
    /// Every tensor that a step changes, weights first.
    pub state: Vec<State>,
    /// How much of the backbone that is, and what stays.
    #[serde(default)]
    pub parameters: Parameters,
}

/// How many of a backbone's parameters a step trains, and which it leaves as they are.
///
/// A parameter is a tensor that layers compute with: weights, biases, scales and tables; not running statistics, shapes,
/// indices, bounds, or the constants of arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Tensors that are trained.
    pub trained: usize,
    /// Tensors in all.
    pub tensors: usize,
    /// Numbers in the tensors that are trained.
    pub trained_values: u64,
    /// Numbers in all.
    pub values: u64,
    /// Trained in float32, and float16 or bfloat16 in the backbone, as which they are written back.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub widened: Vec<String>,
    /// Those that stay.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left: Vec<Left>,
    /// Tensors that layers compute with and that are no parameters, as PyTorch's exporter says: buffers, and what it computed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub buffers: Vec<String>,
    /// Weights that several layers have together.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shared: Vec<Shared>,
    /// What of the PyTorch module is not in the model as it was, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// A parameter that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its name in the backbone.
    pub name: String,
    /// How many numbers it holds.
    pub values: u64,
    /// Why it stays.
    pub reason: String,
}

impl Parameters {
    /// Whether anything is otherwise than that every parameter is trained by itself, as it is in the backbone.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let lists = [self.widened.is_empty(), self.left.is_empty(), self.buffers.is_empty(), self.shared.is_empty()];
        lists.contains(&false)
    }
}

impl std::fmt::Display for Parameters {
    /// `trains 6 of 7 tensors (436 of 460 values)`, and what stays, by reason.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { trained, tensors, trained_values, values, .. } = self;
        write!(f, "trains {trained} of {tensors} tensors ({trained_values} of {values} values)")?;
        if !self.widened.is_empty() {
            write!(f, "; in float32, though of 16 bits in the model: {}", listed(&self.widened))?;
        }
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for left in &self.left {
            match reasons.iter_mut().find(|(reason, _)| *reason == left.reason) {
                Some((_, names)) => names.push(&left.name),
                None => reasons.push((&left.reason, vec![&left.name])),
            }
        }
        for (reason, names) in reasons {
            write!(f, "; {} {}: {reason}", listed(&names), if names.len() == 1 { "stays" } else { "stay" })?;
        }
        if !self.buffers.is_empty() {
            write!(
                f,
                "; no parameters of PyTorch, so they stay (--also-train trains them): {}",
                listed(&self.buffers)
            )?;
        }
        for Shared { name, layers } in self.shared.iter().take(SHOWN) {
            let shown = layers.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if layers.len() > SHOWN { format!(" and {} more", layers.len() - SHOWN) } else { String::new() };
            write!(
                f,
                "; one tensor feeds {} layers and is trained as one (--untie): '{name}' in {shown}{more}",
                layers.len()
            )?;
        }
        if self.shared.len() > SHOWN {
            write!(f, "; {} more tensors feed several layers", self.shared.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// How many of a list are shown.
const SHOWN: usize = 6;

/// The first names of many, in quotes.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let mut words: Vec<String> = names.iter().take(SHOWN).map(|name| format!("'{}'", name.as_ref())).collect();
    if names.len() > SHOWN {
        words.push(format!("{} more", names.len() - SHOWN));
    }
    words.join(", ")
}

/// Name, spelling and hyperparameters of a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossDescription {
    /// As [`Loss::name`](crate::graph::losses::Loss::name) has it.
    pub name: String,
    /// `operator`: needs this project's library; `standard`: needs none.
    pub spelling: String,
    /// By name.
    pub settings: BTreeMap<String, Setting>,
}

/// One tensor of the state: an input with an initializer of the same name, and an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The input.
    pub name: String,
    /// The output that is the input of the next step.
    pub next: String,
    /// What it is.
    pub kind: Kind,
    /// The tensor that an optimiser's one or an average belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<String>,
    /// Whether weight decay applies.
    pub decay: bool,
    /// Lengths.
    pub shape: Vec<usize>,
    /// `float32`, `float64` or `int64`.
    pub element: String,
    /// Whether one buffer may be bound as the input and as the output: nothing reads the tensor after its next value is made.
    #[serde(skip_serializing_if = "is_false", default)]
    pub in_place: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a tensor of the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A weight of the backbone, under its own name.
    Weight,
    /// One row a class.
    Proxies,
    /// A moment or the momentum of a weight or of the proxies.
    Optimizer,
    /// A running mean or variance of the backbone, under its own name.
    Running,
    /// The average of a weight or of a running statistic, for the embedder.
    Average,
    /// What the loss itself keeps: a number that follows the batches, or rows of earlier ones.
    Loss,
    /// The number that gradients are multiplied by in the backbone, and counts of steps that it follows.
    Scale,
    /// The number of finished steps.
    Step,
}

impl Description {
    /// The factor on the learning rate of the proxies: their own, times that of the first group whose pattern has their name.
    #[must_use]
    pub fn rate_of_proxies(&self) -> f64 {
        let has_proxies = |group: &&Group| Pattern::new(&group.pattern).is_ok_and(|pattern| pattern.matches(PROXIES));
        self.proxies_rate * self.groups.iter().find(has_proxies).map_or(1.0, |group| group.rate)
    }

    pub(super) const VERSION: u32 = VERSION;

    /// Reads the description of a step graph.
    ///
    /// # Errors
    /// When the model is no step graph, or one of another layout.
    pub fn of(model: &ModelProto) -> Result<Self> {
        let Some(entry) = model.metadata_props.iter().find(|entry| entry.key() == KEY) else {
            return Err(Error::model("model", format!("not a step graph: its metadata has no '{KEY}'")));
        };
        let wrong = |error: serde_json::Error| Error::model(KEY, format!("not a description of a step: {error}"));
        #[derive(Deserialize)]
        struct Layout {
            version: u32,
        }
        let Layout { version } = serde_json::from_str(entry.value()).map_err(wrong)?;
        if version != VERSION {
            return Err(Error::model(KEY, format!("wanted layout {VERSION}, got {version}; export the step again")));
        }
        serde_json::from_str(entry.value()).map_err(wrong)
    }

    pub(super) fn put(&self, model: &mut ModelProto) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| Error::model(KEY, error.to_string()))?;
        model.metadata_props.retain(|entry| entry.key() != KEY);
        model.metadata_props.push(StringStringEntryProto { key: Some(KEY.to_owned()), value: Some(text) });
        Ok(())
    }
}

/// The name of an element type in a description.
pub(super) fn element_name(element: Element) -> &'static str {
    match element {
        Element::F32 => "float32",
        Element::F64 => "float64",
        Element::I32 => "int32",
        Element::I64 => "int64",
        Element::Bool => "bool",
    }
}
