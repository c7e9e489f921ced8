//! In-Shop Clothes Retrieval (Liu et al. 2016): `list_eval_partition.txt` holds a count, a header, and lines of
//! `image_name item_id evaluation_status`, the status being train, query or gallery. Queries search the gallery.

use std::collections::BTreeMap;

use super::{Listed, Listing, Role, Source, Split, lines, number};
use crate::error::{Error, Result};

const FILE: &str = "list_eval_partition.txt";

pub(super) fn list(source: &Source) -> Result<Listing> {
    let holder = source
        .folder_of(FILE)
        .ok_or_else(|| Error::data(source.path(), format!("format inshop wants {FILE}, which is not there")))?;
    let file = format!("{holder}{FILE}");
    let here = || source.path().join(&file);
    let text = source.read_text(&file)?;
    let mut rows = lines(&text);
    let (_, count) = rows.next().ok_or_else(|| Error::data(here(), "is empty"))?;
    let count = number(source, &file, 1, count)?;
    let mut images = Vec::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut prefix = None;
    for (at, line) in rows.skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[name, item, status] = fields.as_slice() else {
            return Err(Error::data(
                here(),
                format!("line {at}: wanted 'image_name item_id evaluation_status', found '{line}'"),
            ));
        };
        let (train, role) = match status {
            "train" => (true, Role::Both),
            "query" => (false, Role::Query),
            "gallery" => (false, Role::Gallery),
            other => {
                return Err(Error::data(
                    here(),
                    format!("line {at}: status '{other}' is none of train, query, gallery"),
                ));
            }
        };
        // The data set is handed out with its images beside the list or in the folder Img, and the list in Eval.
        let prefix = prefix.get_or_insert_with(|| image_folder(source, &holder, name));
        let next = numbers.len() + 1;
        let class = *numbers.entry(item.to_owned()).or_insert(next);
        images.push(Listed { name: format!("{prefix}{name}"), class, train: Some(train), role });
    }
    if images.len() != count {
        return Err(Error::data(here(), format!("its first line says {count} images, {} follow", images.len())));
    }
    let class_names = numbers.iter().map(|(name, &number)| (number, name.clone())).collect();
    Ok(Listing { images, class_count: numbers.len(), class_names, protocol: Split::Test })
}

fn image_folder(source: &Source, holder: &str, name: &str) -> String {
    let up = holder.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(up, _)| format!("{up}/"));
    let places = [holder.to_owned(), format!("{holder}Img/"), up.clone(), format!("{up}Img/")];
    places.into_iter().find(|place| source.contains(&format!("{place}{name}"))).unwrap_or_else(|| holder.to_owned())
}
