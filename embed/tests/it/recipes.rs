//! Where a recipe comes from: manifest, flags, and what is assumed where neither says it.

use std::path::Path;

use pdloss_embed::Result;
use pdloss_embed::preprocess::{Layout, Origin, Patch, Preprocessor, Preset, Recipe, Resize, Size};

const INPUT: Size = Size { width: 224, height: 224 };

/// The recipe of a model without a manifest, by flags in TOML.
fn of(flags: &str, input: Option<Size>) -> Result<(Recipe, Origin)> {
    let flags: Patch = toml::from_str(flags).unwrap();
    Recipe::of(Path::new("/nowhere/model.onnx"), None, &flags, (input, false))
}

fn assumed(origin: &Origin) -> Vec<&'static str> {
    if let Origin::Assumed(steps) = origin { steps.clone() } else { Vec::new() }
}

#[test]
fn one_flag_leaves_the_rest_of_the_assumed_preset_as_it_is() {
    let whole = Preset::Imagenet.recipe(Some(INPUT));
    for (flags, expected, left) in [
        ("", whole.clone(), vec!["color", "resize", "scale", "mean", "std", "crop", "interpolation"]),
        (
            "resize = 'shorter:300'",
            Recipe { resize: Resize::Shorter(300), ..whole.clone() },
            vec!["color", "scale", "mean", "std", "crop", "interpolation"],
        ),
        (
            "interpolation = 'bicubic'\ncrop = 224",
            Recipe { interpolation: pdloss_embed::preprocess::Interpolation::Bicubic, ..whole.clone() },
            vec!["color", "resize", "scale", "mean", "std"],
        ),
        (
            "mean = [0.5]\nstd = [0.5]",
            Recipe { mean: vec![0.5], std: vec![0.5], ..whole.clone() },
            vec!["color", "resize", "scale", "crop", "interpolation"],
        ),
        (
            "resize = 'exact:224'",
            Recipe { resize: Resize::Exact(INPUT), crop: None, ..whole.clone() },
            vec!["color", "scale", "mean", "std", "interpolation"],
        ),
        (
            "pad = '224'",
            Recipe { resize: Resize::None, crop: None, pad: Some("224".parse().unwrap()), ..whole.clone() },
            vec!["color", "scale", "mean", "std"],
        ),
        (
            "orientation = 'stored'",
            Recipe { orientation: pdloss_embed::preprocess::Orientation::Stored, ..whole.clone() },
            vec!["color", "resize", "scale", "mean", "std", "crop", "interpolation"],
        ),
    ] {
        let (recipe, origin) = of(flags, Some(INPUT)).unwrap();
        assert_eq!((recipe, assumed(&origin)), (expected, left.clone()), "{flags}");
        let words = format!("ASSUMED: {} of the imagenet preset", left.join(", "));
        assert_eq!(origin.to_string(), words);
        let note = origin.note(Path::new("model.onnx")).unwrap();
        assert!(note.contains(&left.join(", ")) && note.contains("model.toml"), "{note}");
    }
}

#[test]
fn all_that_the_preset_is_for_or_a_preset_by_name_leaves_nothing_assumed() {
    let all = "color = 'rgb'\nresize = 'exact:8'\nscale = 1\nmean = [0]\nstd = [1]";
    let raw = Recipe { resize: Resize::Exact(Size { width: 8, height: 8 }), scale: 1.0, ..Recipe::default() };
    let imagenet = Preset::Imagenet.recipe(Some(INPUT));
    for (flags, expected) in [
        (all, raw),
        ("preset = 'none'", Recipe::default()),
        ("preset = 'none'\nscale = 1", Recipe { scale: 1.0, ..Recipe::default() }),
        ("preset = 'imagenet'", imagenet.clone()),
        ("preset = 'imagenet'\nresize = 'exact:224'", Recipe { resize: Resize::Exact(INPUT), crop: None, ..imagenet }),
    ] {
        let (recipe, origin) = of(flags, Some(INPUT)).unwrap();
        assert_eq!((recipe, &origin), (expected, &Origin::Flags), "{flags}");
        assert_eq!(origin.note(Path::new("m.onnx")), None);
    }
}

#[test]
fn numbers_that_do_not_fit_the_assumed_ones_are_refused() {
    for (flags, says) in [
        ("scale = 1", "scale 1 goes with mean and std of its own"),
        ("scale = 1\nmean = [127.5]", "give --mean and --std"),
        ("mean = [127.5]\nstd = [127.5]", "mean 127.5 lies beyond the brightest pixel"),
        ("std = [58]", "std 58 lies beyond"),
        ("color = 'gray'", "mean of the imagenet preset has 3 values"),
        ("color = 'gray'\nmean = [0.5]", "std of the imagenet preset has 3 values"),
    ] {
        let message = of(flags, Some(INPUT)).unwrap_err().to_string();
        assert!(message.contains(says), "{flags}: {message}");
    }
    assert!(of("scale = 1\nmean = [127.5]\nstd = [127.5]", Some(INPUT)).is_ok());
    assert!(of("scale = '1/255'", Some(INPUT)).is_ok());
    assert!(of("color = 'gray'\nmean = [0.5]\nstd = [0.5]", Some(INPUT)).is_ok());
}

#[test]
fn mean_and_deviation_of_a_preset_follow_the_order_of_the_channels() {
    let (recipe, _) = of("color = 'bgr'", Some(INPUT)).unwrap();
    assert_eq!((recipe.mean, recipe.std), (vec![0.406, 0.456, 0.485], vec![0.225, 0.224, 0.229]));
    let (recipe, _) = of("color = 'bgr'\nmean = [0.1, 0.2, 0.3]", Some(INPUT)).unwrap();
    assert_eq!((recipe.mean, recipe.std), (vec![0.1, 0.2, 0.3], vec![0.225, 0.224, 0.229]));
}

/// Whatever the sides of input and image, the preset's crop fits.
#[test]
fn the_imagenet_preset_covers_inputs_that_are_not_square() {
    let size = |width, height| Size { width, height };
    for (input, resize) in [
        (size(224, 224), "shorter:256"),
        (size(112, 112), "shorter:128"),
        (size(128, 256), "cover:147x293"),
        (size(256, 128), "cover:293x147"),
        (size(48, 500), "cover:55x572"),
    ] {
        let recipe = Preset::Imagenet.recipe(Some(input));
        assert_eq!((recipe.resize.to_string().as_str(), recipe.crop), (resize, Some(input)));
        for (width, height) in [(512, 512), (40, 300), (300, 40), (1, 9), (128, 256)] {
            let mut png = std::io::Cursor::new(Vec::new());
            image::RgbImage::new(width, height).write_to(&mut png, image::ImageFormat::Png).unwrap();
            let made = Preprocessor::new(&recipe, Layout::Nchw).append("a.png", png.get_ref(), &mut Vec::new());
            assert_eq!(made.unwrap(), input, "{width}x{height} to {input}");
        }
    }
}

#[test]
fn cover_reaches_both_sides_and_passes_one_at_most() {
    let cover = |text: &str, width, height| text.parse::<Resize>().unwrap().target(width, height).unwrap();
    assert_eq!(cover("cover:100x50", 200, 200), (100, 100));
    assert_eq!(cover("cover:100x50", 300, 100), (150, 50));
    assert_eq!(cover("cover:100x50", 7, 3), (116, 50));
    assert_eq!(cover("cover:64", 30, 40), cover("shorter:64", 30, 40));
    assert_eq!("cover:100x50".parse::<Resize>().unwrap().to_string(), "cover:100x50");
}

#[test]
fn one_value_is_one_as_it_is_by_flags() {
    let (one, _) = of("mean = 0.5\nstd = '1/4'\nfill = 7\nscale = 1", Some(INPUT)).unwrap();
    let (list, _) = of("mean = [0.5]\nstd = [0.25]\nfill = [7]\nscale = 1.0", Some(INPUT)).unwrap();
    assert_eq!((&one, one.mean.as_slice()), (&list, &[0.5][..]));
    for (text, says) in [("fill = 300", "expected u8"), ("mean = true", "one value, or a list of one a channel")] {
        let error = toml::from_str::<Patch>(text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_manifest_is_not_filled_with_assumptions() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.toml"), "resize = 'exact:8x8'").unwrap();
    let model = folder.path().join("m.onnx");
    let (recipe, origin) = Recipe::of(&model, None, &Patch::default(), (Some(INPUT), false)).unwrap();
    assert_eq!(
        (recipe.mean, &origin),
        (vec![0.0], &Origin::Manifest(folder.path().join("m.toml"), vec!["mean", "std"]))
    );
    // ... and what it leaves open is said, until somebody says it.
    let note = origin.note(&model).unwrap();
    assert!(note.contains("m.toml says nothing of mean and std, and names no preset: mean is 0 and std 1"), "{note}");
    let flags: Patch = toml::from_str("mean = [0.0]\nstd = [1.0]").unwrap();
    assert_eq!(Recipe::of(&model, None, &flags, (Some(INPUT), false)).unwrap().1.note(&model), None);
    std::fs::write(folder.path().join("n.toml"), "preset = 'none'\nresize = 'exact:8x8'").unwrap();
    let named = folder.path().join("n.onnx");
    assert_eq!(Recipe::of(&named, None, &Patch::default(), (Some(INPUT), false)).unwrap().1.note(&named), None);
    // a preset by flag lies under the manifest
    let flags: Patch = toml::from_str("preset = 'imagenet'").unwrap();
    let (recipe, _) = Recipe::of(&model, None, &flags, (Some(INPUT), false)).unwrap();
    assert_eq!((recipe.crop, recipe.mean.len(), recipe.resize.to_string().as_str()), (None, 3, "exact:8x8"));
}

#[test]
fn what_a_manifest_takes_from_a_preset_is_said_and_a_preset_of_which_nothing_is_left_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, manifest) = (folder.path().join("m.onnx"), folder.path().join("m.toml"));
    let with = |text: &str, flags: &str| {
        std::fs::write(&manifest, text).unwrap();
        Recipe::of(&model, None, &toml::from_str(flags).unwrap(), (Some(INPUT), false))
    };
    let (_, origin) = with("resize = 'exact:8x8'", "preset = 'imagenet'").unwrap();
    let note = origin.note(&model).unwrap();
    assert!(note.contains("m.toml goes before --preset imagenet: resize, crop are the manifest's"), "{note}");
    let whole = "color = 'gray'\nresize = 'exact:8x8'\ninterpolation = 'bicubic'\nscale = 1\nmean = [3]\nstd = [2]";
    for preset in ["imagenet", "face-112"] {
        let error = with(whole, &format!("preset = '{preset}'")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(&format!("--preset {preset} changes nothing here: ")), "{error}");
    }
    let (_, origin) = with(whole, "preset = 'none'").unwrap();
    assert!(origin.note(&model).unwrap().contains("goes before --preset none: color, resize"));
    // The same again is no contradiction.
    let (recipe, origin) = with("preset = 'imagenet'", "preset = 'imagenet'").unwrap();
    assert_eq!((recipe.mean.len(), origin.note(&model)), (3, None));
    assert_eq!(with(whole, "").unwrap().1.note(&model), None);
}
