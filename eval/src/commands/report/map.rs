//! Maps of embeddings: the plane in which they are spread most, and a layout by t-SNE where the run has one, an image a point, coloured
//! by class. Maps of one kind and data set are turned onto the first, so that what has moved is what the model has moved; the page's
//! script shows what is pointed at.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Named;
use super::gallery::cut;
use super::thumbnails::Pictures;
use crate::metrics::projection::even;
use crate::plot::scale::percent;
use crate::runs::{Details, Map, Place};

/// Points of a map; of more images these are taken evenly.
const SHOWN: usize = 1500;
/// Of these so many have a picture.
const PICTURED: usize = 300;
/// A map's picture is as wide and as high as this, with a margin of [`MARGIN`].
const SIDE: f64 = 480.0;
const MARGIN: f64 = 12.0;

/// One run's map.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    caption: String,
    note: String,
    points: Vec<Point>,
    /// What the script shows of each point, as JSON that can stand in a page.
    reading: String,
    /// Which data the images are of: points of one name are one image where it is the same.
    data: String,
}

#[derive(Debug, Serialize)]
struct Point {
    x: String,
    y: String,
    /// Degrees on the circle of colours.
    hue: String,
}

#[derive(Serialize)]
struct Reading<'a> {
    name: &'a str,
    class: &'a str,
    /// Its picture, once for all maps of one data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    /// The picture is of another file than was measured.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    other: bool,
}

/// How places were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// In the plane of the first two principal components.
    Plane,
    Tsne,
}

/// The maps of all runs that have one. `pictures` are those of each run.
pub(super) fn all(runs: &[Named<'_>], pictures: &mut [Option<Pictures>]) -> Vec<Figure> {
    let mut first: HashMap<(Kind, &str), HashMap<&str, [f64; 2]>> = HashMap::new();
    let (mut figures, mut pictured) = (Vec::new(), HashSet::new());
    // Maps of one kind stand beside each other.
    for kind in [Kind::Plane, Kind::Tsne] {
        for (run, pictures) in runs.iter().zip(pictures.iter_mut()) {
            let Details::Retrieval(details) = &run.run.details else { continue };
            let Some(map) = &details.map else { continue };
            let place = |place: &Place| match kind {
                Kind::Plane => Some([place.x, place.y]),
                Kind::Tsne => place.tsne,
            };
            let (named, places): (Vec<&Place>, Vec<[f64; 2]>) =
                map.places.iter().filter_map(|of| Some((of, place(of)?))).unzip();
            if places.is_empty() {
                continue;
            }
            let places = match first.get(&(kind, run.data.as_str())) {
                Some(other) => onto(&places, &named, other),
                None => places,
            };
            let own = || named.iter().map(|place| place.name.as_str()).zip(places.iter().copied());
            first.entry((kind, run.data.as_str())).or_insert_with(|| own().collect());
            figures.push(figure(run, (kind, map), &named, &places, (pictures, &mut pictured)));
        }
    }
    figures
}

/// Turns and mirrors places about their mean so that they lie as near as can be to those of the same names (the orthogonal
/// Procrustes problem; of two dimensions the best turn has the angle of the summed products).
fn onto(places: &[[f64; 2]], named: &[&Place], others: &HashMap<&str, [f64; 2]>) -> Vec<[f64; 2]> {
    let pairs = || places.iter().zip(named).filter_map(|(at, place)| Some((*at, *others.get(place.name.as_str())?)));
    let turn = |mirror: f64| {
        let sums = pairs().map(|([x, y], [a, b])| (x * a + mirror * y * b, x * b - mirror * y * a));
        sums.fold((0.0, 0.0), |(cos, sin), (c, s)| (cos + c, sin + s))
    };
    let length = |(cos, sin): (f64, f64)| cos.hypot(sin);
    let (plain, mirrored) = (turn(1.0), turn(-1.0));
    let (mirror, (cos, sin)) = if length(mirrored) > length(plain) { (-1.0, mirrored) } else { (1.0, plain) };
    let norm = length((cos, sin));
    if norm.is_nan() || norm <= 0.0 {
        return places.to_vec();
    }
    let (cos, sin) = (cos / norm, sin / norm);
    places.iter().map(|&[x, y]| [cos * x - sin * mirror * y, sin * x + cos * mirror * y]).collect()
}

fn figure<'r>(
    run: &'r Named<'_>,
    (kind, map): (Kind, &Map),
    named: &[&'r Place],
    places: &[[f64; 2]],
    (pictures, pictured): (&mut Option<Pictures>, &mut HashSet<(&'r str, &'r str)>),
) -> Figure {
    let all = map.places.len();
    let mut shown: Vec<usize> = even(places.len(), SHOWN);
    let count = shown.len();
    shown.sort_by(|&a, &b| named[a].class.cmp(&named[b].class).then(a.cmp(&b)));
    let mut classes: Vec<&str> = named.iter().map(|place| place.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    // One scale for both axes: a distance is a distance in any direction.
    let range = |axis: usize| {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        places.iter().map(|p| p[axis]).fold(ends, |(low, high), v| (low.min(v), high.max(v)))
    };
    let ranges = [range(0), range(1)];
    let widest = ranges.iter().map(|(low, high)| high - low).fold(f64::MIN_POSITIVE, f64::max);
    let along = |at: usize, axis: usize| {
        let (low, high) = ranges[axis];
        SIDE / 2.0 + (places[at][axis] - (low + high) / 2.0) / widest * (SIDE - 2.0 * MARGIN)
    };
    let point = |&at: &usize| {
        let class = classes.partition_point(|class| *class < named[at].class.as_str());
        Point {
            x: format!("{:.1}", along(at, 0)),
            y: format!("{:.1}", SIDE - along(at, 1)),
            // Neighbours among so many colours are a golden angle apart.
            hue: format!("{:.0}", (class as f64 * 137.508) % 360.0),
        }
    };
    let every = count.div_ceil(PICTURED);
    let reading = |(n, &at): (usize, &usize)| {
        let pictures = pictures.as_mut().filter(|_| n % every == 0 && pictured.insert((&run.data, &named[at].name)));
        let picture = pictures.and_then(|pictures| pictures.small(&named[at].name));
        Reading {
            name: &named[at].name,
            class: &named[at].class,
            other: picture.as_ref().is_some_and(|picture| picture.other),
            picture: picture.map(|picture| picture.uri),
        }
    };
    let points = shown.iter().map(point).collect();
    let readings: Vec<Reading<'_>> = shown.iter().enumerate().map(reading).collect();
    // A page ends a script at `</`, wherever it stands.
    let reading = serde_json::to_string(&readings).expect("words are JSON").replace('<', "\\u003c");
    let some = if count < all { format!("{count} of {all} images, evenly taken") } else { format!("{count} images") };
    let (by, means) = match kind {
        Kind::Plane => {
            let means = format!(
                "by the first two principal components: {} of all variance; what is apart in the others may lie together here",
                percent(map.share)
            );
            ("", means)
        }
        Kind::Tsne => (
            " by t-SNE",
            "by t-SNE: near ones were put near; how far groups are apart, and how wide they are, says little"
                .to_owned(),
        ),
    };
    Figure {
        caption: format!("Embeddings of {}{by}", cut(&run.name)),
        note: format!("{some}, of {} classes, {means}.", classes.len()),
        points,
        reading,
        data: run.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_and_mirrored_map_lies_on_the_first() {
        let first = [[1.0, 0.0], [0.0, 2.0], [-3.0, -1.0], [2.0, -1.0]];
        let named: Vec<Place> = (0..5_u8)
            .map(|n| Place { name: n.to_string(), class: String::new(), x: 0.0, y: 0.0, tsne: None })
            .collect();
        let named: Vec<&Place> = named.iter().collect();
        let others = named.iter().map(|place| place.name.as_str()).zip(first).collect();
        let (sin, cos) = 0.7_f64.sin_cos();
        for mirror in [1.0, -1.0] {
            let turned = |[x, y]: [f64; 2]| [cos * x - sin * y, mirror * (sin * x + cos * y)];
            // The fifth is not on the first map, and goes with the others.
            let places: Vec<[f64; 2]> = first.into_iter().chain([[5.0, 5.0]]).map(turned).collect();
            let back = onto(&places, &named, &others);
            for (got, wanted) in back.iter().zip(first.into_iter().chain([[5.0, 5.0]])) {
                assert!((got[0] - wanted[0]).abs() < 1e-12 && (got[1] - wanted[1]).abs() < 1e-12, "{got:?} {wanted:?}");
            }
        }
        assert_eq!(onto(&[[1.0, 2.0]], &named, &HashMap::new()), [[1.0, 2.0]]);
    }
}
