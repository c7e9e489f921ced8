//! Runs that go on, or are started from, where something was changed since: refused, or said and recorded.

use std::path::{Path, PathBuf};

use crate::tools::{Place, fails, fixtures, hues, run, succeeds, text};

const USUAL: [&str; 4] = ["--batch", "12", "--steps", "2"];

/// Runs the program, which must succeed and say each of these on standard error.
fn says(arguments: &[&str], words: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    words.iter().for_each(|words| assert!(error.contains(words), "{arguments:?}: wanted '{words}' in: {error}"));
    error
}

fn copy_of(folder: &Path, to: &str) -> PathBuf {
    let to = folder.with_file_name(to);
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

fn replace(file: &Path, old: &str, new: &str) {
    let before = std::fs::read_to_string(file).unwrap();
    assert!(before.contains(old), "{before}");
    std::fs::write(file, before.replace(old, new)).unwrap();
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_goes_on_only_with_what_it_was_validated_on() {
    let place = Place::new();
    let (data, other) = (place.folder.path().join("hues"), place.folder.path().join("other"));
    hues(&data, 6);
    hues(&other, 3);
    let more = [&USUAL[..], &["--validation", text(&other), "--allow-overlap"]].concat();
    succeeds(&place.arguments(text(&data), &more));
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains("validation_sha256 = "));
    let resume = ["train", "--resume", text(&place.out)];
    succeeds(&resume);
    let refused = || fails(1, &resume, &["other", "is not the validation set that the run was begun with: SHA-256"]);
    let (one, two) = (other.join("class00/0.png"), other.join("class01/0.png"));
    let bytes = std::fs::read(&one).unwrap();
    // Another image, one under another class, one less, a class less.
    std::fs::copy(&two, &one).unwrap();
    refused();
    std::fs::write(&one, &bytes).unwrap();
    let moved = other.join("class01/00.png");
    std::fs::rename(&one, &moved).unwrap();
    refused();
    std::fs::remove_file(&moved).unwrap();
    refused();
    std::fs::remove_dir_all(other.join("class00")).unwrap();
    refused();
    std::fs::create_dir(other.join("class00")).unwrap();
    hues(&other, 3);
    succeeds(&resume);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn the_best_embedder_is_the_one_that_was_kept() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 12);
    // A learning rate that ruins the backbone, so that the best is of an early step.
    let more = ["--classes", "1-6", "--validation-classes", "7-12", "--batch", "12", "--steps", "12", "--lr", "1"];
    succeeds(&place.arguments(text(&data), &[&more[..], &["--validate-every", "2", "--keep", "best"]].concat()));
    let resume = ["train", "--resume", text(&place.out)];
    succeeds(&resume);
    let embedder = place.file("embedder.onnx");
    let bytes = std::fs::read(&embedder).unwrap();
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for changed in [
        std::fs::read(fixtures().join("embedder.onnx")).unwrap(),
        bytes[..bytes.len() / 2].to_vec(),
        flipped,
        Vec::new(),
    ] {
        std::fs::write(&embedder, changed).unwrap();
        fails(
            1,
            &resume,
            &["embedder.onnx", "is not the embedder of step", "which validated best", "it was changed since"],
        );
    }
    std::fs::remove_file(&embedder).unwrap();
    fails(1, &resume, &["embedder.onnx", "cannot read"]);
    std::fs::write(&embedder, bytes).unwrap();
    succeeds(&resume);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_checkpoint_of_another_run_is_refused_though_the_settings_are_the_same() {
    let place = Place::new();
    let at = |name: &str| place.folder.path().join(name);
    for name in ["hues", "other", "apart", "apart2"] {
        hues(&at(name), 6);
    }
    std::fs::copy(at("other/class00/0.png"), at("other/class01/1.png")).unwrap();
    std::fs::copy(at("apart2/class00/0.png"), at("apart2/class01/1.png")).unwrap();
    let model = at("model.onnx");
    let mut bytes = std::fs::read(&place.model).unwrap();
    let last = bytes.windows(4).rposition(|four| four.iter().all(|byte| *byte != 0)).unwrap();
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    std::fs::copy(place.model.with_extension("toml"), model.with_extension("toml")).unwrap();
    let train = |name: &str, model: &Path, data: &str, validation: &str| {
        let (out, data, validation) = (at(name), at(data), at(validation));
        let [model, out_, data, validation] = [model, &out, &data, &validation].map(text);
        let flags = ["train", "--model", model, "--data", data, "--out", out_, "--validation", validation];
        succeeds(&[&flags[..], &USUAL, &["--allow-overlap", "--threads", "2"]].concat());
        out
    };
    let own = train("own", &place.model, "hues", "apart");
    let others = [
        ("data_sha256", train("a", &place.model, "other", "apart")),
        ("model_sha256", train("b", &model, "hues", "apart")),
        ("validation_sha256", train("c", &place.model, "hues", "apart2")),
    ];
    for (name, other) in others {
        let mixed = copy_of(&own, "mixed");
        std::fs::copy(other.join("checkpoint.safetensors"), mixed.join("checkpoint.safetensors")).unwrap();
        let said = format!("is not of the run of the run.toml beside it: {name}");
        fails(1, &["train", "--resume", text(&mixed)], &["checkpoint.safetensors", &said]);
    }
    succeeds(&["train", "--resume", text(&copy_of(&own, "mixed"))]);
}

#[cfg(unix)]
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn two_processes_do_not_train_in_one_folder() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 4);
    succeeds(&place.arguments(text(&data), &USUAL));
    let folder = std::fs::File::open(&place.out).unwrap();
    folder.lock().unwrap();
    let before = std::fs::read(place.file("metrics.csv")).unwrap();
    fails(2, &["train", "--resume", text(&place.out)], &["another process is training there"]);
    assert_eq!(std::fs::read(place.file("metrics.csv")).unwrap(), before);
    drop(folder);
    succeeds(&["train", "--resume", text(&place.out)]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn rows_that_a_table_lacks_and_what_may_differ_are_said_and_recorded() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 8);
    let more =
        ["--classes", "1-4", "--validation-classes", "5-8", "--batch", "8", "--steps", "4", "--validate-every", "2"];
    succeeds(&place.arguments(text(&data), &more));
    let whole = std::fs::read_to_string(place.file("validation.csv")).unwrap();
    let rows: Vec<&str> = whole.lines().collect();
    assert_eq!(rows.len(), 4, "{whole}");
    let lacks = |left: Option<String>, missing: usize| {
        let copy = copy_of(&place.out, "copy");
        let table = copy.join("validation.csv");
        match left {
            Some(left) => std::fs::write(&table, left).unwrap(),
            None => std::fs::remove_file(&table).unwrap(),
        }
        let output = run(&["train", "--resume", text(&copy)]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let wanted = format!("validation.csv lacks {missing} of the 3 validations before the checkpoint");
        assert!(output.status.success() && error.contains(&wanted), "{error}");
        let recorded = std::fs::read_to_string(copy.join("run.toml")).unwrap();
        assert!(recorded.contains(&wanted), "{recorded}");
        // What was measured before the run is in the row of step 0 alone.
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let figures = printed.lines().skip_while(|line| !line.contains("recall@1 before")).nth(2).unwrap().to_owned();
        assert!(figures.trim_start_matches('|').trim_start().starts_with('-'), "{printed}");
    };
    lacks(None, 3);
    lacks(Some(format!("{}\n", rows[0])), 3);
    lacks(Some([rows[0], rows[2], rows[3], ""].join("\n")), 1);

    let copy = copy_of(&place.out, "copy");
    let manifest = copy.join("run.toml");
    replace(&manifest, "threads = 2", "threads = 1");
    replace(&manifest, "program = \"pdloss ", "program = \"pdloss 0.");
    let begun = ["threads was 2, now 1", "the run was begun with pdloss 0."];
    says(&["train", "--resume", text(&copy)], &begun);
    let recorded = std::fs::read_to_string(&manifest).unwrap();
    assert!(begun.iter().all(|said| recorded.contains(said)), "{recorded}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_a_run_is_started_from_is_whole_and_compared_with_it() {
    let first = Place::new();
    let data = first.folder.path().join("hues");
    hues(&data, 6);
    succeeds(&first.arguments(text(&data), &USUAL));
    let from = |model: &Path, name: &str, more: &[&str]| -> Vec<String> {
        let out = first.folder.path().join(name);
        let flags = ["train", "--model", text(model), "--data", text(&data), "--out", text(&out), "--threads", "2"];
        let flags = [&flags[..], &USUAL, &["--init-from", text(&first.out)], more].concat();
        flags.into_iter().map(str::to_owned).collect()
    };
    let words = |flags: &[String]| -> Vec<&'static str> {
        flags.iter().map(|flag| &*Box::leak(flag.clone().into_boxed_str())).collect()
    };
    let quiet = says(&words(&from(&first.model, "a", &[])), &["starts from"]);
    assert!(!quiet.contains("its model was another") && !quiet.contains("made ready otherwise"), "{quiet}");
    let otherwise = ["its images were made ready otherwise", "mean was [0.5], now [0.25]"];
    says(&words(&from(&first.model, "b", &["--mean", "0.25"])), &otherwise);
    let recorded = std::fs::read_to_string(first.folder.path().join("b/run.toml")).unwrap();
    assert!(recorded.contains(otherwise[0]), "{recorded}");
    let embedder = first.file("embedder.onnx");
    says(&words(&from(&embedder, "c", &[])), &["its model was another (SHA-256", "by their names and shapes alone"]);
    let lamb = ["--init", "optimizer", "--optimizer", "lamb"];
    fails(2, &words(&from(&first.model, "d", &lamb)), &["was trained by adamw", "wanted --optimizer adamw"]);

    let checkpoint = first.file("checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    for at in [whole.len() - 1, whole.len() - 100, whole.len() - 2000] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&checkpoint, changed).unwrap();
        for parts in ["embedder", "proxies", "embedder,proxies,optimizer"] {
            let flags = from(&first.model, "e", &["--init", parts]);
            fails(1, &words(&flags), &["checkpoint.safetensors", "was changed after it was written"]);
        }
    }
    assert!(!first.folder.path().join("e").exists());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn groups_that_change_nothing_are_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let refused = |groups: &[&str], says: &[&str]| {
        fails(1, &place.arguments(text(&data), &[&USUAL[..], groups].concat()), says);
        assert!(!place.out.exists());
    };
    let shadowed = ["the groups before it have all of its weights"];
    refused(&["--group", "*", "lr=0.5", "--group", "conv.*", "lr=0.1"], &shadowed);
    refused(&["--group", "conv.*", "lr=0.5", "--group", "conv.*", "lr=0.1"], &shadowed);
    refused(
        &["--group", "*.weight", "lr=0.5", "--group", "*.bias", "lr=2", "--group", "linear.*", "lr=0.1"],
        &shadowed,
    );
    let idle = ["weight decay 0.1 changes nothing", "--decay-all"];
    refused(&["--group", "*.bias", "decay=0.1"], &idle);
    refused(&["--group", "norm.*", "lr=2", "decay=0.1"], &idle);
    refused(&["--group", "pdloss.proxies", "decay=0.1"], &idle);
    let fine = ["--group", "*.bias", "lr=2", "decay=0.1", "--decay-all", "--group", "*", "decay=0.2"];
    succeeds(&place.arguments(text(&data), &[&USUAL[..], &fine].concat()));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_list_and_its_label_are_recorded_and_another_order_of_lines_is_said() {
    let place = Place::new();
    let (data, list) = (place.folder.path().join("hues"), place.folder.path().join("hues/list.csv"));
    hues(&data, 4);
    let lines: Vec<String> =
        (0..32).map(|n| format!("class{:02}/{}.png,{},hue {}\n", n / 8, n % 8, n % 2, n / 8)).collect();
    let put = |lines: &[String]| std::fs::write(&list, format!("path,odd,label\n{}", lines.concat())).unwrap();
    put(&lines);
    let other = data.join("other.csv");
    std::fs::write(&other, format!("path,species\n{}", lines.concat().replace(",0,", ",").replace(",1,", ",")))
        .unwrap();
    let more = [&USUAL[..], &["--validation", text(&other), "--allow-overlap"]].concat();
    let arguments = place.arguments(text(&list), &more);
    let said = says(&arguments, &["trains on 32 images of 4 classes", ", label 'label'", ", label 'species'"]);
    assert!(said.contains(&format!("by the list {}", list.display())), "{said}");
    let table: toml::Table = std::fs::read_to_string(place.file("run.toml")).unwrap().parse().unwrap();
    let word = |name: &str| table["made_with"][name].as_str().unwrap().to_owned();
    assert_eq!(
        (word("list"), word("label"), word("validation_label")),
        (text(&list).into(), "label".into(), "species".into())
    );
    succeeds(&["train", "--resume", text(&place.out)]);
    put(&lines.iter().rev().cloned().collect::<Vec<_>>());
    fails(1, &["train", "--resume", text(&place.out)], &["list.csv", "in another order", "put the lines back"]);
}
