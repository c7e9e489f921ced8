//! D-Loss (Silva et al. 2022): the decidability index over all pairs of a batch, in the forms of [`Config`].

use super::{
    Labels, Nodes, Written, cosines,
    pairs::Pairs,
    pd::{Set, finish},
};
use crate::loss::Config;

pub(super) fn d_loss(nodes: &mut Nodes, config: &Config, embeddings: &str, labels: &Labels) -> Written {
    let s = cosines(nodes, embeddings, embeddings);
    let pairs = Pairs::write(nodes, &labels.values);
    let genuine = masked(nodes, &s, &pairs.genuine);
    let impostor = masked(nodes, &s, &pairs.impostor);
    finish(nodes, config, &genuine, &impostor, labels)
}

/// Moments of the similarities that the mask lets through. It holds every pair twice, which only the count shows.
fn masked(nodes: &mut Nodes, s: &str, mask: &str) -> Set {
    let weight = nodes.cast(mask, nodes.element);
    let ordered = nodes.sum(&weight);
    let kept = nodes.mul(s, &weight);
    let sum = nodes.sum(&kept);
    let mean = nodes.div(&sum, &ordered);
    let away = nodes.sub(s, &mean);
    let away = nodes.mul(&away, &weight);
    let square = nodes.mul(&away, &away);
    let squares = nodes.sum(&square);
    let variance = nodes.div(&squares, &ordered);
    let count = nodes.scale(&ordered, 0.5);
    Set { count, mean, variance }
}
