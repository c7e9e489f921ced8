//! The tool from outside: what it prints and writes.

use crate::tools::{fails, fixtures, run, stderr, stdout, text};

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
    let part = "measures 160 images of 10 classes, part 'zero-shot (classes 11-20)' of ";
    assert!(stderr(&output).contains(part), "{}", stderr(&output));
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
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}

#[test]
fn what_a_name_suggests_fits_a_terminal_and_each_output_has_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("clip_resnet.onnx");
    std::fs::copy(fixtures().join("models/two_outputs.onnx"), &model).unwrap();
    let inspect = |more: &str| run(&["inspect", "--model", text(&model), "--suggest", "--output", "embedding", more]);
    let table = stdout(&inspect("--quiet"));
    assert!(table.contains("as CLIP is trained") && table.contains("--resize shorter:"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&inspect("--json"))).unwrap();
    assert!(json[0]["hint"].as_str().unwrap().contains("--mean 0.48145466"), "{json}");
    assert!(json[0]["declared output"].is_string() && json[0]["declared output 2"].is_string(), "{json}");
    // What two families are called by has a hint for each.
    for (name, hints) in [
        ("vit_base.onnx", &["--mean 0.5 --std 0.5", "hint 2"][..]),
        ("vit_siglip.onnx", &["--resize exact:", "as SigLIP is trained"]),
    ] {
        let model = folder.path().join(name);
        std::fs::copy(fixtures().join("models/two_outputs.onnx"), &model).unwrap();
        let table = stdout(&run(&["inspect", "--model", text(&model), "--suggest", "--output", "embedding", "--json"]));
        assert!(hints.iter().all(|hint| table.contains(hint)), "{table}");
    }
    // No flag says how a grey model wants its images; a manifest that is written so says that, too.
    let (model, manifest) = (folder.path().join("net.onnx"), folder.path().join("written.toml"));
    std::fs::copy(fixtures().join("backbone.onnx"), &model).unwrap();
    let arguments = ["inspect", "--model", text(&model), "--suggest", "--save-manifest", text(&manifest), "--json"];
    let table = stdout(&run(&arguments));
    assert!(table.contains("\"preprocessing_from\": \"ASSUMED: grey"), "{table}");
    assert!(std::fs::read_to_string(&manifest).unwrap().starts_with("# Preprocessing ASSUMED: grey"));
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

#[test]
fn help_is_short_and_there_is_more() {
    let (short, long) = (run(&["recall", "--help"]), run(&["recall", "--help-all"]));
    let (short, long) = (stdout(&short), stdout(&long));
    assert!(
        short.lines().count() < 70 && long.lines().count() > 120,
        "{} {}",
        short.lines().count(),
        long.lines().count()
    );
    assert!(short.contains("recall --model FILE.onnx --data PATH"), "{short}");
    assert!(short.contains("--save-run") && !short.contains("--antialias"), "{short}");
    assert!(long.contains("--antialias") && long.contains("Ties are broken"), "{long}");
    for (command, other) in [("train", "pdloss train"), ("export", "pdloss export")] {
        fails(2, &[command], &[other]);
    }
}

#[test]
fn quiet_says_only_results_and_verbose_says_what_was_run() {
    let quiet = recall(&["--quiet"]);
    assert_eq!(stderr(&quiet), "");
    let verbose = stdout(&recall(&["-v"]));
    assert!(verbose.contains("model_sha256") && verbose.trim_end().ends_with('|'), "{verbose}");
    let figures = verbose.lines().rev().nth(2).unwrap();
    assert!(figures.contains("recall@1"), "the figures come last: {figures}");
    assert!(!stdout(&quiet).contains("model_sha256"));
}

#[test]
fn what_is_written_is_named_with_its_size() {
    let folder = tempfile::tempdir().unwrap();
    // Folders above that of a run are made with it.
    let (out, kept) = (folder.path().join("r.json"), folder.path().join("runs/of/today"));
    let said = stderr(&recall(&["--out", text(&out), "--save-run", text(&kept)]));
    for path in [&out, &kept] {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("wrote {}", text(path))))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(line.ends_with("KiB)"), "{line}");
    }
}

#[test]
fn json_on_standard_output_is_the_file_of_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("r.json");
    let printed: serde_json::Value = serde_json::from_str(&stdout(&recall(&["--json", "--out", text(&out)]))).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(printed, written);
    let tabulated = stdout(&run(&["tabulate", text(&out), "--json"]));
    let rows: serde_json::Value = serde_json::from_str(&tabulated).unwrap();
    assert_eq!(rows[0]["recall@1"], written[0]["recall@1"]);
}

#[test]
fn flags_come_from_a_file_and_go_into_one() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let file = folder.path().join("flags.toml");
    std::fs::write(&file, format!("model = {:?}\ndata = {:?}\nk = [1, 3]\n", text(&model), text(&data))).unwrap();
    let table = first_table(&run(&["recall", "--config", text(&file)]));
    assert!(table.iter().any(|(name, _)| name == "recall@3"), "{table:?}");
    let over = first_table(&run(&["recall", "--config", text(&file), "--k", "5"]));
    assert!(over.iter().any(|(name, _)| name == "recall@5") && !over.iter().any(|(name, _)| name == "recall@3"));
    let printed = run(&["recall", "--config", text(&file), "--print-config"]);
    std::fs::write(&file, stdout(&printed)).unwrap();
    assert_eq!(first_table(&run(&["recall", "--config", text(&file)])), table);
    std::fs::write(&file, "kk = 3").unwrap();
    fails(2, &["recall", "--config", text(&file)], &["flags.toml", "kk", "no flag --kk"]);
    fails(1, &["recall", "--config", text(&folder.path().join("none.toml"))], &["none.toml"]);
}

#[test]
fn the_image_flag_has_another_name_and_its_old_one_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("r.json");
    for flag in ["--color", "--channels"] {
        let output = recall(&[flag, "gray", "--out", text(&out)]);
        assert_eq!(stderr(&output).contains("--channels gray now"), flag == "--color");
    }
    assert!(!stdout(&recall(&["--color", "always"])).is_empty(), "colours of output are another flag");
}

#[test]
fn the_best_of_several_ways_to_prepare_images_is_found_and_written() {
    let folder = tempfile::tempdir().unwrap();
    // Trained on whole images of 48x48; nothing beside it says so.
    let model = folder.path().join("embedder.onnx");
    std::fs::copy(fixtures().join("embedder.onnx"), &model).unwrap();
    let (data, manifest) = (fixtures().join("shapes"), folder.path().join("found.toml"));
    let wrong = ["--preset", "none", "--channels", "gray", "--resize", "exact:144x144", "--crop", "48x48"];
    let mut arguments = vec!["inspect", "--model", text(&model), "--suggest", "--data", text(&data)];
    arguments.extend(wrong);
    arguments.extend(["--save-manifest", text(&manifest), "--json"]);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(found[0]["preprocessing_from"].as_str().unwrap().starts_with("by labels: d' "), "{found}");
    let written = std::fs::read_to_string(&manifest).unwrap();
    assert!(written.contains("Chosen by labels") && !written.contains("144x144"), "{written}");

    // A canvas that images do not fit is no way, and is not judged by those that do fit.
    let notes = found[0]["notes"].as_str().unwrap();
    assert!(notes.contains("ways have no d'") || notes.contains("1 way has no d'"), "{found}");

    // Measuring with the wrong one says that there is a better.
    let mut arguments = vec!["recall", "--model", text(&model), "--data", text(&data), "--json"];
    arguments.extend(wrong);
    let output = run(&arguments);
    assert!(stderr(&output).contains("PREPROCESSING MAY BE WRONG"), "{}", stderr(&output));
    let result: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(result[0]["notes"].as_str().unwrap().contains("inspect --suggest"), "{result}");
    // Without a word on it, a search begins, also where images are grey.
    let bare = ["inspect", "--model", text(&model), "--suggest", "--data", text(&data), "--sample", "50"];
    let output = run(&bare);
    assert!(output.status.success() && stdout(&output).contains("Best: "), "{}", stderr(&output));
    let table = stdout(&output);
    assert!(table.contains("| unchanged ") && !table.contains("as it is"), "{table}");
    let mut ways: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let count = ways.len();
    ways.sort_unstable();
    ways.dedup();
    assert_eq!(ways.len(), count, "each says all that it changes: {table}");
    let manifest = ["recall", "--model", text(&model), "--data", text(&data), "--preprocess", text(&manifest)];
    assert!(!stderr(&run(&manifest)).contains("MAY BE WRONG"));
}

/// What a model takes and gives does not hang on how its images are made.
#[test]
fn a_model_whose_preprocessing_is_not_known_is_described_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("grey.onnx");
    std::fs::copy(fixtures().join("embedder.onnx"), &model).unwrap();
    let output = run(&["inspect", "--model", text(&model)]);
    assert_eq!(output.status.code(), Some(1));
    let (shown, said) = (stdout(&output), stderr(&output));
    assert!(shown.contains("opset") && shown.contains("declared output") && shown.contains("[?, 32]"), "{shown}");
    assert!(said.contains("give --channels gray"), "{said}");
}
