//! What a step does to its state: the norm of all gradients, clipping, and the optimiser's next values.

use super::{
    Kind, State, StepOptions,
    description::element_name,
    graph_of, names, operator,
    optimizer::{Parameter, Scalars, state_name},
    patterns::Frozen,
    tensors,
};
use crate::graph::{
    Error, Result,
    build::{Element, declare, floats},
    collective,
    head::Place,
    losses::Kept,
    nodes::Nodes,
    proto::{GraphProto, ModelProto, TensorProto},
    training_mode::Running,
};

/// A tensor that changes.
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
}

/// Makes an input of an initializer, which stays as its default value.
pub(super) fn promote(graph: &mut GraphProto, name: &str, kind: Kind) -> Result<Trained> {
    let Some(tensor) = graph.initializer.iter_mut().find(|tensor| tensor.name() == name) else {
        return Err(Error::model(name, "it is not among the initializers"));
    };
    let (element, shape) = tensors::facts(tensor)?;
    *tensor = tensors::packed(tensor)?;
    graph.input.push(declare(name, element, &tensors::dims(&shape)));
    Ok(Trained { name: name.to_owned(), element, shape, kind })
}

/// Writes norm, clipping and updates, and declares the rest of the state.
pub(super) fn update(
    model: &mut ModelProto,
    place: &Place,
    options: &StepOptions,
    (trained, gradients): (&[Trained], &[String]),
    (running, kept): (&[Running], Option<Kept>),
    groups: &Frozen,
) -> Result<Vec<State>> {
    let mut nodes = Nodes::new("pdloss.update.", place.element, model.opset());
    let norm = norm(&mut nodes, place, options, trained, gradients);
    let parameters: Vec<Parameter<'_>> = trained.iter().map(|tensor| parameter(tensor, options, groups)).collect();
    let as_operator = operator::has(options, &parameters, place.element);
    let clipped = match options.clip {
        Some(limit) if !as_operator => clip(&mut nodes, place, (limit, &norm), trained, gradients),
        _ => gradients.to_vec(),
    };
    let one = nodes.integer(1);
    let finished = nodes.add(names::STEP, &one);
    let updates = if as_operator {
        operator::write(&mut nodes, options, (&norm, &finished), &parameters, gradients)
    } else {
        let mut scalars = Scalars::new(&mut nodes, names::LEARNING_RATE, &finished);
        let write = |(parameter, gradient): (&Parameter<'_>, &String)| {
            let mut update = options.optimizer.write(&mut nodes, &mut scalars, parameter, gradient);
            if let Some(ema) = options.ema.filter(|_| parameter.averaged) {
                nodes.element = parameter.element;
                update.average = Some(follow(&mut nodes, ema, parameter.name, &update.weight));
            }
            update
        };
        parameters.iter().zip(&clipped).map(write).collect()
    };

    let graph = graph_of(model)?;
    let (mut state, mut moments, mut averages) = (Vec::new(), Vec::new(), Vec::new());
    for ((tensor, parameter), update) in trained.iter().zip(&parameters).zip(updates) {
        if let Some(next) = update.average {
            averages.push(average(&mut nodes, graph, tensor, next)?);
        }
        state.push(tell(&mut nodes, graph, tensor, tensor.kind, None, parameter.decay > 0.0, update.weight));
        for (kind, next) in options.optimizer.kinds().iter().zip(update.state) {
            let name = state_name(kind, &tensor.name);
            let zeros = vec![0.0; tensor.shape.iter().product()];
            graph.initializer.push(floats(&name, tensor.element, &tensor.shape, &zeros));
            graph.input.push(declare(&name, tensor.element, &tensors::dims(&tensor.shape)));
            let memory = Trained { name, shape: tensor.shape.clone(), ..*tensor };
            let of = Some(tensor.name.clone());
            moments.push(tell(&mut nodes, graph, &memory, Kind::Optimizer, of, false, next));
        }
    }
    state.extend(moments);
    for Running { name, next } in running {
        let tensor = promote(graph, name, Kind::Running)?;
        if let Some(ema) = options.ema {
            nodes.element = tensor.element;
            let value = follow(&mut nodes, ema, &tensor.name, next);
            averages.push(average(&mut nodes, graph, &tensor, value)?);
        }
        state.push(tell(&mut nodes, graph, &tensor, Kind::Running, None, false, next.clone()));
    }
    state.extend(averages);
    if let Some(Kept { name, next }) = kept {
        let tensor = Trained { name: name.to_owned(), element: place.element, shape: Vec::new(), kind: Kind::Loss };
        state.push(tell(&mut nodes, graph, &tensor, Kind::Loss, None, false, next));
    }
    let step = Trained { name: names::STEP.to_owned(), element: Element::I64, shape: Vec::new(), kind: Kind::Step };
    state.push(tell(&mut nodes, graph, &step, Kind::Step, None, false, finished));
    graph.node.extend(nodes.list);
    Ok(state)
}

/// The norm of all gradients.
fn norm(nodes: &mut Nodes, place: &Place, options: &StepOptions, trained: &[Trained], gradients: &[String]) -> String {
    // Weights may be of another type than the embeddings, with a Cast between.
    let squares = trained.iter().zip(gradients).map(|(tensor, grad)| {
        let mut square = nodes.reduce_all("ReduceSumSquare", grad);
        if tensor.kind == Kind::Proxies && options.ranks.is_some_and(|ranks| ranks.classes.is_some()) {
            let all = format!("{square}.all");
            nodes.list.push(collective::all_reduce(&[&square], &[&all]));
            square = all;
        }
        if tensor.element == place.element { square } else { nodes.cast(&square, place.element) }
    });
    let squares: Vec<String> = squares.collect();
    let squares: Vec<&str> = squares.iter().map(String::as_str).collect();
    let total = nodes.op("Sum", &squares);
    let norm = nodes.op("Sqrt", &[&total]);
    nodes.rename(norm, names::GRADIENT_NORM)
}

/// The gradients times `min(1, limit / (norm + 1e-6))`, as PyTorch's `clip_grad_norm_`.
fn clip(
    nodes: &mut Nodes,
    place: &Place,
    (limit, norm): (f64, &str),
    trained: &[Trained],
    gradients: &[String],
) -> Vec<String> {
    let safe = nodes.shift(norm, 1e-6);
    let limit = nodes.number(limit);
    let ratio = nodes.div(&limit, &safe);
    let one = nodes.number(1.0);
    let factor = nodes.op("Min", &[&ratio, &one]);
    let scaled = trained.iter().zip(gradients).map(|(tensor, gradient)| {
        let factor = if tensor.element == place.element { factor.clone() } else { nodes.cast(&factor, tensor.element) };
        nodes.mul(gradient, &factor)
    });
    scaled.collect()
}

/// How a tensor is to follow its gradient.
fn parameter<'a>(tensor: &'a Trained, options: &StepOptions, groups: &Frozen) -> Parameter<'a> {
    let is_proxies = tensor.kind == Kind::Proxies;
    let is_decayed = if is_proxies { options.decay_proxies } else { options.decay_all || tensor.shape.len() > 1 };
    let group = groups.which(&tensor.name).and_then(|pattern| options.groups.iter().find(|g| g.pattern == pattern));
    let usual = options.optimizer.weight_decay();
    let decay = if is_decayed { group.and_then(|group| group.decay).unwrap_or(usual) } else { 0.0 };
    let rate = if is_proxies { options.proxies_rate } else { 1.0 } * group.map_or(1.0, |group| group.rate);
    let averaged = tensor.kind == Kind::Weight && options.ema.is_some();
    Parameter { name: &tensor.name, element: tensor.element, decay, rate, averaged }
}

/// The next average of a tensor that is `next` after the step.
fn follow(nodes: &mut Nodes, ema: f64, of: &str, next: &str) -> String {
    let kept = nodes.scale(&names::average(of), ema);
    let added = nodes.scale(next, 1.0 - ema);
    nodes.add(&kept, &added)
}

/// Declares the average of a tensor, which begins as the tensor does.
fn average(nodes: &mut Nodes, graph: &mut GraphProto, tensor: &Trained, next: String) -> Result<State> {
    let missing = || Error::model(tensor.name.as_str(), "it is not among the initializers");
    let first = graph.initializer.iter().find(|first| first.name() == tensor.name).ok_or_else(missing)?;
    let name = names::average(&tensor.name);
    let first = TensorProto { name: Some(name.clone()), ..first.clone() };
    graph.initializer.push(first);
    graph.input.push(declare(&name, tensor.element, &tensors::dims(&tensor.shape)));
    let average = Trained { name, shape: tensor.shape.clone(), kind: Kind::Average, ..*tensor };
    Ok(tell(nodes, graph, &average, Kind::Average, Some(tensor.name.clone()), false, next))
}

/// Gives the next value of a tensor its name, and makes it an output.
fn tell(
    nodes: &mut Nodes,
    graph: &mut GraphProto,
    tensor: &Trained,
    kind: Kind,
    of: Option<String>,
    decay: bool,
    value: String,
) -> State {
    let next = format!("{}.next", tensor.name);
    nodes.rename(value, &next);
    graph.output.push(declare(&next, tensor.element, &tensors::dims(&tensor.shape)));
    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
    State { name, next, kind, of, decay, shape, element: element_name(tensor.element).to_owned(), in_place: false }
}
