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
    assert!(!page.contains('\0'), "HTML has no such character");
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
fn other_images_under_the_same_names_are_marked_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, out) = (measured(folder.path()), folder.path().join("page.html"));
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let (page, said) = report(&[&kept], &out, &["--images", text(&data)]);
    assert!(said.is_empty() && !page.contains("other file</span>"), "{said}");
    // of twelve images two are others
    for name in ["0/0.png", "0/1.png", "0/2.png", "0/3.png", "1/0.png", "1/1.png"] {
        std::fs::create_dir_all(other.join(name).parent().unwrap()).unwrap();
        std::fs::copy(data.join(name), other.join(name)).unwrap();
    }
    for name in ["1/2.png", "1/3.png", "2/0.png", "2/1.png", "2/2.png", "2/3.png"] {
        std::fs::create_dir_all(other.join(name).parent().unwrap()).unwrap();
        let from = if name == "1/2.png" || name == "2/0.png" { "0/0.png" } else { name };
        std::fs::copy(data.join(from), other.join(name)).unwrap();
    }
    let (page, said) = report(&[&kept], &out, &["--images", text(&other)]);
    let says = "2 of 12 images are of other files than those that were measured, and are marked; the first: ";
    assert!(said.contains(says) && page.contains(says), "{said}");
    assert!(page.contains("<span class=\"other\">other file</span>") && page.contains("\"other\":true"));
    // a run of an earlier version, or of kept embeddings, cannot tell
    std::fs::remove_file(kept.join("files.parquet")).unwrap();
    let (page, said) = report(&[&kept], &out, &["--images", text(&other)]);
    assert!(said.contains("does not say which files it measured") && page.contains("unchecked"), "{said}");
    assert!(!page.contains("other file</span>"));
    // pairs know their images, too
    let pairs = folder.path().join("pairs");
    let model = fixtures().join("embedder.onnx");
    let arguments =
        ["verify", "--all-pairs", "--model", text(&model), "--data", text(&data), "--save-run", text(&pairs)];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    std::fs::copy(data.join("0/0.png"), data.join("2/3.png")).unwrap();
    let kept = pdloss_eval::runs::Run::read(&pairs).unwrap();
    let pdloss_eval::runs::Details::Verification(verified) = &kept.details else { panic!("{:?}", kept.details) };
    let files = verified.pairs.as_ref().and_then(|pairs| pairs.files.as_ref()).unwrap();
    let digest = |name: &str| pdloss_eval::runs::Files::digest(&std::fs::read(data.join(name)).unwrap());
    assert_eq!(files.by_name()["0/0.png"], digest("0/0.png"));
    assert_ne!(files.by_name()["2/3.png"], digest("2/3.png"));
}

#[test]
fn confused_classes_and_what_became_of_queries_are_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = fixtures().join("shapes");
    for (model, kept) in [("backbone.onnx", "before"), ("embedder.onnx", "after")] {
        let model = fixtures().join(model);
        let arguments = ["recall", "--model", text(&model), "--data", text(&data), "--k", "1"];
        let output = run(&[&arguments[..], &["--save-run", text(&at(kept)), "--map", "tsne"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let (page, said) = report(&[&at("before"), &at("after")], &at("page.html"), &[]);
    assert!(said.is_empty(), "{said}");
    // what the page counts is what the runs hold
    let hits = |name: &str| -> Vec<bool> {
        let run = pdloss_eval::runs::Run::read(&at(name)).unwrap();
        let pdloss_eval::runs::Details::Retrieval(kept) = run.details else { panic!("{name}") };
        kept.queries.iter().map(|query| query.first_hit == Some(1)).collect()
    };
    let (before, after) = (hits("before"), hits("after"));
    let count = |was: bool, is: bool| before.iter().zip(&after).filter(|(a, b)| (**a, **b) == (was, is)).count();
    assert!(count(false, true) > 0);
    let words = format!(
        "Of 160 queries {} went from wrong to right and {} from right to wrong between before and after; {} are right in both, {} in neither.",
        count(false, true),
        count(true, false),
        count(true, true),
        count(false, false)
    );
    assert!(page.contains(&words), "{words}");
    assert!(page.contains("Wrong in before, right in after"));
    let mistakes = before.iter().filter(|hit| !**hit).count();
    assert!(page.contains(&format!("All 10 classes, and {mistakes} mistakes.")), "{mistakes}");
    assert_eq!(page.matches("<figure class=\"confusion\">").count(), 2);
    assert!(page.contains("Most confused classes") && page.contains("pairs of classes, by mistakes"));
    assert!(page.contains("Embeddings of before by t-SNE") && page.contains("Embeddings of after by t-SNE"));
    // without pictures the numbers stay
    let (page, _) = report(&[&at("before"), &at("after")], &at("page.html"), &["--no-images"]);
    assert!(page.contains(&words) && page.contains("<figure class=\"confusion\">"));
    assert!(!page.contains("Most confused classes"));
    // maps are those of a run that is kept
    let model = fixtures().join("embedder.onnx");
    let plain = ["recall", "--model", text(&model), "--data", text(&data), "--map", "tsne"];
    fails(2, &plain, &["--save-run"]);
}

#[test]
fn what_became_of_pairs_is_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = fixtures().join("shapes");
    for (model, kept) in [("backbone.onnx", "before"), ("embedder.onnx", "after")] {
        let model = fixtures().join(model);
        let arguments = ["verify", "--all-pairs", "--model", text(&model), "--data", text(&data)];
        let output = run(&[&arguments[..], &["--save-run", text(&at(kept))]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let (page, said) = report(&[&at("before"), &at("after")], &at("page.html"), &[]);
    assert!(said.is_empty(), "{said}");
    // what the page counts is what the runs hold, each by its own threshold
    let right = |name: &str| -> Vec<bool> {
        let run = pdloss_eval::runs::Run::read(&at(name)).unwrap();
        let threshold = run.records[0].get("eer_threshold").and_then(pdloss_eval::table::Value::number).unwrap();
        let pdloss_eval::runs::Details::Verification(kept) = run.details else { panic!("{name}") };
        let pairs = kept.pairs.unwrap().pairs;
        pairs.iter().map(|pair| (pair.score >= threshold) == pair.same).collect()
    };
    let (before, after) = (right("before"), right("after"));
    let count = |was: bool, is: bool| before.iter().zip(&after).filter(|(a, b)| (**a, **b) == (was, is)).count();
    assert!(count(false, true) > 0 && count(true, false) > 0);
    let words = format!(
        "Of {} pairs {} went from wrong to right and {} from right to wrong between before and after, each run by its own thresholds; {} \
         are right in both, {} in neither.",
        before.len(),
        count(false, true),
        count(true, false),
        count(true, true),
        count(false, false)
    );
    assert!(page.contains(&words), "{words}");
    assert!(page.contains("Pairs by how before and after decide them"));
    assert!(page.contains("Genuine pairs rejected in before, accepted in after"));
    assert!(page.contains("Impostors accepted in before, rejected in after"));
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
    assert!(page.contains("other row 1 is ahead in recall@1 on birds: 0.9000, 0.4000 more than other row 2."));
    assert!(!page.contains("against kept") && !page.contains("kept is ahead"));
}

#[test]
fn what_a_run_noted_and_its_groups_are_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let measured = ["verify", "--all-pairs", "--model", text(&model), "--data", text(&data)];
    assert!(run(&[&measured[..], &["--save-run", text(&at("plain"))]].concat()).status.success());
    let plain = pdloss_eval::runs::Run::read(&at("plain")).unwrap();
    let pdloss_eval::runs::Details::Verification(kept) = plain.details else { panic!("no verification") };
    // A person's images are in both groups.
    let images = kept.pairs.unwrap().images;
    let lines: Vec<String> =
        images.iter().enumerate().map(|(n, image)| format!("{},{}\n", image.name, ["light", "dark"][n % 2])).collect();
    std::fs::write(at("groups.csv"), format!("path,light\n{}", lines.concat())).unwrap();
    let groups = ["--groups", text(&at("groups.csv")), "--group-by", "light", "--bootstrap", "100"].map(str::to_owned);
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let output = run(&[&measured[..], &groups, &["--save-run", text(&at("grouped"))]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let (page, _) = report(&[&at("plain"), &at("grouped")], &at("page.html"), &["--no-images"]);
    let noted = "genuine pairs are of two groups";
    let summary = page.split("id=\"differences\"").next().unwrap();
    assert!(summary.contains("Noted of 1 of 2 results") && summary.contains(noted), "the summary says it");
    assert!(page.matches(noted).count() >= 3, "and the run's own part");
    assert!(page.contains("<h3>Groups</h3>") && page.contains("By light, at threshold "));
    for group in ["dark", "light", "dark - light"] {
        assert!(page.contains(&format!("<th scope=\"row\">{group}</th>")), "{group}");
    }
    // An interval stands beside its figure, in the summary and among all figures.
    assert!(summary.contains("in brackets the intervals of --bootstrap"), "{summary}");
    assert!(!page.contains("auc_from"));
    // One model and one way of preparing: of these two runs nothing else differs.
    assert!(page.contains("grouped against plain") && !page.contains("are one model and differ"));
}

/// A run of score files.
fn scored(folder: &Path, name: &str, genuine: &[f64], impostor: &[f64]) -> std::path::PathBuf {
    let kept = folder.join(name);
    let lines = |scores: &[f64]| scores.iter().map(|score| format!("{score}\n")).collect::<String>();
    let files = [("genuine.txt", genuine), ("impostor.txt", impostor)].map(|(file, scores)| {
        put(folder.join(file), lines(scores));
        folder.join(file)
    });
    let output =
        run(&["scores", "--genuine", text(&files[0]), "--impostor", text(&files[1]), "--save-run", text(&kept)]);
    assert!(output.status.success(), "{}", stderr(&output));
    kept
}

#[test]
fn what_tabulate_says_of_the_data_is_said_and_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let one = scored(folder.path(), "one", &[0.5, 0.9, 0.7, 0.3], &[0.1, 0.6, 0.2]);
    let other = scored(folder.path(), "other", &[0.5, 0.9, 0.7, 0.6], &[0.1, 0.2, 0.3]);
    let (page, said) = report(&[&one, &other], &folder.path().join("page.html"), &[]);
    let words = "2 results do not say on which data they were measured (one, other): they are ranked as on one, which nobody checked";
    assert!(said.contains(words), "{said}");
    let summary = page.split("id=\"differences\"").next().unwrap();
    assert!(summary.contains(words), "{summary}");
    // Of so few impostors no rate has a value, as in the result.
    assert!(!page.contains("FMR 0.1</th>") && !page.contains("FMR 1 %</th>"));
    // And why they are not compared is not their number.
    assert!(page.contains("one and other are not compared: these runs kept counts and no pairs"));
    assert!(!page.contains("too many queries or pairs"));
    // A result that stands twice.
    let (page, said) = report(&[&one, &one], &folder.path().join("page.html"), &[]);
    for says in [&page, &said] {
        assert!(says.contains("one result stands in two rows"), "{said}");
    }
    // Alone it is ranked by nothing.
    assert_eq!(report(&[&one], &folder.path().join("page.html"), &["--no-images"]).1, "");
}

#[test]
fn notes_of_training_are_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("run/metrics.csv"), "step,loss\n0,1.5\n10,0.5\n");
    put(at("run/run.toml"), "[made_with]\nnotes = [\"images: two are alike\", \"a 'quoted' one\"]\n");
    let (page, _) = report(&[&at("run")], &at("page.html"), &[]);
    assert!(page.contains("images: two are alike; a &#x27;quoted&#x27; one"), "{page}");
    let output = run(&["tabulate", text(&at("run")), "--columns", "notes"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("images: two are alike; a 'quoted' one"));
}
