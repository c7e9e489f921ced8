//! Queries that the gallery holds, too, by name: what finds itself says nothing, so each is left out of its own search.

use std::collections::{HashMap, HashSet};

use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::Row;

/// Queries that the gallery holds, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// How many they are.
    pub(super) queries: usize,
    /// Those whose class the gallery has nothing else of.
    pub(super) alone: usize,
}

/// Makes each query apart from the rows of the gallery that have its name, as copies are ([`Row::image`]).
pub(super) fn set_apart(rows: &mut [Row]) -> Own {
    let names_of = |role: Role| rows.iter().filter(move |row| row.role == role).map(|row| row.name.as_str());
    let gallery: HashSet<&str> = names_of(Role::Gallery).collect();
    let both: HashSet<String> =
        names_of(Role::Query).filter(|name| gallery.contains(name)).map(str::to_owned).collect();
    if both.is_empty() {
        return Own::default();
    }
    let mut next = rows.iter().filter_map(|row| row.image).max().map_or(0, |most| most + 1);
    let mut numbers: HashMap<String, u32> = HashMap::new();
    // Of rows of one name that were numbered apart, copies of each are copies of all.
    let mut same: HashMap<u32, u32> = HashMap::new();
    for row in rows.iter_mut().filter(|row| both.contains(&row.name)) {
        let own = row.image.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let number = *numbers.entry(row.name.clone()).or_insert(own);
        if row.image.is_some_and(|image| image != number) {
            same.insert(own, number);
        }
        row.image = Some(number);
    }
    rows.iter_mut().for_each(|row| row.image = row.image.map(|image| same.get(&image).copied().unwrap_or(image)));
    let mut classes: HashMap<usize, HashSet<&str>> = HashMap::new();
    for row in rows.iter().filter(|row| row.role == Role::Gallery) {
        classes.entry(row.class).or_default().insert(&row.name);
    }
    let is_alone = |row: &Row| classes.get(&row.class).is_none_or(|names| names.iter().all(|&name| name == row.name));
    let queries = || rows.iter().filter(|row| row.role == Role::Query && both.contains(&row.name));
    Own { queries: queries().count(), alone: queries().filter(|row| is_alone(row)).count() }
}

impl Own {
    /// What is to be said of them: `in_words` of them are `there`.
    pub(super) fn describe(self, in_words: &str, there: &str) -> Option<String> {
        let Self { queries, alone } = self;
        let without = match alone {
            0 => String::new(),
            _ => format!("; {alone} of them have no other of their class there, and none to find"),
        };
        (queries > 0).then(|| format!("{queries} {in_words} {there}, too: each is left out of its own search{without}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, class: usize, role: Role, image: Option<u32>) -> Row {
        Row { image, ..Row::new(name, class, role) }
    }

    #[test]
    fn what_is_query_and_in_the_gallery_is_apart_from_itself() {
        use Role::{Gallery, Query};
        let mut rows = vec![
            row("a", 0, Query, None),
            row("b", 1, Query, Some(4)),
            row("c", 2, Query, None),
            row("d", 1, Gallery, Some(5)),
            row("a", 0, Gallery, None),
            row("b", 1, Gallery, Some(5)),
            row("e", 2, Gallery, None),
        ];
        assert_eq!(set_apart(&mut rows), Own { queries: 2, alone: 1 });
        let images = |rows: &[Row]| rows.iter().map(|row| row.image).collect::<Vec<_>>();
        let wanted = [Some(6), Some(4), None, Some(4), Some(6), Some(4), None];
        assert_eq!(images(&rows), wanted);
        assert_eq!(set_apart(&mut rows).queries, 2);
        assert_eq!(images(&rows), wanted, "again");
        assert_eq!(set_apart(&mut [row("a", 0, Query, None), row("b", 0, Gallery, None)]), Own::default());
        assert_eq!(set_apart(&mut [row("a", 0, Role::Both, None), row("a", 0, Role::Both, None)]), Own::default());
    }
}
