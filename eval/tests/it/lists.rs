//! Lists of pairs and files of scores as programs write them, and which images the names of a list are.

use std::fmt::Write as _;
use std::path::Path;

use crate::tools::{colored_folder, fails, fixtures, png, put, run, stderr, stdout, text};

/// Compares the pairs of `list` among the images of `data` with a pooling model: exit code, and all that was printed.
fn compared(data: &Path, list: &str, more: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, model) = (folder.path().join("pairs.csv"), fixtures().join("models/rank_4.onnx"));
    put(&pairs, list);
    let (data, pairs, model) = (text(data), text(&pairs), text(&model));
    let arguments = ["verify", "--model", model, "--data", data, "--pairs", pairs, "--crop", "8", "--runtime", "tract"];
    let output = run(&[&arguments, more].concat());
    (output.status.code().unwrap_or(-1), format!("{}{}", stderr(&output), stdout(&output)))
}

const PAIRS: &str = "a,b,same\n0/0.png,0/1.png,1\n1/0.png,1/1.png,1\n0/0.png,1/1.png,0\n1/2.png,2/0.png,0\n";

#[test]
fn a_file_of_the_same_name_in_another_folder_is_no_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(folder.path(), 3, 3);
    let (code, whole) = compared(folder.path(), PAIRS, &[]);
    assert!(code == 0 && !whole.contains("by their file names alone"), "{whole}");
    // 2/7.png is there, 1/7.png is not.
    put(folder.path().join("2/7.png"), png([90, 9, 200]));
    let list = PAIRS.replace("1/1.png,1", "1/7.png,1");
    let (code, said) = compared(folder.path(), &list, &[]);
    assert!(code == 1 && said.contains("1/7.png: is named by") && said.contains("is not there"), "{said}");
    // Nor where no other pair is of that folder.
    let list = "a,b,same\n0/0.png,0/1.png,1\n0/2.png,2/1.png,0\n2/0.png,1/7.png,0\n";
    let (code, said) = compared(folder.path(), list, &["--skip-missing", "--json"]);
    assert!(code == 0 && said.contains(r#""pairs_without_image": 1"#), "{said}");
}

#[test]
fn images_that_are_found_by_their_file_names_alone_are_said() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..3_u8 {
        put(folder.path().join(format!("part{}/p{at}.png", at % 2)), png([at * 90, 200, 7]));
        put(folder.path().join(format!("part{}/q{at}.png", at % 2)), png([at * 90, 190, 9]));
    }
    let list =
        "a,b,same\nann/p0.png,ann/q0.png,1\nbob/p1.png,bob/q1.png,1\nann/p0.png,bob/p1.png,0\nbob/q1.png,cy/q2.png,0\n";
    let (code, said) = compared(folder.path(), list, &[]);
    let wanted = "5 of 5 images of";
    let rest = "were found by their file names alone, in other folders than the list has: ann/p0.png is part0/p0.png";
    assert!(code == 0 && said.contains(wanted) && said.contains(rest), "{said}");
    // One file cannot be two persons' images.
    let (code, said) = compared(folder.path(), &list.replace("cy/q2.png", "cy/p0.png"), &[]);
    assert!(
        code == 1 && said.contains("names ann/p0.png and cy/p0.png, and the data has one such file, part0/p0.png"),
        "{said}"
    );
}

/// The lines of figures.
fn figures(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with('|')).collect()
}

#[test]
fn the_data_may_begin_further_down_than_the_list() {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(folder.path(), 3, 3);
    let path = |field: &str| if field.contains('/') { format!("/mnt/set/{field}") } else { field.to_owned() };
    let absolute = PAIRS.lines().map(|line| line.split(',').map(path).collect::<Vec<_>>().join(","));
    let (code, said) = compared(folder.path(), &absolute.collect::<Vec<_>>().join("\n"), &[]);
    assert!(code == 0 && !said.contains("by their file names alone"), "{said}");
    assert_eq!(figures(&said), figures(&compared(folder.path(), PAIRS, &[]).1));
}

#[test]
fn a_first_line_that_excel_writes_is_no_pair_and_no_score() {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(folder.path(), 3, 3);
    let (_, plain) = compared(folder.path(), PAIRS, &[]);
    for list in [format!("sep=;\r\n{}", PAIRS.replace(',', ";")), format!("sep=,\n{PAIRS}")] {
        let (code, said) = compared(folder.path(), &list, &[]);
        assert!(code == 0, "{said}");
        assert_eq!(figures(&said), figures(&plain), "{list}");
    }
    let file = |name: &str, content: &str| {
        put(folder.path().join(name), content);
        text(&folder.path().join(name)).to_owned()
    };
    let impostor = file("i.csv", "id;score\n1;0.1\n2;0.2\n3;0.5\n4;0.3\n");
    let measured = |genuine: &str| {
        let output = run(&["scores", "--genuine", genuine, "--impostor", &impostor, "--column", "score"]);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let plain = file("p.csv", "id;score\n1;0.9\n2;0.4\n");
    let marked = file("m.csv", "sep=;\r\nid;score\r\n1;0.9\r\n2;0.4\r\n");
    assert_eq!(figures(&measured(&marked)), figures(&measured(&plain)));
    fails(1, &["scores", "--genuine", &file("e.csv", "sep=;\n"), "--impostor", &impostor], &["e.csv"]);
}

#[test]
fn a_first_pair_with_a_slip_is_no_header_and_a_row_is_no_comment() {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(folder.path(), 3, 3);
    let pairs = PAIRS.strip_prefix("a,b,same\n").unwrap();
    for slip in ["1x", "gen", "?"] {
        let (code, said) = compared(folder.path(), &pairs.replacen("png,1\n", &format!("png,{slip}\n"), 1), &[]);
        assert!(code == 1 && said.contains("line 1") && said.contains(slip), "{slip}: {said}");
    }
    let file = |name: &str, content: &str| {
        put(folder.path().join(name), content);
        text(&folder.path().join(name)).to_owned()
    };
    let impostor = file("i.txt", "0.1\n0.2\n0.5\n0.3\n");
    for (name, list) in [("c.csv", "pair,score\n#0,0.9\n1,0.4\n#2,0.8\n"), ("t.txt", "0 0.9\n#1 0.4\n2 0.8\n")] {
        let list = file(name, list);
        let words = ["scores", "--genuine", &list, "--impostor", &impostor, "--column", "2"];
        fails(1, &words, &[name, "line 2: begins with '#'", "take the '#' off"]);
    }
    for slip in ["1.2x", "", "\"1,23\"", "FTE"] {
        let list = file("s.csv", &format!("a.jpg,b.jpg,{slip}\na.jpg,c.jpg,0.7\na.jpg,d.jpg,0.9\n"));
        let words = ["scores", "--genuine", &list, "--impostor", &impostor, "--column", "3"];
        fails(1, &words, &["s.csv", "line 1", "is not one number"]);
        let list = file("s.csv", &format!("0,1,{slip}\n0,2,0.7\n0,3,0.9\n"));
        fails(1, &["scores", "--genuine", &list, "--impostor", &impostor, "--column", "3"], &["s.csv"]);
    }
    let list = file("h.csv", "one,other,likeness\na.jpg,c.jpg,0.7\na.jpg,d.jpg,0.9\n");
    let output = run(&["scores", "--genuine", &list, "--impostor", &list, "--column", "3"]);
    assert!(
        output.status.success() && stderr(&output).contains("line 1, 'one, other, likeness', is taken for the names")
    );
    let list = file("k.csv", "# made by x, on 3 machines\npair,score\n\"#0\",0.9\n1,0.4\n#\n# end, of it\n");
    let output = run(&["scores", "--genuine", &list, "--impostor", &impostor]);
    assert!(
        output.status.success() && stdout(&output).contains("|             2 |              4 |"),
        "{}{}",
        stderr(&output),
        stdout(&output)
    );
}

#[test]
fn a_result_says_its_list_and_its_label_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let shapes = fixtures().join("shapes/images");
    let mut files: Vec<_> =
        std::fs::read_dir(&shapes).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
    files.sort_by_key(std::fs::DirEntry::path);
    let mut list = "path,shape,odd\n".to_owned();
    for (class, entry) in files.iter().enumerate().take(4) {
        let mut images: Vec<_> = std::fs::read_dir(entry.path()).unwrap().flatten().map(|image| image.path()).collect();
        images.sort();
        for (at, image) in images.iter().enumerate().take(4) {
            let name = image.strip_prefix(&shapes).unwrap().display();
            writeln!(list, "{name},class {class},side {}", at % 2).unwrap();
        }
    }
    put(path("two.csv"), list);
    let model = fixtures().join("embedder.onnx").display().to_string();
    let root = shapes.display().to_string();
    // The column that is taken where none is named is said, too.
    for label in ["shape", "odd", ""] {
        let out = path(&format!("{}.json", if label.is_empty() { "chosen" } else { label }));
        let (data, chosen) = (path("two.csv"), if label.is_empty() { &[][..] } else { &["--label", label] });
        let arguments = ["recall", "--model", &model, "--data", &data, "--root", &root, "--k", "1", "--out", &out];
        let output = run(&[&arguments, chosen].concat());
        let said = stderr(&output);
        let label = if label.is_empty() { "shape" } else { label };
        assert!(output.status.success() && said.contains(&format!(", label '{label}'")), "{said}");
        let row: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!((row[0]["list"].as_str(), row[0]["label"].as_str()), (Some(path("two.csv").as_str()), Some(label)));
    }
    let output = run(&["tabulate", &path("shape.json"), &path("odd.json")]);
    let printed = stdout(&output);
    assert!(printed.contains("two.csv") && printed.contains("| label |") && !printed.contains("**"), "{printed}");
}
