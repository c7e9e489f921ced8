//! The loss behind the embeddings of a step.

use super::{
    Kind, StepOptions, memory, names, ranks,
    tensors::{self, Stays, Trained},
};
use crate::graph::{
    Result,
    build::{Dim, Element, declare, floats, node},
    collective,
    head::{self, Place},
    losses::{Kept, Loss, Written},
    nodes::Nodes,
    proto::{GraphProto, ModelProto},
    proxies,
};

/// What the names of what the loss computes start with.
pub(super) const PREFIX: &str = "pdloss.loss.";

/// Adds the proxies, drawn at random.
pub(super) fn add_proxies(graph: &mut GraphProto, place: &Place, options: &StepOptions) -> Result<()> {
    let rows = options.ranks.and_then(|ranks| ranks.classes);
    let shape = [options.classes.saturating_mul(options.loss.rows_per_class()), place.dim];
    let rows = rows.unwrap_or((0, shape[0]));
    graph.initializer.push(proxies::random(head::names::PROXIES, place.element, (shape, rows), options.seed)?);
    Ok(())
}

/// Writes the loss behind the embeddings, as operators or in standard ones, and declares its outputs; what it keeps. `gathers` where
/// the embeddings are a rank's own rows, and the loss is of all.
pub(super) fn attach_loss(model: &mut ModelProto, place: &Place, options: &StepOptions, gathers: bool) -> Vec<Stays> {
    let opset = model.opset();
    let mut nodes = Nodes::new(PREFIX, place.element, opset);
    let (embeddings, labels) = if gathers {
        nodes.list.push(ranks::embeddings(&place.name));
        (ranks::ALL_EMBEDDINGS, ranks::ALL_LABELS)
    } else {
        (place.name.as_str(), names::LABELS)
    };
    let mut keeps = None;
    let memory = options.memory.map(|memory| memory::Bank::read(&mut nodes, memory));
    let is_sharded = options.ranks.is_some_and(|ranks| ranks.classes.is_some());
    if let (true, Loss::Pd(config)) = (is_sharded, &options.loss) {
        let inputs = [embeddings, head::names::PROXIES, labels];
        let results = [head::names::LOSS, head::names::MOMENTS, "pdloss.embeddings_grad", "pdloss.proxies_grad"];
        nodes.list.push(collective::pd_loss(inputs, results, head::attributes(config)));
    } else if options.has_operator() {
        let (operator, inputs, config) = match &options.loss {
            Loss::DLoss(config) => ("DLoss", vec![embeddings, labels], config),
            Loss::Pd(config) => (head::NAME, vec![embeddings, head::names::PROXIES, labels], config),
            _ => unreachable!("only these two are operators"),
        };
        let outputs = [head::names::LOSS, head::names::MOMENTS, head::names::SAVED];
        let mut call = node(operator, &inputs, &outputs, head::attributes(config));
        call.domain = Some(head::DOMAIN.to_owned());
        nodes.list.push(call);
    } else {
        let proxies = options.loss.has_proxies().then_some((head::names::PROXIES, options.classes));
        let Written { loss, moments, kept } =
            options.loss.write(&mut nodes, embeddings, proxies, labels, memory.as_ref().map(memory::Bank::rows));
        nodes.rename(loss, head::names::LOSS);
        keeps = kept;
        if let Some(moments) = moments {
            nodes.rename(moments, head::names::MOMENTS);
        }
    }
    nodes.rename(place.name.clone(), names::EMBEDDINGS);
    let mean_cosine = mean_cosine(&mut nodes, embeddings, labels);
    nodes.rename(mean_cosine, names::MEAN_COSINE);
    let mut stays = Vec::new();
    let Some(graph) = model.graph.as_mut() else { return stays };
    if let Some(memory) = memory {
        stays.extend(memory.write(&mut nodes, graph, place, (embeddings, labels)));
    }
    graph.node.extend(nodes.list);
    if let Some(Kept { name, next }) = keeps {
        graph.initializer.push(floats(name, place.element, &[], &[0.0]));
        graph.input.push(declare(name, place.element, &[]));
        let tensor = Trained { name: name.to_owned(), element: place.element, shape: Vec::new(), kind: Kind::Loss };
        stays.push(Stays { tensor, next });
    }
    graph.output.push(declare(head::names::LOSS, place.element, &[]));
    if options.loss.has_moments() {
        graph.output.push(declare(head::names::MOMENTS, Element::F64, &tensors::dims(&[8])));
    }
    graph.output.push(declare(names::MEAN_COSINE, place.element, &[]));
    graph.output.push(declare(names::GRADIENT_NORM, place.element, &[]));
    let shape = [place.batch.clone(), Dim::Known(place.dim)];
    graph.output.push(declare(names::EMBEDDINGS, place.element, &shape));
    stays
}

/// `(|sum_i z_i|^2 - sum_i |z_i|^2) / (B (B - 1))`; 0 for a batch of one.
pub(super) fn mean_cosine(nodes: &mut Nodes, embeddings: &str, labels: &str) -> String {
    let z = nodes.unit_rows(embeddings);
    let total = nodes.reduce("ReduceSum", &z, 0, false);
    let all = nodes.reduce_all("ReduceSumSquare", &total);
    let own = nodes.reduce_all("ReduceSumSquare", &z);
    let pairs = nodes.sub(&all, &own);
    let shape = nodes.op("Shape", &[labels]);
    let shape = nodes.cast(&shape, nodes.element);
    let batch = nodes.sum(&shape);
    let others = nodes.shift(&batch, -1.0);
    let count = nodes.mul(&batch, &others);
    let one = nodes.number(1.0);
    let count = nodes.op("Max", &[&count, &one]);
    nodes.div(&pairs, &count)
}
