//! Resampling against Pillow, to the level: `golden/resample.py` says what it makes.

use std::path::Path;

use image::RgbImage;
use pdloss_embed::preprocess::{Interpolation, Layout, Preprocessor, Recipe, Resize, Size};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    source: String,
    filter: Interpolation,
    /// Left, top, right, bottom.
    region: [f64; 4],
    size: [u32; 2],
}

fn golden(name: &str) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    image::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8()
}

/// Every case of one source through `check`, with Pillow's levels.
fn each_case(source: &str, mut check: impl FnMut(&Case, &RgbImage, &[u8])) {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/resample.json")).unwrap();
    let (image, pillow) = (golden(&format!("{source}.png")), golden(&format!("{source}_resampled.png")));
    let mut levels = pillow.as_raw().as_slice();
    let mut seen = 0;
    for case in cases.iter().filter(|case| case.source == source) {
        let (own, rest) = levels.split_at((case.size[0] * case.size[1] * 3) as usize);
        check(case, &image, own);
        levels = rest;
        seen += 1;
    }
    assert_eq!(seen, 72, "{source}");
}

fn resampled(case: &Case, image: &RgbImage) -> RgbImage {
    let recipe = Recipe { interpolation: case.filter, ..Recipe::default() };
    let [left, top, right, bottom] = case.region;
    let target = Size { width: case.size[0], height: case.size[1] };
    Preprocessor::new(&recipe, Layout::Nhwc)
        .resample(&case.source, image, [left, top, right - left, bottom - top], target)
        .unwrap()
}

#[test]
fn every_filter_gives_pillows_levels_both_ways_and_on_regions() {
    for source in ["noise", "photograph"] {
        each_case(source, |case, image, pillow| {
            let got = resampled(case, image);
            let apart = got.as_raw().iter().zip(pillow).map(|(a, b)| a.abs_diff(*b));
            let (worst, differ) = apart.fold((0, 0), |(worst, count), d| (worst.max(d), count + usize::from(d > 0)));
            let what = format!("{source} {:?} {:?} to {:?}", case.filter, case.region, case.size);
            assert_eq!((got.as_raw().len(), worst, differ), (pillow.len(), 0, 0), "{what}: largest difference, count");
        });
    }
}

#[test]
fn the_whole_way_from_file_to_input_gives_pillows_levels() {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/noise.png")).unwrap();
    let mut whole = 0;
    each_case("noise", |case, _, pillow| {
        if case.region != [0.0, 0.0, 23.0, 17.0] {
            return;
        }
        let resize = Resize::Exact(Size { width: case.size[0], height: case.size[1] });
        let recipe = Recipe { resize, interpolation: case.filter, scale: 1.0, ..Recipe::default() };
        let mut values = Vec::new();
        Preprocessor::new(&recipe, Layout::Nhwc).append("noise.png", &bytes, &mut values).unwrap();
        assert!(values.iter().zip(pillow).all(|(&got, &want)| got == f32::from(want)), "{resize:?} {:?}", case.filter);
        whole += 1;
    });
    assert_eq!(whole, 48);
}

/// Without antialias the filter keeps the width that it has when enlarging: two pixels of `bilinear` count, however much
/// the image shrinks.
#[test]
fn without_antialias_the_filter_is_not_widened() {
    let image = RgbImage::from_fn(16, 1, |x, _| image::Rgb([if x % 8 == 4 { 255 } else { 0 }; 3]));
    let level = |antialias, interpolation| {
        let recipe = Recipe { interpolation, antialias, ..Recipe::default() };
        let target = Size { width: 2, height: 1 };
        let made = Preprocessor::new(&recipe, Layout::Nhwc).resample("dots", &image, [0.0, 0.0, 16.0, 1.0], target);
        made.unwrap().get_pixel(0, 0)[0]
    };
    // The centre of the first output lies between pixels 3 and 4.
    assert_eq!(level(false, Interpolation::Bilinear), 128);
    assert_eq!(level(true, Interpolation::Box), 32); // an eighth of 255
    assert_eq!(level(false, Interpolation::Box), 255);
}

#[test]
fn regions_outside_and_sizes_beyond_the_limit_are_refused_before_any_work() {
    let image = RgbImage::new(10, 4);
    let resample = |region, width, height, max_pixels| {
        let recipe = Recipe { max_pixels, ..Recipe::default() };
        let target = Size { width, height };
        Preprocessor::new(&recipe, Layout::Nhwc).resample("a.png", &image, region, target)
    };
    let whole = [0.0, 0.0, 10.0, 4.0];
    for region in [[0.0, 0.0, 11.0, 4.0], [-1.0, 0.0, 4.0, 4.0], [2.0, 2.0, 0.0, 1.0], [f64::NAN, 0.0, 1.0, 1.0]] {
        let message = resample(region, 3, 3, 1000).unwrap_err().to_string();
        assert!(message.contains("image a.png: is 10x4") && message.contains("leaves it"), "{message}");
    }
    // 50 x 4 pixels between the passes, though 50 x 1 at the end
    assert!(resample(whole, 50, 1, 200).is_ok());
    let message = resample(whole, 50, 1, 199).unwrap_err().to_string();
    assert!(message.contains("50x1 takes 200 pixels, more than --max-pixels 199"), "{message}");
}
