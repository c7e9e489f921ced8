//! Revisited Oxford and Paris: the figures of a small ground truth against numpy's, out of pickles of Python 2 and 3.

use std::path::Path;

use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use serde_json::{Value, json};

use crate::tools::{fails, fixtures, png, put, run, stderr, stdout};

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/revisited.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The embeddings as `e.npy`, named.
fn embeddings(folder: &Path, golden: &Value) -> String {
    let rows = golden["embeddings"].as_array().unwrap();
    let matrix = Array2::from_shape_fn((rows.len(), 6), |(row, at)| rows[row][at].as_f64().unwrap() as f32);
    matrix.write_npy(std::fs::File::create(folder.join("e.npy")).unwrap()).unwrap();
    let names = golden["names"].as_array().unwrap().iter();
    let lines: String = names.map(|name| format!("jpg/{}.jpg,0\n", name.as_str().unwrap())).collect();
    put(folder.join("e.csv"), format!("name,label\n{lines}"));
    folder.join("e.npy").display().to_string()
}

fn pickle(value: &Value) -> Vec<u8> {
    serde_pickle::to_vec(value, serde_pickle::SerOptions::new()).unwrap()
}

#[test]
fn the_three_setups_have_the_figures_of_numpy() {
    let (folder, golden) = (tempfile::tempdir().unwrap(), golden());
    let path = embeddings(folder.path(), &golden);
    for (protocol, hex) in golden["pickles"].as_object().unwrap() {
        let hex = hex.as_str().unwrap().as_bytes();
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let truth = folder.path().join("gnd.pkl");
        put(&truth, hex.chunks(2).map(byte).collect::<Vec<u8>>());
        let truth = truth.display().to_string();
        let recall = ["recall", "--embeddings", &path, "--ground-truth", &truth];
        let output = run(&[&recall[..], &["--json"]].concat());
        assert!(output.status.success(), "protocol {protocol}: {}", stderr(&output));
        let found: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(found.len(), 3);
        for (row, setup) in found.iter().zip(["easy", "medium", "hard"]) {
            let wanted = &golden["figures"][setup];
            assert_eq!((row["setup"].as_str(), &row["queries"]), (Some(setup), &wanted["queries"]));
            let close = |name: &str, wanted: &Value| {
                let (found, wanted) = (row[name].as_f64().unwrap(), wanted.as_f64().unwrap());
                assert!((found - wanted).abs() < 1e-9, "{setup} {name}: {found}, wanted {wanted}");
            };
            close("map_revisited", &wanted["map"]);
            for (at, k) in [1, 5, 10].iter().enumerate() {
                close(&format!("mp@{k}"), &wanted["mp"][at]);
            }
            for name in row.as_object().unwrap().keys() {
                assert!(pdloss_eval::table::schema::find(name).is_some(), "{name} is in no list of columns");
            }
        }
        // Intervals hold the figures; of one seed they are the same again.
        let again = || stdout(&run(&[&recall[..], &["--json", "--bootstrap", "100"]].concat()));
        let drawn: Vec<Value> = serde_json::from_str(&again()).unwrap();
        assert_eq!(drawn.len(), 3);
        for (row, plain) in drawn.iter().zip(&found) {
            for name in ["map_revisited", "mp@1", "mp@5", "mp@10"] {
                let end = |end: &str| row[format!("{name}_{end}")].as_f64().unwrap();
                let value = plain[name].as_f64().unwrap();
                assert!(end("from") <= value && value <= end("to"), "{name}: {row}");
            }
            assert_eq!(row["bootstrap"].as_str(), Some("100 draws of queries, percentile interval of 0.95"));
        }
        let same: Vec<Value> = serde_json::from_str(&again()).unwrap();
        assert_eq!(drawn[0]["mp@5_from"], same[0]["mp@5_from"]);
        let printed = stdout(&run(&[&recall[..], &["--bootstrap", "100"]].concat()));
        assert!(printed.contains("Intervals: 100 draws of queries") && !printed.contains("mp@1_from"), "{printed}");
        let printed = stdout(&run(&recall));
        assert!(printed.contains("map_revisited") && printed.contains("medium"), "{printed}");
    }
}

#[test]
fn what_is_wrong_with_a_ground_truth_is_named() {
    let (folder, golden) = (tempfile::tempdir().unwrap(), golden());
    let path = embeddings(folder.path(), &golden);
    let truth = folder.path().join("gnd.pkl").display().to_string();
    let recall = ["recall", "--embeddings", &path, "--ground-truth", &truth];
    let good = json!({"imlist": ["place_000001", "place_000002"], "qimlist": ["query_0"],
        "gnd": [{"bbx": [0, 0, 5, 5], "easy": [0], "hard": [], "junk": [1]}]});
    let with = |place: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value;
        put(&truth, pickle(&changed));
    };
    with("/gnd/0/easy", json!([2]));
    fails(1, &recall, &["gnd.pkl", "query 0 of 'gnd', query_0", "'easy'", "from 0 to 1"]);
    with("/gnd/0/junk", json!([0]));
    fails(1, &recall, &["judges image place_000001 twice"]);
    with("/gnd/0/bbx", json!([1, 2, 3]));
    fails(1, &recall, &["'bbx' is no four numbers"]);
    with("/qimlist", json!(["query_0", "query_1"]));
    fails(1, &recall, &["'qimlist' has 2 queries, 'gnd' 1 entries"]);
    with("/imlist/0", json!("elsewhere"));
    fails(1, &recall, &["elsewhere", "is not there"]);
    with("/imlist/1", json!("query_0"));
    fails(1, &recall, &["query_0 of 'qimlist' is an image of 'imlist', too", "finds itself"]);
    with("/imlist/1", json!("place_000001.jpg"));
    fails(1, &recall, &["'imlist' has one image twice, as place_000001 and as place_000001.jpg"]);
    let mut twice = good.clone();
    twice["qimlist"] = json!(["query_0", "query_0"]);
    twice["gnd"] = json!([good["gnd"][0], good["gnd"][0]]);
    put(&truth, pickle(&twice));
    fails(1, &recall, &["'qimlist' has one image twice, as query_0 and as query_0"]);
    with("/gnd/0/easy", json!([]));
    fails(1, &recall, &["no query with an image to find in the setup 'easy'"]);
    put(&truth, b"cnumpy\nndarray\n.");
    fails(1, &recall, &["numpy.ndarray", "wanted plain lists"]);
    fails(2, &[&recall[..], &["--k", "1"]].concat(), &["--ground-truth", "--k"]);
}

#[test]
fn queries_are_cut_to_the_part_that_is_asked_with_where_one_is_named() {
    // Four colours; the query shows red within blue, and only its part is searched with.
    let folder = tempfile::tempdir().unwrap();
    let colors = [("red", [220, 10, 10]), ("green", [10, 220, 10]), ("blue", [10, 10, 220]), ("grey", [90, 90, 90])];
    for (name, color) in colors {
        put(folder.path().join(format!("jpg/{name}.png")), png(color));
    }
    let query = image::RgbImage::from_fn(40, 40, |x, y| {
        image::Rgb(if (10..20).contains(&x) && y < 8 { [220, 10, 10] } else { [10, 10, 220] })
    });
    query.save(folder.path().join("jpg/query.png")).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let model = fixtures().join("embedder.onnx").display().to_string();
    let (data, truth) = (at("jpg"), at("gnd.pkl"));
    let first = |part: Value| {
        let mut of = json!({"bbx": part, "easy": [0], "hard": [1], "junk": []});
        if part.is_null() {
            of.as_object_mut().unwrap().remove("bbx");
        }
        let names = ["red", "green", "blue", "grey"];
        put(&truth, pickle(&json!({"imlist": names, "qimlist": ["query"], "gnd": [of]})));
        let output = run(&["recall", "--model", &model, "--data", &data, "--ground-truth", &truth, "--json"]);
        let error = stderr(&output);
        assert!(output.status.success() && error.contains("measures 5 images of "), "{error}");
        let found: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
        let whole = format!("1 of 1 queries of {truth} have no bbx and are taken whole");
        assert_eq!(error.contains(&whole), part.is_null(), "{error}");
        assert_eq!(found[0]["notes"].as_str().unwrap_or_default().contains(&whole), part.is_null());
        found[0]["mp@1"].as_f64().unwrap()
    };
    assert_eq!(first(json!([10.0, 0.0, 20.0, 8.0])), 1.0, "red alone");
    assert_eq!(first(json!([0.0, 20.0, 40.0, 40.0])), 0.0, "blue alone");
    first(Value::Null);
}
