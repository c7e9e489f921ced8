//! Rows of images under a heading.

use serde::Serialize;

use super::thumbnails::Pictures;
use crate::plot::scale::digits;

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
    /// What is said of all of them together.
    marks: Vec<Mark>,
    /// Whether they are shown where another threshold than the page's first is chosen.
    decided: Option<Decided>,
}

/// A pair that a threshold decides.
#[derive(Debug, Serialize)]
struct Decided {
    same: bool,
    score: f64,
    /// Whether the first threshold decides it wrongly.
    is_wrong: bool,
}

/// A score, and whether what was decided by it is right.
#[derive(Debug, Serialize)]
pub(super) struct Mark {
    right: bool,
    score: String,
    /// The run; nothing, where the page says it.
    of: String,
}

impl Mark {
    pub(super) fn new(right: bool, score: f64, of: &str) -> Self {
        Self { right, score: worded(score), of: of.into() }
    }
}

impl Row {
    pub(super) fn of(images: Vec<Image>) -> Self {
        Self::under(String::new(), images)
    }

    pub(super) fn under(caption: String, images: Vec<Image>) -> Self {
        Self { caption, images: told_apart(images), marks: Vec::new(), decided: None }
    }

    /// Images that were judged together.
    pub(super) fn judged(images: Vec<Image>, marks: Vec<Mark>) -> Self {
        Self { marks, ..Self::of(images) }
    }

    /// A pair that is decided by a threshold, which may be moved; `is_wrong` at first.
    pub(super) fn decided(images: Vec<Image>, same: bool, score: f64, is_wrong: bool) -> Self {
        let decided = Some(Decided { same, score, is_wrong });
        Self { decided, ..Self::judged(images, vec![Mark::new(false, score, "")]) }
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
            score: score.map(worded),
        }
    }
}

/// Three digits; more where these would be those of 1, as of embeddings that nearly all point one way.
fn worded(score: f64) -> String {
    digits(score, 3)
}

/// Classes that are cut alike, and are not one, are shown whole.
fn told_apart(mut images: Vec<Image>) -> Vec<Image> {
    let names: Vec<(String, String)> = images.iter().map(|image| (image.label.clone(), image.class.clone())).collect();
    for image in &mut images {
        if names.iter().any(|(label, class)| *label == image.label && *class != image.class) {
            image.label.clone_from(&image.class);
        }
    }
    images
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_are_not_shown_alike() {
        let name = |middle: &str| format!("{}{middle}{}", "a".repeat(20), "z".repeat(20));
        let image = |class: &str| Image::new("i", class, "", None, &mut None);
        let labels = |classes: [&str; 3]| {
            Row::of(classes.map(image).into()).images.into_iter().map(|i| i.label).collect::<Vec<_>>()
        };
        let (x, y) = (name("x"), name("y"));
        assert_eq!(labels([&x, &x, "b"]), ["aaaaaaaaaaa\u{2026}zzzzzzzzzzz", "aaaaaaaaaaa\u{2026}zzzzzzzzzzz", "b"]);
        assert_eq!(labels([&x, &y, "b"]), [x.as_str(), &y, "b"]);
    }

    #[test]
    fn scores_that_are_nearly_1_are_told_apart() {
        assert_eq!(
            [0.4217, 1.0, 0.9994, 0.99996, -0.99996, 70.0, 0.999_999_66].map(worded),
            ["0.422", "1.000", "0.999", "0.999960", "-0.999960", "70.000", "0.99999966"]
        );
    }
}
