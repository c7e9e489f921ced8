//! Ways to draw batches: what each does, says and records.

use std::path::Path;

use safetensors::SafeTensors;

use crate::tools::{Place, fails, fixtures, hues, said, succeeds, text};

/// Six hues, of which the first three have two images each.
fn uneven(data: &Path) {
    hues(data, 6);
    for class in 0..3 {
        for number in 2..8 {
            std::fs::remove_file(data.join(format!("class{class:02}/{number}.png"))).unwrap();
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn weighted_batches_are_said_recorded_and_read_back() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    uneven(&data);
    let usual = ["--batch", "10", "--steps", "6", "--sampler", "weighted"];
    let says = [
        "10 images, by weight, with replacement",
        "each with the weight 1 / (images of its class)^1: an image of the smallest class (2) is drawn 4.000 times as often",
    ];
    let dry = said(&place.arguments(text(&data), &[&usual[..], &["--dry-run"]].concat()));
    assert!(says.iter().all(|says| dry.contains(says)) && !place.out.exists(), "{dry}");
    let made = said(&place.arguments(text(&data), &usual));
    assert!(says.iter().all(|says| made.contains(says)), "{made}");
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    for line in ["sampler = \"weighted\"", "weight_power = 1.0", says[1]] {
        assert!(manifest.contains(line), "{manifest}");
    }
    // Another power draws other images; the run's own file the same.
    let bytes = |folder: &Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    assert_eq!(bytes(&again), bytes(&place.out));
    let other = place.folder.path().join("other");
    let config = text(&place.out).to_owned() + "/run.toml";
    succeeds(&["train", "--config", &config, "--weight-power", "0.5", "--out", text(&other)]);
    assert_ne!(bytes(&other), bytes(&place.out));
}

/// A list of six hues, of which each image has the weight that `weight` says.
fn weighed(data: &Path, weight: impl Fn(u32, u32) -> String) {
    hues(data, 6);
    let mut list = "path,label,quality\n".to_owned();
    for (class, number) in (0..6).flat_map(|class| (0..8).map(move |number| (class, number))) {
        list += &format!("class{class:02}/{number}.png,class{class:02},{}\n", weight(class, number));
    }
    std::fs::write(data.join("list.csv"), list).unwrap();
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn batches_by_a_column_of_weights_are_said_recorded_and_read_back() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    weighed(&data, |class, number| if number == 0 { "0".to_owned() } else { format!("{}.5", class + 1) });
    let list = data.join("list.csv");
    let usual = ["--batch", "10", "--steps", "6", "--sampler", "weighted", "--weight-column", "quality"];
    let says = "each with the weight that the list says, from 1.5 to 6.5; 6 images weigh 0 and are never drawn";
    let made = said(&place.arguments(text(&list), &usual));
    assert!(made.contains(says) && !made.contains("nothing is read from column"), "{made}");
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    for line in ["weight_column = \"quality\"", says] {
        assert!(manifest.contains(line), "{manifest}");
    }
    assert!(!manifest.contains("weight_power"), "{manifest}");
    // The column by its number and by the run's own file draws the same images; by the size of classes others.
    let bytes = |folder: &Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    let again = |more: &[&str]| {
        let again = tempfile::tempdir().unwrap();
        let out = again.path().join("run");
        succeeds(&[&["train", "--model", text(&place.model), "--out", text(&out), "--threads", "2"], more].concat());
        bytes(&out)
    };
    let of_list = ["--data", text(&list), "--batch", "10", "--steps", "6", "--sampler", "weighted"];
    assert_eq!(again(&[&of_list[..], &["--weight-column", "3"]].concat()), bytes(&place.out));
    assert_ne!(again(&of_list), bytes(&place.out));
    let whole = text(&place.out).to_owned() + "/run.toml";
    let out = place.folder.path().join("again");
    succeeds(&["train", "--config", &whole, "--out", text(&out)]);
    assert_eq!(bytes(&out), bytes(&place.out));

    let refused = |more: &[&str], code, says: &[&str]| {
        let place = Place::new();
        fails(code, &place.arguments(text(&list), &[&of_list[2..], more].concat()), says);
        assert!(!place.out.exists());
    };
    refused(&["--weight-column", "weight"], 2, &["--weight-column weight", "no such column", "quality", "1 to 3"]);
    refused(&["--weight-column", "path"], 2, &["has the paths there"]);
    refused(&["--weight-column", "label"], 1, &["line 2", "weight 'class00'", "not below 0"]);
    let twice = data.join("twice.csv");
    let whole_list = std::fs::read_to_string(&list).unwrap();
    let again = whole_list.lines().nth(1).unwrap();
    let (row, _) = again.rsplit_once(',').unwrap();
    std::fs::write(&twice, format!("{whole_list}{row},7.25\n")).unwrap();
    let more = [&of_list[2..], &["--weight-column", "quality"]].concat();
    fails(1, &Place::new().arguments(text(&twice), &more), &["class00/0.png has two weights", "(line 2)", "7.25"]);
    refused(&["--weight-column", "quality", "--weight-power", "1"], 2, &["--weight-power", "--weight-column"]);
    let folder = place.folder.path().join("folder");
    let of_folder = [&["--batch", "4", "--sampler", "weighted"][..], &["--weight-column", "quality"]].concat();
    fails(2, &Place { out: folder, ..Place::new() }.arguments(text(&data), &of_folder), &["no columns to choose from"]);

    for (wrong, line) in [("-1", 2), ("NaN", 2), ("inf", 2), ("", 2), ("heavy", 2)] {
        weighed(&data, |class, number| if (class, number) == (0, 0) { wrong.to_owned() } else { "1".to_owned() });
        let says = [format!("line {line}"), format!("weight '{wrong}'")];
        refused(&["--weight-column", "quality"], 1, &[&says[0], &says[1]]);
    }
    // Other weights are other data.
    weighed(&data, |_, _| "1".to_owned());
    fails(1, &["train", "--resume", text(&place.out)], &["is not the data set that the run was begun with"]);
    weighed(&data, |_, _| "0".to_owned());
    refused(&["--weight-column", "quality"], 2, &["the images to train on all weigh 0"]);
    // Classes that no batch has are named; one alone is no training.
    weighed(&data, |class, _| u8::from(class == 1).to_string());
    refused(&["--weight-column", "quality"], 2, &["1 of the 6 classes has images that weigh more than 0"]);
    weighed(&data, |class, _| u8::from(class > 1).to_string());
    let place = Place::new();
    let made = said(&place.arguments(text(&list), &usual));
    let says = "all images of 2 of the 6 classes weigh 0, so that 4 are trained on: not 'class00', 'class01'";
    assert!(made.contains(says), "{made}");
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(says));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn random_batches_of_a_loss_over_pairs_are_passed_over_where_they_have_none() {
    for sampler in ["random", "weighted"] {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 6);
        let more = ["--loss", "contrastive", "--batch", "3", "--steps", "20", "--sampler", sampler];
        let error = said(&place.arguments(text(&data), &more));
        let says = format!("batches of --sampler {sampler} may not have: those without are passed over");
        assert!(error.contains(&says) && !error.contains("--per-class 4 is taken"), "{error}");
        assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(&says));
        let rows = place.table("metrics.csv", &[]);
        let passed = rows[1..].iter().filter(|row| row[2].is_empty()).count();
        assert!((1..20).contains(&passed), "{passed} of 20 without pairs");
    }
}

/// The tensor of a run's checkpoint as rows of numbers.
fn nearest(place: &Place) -> Vec<Vec<i64>> {
    let bytes = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found = file.tensor("pdloss.nearest_classes").unwrap();
    let numbers: Vec<i64> = found.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();
    numbers.chunks(found.shape()[1]).map(<[i64]>::to_vec).collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn hard_classes_are_those_nearest_by_proxies_or_running_means() {
    for (more, source) in [
        (&["--loss", "softmax"][..], "the proxies"),
        (&["--loss", "soft-triple", "--centers", "2"], "the proxies"),
        (&["--loss", "contrastive"], "running means of the classes' embeddings"),
        (&["--loss", "supcon", "--accumulate", "4"], "running means of the classes' embeddings"),
    ] {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 10);
        let usual = ["--batch", "16", "--per-class", "4", "--steps", "11", "--sampler", "hard-classes"];
        let usual = [&usual[..], &["--hard-every", "5"], more].concat();
        let says = [
            "4 of each of 4 classes, 2 of them near to another".to_owned(),
            format!(
                "those nearest to one of the other 2, by the cosines of {source}, which are searched anew every 5 steps"
            ),
        ];
        let dry = said(&place.arguments(text(&data), &[&usual[..], &["--dry-run"]].concat()));
        assert!(says.iter().all(|says| dry.contains(says)) && !place.out.exists(), "{dry}");
        assert!(dry.contains("2 searches for the nearest classes come on top"), "{dry}");
        let made = said(&place.arguments(text(&data), &usual));
        assert!(says.iter().all(|says| made.contains(says)), "{made}");
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        for line in ["sampler = \"hard-classes\"", "hard_share = 0.5", "hard_every = 5", &says[1]] {
            assert!(manifest.contains(line), "{manifest}");
        }
        let nearest = nearest(&place);
        assert!(nearest.len() == 10 && nearest.iter().all(|row| row.len() == 3), "{nearest:?}");
        let known = nearest.iter().filter(|row| row[0] >= 0).count();
        assert!(known >= 8, "{more:?}: {known} of the 10 classes have neighbours after 10 steps of 4");
        for (class, row) in nearest.iter().enumerate() {
            assert!(row.iter().all(|&other| (-1..10).contains(&other) && other != class as i64), "{nearest:?}");
        }
    }
}

/// What is searched for is what stands in the checkpoint: the proxies of the step at which the stretch began.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn nearest_classes_are_those_of_the_proxies_when_the_stretch_began() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let more = ["--batch", "16", "--per-class", "2", "--sampler", "hard-classes", "--hard-every", "4", "--lr", "0.05"];
    let until = |steps: &'static str| {
        let place = Place::new();
        let rest = ["--schedule", "constant", "--steps", steps];
        succeeds(&place.arguments(text(&shapes), &[&more[..], &rest].concat()));
        place
    };
    drop(place);
    let (begins, goes_on) = (until("8"), until("10"));
    let bytes = std::fs::read(begins.file("checkpoint.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let proxies = file.tensor("pdloss.proxies").unwrap();
    let numbers: Vec<f32> = proxies.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let rows: Vec<&[f32]> = numbers.chunks(proxies.shape()[1]).collect();
    let dot =
        |a: usize, b: usize| -> f64 { rows[a].iter().zip(rows[b]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let cosine = |a: usize, b: usize| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    for (class, got) in nearest(&goes_on).iter().enumerate() {
        let mut wanted: Vec<usize> = (0..rows.len()).filter(|&other| other != class).collect();
        wanted.sort_by(|&a, &b| cosine(class, b).total_cmp(&cosine(class, a)).then(a.cmp(&b)));
        let wanted: Vec<i64> = wanted[..got.len()].iter().map(|&other| other as i64).collect();
        assert_eq!(*got, wanted, "class {class}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn samplers_that_cannot_be_are_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let refused = |more: &[&str], says: &[&str]| {
        fails(2, &place.arguments(text(&data), &[&["--batch", "12", "--steps", "2"], more].concat()), says);
        assert!(!place.out.exists());
    };
    refused(&["--sampler", "weighted", "--per-class", "4"], &["--per-class 4", "draws images, not classes"]);
    refused(&["--weight-power", "1"], &["--weight-power: belongs to --sampler weighted, not to the default"]);
    refused(&["--sampler", "balanced", "--hard-share", "0.5"], &["--hard-share: belongs to --sampler hard-classes"]);
    refused(&["--sampler", "hard-classes", "--hard-every", "0"], &["--hard-every 0: wanted at least 1"]);
    refused(&["--sampler", "hard-classes", "--hard-share", "1"], &["--hard-share 1: wanted a number between 0 and 1"]);
    refused(&["--sampler", "hard-classes", "--per-class", "12"], &["is one class; wanted at least 2"]);
    refused(&["--sampler", "harder"], &["hard-classes"]);
    // Nothing of it would ever act: as many steps as there are, or an epoch of four.
    let hard = ["--sampler", "hard-classes", "--per-class", "3"];
    let idle = "the run has 2 steps and would have random classes alone; wanted --hard-every below 2";
    refused(&[&hard[..], &["--hard-every", "2"]].concat(), &["--hard-every 2: ", idle]);
    refused(&hard, &["--sampler hard-classes: nearest classes are searched after an epoch of 4 steps", idle]);
    let taken = said(&place.arguments(text(&data), &["--batch", "12", "--steps", "2", "--sampler", "balanced"]));
    assert!(taken.contains("--per-class 4 is taken: --sampler balanced draws batches of whole classes"), "{taken}");
}
