//! Templates in the files of IJB-B and IJB-C: the figures of a small protocol against numpy's.

use std::path::Path;

use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use serde_json::Value;

use crate::tools::{fails, put, run, stderr, stdout};

/// The protocol of `golden/templates.py`, with its files in a folder.
struct Protocol {
    folder: tempfile::TempDir,
    wanted: Value,
}

impl Protocol {
    fn new() -> Self {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/templates.json"));
        let wanted: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let protocol = Self { folder: tempfile::tempdir().unwrap(), wanted };
        let rows = protocol.wanted["embeddings"].as_array().unwrap();
        let number = |(row, column): (usize, usize)| rows[row][column].as_f64().unwrap() as f32;
        let matrix = Array2::from_shape_fn((rows.len(), 8), number);
        matrix.write_npy(std::fs::File::create(protocol.at("faces.npy")).unwrap()).unwrap();
        let names = protocol.wanted["names"].as_array().unwrap();
        let lines: String = names.iter().map(|name| format!("loose_crop/{},0\n", name.as_str().unwrap())).collect();
        put(protocol.at("faces.csv"), format!("name,label\n{lines}"));
        put(protocol.at("media.txt"), protocol.wanted["media"].as_str().unwrap());
        put(protocol.at("pairs.txt"), protocol.wanted["pairs"].as_str().unwrap());
        for (name, text) in protocol.wanted["lists"].as_object().unwrap() {
            put(protocol.at(name), text.as_str().unwrap());
        }
        protocol
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn verify(&self, more: &[&str]) -> Vec<String> {
        let words = ["verify", "--embeddings", &self.at("faces.npy"), "--templates", &self.at("media.txt"), "--pairs"];
        let words = words.iter().map(|word| (*word).to_owned()).chain([self.at("pairs.txt")]);
        words.chain(more.iter().map(|word| (*word).to_owned())).collect()
    }

    fn recall(&self, more: &[&str]) -> Vec<String> {
        let galleries = format!("{},{}", self.at("G1.csv"), self.at("G2.csv"));
        let words = [
            ["recall", "--embeddings", &self.at("faces.npy")].map(str::to_owned).to_vec(),
            vec!["--templates".into(), self.at("media.txt"), "--gallery".into(), galleries],
            vec!["--probes".into(), self.at("probes.csv"), "--open-set".into()],
        ];
        words.concat().into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect()
    }
}

fn rows(words: &[String]) -> Vec<Value> {
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["--json"]).collect();
    let output = run(&words);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    let found: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    for name in found[0].as_object().unwrap().keys() {
        assert!(pdloss_eval::table::schema::find(name).is_some(), "{name} is in no list of columns");
    }
    found
}

fn close(found: &Value, wanted: &Value, what: &str) {
    let (found, wanted) = (found.as_f64().unwrap_or(f64::NAN), wanted.as_f64().unwrap());
    assert!((found - wanted).abs() < 1e-6, "{what}: {found}, wanted {wanted}");
}

#[test]
fn pairs_of_templates_have_the_rates_of_numpy() {
    let protocol = Protocol::new();
    let found = &rows(&protocol.verify(&["--bootstrap", "100"]))[0];
    let genuine = found["genuine_pairs"].as_f64().unwrap();
    assert_eq!((genuine, found["impostor_pairs"].as_u64()), (80.0, Some(80 * 79)));
    for (target, wanted) in protocol.wanted["verified"].as_object().unwrap() {
        close(&found[format!("threshold@fmr={target}")], &wanted["threshold"], target);
        let accepted = (1.0 - found[format!("fnmr@fmr={target}")].as_f64().unwrap()) * genuine;
        assert!((accepted - wanted["accepted"].as_f64().unwrap()).abs() < 1e-6, "{target}: {accepted}");
    }
    assert!(found["fnmr@fmr=0.0001"].is_null(), "6,320 impostor pairs carry no FAR below 0.00047");
    let media = protocol.wanted["media"].as_str().unwrap();
    let distinct: std::collections::HashSet<&str> = media.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(found["template_count"], protocol.wanted["templates"]);
    assert_eq!(found["media"].as_u64(), Some(distinct.len() as u64));
    assert_eq!(found["subjects"].as_u64(), Some(80), "told by genuine pairs");
    let (from, to) = (found["fnmr@fmr=0.01_from"].as_f64().unwrap(), found["fnmr@fmr=0.01_to"].as_f64().unwrap());
    assert!(from <= found["fnmr@fmr=0.01"].as_f64().unwrap() && found["fnmr@fmr=0.01"].as_f64().unwrap() <= to);
}

#[test]
fn probes_search_both_galleries_as_numpy_does() {
    let protocol = Protocol::new();
    let found = rows(&protocol.recall(&[]));
    assert_eq!(found.len(), 2);
    for (found, name) in found.iter().zip(["G1.csv", "G2.csv"]) {
        let wanted = &protocol.wanted["identified"][name];
        assert_eq!(found["gallery_list"].as_str(), Some(protocol.at(name).as_str()));
        for (k, share) in wanted["rank"].as_object().unwrap() {
            close(&found[format!("recall@{k}")], share, &format!("{name}, rank {k}"));
        }
        assert_eq!((&found["queries"], &found["unmated_queries"]), (&wanted["mated"], &wanted["unmated"]));
        assert_eq!(found["gallery"].as_u64(), Some(40));
        close(&found["dir@far=0.1"], &wanted["tpir"], name);
        close(&found["dir_threshold@far=0.1"], &wanted["threshold"], name);
    }
    // Rank-k and TPIR at FPIR with their intervals: people are drawn.
    for row in rows(&protocol.recall(&["--bootstrap", "100"])) {
        for name in ["recall@1", "recall@5", "dir@far=0.1"] {
            let number = |name: String| row[&name].as_f64().unwrap_or_else(|| panic!("{name}"));
            let (from, to) = (number(format!("{name}_from")), number(format!("{name}_to")));
            assert!(from <= number(name.into()) && number(name.into()) <= to, "{name}: {from} to {to}");
        }
    }
    let words = protocol.recall(&[]);
    let printed = stdout(&run(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(printed.contains("G1.csv: FAR over 40") && printed.contains("G2.csv: FAR over 40"), "{printed}");
}

#[test]
fn a_gallery_that_is_given_twice_is_searched_once() {
    let protocol = Protocol::new();
    let mut words = protocol.recall(&[]);
    let at = words.iter().position(|word| word == "--gallery").unwrap() + 1;
    let gallery = protocol.at("G1.csv");
    words[at] = format!("{gallery},{gallery},{}/./G1.csv", protocol.folder.path().display());
    assert_eq!(rows(&words).len(), 1);
}

#[test]
fn lists_that_do_not_fit_are_named() {
    let protocol = Protocol::new();
    let fails = |code: i32, words: Vec<String>, says: &[&str]| {
        fails(code, &words.iter().map(String::as_str).collect::<Vec<_>>(), says);
    };
    fails(2, protocol.verify(&["--all-pairs"]), &["--all-pairs"]);
    fails(2, protocol.verify(&["--skip-missing"]), &["--skip-missing", "--templates"]);
    fails(2, protocol.recall(&["--save-run", &protocol.at("run")]), &["--save-run", "one in --gallery"]);
    fails(2, protocol.recall(&["--memory", "1"]), &["--memory", "--templates"]);
    let only = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (faces, media) = (protocol.at("faces.npy"), protocol.at("media.txt"));
    fails(2, only(&["recall", "--embeddings", &faces, "--templates", &media]), &["--gallery", "--probes"]);
    fails(2, only(&["recall", "--embeddings", &faces, "--probes", &media]), &["--templates"]);
    // An image that no row is named after; a template that the media do not have.
    put(protocol.at("media.txt"), format!("{}zzz.jpg 1000 50\n", protocol.wanted["media"].as_str().unwrap()));
    fails(1, protocol.verify(&[]), &["zzz.jpg", "1 of ", "media.txt"]);
    put(protocol.at("media.txt"), protocol.wanted["media"].as_str().unwrap());
    put(protocol.at("G2.csv"), "TEMPLATE_ID,SUBJECT_ID\n99999,1\n");
    fails(1, protocol.recall(&[]), &["G2.csv", "line 2", "template 99999 has no image"]);
}

#[test]
fn probes_that_share_an_image_with_the_gallery_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    Array2::from_shape_fn((4, 2), |(row, column)| 1.0 + (row * (column + 1)) as f32)
        .write_npy(std::fs::File::create(at("e.npy")).unwrap())
        .unwrap();
    put(at("e.csv"), "name,label\na.jpg,0\nb.jpg,0\nc.jpg,1\nd.jpg,1\n");
    put(at("media.txt"), "a.jpg 1 5\nc.jpg 2 6\na.jpg 3 7\nb.jpg 3 7\nd.jpg 4 8\n");
    put(at("g.csv"), "TEMPLATE_ID,SUBJECT_ID\n1,0\n2,1\n");
    put(at("p.csv"), "TEMPLATE_ID,SUBJECT_ID\n3,0\n4,1\n");
    let output = run(&[
        "recall",
        "--embeddings",
        &at("e.npy"),
        "--templates",
        &at("media.txt"),
        "--gallery",
        &at("g.csv"),
        "--probes",
        &at("p.csv"),
        "--k",
        "1",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("1 of 2 probes share an image with their own subject's template in"),
        "{}",
        stderr(&output)
    );
}
