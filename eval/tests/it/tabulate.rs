//! `tabulate`: results of several runs in one table.

use clap::Parser;
use pdloss_eval::Result;
use pdloss_eval::commands::tabulate;
use pdloss_eval::commands::{Cli, Command};
use pdloss_eval::table::{Record, Value};

use crate::tools::{fails, put, text};

fn run(args: &[&str]) -> Result<(Vec<Record>, String)> {
    let cli = Cli::try_parse_from([&["pdloss-eval", "tabulate"], args].concat()).unwrap_or_else(|e| panic!("{e}"));
    let Command::Tabulate(args) = &cli.command else { panic!("tabulate") };
    let mut printed = Vec::new();
    let rows = tabulate::run(args, &mut printed)?;
    Ok((rows, String::from_utf8(printed).unwrap()))
}

/// Four results of two models on two data sets, in two kinds of file.
struct Results(tempfile::TempDir);

impl Results {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let result = |model: &str, data: &str, recall: f64, eer: &str| {
            format!(
                "{{\"measure\":\"recall\",\"model\":\"models/{model}.onnx\",\"data\":\"sets/{data}\",\
                 \"recall@1\":{recall},\"map@r\":0.25,\"eer\":{eer},\"images\":543}}"
            )
        };
        let put = |name: &str, content: String| put(folder.path().join(name), content);
        put("a.json", format!("[{}]", result("small_a&b", "cub", 0.41, "null")));
        put("b.json", format!("[{}]", result("large", "cub", 0.43, "0.1")));
        put("c.json", format!("[{}]", result("small_a&b", "sop%", 0.9, "0.2")));
        put("d.csv", "model,data,recall@1\nmodels/large.onnx,sets/sop%,0.85\n".into());
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, more: &[&str]) -> Result<(Vec<Record>, String)> {
        let files = ["a.json", "b.json", "c.json", "d.csv"].map(|name| self.path(name));
        run(&[&files.each_ref().map(String::as_str)[..], more].concat())
    }
}

fn words(rows: &[Record], column: &str) -> Vec<String> {
    rows.iter().map(|row| row.get(column).map(Value::word).unwrap_or_default()).collect()
}

#[test]
fn results_are_sorted_filtered_and_the_best_is_bold() {
    let results = Results::new();
    let (rows, printed) = results.run(&["--sort", "recall@1"]).unwrap();
    assert_eq!(words(&rows, "recall@1"), ["0.9", "0.85", "0.43", "0.41"]);
    assert_eq!(words(&rows, "images"), ["543", "", "543", "543"]);
    // the best of each data set: of cub and of sop, whose only EERs are not ranked against each other
    assert!(printed.contains("| **0.9000** |") && printed.contains("| **0.4300** |"), "{printed}");
    assert!(printed.contains("|   0.8500 |") || printed.contains("|     0.8500 |"), "{printed}");
    assert!(printed.contains(" 0.1000 |") && !printed.contains("**0.1000**"), "{printed}");
    assert!(printed.contains("small_a&amp;b.onnx") && !printed.contains("543"), "{printed}");
    assert_eq!(words(&results.run(&["--sort", "-recall@1"]).unwrap().0, "recall@1")[0], "0.41");
    // what is missing comes last, whichever way
    assert_eq!(words(&results.run(&["--sort", "-eer"]).unwrap().0, "eer"), ["0.2", "0.1", "", ""]);
    let (rows, _) = results.run(&["--where", "dataset=CUB", "--where", "recall@1>0.42"]).unwrap();
    assert_eq!(words(&rows, "model"), ["models/large.onnx"]);
    let (rows, _) = results.run(&["--columns", "recall@*,dataset"]).unwrap();
    assert_eq!(Record::columns(&rows), ["recall@1", "dataset"]);
}

#[test]
fn data_sets_become_columns() {
    let results = Results::new();
    let (rows, printed) = results.run(&["--pivot", "dataset", "--sort", "cub"]).unwrap();
    assert_eq!(Record::columns(&rows), ["model", "cub", "sop%"]);
    assert_eq!([words(&rows, "cub"), words(&rows, "sop%")], [["0.43", "0.41"], ["0.85", "0.9"]]);
    assert!(printed.contains("**0.4300**") && printed.contains("**0.9000**"), "{printed}");
    let (rows, _) = results.run(&["--pivot", "dataset", "--measure", "recall@1,map@r"]).unwrap();
    assert_eq!(Record::columns(&rows), ["model", "cub recall@1", "cub map@r", "sop% recall@1", "sop% map@r"]);
}

#[test]
fn every_kind_of_file_is_written() {
    let results = Results::new();
    for name in ["t.csv", "t.json", "t.parquet"] {
        let (rows, _) = results.run(&["--out", &results.path(name)]).unwrap();
        let (again, _) = run(&[&results.path(name)]).unwrap();
        assert_eq!(words(&again, "recall@1"), words(&rows, "recall@1"), "{name}");
        assert_eq!(words(&again, "result"), words(&rows, "result"), "{name}");
    }
    results.run(&["--pivot", "dataset", "--out", &results.path("t.tex"), "--digits", "3"]).unwrap();
    let latex = std::fs::read_to_string(results.path("t.tex")).unwrap();
    assert!(latex.contains("model & cub & sop\\% \\\\\n\\midrule\n"), "{latex}");
    assert!(latex.contains("small\\_a\\&b.onnx & 0.410 & \\textbf{0.900} \\\\"), "{latex}");
    results.run(&["--out", &results.path("t.md")]).unwrap();
    assert!(std::fs::read_to_string(results.path("t.md")).unwrap().contains("**0.9000**"));
}

#[test]
fn rows_on_other_data_are_not_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let row = |digest: &str, part: &str, pairs: &str, eer: f64| {
        format!(
            "{{\"measure\":\"verification\",\"model\":\"m\",\"data\":\"lfw\",\"data_sha256\":\"{digest}\",\"part\":\"{part}\",\
             \"pairs_sha256\":\"{pairs}\",\"eer\":{eer}}}"
        )
    };
    let rows = [
        row("a", "all", "x", 0.4),
        row("a", "all", "x", 0.3),
        row("b", "all", "x", 0.01),
        row("a", "test", "x", 0.02),
        row("a", "all", "y", 0.03),
    ];
    put(path("r.json"), format!("[{}]", rows.join(",")));
    let (_, printed) = run(&[&path("r.json")]).unwrap();
    assert!(printed.contains("**0.3000**") && printed.matches("**").count() == 2, "{printed}");
    let output = crate::tools::run(&["tabulate", &path("r.json"), "--sort", "eer"]);
    let said = crate::tools::stderr(&output);
    assert!(said.contains("--sort eer: measured on 4 different data"), "{said}");
    // the same rule in every cell of a pivoted table
    put(path("p.json"), format!("[{},{}]", rows[0].replace("\"m\"", "\"n\""), rows[2]));
    let (_, printed) = run(&[&path("p.json"), "--pivot", "dataset", "--measure", "eer"]).unwrap();
    assert!(!printed.contains("**"), "{printed}");
}

/// The page of these results, as text.
fn page(folder: &std::path::Path, results: &[&str]) -> String {
    let out = folder.join("page.html");
    let output = crate::tools::run(&[&["report"], results, &["--out", text(&out), "--no-images"]].concat());
    assert!(output.status.success(), "{}", crate::tools::stderr(&output));
    std::fs::read_to_string(out).unwrap()
}

#[test]
fn rows_that_were_measured_otherwise_are_not_ranked_and_show_what_they_differ_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let table = |rows: &[String]| {
        put(path("r.json"), format!("[{}]", rows.join(",")));
        run(&[&path("r.json")]).unwrap().1
    };
    let row = |measure: &str, own: &str, figure: &str, value: f64| {
        format!(
            "{{\"measure\":\"{measure}\",\"model\":\"m\",\"data\":\"cub\",\"data_sha256\":\"a\",{own},\"{figure}\":{value}}}"
        )
    };
    // A column that says how a figure was measured, of two values, and what stands in the head of the table for it.
    for (measure, figure, column, shown) in [
        ("recall", "map_revisited", "setup", "setup"),
        ("recall", "recall@1", "corruption", "corruption"),
        ("recall", "recall@1", "severity", "severity"),
        ("recall", "recall@1", "corruption_seed", "corruption_seed"),
        ("recall", "recall@1", "gallery_list_sha256", "gallery_list_sha256"),
        ("recall", "recall@1", "probe_list_sha256", "probe_list_sha256"),
        ("recall", "recall@1", "ground_truth_sha256", "ground_truth_sha256"),
        ("verification", "eer", "templates_sha256", "templates_sha256"),
        ("verification", "accuracy", "folds", "folds"),
        ("verification", "accuracy", "threshold_pairs_sha256", "threshold_pairs_sha256"),
        ("verification", "hter", "development", "development"),
        ("verification", "worst_fmr", "group_by", "group_by"),
        ("verification", "min_dcf@prior=0.01", "dcf_cost_miss", "dcf_cost_miss"),
        ("recall", "latency", "machine", "machine"),
        ("training", "last loss", "loss.loss", "loss.loss"),
    ] {
        let whole = ["severity", "corruption_seed", "dcf_cost_miss"].contains(&column);
        let of = |value: u8| if whole { format!("\"{column}\":{value}") } else { format!("\"{column}\":\"x{value}\"") };
        let figures = |other: &str| {
            let rows = [row(measure, &of(1), figure, 0.5), row(measure, other, figure, 0.25)];
            let columns = format!("{figure},{column}");
            table(&rows);
            (table(&rows), run(&[&path("r.json"), "--columns", &columns]).unwrap().1)
        };
        let (usual, chosen) = figures(&of(2));
        assert!(!usual.contains("**") && !chosen.contains("**"), "{column}: {usual}{chosen}");
        if !["worst_fmr", "hter", "min_dcf@prior=0.01"].contains(&figure) {
            assert!(usual.lines().next().unwrap().contains(shown), "{column}: {usual}");
        }
        let (usual, chosen) = figures(&of(1));
        assert!(chosen.contains("**"), "{column}: {chosen}");
        assert!(!usual.contains(&format!(" {shown} ")), "{column}: {usual}");
    }
    // Images as they are, with corrupted ones beside them and without, are the same images.
    let rows =
        [row("recall", "\"corruption\":\"none\"", "recall@1", 0.5), row("recall", "\"part\":null", "recall@1", 0.25)];
    assert!(table(&rows).contains("**0.5000**"));
    // What tells of figures that one row alone has is neither shown nor said.
    let more = "\"machine\":\"x\",\"latency\":1.5,\"kmeans\":\"k\",\"nmi\":0.5";
    let printed = table(&[row("recall", more, "recall@1", 0.5), row("recall", "\"part\":null", "recall@1", 0.25)]);
    assert!(printed.contains("**0.5000**") && !printed.contains("machine"), "{printed}");
    let output = crate::tools::run(&["tabulate", &path("r.json")]);
    assert_eq!(crate::tools::stderr(&output), "");
    // Of one model kept in several ways, the ways are shown, and ranked.
    let kept = |dim: u32, storage: &str, value: f64| {
        row("recall", &format!("\"dim\":{dim},\"storage\":\"{storage}\""), "recall@1", value)
    };
    let printed = table(&[kept(32, "float32", 0.5), kept(32, "int8", 0.4), kept(8, "float32", 0.3)]);
    let head = printed.lines().next().unwrap();
    assert!(head.contains("| dim | storage |") && printed.contains("**0.5000**"), "{printed}");
    // Of one model that was given its images otherwise, the steps that differ are shown; all of them where they are asked for.
    let given = |steps: &str, value: f64| row("recall", &format!("\"preprocessing\":\"{steps}\""), "recall@1", value);
    let printed = table(&[given("color=rgb crop=8x8 mean=[0]", 0.5), given("color=rgb crop=9x9 mean=[0]", 0.4)]);
    assert!(
        printed.contains("| crop=8x8 ") && printed.contains("| crop=9x9 ") && !printed.contains("mean"),
        "{printed}"
    );
    let printed = run(&[&path("r.json"), "--columns", "preprocessing"]).unwrap().1;
    assert!(printed.contains("color=rgb crop=8x8 mean="), "{printed}");
}

#[test]
fn the_page_ranks_what_was_measured_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let row = |model: &str, severity: u32, value: f64| {
        format!(
            "{{\"measure\":\"recall\",\"model\":\"{model}\",\"data\":\"cub\",\"data_sha256\":\"a\",\
             \"corruption\":\"jpeg\",\"severity\":{severity},\"recall@1\":{value}}}"
        )
    };
    put(path("a.json"), format!("[{},{}]", row("a", 1, 0.9), row("a", 3, 0.4)));
    put(path("b.json"), format!("[{},{}]", row("b", 1, 0.8), row("b", 3, 0.6)));
    let page = page(folder.path(), &[&path("a.json"), &path("b.json")]);
    for sentence in [
        "a row 1 is ahead in recall@1 on cub (severity 1): 0.9000, 0.1000 more than b row 1.",
        "b row 2 is ahead in recall@1 on cub (severity 3): 0.6000, 0.2000 more than a row 2.",
    ] {
        assert!(page.contains(sentence), "{sentence}: {}", page.matches("is ahead").count());
    }
    assert_eq!(page.matches("is ahead").count(), 2);
}

#[test]
fn mixed_files_are_one_table_with_typed_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    put(path("a.json"), "[{\"measure\":\"recall\",\"recall@1\":0.5,\"batch\":8,\"own\":1,\"flag\":true}]");
    put(path("b.json"), "[{\"measure\":\"recall\",\"recall@1\":1,\"batch\":\"8\",\"own\":\"x\",\"flag\":false}]");
    put(path("c.csv"), "measure,recall@1,batch,own,flag\nrecall,0.25,8,7,true\n");
    for out in ["t.parquet", "t.csv", "t.json", "t.md", "t.tex"] {
        let files = [path("a.json"), path("b.json"), path("c.csv")];
        let output = crate::tools::run(&["tabulate", &files[0], &files[1], &files[2], "--out", &path(out)]);
        let said = crate::tools::stderr(&output);
        assert!(output.status.success(), "{out}: {said}");
        assert!(
            said.contains("column 'own': '1' is a whole number, 'x' a text; all its values are taken as text"),
            "{said}"
        );
        assert_eq!(said.matches("column '").count(), 1, "{said}");
    }
    let (rows, _) = run(&[&path("t.parquet")]).unwrap();
    let values = |name: &str| rows.iter().map(|row| row.get(name).cloned().unwrap()).collect::<Vec<_>>();
    assert_eq!(values("recall@1"), [0.5, 1.0, 0.25].map(Value::Real));
    assert_eq!(values("batch"), [Value::Whole(8), Value::Whole(8), Value::Whole(8)]);
    assert_eq!(values("own"), ["1", "x", "7"].map(Value::from));
    assert_eq!(values("flag"), [true, false, true].map(Value::Flag));
    let (again, _) = run(&[&path("t.csv")]).unwrap();
    assert_eq!(again.iter().map(|row| row.get("batch").cloned()).collect::<Vec<_>>(), vec![Some(Value::Whole(8)); 3]);
    // what does not fit its own column is said, and nothing is lost
    put(path("d.json"), "[{\"measure\":\"recall\",\"recall@1\":\"n/a\"}]");
    let output = crate::tools::run(&["tabulate", &path("a.json"), &path("d.json"), "--out", &path("e.csv")]);
    assert!(crate::tools::stderr(&output).contains("column 'recall@1': 'n/a' is no real number"));
    assert!(std::fs::read_to_string(path("e.csv")).unwrap().contains("n/a"));
    put(path("twice.json"), "[{\"a\":1,\"a\":2}]");
    fails(1, &["tabulate", &path("twice.json")], &["twice.json", "'a' is there twice"]);
    put(path("twice.csv"), "a,a\n1,2\n");
    fails(1, &["tabulate", &path("twice.csv")], &["twice.csv", "two columns 'a'"]);
}

#[test]
fn digits_places_and_columns_that_cannot_be_are_refused() {
    let results = Results::new();
    let a = results.path("a.json");
    for digits in ["18", "65535", "18446744073709551615"] {
        fails(2, &["tabulate", &a, "--digits", digits], &["--digits", "0 to 17"]);
    }
    fails(2, &["tabulate", &a, "--out", &a], &["RESULT", "--out", "the same place"]);
    put(results.path("x.json"), "[{\"model\":\"m\",\"data\":\"model\",\"recall@1\":0.5}]");
    let pivot = ["tabulate", &results.path("x.json"), "--pivot", "dataset"];
    fails(2, &pivot, &["two columns would be called 'model'"]);
}

#[test]
fn what_is_not_there_is_named() {
    let results = Results::new();
    let a = results.path("a.json");
    fails(2, &["tabulate", &a, "--where", "colour=red"], &["--where", "no column 'colour'", "recall@1"]);
    fails(2, &["tabulate", &a, "--where", "recall@1>1"], &["none of the results is left"]);
    fails(2, &["tabulate", &a, "--where", "recall@1"], &["wanted COLUMN=VALUE"]);
    fails(2, &["tabulate", &a, "--sort", "colour"], &["--sort", "no column 'colour'"]);
    fails(2, &["tabulate", &a, "--columns", "colour"], &["--columns", "no column 'colour'"]);
    fails(
        2,
        &["tabulate", &a, &a, "--pivot", "dataset"],
        &["two results of model 'models/small_a&b.onnx' on 'cub'", "a.json"],
    );
    fails(2, &["tabulate", &a, "--out", "t.xlsx"], &["--out t.xlsx", ".tex"]);
    fails(1, &["tabulate", &results.path("none.json")], &["none.json: cannot read"]);
    let broken = results.path("broken.json");
    put(&broken, "[{");
    fails(1, &["tabulate", &broken], &["broken.json"]);
    fails(2, &["tabulate", text(results.0.path())], &["no run in this folder"]);
}
