//! A training step as one ONNX graph: backbone, loss, gradients and optimiser.
//!
//! [`build`] makes of an embedder a model that any program with an ONNX Runtime can train with: data, labels, the learning
//! rate and the state go in, the loss and the next state come out. All of it is standard operators, but for PD-Loss and
//! D-Loss where they are spelt as this project's operators.
//!
//! | input | type and shape | |
//! |---|---|---|
//! | the backbone's own, under its name | as there | a batch |
//! | [`names::LABELS`] | int64 `[batch]` | class numbers |
//! | [`names::LEARNING_RATE`] | float32 `[]` | |
//! | every tensor `S` of the state | | its first value is the initializer of the same name |
//!
//! | output | type and shape | |
//! |---|---|---|
//! | `pdloss.loss` | `[]` | before the step |
//! | `pdloss.moments` | float64 `[8]` | PD-Loss and D-Loss: mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine, n_impostor, bad labels |
//! | [`names::MEAN_COSINE`] | `[]` | mean cosine of all pairs of the batch's embeddings; near 1 they have collapsed |
//! | [`names::GRADIENT_NORM`] | `[]` | of all gradients together, before clipping |
//! | [`names::EMBEDDINGS`] | `[batch, dim]` | of the batch, as training sees it |
//! | `S.next` for every tensor `S` of the state | as `S` | to be fed as `S` at the next step |
//!
//! Where no type stands it is the backbone's. The state is weights and running statistics under their names in the backbone,
//! `pdloss.proxies`, the optimiser's tensors `pdloss.momentum.W`, or `pdloss.m.W` and `pdloss.v.W`, for every weight `W`,
//! [`names::average`] of weights and running statistics with [`StepOptions::ema`], what the loss itself keeps
//! (`pdloss.curriculum`; rows of earlier batches with [`StepOptions::memory`]), [`names::LOSS_SCALE`] and its counts with
//! [`StepOptions::precision`] of float16, and [`names::STEP`], int64 `[]`, the number of finished steps. The same inputs give the same outputs, to the bit on one
//! machine with one number of threads: dropout follows from the seed and the step. [`Description`] lists it all.
//!
//! With [`StepOptions::ranks`] the same graph runs on every rank of an MPI launcher: data, labels and [`names::EMBEDDINGS`] are
//! those of the rank's rows, everything else is of the whole batch, and the same on all ranks.
//!
//! Pieces: [`StepOptions`] (what is asked for), `weights` (what is trained), `pytorch` (what the exporter says
//! of that), [`untie`] (weights that layers share), [`Optimizer`] (how), [`Description`] (what the
//! model says of itself), [`export_embedder`] (back to an embedder), [`set_class_mean_proxies`] (other first proxies).

mod constants;
mod cut;
mod description;
mod embedder;
mod in_parts;
mod in_place;
mod layers;
mod loss;
mod memory;
mod operator;
mod optimizer;
mod options;
mod parameters;
mod patterns;
mod precision;
mod proxies;
mod pytorch;
mod ranks;
mod sharing;
mod tables;
mod tensors;
mod tiles;
mod update;
mod weights;

pub use super::gradient::Operators;
pub use description::{Description, KEY, Kind, Left, LossDescription, Parameters, State};
pub use embedder::{Moved, export_embedder, moved, only};
pub use in_parts::{InParts, build_in_parts};
pub use optimizer::Optimizer;
pub use options::{FreezeStatistics, Group, Memory, Ranks, RunningVariance, StepOptions};
pub use precision::{Half, LossScale, Precision, Rounded};
pub use proxies::set_class_mean_proxies;
pub use sharing::{COPIES, Copied, Shared, untie, with_own_statistics};
pub use tiles::Tiles;

use std::collections::HashSet;

use super::{
    Error, Result, branches,
    build::{Element, declare, integers},
    collective, free_batch, gradient,
    head::{self, Place},
    nodes::Nodes,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    sequences,
    shapes::Shapes,
    training_mode::{self, Running},
};
use loss::{add_proxies, attach_loss};
use pytorch::Export;
use tensors::Trained;
use update::{Rules, promote, update};

/// The names of what a step graph adds to its backbone, beside those of [`head::names`].
pub mod names {
    pub use super::head::names::LABELS;
    /// Input: the learning rate.
    pub const LEARNING_RATE: &str = "pdloss.learning_rate";
    /// State: the number of finished steps.
    pub const STEP: &str = "pdloss.step";
    /// Output: the batch's embeddings.
    pub const EMBEDDINGS: &str = "pdloss.embeddings";
    /// Output: mean cosine of all pairs of the batch.
    pub const MEAN_COSINE: &str = "pdloss.mean_cosine";
    /// Output: norm of all gradients together.
    pub const GRADIENT_NORM: &str = "pdloss.gradient_norm";
    /// State: the embeddings of the last rows, the newest first, where the loss remembers some.
    pub const MEMORY_EMBEDDINGS: &str = "pdloss.memory.embeddings";
    /// State: their labels.
    pub const MEMORY_LABELS: &str = "pdloss.memory.labels";
    /// State: how many there are so far.
    pub const MEMORY_COUNT: &str = "pdloss.memory.count";
    /// State: what gradients are multiplied by on their way through a backbone in float16.
    pub const LOSS_SCALE: &str = "pdloss.loss_scale";
    /// State: the number of steps with finite gradients since it changed.
    pub const FINITE_STEPS: &str = "pdloss.loss_scale.finite";
    /// State: the number of steps that were skipped, as their gradients were not finite.
    pub const SKIPPED_STEPS: &str = "pdloss.loss_scale.skipped";
    /// Of a step in parts: the place of the part's first row in the batch.
    pub const FIRST_ROW: &str = "pdloss.first_row";
    /// Of a step in parts: the gradient of the loss with respect to the embeddings.
    pub const EMBEDDINGS_GRADIENT: &str = "pdloss.embeddings_gradient";
    /// Of a loss in tiles: the embeddings of a tile's rows.
    pub const ROWS: &str = "pdloss.rows";
    /// Of a loss in tiles: their labels.
    pub const ROW_LABELS: &str = "pdloss.row_labels";
    /// Of a loss in tiles: the gradient of the tile's rows, beside what all rows get.
    pub const ROWS_GRADIENT: &str = "pdloss.rows_gradient";
    /// Of a loss in tiles: sums over the rows.
    pub const TILE_SUMS: &str = "pdloss.tile_sums";
    /// Of a loss in tiles: the gradient of the loss with respect to these.
    pub const TILE_SUMS_GRADIENT: &str = "pdloss.tile_sums_gradient";

    /// Of a step in parts: the gradient of a weight or of the proxies, added up over the parts.
    #[must_use]
    pub fn sum(of: &str) -> String {
        format!("{}sum.{of}", super::head::PREFIX)
    }

    /// State: the average of a weight or of a running statistic, where the step keeps one.
    #[must_use]
    pub fn average(of: &str) -> String {
        format!("{}ema.{of}", super::head::PREFIX)
    }
}

/// Makes the step graph of a backbone.
///
/// # Errors
/// When a setting is out of its range; when the backbone has not one input of data and one output `[batch, dim]` of float32
/// or float64, is older than opset 7, or uses names that begin with `pdloss.` or end in `.next`; when an operator between a
/// weight and the loss has no gradient, naming it; when a freeze pattern matches nothing, or nothing of the backbone is left to
/// train, naming what stays and why.
pub fn build(model: ModelProto, options: &StepOptions) -> Result<ModelProto> {
    Ok(Whole::of(model, options, false)?.model)
}

/// A step as one graph, and what its parts are called.
struct Whole {
    model: ModelProto,
    place: Place,
    trained: Vec<Trained>,
    /// Of each of these, as this rank's rows give it.
    gradients: Vec<String>,
    running: Vec<Running>,
    /// The gradient of the embeddings, where it was asked for.
    of_embeddings: Option<String>,
}

impl Whole {
    /// Writes the step; `in_parts` for rows that are a part of a batch.
    fn of(mut model: ModelProto, options: &StepOptions, in_parts: bool) -> Result<Self> {
        options.check()?;
        // Before anything follows from its shapes.
        Shapes::of(&model)?;
        branches::inline(&mut model)?;
        sequences::split(&mut model)?;
        let export = Export::of(&model);
        let graph = graph_of(&mut model)?;
        parameters::move_out_of_constants(graph, &sharing::constant_statistics(graph));
        let own = sharing::own_statistics(&mut model, &|_| true)?;
        let graph = graph_of(&mut model)?;
        head::refuse_taken_names(graph)?;
        refuse_sparse(graph)?;
        let data = only_data(graph)?;
        let mut parameters = parameters::find(graph, &data, options, &export)?;
        parameters.note(sharing::said(&own));
        refuse_next_names(graph)?;
        free_batch::free_or_keep(&mut model)?;
        let graph = graph_of(&mut model)?;
        let mut place = head::find_embeddings(graph, options.embeddings.as_deref(), options.dim)?;
        let embeddings = place.name.clone();
        keep_only_embeddings(graph, &place);
        let frozen = parameters.freeze(options)?;
        let names = parameters.names();
        training_mode::refuse_trained_statistics(graph, &|name| {
            names.contains(name) && (options.unfreeze_at.is_some() || !frozen.holds(name))
        })?;
        let groups = parameters.groups(options, &frozen)?;
        let layers = layers::Factors::of(graph, &parameters.names(), options.layer_decay);
        parameters.note(layers.said());
        if options.freeze_statistics == FreezeStatistics::None {
            parameters.note(training_mode::said_of_kept(graph));
        }
        let running = prepare(&mut model, options, &frozen, in_parts)?;

        let graph = graph_of(&mut model)?;
        graph.output.clear();
        let mut trained = Vec::new();
        let kept: HashSet<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
        for name in parameters.trained(&|name| kept.contains(name)) {
            trained.push(promote(graph, &name, Kind::Weight)?);
        }
        graph.input.push(declare(names::LABELS, Element::I64, std::slice::from_ref(&place.batch)));
        graph.input.push(declare(names::LEARNING_RATE, Element::F32, &[]));
        if options.loss.has_proxies() {
            add_proxies(graph, &place, options)?;
            if options.unfreeze_at.is_some() || !frozen.holds(head::names::PROXIES) {
                trained.push(promote(graph, head::names::PROXIES, Kind::Proxies)?);
            }
        }
        if let Some(precision) = options.precision {
            precision::bound(graph_of(&mut model)?, &mut place, precision)?;
        }
        // Of parts the host gathers what the loss is of.
        let kept = attach_loss(&mut model, &place, options, options.ranks.is_some() && !in_parts);

        let trained = only_reached(&mut model, trained, &mut parameters)?;
        let of_embeddings = in_parts.then_some(place.name.as_str());
        let found: Vec<&str> = trained.iter().map(|tensor| tensor.name.as_str()).chain(of_embeddings).collect();
        let mut gradients = gradient::differentiate_with(&mut model, head::names::LOSS, &found, options.operators)?;
        let of_embeddings = if in_parts { gradients.pop() } else { None };
        let mut rounded = None;
        if let Some(precision) = options.precision {
            rounded = Some(precision::round(&mut model, &embeddings, precision)?);
            if precision.scale.is_some() {
                precision::unscale(graph_of(&mut model)?, &trained, &mut gradients)?;
            }
        }
        let own = gradients.clone();
        if options.ranks.is_some() {
            ranks::add_up(graph_of(&mut model)?, &trained, &mut gradients);
        }
        let rules = Rules { options, groups: &groups, layers: &layers, frozen: &frozen };
        update::refuse_idle_decay(&trained, &rules)?;
        update::refuse_idle_steps(&trained, &rules)?;
        let mut state = update(&mut model, &place, &rules, (&trained, &gradients), (&running, kept))?;
        let graph = graph_of(&mut model)?;
        if !in_parts {
            collective::chain(graph);
        }
        if graph.node.iter().any(|node| node.domain() == head::DOMAIN) {
            model.opset_import.push(head::opset_import(head::DOMAIN, 1));
        }
        in_place::mark(graph_of(&mut model)?, &mut state);
        parameters.held(options, &groups);
        describe(&mut model, (data, embeddings, place.dim), options, (state, rounded), parameters.told())?;
        Ok(Self { model, place, trained, gradients: own, running, of_embeddings })
    }
}

/// Rewrites the backbone for training; its running statistics.
fn prepare(
    model: &mut ModelProto,
    options: &StepOptions,
    frozen: &patterns::Frozen,
    in_parts: bool,
) -> Result<Vec<Running>> {
    let keeps_statistics = |node: &NodeProto| match options.freeze_statistics {
        FreezeStatistics::None => false,
        FreezeStatistics::WithWeights => node.input.get(1).is_some_and(|scale| frozen.holds(scale)),
        FreezeStatistics::All => true,
    };
    // The masks follow from the step, which starts at a place of its own for every seed: 31 bits, far from those of its
    // neighbours.
    let start = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let mut nodes = Nodes::new("pdloss.dropout.", Element::F32, model.opset());
    let first = nodes.integer(i64::try_from(start).unwrap_or_default());
    let moment = nodes.add(names::STEP, &first);
    let dropout = options.dropout.then_some(moment.as_str());
    let rows = ranks::rows();
    let rows = (in_parts || options.ranks.is_some()).then_some(&rows);
    let running = training_mode::prepare(model, &training_mode::Options { dropout, rows, frozen: &keeps_statistics })?;
    if options.ranks.is_some_and(|ranks| ranks.sync_statistics) {
        gradient::normalise_over_ranks(model);
    }
    if options.running_variance == RunningVariance::Sample {
        gradient::follow_sample_variance(model);
    }
    let graph = graph_of(model)?;
    graph.input.push(declare(names::STEP, Element::I64, &[]));
    graph.initializer.push(integers(names::STEP, &[], &[0]));
    if graph.node.iter().flat_map(|node| &node.input).any(|input| *input == moment) {
        graph.node.splice(0..0, nodes.list);
    }
    if in_parts {
        graph.input.push(declare(names::FIRST_ROW, Element::I64, &[]));
    } else if options.ranks.is_some() {
        // In front of all: masks follow from which rows are this rank's.
        graph.node.insert(0, ranks::labels());
    }
    Ok(running)
}

/// Refuses weights that the file holds as sparse ones, of which nothing here knows the values.
fn refuse_sparse(graph: &GraphProto) -> Result<()> {
    let of_node = |node: &NodeProto| node.attribute.iter().any(|attribute| attribute.sparse_tensor.is_some());
    let made = graph.node.iter().find(|node| of_node(node)).and_then(|node| node.made(0));
    let held = graph.sparse_initializer.iter().find_map(|sparse| sparse.values.as_ref());
    match made.or(held.map(TensorProto::name)) {
        Some(name) => Err(Error::model(name, "it is stored as a sparse tensor, which no step can use; store it dense")),
        None => Ok(()),
    }
}

/// Those that the loss changes with. The others become constants again.
fn only_reached(
    model: &mut ModelProto,
    trained: Vec<Trained>,
    parameters: &mut parameters::Found,
) -> Result<Vec<Trained>> {
    let found: Vec<&str> = trained.iter().map(|tensor| tensor.name.as_str()).collect();
    let reached = gradient::influences(model, head::names::LOSS, &found)?;
    let (kept, left): (Vec<_>, Vec<_>) = trained.into_iter().zip(reached).partition(|(_, reached)| *reached);
    let left: HashSet<String> = left.into_iter().map(|(tensor, _)| tensor.name).collect();
    graph_of(model)?.input.retain(|input| !left.contains(input.name()));
    parameters.unreached(&|name| left.contains(name));
    let kept: Vec<Trained> = kept.into_iter().map(|(tensor, _)| tensor).collect();
    let is_opaque = |node: &&NodeProto| {
        node.op_type() != "Constant" && !gradient::has_rule(node) && !gradient::is_constant_step(node)
    };
    let opaque: Vec<String> = graph_of(model)?.node.iter().filter(is_opaque).take(3).map(NodeProto::label).collect();
    parameters.refuse_nothing(kept.iter().any(|tensor| tensor.kind == Kind::Proxies), &opaque)?;
    Ok(kept)
}

fn graph_of(model: &mut ModelProto) -> Result<&mut GraphProto> {
    model.graph.as_mut().ok_or_else(|| Error::model("model", "it has no graph"))
}

/// `S.next` must be free for every `S` that could be of the state.
fn refuse_next_names(graph: &GraphProto) -> Result<()> {
    let initializers: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let results = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let inputs = graph.input.iter().map(|input| input.name());
    let is_next = |name: &&str| name.strip_suffix(".next").is_some_and(|stem| initializers.contains(stem));
    match results.chain(inputs).chain(initializers.iter().copied()).find(is_next) {
        Some(name) => {
            Err(Error::model(name, "the backbone uses this name already; the step needs it for a next value"))
        }
        None => Ok(()),
    }
}

/// The one input that no initializer fills. Inputs that one fills are its default values; here they become constants.
fn only_data(graph: &mut GraphProto) -> Result<String> {
    let filled: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    graph.input.retain(|input| !filled.contains(input.name()));
    match graph.input.as_slice() {
        [data] => Ok(data.name().to_owned()),
        inputs => {
            let inputs: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
            Err(Error::model("backbone", format!("wanted one input, the data; got {inputs:?}")))
        }
    }
}

/// Drops the backbone's other outputs and what only they need.
fn keep_only_embeddings(graph: &mut GraphProto, place: &Place) {
    let mut needed = HashSet::from([place.name.clone()]);
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        // A subgraph may read any value of the graph around it.
        let has_subgraph = node.attribute.iter().any(|attribute| attribute.g.is_some());
        if has_subgraph || node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    let has_subgraphs = kept.iter().flat_map(|node| &node.attribute).any(|attribute| attribute.g.is_some());
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| has_subgraphs || needed.contains(tensor.name()));
    graph.output.retain(|output| output.name() == place.name);
    graph.value_info.clear();
}

fn describe(
    model: &mut ModelProto,
    (data, embeddings, dim): (String, String, usize),
    options: &StepOptions,
    (state, rounded): (Vec<State>, Option<Rounded>),
    parameters: Parameters,
) -> Result<()> {
    let spelling = if options.has_operator() { "operator" } else { "standard" };
    let loss = LossDescription {
        name: options.loss.name().to_owned(),
        spelling: spelling.to_owned(),
        settings: options.loss.settings(),
    };
    let description = Description {
        version: Description::VERSION,
        data,
        embeddings,
        dim,
        classes: options.loss.has_proxies().then_some(options.classes),
        loss,
        optimizer: options.optimizer,
        proxies_rate: options.proxies_rate,
        groups: options.groups.clone(),
        ema: options.ema,
        clip: options.clip,
        freeze: options.freeze.clone(),
        unfreeze_at: options.unfreeze_at,
        layer_decay: options.layer_decay,
        seed: options.seed,
        memory: options.memory,
        precision: options.precision,
        rounded,
        state,
        parameters,
    };
    description.put(model)
}
