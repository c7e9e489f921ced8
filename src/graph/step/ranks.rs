//! A step on several ranks: what is gathered, and what is added up.

use super::{Kind, Trained, names};
use crate::graph::{
    build::Element,
    collective::{all_gather, all_reduce},
    proto::{GraphProto, NodeProto},
    training_mode::Rows,
};

/// The embeddings of the whole batch.
pub(super) const ALL_EMBEDDINGS: &str = "pdloss.all_embeddings";
/// The labels of the whole batch.
pub(super) const ALL_LABELS: &str = "pdloss.all_labels";
/// Gathers the labels.
pub(super) fn labels() -> NodeProto {
    all_gather(names::LABELS, ALL_LABELS, names::FIRST_ROW)
}

/// Gathers the embeddings.
pub(super) fn embeddings(own: &str) -> NodeProto {
    all_gather(own, ALL_EMBEDDINGS, "pdloss.first_embedding")
}

/// Which rows of the batch are given: this rank's, or this part's.
pub(super) fn rows() -> Rows {
    Rows { first: names::FIRST_ROW.to_owned(), each: names::LABELS.to_owned() }
}

/// Adds up the gradients of weights over all ranks, those of a type in one exchange. That of the proxies follows from gathered
/// rows alone, and is whole on every rank.
pub(super) fn add_up(graph: &mut GraphProto, trained: &[Trained], gradients: &mut [String]) {
    for element in [Element::F32, Element::F64] {
        let is_own = |tensor: &Trained| tensor.kind == Kind::Weight && tensor.element == element;
        let places: Vec<usize> = (0..trained.len()).filter(|&place| is_own(&trained[place])).collect();
        if places.is_empty() {
            continue;
        }
        let own: Vec<String> = places.iter().map(|&place| gradients[place].clone()).collect();
        for &place in &places {
            gradients[place] = format!("{}.all", gradients[place]);
        }
        let all: Vec<&str> = places.iter().map(|&place| gradients[place].as_str()).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        graph.node.push(all_reduce(&own, &all));
    }
}
