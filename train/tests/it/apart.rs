//! What is trained on is not validated on.

use crate::tools::{Place, fails, fixtures, hues, run, text};

const SHORT: [&str; 4] = ["--batch", "20", "--steps", "2"];

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn classes_validated_on_are_left_out_of_training() {
    let shapes = fixtures().join("shapes");
    for (classes, says) in [("11-20", "the 10 classes"), ("19-20", "the 2 classes"), ("1-3,7", "the 4 classes")] {
        let place = Place::new();
        let more = [&SHORT[..], &["--split", "all", "--validation-classes", classes]].concat();
        let output = run(&place.arguments(text(&shapes), &more));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains(says) && error.contains("left out of training"), "{error}");
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        assert!(manifest.contains("left out of training") && manifest.contains("leave_out = true"), "{manifest}");
        // It goes on with the same classes.
        let before = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
        assert!(run(&["train", "--resume", text(&place.out)]).status.success());
        assert_eq!(std::fs::read(place.file("checkpoint.safetensors")).unwrap(), before);
    }
    for (flag, value) in [("--validation-classes", "21"), ("--validation-split", "val")] {
        let place = Place::new();
        fails(2, &place.arguments(text(&shapes), &[&SHORT[..], &[flag, value]].concat()), &[&format!("{flag}: ")]);
    }
    let place = Place::new();
    let more = [&SHORT[..], &["--split", "all", "--validation-classes", "1-20"]].concat();
    fails(2, &place.arguments(text(&shapes), &more), &["--validation-classes", "0 are left"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_overlap_by_class_is_refused_before_the_work_or_allowed_and_recorded() {
    let shapes = fixtures().join("shapes");
    let overlaps: [&[&str]; 4] = [
        &["--split", "all", "--validation-split", "protocol"],
        &["--split", "all", "--validation-split", "all"],
        &["--classes", "1-5", "--validation-classes", "5-9"],
        &["--split", "all", "--validation", text(&shapes)],
    ];
    for more in overlaps {
        let place = Place::new();
        let more = [&SHORT[..], more].concat();
        fails(2, &place.arguments(text(&shapes), &more), &["are trained on", "--allow-overlap"]);
        assert!(!place.out.exists());
        let output = run(&place.arguments(text(&shapes), &[&more[..], &["--allow-overlap"]].concat()));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains("are trained on"), "{error}");
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        assert!(manifest.contains("allow_overlap = true") && manifest.contains("are trained on"), "{manifest}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_overlap_by_image_is_refused_between_two_data_sets() {
    let place = Place::new();
    let (one, two) = (place.folder.path().join("one"), place.folder.path().join("two"));
    hues(&one, 4);
    for (from, to) in [("class00", "other0"), ("class01", "other1")] {
        std::fs::create_dir_all(two.join(to)).unwrap();
        for number in 0..3 {
            std::fs::copy(one.join(from).join(format!("{number}.png")), two.join(to).join(format!("{number}x.png")))
                .unwrap();
        }
    }
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&two)];
    fails(
        1,
        &place.arguments(text(&one), &more),
        &["6 of the 6 images", "other0/0x.png", "class00/0.png", "--allow-overlap"],
    );
    assert!(!place.out.exists());
    assert!(run(&place.arguments(text(&one), &[&more[..], &["--allow-overlap"]].concat())).status.success());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_image_that_was_stored_anew_is_an_overlap_all_the_same() {
    let place = Place::new();
    let (one, two) = (place.folder.path().join("one"), place.folder.path().join("two"));
    hues(&one, 4);
    hues(&two, 6);
    (0..4).for_each(|class| std::fs::remove_dir_all(two.join(format!("class{class:02}"))).unwrap());
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&two)];
    assert!(run(&place.arguments(text(&one), &more)).status.success());
    // Other bytes of the same pixels.
    let (from, to) = (one.join("class01/2.png"), two.join("class04/again.png"));
    let pixels = image::open(&from).unwrap().to_rgba8();
    pixels.save(&to).unwrap();
    assert_ne!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
    let place = Place::new();
    let says = ["1 of the ", "pixel for pixel", "class04/again.png", "class01/2.png", "--allow-overlap"];
    fails(1, &place.arguments(text(&one), &more), &says);
    assert!(run(&place.arguments(text(&one), &[&more[..], &["--allow-overlap"]].concat())).status.success());
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains("pixel for pixel"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_image_under_another_label_of_the_same_data_is_an_overlap() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    // One of the classes validated on holds the bytes of one trained on.
    std::fs::copy(data.join("class00/0.png"), data.join("class05/copy.png")).unwrap();
    let more = ["--batch", "8", "--steps", "2", "--classes", "1-4", "--validation-classes", "5-6"];
    let says = ["1 of the 17 images", "class05/copy.png", "class00/0.png", "--allow-overlap"];
    fails(1, &place.arguments(text(&data), &more), &says);
    assert!(run(&place.arguments(text(&data), &[&more[..], &["--allow-overlap"]].concat())).status.success());
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains("1 of the 17 images"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_the_first_weights_were_trained_on_is_no_test() {
    let shapes = fixtures().join("shapes");
    let before = Place::new();
    assert!(run(&before.arguments(text(&shapes), &[&SHORT[..], &["--classes", "1-6"]].concat())).status.success());
    let flags = |classes: &'static str| [&SHORT[..], &["--classes", "7-12", "--validation-classes", classes]].concat();
    let (from, embedder) = (before.out.clone(), before.file("embedder.onnx"));
    let says = ["the first weights are of", "3 of the 3 classes to validate on are trained on", "--allow-overlap"];
    // As first weights, as the model, and by a run that began with them.
    let between = Place::new();
    let init = ["--init-from", text(&from)];
    assert!(run(&between.arguments(text(&shapes), &[&flags("13-15")[..], &init].concat())).status.success());
    for init in [init, ["--init-from", text(&between.out)]] {
        let place = Place::new();
        let more = [&flags("4-6")[..], &init].concat();
        fails(2, &place.arguments(text(&shapes), &more), &says);
        let output = run(&place.arguments(text(&shapes), &[&more[..], &["--allow-overlap"]].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        assert!(manifest.contains("the first weights are of"), "{manifest}");
    }
    let place = Place::new();
    let model =
        [&["train", "--model", text(&embedder), "--data", text(&shapes), "--out", text(&place.out)], &flags("4-6")[..]];
    fails(2, &model.concat(), &says);
    // Behind a link, and where it is measured.
    #[cfg(unix)]
    {
        let link = place.folder.path().join("best.onnx");
        std::os::unix::fs::symlink(&embedder, &link).unwrap();
        let model =
            [&["train", "--model", text(&link), "--data", text(&shapes), "--out", text(&place.out)], &flags("4-6")[..]];
        fails(2, &model.concat(), &says);
        let measured = |classes: &str| {
            let words = ["recall", "--model", text(&link), "--data", text(&shapes), "--classes", classes, "--k", "1"];
            let output = run(&words);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let said = measured("5-8");
        assert!(said.contains("32 of the 64 images measured are among those that the model was trained on"), "{said}");
        assert!(!measured("7-8").contains("trained on"));
        // Of a run that began with that one, and by another way to the same files.
        let (later, images) = (between.file("embedder.onnx"), shapes.join("images"));
        for data in [&shapes, &images] {
            let output =
                run(&["recall", "--model", text(&later), "--data", text(data), "--classes", "1-8", "--k", "1"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("96 of the 128 images measured") && said.contains("32 of the 128 images"), "{said}");
        }
    }
    // Copied, they are known by their bytes; elsewhere the model says nothing of its past.
    let copy = place.folder.path().join("copy");
    for class in ["003.triangle_checker", "004.star_solid"] {
        for image in std::fs::read_dir(shapes.join("images").join(class)).unwrap() {
            let image = image.unwrap().path();
            let to = copy.join(format!("other{class}")).join(image.file_name().unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(image, to).unwrap();
        }
    }
    let output = run(&["recall", "--model", text(&embedder), "--data", text(&copy), "--k", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("32 of the 32 images measured are among those that the model was trained on")
            && said.contains("), 32 of them as copies, byte for byte: figures"),
        "{said}"
    );
    let more = [&SHORT[..], &["--classes", "7-12", "--validation", text(&copy)], &init].concat();
    fails(
        2,
        &place.arguments(text(&shapes), &more),
        &["the first weights are of", "images to validate on are trained on, byte for byte"],
    );
    let moved = place.folder.path().join("embedder.onnx");
    std::fs::copy(&embedder, &moved).unwrap();
    std::fs::copy(before.file("embedder.toml"), place.folder.path().join("embedder.toml")).unwrap();
    let model =
        [&["train", "--model", text(&moved), "--data", text(&shapes), "--out", text(&place.out)], &flags("4-6")[..]];
    let output = run(&model.concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_past =
        "trained on 96 images of 6 classes by `pdloss train`, as it says itself, and that run's folder is not here";
    assert!(output.status.success() && said.contains(&format!("the first weights were {of_past}")), "{said}");
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(of_past));
    // Measured; and so is what was trained from it, which tells of both. In the run's own folder it is known by another name.
    let measured = |model: &std::path::Path| {
        let output = run(&["recall", "--model", text(model), "--data", text(&shapes), "--classes", "5-8", "--k", "1"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = measured(&moved);
    assert!(said.contains(&format!("the model was {of_past}: it may have seen the images measured")), "{said}");
    let said = measured(&place.file("embedder.onnx"));
    assert!(said.contains(of_past) && said.contains("32 of the 64 images measured"), "{said}");
    std::fs::copy(&embedder, before.file("again.onnx")).unwrap();
    std::fs::copy(before.file("embedder.toml"), before.file("again.toml")).unwrap();
    let said = measured(&before.file("again.onnx"));
    assert!(said.contains("32 of the 64 images measured") && !said.contains("as it says itself"), "{said}");
    assert!(!measured(&embedder).contains("as it says itself"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn training_images_that_are_no_longer_there_are_said_where_the_model_is_measured() {
    let place = Place::new();
    let (data, moved) = (place.folder.path().join("hues"), place.folder.path().join("moved"));
    hues(&data, 6);
    let output = run(&place.arguments(text(&data), &SHORT));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&data, &moved).unwrap();
    let output = run(&["recall", "--model", text(&place.file("embedder.onnx")), "--data", text(&moved), "--k", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = format!("what the model was trained on ({}, by ", data.display());
    assert!(output.status.success() && said.contains(&wanted) && said.contains("is not here"), "{said}");
    // There again, and then with an image that is another.
    std::fs::rename(&moved, &data).unwrap();
    let measured = || {
        let output = run(&["recall", "--model", text(&place.file("embedder.onnx")), "--data", text(&data), "--k", "1"]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = measured();
    assert!(said.contains("48 of the 48 images measured are among those") && !said.contains("have changed"), "{said}");
    let [first, second] = [0, 1].map(|class| {
        let folder = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).nth(class).unwrap();
        std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    });
    std::fs::copy(&first, &second).unwrap();
    let said = measured();
    assert!(said.contains(": 48 then, 48 now) have changed since: it may have seen"), "{said}");
    std::fs::remove_file(&second).unwrap();
    assert!(measured().contains(": 48 then, 47 now) have changed since"), "{said}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_first_weights_have_seen_is_known_by_bytes_under_any_name_and_a_change_since_is_said() {
    let before = Place::new();
    let data = before.folder.path().join("hues");
    hues(&data, 8);
    let train = ["--batch", "8", "--steps", "2", "--classes", "1-4"];
    assert!(run(&before.arguments(text(&data), &train)).status.success());
    let flags = ["--batch", "8", "--steps", "2", "--classes", "5-6", "--validation-classes", "7-8"];
    let again = |more: &[&str]| {
        let place = Place::new();
        let output =
            run(&place.arguments(text(&data), &[&flags[..], &["--init-from", text(&before.out)], more].concat()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let recorded = std::fs::read_to_string(place.file("run.toml")).unwrap_or_default();
        (output.status.code(), said, recorded)
    };
    let (code, said, recorded) = again(&[]);
    assert!(code == Some(0) && !said.contains("first weights are of") && !recorded.contains("changed since"), "{said}");
    // An image that was trained on comes to be validated on under a name that is not known.
    let (trained, other) = (data.join("class00/0.png"), data.join("class06/0.png"));
    let bytes = |path: &std::path::Path| std::fs::read(path).unwrap();
    let (of_trained, of_other) = (bytes(&trained), bytes(&other));
    std::fs::write(data.join("class07/copy.png"), &of_trained).unwrap();
    let (code, said, _) = again(&[]);
    assert!(code == Some(2) && said.contains("1 of the 17 images") && said.contains("class07/copy.png"), "{said}");
    assert!(!said.contains("changed since"), "{said}");
    // The same in other bytes.
    image::open(&trained).unwrap().to_rgba8().save(data.join("class07/copy.png")).unwrap();
    let (code, said, _) = again(&[]);
    assert!(code == Some(2) && said.contains("first weights are of") && said.contains("pixel for pixel"), "{said}");
    std::fs::remove_file(data.join("class07/copy.png")).unwrap();
    // What it was trained on has other bytes now.
    std::fs::write(&trained, &of_other).unwrap();
    let (code, said, _) = again(&[]);
    assert!(code == Some(2) && said.contains("byte for byte"), "{said}");
    let (code, said, recorded) = again(&["--allow-overlap"]);
    assert!(
        code == Some(0) && said.contains("have changed since") && recorded.contains("have changed since"),
        "{said}"
    );
}
