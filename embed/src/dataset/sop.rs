//! Stanford Online Products (Oh Song et al. 2016): `Ebay_train.txt` and `Ebay_test.txt`, a header line and then
//! `image_id class_id super_class_id path`. Papers measure the test part.

use std::collections::BTreeMap;

use super::{Listed, Listing, Role, Source, Split, lines, number};
use crate::error::{Error, Result};

pub(super) fn list(source: &Source) -> Result<Listing> {
    let root = source
        .folder_of("Ebay_test.txt")
        .ok_or_else(|| Error::data(source.path(), "format sop wants Ebay_test.txt, which is not there"))?;
    let mut images = Vec::new();
    for (file, train) in [("Ebay_train.txt", true), ("Ebay_test.txt", false)] {
        let file = format!("{root}{file}");
        if train && !source.contains(&file) {
            continue;
        }
        let text = source.read_text(&file)?;
        for (at, line) in lines(&text) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if at == 1 && fields.first() == Some(&"image_id") {
                continue;
            }
            let &[_, class, _, path] = fields.as_slice() else {
                return Err(Error::data(
                    source.path().join(&file),
                    format!("line {at}: wanted 'image_id class_id super_class_id path', found '{line}'"),
                ));
            };
            let class = number(source, &file, at, class)?;
            images.push(Listed { name: format!("{root}{path}"), class, train: Some(train), role: Role::Both });
        }
    }
    let class_count = images.iter().map(|i| i.class).max().unwrap_or(0);
    Ok(Listing { images, class_names: BTreeMap::new(), class_count, protocol: Split::Test })
}
