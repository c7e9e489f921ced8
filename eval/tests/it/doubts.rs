//! Figures that look right and are not: what is said beside them, from the command line.

use std::fmt::Write;
use std::path::Path;

use half::{bf16, f16};
use ndarray::Array2;
use ndarray_npy::write_npy;
use safetensors::tensor::{Dtype, TensorView};

use crate::tools::{fails, fixtures, put, run, stderr, stdout, text};

const CLASSES: usize = 5;
const EACH: usize = 4;

/// Rows near one of `CLASSES` directions, as numbers that float16 and bfloat16 hold.
fn matrix(dim: usize) -> Array2<f32> {
    let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
    let value = |(r, c): (usize, usize)| noise(r / EACH * dim + c + 1) + 0.7 * noise(5_000 + r * dim + c);
    Array2::from_shape_fn((CLASSES * EACH, dim), |at| bf16::from_f32(value(at)).to_f32())
}

fn labels() -> String {
    (0..CLASSES * EACH).map(|row| format!("{}\n", row / EACH)).collect()
}

/// Standard output and error of a run that must succeed.
fn said(arguments: &[&str]) -> (String, String) {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

fn says(arguments: &[&str], words: &[&str]) {
    let (_, error) = said(arguments);
    for words in words {
        assert!(error.contains(words), "{arguments:?}: wanted '{words}' in: {error}");
    }
}

/// A folder with `e.npy`, `l.txt` and their paths.
fn kept(matrix: &Array2<f32>) -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (e, l) = (folder.path().join("e.npy"), folder.path().join("l.txt"));
    write_npy(&e, matrix).unwrap();
    put(&l, labels());
    let (e, l) = (text(&e).to_owned(), text(&l).to_owned());
    (folder, e, l)
}

#[test]
fn embeddings_of_16_bits_are_the_same_embeddings() {
    let (folder, e, l) = kept(&matrix(8));
    let recall = ["recall", "--k", "1,2", "--labels", &l, "--embeddings"];
    let (wanted, _) = said(&[&recall[..], &[&e]].concat());
    let plain = std::fs::read(&e).unwrap();
    let data = plain.len() - 4 * CLASSES * EACH * 8;
    let values: Vec<f32> = plain[data..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut header = plain[..data].to_vec();
    for kind in ["<f2", ">f2"] {
        let at = header.windows(3).position(|w| w[1..] == *b"f4" || w[1..] == *b"f2").unwrap();
        header[at..at + 3].copy_from_slice(kind.as_bytes());
        let halves = values.iter().map(|v| f16::from_f32(*v));
        let halves: Vec<u8> = match kind {
            "<f2" => halves.flat_map(f16::to_le_bytes).collect(),
            _ => halves.flat_map(f16::to_be_bytes).collect(),
        };
        let path = folder.path().join("half.npy");
        put(&path, [header.as_slice(), &halves].concat());
        assert_eq!(said(&[&recall[..], &[text(&path)]].concat()).0, wanted, "{kind}");
    }
    let of_rows: Vec<u8> = (0..CLASSES * EACH).flat_map(|row| ((row / EACH) as i64).to_le_bytes()).collect();
    let f16s: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let bf16s: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    for (dtype, bytes) in [(Dtype::F16, &f16s), (Dtype::BF16, &bf16s)] {
        let tensors = [
            ("embeddings", TensorView::new(dtype, vec![CLASSES * EACH, 8], bytes).unwrap()),
            ("labels", TensorView::new(Dtype::I64, vec![CLASSES * EACH], &of_rows).unwrap()),
        ];
        let path = folder.path().join("half.safetensors");
        put(&path, safetensors::serialize(tensors, None).unwrap());
        let (found, _) = said(&["recall", "--k", "1,2", "--embeddings", text(&path)]);
        assert_eq!(found, wanted, "{dtype:?}");
    }
}

#[test]
fn scores_of_16_bits_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let head = b"\x93NUMPY\x01\x00\x38\x00{'descr': '<f2', 'fortran_order': False, 'shape': (4,)}\n";
    assert_eq!(head.len(), 10 + 0x38);
    let write = |name: &str, values: [f32; 4]| {
        let values: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        put(folder.path().join(name), [head.as_slice(), &values].concat());
        text(&folder.path().join(name)).to_owned()
    };
    let (g, i) = (write("g.npy", [0.5, 0.75, 0.25, 1.0]), write("i.npy", [0.0, 0.125, 0.375, 0.25]));
    put(folder.path().join("g.txt"), "0.5\n0.75\n0.25\n1\n");
    put(folder.path().join("i.txt"), "0\n0.125\n0.375\n0.25\n");
    let at = |name: &str| text(&folder.path().join(name)).to_owned();
    let of = |g: &str, i: &str| said(&["scores", "--genuine", g, "--impostor", i]).0;
    assert_eq!(of(&g, &i), of(&at("g.txt"), &at("i.txt")));
}

#[test]
fn signs_that_are_all_alike_are_said() {
    let positive = matrix(8).mapv(f32::abs);
    let (_folder, e, l) = kept(&positive);
    let recall = ["recall", "--k", "1", "--embeddings", &e, "--labels", &l];
    says(
        &[&recall[..], &["--storage", "binary"]].concat(),
        &["binary: the sign of 8 of 8 dimensions is the same in every row"],
    );
    let said_of = |more: &[&str]| said(&[&recall[..], more].concat()).1;
    assert!(!said_of(&["--storage", "int8"]).contains("binary"));
    let (_folder, e, l) = kept(&matrix(8));
    let (_, error) = said(&["recall", "--k", "1", "--embeddings", &e, "--labels", &l, "--storage", "binary"]);
    assert!(!error.contains("binary: the sign"), "{error}");
    let (_folder, e, l) = kept(&matrix(1));
    let words = "embeddings of 1 dimension: every cosine is 1 or -1";
    let recall = ["recall", "--k", "1", "--embeddings", &e, "--labels", &l];
    says(&recall, &[words]);
    says(&["verify", "--all-pairs", "--embeddings", &e, "--labels", &l], &[words]);
    assert!(!said(&[&recall[..], &["--metric", "l2"]].concat()).1.contains(words));
    let (_folder, e, l) = kept(&matrix(8));
    says(&["recall", "--k", "1", "--embeddings", &e, "--labels", &l, "--matryoshka", "1,4"], &[words]);
}

#[test]
fn a_cut_that_leaves_nothing_is_said_by_its_flag() {
    let mut rows = matrix(8);
    let cut = |rows: &Array2<f32>, more: &[&str]| {
        let (folder, e, l) = kept(rows);
        let recall = ["recall", "--k", "1", "--embeddings", &e, "--labels", &l, "--matryoshka", "2,4"];
        (folder, [&recall[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    rows.slice_mut(ndarray::s![.., ..2]).fill(0.0);
    let (_folder, words) = cut(&rows, &["--metric", "l2"]);
    let l2: Vec<&str> = words.iter().map(String::as_str).collect();
    let said_of = said(&l2).1;
    assert!(
        said_of.contains("--matryoshka 2: the first 2 numbers are the same in all rows")
            && !said_of.contains("--matryoshka 4:"),
        "{said_of}"
    );
    let (_folder, words) = cut(&rows, &[]);
    let cosine: Vec<&str> = words.iter().map(String::as_str).collect();
    fails(1, &cosine, &["--matryoshka 2: the first 2 numbers of row 0 are all zeros", "leave 2 out"]);
}

#[test]
fn labels_out_of_order_are_known_by_where_their_digest_stands() {
    let (folder, e, _) = kept(&matrix(8));
    let path = folder.path().join("l.csv");
    let lines: Vec<String> = labels().lines().enumerate().map(|(row, label)| format!("i{row}.jpg,{label},")).collect();
    let recall = ["recall", "--k", "1", "--embeddings", &e, "--labels", path.to_str().unwrap()];
    let with_digest_at = |at: usize| {
        let mut lines = lines.clone();
        lines[at].push_str("0123");
        put(&path, format!("name,label,matrix_sha256\n{}\n", lines.join("\n")));
    };
    with_digest_at(3);
    fails(1, &recall, &["line 5: has matrix_sha256, which the line of the matrix's first row has"]);
}

#[test]
fn columns_of_labels_that_change_figures_or_should_are_said() {
    let (folder, e, _) = kept(&matrix(8));
    let path = folder.path().join("l.csv");
    let table = |head: &str, line: &dyn Fn(usize) -> String| {
        let mut all = format!("{head}\n");
        (0..CLASSES * EACH).for_each(|row| writeln!(all, "{}", line(row)).unwrap());
        put(&path, all);
        said(&["recall", "--k", "1", "--embeddings", &e, "--labels", text(&path)]).1
    };
    let cameras = table("label,camera", &|row| format!("{},{}", row / EACH, row % 2));
    assert!(cameras.contains("one class and one camera (column 'camera') are not counted as each other's neighbours"));
    let shuffled = |row: usize| (row * 7 + 3) % (CLASSES * EACH);
    for head in [",label", "Unnamed: 0,label", "index,label", "row,label"] {
        let error = table(head, &|row| format!("{},{}", shuffled(row), shuffled(row) / EACH));
        assert!(error.contains("numbers the lines in another order than theirs"), "{head}: {error}");
        let error = table(head, &|row| format!("{row},{}", row / EACH));
        assert!(!error.contains("another order"), "{head}: {error}");
    }
    // What is left of a larger table keeps its numbers.
    let error = table(",label", &|row| format!("{},{}", 1000 - 2 * row, row / EACH));
    assert!(!error.contains("another order"), "{error}");
}

#[test]
fn text_of_one_long_line_is_refused_by_every_reader() {
    let (folder, e, _) = kept(&matrix(8));
    let long = folder.path().join("long.csv");
    put(&long, "a,".repeat(1 << 20));
    let (long, data) = (text(&long), fixtures().join("shapes"));
    let (model, data) = (fixtures().join("embedder.onnx"), text(&data));
    let model = text(&model);
    for arguments in [
        &["recall", "--model", model, "--data", long][..],
        &["recall", "--embeddings", &e, "--labels", long],
        &["verify", "--model", model, "--data", data, "--pairs", long],
        &["verify", "--model", model, "--data", data, "--all-pairs", "--align", long],
        &["verify", "--model", model, "--data", data, "--all-pairs", "--groups", long, "--group-by", "a"],
        &["scores", "--genuine", long, "--impostor", long],
    ] {
        fails(1, arguments, &["long.csv: line 1: is 2097152 bytes long; wanted a table of lines"]);
    }
}

fn scored(folder: &Path, genuine: &str, impostor: &str) -> String {
    put(folder.join("g.txt"), genuine);
    put(folder.join("i.txt"), impostor);
    let (g, i) = (folder.join("g.txt"), folder.join("i.txt"));
    said(&["scores", "--genuine", text(&g), "--impostor", text(&i)]).1
}

#[test]
fn marks_of_failures_among_scores_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let scores = |from: f64| (0..40).map(|n| format!("{}\n", from + f64::from(n) / 100.0)).collect::<String>();
    let (genuine, impostor) = (scores(0.4), scores(0.1));
    assert_eq!(scored(folder.path(), &genuine, &impostor), "");
    for mark in ["-1", "-999", "9999"] {
        let error = scored(folder.path(), &format!("{genuine}{mark}\n{mark}\n"), &impostor);
        assert!(error.contains(&format!("2 scores are {mark}, far from all others")), "{error}");
    }
    let error = scored(folder.path(), &"1\n".repeat(20), &format!("1\n{}", "0\n".repeat(20)));
    assert!(error.contains("all 41 scores are 0 or 1: are they decisions"), "{error}");
    put(folder.path().join("g.txt"), "0.5\n#N/A\n0.7\n");
    let (g, i) = (folder.path().join("g.txt"), folder.path().join("i.txt"));
    fails(1, &["scores", "--genuine", text(&g), "--impostor", text(&i)], &["g.txt: line 2: '#N/A' is not one number"]);
}

#[test]
fn a_result_given_twice_is_said() {
    let (folder, e, l) = kept(&matrix(8));
    let at = |name: &str| text(&folder.path().join(name)).to_owned();
    let (run_a, run_b, result) = (at("a"), at("b"), at("a.json"));
    let recall = ["recall", "--k", "1", "--embeddings", &e, "--labels", &l];
    said(&[&recall[..], &["--save-run", &run_a, "--out", &result]].concat());
    said(&[&recall[..], &["--save-run", &run_b, "--metric", "l2"]].concat());
    let spelt = format!("{}/./a", text(folder.path()));
    for again in [&run_a, &spelt, &result] {
        says(&["tabulate", &run_a, &run_b, again], &["one result stands in two rows"]);
    }
    says(&["tabulate", &result, &result, "--sort", "recall@1"], &["a.json is ", "one result stands in two rows"]);
    let (_, error) = said(&["tabulate", &run_a, &run_b]);
    assert!(!error.contains("stands in two rows"), "{error}");
}

#[test]
fn rows_of_one_data_set_that_are_not_of_the_same_images_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, digest: &str, part: &str| {
        let path = folder.path().join(name);
        let json = format!(
            "[{{\"measure\":\"recall\",\"model\":\"{name}\",\"data\":\"/d/cub\",\"data_sha256\":\"{digest}\",\"part\":\"{part}\",\
             \"recall@1\":0.5}}]"
        );
        put(&path, json);
        text(&path).to_owned()
    };
    let (a, b, c, d) =
        (at("a.json", "1", "test"), at("b.json", "1", "test"), at("c.json", "2", "test"), at("d.json", "1", "all"));
    assert_eq!(said(&["tabulate", &a, &b]).1, "");
    for other in [&c, &d] {
        says(&["tabulate", &a, other], &["'cub' is 2 different data", "their figures are not to be compared"]);
        says(&["tabulate", &a, other, "--pivot", "dataset"], &["'cub' is 2 different data"]);
    }
    // What is left out by --where is not there to be compared.
    assert_eq!(said(&["tabulate", &a, &b, &c, "--where", "data_sha256=1"]).1, "");
}

#[test]
fn a_mean_and_a_deviation_of_another_range_are_said() {
    let (model, data) = (fixtures().join("models/rank_4.onnx"), fixtures().join("shapes"));
    let recall = ["recall", "--model", text(&model), "--data", text(&data), "--classes", "11-12", "--k", "1"];
    let recall = [&recall[..], &["--runtime", "tract", "--threads", "1", "--resize", "exact:8x8"]].concat();
    for (flags, words) in [
        (
            &["--preset", "imagenet", "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"][..],
            "They want --scale 1",
        ),
        (&["--preset", "none", "--mean", "127.5", "--std", "127.5"], "They want --scale 1"),
        (&["--scale", "1", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"], "They want --scale 1/255"),
        (&["--preset", "imagenet", "--scale", "1"], "They want --scale 1/255"),
    ] {
        says(&[&recall[..], flags].concat(), &["prepared values run from", words]);
    }
    let (_, error) =
        said(&[&recall[..], &["--preset", "none", "--scale", "1", "--mean", "127.5", "--std", "128"]].concat());
    assert!(!error.contains("prepared values"), "{error}");
    fails(2, &[&recall[..], &["--std", "0.5,0,0.5"]].concat(), &["--std", "nothing can be divided by 0"]);
}

#[test]
fn a_run_compared_with_itself_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (run, model, data) = (folder.path().join("a"), fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let runtime = ["--runtime", "tract", "--threads", "1"];
    let recall = ["recall", "--model", text(&model), "--data", text(&data), "--classes", "11-12", "--k", "1"];
    said(&[&recall[..], &runtime, &["--save-run", text(&run)]].concat());
    let spelt = folder.path().join("./a");
    says(
        &["compare", text(&run), text(&spelt), "--draws", "100"],
        &["A and B are one run: it is compared with itself"],
    );
}

#[test]
fn lists_of_pairs_that_contradict_their_names_or_have_odd_folds_are_said() {
    let (folder, e, _) = kept(&matrix(8));
    let name = |row: usize| format!("{}/{}.jpg", row / EACH, row % EACH);
    let mut rows = "name,label\n".to_owned();
    (0..CLASSES * EACH).for_each(|row| writeln!(rows, "{},{}", name(row), row / EACH).unwrap());
    put(folder.path().join("l.csv"), rows);
    let (labels, list) = (folder.path().join("l.csv"), folder.path().join("pairs.csv"));
    let pairs: Vec<(usize, usize, bool)> = (0..CLASSES * EACH)
        .flat_map(|row| {
            [(row, row / EACH * EACH + (row + 1) % EACH, true), (row, (row + EACH) % (CLASSES * EACH), false)]
        })
        .collect();
    let verify = |wrong: usize, fold: &dyn Fn(usize) -> usize| {
        let mut text_of = "path_a,path_b,same,fold\n".to_owned();
        for (at, &(a, b, same)) in pairs.iter().enumerate() {
            writeln!(text_of, "{},{},{},{}", name(a), name(b), u8::from(same != (at < wrong)), fold(at)).unwrap();
        }
        put(&list, text_of);
        said(&["verify", "--embeddings", &e, "--labels", text(&labels), "--pairs", text(&list)]).1
    };
    let even = |at: usize| 1 + at / 8;
    assert_eq!(verify(0, &even), "");
    assert!(verify(0, &|at| at / 8).contains("folds 1 to 5 are those called '0', '1', '2', '3', '4'"));
    let error = verify(2, &even);
    assert!(error.contains("2 of 40 pairs say otherwise than the folders of their images"), "{error}");
    let error = verify(0, &|at| if at < 30 { 0 } else { 1 + at % 10 / 5 });
    assert!(error.contains("folds have 5 to 30 pairs: accuracy is the mean of folds"), "{error}");
}

#[test]
fn inner_products_of_rows_of_different_lengths_are_said() {
    let (_folder, e, l) = kept(&matrix(8));
    let (_, error) = said(&["recall", "--embeddings", &e, "--labels", &l, "--metric", "ip", "--k", "1"]);
    assert!(error.contains("rows have lengths from") && error.contains("--metric cosine"), "{error}");
    let lengths = matrix(8).map_axis(ndarray::Axis(1), |row| row.dot(&row).sqrt());
    let (_folder, e, l) = kept(&(matrix(8) / &lengths.insert_axis(ndarray::Axis(1))));
    for metric in ["ip", "l2"] {
        let (_, error) = said(&["recall", "--embeddings", &e, "--labels", &l, "--metric", metric, "--k", "1"]);
        assert!(!error.contains("rows have lengths"), "{error}");
    }
}

#[test]
fn groups_that_a_slip_makes_are_said() {
    let (folder, e, l) = kept(&matrix(8));
    put(Path::new(&l), "");
    let mut rows = "name,label\n".to_owned();
    (0..CLASSES * EACH).for_each(|row| writeln!(rows, "{row}.jpg,{}", row / EACH).unwrap());
    put(folder.path().join("e.csv"), rows);
    let groups = |value: &dyn Fn(usize) -> String| {
        let mut rows = "path,of\n".to_owned();
        (0..CLASSES * EACH).for_each(|row| writeln!(rows, "{row}.jpg,{}", value(row)).unwrap());
        let path = folder.path().join("g.csv");
        put(&path, rows);
        said(&[
            "verify",
            "--embeddings",
            &e,
            "--all-pairs",
            "--groups",
            text(&path),
            "--group-by",
            "of",
            "--group-fmr",
            "0.1",
        ])
        .1
    };
    let sex = |row: usize| if (row / EACH).is_multiple_of(2) { "f" } else { "m" };
    let plain = groups(&|row| sex(row).into());
    assert!(!plain.contains("group"), "{plain}");
    let error = groups(&|row| if row < EACH { sex(row).to_uppercase() } else { sex(row).into() });
    assert!(error.contains("groups whose names are nearly the same count as different ones: 'F' and 'f'"), "{error}");
    let error = groups(&|row| if row < EACH { "nan".into() } else { sex(row).into() });
    assert!(error.contains("'nan' counts as a group like any other"), "{error}");
    let error = groups(&|row| format!("{}.5", 20 + row));
    assert!(error.contains("20 images have 20 values, a group each"), "{error}");
    let error = groups(&|row| if row % 2 == 0 { "f".into() } else { "m".into() });
    assert!(error.contains("20 genuine pairs are of two groups"), "{error}");
}
