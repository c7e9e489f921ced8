//! Aligns faces: a similarity (rotation, one scale, shift) that brings five landmarks as near as least squares can
//! to the template that ArcFace models are trained on, 112x112 pixels.

use std::collections::HashMap;
use std::path::Path;

use image::{Rgb, RgbImage};
use imageproc::geometric_transformations::Projection;

use crate::dataset::{Finder, celeba_table};
use crate::delimited::{Blanks, Record, Table, plain, read_text};
use crate::error::{Error, Result};
use crate::preprocess::warped;

/// Where left eye, right eye, nose tip, left and right corner of the mouth belong, as the viewer sees them.
pub const TEMPLATE: [[f64; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// Side of the aligned image.
const SIDE: u32 = 112;

/// Five landmarks for each image.
#[derive(Clone, Debug, Default)]
pub struct Landmarks(HashMap<String, [[f64; 2]; 5]>);

impl Landmarks {
    /// Reads a CSV of a path and ten numbers, x and y of each landmark in the template's order, in pixels of the image; a
    /// header, and other separators (tab, semicolon, blanks), may be there. Where the header has all x before all y, they
    /// are read so.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming file and line; also where all numbers are shares of the image.
    pub fn read(path: &Path) -> Result<Self> {
        let no_numbers = |record: &Record<'_>| record.fields.iter().skip(1).all(|f| f.parse::<f64>().is_err());
        let text = read_text(path)?;
        let text = celeba_table(&text).unwrap_or(text);
        let table = Table::parse(path, text, Blanks::Separate, |records| no_numbers(&records[0]))?;
        let table = table.without_index();
        let places = places(table.header());
        let mut landmarks = HashMap::new();
        for record in table.ragged() {
            let Record { line, fields } = record?;
            let numbers = fields.iter().skip(1).map(|f| f.parse().ok().filter(|v: &f64| v.is_finite()));
            let points = numbers.collect::<Option<Vec<f64>>>().and_then(|numbers| <[f64; 10]>::try_from(numbers).ok());
            let p = points.ok_or_else(|| {
                table.error(line, &format!("wanted a path and ten numbers, found '{}'", fields.join(" ")))
            })?;
            let points = std::array::from_fn(|i| places[i].map(|place| p[place]));
            if landmarks.insert(fields[0].replace('\\', "/"), points).is_some_and(|before| before != points) {
                return Err(table.error(line, &format!("{} has other landmarks in an earlier line", fields[0])));
            }
        }
        if landmarks.is_empty() {
            return Err(Error::data(path, "holds no landmarks"));
        }
        let is_share = |number: &f64| (0.0..=1.0).contains(number);
        let of_shares = landmarks.iter().filter(|(_, points)| points.iter().flatten().all(is_share));
        if let Some(first) = of_shares.map(|(name, _)| name).min() {
            let problem =
                format!("all numbers of {first} are between 0 and 1, as shares of an image are; wanted pixels");
            return Err(Error::data(path, problem));
        }
        Ok(Self(landmarks))
    }

    /// What is to be said of landmarks that no turn and no scale brings near the template: a face from the side lies within some
    /// ten pixels of it, landmarks in another order do not.
    pub fn doubt(&self) -> Option<String> {
        const FAR: f64 = 14.0;
        /// Of a single image: farther than any face, and less than one whose sides are swapped.
        const FARTHEST: f64 = 20.0;
        const WANTED: &str =
            "wanted x and y of left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them";
        let apart: f64 = self.0.values().filter_map(misfit).sum::<f64>() / self.0.len() as f64;
        if apart > FAR {
            return Some(format!(
                "landmarks lie {apart:.0} pixels from ArcFace's template when they are aligned (faces: up to 10): {WANTED}"
            ));
        }
        let is_far = |points: &[[f64; 2]; 5]| misfit(points).is_some_and(|apart| apart > FARTHEST);
        let far: Vec<&String> = self.0.iter().filter(|(_, points)| is_far(points)).map(|(name, _)| name).collect();
        far.iter().min().map(|first| {
            format!(
                "landmarks of {} of {} images lie more than {FARTHEST} pixels from ArcFace's template when they are aligned (faces: up to \
                 10), such as those of {first}: {WANTED}",
                far.len(),
                self.0.len()
            )
        })
    }

    /// The same landmarks under the names that a data set gives its images.
    ///
    /// # Errors
    /// [`Error::Image`] naming an image of `wanted` without landmarks, or with two that fit.
    pub fn under(&self, wanted: &[&str]) -> Result<Self> {
        let names: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let finder = Finder::new(&names);
        let mut found = HashMap::new();
        for (listed, points) in &self.0 {
            let at = finder
                .find(listed)
                .map_err(|problem| Error::image(listed, format!("in the --align file: {problem}")))?;
            // Landmarks of another folder's image are those of another face.
            let Some(at) = at.filter(|&at| !finder.is_by_name_alone(listed, at)) else { continue };
            if found.insert(names[at].clone(), *points).is_some_and(|before| before != *points) {
                let problem = format!("has two sets of landmarks in the --align file, one called {listed}; wanted one");
                return Err(Error::image(&names[at], problem));
            }
        }
        match names.iter().find(|name| !found.contains_key(*name)) {
            Some(name) => Err(Error::image(name, "has no landmarks in the --align file")),
            None => Ok(Self(found)),
        }
    }

    /// The aligned face, black where the image does not reach.
    ///
    /// # Errors
    /// [`Error::Image`] where it has no landmarks, or they all lie on one point, or about one outside of the image.
    pub fn align(&self, name: &str, image: &RgbImage) -> Result<RgbImage> {
        let points = self.0.get(name).ok_or_else(|| Error::image(name, "has no landmarks in the --align file"))?;
        let (width, height) = image.dimensions();
        let middle = [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / 5.0);
        if !((0.0..=f64::from(width)).contains(&middle[0]) && (0.0..=f64::from(height)).contains(&middle[1])) {
            let problem = format!(
                "is {width}x{height}, and the middle of its five landmarks is at {:.0},{:.0}: they are those of another size",
                middle[0], middle[1]
            );
            return Err(Error::image(name, problem));
        }
        let [a, b, x, y] =
            similarity(points, &TEMPLATE).ok_or_else(|| Error::image(name, "its five landmarks lie on one point"))?;
        #[allow(clippy::cast_possible_truncation)] // pixels
        let matrix = [a, -b, x, b, a, y, 0.0, 0.0, 1.0].map(|v: f64| v as f32);
        let way = Projection::from_matrix(matrix).ok_or_else(|| Error::image(name, "its landmarks leave no face"))?;
        Ok(warped(image, way, (SIDE, SIDE), Rgb([0; 3])))
    }
}

/// The similarity `(u, v) = (a x - b y + p, b x + a y + q)` with the least sum of squared distances from `from` to `to`, as
/// `[a, b, p, q]`. With points as complex numbers about their means, `a + b i = sum conj(z) w / sum |z|^2`.
fn similarity(from: &[[f64; 2]; 5], to: &[[f64; 2]; 5]) -> Option<[f64; 4]> {
    let mean = |points: &[[f64; 2]; 5]| [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / 5.0);
    let (from_mean, to_mean) = (mean(from), mean(to));
    let (mut real, mut imaginary, mut square) = (0.0, 0.0, 0.0);
    for (z, w) in from.iter().zip(to) {
        let (x, y) = (z[0] - from_mean[0], z[1] - from_mean[1]);
        let (u, v) = (w[0] - to_mean[0], w[1] - to_mean[1]);
        real += x * u + y * v;
        imaginary += x * v - y * u;
        square += x * x + y * y;
    }
    if square <= f64::EPSILON {
        return None;
    }
    let (a, b) = (real / square, imaginary / square);
    Some([a, b, to_mean[0] - (a * from_mean[0] - b * from_mean[1]), to_mean[1] - (b * from_mean[0] + a * from_mean[1])])
}

/// Which of the ten numbers are x and y of each landmark: in turn, but where the header has all x before all y.
fn places(header: &[String]) -> [[usize; 2]; 5] {
    let is = |name: &String, axis: char| {
        let name = plain(name);
        name.starts_with(axis) || name.ends_with(axis)
    };
    let names = header.get(1..).filter(|names| names.len() == 10);
    match names.map(|names| names.split_at(5)) {
        Some((first, second)) if first.iter().all(|n| is(n, 'x')) && second.iter().all(|n| is(n, 'y')) => {
            std::array::from_fn(|i| [i, i + 5])
        }
        _ => std::array::from_fn(|i| [2 * i, 2 * i + 1]),
    }
}

/// How far landmarks lie from the template when they are aligned: the root of the mean of squares, in its pixels.
fn misfit(points: &[[f64; 2]; 5]) -> Option<f64> {
    let [a, b, p, q] = similarity(points, &TEMPLATE)?;
    let apart = points
        .iter()
        .zip(TEMPLATE)
        .map(|(&[x, y], [u, v])| (a * x - b * y + p - u).powi(2) + (b * x + a * y + q - v).powi(2));
    Some((apart.sum::<f64>() / 5.0).sqrt())
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // pixels
mod tests {
    use super::*;

    /// Where a similarity puts a point.
    fn put([a, b, p, q]: [f64; 4], [x, y]: [f64; 2]) -> [f64; 2] {
        [a * x - b * y + p, b * x + a * y + q]
    }

    #[test]
    fn a_known_similarity_is_found_again() {
        let known = [0.8, -0.6, 12.0, -3.5];
        let from = TEMPLATE.map(|[x, y]| [1.7 * x + 4.0, 1.7 * y - 9.0]);
        let found = similarity(&from, &from.map(|p| put(known, p))).unwrap();
        for (found, known) in found.iter().zip(known) {
            assert!((found - known).abs() < 1e-12, "{found} {known}");
        }
        assert_eq!(similarity(&[[1.0, 2.0]; 5], &TEMPLATE), None);
    }

    #[test]
    fn no_nearby_similarity_is_better() {
        let bent = [[30.0, 40.0], [80.0, 55.0], [50.0, 70.0], [45.0, 100.0], [75.0, 90.0]];
        let found = similarity(&bent, &TEMPLATE).unwrap();
        let cost = |s: [f64; 4]| {
            bent.iter()
                .zip(TEMPLATE)
                .map(|(&z, w)| {
                    let p = put(s, z);
                    (p[0] - w[0]).powi(2) + (p[1] - w[1]).powi(2)
                })
                .sum::<f64>()
        };
        for axis in 0..4 {
            for change in [-1e-3, 1e-3] {
                let mut other = found;
                other[axis] += change;
                assert!(cost(other) > cost(found));
            }
        }
    }

    fn read(text: &str) -> std::result::Result<Landmarks, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.csv");
        std::fs::write(&path, text).unwrap();
        Landmarks::read(&path).map_err(|e| e.to_string())
    }

    /// A line of the template's points at these places, magnified.
    fn line(order: &[[usize; 2]]) -> String {
        let numbers: Vec<_> = order.iter().map(|&[point, axis]| (2.0 * TEMPLATE[point][axis]).to_string()).collect();
        format!("a.jpg,{}\n", numbers.join(","))
    }

    #[test]
    fn landmarks_in_another_order_are_read_by_their_header_or_doubted() {
        let in_turn = |points: [usize; 5]| points.iter().flat_map(|&p| [[p, 0], [p, 1]]).collect::<Vec<_>>();
        let usual = read(&line(&in_turn([0, 1, 2, 3, 4]))).unwrap();
        assert_eq!(usual.doubt(), None);
        let x_then_y: Vec<[usize; 2]> = [0, 1].iter().flat_map(|&axis| (0..5).map(move |p| [p, axis])).collect();
        for header in ["path,x1,x2,x3,x4,x5,y1,y2,y3,y4,y5", "image,le_x,re_x,n_x,lm_x,rm_x,le_y,re_y,n_y,lm_y,rm_y"] {
            assert_eq!(read(&format!("{header}\n{}", line(&x_then_y))).unwrap().0, usual.0, "{header}");
        }
        let header = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5";
        assert_eq!(read(&format!("{header}\n{}", line(&in_turn([0, 1, 2, 3, 4])))).unwrap().0, usual.0);
        let indexed = format!(",{header}\n0,{}", line(&in_turn([0, 1, 2, 3, 4])));
        assert_eq!(read(&indexed).unwrap().0, usual.0, "an index without a name, as pandas writes it");
        let turned_axes: Vec<[usize; 2]> = (0..5).flat_map(|p| [[p, 1], [p, 0]]).collect();
        let orders = [[1, 0, 2, 4, 3], [1, 0, 2, 3, 4], [3, 4, 2, 0, 1], [2, 0, 1, 3, 4]].map(in_turn);
        for order in orders.into_iter().chain([x_then_y, turned_axes]) {
            let said = read(&line(&order)).unwrap().doubt().unwrap_or_default();
            assert!(said.contains("pixels from ArcFace's template"), "{order:?}: {said}");
        }
        // A face from the side is narrow, and its nose sticks out.
        let side: Vec<String> = TEMPLATE.iter().map(|[x, y]| format!("{},{y}", 56.0 + 0.4 * (x - 56.0))).collect();
        assert_eq!(read(&format!("a.jpg,{}\n", side.join(","))).unwrap().doubt(), None);
    }

    #[test]
    fn landmarks_of_another_size_are_refused() {
        let shares: Vec<String> = TEMPLATE.iter().flatten().map(|v| (v / 112.0).to_string()).collect();
        let error = read(&format!("a.jpg,{}\n", shares.join(","))).unwrap_err();
        assert!(error.contains("l.csv: all numbers of a.jpg are between 0 and 1"), "{error}");
        let landmarks = Landmarks(HashMap::from([("a.jpg".to_owned(), TEMPLATE.map(|p| p.map(|v| 3.0 * v)))]));
        let error = landmarks.align("a.jpg", &RgbImage::new(112, 112)).unwrap_err().to_string();
        assert!(error.contains("a.jpg: is 112x112, and the middle of its five landmarks is at 168,"), "{error}");
        assert!(landmarks.align("a.jpg", &RgbImage::new(336, 336)).is_ok());
    }

    #[test]
    fn landmarks_come_to_lie_on_the_template() {
        // A face lying on its side, twice as large: a bright dot at each landmark must move to the template.
        let turned = TEMPLATE.map(|[x, y]| [300.0 - 2.0 * y, 20.0 + 2.0 * x]);
        let mut image = RgbImage::new(320, 260);
        for [x, y] in turned {
            for (dx, dy) in (-2..=2).flat_map(|dx| (-2..=2).map(move |dy| (dx, dy))) {
                image.put_pixel((x.round() as i32 + dx) as u32, (y.round() as i32 + dy) as u32, Rgb([255; 3]));
            }
        }
        let landmarks = Landmarks([("a.jpg".to_owned(), turned)].into());
        let face = landmarks.align("a.jpg", &image).unwrap();
        assert_eq!(face.dimensions(), (112, 112));
        for [x, y] in TEMPLATE {
            let value = face.get_pixel(x.round() as u32, y.round() as u32)[0];
            assert!(value > 200, "at {x} {y}: {value}");
        }
        assert_eq!(face.get_pixel(5, 5)[0], 0);
        assert!(landmarks.align("b.jpg", &image).unwrap_err().to_string().contains("b.jpg"));
    }

    #[test]
    fn files_have_a_path_and_ten_numbers_however_they_are_parted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("five.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Landmarks::read(&path).map_err(|e| e.to_string())
        };
        for text in [
            "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\nA/1.jpg,1,2,3,4,5,6,7,8,9,10\n",
            "\u{feff}A\\1.jpg\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\r\n",
            "A/1.jpg   1 2 3 4 5 6 7.0 8e0 9 10",
            "name;a;b;c;d;e;f;g;h;i;j\n\"./A/1.jpg\";1;2;3;4;5;6;7;8;9;10\n",
            "1\nlx ly rx ry nx ny mx my ox oy\nA/1.jpg  1 2  3 4  5 6  7 8  9 10\n",
            "A/1,1,2,3,4,5,6,7,8,9,10\nB/7.jpg,1,2,3,4,5,6,7,8,9,11\n",
        ] {
            let found = read(text).unwrap().under(&["data/A/1.jpg"]).unwrap();
            assert_eq!(found.0["data/A/1.jpg"][4], [9.0, 10.0], "{text:?}");
        }
        let points = "1,2,3,4,5,6,7,8,9,10";
        let other = "1,2,3,4,5,6,7,8,9,11";
        let missing = read(&format!("A/1.jpg,{points}\n")).unwrap().under(&["A/1.jpg", "A/2.jpg"]).unwrap_err();
        assert!(missing.to_string().contains("A/2.jpg"));
        let two = read(&format!("A/1.jpg,{points}\n1,{other}\n")).unwrap().under(&["data/A/1.jpg"]).unwrap_err();
        assert!(two.to_string().contains("two sets of landmarks"), "{two}");
        for (text, wanted) in [
            ("A/1.jpg,1,2,3\n".to_owned(), "line 1: wanted a path and ten numbers"),
            (format!("A/1.jpg,{points},11\n"), "line 1: wanted a path and ten numbers"),
            (format!("A/1.jpg,{}\n", points.replace('7', "nan")), "line 1: wanted a path and ten numbers"),
            (format!("A/1.jpg,{points}\nA/1.jpg,{other}\n"), "line 2: A/1.jpg has other landmarks"),
            ("path,x1,y1\n".to_owned(), "holds no landmarks"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }
}
