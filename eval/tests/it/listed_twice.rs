//! What stands twice in lists, or on both sides of them: said, counted or refused, and never a figure that looks right.

use std::fmt::Write;

use ndarray::Array2;
use ndarray_npy::write_npy;
use serde_json::Value;

use crate::tools::{fails, put, run, stderr, stdout};

/// Images of each template, templates of each subject.
const EACH: usize = 2;
const TEMPLATES: usize = 12;

/// A folder with embeddings that say nothing of the subjects, and lists of templates of them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        let matrix = Array2::from_shape_fn((TEMPLATES * EACH, 4), |(r, c)| noise(r * 4 + c + 1));
        write_npy(folder.at("e.npy"), &matrix).unwrap();
        let lines = |line: &dyn Fn(usize) -> String| (0..TEMPLATES * EACH).map(line).collect::<String>();
        put(folder.at("e.csv"), format!("path,label\n{}", lines(&|n| format!("{n}.jpg,{}\n", n / 4))));
        put(folder.at("media.txt"), lines(&|n| format!("{n}.jpg {} {n}\n", n / EACH + 1)));
        folder.identities("odd.csv", &|t| t % 2 == 1);
        folder.identities("even.csv", &|t| t % 2 == 0);
        folder.identities("all.csv", &|_| true);
        folder
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn identities(&self, name: &str, is_in: &dyn Fn(usize) -> bool) {
        let mut text = "TEMPLATE_ID,SUBJECT_ID\n".to_owned();
        for template in (1..=TEMPLATES).filter(|&t| is_in(t)) {
            writeln!(text, "{template},{}", (template - 1) / 2).unwrap();
        }
        put(self.at(name), text);
    }

    fn recall(&self, gallery: &str, probes: &str, more: &[&str]) -> Vec<String> {
        let lists =
            ["--templates", &self.at("media.txt"), "--gallery", &self.at(gallery), "--probes", &self.at(probes)];
        let words = ["recall", "--embeddings", &self.at("e.npy"), "--labels", &self.at("e.csv"), "--k", "1", "--json"];
        words.iter().chain(&lists).chain(more).map(|word| (*word).to_owned()).collect()
    }
}

/// The first row of a run that must succeed.
fn row(words: &[String]) -> Value {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = run(&words);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    let rows: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    for note in rows[0]["notes"].as_str().unwrap_or_default().split("; ") {
        assert!(stderr(&output).contains(note), "{note}, recorded and not printed: {}", stderr(&output));
    }
    rows[0].clone()
}

fn notes(row: &Value) -> &str {
    row["notes"].as_str().unwrap_or_default()
}

#[test]
fn a_template_in_gallery_and_probes_does_not_find_itself() {
    let folder = Folder::new();
    let apart = row(&folder.recall("odd.csv", "even.csv", &[]));
    assert!(!notes(&apart).contains("own search"), "{}", notes(&apart));
    // All templates beside the probes: each is searched for among the other eleven.
    let among = row(&folder.recall("all.csv", "even.csv", &[]));
    let said = format!(
        "6 templates of {} are in {}, too: each is left out of its own search",
        folder.at("even.csv"),
        folder.at("all.csv")
    );
    assert!(notes(&among).contains(&said), "{}", notes(&among));
    let found = among["recall@1"].as_f64().unwrap();
    assert!(found < 0.7, "{found}: noise names nobody rightly");
    assert_eq!((&among["queries"], among["copies"].as_u64()), (&Value::from(6), Some(0)));
    assert_eq!((&among["images"], &among["gallery"]), (&Value::from(24), &Value::from(12)), "images of templates");
    let whole = row(&folder.recall("all.csv", "all.csv", &["--all-figures"]));
    assert!(notes(&whole).contains("12 templates of"), "{}", notes(&whole));
    // In the open set those who are in the gallery with nothing but themselves are unmated.
    folder.identities("some.csv", &|t| t != 1 && t != 3);
    let open = row(&folder.recall("some.csv", "even.csv", &["--open-set"]));
    assert_eq!((&open["queries"], &open["unmated_queries"]), (&Value::from(4), &Value::from(2)));
    assert!(notes(&open).contains("2 of them have no other of their class there"), "{}", notes(&open));
}

#[test]
fn a_query_that_is_in_the_gallery_by_name_does_not_find_itself() {
    let folder = Folder::new();
    let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
    // Six queries, each the same row as one of the gallery.
    let matrix = Array2::from_shape_fn((6 + 24, 4), |(r, c)| noise(if r < 6 { 4 * r } else { r - 6 } * 4 + c + 1));
    write_npy(folder.at("r.npy"), &matrix).unwrap();
    let labels = |name: &dyn Fn(usize) -> usize| {
        let of = |r: usize| if r < 6 { (name(r), r, "query") } else { (r - 6, (r - 6) / 4, "gallery") };
        let line = |(name, label, role)| format!("{name}.jpg,{label},{role}\n");
        (0..30).map(|r| line(of(r))).collect::<String>()
    };
    let words = |more: &[&str]| -> Vec<String> {
        let words = ["recall", "--embeddings", &folder.at("r.npy"), "--k", "1", "--json"];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    put(folder.at("r.csv"), format!("name,label,role\n{}", labels(&|r| 100 + r)));
    assert_eq!(row(&words(&[]))["recall@1"], 1.0, "other names: copies that nobody knows of");
    put(folder.at("r.csv"), format!("name,label,role\n{}", labels(&|r| 4 * r)));
    let found = row(&words(&[]));
    assert!(notes(&found).contains("6 queries are by name in the gallery, too: each is left out"), "{}", notes(&found));
    assert!(!notes(&found).contains("equal to another one"), "{}", notes(&found));
    assert!(found["recall@1"].as_f64().unwrap() < 0.7, "{}", found["recall@1"]);
    for more in [&["--memory", "1"][..], &["--keep-copies"]] {
        assert_eq!(row(&words(more))["recall@1"], found["recall@1"], "{more:?}");
    }
}

/// All pairs of the templates, a line each, and others behind them.
fn pairs(more: &str) -> String {
    let all = (1..=TEMPLATES).flat_map(|a| (a + 1..=TEMPLATES).map(move |b| (a, b)));
    let line = |(a, b)| format!("{a} {b} {}\n", usize::from((a - 1) / 2 == (b - 1) / 2));
    all.map(line).collect::<String>() + more
}

#[test]
fn pairs_of_templates_are_checked_as_pairs_of_images_are() {
    let folder = Folder::new();
    let words = |pairs: &str, more: &[&str]| -> Vec<String> {
        put(folder.at("pairs.txt"), pairs);
        let words = ["verify", "--embeddings", &folder.at("e.npy"), "--labels", &folder.at("e.csv"), "--json"];
        let lists = ["--templates", &folder.at("media.txt"), "--pairs", &folder.at("pairs.txt")];
        words.iter().chain(&lists).chain(more).map(|word| (*word).to_owned()).collect()
    };
    let refused = |listed: &str, says: &[&str]| {
        let words = words(listed, &[]);
        fails(1, &words.iter().map(String::as_str).collect::<Vec<_>>(), says);
    };
    let plain = row(&words(&pairs(""), &[]));
    assert!(!notes(&plain).contains("listed again"), "{}", notes(&plain));
    refused(
        &pairs("1 1 1\n"),
        &["pairs.txt", "1 of its 67 pairs are a template with itself, the first 1; wanted two templates a pair"],
    );
    refused(&pairs("2 1 0\n"), &["2 of its 67 pairs are called both genuine and impostor, the first 1 and 2"]);
    let without = row(&words(&pairs("1 1 1\n4 3 0\n"), &["--skip-bad"]));
    for said in
        ["left out 1 pairs of a template with itself", "left out 2 pairs that are called both genuine and impostor"]
    {
        assert!(notes(&without).contains(said), "{}", notes(&without));
    }
    assert_eq!((&without["genuine_pairs"], &without["pairs_listed"]), (&Value::from(5), &Value::from(68)));
    assert_eq!(without["pairs_with_itself"], 1);
    let again = row(&words(&pairs("1 2 1\n5 1 0\n"), &[]));
    let said = format!("2 pairs of {} are listed again, in either order", folder.at("pairs.txt"));
    assert!(notes(&again).contains(&said), "{}", notes(&again));
    let left = words("1 1 1\n1 3 0\n2 5 0\n", &["--skip-bad"]);
    let says = ["0 genuine and 2 impostor pairs of two templates are there of its 3"];
    fails(1, &left.iter().map(String::as_str).collect::<Vec<_>>(), &says);
}

#[test]
fn an_image_of_a_medium_in_two_spellings_is_refused() {
    let folder = Folder::new();
    let media = std::fs::read_to_string(folder.at("media.txt")).unwrap();
    put(folder.at("media.txt"), format!("{media}x/0.jpg 1 0\n"));
    let words = folder.recall("odd.csv", "even.csv", &[]);
    let says = ["0.jpg and x/0.jpg of template 1 are one image in two spellings"];
    fails(1, &words.iter().map(String::as_str).collect::<Vec<_>>(), &says);
}

#[test]
fn ids_of_templates_that_differ_in_a_zero_are_said() {
    let folder = Folder::new();
    let media = (0..TEMPLATES * EACH).map(|n| (n, if n == 1 { "01".to_owned() } else { (n / EACH + 1).to_string() }));
    put(folder.at("media.txt"), media.map(|(n, template)| format!("{n}.jpg {template} {n}\n")).collect::<String>());
    let found = row(&folder.recall("odd.csv", "even.csv", &[]));
    let said = format!(
        "{}: templates whose names are nearly the same count as different ones: '01' and '1'",
        folder.at("media.txt")
    );
    assert!(notes(&found).contains(&said), "{}", notes(&found));
    put(folder.at("pairs.txt"), pairs(""));
    let verify = ["verify", "--embeddings", &folder.at("e.npy"), "--templates", &folder.at("media.txt")];
    let listed = folder.at("pairs.txt");
    let output = run(&[&verify[..], &["--pairs", &listed, "--json"]].concat());
    assert!(stderr(&output).contains(&said), "{}", stderr(&output));

    // An image under two media of one template; subjects of the probes that are written otherwise than those of the gallery.
    let folder = Folder::new();
    let media = std::fs::read_to_string(folder.at("media.txt")).unwrap();
    put(folder.at("media.txt"), format!("{media}3.jpg 2 99\n"));
    put(folder.at("even.csv"), "TEMPLATE_ID,SUBJECT_ID\n2,0\n4,01\n6,2\n");
    let found = row(&folder.recall("odd.csv", "even.csv", &[]));
    let said = "1 images are listed under another medium of their template, too, the first 3.jpg of template 2";
    assert!(notes(&found).contains(said), "{}", notes(&found));
    assert!(notes(&found).contains("nearly the same count as different ones: '01' and '1'"), "{}", notes(&found));
    assert!(notes(&found).contains("subjects of it and of the gallery whose names"), "{}", notes(&found));
    put(folder.at("even.csv"), "TEMPLATE_ID,SUBJECT_ID\n1,5\n4,1\n");
    let words = folder.recall("odd.csv", "even.csv", &[]);
    let says = ["even.csv", "template 1 is of subject 5, and of 0 in ", "odd.csv"];
    fails(1, &words.iter().map(String::as_str).collect::<Vec<_>>(), &says);
}

#[test]
fn pairs_of_templates_are_kept_with_a_run() {
    let folder = Folder::new();
    put(folder.at("pairs.txt"), pairs(""));
    let verify = |run: &str| -> Vec<String> {
        let words = ["verify", "--embeddings", &folder.at("e.npy"), "--labels", &folder.at("e.csv"), "--json"];
        let lists = ["--templates", &folder.at("media.txt"), "--pairs", &folder.at("pairs.txt")];
        words.iter().chain(&lists).chain(&["--save-run", run]).map(|word| (*word).to_owned()).collect()
    };
    let (a, b) = (folder.at("a"), folder.at("b"));
    let found = row(&verify(&a));
    row(&verify(&b));
    assert!(std::path::Path::new(&a).join("pairs.parquet").is_file());
    let out = folder.at("difference.json");
    let output = run(&["compare", &a, &b, "--draws", "100", "--out", &out]);
    assert!(output.status.success(), "{}", stderr(&output));
    let compared: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let d_prime = found["d_prime"].as_f64().unwrap();
    let is_of_run = |row: &Value| (row["A"].as_f64().unwrap() - d_prime).abs() < 1e-6 && row["B - A"] == 0.0;
    assert!(compared.iter().any(is_of_run), "{d_prime}: {compared:?}");
    let page = folder.at("page.html");
    let output = run(&["report", &a, "--out", &page]);
    assert!(output.status.success(), "{}", stderr(&output));
    // A run of an earlier version.
    std::fs::remove_file(std::path::Path::new(&a).join("pairs.parquet")).unwrap();
    fails(2, &["compare", &a, &b], &["kept counts and no pairs", "8386560 pairs", "Measure it again"]);
}

#[test]
fn an_open_set_in_which_nobody_is_found_has_a_dir_of_0() {
    let folder = Folder::new();
    // Nearest to each of the first ten queries is the row of the next class; forty more are of no class of the gallery.
    let class = |r: usize| {
        if r < 10 {
            r
        } else if r < 20 {
            r - 10
        } else {
            r
        }
    };
    let spot = |r: usize| {
        if r < 10 {
            r
        } else if r < 20 {
            (r - 10 + 1) % 10
        } else {
            r % 7
        }
    };
    let matrix =
        Array2::from_shape_fn((60, 10), |(r, c)| if spot(r) == c { 1.0 } else { 0.01 * ((r * 10 + c) as f32).sin() });
    write_npy(folder.at("o.npy"), &matrix).unwrap();
    let role = |r: usize| if (10..20).contains(&r) { "gallery" } else { "query" };
    let lines: String = (0..60).map(|r| format!("{r}.jpg,{},{}\n", class(r), role(r))).collect();
    put(folder.at("o.csv"), format!("name,label,role\n{lines}"));
    let words =
        ["recall", "--embeddings", &folder.at("o.npy"), "--k", "1", "--open-set", "--json", "--bootstrap", "100"];
    let found = row(&words.map(str::to_owned));
    assert_eq!((&found["queries"], &found["unmated_queries"]), (&Value::from(10), &Value::from(40)));
    assert_eq!((&found["recall@1"], &found["dir@far=0.1"]), (&Value::from(0.0), &Value::from(0.0)));
    assert_eq!((&found["dir@far=0.1_from"], &found["dir@far=0.1_to"]), (&Value::from(0.0), &Value::from(0.0)));
    assert!(found["dir_threshold@far=0.1"].is_number(), "{found}");
}
