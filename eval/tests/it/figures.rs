//! The figures of verification beside the usual ones, against other packages' values and from the command line on.

use serde_json::Value;

use crate::tools::{fails, put, run, stderr, stdout};

struct Lists(tempfile::TempDir);

impl Lists {
    fn new(genuine: &[f64], impostor: &[f64]) -> Self {
        let lists = Self(tempfile::tempdir().unwrap());
        lists.put("g.txt", genuine);
        lists.put("i.txt", impostor);
        lists
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn put(&self, name: &str, scores: &[f64]) {
        put(self.at(name), scores.iter().map(|score| format!("{score}\n")).collect::<String>());
    }

    fn printed(&self, more: &[&str]) -> String {
        let (genuine, impostor) = (self.at("g.txt"), self.at("i.txt"));
        let output = run(&[&["scores", "--genuine", &genuine, "--impostor", &impostor], more].concat());
        assert!(output.status.success(), "{more:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn result(&self, more: &[&str]) -> Value {
        let rows: Value = serde_json::from_str(&self.printed(&[more, &["--json"]].concat())).unwrap();
        rows[0].clone()
    }
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

#[test]
fn figures_agree_with_scikit_learn_and_plain_loops() {
    let golden: Value = serde_json::from_str(include_str!("../golden/figures.json")).unwrap();
    let word = |name: &str| golden[name].to_string();
    let priors = numbers(&golden["priors"]).iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    for case in golden["cases"].as_array().unwrap() {
        let lists = Lists::new(&numbers(&case["genuine"]), &numbers(&case["impostor"]));
        lists.put("dg.txt", &numbers(&case["dev_genuine"]));
        lists.put("di.txt", &numbers(&case["dev_impostor"]));
        let (miss, false_match) = (word("cost_miss"), word("cost_false_match"));
        let costs = ["--priors", &priors, "--cost-miss", &miss, "--cost-false-match", &false_match];
        let (genuine, impostor) = (lists.at("dg.txt"), lists.at("di.txt"));
        let found = lists.result(&[&costs[..], &["--dev-genuine", &genuine, "--dev-impostor", &impostor]].concat());
        for (name, wanted) in case["figures"].as_object().unwrap() {
            let (found, wanted) = (found[name].as_f64(), wanted.as_f64().unwrap());
            let room = if name.starts_with("logistic_") { 1e-5 } else { 1e-8 };
            assert!(found.is_some_and(|found| (found - wanted).abs() < room), "{name}: {found:?}, wanted {wanted}");
        }
    }
}

#[test]
fn the_usual_tables_stay_and_all_figures_are_printed_where_they_are_asked_for() {
    let lists = Lists::new(&[0.9, 0.8, 0.6, 0.3], &[0.7, 0.5, 0.4, 0.2, 0.1]);
    let (usual, all) = (lists.printed(&[]), lists.printed(&["--all-figures"]));
    let names = ["best_accuracy", "best_f1", "eer_rocch", "min_dcf@prior=0.01", "cllr", "min_cllr", "act_dcf_logistic"];
    assert!(names.iter().all(|name| !usual.contains(name) && all.contains(name)), "{usual}{all}");
    // what tables show without being asked, they show as before
    let out = lists.at("r.json");
    lists.printed(&["--out", &out]);
    let table = stdout(&run(&["tabulate", &out]));
    assert!(table.contains("d_prime") && !table.contains("cllr"), "{table}");
    assert!(stdout(&run(&["tabulate", &out, "--columns", "min_cllr"])).contains("min_cllr"));
}

#[test]
fn distances_are_no_likelihood_ratios_but_can_be_calibrated() {
    let near: Vec<f64> = (0..40).map(|n| f64::from(n) / 40.0).collect();
    let far: Vec<f64> = near.iter().map(|distance| distance + 0.5).collect();
    let (distances, swapped) = (Lists::new(&near, &far), |list: &[f64]| list.iter().map(|d| -d).collect::<Vec<_>>());
    let scores = Lists::new(&swapped(&near), &swapped(&far));
    let (distances, scores) = (distances.result(&["--distance"]), scores.result(&[]));
    assert!(distances["cllr"].is_null() && distances["act_dcf@prior=0.01"].is_null());
    let real = |of: &Value, name: &str| of[name].as_f64().unwrap();
    for name in ["min_cllr", "cllr_logistic", "best_accuracy", "eer_rocch", "min_dcf@prior=0.05"] {
        assert_eq!(real(&distances, name), real(&scores, name), "{name}");
    }
    for name in ["best_accuracy_threshold", "logistic_slope"] {
        assert_eq!(real(&distances, name), -real(&scores, name), "{name}");
    }
    assert!(real(&distances, "logistic_slope") < 0.0, "a greater distance says less");
}

#[test]
fn failures_are_refused_or_counted() {
    let lists = Lists::new(&[0.9, 0.8, f64::NAN, 0.3, 0.6], &[0.7, 0.5, 0.4, 0.2, 0.1, f64::NAN]);
    let (genuine, impostor) = (lists.at("g.txt"), lists.at("i.txt"));
    let says = ["g.txt: line 3: genuine score 3 of 5 is NaN", "--count-failures"];
    fails(1, &["scores", "--genuine", &genuine, "--impostor", &impostor], &says);
    let found = lists.result(&["--count-failures"]);
    let plain = Lists::new(&[0.9, 0.8, 0.3, 0.6], &[0.7, 0.5, 0.4, 0.2, 0.1]).result(&[]);
    let real = |of: &Value, name: &str| of[name].as_f64().unwrap();
    assert_eq!((found["failed_genuine"].as_u64(), found["failed_impostor"].as_u64()), (Some(1), Some(1)));
    assert!((real(&found, "failure_rate") - 2.0 / 11.0).abs() < 1e-15);
    // 2 of 4 genuine pairs are below every impostor-free threshold; with the one that has no score, 3 of 5
    assert_eq!((real(&plain, "zero_fmr"), real(&found, "zero_fmr")), (0.5, 0.6));
    // at 0.6 one of 5 impostor pairs is accepted; with the one that has no score, one of 6: (1/6 + 2/5) / 2
    let best = |of: &Value| real(of, "best_balanced_accuracy");
    assert!(
        (best(&plain) - (1.0 - 0.45 / 2.0)).abs() < 1e-12
            && (best(&found) - (1.0 - (1.0 / 6.0 + 0.4) / 2.0)).abs() < 1e-12
    );
    for name in ["auc", "d_prime", "mu_genuine", "cllr", "min_cllr", "eer_rocch"] {
        assert_eq!(real(&found, name), real(&plain, name), "{name}");
    }
    assert!(found["notes"].as_str().unwrap().contains("1 genuine and 1 impostor pairs of 11 have no score"));
}

#[test]
fn priors_and_costs_are_checked() {
    let lists = Lists::new(&[0.9], &[0.1]);
    let (genuine, impostor) = (lists.at("g.txt"), lists.at("i.txt"));
    let fails = |more: &[&str], says: &[&str]| {
        fails(2, &[&["scores", "--genuine", &genuine, "--impostor", &impostor], more].concat(), says);
    };
    for prior in ["0", "1", "1.5", "nan"] {
        fails(&["--priors", prior], &["--priors", "between 0 and 1"]);
    }
    fails(&["--cost-miss", "0"], &["--cost-miss 0: wanted a number above 0"]);
    fails(&["--cost-false-match", "inf"], &["--cost-false-match inf"]);
    fails(&["--dev-genuine", &genuine], &["--dev-impostor"]);
}
