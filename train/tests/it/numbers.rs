//! Every flag of every command that takes a number, with numbers that are none of its own: refused by the flag's name with what is
//! wanted, or taken.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::{Arg, Command, Subcommand};

use crate::tools::{Place, fixtures, hues, run, text};

/// What is tried: nothing, less, what is no number, and more than anybody has.
const VALUES: [&str; 5] = ["0", "-1", "nan", "1e12", "1000000000000"];

/// Flags that mean something beside others alone.
const BESIDE: &[(&str, &[&str])] = &[
    ("adam-eps", &["--optimizer", "adamw"]),
    ("alpha", &["--loss", "proxy-anchor"]),
    ("base", &["--loss", "multi-similarity"]),
    ("beta", &["--loss", "multi-similarity"]),
    ("bins", &["--loss", "histogram"]),
    ("centers", &["--loss", "soft-triple"]),
    ("corruption-seed", &["--corruptions", "jpeg"]),
    ("cost-false-match", &["--all-figures"]),
    ("cost-miss", &["--all-figures"]),
    ("curriculum-rate", &["--loss", "curricularface"]),
    ("decay", &["--schedule", "step"]),
    ("decay-at", &["--schedule", "step"]),
    ("eps", &["--floor-mode", "clamp"]),
    ("first-rate", &["--schedule", "one-cycle"]),
    ("gamma", &["--loss", "soft-triple"]),
    ("hard-every", &["--sampler", "hard-classes", "--per-class", "6"]),
    ("hard-share", &["--sampler", "hard-classes", "--per-class", "6"]),
    ("logit-scale", &["--loss", "arcface"]),
    ("loss-scale", &["--precision", "f16"]),
    ("loss-scale-steps", &["--precision", "f16"]),
    ("margin", &["--loss", "cosface"]),
    ("memory-bank", &["--loss", "contrastive"]),
    ("memory-start", &["--loss", "contrastive", "--memory-bank", "12"]),
    ("mining", &["--loss", "multi-similarity"]),
    ("momentum", &["--optimizer", "sgd"]),
    ("patience", &["--validation-split", "all", "--allow-overlap"]),
    ("peak-at", &["--schedule", "one-cycle"]),
    ("penalty", &["--loss", "soft-triple"]),
    ("priors", &["--all-figures"]),
    ("confidence", &["--bootstrap", "100"]),
    ("seed", &["--bootstrap", "100"]),
    ("severities", &["--corruptions", "jpeg"]),
    ("temperature", &["--loss", "softmax"]),
    ("unfreeze-at", &["--freeze", "conv.*"]),
    ("validate-every", &["--validation-split", "all", "--allow-overlap"]),
    ("validation-classes", &["--allow-overlap"]),
    ("weight-power", &["--sampler", "weighted"]),
];

fn program() -> Command {
    let program = pdloss_train::Command::augment_subcommands(Command::new("pdloss"));
    pdloss_eval::commands::Command::augment_subcommands(program)
}

/// Whether a flag takes numbers, or what is written with numbers.
fn takes_numbers(arg: &Arg) -> bool {
    let is = |kind: TypeId| arg.get_value_parser().type_id() == kind;
    let is_text = is(TypeId::of::<String>()) || is(TypeId::of::<PathBuf>()) || is(TypeId::of::<bool>());
    arg.get_long().is_some() && arg.get_action().takes_values() && !is_text && arg.get_possible_values().is_empty()
}

/// A call of each command that runs to its end, of several where a flag is for one kind of input alone.
fn calls(place: &Place, data: &Path) -> Vec<Vec<String>> {
    let at = |name: &str| place.folder.path().join(name).display().to_string();
    let model = fixtures().join("models/rank_4.onnx").display().to_string();
    let (data, backbone) = (data.display().to_string(), place.model.display().to_string());
    let image = ["--runtime", "tract", "--crop", "8"];
    let kept: Vec<f32> = (0..96_u16).map(|n| f32::from(n * 7 % 11) + 1.0).collect();
    std::fs::write(at("kept.f32"), kept.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    std::fs::write(at("labels.txt"), "a\nb\nc\nd\ne\nf\n".repeat(4)).unwrap();
    std::fs::write(
        at("groups.csv"),
        (0..24)
            .map(|n| format!("class{:02}/{}.png,{}\n", n / 8, n % 8, n % 2))
            .fold("path,kind\n".to_owned(), |all, line| all + &line),
    )
    .unwrap();
    std::fs::write(at("genuine.txt"), "0.9\n0.8\n0.7\n0.3\n").unwrap();
    std::fs::write(at("impostor.txt"), "0.1\n0.4\n0.35\n0.2\n").unwrap();
    let (kept, labels) = (at("kept.f32"), at("labels.txt"));
    let (run_a, result, groups) = (at("a"), at("a.json"), at("groups.csv"));
    let recall = ["recall", "--model", &model, "--data", &data];
    let done = run(&[&recall[..], &image, &["--k", "1", "--save-run", &run_a, "--out", &result]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let of_embeddings = ["--embeddings", &kept, "--labels", &labels, "--dim", "4"];
    vec![
        words(&[
            "train",
            "--model",
            &backbone,
            "--data",
            &data,
            "--out",
            text(&place.out),
            "--batch",
            "12",
            "--steps",
            "2",
            "--threads",
            "1",
            "--dry-run",
        ]),
        words(&["export", &backbone, &at("out.onnx"), "--train", "--as", "inline", "--classes", "3"]),
        words(&["export", &backbone, &at("out.onnx"), "--as", "op", "--classes", "3"]),
        words(&[&recall[..], &image].concat()),
        words(&[&["recall"], &of_embeddings[..]].concat()),
        words(&[&["recall", "--k", "1"], &of_embeddings[..], &["--bootstrap", "100"]].concat()),
        words(
            &[
                &[
                    "verify",
                    "--model",
                    &model,
                    "--data",
                    &data,
                    "--all-pairs",
                    "--groups",
                    &groups,
                    "--group-by",
                    "kind",
                ],
                &image[..],
                &["--bootstrap", "100"],
            ]
            .concat(),
        ),
        words(&[&["verify", "--all-pairs"], &of_embeddings[..]].concat()),
        words(&["scores", "--genuine", &at("genuine.txt"), "--impostor", &at("impostor.txt")]),
        words(&["compare", &run_a, &run_a, "--draws", "100"]),
        words(&["tabulate", &result]),
        words(&["inspect", "--model", &model, "--suggest", "--data", &data]),
    ]
}

/// A call as a flag stands in it: without a value that it has of it, and with what it wants beside it; `None` where it cannot be in it.
fn beside(command: &Command, call: &[String], arg: &Arg) -> Option<Vec<String>> {
    let name = arg.get_long()?;
    let has = |words: &[String], flag: &str| words.iter().any(|word| word == flag);
    let takes = |flag: &str| command.get_arguments().any(|arg| arg.get_long() == Some(&flag[2..]));
    let rivals = command.get_arg_conflicts_with(arg);
    let is_rival = |word: &String| rivals.iter().any(|rival| rival.get_long() == word.strip_prefix("--"));
    let more = BESIDE.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, more)| *more);
    let more: Vec<&[&str]> = more.chunks(2).filter(|pair| takes(pair[0]) && !has(call, pair[0])).collect();
    let is_of_images = more.iter().any(|pair| pair[0] == "--corruptions") && has(call, "--embeddings");
    let is_of_groups = name == "group-fmr" && !has(call, "--groups");
    // Without a training step there are no flags of other losses, and none of the optimiser.
    let is_of_loss = has(call, "--as") && !has(call, "--train") && !["classes", "dim", "seed", "floor"].contains(&name);
    if is_of_images || is_of_groups || is_of_loss || call.iter().any(is_rival) {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    let mut given = call.iter();
    while let Some(word) = given.next() {
        if word[..] == format!("--{name}") || (name == "epochs" && word == "--steps") {
            given.next();
        } else {
            words.push(word.clone());
        }
    }
    words.extend(more.concat().iter().map(|&word| word.to_owned()));
    Some(words)
}

/// Whether an error is about a flag, or about a step of preprocessing that files and flags alike call so.
fn names(said: &str, flag: &str) -> bool {
    let error = said.split("\n\nUsage:").next().unwrap_or_default();
    let error = error.find("error: ").map_or("", |at| &error[at..]);
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    error.match_indices(flag).any(|(at, _)| ends(&error[at + flag.len()..]))
        || error.contains(&format!("error: preprocessing: {} ", &flag[2..]))
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn numbers_that_a_flag_does_not_take_are_refused_by_its_name() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 3);
    let program = program();
    let mut tried: Vec<(Vec<String>, String, &str)> = Vec::new();
    for call in calls(&place, &data) {
        let command = program.find_subcommand(&call[0]).unwrap();
        for arg in command.get_arguments().filter(|arg| takes_numbers(arg)) {
            let flag = format!("--{}", arg.get_long().unwrap());
            if let Some(words) = beside(command, &call, arg) {
                tried.extend(VALUES.map(|value| (words.clone(), flag.clone(), value)));
            }
        }
    }
    let wrong = Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((words, flag, value)) = tried.get(at) else { return };
                    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
                    arguments.extend([flag.as_str(), value]);
                    let output = run(&arguments);
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    let is_refused = matches!(output.status.code(), Some(1 | 2)) && !said.contains("panicked");
                    let is_good = output.status.success() || (is_refused && names(&said, flag));
                    if !is_good {
                        let said: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
                        wrong.lock().unwrap().push(format!("{} {flag} {value}: {said:?}", words[0]));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(tried.len() > 300, "{} were tried", tried.len());
    assert!(wrong.is_empty(), "{}\n{} of {}", wrong.join("\n"), wrong.len(), tried.len());
}
