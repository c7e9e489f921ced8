//! `--save-run`: what is kept is what was measured, and can be read back.

use pdloss_eval::runs::{Details, Run};
use pdloss_eval::table::Value;
use polars::prelude::{ParquetReader, SerReader};

use crate::tools::{fails, fixtures, run, stderr, text};

fn number(run: &Run, name: &str) -> f64 {
    run.records[0].get(name).and_then(Value::number).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn a_recall_run_holds_its_queries() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("run");
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let arguments = ["recall", "--model", text(&model), "--data", text(&data), "--save-run", text(&kept)];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let saved = Run::read(&kept).unwrap();
    let Details::Retrieval(retrieved) = &saved.details else { panic!("{:?}", saved.details) };
    let queries = &retrieved.queries;
    assert_eq!(queries.len(), 160);
    let mean = |value: &dyn Fn(&pdloss_eval::runs::Query) -> f64| queries.iter().map(value).sum::<f64>() / 160.0;
    for k in [1, 2, 4, 8] {
        let hits = mean(&|q| f64::from(u8::from(q.first_hit.is_some_and(|rank| rank <= k))));
        assert!((hits - number(&saved, &format!("recall@{k}"))).abs() < 1e-12, "{k}");
    }
    assert!((mean(&|q| q.r_precision) - number(&saved, "r_precision")).abs() < 1e-12);
    assert!((mean(&|q| q.ap_at_r) - number(&saved, "map@r")).abs() < 1e-12);
    for query in queries {
        assert_eq!(query.neighbours.len(), 10);
        assert!(query.neighbours.iter().all(|n| n.name != query.name && n.score <= 1.0 + 1e-9));
        assert!(query.neighbours.windows(2).all(|two| two[0].score >= two[1].score));
        let first = query.neighbours.iter().position(|n| n.class == query.class).map(|at| at as u32 + 1);
        assert!(query.first_hit.filter(|&rank| rank <= 10) == first, "{query:?}");
    }
    // the cosines of all images with all, as `verify --all-pairs` has them
    let verified = run(&[
        "verify",
        "--model",
        text(&model),
        "--data",
        text(&data),
        "--all-pairs",
        "--out",
        text(&folder.path().join("v.json")),
    ]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let verified = Run::read(&folder.path().join("v.json")).unwrap();
    for name in ["d_prime", "eer", "auc", "genuine_pairs", "impostor_pairs"] {
        assert_eq!(number(&saved, name), number(&verified, name), "{name}");
    }
    assert!(retrieved.scores.as_ref().is_some_and(|scores| !scores.points.is_empty() && scores.pairs.is_none()));
    std::fs::remove_file(folder.path().join("v.json")).unwrap();
    // for others, too: plain columns, no surprises
    let table = ParquetReader::new(std::fs::File::open(kept.join("queries.parquet")).unwrap()).finish().unwrap();
    let columns: Vec<_> = table.get_column_names().iter().map(|n| n.to_string()).collect();
    assert_eq!(columns, ["name", "class", "relevant", "first_hit", "r_precision", "ap@r"]);
    // not over another run, and nothing is left beside it
    fails(2, &arguments, &["--save-run", "is there already"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_verification_run_holds_its_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data, kept) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"), folder.path().join("run"));
    let output =
        run(&["verify", "--model", text(&model), "--data", text(&data), "--all-pairs", "--save-run", text(&kept)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let saved = Run::read(&kept).unwrap();
    let Details::Verification(verified) = &saved.details else { panic!("{:?}", saved.details) };
    let pairs = verified.pairs.as_ref().unwrap();
    assert_eq!((pairs.images.len(), pairs.pairs.len()), (160, 160 * 159 / 2));
    let subject = |image: u32| &pairs.images[image as usize].subject;
    assert!(pairs.pairs.iter().all(|p| p.same == (subject(p.a) == subject(p.b)) && p.a < p.b));
    let mean = |same: bool| {
        let scores: Vec<f64> = pairs.pairs.iter().filter(|p| p.same == same).map(|p| p.score).collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    assert!((mean(true) - number(&saved, "mu_genuine")).abs() < 1e-12);
    assert!((mean(false) - number(&saved, "mu_impostor")).abs() < 1e-12);
    let shares: f64 = verified.histogram.iter().map(|bin| bin.genuine).sum();
    assert!((shares - 1.0).abs() < 1e-9 && !verified.points.is_empty());
}
