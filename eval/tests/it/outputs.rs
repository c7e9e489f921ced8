//! Where results go: closed pipes, full disks, places that cannot be written, names that would do harm.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::tools::{fails, put, run, stderr, stdout, text};

const TOOL: &str = env!("CARGO_BIN_EXE_pdloss-eval");

/// Files of scores and a result.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("g.txt"), "0.9\n0.8\n0.7\n0.6\n");
    put(folder.path().join("i.txt"), "0.1\n0.65\n0.3\n0.2\n");
    put(folder.path().join("r.json"), "[{\"measure\":\"recall\",\"model\":\"m.onnx\",\"recall@1\":0.5}]");
    folder
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let command = |arguments: &[&str], stdout: Stdio| {
        let mut tool = Command::new(TOOL);
        tool.args(arguments).current_dir(folder.path()).stdout(stdout).stderr(Stdio::piped());
        tool
    };
    let scores = ["scores", "--genuine", "g.txt", "--impostor", "i.txt"];
    for arguments in [&["--help"][..], &["tabulate", "--help"], &["--version"], &["tabulate", "r.json"], &scores] {
        // a pipe whose reader is gone before anything is written
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(arguments, writer.into()).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{arguments:?}");
        // the disk is full: nothing was said, and that is a failure
        if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
            let output = command(arguments, full.into()).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(stderr(&output).contains("error: standard output: cannot write"), "{}", stderr(&output));
        }
    }
    // what is written to a file is written whole, whoever reads standard output
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = command(&[&scores[..], &["--out", "kept.json"]].concat(), writer.into()).spawn().unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(folder.path().join("kept.json").is_file());
}

/// Batch systems limit the size of files; the system then ends a program that does not hear its signal.
#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_said() {
    let folder = folder();
    let scores = ["scores", "--genuine", "g.txt", "--impostor", "i.txt", "--plot", "plots"];
    let limited = ["-c", "ulimit -f 1 && exec \"$0\" \"$@\"", TOOL];
    let output = Command::new("sh").args(limited).args(scores).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("roc.png: cannot write: File too large"), "{}", stderr(&output));
    assert!(std::fs::read_dir(folder.path().join("plots")).unwrap().next().is_none(), "nothing is half written");
}

#[test]
fn places_are_tried_before_the_work_and_are_distinct() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (g, i) = (at("g.txt"), at("i.txt"));
    let scores = |more: &[&str], says: &[&str]| {
        fails(2, &[&["scores", "--genuine", &g, "--impostor", &i], more].concat(), says);
    };
    let (out, same, spelled) = (at("o.csv"), at("o.csv"), at("./x/../o.csv"));
    std::fs::create_dir(at("x")).unwrap();
    scores(&["--out", &out, "--points", &same], &["--out", "--points", "the same place"]);
    scores(&["--out", &out, "--points", &spelled], &["--out", "--points", "the same place"]);
    scores(&["--plot", &at("p"), "--save-run", &at("p")], &["--plot", "--save-run", "the same place"]);
    scores(&["--plot", &at("p/q"), "--save-run", &at("p")], &["--plot", "--save-run", "within each other"]);
    put(at("s.csv"), "0.5\n");
    fails(2, &["scores", "--genuine", &at("s.csv"), "--impostor", &i, "--out", &at("s.csv")], &["--genuine", "--out"]);
    scores(&["--out", &at("g.txt/o.csv")], &["--out", "is a file, not a folder"]);
    scores(&["--plot", &at("g.txt")], &["--plot", "is a file, wanted a folder"]);
    scores(&["--plot", &at("g.txt/deep")], &["--plot", "is a file, not a folder"]);
    scores(&["--save-run", &at("g.txt/run")], &["--save-run", "is a file, not a folder"]);
    scores(&["--save-run", &at("x")], &["--save-run", "is there already"]);
    std::fs::create_dir(at("folder.csv")).unwrap();
    scores(&["--out", &at("folder.csv")], &["--out", "is a folder"]);
    if cfg!(target_os = "linux") {
        for flag in ["--out", "--points"] {
            scores(&[flag, "/proc/self/o.csv"], &[flag, "cannot write into the folder /proc/self"]);
        }
        scores(&["--save-run", "/proc/self/run"], &["--save-run", "cannot write into"]);
        scores(&["--plot", "/proc/self/plots"], &["--plot", "cannot write into"]);
        fails(2, &["tabulate", &at("r.json"), "--out", "/proc/self/t.tex"], &["--out", "cannot write into"]);
        fails(2, &["report", &at("r.json"), "--out", "/proc/self/t.html"], &["--out", "cannot write into"]);
    }
    assert_eq!(std::fs::read_to_string(at("g.txt")).unwrap(), "0.9\n0.8\n0.7\n0.6\n");
}

#[test]
fn what_is_read_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    put(at("e.f32"), [0_u8; 48]);
    put(at("e.npy"), "");
    for name in ["e.csv", "l.csv", "p.csv", "d.csv"] {
        put(at(name), "label\n");
    }
    let (raw, npy, data) = (at("e.f32"), at("e.npy"), at("d.csv"));
    let recall = |read: &[&str], out: &str, says: &str| {
        let out = at(out);
        fails(2, &[&["recall"], read, &["--out", &out]].concat(), &["--out", "would be written over", says]);
    };
    recall(&["--embeddings", &raw, "--dim", "4", "--labels", &at("l.csv")], "./x/../l.csv", "--labels");
    recall(&["--embeddings", &npy], "e.csv", "the labels of --embeddings");
    recall(&["--model", "m.onnx", "--data", &data], "d.csv", "--data");
    let save = ["recall", "--model", "m.onnx", "--data", &data, "--save-embeddings", &at("d.npy")];
    fails(2, &save, &["--save-embeddings", "d.csv would be written over --data"]);
    let pairs = ["verify", "--embeddings", &npy, "--pairs", &at("p.csv"), "--points", &at("p.csv")];
    fails(2, &pairs, &["--points", "would be written over --pairs"]);
    for name in ["e.csv", "l.csv", "p.csv", "d.csv"] {
        assert_eq!(std::fs::read_to_string(at(name)).unwrap(), "label\n");
    }
}

#[test]
fn names_do_no_harm() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    put(
        at("odd.json"),
        "[{\"model\":\"=cmd|'/c calc'!A1\",\"data\":\"\\u001b[2J\\u001b]0;x\\u0007set\",\"recall@1\":0.5,\"result\":\"[1pt] a\"}]",
    );
    for out in ["t.csv", "t.tex", "t.md"] {
        let output = run(&["tabulate", &at("odd.json"), "--out", &at(out)]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!stdout(&output).contains('\u{1b}') && stdout(&output).contains("u{1b}"), "{}", stdout(&output));
    }
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert!(read("t.csv").contains("'=cmd"), "{}", read("t.csv"));
    assert!(read("t.tex").contains("\n{}[1pt] a &") && !read("t.tex").contains('\u{1b}'), "{}", read("t.tex"));
    let output = run(&["tabulate", &at("t.csv"), "--out", &at("u.json")]);
    assert!(output.status.success());
    assert!(read("u.json").contains("\"model\":\"=cmd|'/c calc'!A1\""), "{}", read("u.json"));
    // in messages, too
    let output = run(&["tabulate", &at("\u{1b}[31mnone.json")]);
    assert!(
        !stderr(&output).contains('\u{1b}') && stderr(&output).contains("u{1b}[31mnone.json"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn swapped_and_equal_scores_are_said_and_recorded() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let output = run(&["scores", "--genuine", &at("i.txt"), "--impostor", &at("g.txt"), "--out", &at("o.json")]);
    assert!(stderr(&output).contains("the scores look swapped: AUC is"), "{}", stderr(&output));
    let result = std::fs::read_to_string(at("o.json")).unwrap();
    assert!(result.contains("\"notes\":\"the scores look swapped") && result.contains("\"d_prime\":-"), "{result}");
    put(at("same.txt"), "0.5\n0.5\n");
    let output = run(&["scores", "--genuine", &at("same.txt"), "--impostor", &at("same.txt")]);
    assert!(stderr(&output).contains("all 4 scores are equal"), "{}", stderr(&output));
    let output = run(&["scores", "--genuine", &at("g.txt"), "--impostor", &at("i.txt")]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_is_assumed_of_files_of_scores_is_recorded_and_tables_are_no_scores() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    put(at("named.txt"), "similarity\n0.9\n0.8\n");
    let output = run(&["scores", "--genuine", &at("named.txt"), "--impostor", &at("i.txt"), "--out", &at("o.json")]);
    let written = std::fs::read_to_string(at("o.json")).unwrap();
    let said = "'similarity' is taken for the name of the column";
    assert!(stderr(&output).contains(said) && written.contains(said), "{} {written}", stderr(&output));
    for (shape, is_list) in [(&[4][..], true), (&[4, 1], true), (&[1, 4], true), (&[2, 2], false), (&[4, 1, 2], false)]
    {
        let count = shape.iter().product();
        let scores =
            ndarray::ArrayD::from_shape_vec(shape, (0..count).map(|n| 0.5 + n as f64 / 9.0).collect()).unwrap();
        ndarray_npy::write_npy(at("s.npy"), &scores).unwrap();
        let arguments = ["scores", "--genuine", &at("s.npy"), "--impostor", &at("i.txt")];
        if is_list {
            assert!(run(&arguments).status.success(), "{shape:?}");
        } else {
            fails(1, &arguments, &["s.npy", &format!("holds an array {shape:?}; wanted one score a pair")]);
        }
    }
}

#[test]
fn pictures_of_any_scores_end() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let cases = [
        ("1e308\n1e308\n", "-1e308\n-1e308\n"),
        ("5e-324\n0\n", "0\n0\n"),
        ("1e16\n10000000000000002\n", "1e16\n"),
        ("inf\n1\n", "0\n-inf\n"),
        ("7\n", "7\n"),
    ];
    for (at_case, (genuine, impostor)) in cases.into_iter().enumerate() {
        put(at("a.txt"), genuine);
        put(at("b.txt"), impostor);
        let (plots, kept) = (at(&format!("plots{at_case}")), at(&format!("run{at_case}")));
        let (a, b) = (at("a.txt"), at("b.txt"));
        let output = run(&["scores", "--genuine", &a, "--impostor", &b, "--plot", &plots, "--save-run", &kept]);
        assert!(output.status.success(), "{genuine:?}: {}", stderr(&output));
        let output = run(&["report", &kept, "--out", &at("page.html")]);
        assert!(output.status.success(), "{genuine:?}: {}", stderr(&output));
        assert!(!std::fs::read_to_string(at("page.html")).unwrap().contains("NaN,"), "{genuine:?}");
    }
    let _ = text(folder.path());
}

#[test]
fn letters_that_a_picture_cannot_have_are_said() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let plotted = |genuine: &str, plots: &str| {
        put(at(genuine), "0.9\n0.8\n0.7\n0.6\n");
        let output = run(&["scores", "--genuine", &at(genuine), "--impostor", &at("i.txt"), "--plot", &at(plots)]);
        assert!(output.status.success(), "{}", stderr(&output));
        (stderr(&output), std::fs::read_to_string(at(&format!("{plots}/roc.svg"))).unwrap())
    };
    let (said, svg) = plotted("得分 نت.txt", "others");
    assert!(said.contains("--plot: the built-in font has no '得分نت', which are '?'"), "{said}");
    assert!(svg.contains("得分 نت"), "the SVG has them");
    // Of four impostors no rate is carried, and nothing follows the area.
    let line = svg.split("AUC ").nth(1).and_then(|rest| rest.split('<').next()).unwrap().trim();
    assert!(line.parse::<f64>().is_ok(), "{line}");
    assert!(!plotted("größe.txt", "own").0.contains("--plot:"));
}

#[test]
fn what_scores_are_not_is_said_where_their_file_shows_it() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let said = |genuine: &str, impostor: &str, more: &[&str]| {
        put(at("a.csv"), genuine);
        put(at("b.csv"), impostor);
        let output =
            run(&[&["scores", "--genuine", &at("a.csv"), "--impostor", &at("b.csv"), "--out", &at("n.json")], more]
                .concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let written = std::fs::read_to_string(at("n.json")).unwrap();
        (stderr(&output), written)
    };
    let impostor = "0.1\n0.3\n";
    for (genuine, impostor, more, wanted) in [
        ("0.9\n0.8\n", "0.9\n0.8\n", &[][..], "the genuine scores are the impostor scores, one by one"),
        ("inf\n0.8\n", impostor, &[], "1 genuine and 0 impostor scores are infinite"),
        ("90\n80.5\n", impostor, &[], "are both on one scale?"),
        ("distance\n0.9\n0.8\n", impostor, &[], "'distance' is read as scores"),
        ("0.1\n0.2\n", "cosine_similarity\n0.9\n0.8\n", &["--distance"], "'cosine_similarity' is read as distances"),
        ("score,label\n0.9,1\n0.8,0\n", impostor, &[], "column 'label' holds two kinds, 0 and 1"),
        ("0,9\n0,8\n", "0,1\n0,3\n", &["--column", "2"], "numbers with a comma for the point are not read"),
    ] {
        let (error, written) = said(genuine, impostor, more);
        assert!(error.contains(wanted) && written.contains(wanted), "{genuine:?}: {error} {written}");
    }
    let (_, written) = said(",0\n0,0.9\n1,0.8\n", ",0\n0,0.1\n1,0.3\n", &["--column", "2"]);
    assert!(written.contains("\"genuine_pairs\":2,"), "what pandas writes above a series is no score: {written}");
    for (genuine, doubtful) in [("0\n0.9\n0.8\n", true), ("0\n1\n0.5\n", false), ("0.0\n0.9\n0.5\n", false)] {
        let (error, written) = said(genuine, impostor, &[]);
        assert!(written.contains("\"genuine_pairs\":3,"), "{written}");
        assert_eq!(error.contains("line 1: 0 is taken for a score; pandas"), doubtful, "{genuine:?}: {error}");
    }
    put(at("c.csv"), "name;score\na;0,9\n");
    fails(1, &["scores", "--genuine", &at("c.csv"), "--impostor", &at("i.txt")], &["line 2", "write 0.5 for 0,5"]);
    let matrix = ndarray::array![0.5_f64, 0.4];
    ndarray_npy::write_npy(at("s.npy"), &matrix).unwrap();
    fails(
        2,
        &["scores", "--genuine", &at("s.npy"), "--impostor", &at("i.txt"), "--column", "2"],
        &["--column 2", "no columns"],
    );
}
