//! What a file has that a person may not expect, and the model does not see: pictures behind the first, bits behind the eighth,
//! transparency, colours that are not those of sRGB; and whether its EXIF tag turns it.

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{ImageDecoder, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use super::frames::are_several;
use super::jpeg;
use super::profile::is_other_than_srgb;
use super::values::Orientation;

/// What a file has beside one picture of 8 bits a channel that stands upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// Pictures behind the first: animations and pages.
    pub pictures: bool,
    /// The lower bits of channels of more than 8.
    pub bits: bool,
    /// A channel of transparency.
    pub alpha: bool,
    /// A colour profile other than sRGB.
    pub profile: bool,
    /// An EXIF tag that turns or mirrors it.
    pub turned: bool,
}

impl Traits {
    /// Of a file, as far as its header says.
    pub fn of(bytes: &[u8]) -> Self {
        Self { pictures: are_several(bytes), ..header(bytes).unwrap_or_default() }
    }

    /// Whether it has anything of these.
    pub fn is_some(self) -> bool {
        self != Self::default()
    }

    /// What is to be said of these files, read with this orientation: a sentence for each trait.
    pub fn describe<'n>(files: &[(&'n str, Self)], orientation: Orientation) -> Vec<String> {
        let of = |has: fn(Self) -> bool, sentence: &dyn Fn(usize, &str) -> String| {
            let mut names = files.iter().filter(|(_, traits)| has(*traits)).map(|(name, _)| *name);
            let first: &'n str = names.next()?;
            Some(sentence(1 + names.count(), first))
        };
        let files = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
        let sentences = [
            of(|traits| traits.pictures, &|count, first| {
                let hold = files(count, "file holds", "files hold");
                format!("{hold} several pictures (animations, pages), of which the first is taken: {first} ...")
            }),
            of(|traits| traits.bits, &|count, first| {
                let have = files(count, "image has", "images have");
                format!(
                    "{have} more than 8 bits a channel, of which the upper 8 are taken: {first} ...; numbers that use less than \
                     their 16 bits come out dark"
                )
            }),
            of(|traits| traits.alpha, &|count, first| {
                let have = files(count, "image has", "images have");
                format!(
                    "{have} a channel of transparency, which is dropped: {first} ...; what is stored beneath is seen"
                )
            }),
            of(|traits| traits.profile, &|count, first| {
                let have = files(count, "image has", "images have");
                format!(
                    "{have} a colour profile other than sRGB, which is not followed, as Pillow does not either: {first} ...; models \
                     see other colours than people do"
                )
            }),
            of(|traits| traits.turned, &|count, first| match orientation {
                Orientation::Exif => {
                    let are = files(count, "image is", "images are");
                    format!(
                        "{are} turned as the EXIF tag says: {first} ...; torchvision does not, nor does --orientation stored"
                    )
                }
                Orientation::Stored => {
                    let have = files(count, "image has", "images have");
                    format!(
                        "{have} an EXIF tag that turns the picture, which is not followed (--orientation stored): {first} ..."
                    )
                }
            }),
        ];
        sentences.into_iter().flatten().collect()
    }
}

/// What the header says.
fn header(bytes: &[u8]) -> Option<Traits> {
    let is_turned = |orientation| orientation != Turn::NoTransforms;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let format = reader.format()?;
    if format == ImageFormat::Jpeg {
        let (orientation, profile) = jpeg::metadata(bytes);
        let profile = profile.is_some_and(|profile| is_other_than_srgb(&profile));
        return Some(Traits { turned: is_turned(orientation), profile, ..Traits::default() });
    }
    let mut decoder = reader.into_decoder().ok()?;
    let color = decoder.color_type();
    Some(Traits {
        bits: color.bytes_per_pixel() > color.channel_count(),
        // The decoder of GIF always says that it has it.
        alpha: color.has_alpha() && format != ImageFormat::Gif,
        // TIFF is turned in any case.
        turned: format != ImageFormat::Tiff && decoder.orientation().is_ok_and(is_turned),
        pictures: false,
        profile: decoder.icc_profile().ok().flatten().is_some_and(|profile| is_other_than_srgb(&profile)),
    })
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ExtendedColorType, ImageEncoder};

    use super::super::profile::tests::{P3, profile};
    use super::*;

    fn bytes(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn wide_channels_and_transparency_are_seen_in_the_header() {
        let is = |bits, alpha| Traits { bits, alpha, ..Traits::default() };
        for (image, format, wanted) in [
            (DynamicImage::new_rgb8(3, 3), ImageFormat::Png, is(false, false)),
            (DynamicImage::new_luma16(3, 3), ImageFormat::Png, is(true, false)),
            (DynamicImage::new_luma16(3, 3), ImageFormat::Tiff, is(true, false)),
            (DynamicImage::new_rgb16(3, 3), ImageFormat::Tiff, is(true, false)),
            (DynamicImage::new_luma16(3, 3), ImageFormat::Pnm, is(true, false)),
            (DynamicImage::new_rgba16(3, 3), ImageFormat::Png, is(true, true)),
            (DynamicImage::new_rgba8(3, 3), ImageFormat::Png, is(false, true)),
            (DynamicImage::new_rgba8(3, 3), ImageFormat::Tiff, is(false, true)),
            (DynamicImage::new_luma_a8(3, 3), ImageFormat::Png, is(false, true)),
            (DynamicImage::new_rgba8(3, 3), ImageFormat::Gif, is(false, false)),
        ] {
            assert_eq!(Traits::of(&bytes(&image, format)), wanted, "{format:?} {:?}", image.color());
        }
        let mut webp = Vec::new();
        let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
        encoder.write_image(&[9; 36], 3, 3, ExtendedColorType::Rgba8).unwrap();
        assert!(Traits::of(&webp).alpha);
        assert_eq!(Traits::of(b"no image"), Traits::default());
    }

    #[test]
    fn colour_profiles_other_than_srgb_are_seen_in_every_format_that_has_them() {
        let pixels = [90; 27];
        let encoded = |profile: Vec<u8>| {
            let (mut png, mut webp, mut jpeg) = (Vec::new(), Vec::new(), Vec::new());
            let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
            encoder.set_icc_profile(profile.clone()).unwrap();
            encoder.write_image(&pixels, 3, 3, ExtendedColorType::Rgb8).unwrap();
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
            encoder.set_icc_profile(profile.clone()).unwrap();
            encoder.write_image(&pixels, 3, 3, ExtendedColorType::Rgb8).unwrap();
            let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
            encoder.set_icc_profile(profile).unwrap();
            encoder.write_image(&pixels, 3, 3, ExtendedColorType::Rgb8).unwrap();
            [png, webp, jpeg].map(|bytes| Traits::of(&bytes))
        };
        let has = |profile| Traits { profile, ..Traits::default() };
        assert_eq!(encoded(profile(b"RGB ", &P3)), [has(true); 3]);
        assert_eq!(encoded(profile(b"GRAY", &[])), [has(false); 3]);
        let said = Traits::describe(&[("a.jpg", has(true)), ("b.jpg", has(true))], Orientation::Exif);
        assert!(said[0].starts_with("2 images have a colour profile other than sRGB"), "{said:?}");
    }

    #[test]
    fn each_trait_is_counted_in_a_sentence_of_its_own() {
        let both = Traits { bits: true, alpha: true, ..Traits::default() };
        let said = Traits::describe(&[("a.png", both), ("b.png", Traits { alpha: false, ..both })], Orientation::Exif);
        assert!(
            said[0].starts_with("2 images have more than 8 bits a channel") && said[0].contains("a.png"),
            "{said:?}"
        );
        assert!(said[1].starts_with("1 image has a channel of transparency"), "{said:?}");
        assert_eq!(said.len(), 2);
        let turned = [("a.jpg", Traits { turned: true, ..Traits::default() })];
        assert!(
            Traits::describe(&turned, Orientation::Exif)[0]
                .starts_with("1 image is turned as the EXIF tag says: a.jpg")
        );
        assert!(
            Traits::describe(&turned, Orientation::Stored)[0].contains("which is not followed (--orientation stored)")
        );
    }
}
