//! Losses that compare the images of a batch get batches that have pairs, or pass over those that have none.

use crate::tools::{Place, fails, hues, run, text};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn balanced_batches_are_taken_where_the_loss_needs_pairs() {
    for loss in ["d-loss", "multi-similarity"] {
        for (batch, each) in [("12", 4), ("9", 3), ("10", 2)] {
            let place = Place::new();
            let data = place.folder.path().join("hues");
            hues(&data, 6);
            let more = ["--loss", loss, "--batch", batch, "--steps", "3"];
            let output = run(&place.arguments(text(&data), &more));
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && error.contains(&format!("--per-class {each} is taken")), "{error}");
            let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
            assert!(manifest.contains(&format!("per_class = {each}")), "{manifest}");
            assert_eq!(place.column("metrics.csv", "loss").len(), 3);
        }
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 6);
        let refused = |more: &[&str]| {
            let more = [&["--loss", loss, "--steps", "3"], more].concat();
            fails(2, &place.arguments(text(&data), &more), &["--per-class", loss]);
            assert!(!place.out.exists());
        };
        refused(&["--batch", "7"]);
        refused(&["--batch", "6", "--per-class", "1"]);
        refused(&["--batch", "6", "--per-class", "6"]);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_batch_without_pairs_of_a_run_begun_at_random_is_passed_over_and_counted() {
    for loss in ["d-loss", "multi-similarity"] {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 6);
        let more = ["--loss", loss, "--batch", "4", "--per-class", "2", "--steps", "24"];
        assert!(run(&place.arguments(text(&data), &more)).status.success());
        // As version 0.1 began it: random batches, and killed before its first checkpoint.
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        std::fs::write(place.file("run.toml"), manifest.replace("per_class = 2\n", "")).unwrap();
        std::fs::remove_file(place.file("checkpoint.safetensors")).unwrap();
        let output = run(&["train", "--resume", text(&place.out)]);
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{error}");
        assert_eq!(error.matches("it is passed over").count(), 1, "{error}");
        let rows = place.table("metrics.csv", &[]);
        let passed = rows[1..].iter().filter(|row| row[2].is_empty()).count();
        assert!(rows.len() == 25 && (1..24).contains(&passed), "{passed} of {}", rows.len() - 1);
        assert!(said.contains("batches_without_pairs") && said.contains(&passed.to_string()), "{said}");
    }
}

/// An image of each class alone: no batch has a pair, whatever the learning rate.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_whose_batches_are_all_passed_over_says_so() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    for class in std::fs::read_dir(&data).unwrap().flatten() {
        let mut images: Vec<_> = std::fs::read_dir(class.path()).unwrap().flatten().map(|image| image.path()).collect();
        images.sort();
        images[1..].iter().for_each(|image| std::fs::remove_file(image).unwrap());
    }
    let more = ["--loss", "supcon", "--sampler", "random", "--batch", "3", "--steps", "4"];
    let says = ["step 4: every batch was passed over, as none has two images of one class", "--per-class"];
    fails(1, &place.arguments(text(&data), &more), &says);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn every_loss_of_pairs_takes_balanced_batches_and_says_so() {
    for (loss, each) in [
        ("circle", 4),
        ("triplet", 4),
        ("contrastive", 4),
        ("supcon", 4),
        ("nt-xent", 4),
        ("n-pair", 2),
        ("lifted", 4),
        ("histogram", 4),
    ] {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 6);
        let output = run(&place.arguments(text(&data), &["--loss", loss, "--batch", "8", "--steps", "1"]));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains(&format!("--per-class {each} is taken")), "{loss}: {error}");
        assert!(error.contains(&format!("{each} of each of {} classes", 8 / each)), "{loss}: {error}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn classes_of_a_single_image_make_pairs_of_it_with_itself_which_is_said() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    for class in 0..3 {
        for number in 1..8 {
            std::fs::remove_file(data.join(format!("class{class:02}/{number}.png"))).unwrap();
        }
    }
    let output = run(&place.arguments(text(&data), &["--loss", "supcon", "--batch", "8", "--steps", "2"]));
    let error = String::from_utf8_lossy(&output.stderr);
    let says = "3 of the 6 classes have fewer than the 4 images that --per-class wants";
    assert!(output.status.success() && error.contains(says), "{error}");
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(says));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn batches_that_were_passed_over_stay_counted_where_a_run_goes_on() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let more =
        ["--loss", "contrastive", "--batch", "4", "--per-class", "2", "--steps", "12", "--checkpoint-every", "1"];
    assert!(run(&place.arguments(text(&data), &more)).status.success());
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    std::fs::write(place.file("run.toml"), manifest.replace("per_class = 2\n", "")).unwrap();
    std::fs::remove_file(place.file("checkpoint.safetensors")).unwrap();
    let counted = || {
        let output = run(&["train", "--resume", text(&place.out)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("batches_without_pairs"), "{said}");
        place.table("metrics.csv", &["images_per_second"])
    };
    // The second time there is nothing left to do.
    let rows = counted();
    assert_eq!(rows.len(), 13);
    assert_eq!(counted(), rows);
}
