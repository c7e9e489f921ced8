//! What two data sets have in common by their images: by bytes, and by pixels, which are the same where an image was stored anew.

use std::collections::HashMap;

use pdloss_embed::Result;
use pdloss_embed::console::Progress;
use pdloss_embed::dataset::{Dataset, Item};
use pdloss_embed::digest::hex;
use pdloss_embed::preprocess::{Orientation, Preprocessor, decode};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::images::{Preparation, of_pixels};

/// Digests of files.
pub(crate) const BYTES: &str = "byte for byte";
/// Digests of pixels.
pub(crate) const PIXELS: &str = "pixel for pixel, in other files";

/// What stands for the digest of an image that cannot be read.
const UNREAD: [u8; 32] = [0; 32];

/// SHA-256 of the bytes of each image.
///
/// # Errors
/// Where one cannot be read, unless `skip_bad`: it is then left to whoever embeds it to say so.
pub(crate) fn digests(data: &Dataset, skip_bad: bool) -> Result<Vec<[u8; 32]>> {
    each(data, skip_bad, || (), |(), _, bytes| Ok(Sha256::digest(bytes).into()))
}

/// SHA-256 of the pixels of each image, made ready as those of a run are.
///
/// # Errors
/// As [`digests`], and where one cannot be decoded.
pub(crate) fn digests_of_pixels(data: &Dataset, preparation: &Preparation, skip_bad: bool) -> Result<Vec<[u8; 32]>> {
    let of_image =
        |preprocessor: &mut Preprocessor, name: &str, bytes: &[u8]| preparation.sha256(name, bytes, preprocessor);
    each(data, skip_bad, || preparation.preprocessor(), of_image)
}

/// SHA-256 of the pixels of each image as its file has them; what cannot be decoded is left to others.
///
/// # Errors
/// None.
pub(crate) fn digests_of_whole(data: &Dataset) -> Result<Vec<[u8; 32]>> {
    let of_image =
        |(): &mut (), name: &str, bytes: &[u8]| decode(name, bytes, Orientation::Stored).map(|image| of_pixels(&image));
    each(data, true, || (), of_image)
}

/// What `digest` makes of the name and the bytes of each image, and of what each thread has.
fn each<T>(
    data: &Dataset,
    skip_bad: bool,
    own: impl Fn() -> T + Sync + Send,
    digest: impl Fn(&mut T, &str, &[u8]) -> Result<[u8; 32]> + Sync,
) -> Result<Vec<[u8; 32]>> {
    let progress = Progress::new("comparing", "images", data.items.len());
    let of = |own: &mut T, item: &Item| {
        let found = data.source.read(&item.name).and_then(|bytes| digest(own, &item.name, &bytes));
        progress.advance(1);
        if skip_bad { Ok(found.unwrap_or(UNREAD)) } else { found }
    };
    let found = data.items.par_iter().map_init(own, of).collect();
    progress.finish();
    found
}

/// What the two parts have in common by the digests of their images, which are equal where images are so (`byte for byte`), in words.
pub(crate) fn shared_images(
    equal: &str,
    data: &Dataset,
    digests: &[[u8; 32]],
    validation: &Dataset,
    of_validation: &[[u8; 32]],
) -> Option<String> {
    let own: HashMap<&[u8; 32], &str> =
        digests.iter().zip(&data.items).map(|(digest, item)| (digest, item.name.as_str())).collect();
    let read = validation.items.iter().zip(of_validation).filter(|(_, digest)| **digest != UNREAD);
    let shared: Vec<(&str, &str, &[u8; 32])> =
        read.filter_map(|(item, digest)| Some((item.name.as_str(), *own.get(digest)?, digest))).collect();
    shared.first().map(|(name, trained, digest)| {
        let (count, of) = (shared.len(), validation.items.len());
        format!(
            "{count} of the {of} images to validate on are trained on, {equal}; the first is {name}, trained on as {trained} \
             (SHA-256 {})",
            hex(*digest)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::tests::data;

    #[test]
    fn what_is_shared_is_counted_by_image() {
        let (one, two) = (data(&[("a", 2), ("b", 1)], 0), data(&[("b", 1), ("c", 1)], 1));
        let of = |data: &Dataset| digests(data, false).unwrap();
        assert_eq!(of(&one)[2], <[u8; 32]>::from(Sha256::digest([0_u8, 2])));
        assert_eq!(shared_images(BYTES, &one, &of(&one), &two, &of(&two)), None);
        let again = data(&[("x", 1), ("y", 4)], 0);
        let words = shared_images(BYTES, &one, &of(&one), &again, &of(&again)).unwrap();
        assert!(words.contains("3 of the 5") && words.contains("x/0") && words.contains("a/0"), "{words}");
    }
}
