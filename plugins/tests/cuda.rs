//! The CUDA operators on an emulated driver: kernels, launch sequences, driver and cuBLAS calls, in sessions of ONNX Runtime. No
//! GPU is involved; `gpu-check` is the test that needs one. A program of its own: the emulated driver stands in the process under
//! the real one's name.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/emulation.rs"]
mod emulation;

use std::{process::Command, sync::MutexGuard};

use anyhow::Result;
use common::{
    Numbers, Outputs, Problem, session,
    width::{Narrowed, Width, on_cuda},
};
use emulation::Emulation;
use ndarray::Array2;
use pdloss::{
    graph::{
        build::{Dim, Element, declare},
        proto::GraphProto,
    },
    loss::{self, Algorithm, Batch, Config},
    testing::{Case, Distribution},
};

fn run(emulation: &Emulation, problem: &Problem) -> Result<Outputs> {
    let mut session = session::open(emulation.builder()?, &problem.model())?;
    session::run(&mut session, problem.inputs())
}

fn hold(emulation: &Emulation, problem: &Narrowed) -> Result<(), String> {
    let outputs = emulation
        .builder()
        .and_then(|builder| session::open(builder, &problem.model()))
        .and_then(|mut session| session::run(&mut session, problem.inputs()));
    problem.check(&outputs.map_err(|error| error.to_string())?)
}

fn hold_all(emulation: &Emulation, width: Width) {
    let problems = on_cuda(width);
    assert!(problems.len() > 120, "only {} cases", problems.len());
    // The emulation is slow: a part of the cases for every change, all of them before a release.
    let every = match width {
        _ if std::env::var_os("PDLOSS_EVERY_CASE").is_some() => 1,
        Width::F32 => 3,
        Width::BF16 | Width::F16 => 6,
    };
    let problems: Vec<_> = problems.into_iter().step_by(every).collect();
    let report = |problem: &Narrowed| {
        let reason = hold(emulation, problem).err()?;
        Some(format!("{}: {reason}", problem.name()))
    };
    let failures: Vec<_> = problems.iter().filter_map(report).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), problems.len(), failures.join("\n"));
    assert_clean(emulation);
}

fn assert_clean(emulation: &Emulation) {
    assert!(emulation.handle_is_untouched(), "onnxruntime's cuBLAS handle was left changed");
    assert_eq!(emulation.held(), 0, "scratch buffers were left behind");
}

/// A shape of each path.
const GRAM: (usize, usize, usize) = (130, 200, 129);
const TILES: (usize, usize, usize) = (6, 700, 127);

fn one(shape: (usize, usize, usize), distribution: Distribution, proxies: bool) -> Problem {
    let case = Case::new(shape, distribution, Config::default());
    Problem { case, proxies, element: Element::F32, labels: Element::I64 }
}

fn emulation() -> MutexGuard<'static, Emulation> {
    Emulation::get()
}

#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn cases_in_float32() {
    hold_all(&emulation(), Width::F32);
}

#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn cases_in_bfloat16() {
    hold_all(&emulation(), Width::BF16);
}

#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn cases_in_float16() {
    hold_all(&emulation(), Width::F16);
}

/// More rows than a band holds: several bands and groups on the Gram path, several tiles on the other, and D-Loss.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn several_bands() {
    let emulation = emulation();
    without_tensor_cores(&emulation);
    for (problem, kernel, times) in [
        (one((40, 70_000, 64), Distribution::Clustered, true), "add_scatter", 3),
        (one((8, 40_000, 128), Distribution::NearlyParallel, true), "sum_tile", 2),
        (one((2500, 50, 8), Distribution::Clustered, false), "sum_tile", 2),
    ] {
        let forwards = if problem.proxies { 2 } else { 1 };
        let problem = Narrowed::new(problem, Width::F32);
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
        let log = emulation.log();
        let launched = log.iter().filter(|line| line.starts_with(kernel)).count();
        assert_eq!(launched, times * forwards, "{kernel}: {log:?}");
    }
    with_tensor_cores(&emulation);
    assert_clean(&emulation);
}

/// A device that has none: products are cuBLAS's.
fn without_tensor_cores(emulation: &Emulation) {
    emulation.new_context();
    emulation.capability(7);
}

fn with_tensor_cores(emulation: &Emulation) {
    emulation.new_context();
    emulation.capability(8);
}

/// The Gram path through cuBLAS, in f32: other devices, longer rows, or because the person wants it.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn the_gram_path_without_tensor_cores() {
    let emulation = emulation();
    without_tensor_cores(&emulation);
    let mut ran = 0;
    for problem in on_cuda(Width::F32) {
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
        let log = emulation.log();
        assert!(!log.iter().any(|line| line.starts_with("tensor")), "{log:?}");
        ran += usize::from(log.iter().any(|line| line.starts_with("add_scatter")));
        if ran == 25 {
            break;
        }
    }
    with_tensor_cores(&emulation);
    assert_eq!(ran, 25);
    assert_clean(&emulation);
}

/// Several tiles in a slab; two, three and more strips of columns; more columns than tensor cores are given.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn long_rows_and_many_of_them() {
    let emulation = emulation();
    for (shape, kernel) in [
        ((20, 9000, 20), "tensor_gradient_f32"),
        ((200, 200, 136), "tensor_gradient_f32"),
        ((130, 1500, 140), "tensor_gradient_f32"),
        ((300, 300, 260), "tensor_gradient_wide_f32"),
        ((520, 530, 515), "add_scatter"),
    ] {
        let problem = Narrowed::new(one(shape, Distribution::Clustered, true), Width::F32);
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
        let log = emulation.log();
        assert!(log.iter().any(|line| line.starts_with(kernel)), "{kernel}: {log:?}");
    }
    assert_clean(&emulation);
}

/// One label for all, and more samples than a block sorts: pieces of one class, and several runs that are merged.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn labels_are_sorted() {
    let emulation = emulation();
    let mut one_label = one((2500, 70, 5), Distribution::Random, true);
    one_label.case.labels.fill(3);
    for problem in [one_label, one((2500, 70, 5), Distribution::Clustered, true)] {
        let problem = Narrowed::new(problem, Width::F32);
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
        let log = emulation.log();
        let merges = log.iter().filter(|line| line.starts_with("merge_labels")).count();
        assert_eq!(merges, 2 * 2, "{log:?}");
    }
    assert_clean(&emulation);
}

/// Twice the same, and with threads and blocks in the opposite order: the same to the bit.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn no_order_changes_a_bit() {
    let emulation = emulation();
    for problem in [
        one((200, 80, 33), Distribution::Clustered, true),
        one(GRAM, Distribution::Random, true),
        one((20, 9000, 20), Distribution::Clustered, true),
        one(TILES, Distribution::NearlyParallel, true),
        one((60, 3, 129), Distribution::Clustered, false),
    ] {
        let bits = |outputs: Outputs| -> Vec<u64> { outputs.into_values().flatten().map(f64::to_bits).collect() };
        let first = bits(run(&emulation, &problem).expect("it runs"));
        let again = bits(run(&emulation, &problem).expect("it runs"));
        emulation.reverse(true);
        let reversed = bits(run(&emulation, &problem).expect("it runs"));
        emulation.reverse(false);
        assert!(first == again && first == reversed, "{}", problem.name());
    }
}

fn is_all(values: &[f64], wanted: f64) -> bool {
    values.iter().all(|&value| value.to_bits() & !(1 << 63) == wanted.to_bits())
}

#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn bad_labels_are_counted_and_harmless() {
    let emulation = emulation();
    // Both paths.
    for shape in [GRAM, TILES] {
        for labels in [Element::I64, Element::I32] {
            let mut problem = Problem { labels, ..one(shape, Distribution::Random, true) };
            let classes = i64::try_from(shape.1).expect("a small number");
            problem.case.labels[1] = -1;
            problem.case.labels[3] = classes;
            problem.case.labels[4] = if labels == Element::I64 { i64::MIN } else { i64::from(i32::MIN) };
            let outputs = run(&emulation, &problem).expect("it runs");
            assert!(outputs["loss"][0].is_nan() && outputs["fused_loss"][0].is_nan());
            assert_eq!(outputs["moments"][7], 3.0);
            for name in ["embeddings_grad", "proxies_grad", "fused_embeddings_grad", "fused_proxies_grad"] {
                assert!(is_all(&outputs[name], 0.0), "{name}");
            }
        }
    }
    // Negative labels are nothing bad where they are only compared; a batch without a pair of one kind has no index.
    let mut problem = one((40, 7, 64), Distribution::Random, false);
    problem.case.labels.iter_mut().for_each(|label| *label = -*label - 1);
    let outputs = run(&emulation, &problem).expect("it runs");
    assert!(outputs["loss"][0].is_finite());
    for labels in [vec![5; 40], (0..40).collect()] {
        problem.case.labels = labels;
        let outputs = run(&emulation, &problem).expect("it runs");
        assert!(outputs["loss"][0].is_nan() && outputs["moments"][4].is_nan());
        assert!(outputs["moments"][5] == 0.0 || outputs["moments"][6] == 0.0);
        assert!(is_all(&outputs["embeddings_grad"], 0.0));
    }
    assert_clean(&emulation);
}

#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn not_a_number_shows() {
    let emulation = emulation();
    for shape in [GRAM, TILES] {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for in_proxies in [false, true] {
                let mut problem = one(shape, Distribution::ZeroRows, true);
                let rows = if in_proxies { &mut problem.case.proxies } else { &mut problem.case.embeddings };
                rows[200] = poison;
                let outputs = run(&emulation, &problem).expect("it runs");
                assert!(outputs["loss"][0].is_nan(), "{poison} in proxies: {in_proxies}");
                // It reaches every row of both sides, those without a direction too.
                for name in ["embeddings_grad", "proxies_grad"] {
                    assert!(
                        outputs[name].iter().all(|value| value.is_nan()),
                        "{name}, {poison} in proxies: {in_proxies}"
                    );
                }
            }
        }
    }
}

/// All launches go to the stream that onnxruntime gave, and kernels are loaded once for each context.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn launches() {
    let emulation = emulation();
    let problem = one(GRAM, Distribution::Random, true);
    let mut before = Vec::new();
    for (major, image) in [(7, "load cubin"), (8, "load cubin"), (9, "load cubin"), (12, "load ptx")] {
        emulation.new_context();
        emulation.capability(major);
        run(&emulation, &problem).expect("it runs");
        let log = emulation.log();
        let (loads, launched): (Vec<_>, Vec<_>) = log.into_iter().partition(|line| line.starts_with("load"));
        assert_eq!(loads, [image], "capability {major}.x");
        assert!(launched.len() > 20 && launched.iter().all(|line| line.ends_with(&emulation.stream())), "{launched:?}");
        run(&emulation, &problem).expect("it runs");
        before = emulation.log();
        assert_eq!(before, launched, "a second run loads nothing and launches the same");
    }
    assert!(before.iter().any(|line| line.starts_with("prepare_f32 66,1,1 256 stream")), "{before:?}");
    emulation.capability(8);
}

/// `kernels/model.py` calculates with the launches that are really made: name by name, block by block, byte by byte.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn launches_are_those_of_the_model() {
    let emulation = emulation();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/model.py");
    for (shape, width, element) in [
        ((130, 200, 129), Width::F32, "f32"),
        ((1100, 70, 5), Width::F32, "f32"),
        ((40, 9000, 20), Width::F32, "f32"),
        ((130, 2000, 128), Width::BF16, "bf16"),
        ((300, 600, 260), Width::BF16, "bf16"),
        ((520, 560, 512), Width::F32, "f32"),
    ] {
        let (batch, classes, dim) = shape;
        let mut problem = one(shape, Distribution::Random, true);
        problem.case.labels = (0..batch).map(|sample| (sample % classes) as i64).collect();
        let problem = Narrowed::new(problem, width);
        let mut model = problem.model();
        let graph = model.graph.as_mut().expect("a graph");
        // The operator that does both, and what casts for it.
        let given = graph.input.iter().map(|input| input.name().to_owned()).collect::<Vec<_>>();
        graph.node.retain(|node| {
            node.output.iter().any(|name| name.starts_with("fused_loss"))
                || node.input.iter().any(|name| name.starts_with("fused"))
                || node.op_type() == "Cast" && node.input.iter().any(|name| given.contains(name))
        });
        graph.output.retain(|output| output.name().starts_with("fused"));
        let mut session = session::open(emulation.builder().expect("a builder"), &model).expect("it opens");
        emulation.log();
        emulation.count(true);
        let ran = session::run(&mut session, problem.inputs());
        emulation.count(false);
        ran.expect("it runs");
        let mut made: Vec<String> = Vec::new();
        for line in emulation.log().iter().filter(|line| !line.starts_with("load")) {
            match made.last_mut().filter(|_| line.starts_with("bytes")) {
                Some(launch) => *launch = format!("{launch} {line}"),
                None => made.push(line.split(' ').take(2).collect::<Vec<_>>().join(" ")),
            }
        }
        let shape = format!("{batch},{classes},{dim}");
        let output = Command::new("python3").args([script, "--launches", &shape, element]).output().expect("python3");
        let wanted: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        assert!(wanted.len() > 5, "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(made, wanted, "{shape} {element}");
    }
}

/// Slabs of many tiles, whose gradient starts at their ends, and Gram matrices of high parts alone.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn many_classes() {
    let emulation = emulation();
    for width in [Width::F32, Width::BF16] {
        let problem = Narrowed::new(one((24, 67_000, 6), Distribution::Clustered, true), width);
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
        let log = emulation.log();
        let slabs = log.iter().filter(|line| line.starts_with("sweep") && line.contains(" 132,1,1 ")).count();
        assert_eq!(slabs, 2, "{log:?}");
    }
    assert_clean(&emulation);
}

/// Rows are centred at a mean of 512 of them. Where those that a regular choice would take are all of another kind, no digit is lost.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn no_order_of_rows_makes_a_poor_centre() {
    let emulation = emulation();
    for (classes, dim) in [(8192, 12), (4096, 140)] {
        let mut problem = one((130, classes, dim), Distribution::NearlyParallel, true);
        for row in problem.case.proxies.chunks_mut(dim).step_by(classes / 512) {
            row.iter_mut().for_each(|value| *value = -*value);
        }
        let problem = Narrowed::new(problem, Width::F32);
        hold(&emulation, &problem).unwrap_or_else(|reason| panic!("{}: {reason}", problem.name()));
    }
    assert_clean(&emulation);
}

/// Whatever the driver answers, the run ends with a status that says which call failed, and the next run works.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn refusals_of_the_driver() {
    let emulation = emulation();
    let problem = one(GRAM, Distribution::Random, true);
    let refused = |words: &[&str]| {
        let error = run(&emulation, &problem).expect_err("it is refused").to_string();
        for word in words.iter().chain(&["PDLoss", "CUDA"]) {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
        assert_clean(&emulation);
    };
    for (function, code, words) in [
        ("cuDriverGetVersion", 3, &["version", "NOT_INITIALIZED"] as &[&str]),
        ("cuCtxGetCurrent", 100, &["context", "NO_DEVICE"]),
        ("cuStreamGetCtx", 709, &["stream", "CONTEXT_IS_DESTROYED"]),
        ("cuCtxSetCurrent", 201, &["context", "INVALID_CONTEXT"]),
        ("cuCtxGetId", 201, &["context"]),
        ("cuCtxGetDevice", 100, &["device", "NO_DEVICE"]),
        ("cuDeviceGetAttribute", 101, &["capability", "INVALID_DEVICE"]),
        ("cuThreadExchangeStreamCaptureMode", 1, &["capture"]),
        ("cuModuleLoadData", 209, &["loading the kernels", "NO_BINARY_FOR_GPU"]),
        ("cuModuleLoadData", 222, &["loading the kernels", "UNSUPPORTED_PTX_VERSION"]),
        ("cuModuleGetFunction", 500, &["kernel", "NOT_FOUND"]),
        ("cuLaunchKernel", 700, &["prepare_f32", "ILLEGAL_ADDRESS"]),
    ] {
        emulation.new_context();
        emulation.fail(function, code);
        refused(words);
        emulation.fail(function, 0);
        run(&emulation, &problem).unwrap_or_else(|error| panic!("after {function}: {error}"));
    }
    emulation.new_context();
    emulation.capability(6);
    refused(&["7.5", "6.x"]);
    emulation.capability(8);
    emulation.version(11080);
    refused(&["12.0", "11.8"]);
    emulation.version(12000);
    run(&emulation, &problem).expect("it runs");
}

/// The saved state is the CPU's, number by number: it may come from one and go to the other.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn the_saved_state_is_that_of_the_cpu() {
    let emulation = emulation();
    for (shape, path) in [(GRAM, Algorithm::Gram), (TILES, Algorithm::Tiles)] {
        let problem = one(shape, Distribution::Clustered, true);
        let case = &problem.case;
        let mut model = problem.model();
        let graph = model.graph.as_mut().expect("a graph");
        graph.output = vec![declare("saved", Element::F64, &[Dim::Unknown])];
        let mut session = session::open(emulation.builder().expect("a builder"), &model).expect("it opens");
        let got = session::run(&mut session, problem.inputs()).expect("it runs").remove("saved").expect("an output");

        let rows = |count, values: &Vec<f32>| Array2::from_shape_vec((count, case.dim), values.clone()).expect("rows");
        let (z, q) = (rows(case.batch, &case.embeddings), rows(case.classes, &case.proxies));
        let config = case.config.with_algorithm(path);
        let forward = loss::forward(
            &config,
            &Batch { embeddings: z.view(), proxies: q.view(), labels: &case.labels },
            &loss::Serial,
        )
        .expect("it computes");
        let parts = forward.saved.into_parts();
        let lengths = [case.batch, case.classes, case.dim].map(|length| length as f64);
        let mut wanted = vec![1.0, 0.0, 0.0, config.temperature(), config.floor(), config.eps()];
        wanted.extend(lengths.into_iter().chain([f64::from(u8::from(path == Algorithm::Gram))]));
        for part in [
            parts.embedding_reciprocals,
            parts.proxy_reciprocals,
            parts.embedding_mean,
            parts.proxy_mean,
            parts.genuine_cosines,
            parts.summaries,
        ] {
            wanted.extend(part);
        }
        wanted.extend(parts.embedding_scatter.iter().chain(&parts.proxy_scatter).map(|&value| f64::from(value)));
        assert_eq!(got.len(), wanted.len(), "{path}");
        for (at, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            assert!((got - wanted).abs() <= 1e-5 * wanted.abs().max(1.0), "{path}, number {at}: {got}, CPU {wanted}");
        }
    }
}

/// The saved state of other shapes is refused where its length tells, and where only the device could tell, all is NaN.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn somebody_elses_state() {
    let emulation = emulation();
    let problem = one((3, 5, 4), Distribution::Random, true);
    let mut session =
        session::open(emulation.builder().expect("a builder"), &common::gradient_alone()).expect("it opens");
    let mut run = |saved: Vec<f64>| {
        let mut inputs = problem.inputs();
        inputs.push(("moments", vec![8], Numbers::F64(vec![0.0; 8])));
        inputs.push(("saved", vec![saved.len()], Numbers::F64(saved)));
        session::run(&mut session, inputs)
    };
    let length = 10 + 2 * 3 + 5 + 2 * 4 + 6;
    let error = run(vec![0.0; length + 1]).expect_err("it is refused").to_string();
    assert!(error.contains("saved") && error.contains(&format!("[{length}]")), "{error}");
    let mut foreign = vec![0.5; length];
    foreign[..10].copy_from_slice(&[1.0, 0.0, 0.0, 1.0, 1.0, 1e-6, 3.0, 6.0, 4.0, 0.0]);
    for saved in [vec![0.0; length], vec![f64::NAN; length], foreign] {
        let outputs = run(saved).expect("it runs");
        assert!(outputs.values().flatten().all(|value| value.is_nan()));
    }
}

/// What is wrong with shapes is known without the device.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn shapes_are_refused() {
    let emulation = emulation();
    let rank = |count: usize| vec![Dim::Unknown; count];
    let graph = |operator: &str, proxies: bool| GraphProto {
        name: Some("loss".to_owned()),
        node: vec![common::ours(
            operator,
            if proxies { &["embeddings", "proxies", "labels"] } else { &["embeddings", "labels"] },
            &["loss"],
            Vec::new(),
        )],
        input: [("embeddings", Element::F32, 2), ("proxies", Element::F32, 2), ("labels", Element::I64, 1)]
            .into_iter()
            .filter(|(name, ..)| proxies || *name != "proxies")
            .map(|(name, element, count)| declare(name, element, &rank(count)))
            .collect(),
        output: vec![declare("loss", Element::F32, &[])],
        ..GraphProto::default()
    };
    let floats = |name, shape: [usize; 2]| (name, shape.to_vec(), Numbers::F32(vec![0.5; shape[0] * shape[1]]));
    for (z, q, words) in [
        ([0, 4], [5, 4], ["embeddings", "[0, 4]"]),
        ([3, 0], [5, 0], ["embeddings", "[3, 0]"]),
        ([3, 4], [1, 4], ["proxies", "[1, 4]"]),
        ([3, 4], [5, 6], ["proxies", "[5, 6]"]),
    ] {
        let model = common::model(graph("PDLoss", true));
        let mut session = session::open(emulation.builder().expect("a builder"), &model).expect("it opens");
        let labels = ("labels", vec![z[0]], Numbers::I64(vec![0; z[0]]));
        let inputs = vec![floats("embeddings", z), floats("proxies", q), labels];
        let error = session::run(&mut session, inputs).expect_err("it is refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let model = common::model(graph("DLoss", false));
    let mut session = session::open(emulation.builder().expect("a builder"), &model).expect("it opens");
    let inputs = vec![floats("embeddings", [1, 4]), ("labels", vec![1], Numbers::I64(vec![0]))];
    let error = session::run(&mut session, inputs).expect_err("it is refused").to_string();
    assert!(error.contains("embeddings") && error.contains("[1, 4]"), "{error}");
}
