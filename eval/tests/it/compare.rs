//! `compare`: differences that are there are found, those that are not are not, and scipy says the same.

use std::path::{Path, PathBuf};

use clap::Parser;
use pdloss_eval::Result;
use pdloss_eval::commands::compare;
use pdloss_eval::commands::{Cli, Command};
use pdloss_eval::metrics::significance::{Resampling, Units, holm, over_subjects, paired};
use pdloss_eval::runs::{Details, Pair, Pairs, Person, Query, Retrieved, SaveRun, Verified};
use pdloss_eval::table::{Record, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::tools::{colored_folder, fails, fixtures, put, stderr, stdout, text};

fn run(args: &[&str]) -> Result<(Vec<Record>, String)> {
    let cli = Cli::try_parse_from([&["pdloss-eval", "compare"], args].concat()).unwrap_or_else(|e| panic!("{e}"));
    let Command::Compare(args) = &cli.command else { panic!("compare") };
    let mut printed = Vec::new();
    let rows = compare::run(args, &mut printed)?;
    Ok((rows, String::from_utf8(printed).unwrap()))
}

fn real(row: &Record, name: &str) -> f64 {
    row.get(name).and_then(Value::number).unwrap_or_else(|| panic!("{name}: {row:?}"))
}

fn row<'a>(rows: &'a [Record], figure: &str) -> &'a Record {
    rows.iter().find(|row| row.get("figure") == Some(&figure.into())).unwrap_or_else(|| panic!("{figure}: {rows:?}"))
}

/// A run of queries with these AP@R (taken as R-precision, too; a first hit where it is above a half).
fn recall_run(path: &Path, values: &[f64], classes: &[usize], digest: &str) -> PathBuf {
    let query = |(at, (&value, class)): (usize, (&f64, &usize))| Query {
        name: format!("{at}.jpg"),
        class: format!("class {class}"),
        relevant: 3,
        first_hit: (value > 0.5).then_some(1),
        r_precision: value,
        ap_at_r: value,
        neighbours: Vec::new(),
    };
    let mut record = Record::new();
    record.set("measure", "recall").set("model", "m.onnx").set("model_sha256", "any").set("data_sha256", digest);
    record.set("recall@1", 0.0);
    let queries = values.iter().zip(classes).enumerate().map(query).collect();
    SaveRun::plan(path)
        .unwrap()
        .write(&record, &Details::Retrieval(Retrieved { queries, scores: None, map: None, files: None }))
        .unwrap();
    path.into()
}

/// A run of pairs, each of two people of its own, decided rightly at 0.5.
fn verify_run(path: &Path, scores: &[f64], same: &[bool]) -> PathBuf {
    let people = (0..2 * scores.len()).map(|n| {
        let genuine = same[n / 2];
        Person { name: format!("{n}.jpg"), subject: if genuine { (n / 2 * 2).to_string() } else { n.to_string() } }
    });
    let pair = |(at, (&score, &same)): (usize, (&f64, &bool))| {
        let (a, right) = (2 * at as u32, Some((score >= 0.5) == same));
        Pair { a, b: a + 1, same, score, fold: Some((at % 10) as u32), right }
    };
    let pairs = scores.iter().zip(same).enumerate().map(pair).collect();
    let pairs = Some(Pairs { images: people.collect(), pairs, files: None });
    let mut record = Record::new();
    record.set("measure", "verification").set("model_sha256", "any").set("data_sha256", "same");
    record.set("pairs_sha256", "list");
    let verified = Verified { pairs, ..Verified::default() };
    SaveRun::plan(path).unwrap().write(&record, &Details::Verification(verified)).unwrap();
    path.into()
}

fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("../golden/significance.json")).unwrap()
}

fn numbers(case: &serde_json::Value, name: &str) -> Vec<f64> {
    case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Both runs of a case, compared.
fn compared(case: &serde_json::Value, more: &[&str]) -> Vec<Record> {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (numbers(case, "a"), numbers(case, "b"));
    let path = |name: &str| folder.path().join(name);
    let (a, b) = if let Some(same) = case.get("same") {
        let same: Vec<bool> = same.as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
        (verify_run(&path("a"), &a, &same), verify_run(&path("b"), &b, &same))
    } else {
        let classes: Vec<usize> = match case.get("class") {
            Some(_) => numbers(case, "class").into_iter().map(|c| c as usize).collect(),
            None => (0..a.len()).collect(),
        };
        (recall_run(&path("a"), &a, &classes, "same"), recall_run(&path("b"), &b, &classes, "same"))
    };
    run(&[&[text(&a), text(&b)], more].concat()).unwrap().0
}

/// Value to rounding; p and interval as near as two independent sets of 20,000 draws come.
fn agrees(case: &serde_json::Value, row: &Record, p_within: f64) {
    let wanted = |name: &str| case[name].as_f64().unwrap();
    assert!((real(row, "B - A") - wanted("value")).abs() < 1e-9, "{row:?}");
    assert!((real(row, "p") - wanted("p")).abs() <= p_within, "{row:?} against {}", wanted("p"));
    if case.get("from").is_some() {
        let width = wanted("to") - wanted("from");
        for end in ["from", "to"] {
            assert!((real(row, end) - wanted(end)).abs() < 0.03 * width, "{end}: {row:?} against {}", wanted(end));
        }
    }
}

#[test]
fn scipy_says_the_same() {
    let golden = golden();
    let draws = ["--draws", "20000"];
    let case = |name: &str| &golden[name];
    // 2^12 exchanges are all made: no chance is left
    agrees(case("few_queries"), row(&compared(case("few_queries"), &draws), "map@r"), 1e-12);
    agrees(case("queries"), row(&compared(case("queries"), &draws), "map@r"), 0.006);
    let by_class = ["--draws", "20000", "--by", "class"];
    agrees(case("classes"), row(&compared(case("classes"), &by_class), "map@r"), 0.006);
    let by_pair = ["--draws", "20000", "--by", "pair"];
    agrees(case("pairs"), row(&compared(case("pairs"), &by_pair), "d_prime"), 0.006);
    agrees(case("hits"), row(&compared(case("hits"), &draws), "recall@1"), 0.004);
}

#[test]
fn a_model_is_no_better_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Pcg64::seed_from_u64(3);
    let values: Vec<f64> = (0..200).map(|_| random.random::<f64>()).collect();
    let classes: Vec<usize> = (0..200).map(|n| n / 5).collect();
    let path = |name: &str| folder.path().join(name);
    let (a, b) = (recall_run(&path("a"), &values, &classes, "same"), recall_run(&path("b"), &values, &classes, "same"));
    for by in ["query", "class"] {
        let (rows, printed) = run(&[text(&a), text(&b), "--by", by, "--draws", "200"]).unwrap();
        assert_eq!(rows.len(), 3);
        for row in &rows {
            assert_eq!((real(row, "p"), real(row, "from"), real(row, "to")), (1.0, 0.0, 0.0), "{row:?}");
        }
        let units = if by == "query" { "200 queries" } else { "40 classes" };
        assert!(printed.contains(&format!("No difference that these {units} could show")), "{printed}");
    }
    let same: Vec<bool> = (0..200).map(|n| n % 2 == 0).collect();
    let (a, b) = (verify_run(&path("c"), &values, &same), verify_run(&path("d"), &values, &same));
    for by in ["pair", "subject"] {
        let (rows, _) = run(&[text(&a), text(&b), "--by", by, "--draws", "200"]).unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| real(row, "p") == 1.0 && real(row, "B - A") == 0.0), "{rows:?}");
    }
    // A genuine pair is of one subject here, another of two: 2 x 2 and 1, 2 x 1 and 2, 2 x 2.
    for (same, subjects) in [(vec![false, true, true], 4), (vec![true, true, false], 4), (vec![true, false, false], 5)]
    {
        let scores = &values[..3];
        let few = (verify_run(&path(&format!("e{subjects}{}", same[0])), scores, &same), path("other"));
        let _ = std::fs::remove_dir_all(&few.1);
        let other = verify_run(&few.1, scores, &same);
        let says = format!("{subjects} subjects are too few to draw from: wanted 5 or more");
        if subjects < 5 {
            fails(1, &["compare", text(&few.0), text(&other)], &[says.as_str()]);
        } else {
            run(&[text(&few.0), text(&other), "--draws", "200"]).unwrap();
        }
    }
}

#[test]
fn a_planted_difference_is_found_and_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Pcg64::seed_from_u64(4);
    let a: Vec<f64> = (0..400).map(|_| random.random::<f64>()).collect();
    let b: Vec<f64> = a.iter().map(|v| (v + 0.08).min(1.0)).collect();
    let classes: Vec<usize> = (0..400).map(|n| n / 8).collect();
    let (a, b) = (
        recall_run(&folder.path().join("a"), &a, &classes, "same"),
        recall_run(&folder.path().join("b"), &b, &classes, "same"),
    );
    let out = folder.path().join("difference.csv");
    let (rows, printed) = run(&[text(&a), text(&b), "--out", text(&out)]).unwrap();
    assert!(printed.contains("B is better than A: recall@1 +0.0"), "{printed}");
    let found = row(&rows, "recall@1");
    assert!(real(found, "from") > 0.0 && real(found, "p") < 0.001 && real(found, "p_holm") >= real(found, "p"));
    assert!((real(found, "B") - real(found, "A") - real(found, "B - A")).abs() < 1e-12);
    assert!(run(&[text(&b), text(&a)]).unwrap().1.contains("A is better than B: recall@1 +0.0"));
    assert!(run(&[text(&a), text(&b), "--by", "class"]).unwrap().1.contains("B is better than A"));
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 4);
    // the seed decides, and nothing else
    assert_eq!(run(&[text(&a), text(&b)]).unwrap().0, rows);
    assert_ne!(run(&[text(&a), text(&b), "--seed", "2"]).unwrap().0, rows);
}

/// Share of made experiments without a difference in which one is found at 0.05.
fn false_alarms(experiments: u64, p: impl Fn(&mut Pcg64, u64) -> f64) -> f64 {
    let found = (0..experiments).filter(|&n| p(&mut Pcg64::seed_from_u64(1000 + n), n) < 0.05).count();
    found as f64 / experiments as f64
}

/// Normal enough: the sum of twelve even numbers.
fn normal(random: &mut Pcg64) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

const HOW: Resampling = Resampling { draws: 400, seed: 1, level: 0.95 };

#[test]
fn false_alarms_are_as_rare_as_promised() {
    let mean = |sums: &[f64]| vec![sums[1] / sums[0]];
    let queries = false_alarms(600, |random, seed| {
        let mut units = Units::new(2);
        (0..60).for_each(|_| {
            let difference = normal(random);
            units.push(&[1.0, difference], &[1.0, -difference]);
        });
        paired(&units, &mean, &Resampling { seed, ..HOW })[0].p
    });
    assert!((0.025..0.08).contains(&queries), "by query: {queries}");
    // 20 classes of 10 queries that go up or down together: by query, chance is taken for a difference
    let clustered = |by_class: bool| {
        false_alarms(400, |random, seed| {
            let mut units = Units::new(2);
            for class in 0..20 {
                let together = normal(random);
                for query in 0..10 {
                    let difference = together + normal(random);
                    if by_class && query > 0 {
                        units.add(class, &[1.0, difference], &[1.0, -difference]);
                    } else {
                        units.push(&[1.0, difference], &[1.0, -difference]);
                    }
                }
            }
            paired(&units, &mean, &Resampling { seed, ..HOW })[0].p
        })
    };
    let (by_class, by_query) = (clustered(true), clustered(false));
    assert!((0.02..0.09).contains(&by_class), "by class: {by_class}");
    assert!(by_query > 0.2, "by query: {by_query}");
    // impostor pairs of 40 subjects, whose difference each subject moves
    let subjects = false_alarms(300, |random, seed| {
        let each: Vec<f64> = (0..40).map(|_| normal(random)).collect();
        let (mut units, mut of) = (Units::new(2), Vec::new());
        for a in 0..40_u32 {
            for b in a + 1..40 {
                units.push(&[1.0, each[a as usize] + each[b as usize] + normal(random)], &[0.0; 2]);
                of.push((a, b));
            }
        }
        over_subjects(&units, &of, 40, &mean, &Resampling { seed, ..HOW })[0].p
    });
    assert!((0.02..0.12).contains(&subjects), "by subject: {subjects}");
}

#[test]
fn holm_corrects_in_steps() {
    assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
}

#[test]
fn other_data_and_other_queries_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let a = recall_run(&path("a"), &[0.1, 0.9, 0.4], &[1, 1, 1], "one");
    let digest = recall_run(&path("b"), &[0.1, 0.9, 0.4], &[1, 1, 1], "two");
    let class = recall_run(&path("c"), &[0.1, 0.9, 0.4], &[1, 2, 1], "one");
    let fewer = recall_run(&path("d"), &[0.1, 0.9], &[1, 1], "one");
    let pairs = verify_run(&path("e"), &[0.9, 0.1, 0.8, 0.3], &[true, false, true, false]);
    let flipped = verify_run(&path("f"), &[0.9, 0.1, 0.8, 0.3], &[true, false, false, false]);
    fails(
        2,
        &["compare", text(&a), text(&digest)],
        &["not measured on the same data", "data_sha256 is one in A and two"],
    );
    fails(2, &["compare", text(&a), text(&class)], &["query 2 is 1.jpg of class class 1", "class 2"]);
    fails(2, &["compare", text(&a), text(&fewer)], &["A has 3 queries, B 2"]);
    // Kept embeddings without a digest of images: the same queries among fewer.
    let among = |name: &str, gallery: usize| {
        let mut run = pdloss_eval::runs::Run::read(&a).unwrap();
        run.records[0].set("model_sha256", Value::Missing).set("data_sha256", Value::Missing).set("gallery", gallery);
        SaveRun::plan(&path(name)).unwrap().write(&run.records[0], &run.details).unwrap();
        path(name)
    };
    let (many, few) = (among("h", 140), among("i", 60));
    fails(2, &["compare", text(&many), text(&few)], &["not measured on the same data: gallery is 140 in A, 60 in B"]);
    let output = crate::tools::run(&["compare", text(&many), text(&among("j", 140))]);
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("only names and classes are known to agree"), "{said}");
    // Names that are places.
    let mut unnamed = pdloss_eval::runs::Run::read(&many).unwrap();
    if let Details::Retrieval(of) = &mut unnamed.details {
        of.queries.iter_mut().enumerate().for_each(|(at, query)| query.name = format!("row {at}"));
    }
    SaveRun::plan(&path("k")).unwrap().write(&unnamed.records[0], &unnamed.details).unwrap();
    let output = crate::tools::run(&["compare", text(&path("k")), text(&path("k"))]);
    assert!(stderr(&output).contains("rows are paired by their places alone"), "{}", stderr(&output));
    fails(2, &["compare", text(&pairs), text(&flipped)], &["pair 3 is 4.jpg and 5.jpg (genuine) in A"]);
    fails(2, &["compare", text(&a), text(&pairs)], &["wanted two folders that `recall --save-run` wrote"]);
    fails(2, &["compare", text(&a), text(&a), "--by", "pair"], &["--by", "queries and classes"]);
    fails(2, &["compare", text(&a), text(&a), "--draws", "5"], &["--draws 5: wanted 100 to 10000000 draws"]);
    let empty = recall_run(&path("g"), &[], &[], "one");
    fails(1, &["compare", text(&empty), text(&empty)], &["holds no queries"]);
    fails(1, &["compare", text(&a), text(&path("none"))], &["none: cannot read"]);
    std::fs::write(path("a/queries.parquet"), "no parquet").unwrap();
    fails(1, &["compare", text(&a), text(&a)], &["queries.parquet"]);
}

#[test]
fn what_else_two_runs_differ_in_is_said_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = |name: &str, settings: &[(&str, &str)]| {
        let query = |at: usize| Query {
            name: format!("{at}.jpg"),
            class: "c".into(),
            relevant: 1,
            first_hit: Some(1),
            r_precision: 1.0,
            ap_at_r: 1.0,
            neighbours: Vec::new(),
        };
        let mut record = Record::new();
        record.set("measure", "recall").set("model_sha256", "any").set("data_sha256", "same").set("recall@1", 1.0);
        for (name, value) in settings {
            record.set(*name, *value);
        }
        let queries = (0..30).map(query).collect();
        let path = folder.path().join(name);
        SaveRun::plan(&path)
            .unwrap()
            .write(&record, &Details::Retrieval(Retrieved { queries, scores: None, map: None, files: None }))
            .unwrap();
        path
    };
    let plain = run_of("plain", &[("metric", "cosine"), ("index", "Flat"), ("preprocessing", "resize=exact:48x48")]);
    for (at, (name, value)) in
        [("metric", "l2"), ("index", "IVF4,Flat"), ("preprocessing", "resize=none")].into_iter().enumerate()
    {
        let usual = [("metric", "cosine"), ("index", "Flat"), ("preprocessing", "resize=exact:48x48")];
        let settings: Vec<_> = usual.iter().copied().map(|(n, v)| (n, if n == name { value } else { v })).collect();
        let other = run_of(&at.to_string(), &settings);
        let out = folder.path().join(format!("{at}.json"));
        run(&[text(&plain), text(&other), "--draws", "100", "--out", text(&out)]).unwrap();
        let written = std::fs::read_to_string(out).unwrap();
        let wanted = format!("are one model and differ: {name} is");
        assert!(written.contains(&wanted) && written.contains(&format!("and {value} in B")), "{written}");
    }
    let out = folder.path().join("same.json");
    run(&[text(&plain), text(&run_of("again", &[("metric", "cosine")])), "--draws", "100", "--out", text(&out)])
        .unwrap();
    assert!(!std::fs::read_to_string(out).unwrap().contains("differ"));
}

#[test]
fn results_that_are_not_those_of_their_queries_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let kept = recall_run(&folder.path().join("a"), &[1.0, 0.2, 0.9], &[0, 1, 2], "x");
    let tabulated = || crate::tools::stderr(&crate::tools::run(&["tabulate", text(&kept)]));
    assert!(tabulated().contains("says recall@1 0, and the queries beside it make 0.666"), "{}", tabulated());
    let result = kept.join("result.json");
    let right =
        std::fs::read_to_string(&result).unwrap().replace("\"recall@1\":0.0", "\"recall@1\":0.6666666666666666");
    std::fs::write(&result, right).unwrap();
    assert_eq!(tabulated(), "");
    std::fs::remove_file(kept.join("queries.parquet")).unwrap();
    fails(2, &["tabulate", text(&kept)], &["no run in this folder"]);
}

#[test]
fn the_same_images_in_another_order_of_lines_are_the_same_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    colored_folder(folder.path(), 6, 4);
    let lines: Vec<String> = (0..24).map(|n| format!("{}/{}.png,class {}\n", n / 4, n % 4, n / 4)).collect();
    let list = |name: &str, order: &[usize]| {
        put(path(name), format!("path,label\n{}", order.iter().map(|&at| lines[at].as_str()).collect::<String>()));
    };
    let shuffled: Vec<usize> = (0..24).map(|at| at * 5 % 24).collect();
    list("one.csv", &(0..24).collect::<Vec<_>>());
    list("two.csv", &shuffled);
    let (model, runtime) =
        (fixtures().join("models/rank_4.onnx").display().to_string(), ["--crop", "8", "--runtime", "tract"]);
    let measure = |command: &[&str], data: &str, out: &str| {
        let (data, out) = (path(data), path(out));
        let of = ["--model", &model, "--data", &data, "--save-run", &out];
        let output = crate::tools::run(&[command, &of, &runtime].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    let words = "in another order";
    for (command, name) in [(&["recall", "--k", "1,2"][..], "recall"), (&["verify", "--all-pairs"], "verify")] {
        let (a, b) = (format!("{name}-a"), format!("{name}-b"));
        measure(command, "one.csv", &a);
        measure(command, "two.csv", &b);
        let (a, b) = (path(&a), path(&b));
        let compare = ["compare", &a, &b, "--draws", "100", "--json"];
        let output = crate::tools::run(&compare);
        let (said, rows) = (stderr(&output), stdout(&output));
        assert!(output.status.success() && said.contains(words), "{name}: {said}");
        let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
        assert!(rows[0]["notes"].as_str().unwrap().contains(words), "{rows}");
        for row in rows.as_array().unwrap() {
            assert!(row["B - A"].as_f64().unwrap().abs() < 1e-9, "{row}");
        }
        let output = crate::tools::run(&["tabulate", &a, &b]);
        assert!(output.status.success() && !stderr(&output).contains("different data"), "{}", stderr(&output));
        let page = path("page.html");
        let output = crate::tools::run(&["report", &a, &b, "--out", &page, "--no-images"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(!page.contains("are not compared") && page.contains("<h2>Differences</h2>"), "{name}");
    }
    // Results of before say nothing of images in any order: where their digest is that of another result, they have its images.
    let (a, b, old) = (path("recall-a"), path("recall-b"), path("old"));
    measure(&["recall", "--k", "1,2"], "one.csv", "old");
    let result = Path::new(&old).join("result.json");
    let text_of = std::fs::read_to_string(&result).unwrap();
    let key = text_of.find("\"images_sha256\"").unwrap();
    let end = key + text_of[key..].find(',').unwrap() + 1;
    std::fs::write(&result, format!("{}{}", &text_of[..key], &text_of[end..])).unwrap();
    fails(2, &["compare", &old, &b], &["not measured on the same data", "data_sha256 is"]);
    let output = crate::tools::run(&["compare", &old, &a, "--draws", "100"]);
    assert!(output.status.success() && !stderr(&output).contains(words), "{}", stderr(&output));
    let differ = |runs: &[&str]| stderr(&crate::tools::run(&[&["tabulate"], runs].concat())).contains("different data");
    assert!(differ(&[&old, &b]) || !stdout(&crate::tools::run(&["tabulate", &old, &b])).contains("**"));
    assert!(!differ(&[&old, &a, &b]));
    // Other images are other data, in whatever order.
    put(folder.path().join("2/3.png"), crate::tools::png([1, 2, 3]));
    measure(&["recall", "--k", "1,2"], "two.csv", "other");
    fails(2, &["compare", &a, &path("other")], &["not measured on the same data", "data_sha256 is"]);
}

#[test]
fn the_same_pairs_in_another_order_are_compared_and_other_folds_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (scores, same) = ([0.9, 0.1, 0.8, 0.3, 0.7, 0.2], [true, false, true, false, true, false]);
    let run_of = |name: &str, order: &[usize], folds: bool| {
        let person = |n: usize| Person {
            name: format!("{n}.jpg"),
            subject: (if same[n / 2] { n / 2 * 2 } else { n }).to_string(),
        };
        let pair = |(place, &at): (usize, &usize)| {
            let (a, right) = (2 * at as u32, Some((scores[at] >= 0.5) == same[at]));
            let fold = Some(if folds { place } else { at } as u32);
            // Every second one the other way round.
            let (a, b) = if place % 2 == 0 { (a, a + 1) } else { (a + 1, a) };
            Pair { a, b, same: same[at], score: scores[at], fold, right }
        };
        let pairs = Pairs {
            images: (0..12).map(person).collect(),
            pairs: order.iter().enumerate().map(pair).collect(),
            files: None,
        };
        let mut record = Record::new();
        record
            .set("measure", "verification")
            .set("model_sha256", "any")
            .set("data_sha256", "same")
            .set("pairs_sha256", name);
        let verified = Verified { pairs: Some(pairs), ..Verified::default() };
        SaveRun::plan(&path(name)).unwrap().write(&record, &Details::Verification(verified)).unwrap();
    };
    run_of("a", &[0, 1, 2, 3, 4, 5], false);
    run_of("b", &[4, 2, 5, 0, 3, 1], false);
    run_of("folds", &[4, 2, 5, 0, 3, 1], true);
    run_of("fewer", &[4, 2, 5, 0, 3], false);
    let (a, b) = (path("a"), path("b"));
    let output = crate::tools::run(&["compare", text(&a), text(&b), "--draws", "100", "--json"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("in another order") && said.contains("pairs_sha256 is a in A and b in B"), "{said}");
    let rows: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["B - A"].as_f64().unwrap().abs() < 1e-9), "{rows}");
    let refused = |other: &str, words: &[&str]| {
        let words = [&["not measured on the same data"], words].concat();
        fails(2, &["compare", text(&a), text(&path(other))], &words);
    };
    refused(
        "folds",
        &["in fold 1 in A", "in fold 4 in B", "a list without a column of folds has them by the order of its lines"],
    );
    refused("fewer", &["A has 6 pairs, B 5"]);
}

#[test]
fn queries_of_one_name_are_said_to_be_paired_by_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let named = |name: &str| recall_run(&at(name), &[1.0, 0.0, 1.0, 0.0], &[0, 0, 1, 1], "one");
    let (a, b) = (named("a"), named("b"));
    let run_of = |path: &Path, digest: &str| {
        let mut run = pdloss_eval::runs::Run::read(path).unwrap();
        let Details::Retrieval(of) = &mut run.details else { panic!("retrieval") };
        of.queries.iter_mut().for_each(|query| query.name = "x.png".into());
        let mut record = run.records[0].clone();
        record.set("data_sha256", digest).set("model_sha256", "any");
        let to = at(&format!("{}-{digest}", path.file_name().unwrap().to_str().unwrap()));
        SaveRun::plan(&to).unwrap().write(&record, &run.details).unwrap();
        to
    };
    let compared = |a: &Path, b: &Path| {
        let output = crate::tools::run(&["compare", text(a), text(b)]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let words = "4 of 4 queries share their names with others, the first 'x.png'";
    // The same data is in the same order; of embeddings that do not say their model, other rows may have been labelled alike.
    let printed = compared(&run_of(&a, "one"), &run_of(&b, "one"));
    assert!(!printed.contains(words), "{printed}");
    let of_kept = |path: &Path, digest: &str| {
        let path = run_of(path, digest);
        let mut kept = pdloss_eval::runs::Run::read(&path).unwrap();
        kept.records[0].set("model_sha256", Value::Missing);
        let to = at(&format!("kept-{digest}"));
        SaveRun::plan(&to).unwrap().write(&kept.records[0], &kept.details).unwrap();
        to
    };
    let printed = compared(&of_kept(&a, "two"), &of_kept(&b, "three"));
    assert!(printed.contains(words) && printed.contains("paired in the order of A and B"), "{printed}");
}

/// What a run said of itself is no less true beside another.
#[test]
fn what_was_said_of_a_run_is_said_where_it_is_compared_and_put_into_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let classes: Vec<usize> = (0..20).collect();
    let noted = |name: &str, value: f64, note: &str| {
        let path = recall_run(&folder.path().join(name), &[value; 20], &classes, "d");
        let file = path.join("result.json");
        let mut rows: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        if !note.is_empty() {
            rows[0]["notes"] = note.into();
        }
        put(&file, rows.to_string());
        path
    };
    let seen = "160 of the 160 images measured are among those that the model was trained on";
    let (a, b, c) = (noted("a", 0.9, seen), noted("b", 0.4, ""), noted("c", 0.3, seen));
    let notes = |a: &Path, b: &Path| stderr(&crate::tools::run(&["compare", text(a), text(b), "--draws", "200"]));
    assert!(notes(&a, &b).contains(&format!("A: {seen}")) && !notes(&a, &b).contains("B: "), "{}", notes(&a, &b));
    assert!(notes(&b, &a).contains(&format!("B: {seen}")), "{}", notes(&b, &a));
    assert!(notes(&a, &c).contains(&format!("both runs: {seen}")), "{}", notes(&a, &c));
    let tabulated = |runs: &[&Path]| {
        let words: Vec<&str> = std::iter::once("tabulate").chain(runs.iter().map(|run| text(run))).collect();
        stderr(&crate::tools::run(&words))
    };
    assert!(tabulated(&[&a, &b]).contains(&format!("a: {seen}")), "{}", tabulated(&[&a, &b]));
    assert!(tabulated(&[&a, &c]).contains(&format!("all 2 results: {seen}")), "{}", tabulated(&[&a, &c]));
    assert!(tabulated(&[&a, &c, &b]).contains(&format!("a and 1 more: {seen}")), "{}", tabulated(&[&a, &c, &b]));
    assert!(!tabulated(&[&b]).contains("trained on"));
}
