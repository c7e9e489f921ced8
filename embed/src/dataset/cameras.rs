//! Cameras of a list with queries and a gallery: a column of them, and names of images that tell them.

use std::collections::{BTreeSet, HashMap};

use super::market;
use super::slips::plain_number;
use crate::delimited::Table;
use crate::error::Result;

/// What headers call the camera of an image.
const CAMERA: [&str; 5] = ["camera", "cam", "camid", "camera_id", "cam_id"];

/// The column of cameras, where there is one.
pub(super) fn column(table: &Table) -> Result<Option<usize>> {
    table.column(&CAMERA)
}

/// Cameras by number, in the order of what they are called; none of an empty field.
pub(super) fn numbered(words: &[String]) -> Vec<Option<u32>> {
    // `1`, `01` and `1.0` are one.
    let words: Vec<String> = words.iter().map(|word| plain_number(word).unwrap_or_else(|| word.clone())).collect();
    let known: BTreeSet<&String> = words.iter().filter(|word| !word.is_empty()).collect();
    let numbers: HashMap<&String, u32> = known.into_iter().zip(0..).collect();
    words.iter().map(|word| numbers.get(word).copied()).collect()
}

/// What is said of a column of cameras that is read.
pub(super) fn said(column: &str) -> String {
    format!(
        "images of one class and one camera (column {column}) are not counted as each other's neighbours by Recall@K and the like, as on \
         Market-1501; another name for the column has them counted"
    )
}

/// What is said of images that are called PERSON_cCAMERA... as Market-1501's are, each label being one of these persons: their cameras
/// play no part. `images` are names and labels.
pub(super) fn untold<'n>(images: impl Iterator<Item = (&'n str, &'n str)>) -> Option<String> {
    let people: Option<Vec<_>> = images.map(|(name, label)| Some((market::person(name)?, label))).collect();
    let people = people.filter(|people| !people.is_empty() && market::are_one_to_one(people.iter().copied()));
    people.map(|_| {
        "images are called PERSON_cCAMERA... as Market-1501's are, and images of the query's camera count here, which they do not by its rule; \
         a column 'camera', or folders query/ and gallery/ in place of the list, have it"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_have_numbers_and_names_of_market_are_noticed() {
        let words = ["c2", "c1", "", "c2"].map(str::to_owned);
        assert_eq!(numbered(&words), [Some(1), Some(0), None, Some(1)]);
        let words = ["1", "1.0", "01", "2.0", "2"].map(str::to_owned);
        assert_eq!(numbered(&words), [0, 0, 0, 1, 1].map(Some));
        let of = |images: &[(&'static str, &'static str)]| untold(images.iter().copied()).is_some();
        assert!(of(&[("q/0001_c1_1.jpg", "Ann"), ("g/0001_c2_1.jpg", "Ann"), ("0002_c1_1.jpg", "Bob")]));
        assert!(!of(&[("0001_c1_1.jpg", "Ann"), ("0001_c2_1.jpg", "Bob")]), "labels of something else");
        assert!(!of(&[("0001_c1_1.jpg", "Ann"), ("a.jpg", "Bob")]) && !of(&[]));
    }
}
