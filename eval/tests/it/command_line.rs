//! The tool from outside: what it prints and writes.

use crate::tools::{fixtures, run, stderr, stdout, text};

/// Recall on the fixtures, with more arguments; must succeed.
fn recall(more: &[&str]) -> std::process::Output {
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let mut arguments = vec!["recall", "--model", text(&model), "--data", text(&data)];
    arguments.extend(more);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// The values under the header of the first table.
fn first_table(output: &std::process::Output) -> Vec<(String, String)> {
    let text = stdout(output);
    let mut lines = text.lines();
    let mut cells = || -> Vec<String> {
        lines.next().unwrap().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (header, _, values) = (cells(), cells(), cells());
    header.into_iter().zip(values).collect()
}

#[test]
fn the_table_is_the_same_on_both_runtimes_and_any_threads_and_batch() {
    let reference = first_table(&recall(&["--runtime", "onnxruntime"]));
    assert_eq!(reference[0], ("images".to_owned(), "160".to_owned()));
    assert_eq!(reference[3].0, "recall@1");
    for more in [
        ["--runtime", "tract", "--threads", "1", "--batch", "7"],
        ["--runtime", "onnxruntime", "--threads", "3", "--batch", "1"],
    ] {
        assert_eq!(first_table(&recall(&more)), reference, "{more:?}");
    }
}

#[test]
fn standard_error_says_which_runtime_and_standard_output_is_tables_only() {
    let output = recall(&["--runtime", "tract"]);
    assert!(stderr(&output).contains("runs on tract 0.23.9, cpu"), "{}", stderr(&output));
    assert!(stdout(&output).lines().all(|line| line.is_empty() || line.starts_with('|')));
    assert!(!stderr(&output).contains("ASSUMED"));
}

#[test]
fn the_version_of_tract_is_the_one_in_the_manifest() {
    assert!(include_str!("../../../embed/Cargo.toml").contains(r#"tract-onnx = "=0.23.9""#));
}

/// A copy of the tool in the `bin` of a folder of its own, which has no library beside or above itself.
fn tool_elsewhere() -> (tempfile::TempDir, impl Fn(&[&str]) -> std::process::Output) {
    let prefix = tempfile::tempdir().unwrap();
    let tool = prefix.path().join("bin/pdloss-eval");
    std::fs::create_dir(prefix.path().join("bin")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_pdloss-eval"), &tool).unwrap();
    let inspect = move |more: &[&str]| {
        let mut command = std::process::Command::new(&tool);
        for variable in ["ORT_DYLIB_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"] {
            command.env_remove(variable);
        }
        for variable in more.iter().filter_map(|word| word.split_once('=')) {
            command.env(variable.0, variable.1);
        }
        command.args(["inspect", "--model"]).arg(fixtures().join("embedder.onnx"));
        command.args(more.iter().filter(|word| !word.contains('='))).output().unwrap()
    };
    (prefix, inspect)
}

#[test]
fn without_a_library_auto_takes_tract_and_says_so() {
    let (_prefix, inspect) = tool_elsewhere();
    let auto = inspect(&[]);
    assert!(stderr(&auto).contains("runs on tract") && stderr(&auto).contains("was not found"), "{}", stderr(&auto));
    let missing = inspect(&["--runtime", "onnxruntime"]);
    assert_eq!(missing.status.code(), Some(1));
    for place in ["ORT_DYLIB_PATH", "beside the program", "Python environment", "pip install onnxruntime"] {
        assert!(stderr(&missing).contains(place), "{}", stderr(&missing));
    }
    let output = inspect(&["ORT_DYLIB_PATH=/no/such/library.so"]);
    assert!(stderr(&output).contains("ORT_DYLIB_PATH names /no/such/library.so"), "{}", stderr(&output));
}

#[test]
fn the_library_of_the_python_environment_is_taken() {
    let (prefix, inspect) = tool_elsewhere();
    let place = "lib/python3.12/site-packages/onnxruntime/capi";
    let (own, active) = (prefix.path().join(place), prefix.path().join("active").join(place));
    // Files that are no libraries: the error names the one that was opened.
    for folder in [&own, &active] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("libonnxruntime.so.1.32.0"), "no library").unwrap();
    }
    let environment = format!("VIRTUAL_ENV={}", text(&prefix.path().join("active")));
    let error = stderr(&inspect(&[&environment]));
    assert!(error.contains(text(&own)), "{error}");
    std::fs::remove_dir_all(own).unwrap();
    let error = stderr(&inspect(&[&environment]));
    assert!(error.contains(text(&active)), "{error}");
}

#[test]
fn completions_and_manual_pages_are_those_of_the_command_line() {
    let script = stdout(&run(&["completions", "bash"]));
    assert!(script.contains("--onnxruntime"), "{script}");
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    let output = run(&["man", text(&man)]);
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["pdloss-eval", "pdloss-eval-recall", "pdloss-eval-inspect"] {
        let page = man.join(format!("{name}.1"));
        assert!(stdout(&output).contains(text(&page)));
        assert!(std::fs::read_to_string(&page).unwrap().starts_with(".ie"), "{}", page.display());
    }
    let page = std::fs::read_to_string(man.join("pdloss-eval-recall.1")).unwrap();
    assert!(page.contains("pdloss\\-eval recall") && page.contains("onnxruntime"), "{page}");
}

#[test]
fn assumed_preprocessing_is_loud_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.onnx");
    std::fs::copy(fixtures().join("models/color.onnx"), &bare).unwrap();
    let data = fixtures().join("shapes");
    let out = folder.path().join("result.csv");
    let output = run(&["recall", "--model", text(&bare), "--data", text(&data), "--out", text(&out)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("PREPROCESSING IS ASSUMED"));
    assert!(std::fs::read_to_string(out).unwrap().contains(" of the imagenet preset"));
}

#[test]
fn result_files_hold_the_row_in_every_form() {
    use polars::prelude::{CsvReader, ParquetReader, SerReader};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let table = first_table(&recall(&["--out", text(&path("r.csv"))]));
    let csv = CsvReader::new(std::fs::File::open(path("r.csv")).unwrap()).finish().unwrap();
    recall(&["--out", text(&path("r.parquet"))]);
    let parquet = ParquetReader::new(std::fs::File::open(path("r.parquet")).unwrap()).finish().unwrap();
    recall(&["--out", text(&path("r.json"))]);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path("r.json")).unwrap()).unwrap();
    recall(&["--out", text(&path("r.md"))]);
    let markdown = std::fs::read_to_string(path("r.md")).unwrap();

    for (name, value) in table {
        // Figures for people are rounded; files hold every digit.
        let digits = i32::try_from(value.split_once('.').map_or(0, |(_, digits)| digits.len())).unwrap();
        let value: f64 = value.parse().unwrap();
        let near =
            |got: f64| assert!((got - value).abs() <= 0.500_001 * 10_f64.powi(-digits), "{name}: {got} for {value}");
        for frame in [&csv, &parquet] {
            near(frame.column(&name).unwrap().get(0).unwrap().try_extract::<f64>().unwrap());
        }
        near(json[0][&name].as_f64().unwrap());
        assert!(
            markdown.contains(&format!("| {name} ")) || markdown.contains(&format!(" {name} |")),
            "{name}: {markdown}"
        );
    }
    for column in ["model_sha256", "data_sha256", "preprocessing", "runtime_version", "index", "ties", "seconds_embed"]
    {
        assert!(json[0].get(column).is_some_and(|v| !v.is_null()), "{column}");
    }
    let digest = json[0]["model_sha256"].as_str().unwrap();
    let sums = std::fs::read_to_string(fixtures().join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{digest}  embedder.onnx")), "the digest is what sha256sum prints");
}

#[test]
fn kept_embeddings_measure_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kept.npy", "kept.safetensors"] {
        let kept = folder.path().join(name);
        let first = first_table(&recall(&["--save-embeddings", text(&kept)]));
        let again = run(&["recall", "--embeddings", text(&kept)]);
        assert!(again.status.success(), "{}", stderr(&again));
        assert_eq!(first_table(&again), first, "{name}");
    }
}

#[test]
fn an_approximate_index_is_marked_in_the_table() {
    let output = recall(&["--index", "IVF4,Flat"]);
    assert!(stdout(&output).contains("APPROXIMATE: finds 0."), "{}", stdout(&output));
}

#[test]
fn inspect_shows_the_model_and_puts_an_image_through_it() {
    let (model, image) = (fixtures().join("embedder.onnx"), fixtures().join("odd/cmyk.jpg"));
    for runtime in ["onnxruntime", "tract"] {
        let output = run(&["inspect", "--model", text(&model), "--image", text(&image), "--runtime", runtime]);
        assert!(output.status.success(), "{}", stderr(&output));
        let table = stdout(&output);
        for words in
            ["image FLOAT [?, 1, 48, 48]", "embedding FLOAT [?, 32]", "48x48, Nchw", "32 values", "resize=exact:48x48"]
        {
            assert!(table.contains(words), "wanted '{words}' in\n{table}");
        }
    }
}

#[test]
fn help_has_examples() {
    for command in ["recall", "verify", "scores", "report", "compare", "tabulate", "inspect"] {
        let output = run(&[command, "--help"]);
        assert!(output.status.success() && stdout(&output).contains("Examples:"));
    }
}

/// A reader that leaves early is no disaster, and no panic.
#[test]
fn a_closed_pipe_is_no_failure() {
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_pdloss-eval"))
        .args(["recall", "--model", text(&model), "--data", text(&data)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!stderr(&output).contains("error"), "{}", stderr(&output));
}
