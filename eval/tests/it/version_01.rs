//! Results and runs as version 0.1 wrote them (`fixtures/v0.1`) stay readable.

use pdloss_eval::runs::{Details, Run};
use pdloss_eval::table::Value;

use crate::tools::{fixtures, run, stderr, text};

fn read(name: &str) -> Run {
    Run::read(&fixtures().join("v0.1").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn results_are_read_with_their_types() {
    for name in ["recall.csv", "recall.json", "recall.parquet", "recall-run"] {
        let saved = read(name);
        let get = |column: &str| saved.records[0].get(column).cloned().unwrap_or_else(|| panic!("{name}: {column}"));
        assert_eq!(get("measure"), "recall".into(), "{name}");
        assert_eq!((get("batch"), get("images"), get("skipped")), (Value::Whole(8), Value::Whole(48), Value::Whole(0)));
        assert_eq!(get("recall@1"), Value::Real(0.479_166_666_666_666_7), "{name}");
        assert_eq!((get("index_recall"), get("skipped_images")), (Value::Missing, Value::Missing), "{name}");
    }
    for name in ["verify.csv", "verify.parquet", "verify-run", "scores.csv", "scores-run"] {
        let saved = read(name);
        assert_eq!(saved.records[0].get("measure"), Some(&"verification".into()), "{name}");
        assert!(matches!(saved.records[0].get("eer"), Some(Value::Real(_))), "{name}");
        assert!(matches!(saved.records[0].get("impostor_pairs"), Some(Value::Whole(_))), "{name}");
    }
    assert_eq!(read("verify-run").records[0].get("bootstrap_seed"), Some(&Value::Whole(1)), "0.1 wrote it as a text");
    let trained = read("train-run");
    assert_eq!(trained.records[0].get("steps"), Some(&Value::Whole(4)));
    assert_eq!(trained.records[0].get("best recall@1"), Some(&Value::Real(0.625)));
    assert_eq!(trained.records[0].get("inline"), Some(&Value::Flag(false)));
}

#[test]
fn runs_are_read_whole() {
    let Details::Retrieval(retrieved) = read("recall-run").details else { panic!("no retrieval") };
    assert_eq!((retrieved.queries.len(), retrieved.queries[0].neighbours.len()), (48, 10));
    assert!(retrieved.scores.is_some());
    let Details::Verification(verified) = read("verify-run").details else { panic!("no verification") };
    assert_eq!(verified.pairs.map(|pairs| pairs.pairs.len()), Some(64 * 63 / 2));
    let Details::Training(training) = read("train-run").details else { panic!("no training") };
    assert!(training.series.iter().any(|series| series.name == "recall@1" && series.points.len() == 3));
}

#[test]
fn every_command_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let old = |name: &str| fixtures().join("v0.1").join(name).display().to_string();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let names = [
        "recall.csv",
        "recall.json",
        "recall.parquet",
        "recall-run",
        "verify.parquet",
        "verify-run",
        "scores-run",
        "train-run",
    ];
    let names: Vec<String> = names.iter().map(|name| old(name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for out in ["t.parquet", "t.csv", "t.tex"] {
        let output = run(&[&["tabulate"], &names[..], &["--out", &at(out)]].concat());
        assert!(
            output.status.success() && stderr(&output).lines().all(|line| line.starts_with("wrote ")),
            "{}",
            stderr(&output)
        );
    }
    let output = run(&[&["report"], &names[3..], &["--no-images", "--out", &at("page.html")]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let output = run(&["compare", &old("recall-run"), &old("recall-run"), "--draws", "100"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let _ = text(folder.path());
}
