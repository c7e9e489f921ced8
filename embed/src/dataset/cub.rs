//! CUB-200-2011 (Wah et al. 2011): `images.txt`, `image_class_labels.txt`, `classes.txt`, `train_test_split.txt`,
//! each line an id and a value; images lie under `images/`. Metric learning measures the second half of the classes.

use std::collections::{BTreeMap, HashMap};

use super::{Listed, Listing, Role, Source, Split, lines, number};
use crate::error::{Error, Result};

pub(super) fn list(source: &Source) -> Result<Listing> {
    let root = source
        .folder_of("images.txt")
        .ok_or_else(|| Error::data(source.path(), "format cub wants images.txt, which is not there"))?;
    let images = pairs(source, &format!("{root}images.txt"))?;
    let labels: HashMap<usize, String> = pairs(source, &format!("{root}image_class_labels.txt"))?.into_iter().collect();
    let class_names: BTreeMap<usize, String> = pairs(source, &format!("{root}classes.txt"))?.into_iter().collect();
    let split_file = format!("{root}train_test_split.txt");
    let parts: Option<HashMap<usize, String>> =
        if source.contains(&split_file) { Some(pairs(source, &split_file)?.into_iter().collect()) } else { None };
    if labels.len() != images.len() {
        return Err(Error::data(
            source.path().join(&root),
            format!("images.txt has {} lines and image_class_labels.txt {}", images.len(), labels.len()),
        ));
    }
    let labels_file = format!("{root}image_class_labels.txt");
    let mut listed = Vec::with_capacity(images.len());
    for (id, name) in images {
        let label = labels
            .get(&id)
            .ok_or_else(|| Error::data(source.path().join(&labels_file), format!("image {id} has no label")))?;
        let class = number(source, &labels_file, id, label)?;
        let train = match &parts {
            None => None,
            Some(parts) => {
                let part = parts
                    .get(&id)
                    .ok_or_else(|| Error::data(source.path().join(&split_file), format!("image {id} has no part")))?;
                Some(part == "1")
            }
        };
        listed.push(Listed { name: format!("{root}images/{name}"), class, train, role: Role::Both });
    }
    let class_count = class_names.len();
    Ok(Listing { images: listed, class_names, class_count, protocol: Split::ZeroShot })
}

/// Lines of `id value`, in file order.
fn pairs(source: &Source, file: &str) -> Result<Vec<(usize, String)>> {
    let text = source.read_text(file)?;
    let pair = |(at, line): (usize, &str)| {
        let (id, value) = line.split_once(char::is_whitespace).ok_or_else(|| {
            Error::data(source.path().join(file), format!("line {at}: wanted 'id value', found '{line}'"))
        })?;
        Ok((number(source, file, at, id)?, value.trim().to_owned()))
    };
    lines(&text).map(pair).collect()
}
