//! PD-Loss in standard operators, all `B x C` similarities formed: two passes over them, means first, then the squares of
//! what is left. No branch: the floor is `Relu`.

use super::{Labels, Nodes, Written, cosines};
use crate::{
    graph::build::{Element, Value, attribute},
    loss::{Config, FloorMode, Form, VARIANCE_FLOOR},
};

/// Scalars of a set of similarities.
pub(super) struct Set {
    pub(super) count: String,
    pub(super) mean: String,
    pub(super) variance: String,
}

/// Writes the loss and its moments.
pub(crate) fn pd_loss(nodes: &mut Nodes, config: &Config, embeddings: &str, proxies: &str, labels: &str) -> Written {
    let s = cosines(nodes, embeddings, proxies);
    let labels = Labels::of_rows(nodes, labels, embeddings, proxies);
    let column = nodes.unsqueeze(&labels.values, 1);
    let g = nodes.with("GatherElements", &[&s, &column], vec![attribute("axis", Value::Int(1))]); // [B, 1]
    let (n_g, n_all) = (count(nodes, &g), count(nodes, &s));
    let n_m = nodes.sub(&n_all, &n_g);

    let sum_g = nodes.sum(&g);
    let sum_all = nodes.sum(&s);
    let sum_m = nodes.sub(&sum_all, &sum_g);
    let mu_g = nodes.div(&sum_g, &n_g);
    let mu_m = nodes.div(&sum_m, &n_m);

    let squares_g = squares_from(nodes, &g, &mu_g);
    let var_g = nodes.div(&squares_g, &n_g);
    let all_from_m = squares_from(nodes, &s, &mu_m);
    let g_from_m = squares_from(nodes, &g, &mu_m);
    let squares_m = nodes.sub(&all_from_m, &g_from_m);
    let var_m = nodes.div(&squares_m, &n_m);

    let genuine = Set { count: n_g, mean: mu_g, variance: var_g };
    let impostor = Set { count: n_m, mean: mu_m, variance: var_m };
    finish(nodes, config, &genuine, &impostor, &labels)
}

/// The number of elements, in the expressions' type.
fn count(nodes: &mut Nodes, values: &str) -> String {
    let shape = nodes.op("Shape", &[values]);
    let lengths = nodes.cast(&shape, nodes.element);
    nodes.reduce_all("ReduceProd", &lengths)
}

/// `sum((values - centre)^2)`
fn squares_from(nodes: &mut Nodes, values: &str, centre: &str) -> String {
    let away = nodes.sub(values, centre);
    let square = nodes.mul(&away, &away);
    nodes.sum(&square)
}

/// From the moments of both sets: the loss, and what is reported beside it.
pub(super) fn finish(nodes: &mut Nodes, config: &Config, genuine: &Set, impostor: &Set, labels: &Labels) -> Written {
    let gap = nodes.sub(&genuine.mean, &impostor.mean);
    let variance = nodes.add(&genuine.variance, &impostor.variance);
    let widened = nodes.shift(&variance, VARIANCE_FLOOR);
    let halved = nodes.scale(&widened, 0.5);
    let spread = nodes.op("Sqrt", &[&halved]);
    let d_prime = nodes.div(&gap, &spread);
    let loss = match (config.form(), config.floor_mode()) {
        (Form::Negative, _) => nodes.op("Neg", &[&d_prime]),
        (form, FloorMode::Tangent) => tangent(nodes, form, config.floor(), &d_prime),
        (form, FloorMode::Clamp) => clamp(nodes, form, config, &gap, &variance),
    };
    let moments = report(nodes, config, genuine, impostor, &d_prime, labels);
    Written { loss: labels.guard(nodes, &loss), moments: Some(moments), kept: None }
}

/// `L(max(d', floor)) + slope * max(floor - d', 0)`: the curve above the floor, its tangent below.
fn tangent(nodes: &mut Nodes, form: Form, floor: f64, d_prime: &str) -> String {
    let (held, short) = held(nodes, d_prime, floor);
    let steepness = if form == Form::Log { 1.0 / floor } else { 1.0 / (floor * floor) };
    let below = nodes.scale(&short, steepness);
    if form == Form::Log {
        let log = nodes.op("Log", &[&held]);
        let curve = nodes.sub(&below, &log);
        nodes.shift(&curve, 0.5 * std::f64::consts::LN_2)
    } else {
        let inverse = nodes.op("Reciprocal", &[&held]);
        nodes.add(&inverse, &below)
    }
}

/// The paper's letter: `-log(max(gap / t, eps)) + log(V / t^2 + eps) / 2`, or the quotient of the same two.
fn clamp(nodes: &mut Nodes, form: Form, config: &Config, gap: &str, variance: &str) -> String {
    let t = config.temperature();
    let scaled = nodes.scale(gap, 1.0 / t);
    let (held, _) = held(nodes, &scaled, config.eps());
    let variance = nodes.scale(variance, 1.0 / (t * t));
    let variance = nodes.shift(&variance, config.eps());
    if form == Form::Log {
        let log_gap = nodes.op("Log", &[&held]);
        let log_variance = nodes.op("Log", &[&variance]);
        let half = nodes.scale(&log_variance, 0.5);
        nodes.sub(&half, &log_gap)
    } else {
        let half = nodes.scale(&variance, 0.5);
        let spread = nodes.op("Sqrt", &[&half]);
        nodes.div(&spread, &held)
    }
}

/// `max(value, least)`, of which NaN stays NaN, and what was missing. One is chosen: the sum of the value and what is missing would round
/// a small `least` away beside a large value.
fn held(nodes: &mut Nodes, value: &str, least: f64) -> (String, String) {
    let limit = nodes.number(least);
    let difference = nodes.sub(&limit, value);
    let short = nodes.op("Relu", &[&difference]);
    let is_below = nodes.op("Less", &[value, &limit]);
    (nodes.op("Where", &[&is_below, &limit, value]), short)
}

/// The eight moments as one float64 vector, means and variances with the temperature as in the paper.
fn report(nodes: &mut Nodes, config: &Config, genuine: &Set, impostor: &Set, d_prime: &str, labels: &Labels) -> String {
    let scale = 1.0 / config.temperature();
    let parts = [
        nodes.scale(&genuine.mean, scale),
        nodes.scale(&impostor.mean, scale),
        nodes.scale(&genuine.variance, scale * scale),
        nodes.scale(&impostor.variance, scale * scale),
        d_prime.to_owned(),
    ];
    // With a bad label there is no genuine pair to speak of.
    let parts = parts.map(|part| labels.guard(nodes, &part)).into_iter();
    let bad = labels.bad.clone().unwrap_or_else(|| nodes.number(0.0));
    let parts: Vec<String> = parts.chain([genuine.count.clone(), impostor.count.clone(), bad]).collect();
    let one = nodes.integers(&[1]);
    let vectors: Vec<String> = parts.iter().map(|part| nodes.op("Reshape", &[part, &one])).collect();
    let vectors: Vec<&str> = vectors.iter().map(String::as_str).collect();
    let moments = nodes.with("Concat", &vectors, vec![attribute("axis", Value::Int(0))]);
    nodes.cast(&moments, Element::F64)
}
