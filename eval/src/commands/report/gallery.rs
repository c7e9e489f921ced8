//! Rows of images under a heading.

use serde::Serialize;

use super::thumbnails::Pictures;

/// How the images of a row belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Arranged {
    /// A query and what was found.
    Found,
    /// A few; several rows stand beside each other.
    Few,
    /// Two and two.
    Twos,
}

/// A heading, and rows of images.
#[derive(Debug, Serialize)]
pub(super) struct Gallery {
    pub(super) caption: String,
    pub(super) note: String,
    pub(super) arranged: Arranged,
    pub(super) rows: Vec<Row>,
}

/// Images side by side.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What it is of; nothing, where the gallery says it.
    pub(super) caption: String,
    pub(super) images: Vec<Image>,
}

impl Row {
    pub(super) fn of(images: Vec<Image>) -> Self {
        Self { caption: String::new(), images }
    }
}

/// An image with what is said of it.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    picture: Option<String>,
    /// The picture is of another file than was measured.
    other: bool,
    name: String,
    class: String,
    /// The class, to be shown.
    label: String,
    /// `query`, `right`, `wrong`, or nothing.
    kind: &'static str,
    score: Option<String>,
}

impl Image {
    pub(super) fn new(
        name: &str,
        class: &str,
        kind: &'static str,
        score: Option<f64>,
        from: &mut Option<Pictures>,
    ) -> Self {
        let picture = from.as_mut().and_then(|pictures| pictures.get(name));
        Self {
            other: picture.as_ref().is_some_and(|picture| picture.other),
            picture: picture.map(|picture| picture.uri),
            name: name.into(),
            class: class.into(),
            label: cut(class),
            kind,
            score: score.map(|s| format!("{s:.3}")),
        }
    }
}

/// A long name without its middle: ends tell names apart as often as beginnings do.
pub(super) fn cut(name: &str) -> String {
    const KEPT: usize = 11;
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= 2 * KEPT + 1 {
        return name.to_owned();
    }
    let part = |letters: &[char]| letters.iter().collect::<String>();
    format!("{}\u{2026}{}", part(&letters[..KEPT]), part(&letters[letters.len() - KEPT..]))
}
