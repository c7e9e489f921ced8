//! Links inside archives: hard ones and symbolic ones, to files and to folders, followed or refused by name.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::names::{is_hidden, several};
use crate::dataset::is_image;
use crate::error::{Error, Result};

/// How many links may follow one another.
const LONGEST_CHAIN: usize = 40;

/// A member that is another one.
pub(super) struct Link {
    pub name: String,
    /// The other, seen from the archive's root; `None` where it lies outside.
    pub target: Option<String>,
    /// As the archive writes it.
    pub written: String,
}

/// Adds what links lead to under the links' names. Of those that lead nowhere the ones that are called like images, and what is written in
/// them; and a sentence on the others.
///
/// # Errors
/// [`Error::Data`] where a member is there twice.
pub(super) fn follow<T: Copy>(
    path: &Path,
    members: &mut HashMap<String, T>,
    links: Vec<Link>,
) -> Result<(HashMap<String, String>, Option<String>)> {
    let mut seen: HashSet<&str> = HashSet::new();
    if let Some(link) = links.iter().find(|link| members.contains_key(&link.name) || !seen.insert(&link.name)) {
        return Err(Error::data(path, format!("holds {} twice; wanted each member once", link.name)));
    }
    let mut open = links;
    for _ in 0..LONGEST_CHAIN {
        let before = open.len();
        // Of one round all see the same members, so that a link to a folder takes what links of the round before put there.
        let mut found: Vec<(String, T)> = Vec::new();
        open.retain(|link| {
            let Some(target) = &link.target else { return true };
            let known = found.len();
            match members.get(target) {
                Some(&at) => found.push((link.name.clone(), at)),
                None => {
                    let folder = format!("{target}/");
                    let inside = members.iter().filter_map(|(name, &at)| Some((name.strip_prefix(&folder)?, at)));
                    found.extend(inside.map(|(rest, at)| (format!("{}/{rest}", link.name), at)));
                }
            }
            found.len() == known
        });
        members.extend(found);
        if open.is_empty() || open.len() == before {
            break;
        }
    }
    open.retain(|link| !is_hidden(&link.name));
    let (images, others): (Vec<Link>, Vec<Link>) = open.into_iter().partition(|link| is_image(&link.name));
    let named = |link: &Link| format!("{} is a link to {}, which is not in the archive", link.name, link.written);
    let note = (!others.is_empty()).then(|| {
        format!("passed over {} links that lead nowhere: {}", others.len(), several(others.iter().map(named)))
    });
    Ok((images.into_iter().map(|link| (link.name, link.written)).collect(), note))
}
