//! The figures beside the usual ones, against other packages' values and from the command line on.

use ndarray::{Array2, s};
use ndarray_npy::WriteNpyExt;
use serde_json::Value;

use crate::tools::{fails, fixtures, put, run, stderr, stdout};

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

/// Embeddings with their labels beside them.
fn embeddings(folder: &std::path::Path, name: &str, matrix: &Array2<f32>, labels: &[String]) -> String {
    let path = folder.join(name);
    matrix.write_npy(std::fs::File::create(&path).unwrap()).unwrap();
    let row = |(at, label): (usize, &String)| format!("{label}/{at}.jpg,{label},both\n");
    let rows: String = labels.iter().enumerate().map(row).collect();
    put(path.with_extension("csv"), format!("name,label,role\n{rows}"));
    path.display().to_string()
}

fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// `classes` about their centres, in no order.
fn noisy(rows: usize, dim: usize, classes: usize, noise: f64) -> (Array2<f32>, Vec<String>) {
    let random = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract();
    let class = |row: usize| row * 7 % classes;
    let matrix = Array2::from_shape_fn((rows, dim), |(r, c)| {
        (random(class(r) * dim + c + 1) + noise * random(1_000_000 + r * dim + c)) as f32
    });
    (matrix, (0..rows).map(|row| format!("c{}", class(row))).collect())
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

#[test]
fn retrieval_agrees_with_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("../golden/figures.json")).unwrap();
    let golden = &golden["retrieval"];
    let matrix: Vec<Vec<f64>> = golden["matrix"].as_array().unwrap().iter().map(numbers).collect();
    let matrix = Array2::from_shape_fn((matrix.len(), matrix[0].len()), |(r, c)| matrix[r][c] as f32);
    let labels: Vec<String> = golden["labels"].as_array().unwrap().iter().map(|label| format!("c{label}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = embeddings(folder.path(), "e.npy", &matrix, &labels);
    let ks = numbers(&golden["ks"]).iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let (all, usual) =
        (["recall", "--embeddings", &path, "--k", &ks, "--all-figures"], ["recall", "--embeddings", &path, "--k", &ks]);
    let (found, part) = (&rows(&all)[0], &rows(&usual)[0]);
    for (name, wanted) in golden["figures"].as_object().unwrap() {
        let (value, wanted) = (found[name].as_f64(), wanted.as_f64().unwrap());
        assert!(value.is_some_and(|value| (value - wanted).abs() < 1e-6), "{name}: {value:?}, wanted {wanted}");
        // what the usual depth carries is there without the flag
        assert_eq!(part[name], if name.contains('@') { found[name].clone() } else { Value::Null }, "{name}");
    }
    let printed = stdout(&run(&all));
    assert!(["| map", "mrr", "ndcg@k", "relevant images"].iter().all(|word| printed.contains(word)), "{printed}");
    let printed = stdout(&run(&usual));
    assert!(["mrr", "ndcg", "storage", "relevant"].iter().all(|word| !printed.contains(word)), "{printed}");
    // queries by class size are all queries
    let sizes = |prefix: &str| -> Vec<f64> {
        let of = found.as_object().unwrap().iter().filter(|(name, _)| name.starts_with(prefix));
        of.map(|(_, value)| value.as_f64().unwrap()).collect()
    };
    let (queries, hits) = (sizes("queries_relevant_from_"), sizes("recall@1_relevant_from_"));
    assert_eq!(queries.iter().sum::<f64>(), found["queries"].as_f64().unwrap());
    let mean: f64 = queries.iter().zip(&hits).map(|(n, hit)| n * hit).sum::<f64>() / queries.iter().sum::<f64>();
    assert!((mean - found["recall@1"].as_f64().unwrap()).abs() < 1e-12);
}

#[test]
fn clusters_that_are_apart_are_found() {
    // Two clusters: from any first centres k-means comes to them.
    let folder = tempfile::tempdir().unwrap();
    let (matrix, labels) = noisy(60, 16, 2, 0.05);
    let path = embeddings(folder.path(), "e.npy", &matrix, &labels);
    let found = &rows(&["recall", "--embeddings", &path, "--k", "1", "--all-figures"])[0];
    assert!((found["nmi"].as_f64().unwrap() - 1.0).abs() < 1e-12 && found["ari"].as_f64() == Some(1.0), "{found}");
    assert!(found["kmeans"].as_str().unwrap().contains("2 clusters"), "{found}");
}

#[test]
fn embeddings_in_less_room_are_rows_of_one_result() {
    let folder = tempfile::tempdir().unwrap();
    let (matrix, labels) = noisy(80, 16, 8, 1.2);
    let path = embeddings(folder.path(), "e.npy", &matrix, &labels);
    let out = folder.path().join("r.csv").display().to_string();
    let recall = ["recall", "--embeddings", &path, "--k", "1,4"];
    let found = rows(&[&recall[..], &["--matryoshka", "8", "--storage", "int8,binary", "--out", &out]].concat());
    let about = |row: &Value| {
        let count = |name: &str| row[name].as_u64().unwrap();
        (row["storage"].as_str().unwrap().to_owned(), count("dim"), count("embedding_bytes"))
    };
    let wanted = [
        ("float32", 16, 64),
        ("int8", 16, 16),
        ("binary", 16, 2),
        ("float32", 8, 32),
        ("int8", 8, 8),
        ("binary", 8, 1),
    ];
    assert_eq!(found.iter().map(about).collect::<Vec<_>>(), wanted.map(|(s, d, b)| (s.to_owned(), d, b)));
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 7);
    // what is cut, and what is signs, is measured as if it had been kept so
    let cut = matrix.slice(s![.., ..8]).to_owned();
    let signs = |of: &Array2<f32>| of.mapv(|value| if value > 0.0 { 1.0_f32 } else { -1.0 });
    for (row, kept) in [(0, matrix.clone()), (2, signs(&matrix)), (3, cut.clone()), (5, signs(&cut))] {
        let path = embeddings(folder.path(), "kept.npy", &kept, &labels);
        let alone = &rows(&["recall", "--embeddings", &path, "--k", "1,4"])[0];
        for name in ["recall@1", "recall@4", "r_precision", "map@r", "ndcg@4"] {
            assert_eq!(found[row][name], alone[name], "row {row}: {name}");
        }
    }
    assert!(found[1]["search"].as_str().unwrap().contains("APPROXIMATE"), "{}", found[1]);
    let fails = |more: &[&str], code: i32, says: &[&str]| fails(code, &[&recall[..], more].concat(), says);
    fails(&["--matryoshka", "17"], 2, &["--matryoshka 17: embeddings have 16 dimensions"]);
    fails(&["--matryoshka", "0"], 2, &["--matryoshka 0"]);
    fails(&["--storage", "pq5"], 1, &["PQ5", "16"]);
    fails(&["--storage", "int4"], 2, &["int8, binary, or pq"]);
    fails(&["--storage", "int8", "--index", "SQ4"], 2, &["--index"]);
    fails(&["--index", "Bla"], 2, &["--index Bla: part 'Bla' is not understood"]);
    fails(&["--storage", "int8", "--save-run", "x"], 2, &["--save-run"]);
}

#[test]
fn embeddings_that_stay_in_their_file_give_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    // 64 rows of 512 numbers are a block of 1 MiB.
    let (matrix, labels) = noisy(300, 512, 20, 1.5);
    let path = embeddings(folder.path(), "e.npy", &matrix, &labels);
    for more in [&[][..], &["--metric", "ip"], &["--metric", "l2", "--matryoshka", "40"], &["--keep-copies"]] {
        let recall = [&["recall", "--embeddings", &path, "--k", "1,20"], more].concat();
        let (whole, parts) = (rows(&recall), rows(&[&recall[..], &["--memory", "1"]].concat()));
        assert_eq!(whole.len(), parts.len());
        for (whole, parts) in whole.iter().zip(&parts) {
            for (name, value) in whole.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("seconds")) {
                assert_eq!(parts[name], *value, "{more:?}: {name}");
            }
        }
    }
    // The run is kept but for what wants all rows.
    let run_folder = folder.path().join("run").display().to_string();
    let recall = ["recall", "--embeddings", &path, "--memory", "1"];
    let output = run(&[&recall[..], &["--save-run", &run_folder]].concat());
    assert!(output.status.success() && stderr(&output).contains("left out of the run"), "{}", stderr(&output));
    assert!(folder.path().join("run/queries.parquet").is_file() && !folder.path().join("run/map.parquet").exists());
    let fails = |more: &[&str], says: &[&str]| fails(2, &[&recall[..], more].concat(), says);
    fails(&["--all-figures"], &["--all-figures", "--memory"]);
    fails(&["--storage", "int8"], &["--storage", "--memory"]);
    fails(&["--index", "IVF4,Flat"], &["--index IVF4,Flat", "--memory", "wanted Flat"]);
    fails(&["--memory", "0"], &["--memory"]);
}

#[test]
fn open_set_identification_turns_strangers_away() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // The gallery: a at 0 and b at 90 degrees. Queries of a at 10, 30 and 70 (which is nearer to b), of b at 88; strangers, at
    // 40 to 45 degrees in forty steps, are least like a at the end.
    let mut angles = vec![0.0, 90.0, 10.0, 30.0, 70.0, 88.0];
    let mut lines = "name,label,role\ng1.jpg,a,gallery\ng2.jpg,b,gallery\n".to_owned();
    for (n, class) in ["a", "a", "a", "b"].iter().enumerate() {
        lines += &format!("q{n}.jpg,{class},query\n");
    }
    for n in 0..40 {
        angles.push(40.0 + f64::from(n) / 8.0);
        lines += &format!("s{n}.jpg,stranger{n},query\n");
    }
    let matrix = Array2::from_shape_fn((angles.len(), 2), |(row, axis)| {
        let angle = angles[row].to_radians();
        (if axis == 0 { angle.cos() } else { angle.sin() }) as f32
    });
    matrix.write_npy(std::fs::File::create(at("e.npy")).unwrap()).unwrap();
    put(at("e.csv"), &lines);
    let path = at("e.npy");
    let recall = ["recall", "--embeddings", &path, "--k", "1"];
    let found = &rows(&[&recall[..], &["--open-set"]].concat())[0];
    assert_eq!((found["unmated_queries"].as_u64(), found["queries"].as_u64()), (Some(40), Some(4)));
    // Three of four are named rightly. At most 4 of 40 strangers: from the one at 40.375 degrees on, which all three pass.
    assert_eq!(found["dir@far=0.1"].as_f64(), Some(0.75));
    let threshold = found["dir_threshold@far=0.1"].as_f64().unwrap();
    assert!((threshold - 40.375_f64.to_radians().cos()).abs() < 1e-6, "{threshold}");
    assert!(found["dir@far=0.01"].is_null(), "40 strangers carry no FAR below 0.075");
    // Intervals: classes are drawn, all four queries and forty strangers with them; a target that is not carried has none.
    let output = run(&[&recall[..], &["--open-set", "--bootstrap", "200", "--json"]].concat());
    assert!(stderr(&output).contains("only 2 classes: the intervals are rough"), "{}", stderr(&output));
    let drawn = &serde_json::from_str::<Vec<Value>>(&stdout(&output)).unwrap()[0];
    let end = |name: &str| drawn[name].as_f64().unwrap_or_else(|| panic!("{name} of {drawn}"));
    for name in ["recall@1", "r_precision", "map@r", "dir@far=0.1"] {
        let (from, to) = (end(&format!("{name}_from")), end(&format!("{name}_to")));
        assert!(from <= end(name) && end(name) <= to && from < to, "{name}: {from} to {to}");
    }
    assert!(drawn.get("dir@far=0.01_from").is_none_or(Value::is_null));
    assert_eq!(drawn["bootstrap"].as_str(), Some("200 draws of classes, percentile interval of 0.95"));
    // What is true of every way to keep embeddings is said once.
    let several = run(&[&recall[..], &["--bootstrap", "100", "--matryoshka", "1", "--storage", "binary"]].concat());
    assert_eq!(stderr(&several).matches("the intervals are rough").count(), 1, "{}", stderr(&several));
    let printed = stdout(&run(&[&recall[..], &["--open-set", "--bootstrap", "200"]].concat()));
    assert!(printed.contains("Intervals: 200 draws of classes") && printed.contains("dir@far=0.1"), "{printed}");
    fails(2, &[&recall[..], &["--bootstrap", "1"]].concat(), &["--bootstrap 1: wanted 100 to"]);
    fails(2, &[&recall[..], &["--bootstrap", "100", "--confidence", "95"]].concat(), &["--confidence"]);
    fails(2, &[&recall[..], &["--seed", "9"]].concat(), &["--bootstrap"]);
    for name in found.as_object().unwrap().keys() {
        assert!(pdloss_eval::table::schema::find(name).is_some(), "{name} is in no list of columns");
    }
    let printed = stdout(&run(&[&recall[..], &["--open-set"]].concat()));
    assert!(printed.contains("FAR over 40 queries"), "{printed}");
    // without strangers there is nothing to turn away
    put(at("e.csv"), lines.split("s0.jpg").next().unwrap());
    matrix.slice(s![..6, ..]).to_owned().write_npy(std::fs::File::create(at("e.npy")).unwrap()).unwrap();
    fails(2, &[&recall[..], &["--open-set"]].concat(), &["--open-set: 0 queries have no image of their class"]);
}

#[test]
fn the_same_images_are_measured_corrupted() {
    let path = |name: &str| fixtures().join(name).display().to_string();
    let (model, data) = (path("embedder.onnx"), path("shapes"));
    let recall = ["recall", "--model", &model, "--data", &data, "--k", "1"];
    let corrupted = [&recall[..], &["--corruptions", "gaussian-noise,pixelate", "--severities", "1,5"]].concat();
    let found = rows(&corrupted);
    let about = |row: &Value| (row["corruption"].as_str().unwrap().to_owned(), row["severity"].as_u64());
    let wanted = [
        ("none", None),
        ("gaussian-noise", Some(1)),
        ("gaussian-noise", Some(5)),
        ("pixelate", Some(1)),
        ("pixelate", Some(5)),
    ];
    assert_eq!(found.iter().map(about).collect::<Vec<_>>(), wanted.map(|(kind, n)| (kind.to_owned(), n)));
    let plain = &rows(&recall)[0];
    for name in ["recall@1", "map@r", "data_sha256", "images"] {
        assert_eq!(found[0][name], plain[name], "{name}");
    }
    let map = |row: &Value| row["map@r"].as_f64().unwrap();
    assert!(map(&found[2]) < map(&found[0]) && map(&found[4]) < map(&found[0]), "{found:?}");
    assert!(
        found[1]["corruption_seed"].as_u64() == Some(1)
            && found.iter().all(|row| row["data_sha256"] == plain["data_sha256"])
    );
    for name in found[1].as_object().unwrap().keys() {
        assert!(pdloss_eval::table::schema::find(name).is_some(), "{name} is in no list of columns");
    }
    // Every column once, with the times of its own row; `tabulate` reads it back. What is asked for twice is measured once.
    let folder = tempfile::tempdir().unwrap();
    let (json, csv) = (folder.path().join("x.json"), folder.path().join("x.csv"));
    let twice = ["--corruptions", "jpeg,jpeg", "--severities", "1,1", "--out"];
    for out in [&json, &csv] {
        let output = run(&[&recall[..], &twice, &[out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let again = run(&["tabulate", out.to_str().unwrap(), "--json"]);
        assert!(again.status.success(), "{}", stderr(&again));
        let again: Vec<Value> = serde_json::from_str(&stdout(&again)).unwrap();
        assert_eq!(again.len(), 2, "{again:?}");
        assert_ne!(again[0]["seconds_embed"], again[1]["seconds_embed"]);
    }
    let text = std::fs::read_to_string(&json).unwrap();
    assert_eq!(text.matches("\"model_sha256\"").count(), 2, "{text}");
    // The same noise again; another one from another seed.
    let of_seed = |seed: &str| {
        rows(
            &[&recall[..], &["--corruptions", "gaussian-noise", "--severities", "5", "--corruption-seed", seed]]
                .concat(),
        )
    };
    assert_eq!(of_seed("1")[1]["map@r"], found[2]["map@r"]);
    assert_ne!(of_seed("2")[1]["map@r"], found[2]["map@r"]);
    let printed = stdout(&run(&corrupted));
    assert!(printed.contains("corruption") && printed.contains("gaussian-noise"), "{printed}");
    fails(2, &[&recall[..], &["--corruptions", "fog"]].concat(), &["fog", "pixelate"]);
    fails(2, &[&recall[..], &["--corruptions", "jpeg", "--severities", "6"]].concat(), &["--severities"]);
    fails(2, &[&recall[..], &["--severities", "1"]].concat(), &["--corruptions"]);
}

#[test]
fn what_a_model_costs_is_measured_beside_what_it_reaches() {
    let path = |name: &str| fixtures().join(name).display().to_string();
    let (model, data) = (path("embedder.onnx"), path("shapes"));
    for runtime in ["onnxruntime", "tract"] {
        let taken = ["recall", "--model", &model, "--data", &data, "--runtime", runtime, "--efficiency"];
        let row = &rows(&taken)[0];
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        // Each value of the three maps is a sum of 3x3 products a channel before it; the last layer is 64 by 32.
        let products = 16 * 48 * 48 * 9 + 32 * 24 * 24 * 16 * 9 + 64 * 12 * 12 * 32 * 9 + 64 * 32;
        assert_eq!(number("operations"), f64::from(2 * products));
        assert_eq!(number("parameters"), 25_714.0);
        assert_eq!(number("model_bytes"), std::fs::metadata(&model).unwrap().len() as f64);
        assert!(0.0 < number("latency") && number("latency") <= number("latency_p95"), "{row}");
        assert!(number("latency_runs") >= 1.0 && number("throughput") > 0.0, "{row}");
        assert!(number("peak_memory") > number("model_bytes"), "{row}");
        assert!(row["machine"].as_str().is_some_and(|machine| machine.contains(" x ")), "{row}");
    }
    let plain = run(&["verify", "--model", &model, "--data", &data, "--all-pairs", "--efficiency"]);
    assert!(plain.status.success(), "{}", stderr(&plain));
    for words in
        ["ms an image one by one", "images/s in batches of 8", "25.71 k parameters, 11.28 M operations an image"]
    {
        assert!(stdout(&plain).contains(words), "wanted '{words}' in: {}", stdout(&plain));
    }
    // Nothing is timed where nothing runs.
    fails(2, &["recall", "--embeddings", "kept.npy", "--efficiency"], &["--efficiency", "--embeddings"]);
}

/// Of two bits nearly everything ties: rows class by class would look better, or worse, than they are.
#[test]
fn figures_that_hang_on_the_order_of_rows_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
    let matrix = Array2::from_shape_fn((40, 8), |(r, c)| noise(r * 8 + c + 1));
    let labels: Vec<String> = (0..40).map(|at| (at / 4).to_string()).collect();
    let path = embeddings(folder.path(), "e.npy", &matrix, &labels);
    let command = ["recall", "--embeddings", &path, "--k", "1", "--json"];
    let output = run(&[&command[..], &["--matryoshka", "2", "--storage", "binary"]].concat());
    let said = stderr(&output);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tied = |at: usize| rows[at]["tied_queries"].as_f64().unwrap();
    // All numbers, their signs, two numbers, two signs.
    assert_eq!((tied(0), tied(2)), (0.0, 0.0), "{rows}");
    assert!(tied(1) > 0.1 && tied(3) > 0.9, "{rows}");
    assert!(
        said.contains("2 numbers in binary: of 40 queries ") && said.contains("the order of the rows decides"),
        "{said}"
    );
    assert!(!said.contains("numbers in float32"), "{said}");
}

/// Distances are counted in whole numbers of any width.
#[test]
fn scores_are_whole_numbers_of_any_width() {
    fn of<T: ndarray_npy::WritableElement + Copy + TryFrom<u8>>(folder: &std::path::Path) -> String
    where
        T::Error: std::fmt::Debug,
    {
        let write = |name: &str, values: [u8; 4]| {
            let values: Vec<T> = values.into_iter().map(|value| T::try_from(value).unwrap()).collect();
            let path = folder.join(name);
            ndarray_npy::write_npy(&path, &ndarray::Array1::from_vec(values)).unwrap();
            path
        };
        let (genuine, impostor) = (write("g.npy", [3, 5, 5, 9]), write("i.npy", [4, 9, 12, 30]));
        let [genuine, impostor] = [&genuine, &impostor].map(|path| crate::tools::text(path));
        let words = ["scores", "--genuine", genuine, "--impostor", impostor, "--distance", "--json"];
        let output = crate::tools::run(&words);
        assert!(output.status.success(), "{}: {}", std::any::type_name::<T>(), crate::tools::stderr(&output));
        let rows: serde_json::Value = serde_json::from_str(&crate::tools::stdout(&output)).unwrap();
        format!("{} {}", rows[0]["eer"], rows[0]["auc"])
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let wanted = of::<i64>(path);
    let found = [
        of::<u8>(path),
        of::<i8>(path),
        of::<u16>(path),
        of::<i16>(path),
        of::<u32>(path),
        of::<i32>(path),
        of::<u64>(path),
    ];
    assert!(found.iter().all(|found| *found == wanted), "{found:?} {wanted}");
}
