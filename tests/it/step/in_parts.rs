//! Steps whose batch goes through the backbone in parts, against those of the whole batch, and against plain loops.

use ort::session::Session;
use pdloss::{
    graph::{
        build::{Dim, Element, Value, attribute, declare, floats, node},
        losses::{Loss, MultiSimilarity, NormalizedSoftmax, SupCon},
        proto::ModelProto,
        step::{Description, FreezeStatistics, Memory, Optimizer, Ranks, StepOptions, Tiles, build_in_parts, names},
    },
    loss::Config,
};

use crate::{
    step::backbones::{IMAGE, convolutional, identity, linear, model, normal, scaled, table},
    step::driver::{Array, Arrays, Driver, assert_close, open, run},
    step::losses::{losses, plain},
    step::reference,
};

/// The graphs of a step in parts with its state, driven as their documentation says.
struct InParts {
    description: Description,
    graphs: [Session; 4],
    inputs: [Vec<String>; 4],
    state: Arrays,
}

impl InParts {
    fn new(backbone: ModelProto, options: &StepOptions) -> Self {
        let graphs = build_in_parts(backbone, options, false).unwrap_or_else(|error| panic!("{error}"));
        let description = Description::of(&graphs.state).expect("a description");
        let first = graphs.state.graph.as_ref().expect("a graph");
        let state = first.initializer.iter().map(|tensor| (tensor.name().to_owned(), Array::of(tensor)));
        let state: Arrays = state.collect();
        assert_eq!(state.len(), description.state.len());
        let models = [graphs.embed, graphs.loss, graphs.backward.expect("trains weights"), graphs.update];
        let names = |model: &ModelProto| {
            let graph = model.graph.as_ref().expect("a graph");
            graph.input.iter().map(|input| input.name().to_owned()).collect()
        };
        let inputs = models.each_ref().map(names);
        Self { description, inputs, graphs: models.map(|model| open(&model)), state }
    }

    fn run(&mut self, graph: usize, values: &mut Arrays) {
        let given = |name: &String| {
            let value = values.get(name).or_else(|| self.state.get(name));
            (name.clone(), value.unwrap_or_else(|| panic!("{name} is not there")).clone())
        };
        let feeds: Arrays = self.inputs[graph].iter().map(given).collect();
        for (name, value) in run(&mut self.graphs[graph], &feeds) {
            match name.strip_suffix(".next") {
                Some(state) if self.state.contains_key(state) => drop(self.state.insert(state.to_owned(), value)),
                other => drop(values.insert(other.map_or(name.clone(), str::to_owned), value)),
            }
        }
    }

    fn step(&mut self, data: &Array, labels: &[i64], parts: usize, rate: f64) -> Arrays {
        let (batch, each) = (labels.len(), labels.len() / parts);
        let mut values = Arrays::from([(names::LEARNING_RATE.to_owned(), Array::f32(&[], &[rate]))]);
        let part = |values: &mut Arrays, description: &Description, part: usize| {
            values.insert(description.data.clone(), rows(data, part * each, each));
            values.insert(names::LABELS.to_owned(), Array::i64(&labels[part * each..][..each]));
            let first = Array::i64(&[(part * each) as i64]);
            values.insert(names::FIRST_ROW.to_owned(), Array { shape: vec![], ..first });
        };
        let mut embeddings: Option<Array> = None;
        for number in 0..parts {
            part(&mut values, &self.description, number);
            self.run(0, &mut values);
            let own = values.remove(names::EMBEDDINGS).expect("embeddings");
            embeddings = Some(embeddings.map_or(own.clone(), |before| behind(&before, &own)));
        }
        values.insert(names::EMBEDDINGS.to_owned(), embeddings.expect("a part"));
        values.insert(names::LABELS.to_owned(), Array::i64(labels));
        self.run(1, &mut values);
        let gradient = values[names::EMBEDDINGS_GRADIENT].clone();
        assert_eq!(gradient.shape, [batch, self.description.dim]);
        for state in &self.description.state {
            if self.inputs[2].contains(&names::sum(&state.name)) {
                let zeros = vec![0.0; state.shape.iter().product()];
                let like = &self.state[&state.name];
                let zeros = match like.numbers {
                    crate::runtime::Numbers::F64(_) => Array::f64(&state.shape, &zeros),
                    _ => Array::f32(&state.shape, &zeros),
                };
                values.insert(names::sum(&state.name), zeros);
            }
        }
        for number in 0..parts {
            part(&mut values, &self.description, number);
            values.insert(names::EMBEDDINGS_GRADIENT.to_owned(), rows(&gradient, number * each, each));
            self.run(2, &mut values);
        }
        self.run(3, &mut values);
        values
    }
}

fn rows(array: &Array, first: usize, count: usize) -> Array {
    let each: usize = array.shape[1..].iter().product();
    let shape = [&[count][..], &array.shape[1..]].concat();
    like(array, &shape, &array.values()[first * each..][..count * each])
}

fn behind(before: &Array, after: &Array) -> Array {
    let shape = [&[before.shape[0] + after.shape[0]][..], &before.shape[1..]].concat();
    like(before, &shape, &[before.values(), after.values()].concat())
}

fn like(array: &Array, shape: &[usize], values: &[f64]) -> Array {
    match array.numbers {
        crate::runtime::Numbers::F64(_) => Array::f64(shape, values),
        _ => Array::f32(shape, values),
    }
}

/// Labels of eight classes in no order.
fn labels(batch: usize) -> Vec<i64> {
    (0..batch).map(|index| (index * 5 % 8) as i64).collect()
}

/// Each state and result of both, within `tolerance` of the scale.
fn assert_same(what: &str, whole: &Driver, outputs: &Arrays, parts: &InParts, values: &Arrays, tolerance: f64) {
    for (name, wanted) in &whole.state {
        let (got, wanted) = (parts.state[name].values(), wanted.values());
        assert_close(&format!("{what}: {name}"), &got, &wanted, tolerance);
    }
    for name in ["pdloss.loss", names::MEAN_COSINE, names::GRADIENT_NORM] {
        assert_close(&format!("{what}: {name}"), &values[name].values(), &outputs[name].values(), tolerance);
    }
}

/// 64 images at once and eight times eight: every loss, its gradients by one step of plain descent.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn parts_are_the_whole_batch_for_every_loss() {
    let (batch, inputs, dim) = (64, 7, 5);
    let data = Array::f64(&[batch, inputs], &normal(batch * inputs, 5));
    for loss in losses() {
        let what = format!("{loss:?}");
        let mut whole = Driver::new(linear(inputs, dim), &plain(loss, 8));
        let mut parts = InParts::new(linear(inputs, dim), &plain(loss, 8));
        let outputs = whole.step(&data, &labels(batch), 1.0);
        let values = parts.step(&data, &labels(batch), 8, 1.0);
        assert_same(&what, &whole, &outputs, &parts, &values, 1e-9);
        assert_close(&what, &values[names::EMBEDDINGS].values(), &outputs[names::EMBEDDINGS].values(), 1e-12);
        assert_eq!(values.get("pdloss.moments").map(Array::values).is_some(), loss.has_moments(), "{what}");
    }
}

/// What a loss remembers of earlier batches is that of the whole batch, step after step.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_memory_is_of_whole_batches() {
    let (batch, inputs, dim) = (16, 7, 5);
    for loss in losses().into_iter().filter(|loss| loss.takes_memory()) {
        let options = StepOptions { memory: Some(Memory { rows: 40, start: 1 }), ..plain(loss, 8) };
        let mut whole = Driver::new(linear(inputs, dim), &options);
        let mut parts = InParts::new(linear(inputs, dim), &options);
        for step in 0..4 {
            let data = Array::f64(&[batch, inputs], &normal(batch * inputs, 50 + step));
            let outputs = whole.step(&data, &labels(batch), 0.1);
            let values = parts.step(&data, &labels(batch), 4, 0.1);
            assert_same(&format!("{loss:?}, step {step}"), &whole, &outputs, &parts, &values, 1e-9);
        }
    }
}

/// Dropout by the images' places in the whole batch, statistics that stay, momentum, clipping and averages, step after step.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn dropout_clipping_and_averages_are_those_of_the_whole_batch() {
    let batch = 24;
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
    for loss in [Loss::SupCon(SupCon::default()), Loss::Pd(Config::default())] {
        let options = StepOptions {
            optimizer,
            clip: Some(0.5),
            ema: Some(0.7),
            freeze_statistics: FreezeStatistics::All,
            ..plain(loss, 8)
        };
        let first = || Dim::Named("batch".to_owned());
        let mut whole = Driver::new(convolutional(first()), &options);
        let mut parts = InParts::new(convolutional(first()), &options);
        for step in 0..3 {
            let data = normal(batch * IMAGE.iter().product::<usize>(), 40 + step);
            let data = Array::f32(&[&[batch][..], &IMAGE].concat(), &data);
            let outputs = whole.step(&data, &labels(batch), 0.1);
            let values = parts.step(&data, &labels(batch), 4, 0.1);
            assert_same(&format!("{loss:?}, step {step}"), &whole, &outputs, &parts, &values, 1e-5);
        }
        let dropped = StepOptions { dropout: false, ..options };
        let mut other = InParts::new(convolutional(first()), &dropped);
        let data = normal(batch * IMAGE.iter().product::<usize>(), 40);
        let data = Array::f32(&[&[batch][..], &IMAGE].concat(), &data);
        other.step(&data, &labels(batch), 4, 0.1);
        assert_ne!(other.state["last.weight"], parts.state["last.weight"], "there is dropout to be the same");
    }
}

const INPUTS: usize = 4;
const WIDTH: usize = 5;
const DIM: usize = 3;

/// `features = last norm(images first')'`, in float64.
fn normalised() -> ModelProto {
    let shape = |length| [Dim::Named("batch".to_owned()), Dim::Known(length)];
    let norm = ["hidden", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    let transposed = || vec![attribute("transB", Value::Int(1))];
    let tensor = |name: &str, shape: &[usize], values: Vec<f64>| floats(name, Element::F64, shape, &values);
    let mut made = model(
        17,
        (Element::F64, &shape(INPUTS)),
        (Element::F64, &shape(DIM)),
        vec![
            node("Gemm", &["images", "first"], &["hidden"], transposed()),
            node("BatchNormalization", &norm, &["norm"], vec![]),
            node("Gemm", &["norm", "last"], &["features"], transposed()),
        ],
        vec![
            tensor("first", &[WIDTH, INPUTS], scaled(normal(WIDTH * INPUTS, 21), 0.5)),
            tensor("norm.weight", &[WIDTH], vec![1.0, 0.8, 1.2, 0.9, 1.1]),
            tensor("norm.bias", &[WIDTH], vec![0.1, -0.2, 0.0, 0.3, -0.1]),
            tensor("norm.running_mean", &[WIDTH], vec![0.5; WIDTH]),
            tensor("norm.running_var", &[WIDTH], vec![2.0; WIDTH]),
            tensor("last", &[DIM, WIDTH], scaled(normal(DIM * WIDTH, 22), 0.5)),
        ],
    );
    made.graph.as_mut().expect("a graph").input = vec![declare("images", Element::F64, &shape(INPUTS))];
    made
}

fn product(rows: &[f64], length: usize, weight: &[f64]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    rows.chunks(length).flat_map(|row| weight.chunks(length).map(move |w| dot(row, w))).collect()
}

/// The embeddings of a part by loops, and the mean and the sample's variance of each channel.
fn part_by_loops(data: &[f64], [first, scale, shift, last]: [&[f64]; 4]) -> (Vec<f64>, Vec<(f64, f64)>) {
    let hidden = product(data, INPUTS, first);
    let count = (hidden.len() / WIDTH) as f64;
    let channel = |at: usize| hidden.iter().skip(at).step_by(WIDTH);
    let moments: Vec<(f64, f64)> = (0..WIDTH)
        .map(|at| {
            let mean = channel(at).sum::<f64>() / count;
            (mean, channel(at).map(|value| (value - mean).powi(2)).sum::<f64>() / count)
        })
        .collect();
    let norm: Vec<f64> = hidden
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let (at, (mean, variance)) = (place % WIDTH, moments[place % WIDTH]);
            scale[at] * (value - mean) / (variance + 1e-5).sqrt() + shift[at]
        })
        .collect();
    let moments = moments.into_iter().map(|(mean, variance)| (mean, variance * count / (count - 1.0))).collect();
    (product(&norm, WIDTH, last), moments)
}

/// Each part is normalised by itself, and the running statistics follow them one after the other, once.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn live_statistics_are_those_of_plain_loops_over_the_parts() {
    let (batch, count) = (24, 4);
    let data = normal(batch * INPUTS, 31);
    let of_class: Vec<usize> = labels(batch).iter().map(|&label| label as usize).collect();
    let names = ["first", "norm.weight", "norm.bias", "last"];
    for loss in [
        Loss::Pd(Config::default()),
        Loss::Softmax(NormalizedSoftmax::default()),
        Loss::SupCon(SupCon::default()),
        Loss::MultiSimilarity(MultiSimilarity { base: 0.5, ..MultiSimilarity::default() }),
    ] {
        let mut parts = InParts::new(normalised(), &plain(loss, 8));
        let before = parts.state.clone();
        let proxies = before.get("pdloss.proxies").map(Array::values).unwrap_or_default();
        let values = parts.step(&Array::f64(&[batch, INPUTS], &data), &labels(batch), count, 1.0);
        let weights = names.map(|name| before[name].values());
        let embed = |weights: &[Vec<f64>; 4]| -> Vec<f64> {
            let weights = weights.each_ref().map(Vec::as_slice);
            data.chunks(data.len() / count).flat_map(|part| part_by_loops(part, weights).0).collect()
        };
        let value = |weights: &[Vec<f64>; 4]| reference::value(&loss, DIM, &embed(weights), &proxies, &of_class);
        assert_close(&format!("{loss:?}"), &values["pdloss.loss"].values(), &[value(&weights)], 1e-9);
        for (place, name) in names.iter().enumerate() {
            let slope = |index: usize| {
                let at = |by: f64| {
                    let mut weights = weights.clone();
                    weights[place][index] += by;
                    value(&weights)
                };
                let step = 3e-5;
                (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step)
            };
            let wanted: Vec<f64> = (0..weights[place].len()).map(slope).collect();
            let after = parts.state[*name].values();
            let moved: Vec<f64> = weights[place].iter().zip(after).map(|(before, after)| before - after).collect();
            assert_close(&format!("{loss:?}: {name}"), &moved, &wanted, 1e-6);
        }
        let mut running: Vec<(f64, f64)> = vec![(0.5, 2.0); WIDTH];
        for part in data.chunks(data.len() / count) {
            let (_, moments) = part_by_loops(part, weights.each_ref().map(Vec::as_slice));
            let follow = |kept: f64, new: f64| 0.9 * kept + 0.1 * new;
            running = running.iter().zip(moments).map(|(a, b)| (follow(a.0, b.0), follow(a.1, b.1))).collect();
        }
        let (means, variances): (Vec<f64>, Vec<f64>) = running.into_iter().unzip();
        assert_close("running mean", &parts.state["norm.running_mean"].values(), &means, 1e-6);
        assert_close("running variance", &parts.state["norm.running_var"].values(), &variances, 1e-6);
    }
}

#[test]
fn of_parts_on_several_ranks_the_update_alone_adds_up() {
    let loss = Loss::Softmax(NormalizedSoftmax::default());
    let ranks = StepOptions { ranks: Some(Ranks::new(false)), ..plain(loss, 8) };
    let pdloss::graph::step::InParts { embed, loss, backward, update, .. } =
        build_in_parts(linear(4, 3), &ranks, false).unwrap();
    let exchanges = |model: &ModelProto| {
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        nodes.filter(|node| node.op_type().starts_with("All")).cloned().collect::<Vec<_>>()
    };
    for model in [&embed, &loss, backward.as_ref().unwrap()] {
        assert!(exchanges(model).is_empty(), "the host gathers, and what a part gives is its own");
    }
    let [sum] = exchanges(&update).try_into().unwrap();
    assert_eq!((sum.op_type(), &sum.input[0][..]), ("AllReduce", "pdloss.token"));
    assert!(sum.input[1..].iter().all(|name| name.starts_with("pdloss.sum.") && !name.contains("proxies")), "{sum:?}");
    let first = update.graph.iter().flat_map(|graph| &graph.initializer).any(|tensor| tensor.name() == "pdloss.token");
    assert!(first, "nothing comes before the first exchange");
}

#[test]
fn what_cannot_go_in_parts_is_refused_by_name() {
    let loss = Loss::Softmax(NormalizedSoftmax::default());
    let refused = |backbone: ModelProto, options: &StepOptions| {
        build_in_parts(backbone, options, false).map(drop).expect_err("refused").to_string()
    };
    // Two images that are mixed with each other cannot be freed.
    let mut fixed = linear(4, 3);
    let graph = fixed.graph.as_mut().expect("a graph");
    graph.output = vec![declare("features", Element::F64, &[Dim::Known(2), Dim::Known(3)])];
    graph.input = vec![declare("images", Element::F64, &[Dim::Known(2), Dim::Known(4)])];
    graph.node.push(node("MatMul", &["mixed", "inner"], &["features"], vec![]));
    graph.node[0].output = vec!["inner".to_owned()];
    graph.initializer.push(floats("mixed", Element::F64, &[2, 2], &[0.5, 2.5, 3.5, 4.0]));
    let error = refused(fixed, &plain(loss, 8));
    assert!(error.contains("its batch is fixed at 2"), "{error}");
}

/// The gradients of a loss in tiles, as its documentation says; and the values at its end.
fn by_tiles(loss: ModelProto, tiles: Tiles, embeddings: &Array, labels: &[i64], each: usize) -> (Vec<f64>, Arrays) {
    by_tiles_beside(loss, tiles, (embeddings, labels), each, &Arrays::new())
}

/// The same beside this state.
fn by_tiles_beside(
    loss: ModelProto,
    tiles: Tiles,
    (embeddings, labels): (&Array, &[i64]),
    each: usize,
    state: &Arrays,
) -> (Vec<f64>, Arrays) {
    let length = tiles.length;
    let inputs = |model: &ModelProto| -> Vec<String> {
        let graph = model.graph.as_ref().expect("a graph");
        graph.input.iter().map(|input| input.name().to_owned()).collect()
    };
    let [sums, loss, backward] = [tiles.sums, loss, tiles.backward];
    let wide = |model: &ModelProto| -> bool {
        let graph = model.graph.as_ref().expect("a graph");
        graph.node.iter().any(|node| node.op_type() == "MatMul")
    };
    assert!(wide(&sums) && wide(&backward) && !wide(&loss), "similarities are the tiles' alone");
    let mut values = Arrays::from([
        (names::EMBEDDINGS.to_owned(), embeddings.clone()),
        (names::LABELS.to_owned(), Array::i64(labels)),
        (names::TILE_SUMS.to_owned(), Array::f64(&[length], &vec![0.0; length])),
        (names::EMBEDDINGS_GRADIENT.to_owned(), Array::f64(&embeddings.shape, &vec![0.0; embeddings.values().len()])),
    ]);
    values.extend(state.clone());
    let mut own = Vec::new();
    for model in [sums, loss, backward].into_iter().chain(tiles.remember) {
        let (inputs, is_loss) = (inputs(&model), !wide(&model));
        let mut session = open(&model);
        for first in (0..if is_loss { 1 } else { labels.len() }).step_by(each) {
            let count = each.min(labels.len() - first);
            values.insert(names::ROWS.to_owned(), rows(embeddings, first, count));
            values.insert(names::ROW_LABELS.to_owned(), Array::i64(&labels[first..first + count]));
            values.insert(names::FIRST_ROW.to_owned(), Array { shape: vec![], ..Array::i64(&[first as i64]) });
            let feeds = inputs.iter().map(|name| (name.clone(), values[name].clone())).collect();
            for (name, value) in run(&mut session, &feeds) {
                if name == names::ROWS_GRADIENT {
                    own.extend(value.values());
                }
                values.insert(name.strip_suffix(".next").unwrap_or(&name).to_owned(), value);
            }
        }
    }
    let all = values[names::EMBEDDINGS_GRADIENT].values();
    (all.iter().zip(own).map(|(all, own)| all + own).collect(), values)
}

/// Every loss that has tiles: its value and gradient are those of all rows at once, with tiles of five that do not divide them.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn tiles_of_rows_are_all_rows() {
    let (batch, dim) = (23, 5);
    let of_class = labels(batch);
    let number = |label: &i64| *label as usize;
    let mut with_tiles = Vec::new();
    for loss in losses() {
        let Some(length) = loss.sums_of_tile() else {
            let refused =
                build_in_parts(linear(4, dim), &plain(loss, 8), true).map(drop).expect_err("refused").to_string();
            assert!(refused.contains(loss.name()) && refused.contains("cannot be computed in tiles"), "{refused}");
            continue;
        };
        with_tiles.push(loss.name());
        let graphs = build_in_parts(linear(4, dim), &plain(loss, 8), true).unwrap_or_else(|error| panic!("{error}"));
        let tiles = graphs.tiles.expect("tiles");
        assert_eq!(tiles.length, length);
        let embeddings = Array::f64(&[batch, dim], &normal(batch * dim, 61));
        let (gradient, values) = by_tiles(graphs.loss, tiles, &embeddings, &of_class, 5);
        let classes: Vec<usize> = of_class.iter().map(number).collect();
        let wanted = reference::value(&loss, dim, &embeddings.values(), &[], &classes);
        assert_close(&format!("{loss:?}"), &values["pdloss.loss"].values(), &[wanted], 1e-9);
        // The whole loss, whose gradients are held to those of plain loops elsewhere.
        let rows = embeddings.values();
        let mut whole = Driver::new(table(batch, dim, &rows), &plain(loss, 8));
        whole.step(&Array::f64(&[batch, batch], &identity(batch)), &of_class, 1.0);
        let of_rows: Vec<f64> = rows.iter().zip(whole.weight("rows")).map(|(before, after)| before - after).collect();
        assert_close(&format!("{loss:?}: gradient"), &gradient, &of_rows, 1e-9);
    }
    with_tiles.dedup();
    let wanted = ["multi-similarity", "circle", "triplet", "contrastive", "supcon", "nt-xent", "histogram"];
    assert_eq!(with_tiles, wanted);
}

/// Beside rows of earlier batches, of which some count: value, gradient, and what is remembered next.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn tiles_of_rows_with_a_memory_are_all_rows_with_it() {
    let (batch, dim, kept) = (13, 4, 17);
    let of_class = labels(batch);
    for loss in losses().into_iter().filter(|loss| loss.takes_memory()) {
        for (count, step) in [(11, 3), (kept, 3), (11, 0)] {
            let what = format!("{loss:?}, {count} remembered, step {step}");
            let options = StepOptions { memory: Some(Memory { rows: kept, start: 2 }), ..plain(loss, 8) };
            let one = |value: usize| Array { shape: vec![], ..Array::i64(&[value as i64]) };
            let state = Arrays::from([
                (names::MEMORY_EMBEDDINGS.to_owned(), Array::f64(&[kept, dim], &normal(kept * dim, 63))),
                (names::MEMORY_LABELS.to_owned(), Array::i64(&labels(kept))),
                (names::MEMORY_COUNT.to_owned(), one(count)),
                (names::STEP.to_owned(), one(step)),
            ]);
            let rows = normal(batch * dim, 64);
            let mut whole = Driver::new(table(batch, dim, &rows), &options);
            whole.state.extend(state.clone());
            let outputs = whole.step(&Array::f64(&[batch, batch], &identity(batch)), &of_class, 1.0);
            let graphs = build_in_parts(linear(4, dim), &options, true).unwrap_or_else(|error| panic!("{error}"));
            let embeddings = Array::f64(&[batch, dim], &rows);
            let tiles = graphs.tiles.expect("tiles");
            let (gradient, values) = by_tiles_beside(graphs.loss, tiles, (&embeddings, &of_class), 5, &state);
            assert_close(&what, &values["pdloss.loss"].values(), &outputs["pdloss.loss"].values(), 1e-9);
            let moved: Vec<f64> = rows.iter().zip(whole.weight("rows")).map(|(before, after)| before - after).collect();
            assert_close(&format!("{what}: gradient"), &gradient, &moved, 1e-9);
            for name in [names::MEMORY_EMBEDDINGS, names::MEMORY_LABELS, names::MEMORY_COUNT] {
                assert_close(&format!("{what}: {name}"), &values[name].values(), &whole.weight(name), 0.0);
            }
        }
    }
}

/// What a mask could pass over is seen in tiles, too: a row that is no number makes the loss none.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_row_that_is_no_number_is_seen_in_tiles() {
    for loss in losses().into_iter().filter(|loss| loss.sums_of_tile().is_some()) {
        let graphs = build_in_parts(linear(4, 3), &plain(loss, 8), true).unwrap_or_else(|error| panic!("{error}"));
        let mut embeddings = Array::f64(&[9, 3], &normal(27, 62));
        embeddings.set(25, f64::NAN);
        let (_, values) =
            by_tiles(graphs.loss, graphs.tiles.expect("tiles"), &embeddings, &[0, 1, 2, 0, 1, 2, 0, 1, 7], 4);
        assert!(values["pdloss.loss"].number().is_nan(), "{loss:?}");
    }
}
