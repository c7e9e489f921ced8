//! Results that were changed by hand, put together of several runs, or are of other tools: refused, or said, and never the best.

use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, ParquetReader, ParquetWriter, SerReader};

use crate::tools::{fails, fixtures, put, run, stderr, stdout, text};

/// Runs the tool, which must succeed and say each of these on standard error; both streams.
fn says(arguments: &[&str], words: &[&str]) -> (String, String) {
    let output = run(arguments);
    let error = stderr(&output);
    assert!(output.status.success(), "{arguments:?}: {error}");
    words.iter().for_each(|words| assert!(error.contains(words), "{arguments:?}: wanted '{words}' in: {error}"));
    (stdout(&output), error)
}

/// Runs the tool, which must have nothing to say but what all of these runs said of themselves.
fn is_quiet(arguments: &[&str]) -> String {
    let (printed, error) = says(arguments, &[]);
    let own: Vec<&str> = error.lines().filter(|line| !line.starts_with("all 2 results: measured together")).collect();
    assert!(own.is_empty(), "{arguments:?}: {own:?}");
    printed
}

/// A result with these columns beside the usual ones.
fn result(folder: &Path, name: &str, columns: &str) -> String {
    let path = folder.join(name);
    put(
        &path,
        format!("[{{\"model\":\"{name}\",\"data\":\"/d/cub\",\"data_sha256\":\"1\",\"part\":\"test\",{columns}}}]"),
    );
    text(&path).to_owned()
}

#[test]
fn shares_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, columns: &str| result(folder.path(), name, columns);
    for (name, value) in
        [("recall@1", "41.2"), ("recall@1", "-0.1"), ("eer", "\"inf\""), ("tar@far=0.01", "99"), ("map@r", "1.01")]
    {
        let file = at("a.json", &format!("\"{name}\":{value}"));
        fails(
            1,
            &["tabulate", &file],
            &["a.json", "row 1", name, "wanted a number from 0 to 1", "a percentage is divided by 100"],
        );
    }
    let (csv, parquet) = (folder.path().join("a.csv"), folder.path().join("a.parquet"));
    put(&csv, "model,recall@1\na,0.4\nb,41\n");
    fails(1, &["tabulate", text(&csv)], &["a.csv", "row 2", "recall@1 is 41"]);
    write(&parquet, DataFrame::new(2, vec![Column::new("auc".into(), [0.4, 40.0])]).unwrap());
    fails(1, &["tabulate", text(&parquet)], &["a.parquet", "row 2", "auc is 40"]);
    fails(1, &["report", text(&csv), "--out", text(&folder.path().join("page.html"))], &["recall@1 is 41"]);
    // What has no such bounds stays as it is.
    is_quiet(&["tabulate", &at("b.json", "\"recall@1\":1.0000000000000002,\"d_prime\":-3,\"act_dcf@prior=0.01\":7")]);
}

#[test]
fn figures_over_other_queries_or_pairs_are_not_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, columns: &str| result(folder.path(), name, columns);
    let recall = |of: &str, value: f64| format!("\"measure\":\"recall\",\"copies\":2,{of},\"recall@1\":{value}");
    let usual = "\"queries\":160,\"gallery\":160,\"copies_counted\":false";
    let a = at("a.json", &recall(usual, 0.4));
    let b = at("b.json", &recall(usual, 0.3));
    assert!(is_quiet(&["tabulate", &a, &b]).contains("**0.4000**"));
    for (at_, other) in ["160", "false"].into_iter().enumerate() {
        let other = usual.replacen(other, if at_ == 0 { "20" } else { "true" }, 1);
        let c = at("c.json", &recall(&other, 0.9));
        let differ = if at_ == 0 { "queries" } else { "copies_counted" };
        let said = [&format!("'cub' is 2 different data (they differ in {differ})"), "not to be compared"];
        let (printed, _) = says(&["tabulate", &a, &c], &said);
        assert!(!printed.contains("**"), "{printed}");
        let (_, error) = says(&["tabulate", &a, &b, &c, "--sort", "recall@1"], &said);
        assert!(error.contains("--sort recall@1: measured on 2 different data"), "{error}");
    }
    let verify = |pairs: &str, eer: f64| format!("\"measure\":\"verification\",{pairs},\"eer\":{eer}");
    let d = at("d.json", &verify("\"genuine_pairs\":30,\"impostor_pairs\":300", 0.2));
    let e = at("e.json", &verify("\"genuine_pairs\":29,\"impostor_pairs\":300", 0.1));
    let (printed, _) = says(&["tabulate", &d, &e], &["'cub' is 2 different data"]);
    assert!(!printed.contains("**"), "{printed}");
    let pivot = says(&["tabulate", &d, &e, "--pivot", "dataset", "--measure", "eer"], &[]).0;
    assert!(!pivot.contains("**"), "{pivot}");
}

#[test]
fn what_is_no_number_comes_last_and_is_not_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, value: &str| result(folder.path(), name, &format!("\"recall@1\":{value},\"eer\":{value}"));
    let files = [at("a.json", "0.4"), at("n.json", "\"NaN\""), at("b.json", "0.6"), at("m.json", "null")];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for (by, order) in [("recall@1", "ban"), ("-recall@1", "abn"), ("eer", "abn"), ("-eer", "ban")] {
        let printed = is_quiet(&[&["tabulate"], &files[..], &["--sort", by, "--columns", "result,recall@1"]].concat());
        let found: String =
            printed.lines().filter_map(|line| line.strip_prefix("| ")?.chars().next()).skip(1).collect();
        assert!(found.replace(['-', 'm'], "").starts_with(order), "{by}: {found}");
        assert!(printed.contains("**0.6000**") && !printed.contains("**NaN"), "{printed}");
    }
}

#[test]
fn other_tools_tables_are_refused_or_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, content: &str| {
        put(folder.path().join(name), content);
        text(&folder.path().join(name)).to_owned()
    };
    for other in ["model;recall@1\na;0,5\n", "model\trecall@1\na\t0.5\n", "model|recall@1\na|0.5\n"] {
        fails(
            1,
            &["tabulate", &at("a.csv", other)],
            &["a.csv", "wanted a table whose cells commas part, and 0.5 for 0,5"],
        );
    }
    let own = result(folder.path(), "own.json", "\"recall@1\":0.4,\"map@r\":0.2,\"d_prime\":1.5");
    for (name, wanted) in [("Recall@1", "recall@1"), ("MAP@R", "map@r"), ("D_Prime", "d_prime"), ("d-prime", "d_prime")]
    {
        let csv = at("b.csv", &format!("model,{name},recall@2\na,0.9,0.95\n"));
        says(&["tabulate", &own, &csv], &[&format!("column '{name}' is not '{wanted}'")]);
    }
    for none in ["[{\"model\":\"m\",\"score\":3,\"top1\":0.4}]", "[{}]", "[{\"f1\":0.5}]"] {
        says(&["tabulate", &own, &at("c.json", none)], &["c.json has no figure that is known; its columns are"]);
    }
    let (one, two) = (at("d.csv", "model,recall@1\na,0.4\n"), at("e.csv", "model,recall@1\nb,0.5\n"));
    says(&["tabulate", &one, &two], &["2 results do not say on which data they were measured", "which nobody checked"]);
    is_quiet(&["tabulate", &one]);
}

/// Makes other numbers of a column of a parquet file.
fn change(path: &Path, column: &str, change: impl Fn(f64) -> f64) {
    let mut table = ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap();
    let values: Vec<f64> = table.column(column).unwrap().f64().unwrap().iter().map(|v| change(v.unwrap())).collect();
    table.with_column(Column::new(column.into(), values)).unwrap();
    write(path, table);
}

fn write(path: &Path, mut table: DataFrame) {
    ParquetWriter::new(std::fs::File::create(path).unwrap()).finish(&mut table).unwrap();
}

/// The run's folder once more, of whose files `change` makes others.
fn copy_of(run: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let to = run.with_file_name("copy");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(run).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    change(&to);
    to
}

/// Two kept runs, of two models.
fn runs(folder: &Path, command: &[&str]) -> [PathBuf; 2] {
    ["embedder", "backbone"].map(|name| {
        let (model, data, out) =
            (fixtures().join(format!("{name}.onnx")), fixtures().join("shapes"), folder.join(name));
        let flags = ["--model", text(&model), "--data", text(&data), "--classes", "11-14", "--save-run", text(&out)];
        let output = run(&[command, &flags].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        out
    })
}

#[test]
fn a_kept_run_of_verification_is_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = runs(folder.path(), &["verify", "--all-pairs"]);
    is_quiet(&["tabulate", text(&a), text(&b)]);
    let doubt = "one of the two is not of this run, or was changed";
    for (file, of) in [("result.json", "mu_genuine"), ("pairs.parquet", "mu_impostor"), ("points.parquet", "eer")] {
        let mixed = copy_of(&b, |to| put(to.join(file), std::fs::read(a.join(file)).unwrap()));
        says(&["tabulate", text(&mixed)], &[&format!("says {of} "), doubt]);
    }
    let with = |other: &dyn Fn(f64) -> f64| copy_of(&b, |to| change(&to.join("pairs.parquet"), "score", other));
    says(&["tabulate", text(&with(&|score| -score))], &[doubt]);
    for kind in [f64::NAN, f64::INFINITY] {
        let damaged = with(&|_| kind);
        for command in [&["tabulate", text(&damaged)][..], &["compare", text(&a), text(&damaged)]] {
            fails(1, command, &["pairs.parquet", "column 'score', row 1", "wanted a finite number"]);
        }
    }
}

#[test]
fn a_kept_run_of_recall_is_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = runs(folder.path(), &["recall", "--k", "1,2"]);
    is_quiet(&["tabulate", text(&a), text(&b)]);
    for (file, words) in [
        ("neighbours.parquet", "have their first hit at another rank than among the neighbours beside them"),
        ("points.parquet", "says eer "),
        ("queries.parquet", "says recall@1 "),
    ] {
        let mixed = copy_of(&b, |to| put(to.join(file), std::fs::read(a.join(file)).unwrap()));
        says(&["tabulate", text(&mixed)], &[words, "one of the two is not of this run, or was changed"]);
    }
    for value in [f64::NAN, f64::INFINITY, 1.5, -0.5] {
        let damaged = copy_of(&b, |to| change(&to.join("queries.parquet"), "r_precision", |_| value));
        let wanted = ["queries.parquet", "column 'r_precision', row 1", "wanted a share from 0 to 1"];
        for command in [&["tabulate", text(&damaged)][..], &["compare", text(&a), text(&damaged)]] {
            fails(1, command, &wanted);
        }
    }
    let doubled = copy_of(&b, |to| {
        let rows = [a.join("result.json"), b.join("result.json")].map(|path| std::fs::read_to_string(path).unwrap());
        let [one, two] = rows.each_ref().map(|text| text.trim().trim_start_matches('[').trim_end_matches(']'));
        put(to.join("result.json"), format!("[{one},{two}]"));
    });
    for command in [&["tabulate", text(&doubled)][..], &["compare", text(&a), text(&doubled)]] {
        fails(1, command, &["result.json", "has 2 rows; wanted the one of the run beside it"]);
    }
    let without = copy_of(&b, |to| {
        let path = to.join("result.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"data_sha256\"", "\"digest\"");
        put(path, text);
    });
    says(&["compare", text(&a), text(&without), "--draws", "100"], &["B does not say data_sha256"]);
}

#[test]
fn rows_of_training_are_in_order_and_a_run_that_has_not_ended_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let kept = fixtures().join("v0.1/train-run");
    let with = |file: &str, change: &dyn Fn(&str) -> String| {
        let to = folder.path().join("run");
        for name in ["metrics.csv", "validation.csv", "run.toml"] {
            let text = std::fs::read_to_string(kept.join(name)).unwrap();
            put(to.join(name), if name == file { change(&text) } else { text });
        }
        text(&to).to_owned()
    };
    let whole = with("", &str::to_owned);
    let printed = says(&["tabulate", &whole, "--columns", "result,steps,last recall@1"], &[]).0;
    let ended = std::fs::read_to_string(kept.join("metrics.csv")).unwrap().lines().count() - 1;
    assert_eq!(ended, 4, "{printed}");
    is_quiet(&["tabulate", &whole]);

    let twice = |text: &str| format!("{text}{}\n", text.lines().nth(1).unwrap());
    let turned = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines[1..].reverse();
        lines.join("\n") + "\n"
    };
    let doubled = |text: &str| format!("{text}{}\n", text.lines().last().unwrap());
    for change in [&twice as &dyn Fn(&str) -> String, &turned, &doubled] {
        for file in ["metrics.csv", "validation.csv"] {
            let wanted = [file, "comes after step", "wanted each step once, in their order"];
            fails(1, &["tabulate", &with(file, change)], &wanted);
        }
    }
    for (file, word) in [("validation.csv", "\"0,5\""), ("validation.csv", "50%"), ("metrics.csv", "n/a")] {
        let worded = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let last = lines.last_mut().unwrap();
            let mut cells: Vec<&str> = last.split(',').collect();
            cells[2] = word;
            *last = cells.join(",");
            lines.join("\n") + "\n"
        };
        fails(1, &["tabulate", &with(file, &worded)], &[file, "among its numbers; wanted a number"]);
    }
    let percent = |text: &str| text.replace(",0.59375,", ",59.375,");
    fails(1, &["tabulate", &with("validation.csv", &percent)], &["recall@1 is 59.375"]);

    let short = |text: &str| text.lines().take(3).collect::<Vec<_>>().join("\n") + "\n";
    says(&["tabulate", &with("metrics.csv", &short)], &["metrics.csv ends at step 2 and validation.csv at 4"]);
    let empty = |text: &str| {
        let last = text.lines().last().unwrap();
        let cells: Vec<&str> = last.split(',').collect();
        text.replace(last, &format!("{},{},,{},{}", cells[0], cells[1], cells[3], cells[4]))
    };
    says(
        &["tabulate", &with("validation.csv", &empty)],
        &["'last recall@1' is of step 2: validation.csv has none at step 4"],
    );
    let longer = |text: &str| text.replace("steps = 4\n", "steps = 400\n");
    says(&["tabulate", &with("run.toml", &longer)], &["4 of 400 steps are made: the run is not at its end"]);
    let epochs = |text: &str| text.replace("steps = 4\n", "epochs = 2.5\n");
    says(&["tabulate", &with("run.toml", &epochs)], &["4 of 20 steps are made"]);
    let stale = |text: &str| longer(text).replace("keep = \"last\"", "keep = \"last\"\npatience = 9");
    let patient = with("run.toml", &stale);
    says(&["tabulate", &patient], &["4 of 400 steps are made"]);
    let manifest = Path::new(&patient).join("run.toml");
    put(&manifest, std::fs::read_to_string(&manifest).unwrap().replace("patience = 9", "patience = 1"));
    says(&["tabulate", &patient], &["4 of 400 steps are made"]);
    put(
        Path::new(&patient).join("validation.csv"),
        "step,epoch,recall@1,map@r,queries\n0,0,0.5,0.2,32\n4,0,0.5,0.2,32\n",
    );
    is_quiet(&["tabulate", &patient]);
}

#[test]
fn a_development_list_that_cannot_be_one_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, scores: &dyn Fn(u32) -> f64| {
        let path = folder.path().join(name);
        put(&path, (0..40).map(|n| format!("{}\n", scores(n))).collect::<String>());
        text(&path).to_owned()
    };
    let wave = |n: u32| f64::from(n * 17 % 40) / 40.0;
    let (genuine, impostor) = (at("g", &|n| wave(n) + 0.3), at("i", &wave));
    let (dev_genuine, dev_impostor) = (at("dg", &|n| wave(n) + 0.31), at("di", &|n| wave(n) + 0.01));
    let (far_genuine, far_impostor) = (at("fg", &|n| 90.0 + 5.0 * wave(n)), at("fi", &|n| 88.0 + 5.0 * wave(n)));
    let (low_genuine, low_impostor) = (at("lg", &|n| wave(n) - 8.0), at("li", &|n| wave(n) - 8.4));
    let with = |dev_genuine: &str, dev_impostor: &str, words: &[&str]| {
        let lists = ["--dev-genuine", dev_genuine, "--dev-impostor", dev_impostor];
        says(&[&["scores", "--genuine", &genuine, "--impostor", &impostor], &lists[..]].concat(), words).1
    };
    assert!(!with(&dev_genuine, &dev_impostor, &[]).contains("development list"));
    with(&dev_impostor, &dev_genuine, &["development list: the scores look swapped"]);
    with(&far_genuine, &far_impostor, &["accepts no pairs of the list that is measured: are both on one scale?"]);
    with(&low_genuine, &low_impostor, &["accepts all pairs of the list that is measured"]);
    with(&genuine, &impostor, &["its scores are those that are measured"]);
}
