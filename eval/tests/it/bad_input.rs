//! Bad input through the tool itself: exit code and sentence, never a panic, never half a file.

use crate::tools::{colored_folder, fails, fixtures, put, run, stderr, stdout, text};

/// A folder of three classes of four images, and the arguments that measure it with a pooling model.
fn images() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(&folder.path().join("data"), 3, 4);
    let model = fixtures().join("models/rank_4.onnx");
    let data = folder.path().join("data");
    let arguments = ["recall", "--model", text(&model), "--data", text(&data), "--crop", "8", "--runtime", "tract"];
    let arguments = arguments.map(str::to_owned).to_vec();
    (folder, arguments)
}

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

/// OpenBLAS would wait for ever.
#[test]
#[cfg(target_os = "linux")]
fn too_little_address_space_is_said_at_once() {
    let limited = format!("ulimit -v 300000; exec timeout 20 {} --version", env!("CARGO_BIN_EXE_pdloss-eval"));
    let output = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("less than 512 MiB (ulimit -v)"), "{}", stderr(&output));
}

#[test]
fn a_bad_image_stops_the_run_and_is_named() {
    for (odd, says) in [("truncated.jpg", "truncated"), ("empty.jpg", "0 bytes"), ("text.jpg", "is none of")] {
        let (folder, arguments) = images();
        std::fs::copy(fixtures().join("odd").join(odd), folder.path().join("data/1/bad.jpg")).unwrap();
        let out = folder.path().join("result.json");
        fails(1, &with(&arguments, &["--out", text(&out)]), &["1/bad.jpg", says, "--skip-bad goes on"]);
        assert!(!out.exists());
    }
}

#[test]
fn skip_bad_goes_on_and_reports_which() {
    let (folder, arguments) = images();
    put(folder.path().join("data/1/bad.jpg"), "");
    put(folder.path().join("data/2/worse.png"), "no image");
    let out = folder.path().join("result.json");
    let output = run(&with(&arguments, &["--skip-bad", "--k", "1", "--out", text(&out)]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("skipped: image 1/bad.jpg"));
    let result = std::fs::read_to_string(out).unwrap();
    assert!(result.contains(r#""skipped":2"#) && result.contains("1/bad.jpg; 2/worse.png"), "{result}");
    assert!(result.contains(r#""images":12"#), "{result}");
}

#[test]
fn odd_but_good_images_are_measured() {
    let (folder, arguments) = images();
    let kinds = ["one_bit.png", "grey.png", "grey16.png", "cmyk.jpg", "rgba.png", "exif6.jpg", "palette.png"];
    for (at, kind) in kinds.iter().enumerate() {
        std::fs::copy(fixtures().join("odd").join(kind), folder.path().join(format!("data/{}/{kind}", at % 3)))
            .unwrap();
    }
    let output = run(&with(&arguments, &["--k", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("|     19 |"), "{}", stdout(&output));
}

#[test]
fn files_of_several_pictures_are_counted_and_recorded() {
    let (folder, arguments) = images();
    let single = std::fs::read(fixtures().join("odd/rgb.gif")).unwrap();
    // All behind the header and its table of colours, again.
    let begin = 13 + if single[10] & 0x80 == 0 { 0 } else { 3 << ((single[10] & 7) + 1) };
    let animated = [&single[..single.len() - 1], &single[begin..]].concat();
    let out = folder.path().join("result.json");
    for (bytes, said) in [(&single, false), (&animated, true)] {
        put(folder.path().join("data/1/a.gif"), bytes);
        let output = run(&with(&arguments, &["--k", "1", "--out", text(&out)]));
        assert!(output.status.success(), "{}", stderr(&output));
        let words = "1 file holds several pictures (animations, pages), of which the first is taken: 1/a.gif";
        let written = std::fs::read_to_string(&out).unwrap();
        assert_eq!((stderr(&output).contains(words), written.contains(words)), (said, said), "{}", stderr(&output));
    }
}

#[test]
fn embeddings_that_cannot_be_compared_are_named() {
    let (_folder, arguments) = images();
    let model = |name: &str| {
        let mut arguments = arguments.clone();
        arguments[2] = fixtures().join("models").join(name).to_string_lossy().into_owned();
        arguments
    };
    fails(1, &with(&model("nan_output.onnx"), &[]), &["0/0.png has NaN"]);
    fails(1, &with(&model("zero_output.onnx"), &[]), &["0/0.png is all zeros", "--metric l2"]);
    fails(1, &with(&model("unknown_operator.onnx"), &[]), &["unknown_operator.onnx", "Frobnicate"]);
    fails(1, &with(&model("nowhere.onnx"), &[]), &["nowhere.onnx: cannot read"]);
    fails(2, &with(&model("two_outputs.onnx"), &[]), &["--output NAME"]);
}

#[test]
fn what_cannot_be_measured_says_why() {
    let (folder, arguments) = images();
    fails(1, &with(&arguments, &["--k", "1,12"]), &["--k 12", "11 other images"]);
    fails(1, &with(&arguments, &["--classes", "2"]), &["1 class"]);
    fails(2, &with(&arguments, &["--classes", "1,7"]), &["has no images of class 7; it has classes 0-2"]);
    let mut empty = arguments.clone();
    empty[4] = folder.path().join("nothing").to_string_lossy().into_owned();
    fails(1, &with(&empty, &[]), &["nothing: cannot read"]);
    std::fs::create_dir(folder.path().join("nothing")).unwrap();
    fails(1, &with(&empty, &[]), &["no images found"]);
}

#[test]
fn wrong_command_lines_end_with_two() {
    let (folder, arguments) = images();
    for (more, says) in [
        (["--k", "0"], "--k 0"),
        (["--threads", "0"], "--threads 0"),
        (["--batch", "0"], "--batch 0"),
        (["--out", "result.txt"], ".csv, .json, .parquet or .md"),
        (["--out", "/no/such/folder/r.csv"], "there is no folder /no/such/folder"),
        (["--save-embeddings", "kept.bin"], ".npy or .safetensors"),
        (["--device", "tpu"], "wanted cpu, cuda or cuda:N"),
        (["--classes", "9-3"], "1-10,15"),
        (["--resize", "big"], "none, shorter:N, cover:WIDTHxHEIGHT or exact:WIDTHxHEIGHT"),
        (["--split", "test"], "no train and test parts"),
        (["--label", "2"], "--label"),
        (["--embeddings", "kept.npy"], "cannot be used with"),
        (["--labels", "labels.csv"], "cannot be used with"),
        (["--dim", "7"], "cannot be used with"),
        (["--root", "/tmp"], "--root: only a list has one"),
        (["--split", "val"], "no train and test parts"),
    ] {
        fails(2, &with(&arguments, &more), &[says]);
    }
    fails(2, &["recall"], &["required"]);
    fails(2, &["recall", "--data", text(folder.path())], &["--model"]);
}

#[test]
fn a_device_or_runtime_that_cannot_be_had_is_an_error_not_a_fallback() {
    let (_folder, mut arguments) = images();
    fails(1, &with(&arguments, &["--device", "cuda"]), &["tract", "processor only"]);
    let last = arguments.len() - 1;
    arguments[last] = "onnxruntime".into();
    fails(1, &with(&arguments, &["--device", "cuda:0"]), &["--device cuda:0 cannot be had"]);
    fails(1, &with(&arguments, &["--onnxruntime", "/no/libonnxruntime.so"]), &["/no/libonnxruntime.so", "is no file"]);
    let not_a_library = fixtures().join("embedder.toml");
    fails(1, &with(&arguments, &["--onnxruntime", text(&not_a_library)]), &["embedder.toml"]);
}

/// A file-size limit of nothing stands for a full disk: writing fails, and says so.
#[test]
fn a_disk_that_fills_leaves_no_half_file() {
    let (folder, arguments) = images();
    for name in ["result.csv", "result.json", "result.parquet", "result.md"] {
        let out = folder.path().join(name);
        std::fs::write(&out, "what was there before").unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pdloss-eval")])
            .args(with(&arguments, &["--k", "1", "--out", text(&out)]))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("{name}: cannot write")), "{}", stderr(&output));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "what was there before", "{name}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().starts_with(".pdloss")), "{left:?}");
}

#[test]
fn what_lists_and_flags_show_is_said_before_anything_is_embedded() {
    let (folder, arguments) = images();
    let data = folder.path().join("data");
    let verify = |more: &[&str]| -> Vec<String> {
        let model = fixtures().join("models/nan_output.onnx");
        let start = ["verify", "--model", text(&model), "--data", text(&data), "--crop", "8", "--runtime", "tract"];
        start.iter().chain(more).map(|&word| word.to_owned()).collect()
    };
    let fails = |code: i32, arguments: &[String], says: &[&str]| {
        fails(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), says);
    };
    // The model gives NaN, which would be said first if it were asked.
    let list = folder.path().join("pairs.csv");
    let listed = |content: &str| {
        put(&list, content);
        verify(&["--pairs", text(&list)])
    };
    let good = "0/0.png,0/1.png,1\n0/0.png,1/0.png,0\n";
    fails(1, &listed(good), &["has NaN"]);
    fails(
        1,
        &listed(&format!("{good}0/9.png,1/0.png,0\n")),
        &["0/9.png", "is not there (1 of its 3 pairs", "--skip-missing"],
    );
    put(data.join("0/x.heic"), "no picture that is decoded");
    fails(1, &listed(&format!("{good}0/x.heic,1/0.png,0\n")), &["0/x.heic", "is of a kind that is not decoded (1 of"]);
    fails(
        1,
        &listed(&format!("{good}0/0.png,./0/0.png,1\n")),
        &["1 of its 3 pairs are an image with itself", "--skip-bad"],
    );
    fails(
        1,
        &listed(&format!("{good}0/1.png,./0/0.png,0\n")),
        &["2 of its 3 pairs are called both genuine and impostor", "0/0.png and 0/1.png", "--skip-bad"],
    );
    fails(1, &listed("0/0.png,0/1.png,1\n8/0.png,1/0.png,0\n"), &["8/0.png", "is not there"]);
    fails(1, &verify(&["--all-pairs", "--classes", "1"]), &["make no impostor pairs"]);
    let mut nan = arguments.clone();
    nan[2] = fixtures().join("models/nan_output.onnx").to_string_lossy().into_owned();
    let nan = |more: &[&str]| nan.iter().cloned().chain(more.iter().map(|&w| w.to_owned())).collect::<Vec<_>>();
    fails(1, &nan(&["--k", "1,12"]), &["--k 12", "11 other images"]);
    fails(1, &nan(&["--classes", "2"]), &["1 class"]);
    fails(1, &nan(&[]), &["has NaN"]);
}

#[test]
fn copies_and_what_was_passed_over_are_printed_and_recorded() {
    let (folder, arguments) = images();
    let data = folder.path().join("data");
    std::fs::copy(data.join("0/0.png"), data.join("0/copy.png")).unwrap();
    std::fs::copy(data.join("0/0.png"), data.join("1/copy.png")).unwrap();
    put(data.join("0/.ipynb_checkpoints/0.png"), "");
    put(data.join("1/photo.heic"), "");
    let (out, kept) = (folder.path().join("result.json"), folder.path().join("kept.npy"));
    let output = run(&with(&arguments, &["--k", "1", "--out", text(&out), "--save-embeddings", text(&kept)]));
    assert!(output.status.success(), "{}", stderr(&output));
    let (said, written) = (stderr(&output), std::fs::read_to_string(out).unwrap());
    for words in [
        "passed over 1 file hidden: 1 in .ipynb_checkpoints",
        "passed over 1 file of kinds that are not decoded: 1 .heic",
        "2 images are copies of others (files of equal bytes), 1 of them under another label",
    ] {
        assert!(said.contains(words) && written.contains(words), "{words}: {said} {written}");
    }
    assert!(written.contains(r#""copies":2"#) && written.contains(r#""class_names":"0; 1; 2""#), "{written}");
    let table = |output: &std::process::Output| stdout(output).lines().take(3).collect::<Vec<_>>().join("\n");
    let again = run(&["recall", "--embeddings", text(&kept), "--k", "1"]);
    assert_eq!(table(&again), table(&output), "kept embeddings know their copies");
    let counted = run(&with(&arguments, &["--k", "1", "--keep-copies"]));
    assert!(stderr(&counted).contains("they count as neighbours"));

    // Neither do they make pairs, of which d' is: 14 images make 91, of which three copies make 3.
    let pairs = |start: &[&str], more: &[&str]| {
        let output = run(&[start, &["--embeddings", text(&kept)], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let rows: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("p.json")).unwrap()).unwrap();
        rows[0]["genuine_pairs"].as_u64().unwrap() + rows[0]["impostor_pairs"].as_u64().unwrap()
    };
    let result = folder.path().join("p.json");
    let verify = ["verify", "--all-pairs", "--out", text(&result)];
    assert_eq!(pairs(&verify, &[]), 88);
    assert_eq!(pairs(&verify, &["--keep-copies"]), 91);
    for (name, more, count) in [("without", &[][..], 88), ("with", &["--keep-copies"], 91)] {
        let run = folder.path().join(name);
        let recall = ["recall", "--k", "1", "--out", text(&result), "--save-run", text(&run)];
        assert_eq!(pairs(&recall, more), count);
    }
}

#[test]
fn embeddings_that_are_all_the_same_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, labels) = (folder.path().join("same.f32"), folder.path().join("labels.txt"));
    put(&kept, [0.1_f32, 0.7, -0.3].repeat(9).iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    put(&labels, "a\na\na\nb\nb\nb\nc\nc\nc\n");
    let out = folder.path().join("o.json");
    for start in [&["recall", "--k", "1"][..], &["recall", "--k", "1", "--metric", "l2"], &["verify", "--all-pairs"]] {
        let files = ["--embeddings", text(&kept), "--dim", "3", "--labels", text(&labels), "--out", text(&out)];
        let output = run(&[start, &files].concat());
        let written = std::fs::read_to_string(&out).unwrap();
        let said = "all 9 embeddings are equal";
        assert!(stderr(&output).contains(said) && written.contains(said), "{start:?}: {}", stderr(&output));
        assert!(!written.contains("\"d_prime\":") || written.contains("\"d_prime\":null"), "{written}");
    }
}

#[test]
fn usual_ks_beyond_the_gallery_are_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(&folder.path().join("data"), 2, 2);
    let (_keep, mut arguments) = images();
    arguments[4] = text(&folder.path().join("data")).to_owned();
    let output = run(&with(&arguments, &[]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("Recall@4, @8 left out: each query has only 3 other images"));
}

/// FAISS computes in float32: beyond its squares it crashes, or does not come to an end.
#[test]
fn numbers_that_faiss_cannot_square_are_refused_and_flat_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, labels) = (folder.path().join("e.npy"), folder.path().join("l.txt"));
    let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
    let matrix =
        ndarray::Array2::from_shape_fn((320, 8), |(r, c)| 1e19 * (noise(r / 4 * 8 + c + 1) + 0.1 * noise(r * 8 + c)));
    ndarray_npy::write_npy(&rows, &matrix).unwrap();
    put(&labels, (0..320).map(|row| format!("{}\n", row / 4)).collect::<String>());
    let with = |more: &[&'static str]| {
        [&["recall", "--embeddings", text(&rows), "--labels", text(&labels), "--k", "1"], more].concat()
    };
    let says = ["numbers up to", "of which float32 has no squares", "divide them"];
    fails(1, &with(&["--metric", "l2", "--index", "IVF4,Flat"]), &says);
    fails(1, &with(&["--metric", "ip", "--index", "PQ2x4"]), &says);
    fails(1, &with(&["--metric", "l2", "--storage", "pq2"]), &says);
    assert!(run(&with(&["--metric", "l2"])).status.success());
    assert!(run(&with(&["--index", "IVF4,Flat"])).status.success(), "cosines are of rows of length one");
}

#[test]
fn flags_of_corruptions_are_none_of_kept_embeddings() {
    for flag in [["--severities", "1"], ["--corruption-seed", "3"]] {
        let words = [&["recall", "--embeddings", "e.npy", "--labels", "l.txt"], &flag[..]].concat();
        fails(2, &words, &[flag[0], "--embeddings"]);
    }
}
