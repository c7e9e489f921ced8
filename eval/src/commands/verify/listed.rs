//! A list of pairs and the images that it is of: which are there, which pairs contradict themselves, and their scores.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::super::named::namesakes;
use super::doubles::{Doubles, Gaps, Kind, both_kinds};
use crate::metrics::verification::{self as similarities, Folds};
use crate::pairs::{self, PairList, Subjects};
use crate::{Error, Result};
use pdloss_embed::dataset::{Dataset, Finder, Item, Limits, Role, Source as Files};
use pdloss_embed::embeddings::{Embeddings, Row, rows_sha256};

/// A list of pairs, and the list that the threshold is chosen on.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) list: PairList,
    pub(super) training: Option<(PathBuf, PairList)>,
    pub(super) gaps: Gaps,
}

impl Listed {
    /// The name of each image of the list among those of files; as the list has it where it is missing.
    pub(super) fn names_among(&self, files: &[String]) -> Result<Vec<String>> {
        let found = find(&self.path, &self.list, &Finder::of_files(files))?;
        Ok(names_of(&self.list, &found, files))
    }
}

fn names_of(list: &PairList, found: &[Option<usize>], there: &[String]) -> Vec<String> {
    let name = |(listed, found): (&String, &Option<usize>)| found.map_or(listed, |at| &there[at]).clone();
    list.images.iter().zip(found).map(name).collect()
}

/// Pairs that are there more than once, by the images that they are of.
fn doubles(list: &PairList, found: &[Option<usize>]) -> Doubles {
    Doubles::of(list.pairs.iter().map(|pair| Some((found[pair.a]?, found[pair.b]?, pair.same))))
}

/// Scored pairs of a list.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) scores: Vec<f64>,
    /// Their rows, the lower first.
    rows: HashSet<(usize, usize)>,
    pub(super) same: Vec<bool>,
    /// Positions in the list.
    pub(super) kept: Vec<usize>,
    /// The name in the data of each image of the list; as the list has it where it is missing.
    pub(super) names: Vec<String>,
    pub(super) missing: usize,
    pub(super) bad: usize,
    pub(super) itself: usize,
    pub(super) copies: usize,
    pub(super) again: usize,
    pub(super) contrary: usize,
    /// What is to be said of how images were found.
    pub(super) namesakes: Vec<String>,
}

impl Scored {
    /// How many pairs are in both lists.
    pub(super) fn shared(&self, other: &Self) -> usize {
        self.rows.intersection(&other.rows).count()
    }

    /// What is to be said of pairs that lack an image, of so many listed ones.
    pub(super) fn left_out(&self, path: &Path, listed: usize) -> Vec<String> {
        let said = |(count, why): (usize, &str)| {
            (count > 0).then(|| format!("left out {count} of the {listed} pairs of {} {why}", path.display()))
        };
        let lacking = [
            (self.missing, "whose images are not there (--skip-missing)"),
            (self.bad, "whose images cannot be used (--skip-bad)"),
        ];
        lacking.into_iter().filter_map(said).collect()
    }

    /// [`rows_sha256`] of the names of the rows that the pairs are of: classes play no part.
    pub(super) fn rows_sha256(&self, embeddings: &Embeddings) -> String {
        let rows: HashSet<usize> = self.rows.iter().flat_map(|&(a, b)| [a, b]).collect();
        names_sha256(rows.into_iter().map(|row| embeddings.rows[row].name.as_str()))
    }
}

/// [`rows_sha256`] of names alone.
pub(super) fn names_sha256<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let rows: Vec<Row> = names.map(|name| Row::new(name, 0, Role::Both)).collect();
    rows_sha256(&rows, &[String::new()])
}

/// The folds of the whole list, of which those pairs are then taken that were kept: what is missing moves no other pair.
pub(super) fn folds_of(list: &PairList, kept: &[usize]) -> Option<Folds> {
    let listed: Option<Vec<usize>> = list.pairs.iter().map(|p| p.fold).collect();
    let folds = match listed {
        Some(of) => Folds::listed(of),
        None => Folds::make(&list.pairs.iter().map(|p| p.same).collect::<Vec<_>>())?,
    };
    Some(Folds { of: kept.iter().map(|&at| folds.of[at]).collect(), ..folds })
}

/// Where each image of a list is among the names of `finder`.
fn find(path: &Path, list: &PairList, finder: &Finder<'_>) -> Result<Vec<Option<usize>>> {
    let find = |image: &String| finder.find(image).map_err(|problem| Error::data(path, problem));
    list.images.iter().map(find).collect()
}

/// The distinct images of the lists, as a data set whose classes are the subjects of the first.
pub(super) fn images_of(listed: &Listed, data: &Path, limits: &Limits) -> Result<Dataset> {
    let files = match &listed.list.contents {
        Some(contents) => Files::of_memory(data, listed.list.images.iter().cloned().zip(contents.iter().cloned())),
        None => Files::open_within(data, limits)?,
    };
    let subjects = Subjects::find(&listed.list.images, &listed.list.pairs);
    let mut classes = subjects.names;
    let mut items = Vec::new();
    let mut taken: HashMap<usize, ()> = HashMap::new();
    let mut take = |found: Option<usize>, class: usize, items: &mut Vec<Item>| {
        if let Some(at) = found.filter(|&at| taken.insert(at, ()).is_none()) {
            items.push(Item { name: files.names()[at].clone(), class, role: Role::Both, camera: None });
        }
    };
    let finder = Finder::of_files(files.names());
    let found = find(&listed.path, &listed.list, &finder)?;
    if found.iter().all(Option::is_none) {
        let wanted = &listed.list.images[0];
        return Err(Error::data(
            data,
            format!("holds none of the images that {} names; the first is {wanted}", listed.path.display()),
        ));
    }
    check_pairs(&listed.path, &listed.list, (&found, files.names()), listed.gaps)?;
    namesakes(&listed.path, &listed.list.images, &found, files.names(), Some(data))?;
    for (found, &subject) in found.into_iter().zip(&subjects.of) {
        take(found, subject as usize, &mut items);
    }
    if let Some((path, training)) = &listed.training {
        let subjects = Subjects::find(&training.images, &training.pairs);
        let before = classes.len();
        classes.extend(subjects.names);
        let found = find(path, training, &finder)?;
        check_pairs(path, training, (&found, files.names()), listed.gaps)?;
        namesakes(path, &training.images, &found, files.names(), Some(data))?;
        for (found, &subject) in found.into_iter().zip(&subjects.of) {
            take(found, before + subject as usize, &mut items);
        }
    }
    Ok(Dataset::named(files, items, classes, &listed.path))
}

/// Refuses what the list and the names of the images show: pairs whose images are not there, pairs of an image with itself,
/// and a rest without genuine or impostor pairs.
fn check_pairs(path: &Path, list: &PairList, (found, names): (&[Option<usize>], &[String]), gaps: Gaps) -> Result<()> {
    let absent: Vec<usize> =
        list.pairs.iter().filter_map(|p| [p.a, p.b].into_iter().find(|&i| found[i].is_none())).collect();
    if let Some(&first) = absent.first().filter(|_| !gaps.missing) {
        let (wanted, count) = (&list.images[first], absent.len());
        let is_there = names.iter().any(|name| name == wanted.trim_start_matches("./"));
        let what = if is_there { "of a kind that is not decoded" } else { "not there" };
        let problem = format!(
            "is named by {} and is {what} ({count} of its {} pairs lack an image); --skip-missing goes on without them",
            path.display(),
            list.pairs.len()
        );
        return Err(Error::image(wanted, problem));
    }
    let doubles = doubles(list, found);
    let names = |at: usize| (list.images[list.pairs[at].a].clone(), list.images[list.pairs[at].b].clone());
    let listed = (path, list.pairs.len());
    doubles.check(listed, Kind::IMAGES, gaps, &names)?;
    let is_there = |pair: &pairs::Pair| found[pair.a].is_some() && found[pair.b].is_some();
    let left = list.pairs.iter().enumerate().filter(|(at, pair)| is_there(pair) && !doubles.leaves_out(*at));
    both_kinds(listed, Kind::IMAGES, left.map(|(_, pair)| pair.same))
}

/// The cosines of a list's pairs; `there` names all images that were there to be embedded.
pub(super) fn score(
    path: &Path,
    list: &PairList,
    embeddings: &Embeddings,
    there: &[String],
    gaps: Gaps,
) -> Result<Scored> {
    let finder = Finder::new(there);
    let found = find(path, list, &finder)?;
    let rows: HashMap<&str, usize> =
        embeddings.rows.iter().enumerate().map(|(at, row)| (row.name.as_str(), at)).collect();
    check_pairs(path, list, (&found, there), gaps)?;
    let absent = list.pairs.iter().filter(|p| found[p.a].is_none() || found[p.b].is_none()).count();
    let row = |image: usize| found[image].and_then(|at| rows.get(there[at].as_str()).copied());
    let doubles = doubles(list, &found);
    let (mut kept, mut pairs, mut itself) = (Vec::new(), Vec::new(), 0);
    for (at, pair) in list.pairs.iter().enumerate() {
        match (row(pair.a), row(pair.b)) {
            (Some(a), Some(b)) if a == b => itself += 1,
            _ if doubles.contrary.contains(&at) => {}
            (Some(a), Some(b)) => {
                kept.push(at);
                pairs.push((a, b));
            }
            _ => {}
        }
    }
    let image = |row: usize| embeddings.rows[row].image;
    let copies = pairs.iter().filter(|&&(a, b)| image(a).is_some() && image(a) == image(b)).count();
    let same = kept.iter().map(|&at| list.pairs[at].same).collect();
    let bad = list.pairs.len() - kept.len() - absent - itself - doubles.contrary.len();
    Ok(Scored {
        rows: pairs.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect(),
        scores: similarities::of_pairs(embeddings, &pairs)?,
        same,
        kept,
        names: names_of(list, &found, there),
        missing: absent,
        bad,
        itself,
        copies,
        again: doubles.again,
        contrary: doubles.contrary.len(),
        namesakes: namesakes(path, &list.images, &found, there, None)?,
    })
}
