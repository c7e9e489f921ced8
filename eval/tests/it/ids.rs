//! Names that are not those of image files: ids of kept embeddings, and the columns that tables give images in.

use std::fmt::Write as _;
use std::path::Path;

use ndarray::Array2;
use ndarray_npy::write_npy;

use crate::tools::{fails, put, run, stderr, text};

const ROWS: usize = 40;

/// The name of a row.
type Name = fn(usize) -> String;

/// Kept embeddings of ten people with four images each, called by `name`.
fn kept(folder: &Path, name: impl Fn(usize) -> String) {
    #[allow(clippy::cast_possible_truncation)] // noise
    let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
    let matrix = Array2::from_shape_fn((ROWS, 6), |(r, c)| noise(r / 4 * 6 + c + 1) + 0.5 * noise(5_000 + r * 6 + c));
    write_npy(folder.join("e.npy"), &matrix).unwrap();
    let lines: String = (0..ROWS).map(|row| format!("{},p{}\n", name(row), row / 4)).collect();
    put(folder.join("e.csv"), format!("name,label\n{lines}"));
}

/// The row that `verify` writes, without what it keeps of names and files, and all that it said.
fn verified(folder: &Path, more: &[&str]) -> (serde_json::Value, String) {
    let (embeddings, out) = (folder.join("e.npy"), folder.join("out.json"));
    let output = run(&[&["verify", "--embeddings", text(&embeddings), "--out", text(&out)], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let mut row: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    (row[0].take(), stderr(&output))
}

/// Every image with the next and with the one five rows on.
fn pairs(header: &str, name: impl Fn(usize) -> String, line: impl Fn(&str, &str, usize) -> String) -> String {
    let mut list = header.to_owned();
    for row in 0..ROWS {
        for other in [row + 1, row + 5].map(|other| other % ROWS) {
            writeln!(list, "{}", line(&name(row), &name(other), usize::from(row / 4 == other / 4))).unwrap();
        }
    }
    list
}

#[test]
fn pairs_of_kept_embeddings_are_found_by_names_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("pairs.csv");
    let mut wanted = None;
    let names: [(&str, Name); 7] = [
        ("files", |row| format!("{row}.jpg")),
        ("words", |row| format!("S{row:03}")),
        ("frames", |row| format!("v1_{row:06}")),
        ("films", |row| format!("clips/{row}.mp4")),
        ("numbers", |row| (row + 1).to_string()),
        ("long numbers", |row| (1_489_302_457_811_312_641 + row).to_string()),
        ("points", |row| format!("a.{row}")),
    ];
    for (what, name) in names {
        kept(folder.path(), name);
        for (header, line) in [
            ("a,b,same\n", (|a, b, same| format!("{a},{b},{same}")) as fn(&str, &str, usize) -> String),
            ("same,a,b\n", |a, b, same| format!("{same},{a},{b}")),
            ("label\timg1\timg2\n", |a, b, same| format!("{same}\t{a}\t{b}")),
        ] {
            put(&list, pairs(header, name, line));
            let (row, _) = verified(folder.path(), &["--pairs", text(&list)]);
            let figures = ["genuine_pairs", "impostor_pairs", "eer", "d_prime"].map(|column| row[column].to_string());
            assert_eq!(wanted.get_or_insert(figures.clone()), &figures, "{what} {header}");
        }
    }
    put(&list, "a,b,same\nnobody,1,1\n1,2,0\n");
    let embeddings = folder.path().join("e.npy");
    fails(1, &["verify", "--embeddings", text(&embeddings), "--pairs", text(&list)], &["nobody: is named by"]);
}

#[test]
fn groups_are_those_of_the_column_that_names_images() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), |row| format!("{row}.jpg"));
    let table = folder.path().join("groups.csv");
    let of = |row: usize| if row.is_multiple_of(3) { "night" } else { "day" };
    // In another order than that of the images, as a table that was shuffled and numbered anew.
    let rows: Vec<usize> = (0..ROWS).map(|at| at * 7 % ROWS).collect();
    let grouped = |header: &str, line: &dyn Fn(usize, usize) -> String| {
        let lines: String = rows.iter().enumerate().map(|(at, &row)| line(at, row) + "\n").collect();
        put(&table, format!("{header}\n{lines}"));
        let more = ["--all-pairs", "--groups", text(&table), "--group-by", "light", "--group-fmr", "0.05"];
        let (row, said) = verified(folder.path(), &more);
        (
            ["worst_fnmr", "worst_fnmr_group", "worst_fmr", "pairs_without_group"]
                .map(|column| row[column].to_string()),
            said,
        )
    };
    let (wanted, said) = grouped("path,light", &|_, row| format!("{row}.jpg,{}", of(row)));
    assert!(!said.contains("images are named by column"), "{said}");
    for name in ["path", "image_path", "img", "Image Path", "file_name", "filepath", "image_name", "image_id", "fname"]
    {
        for index in ["", "Unnamed: 0", "id"] {
            let header = format!("{index},{name},light");
            let (found, said) = grouped(&header, &|at, row| format!("{at},{row}.jpg,{}", of(row)));
            assert_eq!(found, wanted, "{header}");
            assert!(!said.contains("images are named by column"), "{header}: {said}");
        }
    }
    // A name that is none of those, which is said; and the index that is one's own name.
    for header in [",photograph,light", "id,photograph,light", "number,photograph,light"] {
        let (found, said) = grouped(header, &|at, row| format!("{at},{row}.jpg,{}", of(row)));
        assert_eq!(found, wanted, "{header}");
        assert!(said.contains("images are named by column 'photograph'"), "{header}: {said}");
    }
    let (found, said) = grouped("light,photograph", &|_, row| format!("{},{row}", of(row)));
    assert_eq!(found, wanted);
    assert!(said.contains("images are named by column 'photograph'"), "{said}");
    let (found, said) = grouped("photograph,light,name", &|_, row| format!("{row}.jpg,{},Ann", of(row)));
    assert_eq!(found, wanted, "a column of people's names");
    assert!(said.contains("images are named by column 'photograph'"), "{said}");
}

#[test]
fn a_first_line_of_groups_that_names_an_image_is_no_header() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), |row| format!("{row}.jpg"));
    let table = folder.path().join("groups.csv");
    let lines: String =
        (0..ROWS).map(|row| format!("{row}.jpg,{}\n", if row.is_multiple_of(3) { "night" } else { "day" })).collect();
    let with = |header: &str, by: &str| {
        put(&table, format!("{header}{lines}"));
        let more = ["--all-pairs", "--groups", text(&table), "--group-by", by, "--group-fmr", "0.05"];
        let (row, said) = verified(folder.path(), &more);
        assert!(!said.contains("of no group"), "{said}");
        ["worst_fnmr", "worst_fnmr_group", "worst_fmr"].map(|column| row[column].to_string())
    };
    assert_eq!(with("", "2"), with("path,light\n", "light"));
    put(&table, &lines);
    let embeddings = folder.path().join("e.npy");
    let arguments =
        ["verify", "--embeddings", text(&embeddings), "--all-pairs", "--groups", text(&table), "--group-by", "light"];
    fails(2, &arguments, &["has no column 'light'", "there is no header"]);
}

#[test]
fn a_number_before_two_paths_is_no_image_of_the_pair() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("pairs.csv");
    let of = |name: Name, header: &str, line: &dyn Fn(usize, &str, &str, usize) -> String| {
        kept(folder.path(), name);
        let at = std::cell::Cell::new(0);
        put(&list, pairs(header, name, |a, b, same| line(at.replace((at.get() + 1) % ROWS), a, b, same)));
        let (row, said) = verified(folder.path(), &["--pairs", text(&list)]);
        (["genuine_pairs", "impostor_pairs", "eer", "d_prime"].map(|column| row[column].to_string()), said)
    };
    let file: Name = |row| format!("{row}.jpg");
    let (wanted, said) = of(file, "a,b,same\n", &|_, a, b, same| format!("{a},{b},{same}"));
    assert!(!said.contains("pairs are read from"), "{said}");
    let headers = [
        "id,probe,reference,same\n",
        "idx,img_left,img_right,label\n",
        "age_gap,anchor,other,same\n",
        "similarity,a_img,b_img,same\n",
        "",
    ];
    for header in headers {
        let (found, said) = of(file, header, &|at, a, b, same| format!("{at},{a},{b},{same}"));
        assert_eq!(found, wanted, "{header}");
        assert!(said.contains("pairs are read from columns"), "{header}: {said}");
    }
    // One of them has a name that is known, and ids that are no files.
    let (found, _) = of(file, "gap,image1,other,same\n", &|at, a, b, same| format!("{at},{a},{b},{same}"));
    assert_eq!(found, wanted);
    let word: Name = |row| format!("S{row:03}");
    let (found, _) = of(word, "pair_id,probe,reference,same\n", &|at, a, b, same| format!("{at},{a},{b},{same}"));
    assert_eq!(found, wanted);
}

#[test]
fn labels_and_roles_beside_embeddings_are_called_as_in_lists() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), |row| format!("{row}.jpg"));
    let (embeddings, out) = (folder.path().join("e.npy"), folder.path().join("out.json"));
    let recalled = |header: &str, line: &dyn Fn(usize) -> String| {
        let lines: String = (0..ROWS).map(|row| line(row) + "\n").collect();
        put(folder.path().join("e.csv"), format!("{header}\n{lines}"));
        let output = run(&["recall", "--embeddings", text(&embeddings), "--k", "1", "--out", text(&out)]);
        assert!(output.status.success(), "{header}: {}", stderr(&output));
        let row: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        (["recall@1", "classes", "queries", "gallery"].map(|column| row[0][column].to_string()), stderr(&output))
    };
    let (wanted, _) = recalled("name,label", &|row| format!("{row}.jpg,{}", row / 4));
    for label in ["category", "species", "person_id", "class_name", "item_id", "Class Name"] {
        let (found, said) =
            recalled(&format!("name,x,y,{label}"), &|row| format!("{row}.jpg,{},{},{}", row * 3, row % 7, row / 4));
        assert_eq!(found, wanted, "{label}");
        assert!(said.contains(&format!("labels are read from column '{label}'")), "{label}: {said}");
    }
    let (found, _) = recalled("name,target,person_id", &|row| format!("{row}.jpg,{},{}", row % 2, row / 4));
    assert_eq!(found, wanted);
    // One label a line may be any word.
    let lines: String = (0..ROWS)
        .map(|row| format!("{}\n", if row / 4 == 0 { "person".into() } else { row.div_euclid(4).to_string() }))
        .collect();
    put(folder.path().join("e.csv"), lines);
    let output = run(&["recall", "--embeddings", text(&embeddings), "--k", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));

    let role = |row: usize| if row.is_multiple_of(4) { "query" } else { "gallery" };
    let (wanted, _) = recalled("name,label,role", &|row| format!("{row}.jpg,{},{}", row / 4, role(row)));
    assert_eq!(wanted[2], "10");
    let flags = |row: usize, words: [&str; 2]| {
        if row.is_multiple_of(4) { words.join(",") } else { format!("{},{}", words[1], words[0]) }
    };
    for (header, words) in [("is_query,is_gallery", ["True", "False"]), ("query,gallery", ["1", "0"])] {
        let (found, _) =
            recalled(&format!("name,label,{header}"), &|row| format!("{row}.jpg,{},{}", row / 4, flags(row, words)));
        assert_eq!(found, wanted, "{header}");
    }
    for header in ["part", "evaluation_status", "split"] {
        let (found, said) =
            recalled(&format!("name,label,{header}"), &|row| format!("{row}.jpg,{},{}", row / 4, role(row)));
        assert_eq!(found, wanted, "{header}");
        assert!(said.contains(&format!("column '{header}' is taken for the role of each row")), "{said}");
    }
}

#[test]
fn labels_have_their_names_in_any_column_that_lists_have_them_in() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), |row| format!("{row}.jpg"));
    let list = folder.path().join("pairs.csv");
    put(&list, pairs("a,b,same\n", |row| format!("{row}.jpg"), |a, b, same| format!("{a},{b},{same}")));
    let (wanted, _) = verified(folder.path(), &["--pairs", text(&list)]);
    for name in ["image", "file", "img_path", "image_id", "Image Path"] {
        let lines: String = (0..ROWS).map(|row| format!("{row},{row}.jpg,p{}\n", row / 4)).collect();
        put(folder.path().join("e.csv"), format!(",{name},label\n{lines}"));
        let (row, said) = verified(folder.path(), &["--pairs", text(&list)]);
        assert_eq!(row["eer"], wanted["eer"], "{name}");
        assert!(!said.contains("nothing is read from"), "{name}: {said}");
    }
}

#[test]
fn numbers_with_a_comma_for_the_point_are_told_with_a_header_and_with_exponents() {
    let folder = tempfile::tempdir().unwrap();
    let (genuine, impostor) = (folder.path().join("g.csv"), folder.path().join("i.csv"));
    put(&impostor, "0.1\n0.2\n");
    let cure = "numbers with a comma for the point are not read: write 0.5 for 0,5";
    for (scores, code, says) in [
        ("score\n0,85\n0,9\n", 1, "line 2: '0,85' is not one number"),
        ("score\r\n0,85\r\n0,9\r\n", 1, "line 2: '0,85' is not one number"),
        ("score\n1\n0,9\n0,8\n", 1, "line 3: '0,9' is not one number"),
        ("score\n9,1E-05\n0,9\n", 1, "line 2: '9,1E-05' is not one number"),
        ("0,4251\n0,3736\n3E-05\n0,5281\n", 1, "line 1: '0,4251' is not one number"),
        ("0,4251\n-0,3736\n9,1E-05\n", 2, "choose one by --column"),
        ("pair;score\n0;1,063\n1;0,9339\n", 1, "'1,063' is not one number"),
    ] {
        put(&genuine, scores);
        fails(code, &["scores", "--genuine", text(&genuine), "--impostor", text(&impostor)], &[says, cure]);
    }
    // Two columns of whole numbers that have names are two columns.
    put(&genuine, "row,score\n0,1\n1,2\n");
    let output = run(&["scores", "--genuine", text(&genuine), "--impostor", text(&impostor)]);
    assert!(output.status.success(), "{}", stderr(&output));
}
