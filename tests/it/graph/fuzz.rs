//! Random graphs of float64 operators, against central differences. The seed of a failure is in its message.

use pdloss::graph::build::{
    Element::{F32, F64},
    Value::{Int, Ints},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::graph::model::Case;

/// A value on hand, with its shape.
type On = (String, Vec<usize>);

fn pick<'a, T>(random: &mut Pcg64, from: &'a [T]) -> &'a T {
    &from[random.random_range(0..from.len())]
}

/// One more operator over values on hand; `None` where the draw does not fit.
fn grow(case: Case, hand: &[On], random: &mut Pcg64, output: &str) -> (Case, Option<Vec<usize>>) {
    let (a, shape) = pick(random, hand).clone();
    let rank = shape.len();
    match random.random_range(0..12) {
        // Smooth everywhere and bounded, so that differences stay small and exact.
        0 | 1 => {
            let operator = *pick(random, &["Tanh", "Sigmoid", "Neg", "Sin", "Cos", "Identity"]);
            (case.op(operator, &[&a], output, &[]), Some(shape))
        }
        2 | 3 => {
            let broadcasts = |other: &&On| {
                let pairs = other.1.iter().rev().zip(shape.iter().rev());
                pairs.into_iter().all(|(one, two)| one == two || *one == 1 || *two == 1)
            };
            let fitting: Vec<&On> = hand.iter().filter(broadcasts).collect();
            let (b, other) = (*pick(random, &fitting)).clone();
            let operator = *pick(random, &["Add", "Sub", "Mul"]);
            let longest = rank.max(other.len());
            let at = |shape: &[usize], index: usize| {
                (index + shape.len()).checked_sub(longest).map_or(1, |index| shape[index])
            };
            let out = (0..longest).map(|index| at(&shape, index).max(at(&other, index))).collect();
            (case.op(operator, &[&a, &b], output, &[]), Some(out))
        }
        4 if rank >= 2 => {
            let inner = shape[rank - 1];
            let fitting: Vec<&On> = hand.iter().filter(|(_, other)| other.len() == 2 && other[0] == inner).collect();
            if fitting.is_empty() {
                return (case, None);
            }
            let (b, other) = (*pick(random, &fitting)).clone();
            let mut out = shape;
            out[rank - 1] = other[1];
            (case.op("MatMul", &[&a, &b], output, &[]), Some(out))
        }
        5 if rank >= 1 => {
            let axis = random.random_range(0..rank);
            let operator = *pick(random, &["Softmax", "LogSoftmax"]);
            (case.op(operator, &[&a], output, &[("axis", Int(axis as i64))]), Some(shape))
        }
        6 if rank >= 1 => {
            let (axis, keep) = (random.random_range(0..rank), random.random_range(0..2));
            let operator = *pick(random, &["ReduceSum", "ReduceMean", "ReduceLogSumExp"]);
            let mut out = shape;
            if keep == 1 {
                out[axis] = 1;
            } else {
                out.remove(axis);
            }
            let axes = format!("{output}.axes");
            let case = case.ints(&axes, &[axis as i64]);
            (case.op(operator, &[&a, &axes], output, &[("keepdims", Int(keep))]), Some(out))
        }
        7 if rank >= 2 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.rotate_left(random.random_range(0..rank));
            let out = perm.iter().map(|&axis| shape[axis]).collect();
            let perm = perm.into_iter().map(|axis| axis as i64).collect();
            (case.op("Transpose", &[&a], output, &[("perm", Ints(perm))]), Some(out))
        }
        8 => {
            let to = format!("{output}.to");
            (case.ints(&to, &[-1]).op("Reshape", &[&a, &to], output, &[]), Some(vec![shape.iter().product()]))
        }
        9 if rank >= 1 => {
            let axis = random.random_range(0..rank);
            let start = random.random_range(0..shape[axis]);
            let [starts, ends, axes] = ["starts", "ends", "axes"].map(|part| format!("{output}.{part}"));
            let case = case.ints(&starts, &[start as i64]).ints(&ends, &[i64::MAX]).ints(&axes, &[axis as i64]);
            let mut out = shape;
            out[axis] -= start;
            (case.op("Slice", &[&a, &starts, &ends, &axes], output, &[]), Some(out))
        }
        10 if rank >= 1 => {
            let axis = random.random_range(0..rank);
            let mut out = shape;
            out[axis] *= 2;
            (case.op("Concat", &[&a, &a], output, &[("axis", Int(axis as i64))]), Some(out))
        }
        11 => {
            let axes = format!("{output}.axes");
            let axis = random.random_range(0..=rank);
            let mut out = shape;
            out.insert(axis, 1);
            (case.ints(&axes, &[axis as i64]).op("Unsqueeze", &[&a, &axes], output, &[]), Some(out))
        }
        _ => (case, None),
    }
}

fn graph(seed: u64) -> Case {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut case = Case::new(&format!("seed {seed}"), F64).opset(18);
    let mut hand: Vec<On> = Vec::new();
    for (name, shape) in [("x", vec![2, 3]), ("w", vec![3, 2]), ("b", vec![3]), ("s", vec![1, 1])] {
        case = case.input(name, &shape, -1.0, 1.0);
        hand.push((name.to_owned(), shape));
    }
    for step in 0..10 {
        let output = format!("v{step}");
        let (grown, shape) = grow(case, &hand, &mut random, &output);
        case = grown;
        if let Some(shape) = shape.filter(|shape| shape.iter().product::<usize>() <= 200) {
            hand.push((output, shape));
        }
    }
    // Everything made leads to the loss, so that every input has a gradient.
    let mut names = Vec::new();
    for (index, (value, _)) in hand.iter().enumerate() {
        let flat = format!("flat{index}");
        case = case.op("ReduceMean", &[value], &flat, &[("keepdims", Int(0))]);
        names.push(flat);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    case = if random.random_range(0..2) == 0 { case.symbolic() } else { case };
    case.op("Sum", &names, "total", &[]).op("Tanh", &["total"], "y", &[])
}

/// How many graphs are drawn: `PDLOSS_FUZZ`, 60 where it is not set.
fn seeds() -> u64 {
    std::env::var("PDLOSS_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(60)
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn random_graphs() {
    let seeds = seeds();
    let mut worst = 0.0_f64;
    for seed in 0..seeds {
        let distance = graph(seed).check().unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        worst = worst.max(distance);
    }
    println!("{seeds} graphs, worst {worst:.1e}");
}

/// One more layer behind the image `from` of this shape; smooth, so that differences in float32 stay exact enough.
fn layer(case: Case, from: &str, shape: [usize; 4], random: &mut Pcg64, output: &str) -> (Case, [usize; 4]) {
    let [batch, channels, height, width] = shape;
    let weights = format!("{output}.w");
    let kind = random.random_range(0..6);
    match kind {
        0..=2 => {
            let (group, out) = *pick(random, &[(1, 2), (1, 3), (channels, channels), (channels, 2 * channels)]);
            let kernel = [0; 2].map(|_| random.random_range(1..=3));
            let stride = [0; 2].map(|_| random.random_range(1..=2));
            let dilation = [0; 2].map(|_| random.random_range(1..=2));
            let pads = [0; 4].map(|_| random.random_range(0..=2));
            let reach = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
            let padded = [height + pads[0] + pads[2], width + pads[1] + pads[3]];
            if (0..2).any(|axis| padded[axis] < reach[axis]) {
                return (case.op("Identity", &[from], output, &[]), shape);
            }
            let long = |values: &[usize]| Ints(values.iter().map(|&value| value as i64).collect());
            let settings = [
                ("strides", long(&stride)),
                ("dilations", long(&dilation)),
                ("pads", long(&pads)),
                ("group", Int(group as i64)),
            ];
            let case = case.input(&weights, &[out, channels / group, kernel[0], kernel[1]], -0.7, 0.7);
            let places = [0, 1].map(|axis| (padded[axis] - reach[axis]) / stride[axis] + 1);
            (case.op("Conv", &[from, &weights], output, &settings), [batch, out, places[0], places[1]])
        }
        3 => {
            let case = case.input(&weights, &[channels, 2, 2, 2], -0.7, 0.7);
            let settings = [("strides", Ints(vec![2, 2]))];
            let out = [batch, 2, 2 * height, 2 * width];
            (case.op("ConvTranspose", &[from, &weights], output, &settings), out)
        }
        4 if height >= 2 && width >= 2 => {
            let settings = [("kernel_shape", Ints(vec![2, 2])), ("strides", Ints(vec![1, 2]))];
            (case.op("AveragePool", &[from], output, &settings), [batch, channels, height - 1, (width - 2) / 2 + 1])
        }
        _ => (case.op("Tanh", &[from], output, &[]), shape),
    }
}

fn image_graph(seed: u64) -> Case {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut shape = [2, 2, random.random_range(3..=7), random.random_range(3..=7)];
    let mut case = Case::new(&format!("image seed {seed}"), F32).input("x", &shape, -1.0, 1.0);
    let mut from = "x".to_owned();
    for step in 0..4 {
        let output = format!("v{step}");
        (case, shape) = layer(case, &from, shape, &mut random, &output);
        from = output;
    }
    // The image itself takes part, so that there is a slope even where all windows lie in the padding.
    case = case.op("GlobalAveragePool", &[&from], "pooled", &[]).op("GlobalAveragePool", &["x"], "beside", &[]);
    case = case.op("Concat", &["pooled", "beside"], "both", &[("axis", Int(1))]).op("Tanh", &["both"], "y", &[]);
    if seed.is_multiple_of(2) { case.symbolic() } else { case }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn random_graphs_of_images() {
    let mut worst = 0.0_f64;
    let seeds = seeds();
    for seed in 0..seeds {
        let distance = image_graph(seed).check().unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        worst = worst.max(distance);
    }
    println!("{seeds} graphs of images, worst {worst:.1e}");
}
