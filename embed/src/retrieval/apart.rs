//! Who searches whom, and which images are no neighbours of a query: itself, copies of it ([`Row::image`]), and images of its
//! class by its camera ([`Row::camera`]).

use std::collections::HashMap;

use crate::dataset::Role;
use crate::embeddings::Row;
use crate::error::{Error, Result};

/// Queries and gallery of a search, checked to be measurable.
#[derive(Debug)]
pub(super) struct Sides {
    /// Rows that search.
    pub queries: Vec<usize>,
    /// Rows that are searched.
    pub gallery: Vec<usize>,
    /// Whether both are the same rows, each left out of its own neighbours.
    pub together: bool,
    /// For each query, how many rows of the gallery it should find.
    pub relevant: Vec<usize>,
    /// The most rows of the gallery that any query passes over; itself aside, where it is left out by the search.
    pub passed_over: usize,
}

/// Whether a row of the gallery, of the same rows in memory, is no neighbour of a query.
pub(super) fn apart(query: &Row, other: &Row) -> bool {
    let copy = std::ptr::eq(query, other) || query.image.is_some() && query.image == other.image;
    copy || (query.camera.is_some() && query.camera == other.camera && query.class == other.class)
}

/// Checks what rows alone show, before anything is embedded: both sides are there, at least two classes, a query with a
/// match, and K within the gallery.
///
/// # Errors
/// [`Error::Measure`] naming what is missing.
pub fn check(rows: &[Row], ks: &[usize]) -> Result<()> {
    Sides::new(rows, ks).map(drop)
}

/// How many others each query has to find its class among, at most: K cannot be greater.
pub fn deepest(rows: &[Row]) -> usize {
    let gallery = rows.iter().filter(|row| row.role != Role::Query).count();
    gallery - usize::from(gallery > 0 && rows.iter().any(|row| row.role == Role::Both))
}

/// How often the gallery holds rows that share something.
#[derive(Default)]
struct Counts {
    class: HashMap<usize, usize>,
    image: HashMap<u32, usize>,
    image_class: HashMap<(u32, usize), usize>,
    class_camera: HashMap<(usize, u32), usize>,
    all: HashMap<(u32, usize, u32), usize>,
}

impl Counts {
    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut counts = Self::default();
        for &Row { class, image, camera, .. } in rows {
            *counts.class.entry(class).or_default() += 1;
            if let Some(image) = image {
                *counts.image.entry(image).or_default() += 1;
                *counts.image_class.entry((image, class)).or_default() += 1;
            }
            if let Some(camera) = camera {
                *counts.class_camera.entry((class, camera)).or_default() += 1;
            }
            if let (Some(image), Some(camera)) = (image, camera) {
                *counts.all.entry((image, class, camera)).or_default() += 1;
            }
        }
        counts
    }

    /// Rows apart from this one in all, and those of its class; a row of the gallery itself is among them where it has
    /// copies or a camera.
    fn apart(&self, row: &Row) -> (usize, usize) {
        let count = |found: Option<&usize>| found.copied().unwrap_or(0);
        let camera = row.camera.map_or(0, |camera| count(self.class_camera.get(&(row.class, camera))));
        let (image, image_class) = row
            .image
            .map_or((0, 0), |image| (count(self.image.get(&image)), count(self.image_class.get(&(image, row.class)))));
        let both = row.image.zip(row.camera).map_or(0, |(i, c)| count(self.all.get(&(i, row.class, c))));
        (image + camera - both, image_class + camera - both)
    }
}

impl Sides {
    /// # Errors
    /// As [`check`].
    pub(super) fn new(rows: &[Row], ks: &[usize]) -> Result<Self> {
        let pick = |out: Role| -> Vec<usize> { (0..rows.len()).filter(|&at| rows[at].role != out).collect() };
        let (queries, gallery) = (pick(Role::Gallery), pick(Role::Query));
        let together = queries == gallery;
        if queries.is_empty() || gallery.is_empty() {
            return Err(Error::Measure(format!(
                "{} query and {} gallery images; wanted some of both: see --split, or the roles in the list",
                queries.len(),
                gallery.len()
            )));
        }
        let counts = Counts::of(gallery.iter().map(|&at| &rows[at]));
        let present = counts.class.len();
        if present < 2 {
            return Err(Error::Measure(format!(
                "the gallery holds {present} class, so that whatever is found is right; wanted at least 2: see --classes, \
                 --split and --label"
            )));
        }
        let others = deepest(rows);
        if let Some(k) = ks.iter().find(|&&k| k > others) {
            return Err(Error::Measure(format!(
                "--k {k}: each query has only {others} other images to be found among; wanted at most that"
            )));
        }
        let (mut relevant, mut passed_over) = (Vec::with_capacity(queries.len()), 0);
        for row in queries.iter().map(|&at| &rows[at]) {
            let (all, same_class) = counts.apart(row);
            let own = usize::from(row.role == Role::Both && row.image.is_none() && row.camera.is_none());
            relevant.push(counts.class.get(&row.class).copied().unwrap_or(0) - same_class - own);
            passed_over = passed_over.max(all + if together { 0 } else { own });
        }
        if relevant.iter().all(|&r| r == 0) {
            return Err(Error::Measure(format!(
                "none of the {} queries has another image of its class that counts (copies do not); wanted one that has: is it \
                 the right column of labels (--label), or a part without the others (--split, --classes)?",
                queries.len()
            )));
        }
        Ok(Self { queries, gallery, together, relevant, passed_over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: usize, image: Option<u32>, camera: Option<u32>) -> Row {
        Row { image, camera, ..Row::new("", class, Role::Both) }
    }

    #[test]
    fn counts_agree_with_looking_at_every_pair() {
        for roles in [[Role::Both; 3], [Role::Query, Role::Gallery, Role::Both]] {
            let rows: Vec<Row> = (0..60_usize)
                .map(|n| {
                    let image = (n % 7 < 3).then(|| u32::try_from(n % 5).unwrap());
                    let camera = (n % 4 < 3).then(|| u32::try_from(n % 3).unwrap());
                    Row { role: roles[n % 3], ..row(n % 6 % 4, image, camera) }
                })
                .collect();
            let sides = Sides::new(&rows, &[1]).unwrap();
            let mut most = 0;
            for (&at, &relevant) in sides.queries.iter().zip(&sides.relevant) {
                let gallery = || sides.gallery.iter().map(|&other| &rows[other]);
                let found = |other: &&Row| !apart(&rows[at], other) && other.class == rows[at].class;
                assert_eq!(relevant, gallery().filter(found).count(), "{at}");
                most = most.max(gallery().filter(|other| apart(&rows[at], other)).count());
            }
            assert_eq!(sides.queries.len(), if sides.together { 60 } else { 40 });
            assert_eq!(sides.passed_over, most);
        }
    }
}
