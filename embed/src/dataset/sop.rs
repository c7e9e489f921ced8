//! Stanford Online Products (Oh Song et al. 2016): `Ebay_train.txt` and `Ebay_test.txt`, a header line and then
//! `image_id class_id super_class_id path`. Papers measure the test part.

use std::collections::{BTreeMap, HashMap};

use super::part::Part;
use super::{Listed, Listing, Lists, Source, Split, number};
use crate::delimited::lines;
use crate::error::{Error, Result};

/// Its lists, each of one part.
const LISTS: [(&str, Part); 2] = [("Ebay_train.txt", Part::Train), ("Ebay_test.txt", Part::Test)];

/// The first line of each.
const HEADER: [&str; 4] = ["image_id", "class_id", "super_class_id", "path"];

pub(super) fn list(lists: &Lists<'_>) -> Result<Listing> {
    let source = lists.source;
    let (images, protocol) = match lists.given {
        Some(given) => {
            let part = LISTS.iter().find(|(file, _)| *file == given).map(|&(_, part)| part);
            (of_file(source, given, part)?, part.map_or(Split::All, Part::split))
        }
        None => {
            let root = source
                .folder_of("Ebay_test.txt")
                .ok_or_else(|| Error::data(source.path(), "format sop wants Ebay_test.txt, which is not there"))?;
            let mut images = Vec::new();
            for (file, part) in LISTS {
                let file = format!("{root}{file}");
                if part == Part::Train && !source.contains(&file) {
                    continue;
                }
                images.extend(of_file(source, &file, Some(part))?);
            }
            images.iter_mut().for_each(|image| image.name.insert_str(0, &root));
            (images, Split::Test)
        }
    };
    let class_count = images.iter().map(|i| i.class).max().unwrap_or(0);
    Ok(Listing { class_count, ..Listing::new(images, BTreeMap::new(), protocol) })
}

fn of_file(source: &Source, file: &str, part: Option<Part>) -> Result<Vec<Listed>> {
    let text = source.read_text(file)?;
    let wrong = |at: usize, problem: String| Error::data(source.path().join(file), format!("line {at}: {problem}"));
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut images = Vec::new();
    for (at, line) in lines(&text) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if at == 1 && fields.contains(&"image_id") {
            if fields != HEADER {
                let (wanted, found) = (HEADER.join(" "), fields.join(" "));
                return Err(wrong(at, format!("its columns are '{found}'; wanted '{wanted}', in this order")));
            }
            continue;
        }
        let &[id, class, _, path] = fields.as_slice() else {
            return Err(wrong(at, format!("wanted 'image_id class_id super_class_id path', found '{line}'")));
        };
        if let Some(before) = ids.insert(id, at) {
            return Err(wrong(at, format!("id {id} is there already, in line {before}; wanted each once")));
        }
        let class = number(source, file, at, class)?;
        images.push(Listed { part, line: Some(at), ..Listed::new(path.to_owned(), class) });
    }
    Ok(images)
}
