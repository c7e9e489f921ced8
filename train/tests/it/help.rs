//! The examples of every command's help, as a person copies them: they fit a terminal, they are understood, and they run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use pdloss::graph::build::{Dim, Element, declare};
use pdloss::graph::file;

use crate::tools::{Place, fixtures, hues, succeeds};

const COMMANDS: [&str; 9] =
    ["train", "export", "recall", "verify", "scores", "inspect", "report", "compare", "tabulate"];

/// The examples of a help; one that goes on over lines is one.
fn examples(command: &str, help: &str) -> Vec<String> {
    let help = succeeds(&[command, help]);
    let (_, rest) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{help}"));
    let (block, _) = rest.split_once("\n\n").unwrap_or_else(|| panic!("{help}"));
    for line in block.lines() {
        // In the program that only measures, its name is five letters longer.
        let room = if ["train", "export"].contains(&command) || !line.contains("pdloss ") { 80 } else { 75 };
        assert!(line.starts_with("  ") && line.len() <= room, "{line}");
    }
    let joined = block.replace(" \\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// An example in a folder, by a shell, with more words behind it.
fn run(folder: &Path, example: &str, more: &str) -> Output {
    let command = example.strip_prefix("pdloss").unwrap_or_else(|| panic!("{example}"));
    let words = format!("{}{command}{more}", env!("CARGO_BIN_EXE_pdloss"));
    std::process::Command::new("sh").args(["-c", &words]).current_dir(folder).output().unwrap()
}

fn runs(folder: &Path, example: &str, more: &str) {
    let output = run(folder, example, more);
    assert!(output.status.success(), "{example}{more}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn examples_fit_a_terminal_and_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let short = examples(command, "--help");
        assert_eq!(short, examples(command, "--help-all"), "{command}");
        for example in short {
            runs(folder.path(), &example, " --print-config");
        }
    }
    let output = run(folder.path(), "pdloss recall --model m.onnx --data d --kk 3", " --print-config");
    assert_eq!(output.status.code(), Some(2), "what is not understood is seen");
}

/// Rows of 256 numbers as `NAME.npy`, and their labels beside them.
fn embeddings(folder: &Path, name: &str) {
    let (rows, dim) = (400_usize, 256_usize);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}\n");
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    let mut labels = "name,label\n".to_owned();
    for row in 0..rows {
        let numbers =
            (0..dim).map(|at| ((row % 20 * 131 + at * 71) as f32).sin() + ((row * 37 + at * 17) as f32).cos());
        bytes.extend(numbers.flat_map(f32::to_le_bytes));
        writeln!(labels, "image{row},{}", row % 20).unwrap();
    }
    std::fs::write(folder.join(name).with_extension("npy"), bytes).unwrap();
    std::fs::write(folder.join(name).with_extension("csv"), labels).unwrap();
}

/// IJB-C's files over the rows of `faces`: four templates of each class.
fn templates(folder: &Path) {
    let put = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let template = |class: usize, number: usize| 10 * class + number;
    let line = |row: usize| format!("image{row} {} {}\n", template(row % 20, row / 20 % 4), row / 80);
    put("ijbc_face_tid_mid.txt", (0..400).map(line).collect());
    let pair =
        |at: usize| format!("{} {} {}\n", template(at % 20, 0), template(at / 20, 1), u8::from(at % 20 == at / 20));
    put("ijbc_template_pair_label.txt", (0..400).map(pair).collect());
    let lists = [("gallery_G1", 0..10, 0), ("gallery_G2", 10..20, 0), ("probe_mixed", 0..20, 1)];
    for (name, classes, number) in lists {
        let lines: String = classes.map(|class| format!("{},{class}\n", template(class, number))).collect();
        put(&format!("ijbc_1N_{name}.csv"), format!("TEMPLATE_ID,SUBJECT_ID\n{lines}"));
    }
}

/// Four photos as Revisited Oxford: two of one class search two others, in a pickle of protocol 2.
fn ground_truth(folder: &Path) {
    std::fs::create_dir_all(folder.join("roxford5k/jpg")).unwrap();
    for image in 0..5 {
        let photo = folder.join(format!("photos/class0{}/{image}.png", image % 2));
        std::fs::copy(photo, folder.join(format!("roxford5k/jpg/place_{image}.jpg"))).unwrap();
    }
    let text = |word: &str| [b"X", &u32::try_from(word.len()).unwrap().to_le_bytes()[..], word.as_bytes()].concat();
    let number = |n: u8| vec![b'K', n];
    let list = |items: &[Vec<u8>]| [b"](", &items.concat()[..], b"e"].concat();
    let table = |entries: &[(&str, Vec<u8>)]| {
        let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
        [b"}(", &entries[..], b"u"].concat()
    };
    let part = list(&[0, 0, 8, 8].map(number));
    let judged = [("bbx", part), ("easy", list(&[number(1)])), ("hard", list(&[number(3)])), ("junk", list(&[]))];
    let names = |of: &[usize]| list(&of.iter().map(|at| text(&format!("place_{at}"))).collect::<Vec<_>>());
    let all = [("imlist", names(&[1, 2, 3, 4])), ("qimlist", names(&[0])), ("gnd", list(&[table(&judged)]))];
    std::fs::write(folder.join("gnd_roxford5k.pkl"), [b"\x80\x02", &table(&all)[..], b"."].concat()).unwrap();
}

/// What the examples name: backbones, models for images of any size, pictures, lists and scores.
fn stage(place: &Place) {
    let folder = place.folder.path();
    let mut model = file::read(&place.model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let rename = |name: &mut String| {
        let names = [("conv.weight", "layer1.weight"), ("linear.weight", "layer4.weight"), ("flat", "/pool/out")];
        if let Some((_, new)) = names.iter().find(|(old, _)| old == name) {
            (*new).clone_into(name);
        }
    };
    graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)).for_each(rename);
    graph.initializer.iter_mut().filter_map(|tensor| tensor.name.as_mut()).for_each(rename);
    let of_training = model.clone();
    let size = |name: &str| Dim::Named(name.to_owned());
    let image = declare("image", Element::F32, &[size("batch"), Dim::Known(3), size("height"), size("width")]);
    model.graph.as_mut().unwrap().input = vec![image];
    for name in ["backbone", "resnet50", "embedder", "model", "face"] {
        let path = folder.join(name).with_extension("onnx");
        let is_trained = ["backbone", "resnet50"].contains(&name);
        file::write(if is_trained { &of_training } else { &model }, &path).unwrap();
        std::fs::write(path.with_extension("toml"), "resize = \"exact:16x16\"\n").unwrap();
    }
    // Layers that have the names of a transformer's.
    let mut blocks = file::read(&folder.join("backbone.onnx")).unwrap();
    let graph = blocks.graph.as_mut().unwrap();
    let number = |name: &mut String| *name = name.replace("layer", "blocks.");
    graph.node.iter_mut().flat_map(|node| &mut node.input).for_each(number);
    graph.initializer.iter_mut().filter_map(|tensor| tensor.name.as_mut()).for_each(number);
    file::write(&blocks, &folder.join("vit.onnx")).unwrap();
    std::fs::write(folder.join("vit.toml"), "resize = \"exact:16x16\"\n").unwrap();
    std::os::unix::fs::symlink(fixtures().join("shapes").canonicalize().unwrap(), folder.join("CUB_200_2011")).unwrap();
    let photos = folder.join("photos");
    hues(&photos, 100);
    std::fs::copy(photos.join("class00/0.png"), folder.join("photo.jpg")).unwrap();
    let line = |class: u32, image: u32| format!("photos/class{class:02}/{image}.png,{},{class}\n", class / 2);
    let list: String = (0..160).map(|at| line(at / 8, at % 8)).collect();
    std::fs::write(folder.join("test.txt"), list).unwrap();
    let (mut genuine, mut impostor) = (String::new(), String::new());
    for name in ["Ann", "Bob", "Cat", "Dan"] {
        std::fs::create_dir_all(folder.join("lfw").join(name)).unwrap();
        for image in 1..=3_u32 {
            let photo = photos.join(format!("class0{}/{image}.png", name.len() + usize::from(name.as_bytes()[0]) % 5));
            std::fs::copy(photo, folder.join(format!("lfw/{name}/{name}_000{image}.jpg"))).unwrap();
        }
        writeln!(genuine, "{name}\t1\t2").unwrap();
        writeln!(impostor, "{name}\t1\t{}\t2", if name == "Ann" { "Bob" } else { "Ann" }).unwrap();
    }
    std::fs::write(folder.join("pairs.txt"), format!("2\t4\n{genuine}{impostor}{genuine}{impostor}")).unwrap();
    for name in ["pairsDevTest.txt", "pairsDevTrain.txt"] {
        std::fs::write(folder.join(name), format!("4\n{genuine}{impostor}")).unwrap();
    }
    for (name, from) in [("genuine", 60), ("impostor", 20), ("g", 60), ("i", 20), ("dg", 70), ("di", 20)] {
        let scores: String = (0..40).map(|at| format!("0.{}\n", from + at % 30)).collect();
        std::fs::write(folder.join(format!("{name}.txt")), scores).unwrap();
    }
    for (name, from) in [("same", 1), ("different", 5)] {
        let distances: String = (0..40).map(|at| format!("{at},0.{}\n", from + at % 4)).collect();
        std::fs::write(folder.join(format!("{name}.csv")), format!("pair,distance\n{distances}")).unwrap();
    }
    ["sop", "cub", "faces", "huge"].iter().for_each(|name| embeddings(folder, name));
    templates(folder);
    ground_truth(folder);
    std::fs::create_dir(folder.join("results")).unwrap();
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn examples_run() {
    /// Archives of data sets, which other tests make.
    const NOT_HERE: [&str; 3] = ["sop.zip", "cplfw.zip", "lfw.bin"];
    let place = Place::new();
    let folder = place.folder.path();
    stage(&place);
    let first = &examples("train", "--help")[0];
    runs(folder, first, " --batch 20 --steps 2");
    for (name, model) in [("a", "backbone"), ("b", "embedder")] {
        let kept = format!(" --save-run runs/{name} --out results/{name}.json");
        runs(folder, &format!("pdloss recall --model {model}.onnx --data CUB_200_2011"), &kept);
    }
    // One of them with more than half of the queries right.
    runs(folder, "pdloss recall --embeddings cub.npy", " --save-run runs/kept");
    let mut count = 0;
    for example in COMMANDS.iter().flat_map(|command| examples(command, "--help")) {
        // Half a minute of steps, which a smaller net makes in `options`.
        if NOT_HERE.iter().any(|name| example.contains(name)) || example.contains("--find-lr") {
            continue;
        }
        // There may be no GPU here.
        let example = example.replace(" --device cuda", "");
        // The whole way of training but its length; the run is there already.
        let is_long = example.starts_with("pdloss train") && !example.contains("--resume");
        let example = if is_long {
            example
                .replace("--out run", "--out other")
                .replace("--batch 512", "--batch 64")
                .replace("--unfreeze-at 500", "--unfreeze-at 20")
                .replace("--memory-start 1000", "--memory-start 20")
        } else {
            example
        };
        let more = if is_long && !example.contains("--dry-run") { " --dry-run" } else { "" };
        runs(folder, &example, more);
        count += 1;
    }
    assert!(count > 25, "{count}");
    for written in
        ["report.html", "table.md", "table.tex", "difference.md", "pictures/roc.svg", "loss.onnx", "step.onnx"]
    {
        assert!(folder.join(written).exists(), "{written}");
    }
}
