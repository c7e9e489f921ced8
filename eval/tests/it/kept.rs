//! Kept embeddings of several models over one list: one data set, and no other.

use ndarray::Array2;
use ndarray_npy::write_npy;

use crate::tools::{fails, put, run, stderr};

const ROWS: usize = 24;
/// As many as classes.
const DIM: usize = 12;

/// A folder with two models' embeddings, each of which knows its labels.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes embeddings whose rows are called so, more or less noisy, and measures them.
    fn measured(&self, name: &str, command: &[&str], noise: f32, rows: &[[&str; 3]], order: &[usize]) -> String {
        let value = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        let of = |row: usize, column: usize| {
            let class: usize = rows[row][1].parse().unwrap();
            f32::from(u8::from(class == column)) + noise * value(row * DIM + column + 1)
        };
        let matrix = Array2::from_shape_fn((order.len(), DIM), |(at, column)| of(order[at], column));
        write_npy(self.at(&format!("{name}.npy")), &matrix).unwrap();
        let line = |row: &usize| rows[*row].join(",") + "\n";
        put(
            self.at(&format!("{name}.csv")),
            format!("name,label,role\n{}", order.iter().map(line).collect::<String>()),
        );
        let (embeddings, run_folder) = (self.at(&format!("{name}.npy")), self.at(&format!("run-{name}")));
        let output = run(&[command, &["--embeddings", &embeddings, "--save-run", &run_folder]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        run_folder
    }
}

/// The run has no d' then, and says why.
#[test]
fn a_run_without_all_pairs_says_so() {
    let folder = Folder::new();
    let names: Vec<String> = (0..ROWS).map(|at| format!("{at}.jpg")).collect();
    let classes: Vec<String> = (0..ROWS).map(|at| (at / 2).to_string()).collect();
    let of = |role: &'static str| -> Vec<[&str; 3]> {
        (0..ROWS).map(|at| [names[at].as_str(), &classes[at], if at % 3 == 0 { "query" } else { role }]).collect()
    };
    let both: Vec<[&str; 3]> = of("both").into_iter().map(|[name, class, _]| [name, class, "both"]).collect();
    let in_order: Vec<usize> = (0..ROWS).collect();
    let said = |run: &str| std::fs::read_to_string(std::path::Path::new(run).join("result.json")).unwrap();
    let roles = said(&folder.measured("roles", &["recall", "--k", "1"], 0.5, &of("gallery"), &in_order));
    assert!(
        roles.contains("d' of all pairs is left out of the run") && roles.contains("of queries and a gallery"),
        "{roles}"
    );
    let l2 = said(&folder.measured("l2", &["recall", "--k", "1", "--metric", "l2"], 0.5, &both, &in_order));
    assert!(l2.contains("by another measure than cosine"), "{l2}");
    let whole = said(&folder.measured("whole", &["recall", "--k", "1"], 0.5, &both, &in_order));
    assert!(!whole.contains("left out of the run"), "{whole}");
}

#[test]
fn kept_embeddings_of_two_models_over_one_list_are_one_data_set() {
    let folder = Folder::new();
    let names: Vec<String> = (0..ROWS).map(|at| format!("{at}.jpg")).collect();
    let classes: Vec<String> = (0..ROWS).map(|at| (at / 2).to_string()).collect();
    let role = |at: usize| if at.is_multiple_of(3) { "query" } else { "gallery" };
    let rows: Vec<[&str; 3]> = (0..ROWS).map(|at| [names[at].as_str(), &classes[at], role(at)]).collect();
    let in_order: Vec<usize> = (0..ROWS).collect();
    let backwards: Vec<usize> = (0..ROWS).rev().collect();
    // The same number of images, one of which, of the gallery, is another.
    let mut others = rows.clone();
    others[1][0] = "another.jpg";
    let recall = ["recall", "--k", "1"];
    let one = folder.measured("one", &recall, 0.5, &rows, &in_order);
    let two = folder.measured("two", &recall, 2.0, &rows, &backwards);
    let other = folder.measured("other", &recall, 0.5, &others, &in_order);

    let output = run(&["tabulate", &one, &two]);
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("the names of their rows agree"), "{said}");
    assert!(!said.contains("different data"), "{said}");
    let markdown = folder.at("t.md");
    assert!(run(&["tabulate", &one, &two, "--out", &markdown]).status.success());
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("**"), "one of one data set is the best");
    assert!(run(&["tabulate", &one, &other, "--out", &markdown]).status.success());
    assert!(!std::fs::read_to_string(&markdown).unwrap().contains("**"), "other images are not ranked");
    let page = folder.at("p.html");
    assert!(run(&["report", &one, &two, "--out", &page]).status.success());
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("run-one is ahead in recall@1:"), "files of other names are no data sets");

    assert!(run(&["compare", &one, &two]).status.success());
    fails(
        2,
        &["compare", &one, &other],
        &["not measured on the same data: names, classes, roles or cameras", "rows_sha256"],
    );

    let verify = ["verify", "--all-pairs"];
    let three = folder.measured("three", &verify, 0.5, &rows, &in_order);
    let four = folder.measured("four", &verify, 2.0, &rows, &in_order);
    let output = run(&["tabulate", &three, &four]);
    assert!(stderr(&output).contains("the names of their rows agree"), "{}", stderr(&output));
    let output = run(&["compare", &three, &four, "--draws", "100"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A list names the images of its pairs, whatever else was embedded.
#[test]
fn a_list_of_pairs_says_which_kept_embeddings_are_compared() {
    let folder = Folder::new();
    let names: Vec<String> = (0..ROWS).map(|at| format!("{at}.jpg")).collect();
    let classes: Vec<String> = (0..ROWS).map(|at| (at / 2).to_string()).collect();
    let rows: Vec<[&str; 3]> = (0..ROWS).map(|at| [names[at].as_str(), &classes[at], "both"]).collect();
    let pairs = folder.at("pairs.csv");
    let line = |at: usize| format!("{at}.jpg,{}.jpg,{}\n", at + 1, u8::from(classes[at] == classes[at + 1]));
    put(&pairs, format!("path_a,path_b,same\n{}", (0..16).map(line).collect::<String>()));
    let verify = ["verify", "--pairs", &pairs];
    let one = folder.measured("one", &verify, 0.5, &rows, &(0..ROWS).collect::<Vec<_>>());
    // What the labels call the classes plays no part.
    let others: Vec<String> = classes.iter().map(|class| format!("0{class}")).collect();
    let rows: Vec<[&str; 3]> = (0..ROWS).map(|at| [names[at].as_str(), &others[at], "both"]).collect();
    let fewer = folder.measured("fewer", &verify, 2.0, &rows, &(0..18).collect::<Vec<_>>());
    let output = run(&["tabulate", &one, &fewer]);
    let said = stderr(&output);
    assert!(said.contains("are of kept embeddings") && !said.contains("different data"), "{said}");
    let output = run(&["compare", &one, &fewer, "--draws", "100"]);
    assert!(output.status.success(), "{}", stderr(&output));
}
