//! What several tests use.

use std::path::{Path, PathBuf};
use std::process::Output;

use clap::Parser;
use pdloss::graph::build::{Dim, Element, Value, attribute, declare, floats, node};
use pdloss::graph::file;
use pdloss::graph::proto::{GraphProto, ModelProto, OperatorSetIdProto};
use pdloss_eval::commands::recall;
use pdloss_eval::commands::{Cli, Command};
use tempfile::TempDir;

/// The repository's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The program, to be given arguments.
pub(crate) fn program() -> std::process::Command {
    std::process::Command::new(env!("CARGO_BIN_EXE_pdloss"))
}

/// The program with these arguments, run to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// Runs the program, which must succeed; its standard output.
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the program, which must succeed; what it said on standard error.
pub(crate) fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    error
}

/// Runs the program, which must fail with this exit code and say each of these on standard error, and nothing of a panic.
pub(crate) fn fails(code: i32, arguments: &[&str], says: &[&str]) {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for words in says {
        assert!(error.contains(words), "{arguments:?}: wanted '{words}' in: {error}");
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A place for a run: a small backbone (and its manifest), and where the run goes.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) model: PathBuf,
    pub(crate) out: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, out) = (folder.path().join("backbone.onnx"), folder.path().join("run"));
        file::write(&backbone(), &model).unwrap();
        std::fs::write(model.with_extension("toml"), "resize = \"exact:16x16\"\nmean = [0.5]\nstd = [0.25]\n").unwrap();
        Self { folder, model, out }
    }

    /// `train` on the drawn shapes with these further arguments.
    pub(crate) fn arguments<'a>(&'a self, data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["train", "--model", text(&self.model), "--data", data, "--out", text(&self.out)];
        arguments.extend(["--threads", "2"]);
        arguments.extend(more);
        arguments
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// A table of the run, without the columns named; header first.
    pub(crate) fn table(&self, name: &str, without: &[&str]) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        let rows: Vec<Vec<String>> = text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let kept: Vec<usize> = (0..rows[0].len()).filter(|&at| !without.contains(&rows[0][at].as_str())).collect();
        rows.iter().map(|row| kept.iter().map(|&at| row[at].clone()).collect()).collect()
    }

    /// A column of a table as numbers.
    pub(crate) fn column(&self, table: &str, name: &str) -> Vec<f64> {
        let rows = self.table(table, &[]);
        let at = rows[0].iter().position(|column| column == name).unwrap();
        rows[1..].iter().map(|row| row[at].parse().unwrap()).collect()
    }
}

/// Recall@1 of a run's embedder on these classes, as `pdloss-eval recall` measures it.
pub(crate) fn measure(place: &Place, data: &Path, classes: &str) -> f64 {
    let (embedder, out) = (place.file("embedder.onnx"), place.folder.path().join("recall.json"));
    let files = ["--model", text(&embedder), "--data", text(data), "--out", text(&out)];
    let more = ["--classes", classes, "--runtime", "onnxruntime"];
    let cli = Cli::parse_from(["pdloss-eval", "recall"].into_iter().chain(files).chain(more));
    let Command::Recall(args) = cli.command else { unreachable!() };
    recall::Plan::new(&args).unwrap().run(&mut Vec::new()).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    rows[0]["recall@1"].as_f64().unwrap()
}

/// Images `[batch, 3, 16, 16]`, a convolution with BatchNormalization and Relu, the mean over the map, a linear layer to 8.
fn backbone() -> ModelProto {
    // Numbers that look random enough to start from.
    let drawn = |count: usize, scale: f64| -> Vec<f64> {
        let mut state = 12345_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5
        };
        (0..count).map(|_| scale * next()).collect()
    };
    let (width, dim) = (12, 8);
    let (batch, known) = (Dim::Named("batch".to_owned()), Dim::Known);
    let ints = |name: &str, values: &[i64]| attribute(name, Value::Ints(values.to_vec()));
    let convolution = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])];
    let tensor = |name: &str, shape: &[usize], values: &[f64]| floats(name, Element::F32, shape, values);
    let norm = ["conv.map", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    let graph = GraphProto {
        name: Some("backbone".to_owned()),
        node: vec![
            node("Conv", &["image", "conv.weight"], &["conv.map"], convolution),
            node("BatchNormalization", &norm, &["norm"], Vec::new()),
            node("Relu", &["norm"], &["relu.map"], Vec::new()),
            node("GlobalAveragePool", &["relu.map"], &["pooled"], Vec::new()),
            node("Flatten", &["pooled"], &["flat"], Vec::new()),
            node(
                "Gemm",
                &["flat", "linear.weight", "linear.bias"],
                &["embedding"],
                vec![attribute("transB", Value::Int(1))],
            ),
        ],
        initializer: vec![
            tensor("conv.weight", &[width, 3, 3, 3], &drawn(width * 27, 0.8)),
            tensor("norm.weight", &[width], &vec![1.0; width]),
            tensor("norm.bias", &[width], &vec![0.0; width]),
            tensor("norm.running_mean", &[width], &vec![0.0; width]),
            tensor("norm.running_var", &[width], &vec![1.0; width]),
            tensor("linear.weight", &[dim, width], &drawn(dim * width, 1.0)),
            tensor("linear.bias", &[dim], &vec![0.0; dim]),
        ],
        input: vec![declare("image", Element::F32, &[batch.clone(), known(3), known(16), known(16)])],
        output: vec![declare("embedding", Element::F32, &[batch, known(dim)])],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

/// A folder of `classes` x 8 images of 16x16. A class is a faint hue; what an untrained net sees is the brightness, which
/// differs from image to image.
pub(crate) fn hues(root: &Path, classes: u32) {
    for class in 0..classes {
        // Neighbours in number are no neighbours in hue.
        let angle = f64::from(class * 7 % classes) / f64::from(classes) * std::f64::consts::TAU;
        for number in 0..8_u32 {
            let bright = 60.0 + f64::from((class * 8 + number + 1).wrapping_mul(40_503) % 130);
            let color = [0.0, 2.1, 4.2].map(|phase| bright + 16.0 * (angle + phase).sin());
            let noise = |x: u32, y: u32| f64::from((x * 7 + y * 13 + number * 31) % 17);
            let pixel = |x: u32, y: u32| image::Rgb(color.map(|value| (value + noise(x, y)) as u8));
            let path = root.join(format!("class{class:02}/{number}.png"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_fn(16, 16, pixel).save(path).unwrap();
        }
    }
}
