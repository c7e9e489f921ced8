//! Stanford Online Products (Oh Song et al. 2016): `Ebay_train.txt` and `Ebay_test.txt`, a header line and then
//! `image_id class_id super_class_id path`. Papers measure the test part.

use std::collections::{BTreeMap, HashMap};

use super::part::Part;
use super::{Listed, Listing, Source, Split, number};
use crate::delimited::lines;
use crate::error::{Error, Result};

pub(super) fn list(source: &Source) -> Result<Listing> {
    let root = source
        .folder_of("Ebay_test.txt")
        .ok_or_else(|| Error::data(source.path(), "format sop wants Ebay_test.txt, which is not there"))?;
    let mut images = Vec::new();
    for (file, part) in [("Ebay_train.txt", Part::Train), ("Ebay_test.txt", Part::Test)] {
        let file = format!("{root}{file}");
        if part == Part::Train && !source.contains(&file) {
            continue;
        }
        let text = source.read_text(&file)?;
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for (at, line) in lines(&text) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if at == 1 && fields.first() == Some(&"image_id") {
                continue;
            }
            let &[id, class, _, path] = fields.as_slice() else {
                return Err(Error::data(
                    source.path().join(&file),
                    format!("line {at}: wanted 'image_id class_id super_class_id path', found '{line}'"),
                ));
            };
            if let Some(before) = ids.insert(id, at) {
                return Err(Error::data(
                    source.path().join(&file),
                    format!("line {at}: id {id} is there already, in line {before}; wanted each once"),
                ));
            }
            let class = number(source, &file, at, class)?;
            let image = Listed::new(format!("{root}{path}"), class);
            images.push(Listed { part: Some(part), line: Some(at), ..image });
        }
    }
    let class_count = images.iter().map(|i| i.class).max().unwrap_or(0);
    Ok(Listing { class_count, ..Listing::new(images, BTreeMap::new(), Split::Test) })
}
