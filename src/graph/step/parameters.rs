//! The backbone's parameters on their way into the step: out of `Constant` nodes and float16, frozen, reached or left.

use std::collections::HashSet;

use super::{
    Parameters, StepOptions,
    description::{Left, listed},
    patterns::Frozen,
    pytorch::Export,
    sharing::{Shared, shared},
    weights::{self, Parameter},
};
use crate::graph::{
    Error, Result,
    build::{Element, floats},
    head, literal,
    proto::{GraphProto, TensorProto},
};

/// How the reason of a frozen parameter begins.
const FROZEN: &str = "frozen by";

/// How that of one begins whose group does not learn.
const NO_RATE: &str = "learning rate times 0 by group";

/// How many tables are named.
const TABLES: usize = 12;

/// What is trained, and why the rest stays.
#[derive(Clone)]
pub(super) struct Found {
    parameters: Vec<Parameter>,
    widened: Vec<String>,
    buffers: Vec<String>,
    shared: Vec<Shared>,
    notes: Vec<String>,
}

/// Finds the parameters. Those that can be trained become initializers of float32 or float64: values of `Constant` nodes are
/// moved, float16 and bfloat16 before a `Cast` are widened.
pub(super) fn find(graph: &mut GraphProto, data: &str, options: &StepOptions, export: &Export) -> Result<Found> {
    let constants = graph.node.iter().filter_map(|node| node.made(0).filter(|_| node.op_type() == "Constant"));
    let names: Vec<&str> = graph.initializer.iter().map(TensorProto::name).chain(constants).collect();
    let also = Frozen::new("training", &options.also, &names)?;
    let (parameters, buffers) = weights::find(graph, data, &also, export);
    let trainable = parameters.iter().filter(|parameter| parameter.stays.is_none());
    let trainable: HashSet<String> = trainable.map(|parameter| parameter.name.clone()).collect();
    options.also.iter().try_for_each(|pattern| trains(pattern, &names, &trainable, &parameters))?;
    move_out_of_constants(graph, &trainable);
    let widened = widen(graph, &trainable);
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let shared = shared(graph, &names);
    Ok(Found { widened, buffers, shared, notes: export.notes(graph), parameters })
}

/// Refuses a pattern of which nothing can be trained.
fn trains(pattern: &String, names: &[&str], trainable: &HashSet<String>, parameters: &[Parameter]) -> Result<()> {
    let one = Frozen::new("training", std::slice::from_ref(pattern), names)?;
    let matched: Vec<&str> = names.iter().copied().filter(|name| one.holds(name)).collect();
    if matched.iter().any(|name| trainable.contains(*name)) {
        return Ok(());
    }
    let first = matched.first().copied().unwrap_or_default();
    let stays =
        parameters.iter().find(|parameter| parameter.name == first).and_then(|parameter| parameter.stays.as_deref());
    let why = stays
        .unwrap_or("it is no weight of a layer: running statistics follow the batches, and integers have no gradient");
    let reason = format!("none of the {} tensors that it matches can be trained; '{first}': {why}", matched.len());
    Err(Error::model(format!("training pattern '{pattern}'"), reason))
}

/// Makes initializers of the values of `Constant` nodes with these names.
pub(super) fn move_out_of_constants(graph: &mut GraphProto, names: &HashSet<String>) {
    let (mut kept, mut moved) = (Vec::new(), Vec::new());
    for node in std::mem::take(&mut graph.node) {
        match node.made(0).filter(|name| names.contains(*name)).and_then(|_| literal::of_node(&node)) {
            Some(tensor) => moved.push(tensor),
            None => kept.push(node),
        }
    }
    graph.node = kept;
    graph.initializer.extend(moved);
}

/// Makes float32 of the initializers with these names that have 16 bits; their names.
fn widen(graph: &mut GraphProto, names: &HashSet<String>) -> Vec<String> {
    let mut widened = Vec::new();
    for tensor in graph.initializer.iter_mut().filter(|tensor| names.contains(tensor.name())) {
        if literal::Half::of(tensor).is_none() {
            continue;
        }
        if let (Some(values), Some(lengths)) = (literal::any_floats(tensor), literal::lengths(tensor)) {
            *tensor = floats(tensor.name(), Element::F32, &lengths, &values);
            widened.push(tensor.name().to_owned());
        }
    }
    widened
}

impl Found {
    /// Adds what is to be said, where that is something.
    pub(super) fn note(&mut self, sentence: Option<String>) {
        self.notes.extend(sentence);
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> HashSet<&str> {
        self.parameters.iter().map(|parameter| parameter.name.as_str()).collect()
    }

    /// Freezes what the options' patterns name, proxies among it.
    pub(super) fn freeze(&mut self, options: &StepOptions) -> Result<Frozen> {
        let mut names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        if options.loss.has_proxies() {
            names.push(head::names::PROXIES);
        }
        let frozen = Frozen::new("freeze", &options.freeze, &names)?;
        if let Some(step) = options.unfreeze_at {
            let held: Vec<&&str> = names.iter().filter(|name| frozen.holds(name)).collect();
            self.notes.push(format!("frozen until {step} steps are made, and trained from then on: {}", listed(&held)));
            return Ok(frozen);
        }
        for parameter in &mut self.parameters {
            if let Some(pattern) = frozen.which(&parameter.name) {
                parameter.stays = Some(format!("{FROZEN} '{pattern}'"));
            }
        }
        Ok(frozen)
    }

    /// The groups of the options, whose patterns must name something that is trained.
    pub(super) fn groups(&self, options: &StepOptions, frozen: &Frozen) -> Result<Frozen> {
        let trained = self.parameters.iter().filter(|parameter| parameter.stays.is_none());
        let mut names: Vec<&str> = trained.map(|parameter| parameter.name.as_str()).collect();
        if options.loss.has_proxies() && !frozen.holds(head::names::PROXIES) {
            names.push(head::names::PROXIES);
        }
        let patterns: Vec<String> = options.groups.iter().map(|group| group.pattern.clone()).collect();
        let groups = Frozen::new("group", &patterns, &names)?;
        let has_some = |at: usize| names.iter().any(|name| groups.position(name) == Some(at));
        match (0..patterns.len()).find(|&at| !has_some(at)) {
            None => Ok(groups),
            Some(at) => Err(Error::model(
                format!("group pattern '{}'", patterns[at]),
                "the groups before it have all of its weights, so that it changes nothing; name it before them",
            )),
        }
    }

    /// Notes which stay as they are because their group has a learning rate of 0.
    pub(super) fn held(&mut self, options: &StepOptions, groups: &Frozen) {
        for parameter in self.parameters.iter_mut().filter(|parameter| parameter.stays.is_none()) {
            let Some(pattern) = groups.which(&parameter.name) else { continue };
            if options.groups.iter().any(|group| group.pattern == pattern && group.rate == 0.0) {
                parameter.stays = Some(format!("{NO_RATE} '{pattern}'"));
            }
        }
    }

    /// The names of those that are trained, once those are left out that are not there.
    pub(super) fn trained(&mut self, is_there: &dyn Fn(&str) -> bool) -> Vec<String> {
        self.unreached(&|name| !is_there(name));
        let trained = self.parameters.iter().filter(|parameter| parameter.stays.is_none());
        trained.map(|parameter| parameter.name.clone()).collect()
    }

    /// Notes which the loss does not depend on.
    pub(super) fn unreached(&mut self, is_left: &dyn Fn(&str) -> bool) {
        let trained = self.parameters.iter_mut().filter(|parameter| parameter.stays.is_none());
        for parameter in trained.filter(|parameter| is_left(&parameter.name)) {
            parameter.stays = Some("the loss does not depend on it".to_owned());
        }
    }

    /// That tables are trained, where some look so.
    fn tables(&self) -> Option<String> {
        let trained = self.parameters.iter().filter(|parameter| parameter.stays.is_none());
        let tables: Vec<String> =
            trained.filter_map(|parameter| Some(format!("'{}' ({})", parameter.name, parameter.look?))).collect();
        let shown = tables.iter().take(TABLES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if tables.len() > TABLES { format!(" and {} more", tables.len() - TABLES) } else { String::new() };
        (!tables.is_empty()).then(|| {
            format!(
                "trained all the same, though they look like tables that are computed and not learned: {shown}{more}; --freeze \
                 holds them"
            )
        })
    }

    /// What the description says of it.
    pub(super) fn told(self) -> Parameters {
        let tables = self.tables();
        let notes = self.notes.into_iter().chain(tables).collect();
        let mut told = Parameters { buffers: self.buffers, shared: self.shared, notes, ..Parameters::default() };
        for Parameter { name, values, stays, .. } in self.parameters {
            told.tensors += 1;
            told.values = told.values.saturating_add(values);
            match stays {
                None => {
                    told.trained += 1;
                    told.trained_values = told.trained_values.saturating_add(values);
                    if self.widened.contains(&name) {
                        told.widened.push(name);
                    }
                }
                Some(reason) => told.left.push(Left { name, values, reason }),
            }
        }
        told
    }

    /// Refuses a step that would change nothing of the backbone, but for proxies alone where patterns froze the rest.
    /// `opaque` are nodes that no gradient comes through.
    pub(super) fn refuse_nothing(&self, trains_proxies: bool, opaque: &[String]) -> Result<()> {
        let stays = || self.parameters.iter().filter_map(|parameter| parameter.stays.as_deref());
        let is_meant = trains_proxies && stays().count() > 0 && stays().all(|reason| reason.starts_with(FROZEN));
        if is_meant || stays().count() < self.parameters.len() {
            return Ok(());
        }
        let told = self.clone().told();
        let behind = match opaque {
            [] => String::new(),
            nodes => format!("; no gradient comes through {}", nodes.join(", ")),
        };
        Err(Error::model("backbone", told.nothing() + &behind))
    }
}

impl Parameters {
    /// That nothing is trained, and what to do about it, in a sentence.
    #[must_use]
    pub fn nothing(&self) -> String {
        let has = |word: &str| self.left.iter().any(|left| left.reason.contains(word));
        let cure = if has("quantised") {
            "train the model in float32 and quantise what comes out"
        } else if has(FROZEN) {
            "freeze less of it"
        } else if has(NO_RATE) {
            "give its group a rate above 0"
        } else if has("float16") {
            "export it in float32"
        } else if has("does not depend on it") {
            "name the tensor that is the embedding, if it is another"
        } else if self.left.is_empty() {
            "it has no tensors that layers compute with"
        } else {
            "export it in float32 with its weights as initializers, or name tensors that only look like constants"
        };
        format!("nothing to train: {self}; {cure}")
    }
}
