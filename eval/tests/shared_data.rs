//! Recall on real images against values from an independent implementation. The data is not part of the repository:
//! where it is absent (beside the checkout, or where `PDLOSS_SHARED` points), these tests are listed as ignored.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test program

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let shared = std::env::var_os("PDLOSS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let absent = !shared.join("data/expected.json").is_file();
    let trial = |name: &str, test: fn(&Path) -> Result<(), Failed>| {
        let shared = shared.clone();
        Trial::test(name, move || test(&shared)).with_ignored_flag(absent)
    };
    let trials = vec![
        trial("cub10_is_within_a_hundredth", cub10),
        trial("grocery_fine_and_coarse_are_within_a_hundredth", grocery),
        trial("lfw128_agrees_to_a_millionth", lfw128),
        trial("omniglot_is_read_from_inside_its_zip", omniglot),
        trial("the_full_lists_of_cub_parse", cub_lists),
        trial("cars196_without_classes_says_so", cars196),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn expected(shared: &Path, entry: &str) -> Result<serde_json::Value, Failed> {
    let text = std::fs::read(shared.join("data/expected.json"))?;
    Ok(serde_json::from_slice::<serde_json::Value>(&text)?[entry].clone())
}

/// Runs `recall` and returns its row.
fn recall(shared: &Path, arguments: &[&str]) -> Result<serde_json::Value, Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("result.json");
    let output = Command::new(env!("CARGO_BIN_EXE_pdloss-eval"))
        .current_dir(shared)
        .arg("recall")
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice::<serde_json::Value>(&std::fs::read(out)?)?[0].clone())
}

/// Every measure of the expectation that the result has, too, and at least `least` of them.
fn compare(
    result: &serde_json::Value,
    expected: &serde_json::Value,
    measures: &[&str],
    within: f64,
) -> Result<(), Failed> {
    for name in measures {
        let (got, want) = (result[name].as_f64(), expected[name].as_f64());
        let (got, want) = got.zip(want).ok_or_else(|| format!("{name}: {got:?} against {want:?}"))?;
        println!("{name}: {got} against {want}");
        let close = (got - want).abs() <= within;
        if !close {
            return Err(format!("{name}: {got}, wanted {want} within {within}").into());
        }
    }
    Ok(())
}

const MODEL: &str = "models/mobilenetv2_static_int8.onnx";

fn cub10(shared: &Path) -> Result<(), Failed> {
    let arguments = ["--model", MODEL, "--data", "data/cub10", "--split", "all", "--preset", "imagenet"];
    let result = recall(shared, &[&arguments[..], &["--runtime", "onnxruntime"]].concat())?;
    let expected = expected(shared, "cub10 + mobilenetv2_static_int8.onnx")?;
    compare(&result, &expected, &["images", "classes", "queries"], 0.0)?;
    compare(&result, &expected, &["recall@1", "map@r", "r_precision"], 0.01)
}

fn grocery(shared: &Path) -> Result<(), Failed> {
    for (label, name) in [("1", "fine"), ("2", "coarse")] {
        let arguments = ["--model", MODEL, "--data", "data/grocery/dataset/test.txt", "--label", label];
        let result = recall(shared, &[&arguments[..], &["--preset", "imagenet", "--runtime", "onnxruntime"]].concat())?;
        let expected = expected(shared, &format!("grocery test, {name} labels + mobilenetv2_static_int8.onnx"))?;
        compare(&result, &expected, &["images", "classes", "queries"], 0.0)?;
        compare(&result, &expected, &["recall@1", "map@r", "recall@8"], 0.01)?;
    }
    Ok(())
}

fn lfw128(shared: &Path) -> Result<(), Failed> {
    let files = ["--embeddings", "data/lfw128/LFW_tensor.bytes", "--labels", "data/lfw128/LFW_labels.tsv"];
    let result = recall(shared, &[&files[..], &["--dim", "128", "--k", "1,2,4,8,10,100"]].concat())?;
    let measures = ["recall@1", "recall@2", "recall@4", "recall@8", "recall@10", "recall@100", "r_precision", "map@r"];
    compare(&result, &expected(shared, "lfw128 (embeddings only)")?, &measures, 1e-6)
}

fn omniglot(shared: &Path) -> Result<(), Failed> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/embedder.onnx");
    let model = model.to_string_lossy();
    let data = "data/omniglot/images_background_small1.zip";
    let result = recall(shared, &["--model", &model, "--data", data, "--classes", "101-136"])?;
    compare(&result, &serde_json::json!({"images": 720, "classes": 36}), &["images", "classes"], 0.0)
}

fn cub_lists(shared: &Path) -> Result<(), Failed> {
    // The lists come without images: what is said of the first missing one shows that all lines were read.
    let error =
        recall(shared, &["--model", MODEL, "--data", "data/lists/cub-full", "--preset", "imagenet"]).unwrap_err();
    let message = format!("{:?}", error.message());
    if message.contains("lists 5924 images, 5924 of which are not there") { Ok(()) } else { Err(message.into()) }
}

fn cars196(shared: &Path) -> Result<(), Failed> {
    let arguments = ["--model", MODEL, "--data", "data/lists/cars196", "--preset", "imagenet"];
    let message = format!("{:?}", recall(shared, &arguments).unwrap_err().message());
    if message.contains("cars_test_annos_withlabels.mat") { Ok(()) } else { Err(message.into()) }
}
