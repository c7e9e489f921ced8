//! The update of all weights as one node of this project's domain.

use super::{
    Optimizer, StepOptions, names,
    optimizer::{Parameter, Update, state_name},
};
use crate::graph::{
    build::{Element, Value, attribute, decimal, floats, node},
    head::DOMAIN,
    nodes::Nodes,
    proto::AttributeProto,
};

/// The operator.
pub(super) const UPDATE: &str = "Update";

/// Writes the norm of all gradients as one node.
pub(super) fn norm(nodes: &mut Nodes, gradients: &[String]) -> String {
    let inputs: Vec<&str> = gradients.iter().map(String::as_str).collect();
    let mut norm = node("GradientNorm", &inputs, &[names::GRADIENT_NORM], Vec::new());
    norm.domain = Some(DOMAIN.to_owned());
    nodes.list.push(norm);
    names::GRADIENT_NORM.to_owned()
}

/// Whether the operator has the update of these weights: all of the type `element`, by a rule that goes number by number.
pub(super) fn has(options: &StepOptions, parameters: &[Parameter<'_>], element: Element) -> bool {
    let is_elementwise = !matches!(options.optimizer, Optimizer::Lamb { .. });
    options.operators.are_of_library()
        && is_elementwise
        && parameters.iter().all(|parameter| parameter.element == element)
}

/// Writes it. `norm` is that of all gradients, `step` the number of the step, from 1.
///
/// The variadic tensors are the weights, their gradients, the optimiser's tensors by kind, and the averages; the results are the
/// next values of all of them but the gradients.
pub(super) fn write(
    nodes: &mut Nodes,
    options: &StepOptions,
    (norm, step): (&str, &str),
    parameters: &[Parameter<'_>],
    gradients: &[String],
) -> Vec<Update> {
    let average = |parameter: &Parameter<'_>| if parameter.averaged { options.ema.unwrap_or(0.0) } else { 0.0 };
    let rows = parameters.iter().flat_map(|parameter| [parameter.rate, parameter.decay, average(parameter)]);
    let rows: Vec<f64> = rows.collect();
    let settings = nodes.constant(floats("", Element::F64, &[parameters.len(), 3], &rows));
    let weights = || parameters.iter().map(|parameter| parameter.name.to_owned());
    let kinds = options.optimizer.kinds();
    let states = kinds.iter().flat_map(|kind| parameters.iter().map(|parameter| state_name(kind, parameter.name)));
    let averages = parameters.iter().filter(|parameter| average(parameter) > 0.0);
    let changed: Vec<String> =
        weights().chain(states).chain(averages.map(|parameter| names::average(parameter.name))).collect();
    let results: Vec<String> = changed.iter().map(|name| format!("pdloss.update.{name}")).collect();

    let scalars = [names::LEARNING_RATE, step, norm, settings.as_str()];
    let tensors = weights().chain(gradients.iter().cloned()).chain(changed[parameters.len()..].iter().cloned());
    let inputs: Vec<String> = scalars.iter().map(|&name| name.to_owned()).chain(tensors).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outputs: Vec<&str> = results.iter().map(String::as_str).collect();
    let mut update = node(UPDATE, &inputs, &outputs, attributes(options));
    update.domain = Some(DOMAIN.to_owned());
    nodes.list.push(update);

    let count = parameters.len();
    let mut averages = results[count * (1 + kinds.len())..].iter();
    let of = |(index, parameter): (usize, &Parameter<'_>)| Update {
        weight: results[index].clone(),
        state: (1..=kinds.len()).map(|kind| results[kind * count + index].clone()).collect(),
        average: if average(parameter) > 0.0 { averages.next().cloned() } else { None },
    };
    parameters.iter().enumerate().map(of).collect()
}

fn attributes(options: &StepOptions) -> Vec<AttributeProto> {
    let mut attributes = match options.optimizer {
        Optimizer::Sgd { momentum, nesterov, .. } => {
            vec![
                text("optimizer", "sgd"),
                decimal("momentum", momentum),
                attribute("nesterov", Value::Int(i64::from(nesterov))),
            ]
        }
        Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
            vec![
                text("optimizer", "adamw"),
                decimal("beta1", beta1),
                decimal("beta2", beta2),
                decimal("epsilon", epsilon),
            ]
        }
        Optimizer::Lion { beta1, beta2, .. } => {
            vec![text("optimizer", "lion"), decimal("beta1", beta1), decimal("beta2", beta2)]
        }
        Optimizer::Lamb { .. } => unreachable!("it goes by norms"),
    };
    attributes.extend(options.clip.map(|limit| decimal("clip", limit)));
    if options.precision.is_some_and(|precision| precision.scale.is_some()) {
        attributes.push(attribute("skip", Value::Int(1)));
    }
    attributes
}

fn text(name: &str, value: &str) -> AttributeProto {
    attribute(name, Value::Text(value.to_owned()))
}
