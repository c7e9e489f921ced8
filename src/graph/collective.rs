//! Exchanges between the ranks that run a graph together: nodes of this project's domain.
//!
//! Rows of a batch are each rank's own until they are gathered; what is computed of gathered rows is computed by every rank alike.
//! `AllGather(token, rows) -> (token, all, first)` gives the rows of all ranks in their order, and the place of this rank's first.
//! `AllReduce(token, values...) -> (token, sums...)` adds up.
//!
//! An exchange waits for all ranks, so they must come in one order, whatever a runtime's schedule. [`chain`] gives each node the
//! token of the one before, once the graph is whole.

use super::{
    build::{Element, integers, node},
    head::DOMAIN,
    proto::{AttributeProto, GraphProto, NodeProto},
};

/// The operator that gathers rows.
pub(super) const ALL_GATHER: &str = "AllGather";
/// The operator that adds up.
pub(super) const ALL_REDUCE: &str = "AllReduce";
/// PD-Loss of proxies that lie on several ranks.
pub(super) const PD_LOSS_OVER_RANKS: &str = "PDLossOverRanks";
/// The first token.
const FIRST: &str = "pdloss.token";

/// What the token of a node is called, by its first result.
fn token(result: &str) -> String {
    format!("{result}.token")
}

/// `all` is `rows` of all ranks, `first` the place of this rank's first row in it, int64 `[]`.
pub(super) fn all_gather(rows: &str, all: &str, first: &str) -> NodeProto {
    call(ALL_GATHER, &[rows], &[all, first])
}

/// The sums of `values`, all of one type, over all ranks.
pub(super) fn all_reduce(values: &[&str], sums: &[&str]) -> NodeProto {
    call(ALL_REDUCE, values, sums)
}

fn call(operator: &str, values: &[&str], results: &[&str]) -> NodeProto {
    let token = token(results[0]);
    let (inputs, outputs) = ([&[""], values].concat(), [&[token.as_str()], results].concat());
    let mut node = node(operator, &inputs, &outputs, Vec::new());
    node.name = Some(results[0].to_owned());
    node.domain = Some(DOMAIN.to_owned());
    node
}

/// PD-Loss with a part of the classes on each rank, and what it gives.
pub(super) fn pd_loss(inputs: [&str; 3], results: [&str; 4], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto { attribute: attributes, ..call(PD_LOSS_OVER_RANKS, &inputs, &results) }
}

/// Whether ranks exchange something in a node.
pub(super) fn is_exchange(node: &NodeProto) -> bool {
    node.domain() == DOMAIN && [ALL_GATHER, ALL_REDUCE, PD_LOSS_OVER_RANKS].contains(&node.op_type())
}

/// Puts the exchanges of a whole graph in the order of its nodes.
pub(super) fn chain(graph: &mut GraphProto) {
    let mut last = FIRST.to_owned();
    for node in graph.node.iter_mut().filter(|node| is_exchange(node)) {
        node.input[0] = std::mem::replace(&mut last, node.output[0].clone());
    }
    if last != FIRST {
        graph.initializer.push(integers(FIRST, &[], &[0]));
    }
}

/// The element type of a token.
pub(super) const TOKEN: Element = Element::I64;
