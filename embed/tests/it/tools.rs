//! Files that tests make; the tests of `pdloss-eval` use them, too.
#![allow(dead_code)] // each program uses some

use std::path::{Path, PathBuf};

/// The repository's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Writes a file, making its folders.
pub(crate) fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    std::fs::write(path, content).expect("written");
}

/// A small PNG of one colour.
pub(crate) fn png(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 8, image::Rgb(color))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("encoded");
    bytes.into_inner()
}

/// A folder of `classes` x `images` small images: class `c` image `i` in `c/i.png`, each class near a colour of its own.
pub(crate) fn colored_folder(root: &Path, classes: u8, images: u8) {
    for class in 0..classes {
        for number in 0..images {
            let color = [class * 40, 255 - class * 40, number];
            put(root.join(format!("{class}/{number}.png")), png(color));
        }
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
