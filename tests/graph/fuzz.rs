//! Random graphs of float64 operators, against central differences. The seed of a failure is in its message.

use pdloss::graph::build::{Element::F64, Value::Int};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::model::Case;

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
            (case.op("Transpose", &[&a], output, &[("perm", pdloss::graph::build::Value::Ints(perm))]), Some(out))
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

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn random_graphs() {
    let seeds = std::env::var("PDLOSS_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(60);
    let mut worst = 0.0_f64;
    for seed in 0..seeds {
        let distance = graph(seed).check().unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        worst = worst.max(distance);
    }
    println!("{seeds} graphs, worst {worst:.1e}");
}
