//! Decoding and resampling against Pillow: `fixtures/make.py` says how each file was made.

use pdloss_embed::preprocess::{
    Color, Corruption, Interpolation, Kind, Layout, Orientation, Patch, Preprocessor, Recipe, Resize, Size, Steps,
    Traits, decode,
};

use crate::tools::fixtures;

const RED: [u8; 3] = [200, 30, 30];
const GREEN: [u8; 3] = [30, 200, 30];
const BLUE: [u8; 3] = [30, 30, 200];
const GREY: [u8; 3] = [128, 128, 128];

fn odd(name: &str, orientation: Orientation) -> image::RgbImage {
    let bytes = std::fs::read(fixtures().join("odd").join(name)).unwrap();
    decode(name, &bytes, orientation).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The colours in the middle of the four quadrants.
fn quadrants(image: &image::RgbImage) -> [[u8; 3]; 4] {
    let (w, h) = image.dimensions();
    [(w / 4, h / 4), (3 * w / 4, h / 4), (w / 4, 3 * h / 4), (3 * w / 4, 3 * h / 4)]
        .map(|(x, y)| image.get_pixel(x, y).0)
}

fn assert_near(name: &str, got: [[u8; 3]; 4], wanted: [[u8; 3]; 4], within: u8) {
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!(got.iter().zip(wanted).all(|(g, w)| g.abs_diff(*w) <= within), "{name}: {got:?}, wanted {wanted:?}");
    }
}

#[test]
fn every_kind_of_file_decodes_to_the_same_picture() {
    for (name, within) in [
        ("rgb.png", 0),
        ("rgb.bmp", 0),
        ("rgb.gif", 0),
        ("rgb.tiff", 0),
        ("rgb.webp", 0),
        ("palette.png", 0),
        ("rgba.png", 0), // alpha is dropped
        ("rgb.jpg", 3),
        ("progressive.jpg", 3),
        ("cmyk.jpg", 4),
    ] {
        let image = odd(name, Orientation::Exif);
        assert_eq!(image.dimensions(), (24, 16), "{name}");
        assert_near(name, quadrants(&image), [RED, GREEN, BLUE, GREY], within);
    }
}

#[test]
fn grey_is_repeated_and_sixteen_bits_are_scaled() {
    let luma = [[81; 3], [130; 3], [49; 3], [128; 3]];
    for (name, within) in [("grey.png", 0), ("grey16.png", 0), ("grey.jpg", 2)] {
        assert_near(name, quadrants(&odd(name, Orientation::Exif)), luma, within);
    }
    let one_bit = [[0; 3], [255; 3], [0; 3], [255; 3]];
    assert_near("one_bit.png", quadrants(&odd("one_bit.png", Orientation::Exif)), one_bit, 0);
}

#[test]
fn exif_orientation_is_followed_or_not_as_the_recipe_says() {
    let turned = odd("exif6.jpg", Orientation::Exif);
    assert_eq!(turned.dimensions(), (24, 16));
    assert_near("exif6.jpg", quadrants(&turned), [RED, GREEN, BLUE, GREY], 3);
    assert_eq!(odd("exif6.jpg", Orientation::Stored).dimensions(), (16, 24));
}

/// A TIFF with an orientation tag: the encoder writes none, so that its last tag is made one.
fn turned_tiff(orientation: u8) -> Vec<u8> {
    let picture = image::DynamicImage::from(odd("rgb.png", Orientation::Exif));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Tiff).unwrap();
    let mut bytes = bytes.into_inner();
    let number = |at: usize, length: usize, bytes: &[u8]| {
        bytes[at..at + length].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))
    };
    let first = number(4, 4, &bytes);
    let tags = (0..number(first, 2, &bytes)).map(|tag| first + 2 + 12 * tag).collect::<Vec<_>>();
    // The directory once more at the end, with the tag (0x112, one short) in its order.
    let mut directory: Vec<Vec<u8>> = tags.iter().map(|&at| bytes[at..at + 12].to_vec()).collect();
    directory.push([0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0].to_vec());
    directory.sort_by_key(|tag| u16::from_le_bytes([tag[0], tag[1]]));
    let place = u32::try_from(bytes.len()).unwrap();
    bytes[4..8].copy_from_slice(&place.to_le_bytes());
    bytes.extend(u16::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(directory.concat());
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn tiff_is_turned_as_pillow_turns_it_whatever_the_recipe_says() {
    for orientation in [Orientation::Exif, Orientation::Stored] {
        for (tag, wanted) in
            [(1, [RED, GREEN, BLUE, GREY]), (3, [GREY, BLUE, GREEN, RED]), (6, [BLUE, RED, GREY, GREEN])]
        {
            let image = decode("turned.tiff", &turned_tiff(tag), orientation).unwrap();
            assert_near(&format!("orientation {tag}"), quadrants(&image), wanted, 0);
        }
    }
}

#[test]
fn what_of_a_file_does_not_reach_the_model_is_seen() {
    for (name, bits, alpha) in [
        ("rgb.png", false, false),
        ("grey16.png", true, false),
        ("rgba.png", false, true),
        ("rgb.gif", false, false),
        ("cmyk.jpg", false, false),
        ("one_bit.png", false, false),
        ("palette.png", false, false),
        ("rgb.tiff", false, false),
        ("exif6.jpg", false, false),
        ("text.jpg", false, false),
        ("empty.jpg", false, false),
    ] {
        let bytes = std::fs::read(fixtures().join("odd").join(name)).unwrap();
        assert_eq!(
            Traits::of(&bytes),
            Traits { bits, alpha, turned: name == "exif6.jpg", ..Traits::default() },
            "{name}"
        );
    }
}

#[test]
fn images_that_are_none_are_named() {
    for (name, says) in [
        ("empty.jpg", "0 bytes"),
        ("truncated.jpg", "truncated"),
        ("truncated.png", "cannot be decoded"),
        ("text.jpg", "is none of JPEG, PNG"),
    ] {
        let bytes = std::fs::read(fixtures().join("odd").join(name)).unwrap();
        let message = decode(name, &bytes, Orientation::Exif).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(says), "{message}");
    }
}

#[test]
fn resampling_is_pillows_but_for_rounding() {
    let source = std::fs::read(fixtures().join("resampled/source.png")).unwrap();
    let filters = [
        ("nearest", Interpolation::Nearest),
        ("box", Interpolation::Box),
        ("bilinear", Interpolation::Bilinear),
        ("hamming", Interpolation::Hamming),
        ("bicubic", Interpolation::Bicubic),
        ("lanczos", Interpolation::Lanczos),
    ];
    for (name, interpolation) in filters {
        for (width, height) in [(17, 13), (90, 70)] {
            if (name, width) == ("nearest", 90) {
                continue; // pixel centres fall on pixel borders there, where either neighbour is the nearest
            }
            let resize = Resize::Exact(Size { width, height });
            let recipe = Recipe { resize, interpolation, scale: 1.0, ..Recipe::default() };
            let mut values = Vec::new();
            Preprocessor::new(&recipe, Layout::Nhwc).append("source.png", &source, &mut values).unwrap();
            let pillow =
                image::open(fixtures().join(format!("resampled/{name}_{width}x{height}.png"))).unwrap().into_rgb8();
            let apart = values.iter().zip(pillow.as_raw()).map(|(&got, &want)| (got - f32::from(want)).abs());
            let worst = apart.fold(0.0, f32::max);
            // Two passes round, in either order; the lobes of Lanczos carry the first rounding into the second.
            let limit = if name == "lanczos" { 2.0 } else { 1.0 };
            assert!(worst <= limit, "{name} to {width}x{height}: off by {worst} of 255");
        }
    }
}

#[test]
fn an_antialiased_resize_differs_from_one_without() {
    let source = std::fs::read(fixtures().join("resampled/source.png")).unwrap();
    let resize = Resize::Exact(Size { width: 10, height: 8 });
    let run = |antialias| {
        let recipe = Recipe { resize, antialias, ..Recipe::default() };
        let mut values = Vec::new();
        Preprocessor::new(&recipe, Layout::Nchw).append("source.png", &source, &mut values).unwrap();
        values
    };
    assert_ne!(run(true), run(false));
}

/// Steps after the resize, on a picture whose every pixel is known.
#[test]
fn crop_pad_channel_order_and_scaling_follow_the_recipe() {
    let bytes = std::fs::read(fixtures().join("odd/rgb.png")).unwrap();
    let run = |recipe: &str, layout| {
        let patch: Patch = toml::from_str(recipe).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), recipe).unwrap();
        let (recipe, _) = Recipe::of(file.path(), Some(file.path()), &Patch::default(), (None, false)).unwrap();
        let mut values = Vec::new();
        let size = Preprocessor::new(&recipe, layout).append("rgb.png", &bytes, &mut values).unwrap();
        assert_eq!(patch.scale.is_some(), recipe.scale != 1.0 / 255.0);
        (size, values)
    };
    let near = |got: f32, want: f32| assert!((got - want).abs() < 1e-5, "{got} is not {want}");

    // The middle 12x8 pixels hold a quarter of each colour.
    let (size, values) = run("crop = '12x8'\nscale = 1\nmean = [10, 20, 30]\nstd = [2]", Layout::Nchw);
    assert_eq!((size.width, size.height, values.len()), (12, 8, 3 * 12 * 8));
    near(values[0], (200.0 - 10.0) / 2.0);
    near(values[96], (30.0 - 20.0) / 2.0);
    near(values[2 * 96 + 95], (128.0 - 30.0) / 2.0);

    let (_, values) = run("color = 'bgr'\nscale = '1/2'", Layout::Nhwc);
    near(values[0], 15.0);
    near(values[2], 100.0);

    let (size, values) = run("color = 'gray'\nscale = 1", Layout::Nchw);
    assert_eq!(values.len(), (size.width * size.height) as usize);
    near(values[0], 81.0);

    let (size, values) = run("pad = '30x20+4+3'\nfill = [7, 8, 9]\nscale = 1", Layout::Nhwc);
    assert_eq!((size.width, size.height), (30, 20));
    near(values[0], 7.0);
    near(values[(3 * 30 + 4) * 3], 200.0);
    near(values[(3 * 30 + 3) * 3 + 2], 9.0);
}

/// Values of one channel of an image, as a recipe makes them.
fn grey_values(image: image::RgbImage, recipe: &Recipe, steps: &Steps) -> Vec<f32> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let mut values = Vec::new();
    let preprocessor = Preprocessor::new(recipe, Layout::Nchw).with(steps);
    preprocessor.append("noise.png", &bytes.into_inner(), &mut values).unwrap();
    values
}

#[test]
fn colour_is_made_grey_before_anything_else_as_pillow_opens_it() {
    let noise = |x: u32, y: u32, c: u32| ((x * 7919 + y * 104_729 + c * 1_299_709) % 251) as u8;
    let color = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([0, 1, 2].map(|c| noise(x, y, c))));
    // Pillow's L.
    let luma = |p: [u8; 3]| {
        ((u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 0x8000) >> 16) as u8
    };
    let grey = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([luma(color.get_pixel(x, y).0); 3]));
    for filter in [Interpolation::Bilinear, Interpolation::Bicubic, Interpolation::Lanczos, Interpolation::Nearest] {
        let recipe = Recipe {
            color: Color::Gray,
            resize: "exact:17x11".parse().unwrap(),
            interpolation: filter,
            scale: 1.0,
            mean: vec![0.0],
            std: vec![1.0],
            ..Recipe::default()
        };
        let of_color = Recipe { color: Color::Rgb, mean: vec![0.0; 3], std: vec![1.0; 3], ..recipe.clone() };
        let wanted = grey_values(grey.clone(), &of_color, &Steps::default());
        assert_eq!(grey_values(color.clone(), &recipe, &Steps::default()), wanted[..17 * 11], "{filter:?}");
    }
}

#[test]
fn the_noise_of_a_grey_model_is_as_strong_as_is_said() {
    let recipe = Recipe { color: Color::Gray, mean: vec![0.0], std: vec![1.0], ..Recipe::default() };
    let recipe = Recipe { resize: "exact:120x100".parse().unwrap(), ..recipe };
    let middle = || image::RgbImage::from_pixel(120, 100, image::Rgb([128; 3]));
    let values = |kind, severity| {
        let corruption = Some(Corruption { kind, severity, seed: 3 });
        grey_values(middle(), &recipe, &Steps { corruption, ..Steps::default() }).into_iter().map(f64::from).collect()
    };
    let noisy: Vec<f64> = values(Kind::GaussianNoise, 2);
    let mean = noisy.iter().sum::<f64>() / noisy.len() as f64;
    let deviation = (noisy.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / noisy.len() as f64).sqrt();
    assert!((deviation - 0.12).abs() < 0.003, "{deviation}");
    let spots: Vec<f64> = values(Kind::ImpulseNoise, 5);
    let share = |wanted: f64| spots.iter().filter(|value| **value == wanted).count() as f64 / spots.len() as f64;
    assert!((share(0.0) - 0.135).abs() < 0.015 && (share(1.0) - 0.135).abs() < 0.015, "{} {}", share(0.0), share(1.0));
    assert_eq!(spots.iter().filter(|value| ![0.0, 1.0, f64::from(128.0_f32 / 255.0)].contains(value)).count(), 0);
}

#[test]
fn the_shorter_side_rules_and_the_longer_is_rounded_down() {
    let bytes = std::fs::read(fixtures().join("odd/rgb.png")).unwrap(); // 24 x 16
    let recipe = Recipe { resize: Resize::Shorter(11), ..Recipe::default() };
    let size = Preprocessor::new(&recipe, Layout::Nchw).append("rgb.png", &bytes, &mut Vec::new()).unwrap();
    assert_eq!((size.width, size.height), (16, 11));
}

#[test]
fn manifests_with_mistakes_are_refused_by_key() {
    for (manifest, says) in [
        ("colour = 'rgb'", "unknown field `colour`"),
        ("resize = 'longer:256'", "wanted none, shorter:N, cover:WIDTHxHEIGHT or exact:WIDTHxHEIGHT"),
        ("mean = [0.5, 0.5]", "mean has 2 values; wanted 1 or 3"),
        ("std = [0]", "std holds 0"),
        ("crop = '0x10'", "'0x10' is no size"),
        ("scale = '1/0'", "'1/0' is no number"),
        ("fill = [1, 2]", "fill has 2 values"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        let message =
            Recipe::of(file.path(), Some(file.path()), &Patch::default(), (None, false)).unwrap_err().to_string();
        assert!(message.contains(says), "{manifest}: {message}");
    }
}

#[test]
fn an_image_that_does_not_fit_crop_or_canvas_is_named() {
    let bytes = std::fs::read(fixtures().join("odd/rgb.png")).unwrap();
    let small = Size { width: 20, height: 20 };
    let crop = Recipe { crop: Some(small), ..Recipe::default() };
    let pad = Recipe { pad: Some("20x20".parse().unwrap()), ..Recipe::default() };
    for recipe in [crop, pad] {
        let message = Preprocessor::new(&recipe, Layout::Nchw)
            .append("rgb.png", &bytes, &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(message.contains("rgb.png") && message.contains("24x16"), "{message}");
    }
}

#[test]
fn of_16_bits_the_upper_8_are_taken() {
    // 15834 = 61 * 256 + 218: rounded it would be 62, and Pillow gives 61.
    let png = |image: image::DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        decode("16.png", &bytes.into_inner(), Orientation::Exif).unwrap()
    };
    let color = image::ImageBuffer::from_pixel(2, 2, image::Rgb([15_834_u16, 0, 65_535]));
    assert_eq!(png(color.into()).get_pixel(1, 1).0, [61, 0, 255]);
    let alpha = image::ImageBuffer::from_pixel(2, 2, image::Rgba([15_834_u16, 255, 256, 9]));
    assert_eq!(png(alpha.into()).get_pixel(0, 0).0, [61, 0, 1]);
    let grey = image::ImageBuffer::from_pixel(2, 2, image::LumaA([15_834_u16, 65_535]));
    assert_eq!(png(grey.into()).get_pixel(0, 0).0, [61, 61, 61]);
}
