//! Class = the folder that an image lies in, named by its whole relative path (so `alphabet/character` is one class).

use std::collections::BTreeMap;

use super::{Listed, Listing, Role, Source, Split, is_image};
use crate::error::{Error, Result};

pub(super) fn list(source: &Source) -> Result<Listing> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let images: Vec<&String> = source.names().iter().filter(|n| is_image(n)).collect();
    for name in &images {
        let Some((folder, _)) = name.rsplit_once('/') else {
            return Err(Error::data(
                source.path(),
                format!(
                    "{name} lies in no class folder; wanted CLASS/IMAGE (a list of paths and labels goes by --format list)"
                ),
            ));
        };
        let next = numbers.len() + 1;
        numbers.entry(folder).or_insert(next);
    }
    // Numbers follow the sorted names, so that `--classes 1-10` means the same on every machine.
    for (at, number) in numbers.values_mut().enumerate() {
        *number = at + 1;
    }
    let class_of = |name: &str| numbers[name.rsplit_once('/').map_or("", |(folder, _)| folder)];
    let listed =
        images.iter().map(|n| Listed { name: (*n).clone(), class: class_of(n), train: None, role: Role::Both });
    Ok(Listing {
        images: listed.collect(),
        class_count: numbers.len(),
        class_names: numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect(),
        protocol: Split::All,
    })
}
