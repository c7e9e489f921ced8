//! `cargo bench -p pdloss --features testing`: forward and backward, ours against the plain version that forms `B x C`,
//! in Rust with the same matrix-product crate and in numpy. Checks, then times, interleaved; medians.
//!
//! `PDLOSS_BENCH_PYTHON` names a Python with numpy; without it that column is empty and says so. Arguments pick cases
//! by number. Peak memory is each version's own, in a process of its own.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints a table")]
#![allow(clippy::cast_possible_truncation, reason = "small counts; the plain version rounds to f32")]

mod check;
mod plain;

use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use pdloss::loss::{Batch, Config, GradientsMut, Threads, forward_backward_into, random_proxies};
use std::process::Command;
use std::time::Instant;

const CASES: [(usize, usize, usize); 6] = [
    (32, 100, 512),
    (128, 1000, 512),
    (512, 10_000, 512),
    (1024, 100_000, 128),
    (512, 100_000, 512),
    (4096, 1_000_000, 128),
];

/// Beyond this the plain version's similarities and weights do not fit.
const PLAIN_LIMIT: usize = 1 << 30;

pub(crate) struct Problem {
    pub(crate) x: Array2<f32>,
    pub(crate) p: Array2<f32>,
    pub(crate) y: Vec<i64>,
    pub(crate) dx: Array2<f32>,
    pub(crate) dp: Array2<f32>,
}

impl Problem {
    fn new((batch, classes, dim): (usize, usize, usize)) -> Self {
        let p = random_proxies::<f32>(classes, dim, 1).unwrap();
        let y: Vec<i64> = (0..batch).map(|i| (i * 7919 % classes) as i64).collect();
        let mut x = random_proxies::<f32>(batch.max(2), dim, 2).unwrap() * 1.5;
        for (mut row, &label) in x.outer_iter_mut().zip(&y) {
            row += &p.row(label as usize);
        }
        // Written to, so that the pages exist before the clock starts.
        let (dx, dp) = (x.mapv(|_| 1.0), p.mapv(|_| 1.0));
        Self { x, p, y, dx, dp }
    }

    pub(crate) fn ours(&mut self) -> f64 {
        let out = GradientsMut { embeddings: self.dx.view_mut(), proxies: self.dp.view_mut() };
        let batch = Batch { embeddings: self.x.view(), proxies: self.p.view(), labels: &self.y };
        forward_backward_into(&Config::default(), 1.0, &batch, out, &Threads).unwrap().0
    }

    pub(crate) fn plain(&mut self) -> f64 {
        plain::forward_backward(&self.x, &self.p, &self.y, &mut self.dx, &mut self.dp)
    }

    fn bytes(&self) -> f64 {
        (2 * 4 * (self.x.len() + self.p.len()) + 8 * self.y.len()) as f64
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Attained rate of the crate's own `[C, D] x [D, D]`, all threads, in flop/s.
fn product_rate(p: ArrayView2<'_, f32>, repeats: usize) -> f64 {
    let (rows, dim) = (p.nrows().min(200_000), p.ncols());
    let left = MatRef::from_row_major_slice(&p.as_slice().unwrap()[..rows * dim], rows, dim);
    let square = vec![0.5_f32; dim * dim];
    let right = MatRef::from_row_major_slice(&square, dim, dim);
    let mut out = vec![1.0_f32; rows * dim];
    let mut once = || {
        let out = MatMut::from_row_major_slice_mut(&mut out, rows, dim);
        faer::linalg::matmul::matmul(out, Accum::Replace, left, right, 1.0, Par::rayon(0));
    };
    once();
    let best = median((0..repeats).map(|_| seconds(&mut once)).collect());
    (2 * rows * dim * dim) as f64 / best
}

/// Flops of the result, the symmetric half counted once: what the chosen path cannot do without.
fn useful_flops((batch, classes, dim): (usize, usize, usize)) -> (&'static str, f64) {
    let (b, c, d) = (batch as f64, classes as f64, dim as f64);
    if 1.6 * (b + c) * d <= 3.0 * b * c && classes > 64 {
        ("gram", 3.0 * (b + c) * d * d)
    } else {
        ("tiles", 6.0 * b * c * d)
    }
}

fn peak_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
}

/// Peak memory of one run in a fresh process, above what the process holds before the inputs exist.
fn child_peak(case: usize, kind: &str) -> f64 {
    let out = Command::new(std::env::current_exe().unwrap()).args(["--child", &case.to_string(), kind]).output();
    String::from_utf8_lossy(&out.unwrap().stdout).trim().parse().unwrap_or(f64::NAN)
}

fn numpy(case: (usize, usize, usize), repeats: usize) -> Option<f64> {
    let python = std::env::var("PDLOSS_BENCH_PYTHON").ok()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/plain_numpy.py");
    let arguments = [case.0, case.1, case.2, repeats].map(|number| number.to_string());
    let out = Command::new(python).arg(script).args(arguments).output().ok()?;
    String::from_utf8_lossy(&out.stdout).trim().parse().ok()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--child") {
        let before = peak_bytes();
        let mut problem = Problem::new(CASES[arguments[1].parse::<usize>().unwrap()]);
        if arguments[2] == "ours" {
            problem.ours()
        } else {
            problem.plain()
        };
        return println!("{}", peak_bytes() - before);
    }
    let picked: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "{} threads; forward + backward, f32; numpy: {}",
        rayon::current_num_threads(),
        match std::env::var("PDLOSS_BENCH_PYTHON") {
            Ok(python) => python,
            Err(_) => "absent (set PDLOSS_BENCH_PYTHON)".into(),
        }
    );
    println!(
        "| B, C, D | path | checked against | ours ms | plain ms | plain / ours | numpy ms | numpy / ours | Gflop/s | share of product | peak MB | plain MB | peak / in+out |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (number, &case) in CASES.iter().enumerate().filter(|(number, _)| picked.is_empty() || picked.contains(number)) {
        let mut problem = Problem::new(case);
        let similarities = case.0 * case.1;
        let checked = check::check(&mut problem);
        let with_plain = similarities * 8 <= PLAIN_LIMIT;
        let work = similarities as f64 * case.2 as f64;
        let repeats = (2e11 / work).clamp(5.0, 401.0) as usize;
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..repeats {
            ours.push(seconds(|| {
                problem.ours();
            }));
            if with_plain {
                plain.push(seconds(|| {
                    problem.plain();
                }));
            }
        }
        let ours = median(ours);
        let plain = with_plain.then(|| median(plain));
        let (path, flops) = useful_flops(case);
        let (rate, product) = (flops / ours, product_rate(problem.p.view(), repeats.min(21)));
        let bytes = problem.bytes();
        drop(problem);
        let numpy = with_plain.then(|| numpy(case, repeats.min(51))).flatten();
        let peak = child_peak(number, "ours");
        let plain_peak = with_plain.then(|| child_peak(number, "plain"));
        let show = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        println!(
            "| {}, {}, {} | {path} | {checked} | {:.3} | {} | {} | {} | {} | {:.0} | {:.0} % | {:.0} | {} | {:.2} |",
            case.0,
            case.1,
            case.2,
            ours * 1e3,
            show(plain.map(|plain| plain * 1e3), 3),
            show(plain.map(|plain| plain / ours), 2),
            show(numpy.map(|numpy| numpy * 1e3), 3),
            show(numpy.map(|numpy| numpy / ours), 2),
            rate / 1e9,
            100.0 * rate / product,
            peak / 1e6,
            show(plain_peak.map(|peak| peak / 1e6), 0),
            peak / bytes
        );
    }
}
