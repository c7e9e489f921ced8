//! Finds the images that a list names among those that are there: by path, with or without ending, and wherever the
//! data set's folder begins.

use std::collections::HashMap;

use super::is_image;
use super::source::names::{composed, tidy};

/// Names of images that are there, by what lists call them.
#[derive(Debug)]
pub struct Finder<'a> {
    names: &'a [String],
    /// The same with accents composed (Unicode NFC), as lists and file systems may spell them either way.
    composed: Vec<String>,
    /// Positions by file name without ending.
    by_stem: HashMap<String, Vec<usize>>,
}

impl<'a> Finder<'a> {
    /// Over the names of a data set; files that are no images are left out.
    pub fn new(names: &'a [String]) -> Self {
        let composed: Vec<String> = names.iter().map(|name| composed(name)).collect();
        let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, name) in composed.iter().enumerate().filter(|(_, name)| is_image(name)) {
            by_stem.entry(stem(last(name)).to_owned()).or_default().push(at);
        }
        Self { names, composed, by_stem }
    }

    /// The position of the image that a list calls `wanted`: the same path, else the one path that ends with it (another
    /// ending of the file will do), else the one file of that name in any folder. `Ok(None)` where there is none, or where
    /// several files have that name and the folder that the list names fits none of them.
    ///
    /// # Errors
    /// A sentence naming two images that fit equally well.
    pub fn find(&self, wanted: &str) -> Result<Option<usize>, String> {
        let wanted = &composed(&tidy(wanted));
        let Some(found) = self.by_stem.get(stem(last(wanted))) else { return Ok(None) };
        let key = if is_image(wanted) { stem(wanted) } else { wanted };
        let wanted = wanted.as_str();
        let within = |name: &str| name == key || name.strip_suffix(key).is_some_and(|rest| rest.ends_with('/'));
        let tiers: [&dyn Fn(&str) -> bool; 5] = [
            &|name| name == wanted,
            &|name| stem(name) == key,
            &|name| name.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/')),
            &|name| within(stem(name)),
            &|_| true,
        ];
        for (tier, fits) in tiers.into_iter().enumerate() {
            let mut fitting = found.iter().copied().filter(|&at| fits(&self.composed[at]));
            if let Some(first) = fitting.next() {
                return match fitting.next() {
                    None => Ok(Some(first)),
                    Some(_) if tier == 4 && wanted.contains('/') => Ok(None),
                    Some(second) => Err(format!("{wanted} may be {} or {}", self.names[first], self.names[second])),
                };
            }
        }
        Ok(None)
    }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A path without the ending of an image file; other endings are part of the name.
fn stem(name: &str) -> &str {
    if is_image(name) { name.rsplit_once('.').map_or(name, |(stem, _)| stem) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_path_ending_or_name() {
        let names: Vec<String> =
            ["lfw/A_B/A_B_0001.png", "lfw/A_B/A_B_0002.jpg", "x/1.jpg", "y/1.jpg", "J.R_0001.jpg", "pairs.txt"]
                .map(String::from)
                .into();
        let finder = Finder::new(&names);
        assert_eq!(finder.find("A_B/A_B_0001"), Ok(Some(0)));
        assert_eq!(finder.find("A_B/A_B_0001.jpg"), Ok(Some(0)));
        assert_eq!(finder.find("A_B_0002.jpg"), Ok(Some(1)));
        assert_eq!(finder.find("x/1.jpg"), Ok(Some(2)));
        assert_eq!(finder.find("J.R/J.R_0001"), Ok(Some(4)));
        assert_eq!(finder.find("A_B/A_B_0003"), Ok(None));
        assert_eq!(finder.find("pairs.txt"), Ok(None));
        assert_eq!(finder.find("./x\\1.jpg"), Ok(Some(2)));
        let decomposed = ["Jose\u{301}/Jose\u{301}_0001.jpg".to_owned()];
        assert_eq!(Finder::new(&decomposed).find("Jos\u{e9}/Jos\u{e9}_0001"), Ok(Some(0)));
        assert!(finder.find("1.jpg").unwrap_err().contains("x/1.jpg or y/1.jpg"));
    }
}
