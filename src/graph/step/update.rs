//! What a step does to its state: the norm of all gradients, clipping, and the optimiser's next values.

use super::{
    Kind, State, StepOptions,
    description::element_name,
    graph_of,
    layers::Factors,
    names, operator,
    optimizer::{Parameter, Scalars, Update, state_name},
    patterns::Frozen,
    precision::Scaled,
    tensors::{self, Stays, Trained},
};
use crate::graph::{
    Error, Result,
    build::{Element, declare, floats},
    collective,
    gradient::Operators,
    head::Place,
    nodes::Nodes,
    proto::{GraphProto, ModelProto, TensorProto},
    training_mode::Running,
};

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
    rules: &Rules<'_>,
    (trained, gradients): (&[Trained], &[String]),
    (running, kept): (&[Running], Vec<Stays>),
) -> Result<Vec<State>> {
    let options = rules.options;
    let mut nodes = Nodes::new("pdloss.update.", place.element, model.opset());
    let is_held = |tensor: &Trained| options.unfreeze_at.is_some() && rules.frozen.holds(&tensor.name);
    let skips = options.precision.is_some_and(|precision| precision.scale.is_some());
    let held = Held::write(&mut nodes, options.unfreeze_at, skips);
    let gradients: Vec<String> = trained
        .iter()
        .zip(gradients)
        .map(|(tensor, gradient)| match &held {
            Some(held) if is_held(tensor) => held.nothing_before(&mut nodes, tensor, gradient),
            _ => gradient.clone(),
        })
        .collect();
    let gradients = gradients.as_slice();
    let norm = norm(&mut nodes, place, options, trained, gradients);
    let parameters: Vec<Parameter<'_>> = trained.iter().map(|tensor| parameter(tensor, rules)).collect();
    let scaled = Scaled::write(&mut nodes, options.precision, &norm);
    let as_operator = operator::has(options, &parameters, place.element);
    let clipped = match options.clip {
        Some(limit) if !as_operator => clip(&mut nodes, place, (limit, &norm), trained, gradients),
        _ => gradients.to_vec(),
    };
    let one = nodes.integer(1);
    let finished = nodes.add(names::STEP, &one);
    let mut updates: Vec<Option<Update>> = parameters.iter().map(|_| None).collect();
    let number = if scaled.is_some() { Scaled::number(&mut nodes, &finished) } else { finished.clone() };
    let numbers = [Some(number), held.as_ref().map(|held| held.step.clone())];
    for (wants_held, number) in [false, true].into_iter().zip(numbers) {
        let places: Vec<usize> = (0..trained.len()).filter(|&place| is_held(&trained[place]) == wants_held).collect();
        let (Some(number), false) = (number, places.is_empty()) else { continue };
        let of: Vec<Parameter<'_>> = places.iter().map(|&place| parameters[place].clone()).collect();
        let gradients: Vec<String> = places.iter().map(|&place| clipped[place].clone()).collect();
        let made = write(&mut nodes, options, (&norm, &number), (&of, &gradients), as_operator);
        for ((&place, parameter), update) in places.iter().zip(&of).zip(made) {
            let mut update = update;
            if let Some(held) = held.as_ref().filter(|_| wants_held) {
                update = update.or_before(options, parameter, |next, before| held.either(&mut nodes, next, before));
            }
            // The operator skips a step by itself.
            if let Some(scaled) = scaled.as_ref().filter(|_| !as_operator) {
                update = update.or_before(options, parameter, |next, before| scaled.either(&mut nodes, next, before));
            }
            updates[place] = Some(update);
        }
    }

    let graph = graph_of(model)?;
    let (mut state, mut moments, mut averages) = (Vec::new(), Vec::new(), Vec::new());
    for ((tensor, parameter), update) in trained.iter().zip(&parameters).zip(updates.into_iter().flatten()) {
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
    let of_scale = scaled.map(|scaled| scaled.next(&mut nodes)).unwrap_or_default();
    for Stays { tensor, next } in kept.into_iter().chain(of_scale) {
        state.push(tell(&mut nodes, graph, &tensor, tensor.kind, None, false, next));
    }
    let step = Trained { name: names::STEP.to_owned(), element: Element::I64, shape: Vec::new(), kind: Kind::Step };
    state.push(tell(&mut nodes, graph, &step, Kind::Step, None, false, finished));
    graph.node.extend(nodes.list);
    Ok(state)
}

/// What the update of a tensor follows.
pub(super) struct Rules<'a> {
    pub(super) options: &'a StepOptions,
    /// The patterns of the options' groups.
    pub(super) groups: &'a Frozen,
    pub(super) layers: &'a Factors,
    pub(super) frozen: &'a Frozen,
}

/// Writes the updates of some parameters, in their order; `step` is the number of the step, from 1.
fn write(
    nodes: &mut Nodes,
    options: &StepOptions,
    (norm, step): (&str, &str),
    (parameters, gradients): (&[Parameter<'_>], &[String]),
    as_operator: bool,
) -> Vec<Update> {
    if as_operator {
        return operator::write(nodes, options, (norm, step), parameters, gradients);
    }
    let mut scalars = Scalars::new(nodes, names::LEARNING_RATE, step);
    let write = |(parameter, gradient): (&Parameter<'_>, &String)| {
        let mut update = options.optimizer.write(nodes, &mut scalars, parameter, gradient);
        if let Some(ema) = options.ema.filter(|_| parameter.averaged) {
            nodes.element = parameter.element;
            update.average = Some(follow(nodes, ema, parameter.name, &update.weight));
        }
        update
    };
    parameters.iter().zip(gradients).map(write).collect()
}

/// Weights that stay until so many steps are made; those that are skipped are not.
struct Held {
    /// Whether they are.
    is_over: String,
    /// The number of the step from then on, from 1; the optimiser begins with them.
    step: String,
}

impl Held {
    fn write(nodes: &mut Nodes, until: Option<u64>, skips: bool) -> Option<Self> {
        let until = nodes.integer(i64::try_from(until?).ok()?);
        let made = if skips { Scaled::number(nodes, names::STEP) } else { names::STEP.to_owned() };
        let is_over = nodes.op("GreaterOrEqual", &[&made, &until]);
        let since = nodes.sub(&made, &until);
        let one = nodes.integer(1);
        let number = nodes.add(&since, &one);
        Some(Self { is_over, step: nodes.op("Max", &[&number, &one]) })
    }

    /// The gradient, or zeros.
    fn nothing_before(&self, nodes: &mut Nodes, tensor: &Trained, gradient: &str) -> String {
        let zero = nodes.number_of(tensor.element, 0.0);
        nodes.op("Where", &[&self.is_over, gradient, &zero])
    }

    /// The next value, or what there was.
    fn either(&self, nodes: &mut Nodes, next: &str, before: &str) -> String {
        nodes.op("Where", &[&self.is_over, next, before])
    }
}

impl Update {
    /// The update, or what there was, as `either` says of the next value and the one before.
    fn or_before(
        self,
        options: &StepOptions,
        of: &Parameter<'_>,
        mut either: impl FnMut(&str, &str) -> String,
    ) -> Self {
        let states = options.optimizer.kinds().iter().map(|kind| state_name(kind, of.name));
        Self {
            weight: either(&self.weight, of.name),
            state: states.zip(self.state).map(|(before, next)| either(&next, &before)).collect(),
            average: self.average.map(|next| either(&next, &names::average(of.name))),
        }
    }
}

/// The norm of all gradients.
fn norm(nodes: &mut Nodes, place: &Place, options: &StepOptions, trained: &[Trained], gradients: &[String]) -> String {
    let is_shared =
        |tensor: &Trained| tensor.kind == Kind::Proxies && options.ranks.is_some_and(|ranks| ranks.classes.is_some());
    // A launch for each gradient is what it costs on a device; on the processor this keeps the bits of standard operators.
    let is_one_node = |tensor: &Trained| tensor.element == place.element && !is_shared(tensor);
    if options.operators == Operators::Cuda && trained.iter().all(is_one_node) {
        return operator::norm(nodes, gradients);
    }
    // Weights may be of another type than the embeddings, with a Cast between.
    let squares = trained.iter().zip(gradients).map(|(tensor, grad)| {
        let mut square = nodes.reduce_all("ReduceSumSquare", grad);
        if is_shared(tensor) {
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
fn parameter<'a>(tensor: &'a Trained, Rules { options, groups, layers, .. }: &Rules<'_>) -> Parameter<'a> {
    let is_proxies = tensor.kind == Kind::Proxies;
    let is_decayed = if is_proxies { options.decay_proxies } else { options.decay_all || tensor.shape.len() > 1 };
    let group = groups.which(&tensor.name).and_then(|pattern| options.groups.iter().find(|g| g.pattern == pattern));
    let usual = options.optimizer.weight_decay();
    let decay = if is_decayed { group.and_then(|group| group.decay).unwrap_or(usual) } else { 0.0 };
    let rate = if is_proxies { options.proxies_rate } else { 1.0 }
        * group.map_or(1.0, |group| group.rate)
        * layers.of_weight(&tensor.name);
    let averaged = tensor.kind == Kind::Weight && options.ema.is_some();
    Parameter { name: &tensor.name, element: tensor.element, decay, rate, averaged }
}

/// Refuses a group whose weight decay is of no tensor: biases, norms and proxies have none.
pub(super) fn refuse_idle_decay(trained: &[Trained], rules: &Rules<'_>) -> Result<()> {
    let of_group = |at: usize| trained.iter().filter(move |tensor| rules.groups.position(&tensor.name) == Some(at));
    let is_decayed = |tensor: &Trained| match tensor.kind {
        Kind::Proxies => rules.options.decay_proxies,
        _ => rules.options.decay_all || tensor.shape.len() > 1,
    };
    let groups = rules.options.groups.iter().enumerate();
    let mut idle = groups.filter(|(_, group)| group.decay.is_some_and(|decay| decay > 0.0));
    match idle.find(|(at, _)| of_group(*at).next().is_some() && !of_group(*at).any(is_decayed)) {
        None => Ok(()),
        Some((_, group)) => Err(Error::model(
            format!("group pattern '{}'", group.pattern),
            format!(
                "weight decay {} changes nothing: all of its tensors are biases, norms or proxies, which have none (--decay-all, \
                 --decay-proxies)",
                group.decay.unwrap_or_default()
            ),
        )),
    }
}

/// Refuses steps in which all that is trained is held, and nothing moves.
pub(super) fn refuse_idle_steps(trained: &[Trained], rules: &Rules<'_>) -> Result<()> {
    let is_held = |tensor: &Trained| rules.frozen.holds(&tensor.name) || parameter(tensor, rules).rate == 0.0;
    match rules.options.unfreeze_at {
        Some(step) if trained.iter().all(is_held) => Err(Error::model(
            "step that unfreezes",
            format!(
                "until step {step} all that is trained is frozen, the proxies too where there are some, so that nothing moves; freeze less, \
                 such as the layers before the last"
            ),
        )),
        _ => Ok(()),
    }
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
    if value != next {
        nodes.rename(value, &next);
    }
    graph.output.push(declare(&next, tensor.element, &tensors::dims(&tensor.shape)));
    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
    State { name, next, kind, of, decay, shape, element: element_name(tensor.element).to_owned(), in_place: false }
}
