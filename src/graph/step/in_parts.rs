//! A step in parts: the loss sees the whole batch, and the net no more than a part of it at once.
//!
//! The graph of the whole step is cut at the embeddings, at their gradient, and at the gradients of the weights. Values go from
//! graph to graph by their names; an output `S.next` is the next value of `S`.
//!
//! | graph | runs | takes | gives |
//! |---|---|---|---|
//! | `embed` | once a part | the part's data | [`names::EMBEDDINGS`] of the part |
//! | `loss` | once | [`names::EMBEDDINGS`] and labels of the batch | loss and what is reported, [`names::EMBEDDINGS_GRADIENT`], [`names::sum`] of the proxies, what the loss keeps |
//! | `backward` | once a part, if there is one | the part's data and rows of [`names::EMBEDDINGS_GRADIENT`], [`names::sum`] of the weights | these sums and running statistics with the part added |
//! | `update` | once | [`names::sum`] of all that is trained, running statistics, the learning rate | [`names::GRADIENT_NORM`] and the rest of the state |
//!
//! Each takes what it needs of the state. `embed` and `backward` compute the same of the data, dropout included: both are given
//! [`names::FIRST_ROW`], and the labels of the part, where a mask follows from which rows of the batch the part is.
//! With [`Tiles`] the loss is computed of a tile of the batch's rows after the other.
//! BatchNormalization normalises each part by itself; running statistics follow the parts in `backward` alone.
//!
//! On several ranks each has parts of its own rows, as many as the others, and the host gathers the embeddings and labels that `loss` takes,
//! the same on every rank; `update` adds the sums of the weights up over the ranks.

use super::{
    Description, Kind, StepOptions, Tiles, Whole,
    cut::{Cut, entering, without_graph},
    names,
    tensors::dims,
    tiles,
};
use crate::graph::{
    Error, Result,
    build::{Dim, declare, node},
    collective, head,
    proto::{GraphProto, ModelProto, NodeProto},
};

/// The graphs of a step in parts.
#[derive(Clone, Debug)]
pub struct InParts {
    /// The description of the step, and the first values of its state as initializers; no nodes. The graphs have none of these.
    pub state: ModelProto,
    /// From data to embeddings, as training computes them.
    pub embed: ModelProto,
    /// From embeddings to the loss and their gradient; with tiles from and to their sums.
    pub loss: ModelProto,
    /// What goes before and behind the loss, where it is computed in tiles of rows.
    pub tiles: Option<Tiles>,
    /// From the embeddings' gradient to those of the weights; `None` where only proxies are trained.
    pub backward: Option<ModelProto>,
    /// From gradients to the next state.
    pub update: ModelProto,
}

/// Makes the graphs of a step whose batch goes through the backbone in parts; `in_tiles` for a loss over pairs in tiles of rows,
/// which has those that [`Loss::sums_of_tile`](crate::graph::losses::Loss::sums_of_tile) is known of.
///
/// # Errors
/// As [`build`](super::build); where the numbers of a dropout mask do not lie image after image; in
/// tiles for a loss that has none.
pub fn build_in_parts(model: ModelProto, options: &StepOptions, in_tiles: bool) -> Result<InParts> {
    let whole = Whole::of(model, options, true)?;
    if let Dim::Known(batch) = whole.place.batch {
        let reason = format!("its batch is fixed at {batch}, and the loss would take that for the whole batch");
        return Err(Error::model("backbone", reason));
    }
    let of_embeddings = whole.of_embeddings.as_deref().unwrap_or_default();
    let Some(graph) = &whole.model.graph else { return Err(Error::model("model", "it has no graph")) };
    let enters = entering(graph, of_embeddings);
    let rows = [whole.place.batch.clone(), Dim::Known(whole.place.dim)];
    let embeddings = |name: &str| declare(name, whole.place.element, &rows);
    let description = Description::of(&whole.model)?;
    let cut = Cut::new(&whole.model, graph, &description.state);

    let embed = cut.out(&[], &[(names::EMBEDDINGS, embeddings(names::EMBEDDINGS))]);

    let mut of_loss = vec![(of_embeddings, embeddings(names::EMBEDDINGS_GRADIENT))];
    let (mut of_update, mut kept) = (Vec::new(), Vec::new());
    for output in &graph.output {
        let is_of_loss = [head::names::LOSS, head::names::MOMENTS, names::MEAN_COSINE].contains(&output.name());
        if is_of_loss {
            of_loss.push((output.name(), output.clone()));
        }
    }
    let (mut sums, mut of_backward) = (Vec::new(), Vec::new());
    let (mut grown, mut adds) = (Vec::new(), Vec::new());
    for (tensor, gradient) in whole.trained.iter().zip(&whole.gradients) {
        let sum = declare(&names::sum(&tensor.name), tensor.element, &dims(&tensor.shape));
        sums.push((gradient.as_str(), sum.clone()));
        if tensor.kind == Kind::Proxies {
            of_loss.push((gradient.as_str(), sum));
            continue;
        }
        let next = declare(&format!("{}.next", sum.name()), tensor.element, &dims(&tensor.shape));
        adds.push(node("Add", &[sum.name(), gradient], &[next.name()], Vec::new()));
        grown.push(sum);
        of_backward.push(next);
    }
    for state in &description.state {
        let Some(output) = graph.output.iter().find(|output| output.name() == state.next) else { continue };
        match state.kind {
            Kind::Loss => kept.push((output.name(), output.clone())),
            Kind::Running => of_backward.push(output.clone()),
            _ => of_update.push((output.name(), output.clone())),
        }
    }
    let norm = graph.output.iter().find(|output| output.name() == names::GRADIENT_NORM);
    of_update.extend(norm.map(|output| (output.name(), output.clone())));

    let from = [(whole.place.name.as_str(), embeddings(names::EMBEDDINGS))];
    let (tiles, loss) = if in_tiles {
        let (mut tiles, loss) = tiles::build(&whole.model, options, (whole.place.element, whole.place.dim))?;
        tiles.remember = options.memory.map(|_| cut.out(&from, &kept));
        (Some(tiles), loss)
    } else {
        of_loss.extend(kept);
        (None, cut.out(&from, &of_loss))
    };
    let backward = (!of_backward.is_empty()).then(|| {
        let mut behind = graph.clone();
        behind.node.extend(adds);
        behind.input.extend(grown);
        let outputs: Vec<_> = of_backward.iter().map(|output| (output.name(), output.clone())).collect();
        Cut::new(&whole.model, &behind, &description.state)
            .out(&[(&enters, embeddings(names::EMBEDDINGS_GRADIENT))], &outputs)
    });
    if let Some(node) = backward.iter().flat_map(nodes_of).find(|node| is_of_loss(node)) {
        return Err(Error::model(
            node.label(),
            "the gradient of the backbone takes it from the loss of the whole batch",
        ));
    }
    let running = whole.running.iter().filter_map(|running| {
        let shape = graph.input.iter().find(|input| input.name() == running.name)?;
        Some((running.next.as_str(), shape.clone()))
    });
    sums.extend(running);
    let update = cut.out(&sums, &of_update);
    let initializer = graph.initializer.iter().filter(|tensor| cut.state.contains(tensor.name())).cloned().collect();
    let first = GraphProto { initializer, ..GraphProto::default() };
    let mut state = without_graph(&whole.model);
    state.metadata_props.clone_from(&whole.model.metadata_props);
    state.graph = Some(first);
    let mut made = InParts { state, embed, loss, tiles, backward, update };
    made.chain();
    Ok(made)
}

impl InParts {
    /// Puts the exchanges of each graph in their order: ranks run the same graphs one after the other.
    fn chain(&mut self) {
        let Self { embed, loss, backward, update, .. } = self;
        let graphs = [embed, loss, update].into_iter().chain(backward);
        graphs.filter_map(|model| model.graph.as_mut()).for_each(collective::chain);
    }
}

fn nodes_of(model: &ModelProto) -> impl Iterator<Item = &NodeProto> {
    model.graph.iter().flat_map(|graph| &graph.node)
}

/// Whether a node computes something of the loss.
fn is_of_loss(node: &NodeProto) -> bool {
    node.op_type() != "Constant" && node.made(0).is_some_and(|name| name.starts_with(super::loss::PREFIX))
}
