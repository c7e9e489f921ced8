//! `report`: what is on the page, without a browser (in one, see `../browser.rs`).

use std::path::Path;

use crate::tools::{colored_folder, fails, fixtures, put, run, stderr, text};

fn report(results: &[&Path], out: &Path, more: &[&str]) -> (String, String) {
    let results = results.iter().map(|path| text(path));
    let arguments: Vec<&str> = ["report"].into_iter().chain(results).chain(["--out", text(out)]).collect();
    let output = run(&[&arguments[..], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let said: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
    assert!(said.iter().any(|line| line.starts_with("wrote ")), "{said:?}");
    let warnings: Vec<String> = said.into_iter().filter(|line| !line.starts_with("wrote ")).collect();
    (std::fs::read_to_string(out).unwrap(), warnings.join("\n"))
}

/// A recall run on a folder of its own, which may go away.
fn measured(folder: &Path) -> std::path::PathBuf {
    let (data, kept) = (folder.join("data"), folder.join("kept"));
    colored_folder(&data, 3, 4);
    let model = fixtures().join("embedder.onnx");
    let output =
        run(&["recall", "--model", text(&model), "--data", text(&data), "--k", "1", "--save-run", text(&kept)]);
    assert!(output.status.success(), "{}", stderr(&output));
    kept
}

#[test]
fn pictures_are_inside_or_their_absence_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, out) = (measured(folder.path()), folder.path().join("page.html"));
    let (page, said) = report(&[&kept], &out, &[]);
    let pictures = |page: &str| page.matches("<img src=\"data:image/jpeg;base64,").count();
    assert!(pictures(&page) >= 12 * 7 && said.is_empty(), "{} {said}", pictures(&page));
    assert!(!page.contains("http://") && !page.contains("https://"), "needs nothing from the network");
    assert_eq!(pictures(&report(&[&kept], &out, &["--no-images"]).0), 0);
    let moved = folder.path().join("moved");
    std::fs::rename(folder.path().join("data"), &moved).unwrap();
    let (page, said) = report(&[&kept], &out, &[]);
    assert!(pictures(&page) == 0 && page.contains("no picture") && said.contains("--images says where"), "{said}");
    assert!(page.contains("no pictures, for its data cannot be opened"));
    assert!(pictures(&report(&[&kept], &out, &["--images", text(&moved)]).0) >= 12 * 7);
    // images that are no images, or not there any more, leave their places empty and are counted
    put(moved.join("0/0.png"), "no picture");
    std::fs::remove_file(moved.join("1/2.png")).unwrap();
    let (page, said) = report(&[&kept], &out, &["--images", text(&moved)]);
    assert!(page.contains("no picture") && pictures(&page) > 0);
    let counted = "2 of 12 images cannot be had, and their places are empty; the first: ";
    assert!(page.contains(counted) && said.contains(&format!("kept: {counted}")), "{said}");
    // the same page again, to the byte
    assert_eq!(report(&[&kept], &out, &["--images", text(&moved)]).0, page);
}

#[test]
fn result_files_and_training_show_beside_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("other.json"), "[{\"measure\": \"recall\", \"model\": \"x.onnx\", \"recall@1\": 0.125, \"note\": \"<b>\"}]");
    put(at("run/metrics.csv"), "step,loss,d_prime,phase\n0,1.5,0.1,warm\n10,0.5,2,cosine\n20,0.");
    put(at("run/validation.csv"), "step,recall@1,queries\n0,0.5,99\n10,0.75,99\n");
    put(at("run/run.toml"), "[made_with]\nprogram = \"pdloss 9\"\n[settings.data]\npath = \"sets/birds\"\n");
    let (page, _) = report(&[&at("other.json"), &at("run")], &at("page.html"), &["--title", "a<b"]);
    for wanted in [
        "<title>a&lt;b</title>",
        "0.1250",
        "&lt;b&gt;",
        "Training: loss",
        "last d_prime",
        "0.7500",
        "pdloss 9",
        "birds",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.contains("Training: Recall@1") && !page.contains("phase"));
}

#[test]
fn bad_results_are_named_and_leave_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("run/metrics.csv"), "step,loss\n0,1\nx,2\n");
    put(at("short/metrics.csv"), "step,loss\n0\n");
    put(at("none/metrics.csv"), "loss\n1\n");
    put(at("list.json"), "[1, 2]");
    put(at("empty.json"), "[]");
    let page = at("page.html");
    let report = |result: &str, code: i32, says: &[&str]| {
        fails(code, &["report", text(&at(result)), "--out", text(&page)], says);
        assert!(!page.exists());
    };
    report("run", 1, &["metrics.csv", "line 3", "step 'x' is no number"]);
    report("short", 1, &["metrics.csv", "line 2: 1 fields, where the header has 2"]);
    report("none", 1, &["metrics.csv", "no column 'step'"]);
    report("list.json", 1, &["list.json", "wanted an object of words and numbers"]);
    report("empty.json", 1, &["empty.json", "holds no result"]);
    report("gone", 1, &["gone: cannot read"]);
    put(at("ok.json"), "{\"recall@1\": 0.5}");
    fails(2, &["report", text(&at("ok.json")), "--out", text(&at("page.pdf"))], &["--out", ".html"]);
    fails(2, &["report", text(&at("ok.json")), "--out", text(&at("no/page.html"))], &["there is no folder"]);
    fails(2, &["report", "--out", text(&page)], &["RESULT"]);
    let kept = measured(folder.path());
    fails(1, &["report", text(&kept), "--out", text(&page), "--images", text(&at("nowhere"))], &["nowhere"]);
    std::fs::write(kept.join("neighbours.parquet"), "broken").unwrap();
    report("kept", 1, &["neighbours.parquet"]);
}

#[test]
fn runs_on_the_same_data_are_compared_and_the_leader_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let first = measured(folder.path());
    let second = at("second");
    let (model, data) = (fixtures().join("backbone.onnx"), at("data"));
    let arguments = ["recall", "--model", text(&model), "--data", text(&data), "--k", "1", "--save-run", text(&second)];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let others: Vec<_> = (0..6).map(|n| at(&format!("copy{n}"))).collect();
    for other in &others {
        std::fs::create_dir(other).unwrap();
        for file in std::fs::read_dir(&second).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, other.join(file.file_name().unwrap())).unwrap();
        }
    }
    let (page, _) = report(&[&first, &others[0]], &at("page.html"), &["--no-images"]);
    assert!(page.contains("copy0 against kept: difference with its 95 % interval"), "the comparison is there");
    assert!(["is ahead in recall@1 on data", "are level in recall@1 on data"].iter().any(|words| page.contains(words)));
    assert!(!page.contains("not compared here"));
    // the first against four others; who is left out is said
    let all: Vec<&Path> = [&first].into_iter().chain(&others).map(AsRef::as_ref).collect();
    let (page, _) = report(&all, &at("page.html"), &["--no-images"]);
    assert_eq!(
        page.matches("against kept: difference").count() / page.matches("copy0 against kept: difference").count(),
        4
    );
    assert!(page.contains("copy4 and 1 more are not compared here"));
    // on other data: neither compared nor ranked
    put(
        at("other.json"),
        "[{\"measure\": \"recall\", \"model\": \"x.onnx\", \"dataset\": \"birds\", \"recall@1\": 0.9}, \
                            {\"measure\": \"recall\", \"model\": \"y.onnx\", \"dataset\": \"birds\", \"recall@1\": 0.5}]",
    );
    let (page, _) = report(&[&first, &at("other.json")], &at("page.html"), &["--no-images"]);
    assert!(page.contains("other row 1 is ahead in recall@1 on birds: 0.900, 0.400 more than other row 2."));
    assert!(!page.contains("against kept") && !page.contains("kept is ahead"));
}
