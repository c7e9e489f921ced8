//! Which column of a list is what: path, label, role, part, weight, camera.

use std::path::Path;

use super::cameras;
use super::columns::{
    IS_GALLERY, IS_PART, IS_QUERY, Images, LABEL, PATH, ROLE, SPLIT, called, called_all, flag_column, header_of,
    holds_only, holds_some, image_column, is_index_of, may_be_label, may_hold_images, repeats, truth,
};
use super::layout::Place;
use super::part::Part;
use super::roles::{Roles, said_by_one};
use super::source::names::several;
use super::{Request, Role};
use crate::delimited::{Record, Table, plain};
use crate::error::{Error, Result};

/// What names the images where no column is called like a path and none holds names that end as images do.
pub(super) const ID: &str = "id";
/// How many words for parts and roles a column may well have once each.
const MOST_PLACES: usize = 5;
/// Corners of the object in the image, in lists of open-metric-learning.
const BOX: [&str; 4] = ["x_1", "y_1", "x_2", "y_2"];

/// Which column is what.
pub(super) struct Columns {
    pub(super) path: usize,
    /// What is said of it where the label is a column of images, too.
    pub(super) path_note: Option<String>,
    pub(super) label: usize,
    pub(super) roles: Roles,
    pub(super) split: Option<usize>,
    /// Holds parts and roles: train, query, gallery.
    pub(super) places: Option<usize>,
    pub(super) weight: Option<usize>,
    /// Of lists with queries and a gallery.
    pub(super) camera: Option<usize>,
    /// Columns of true and false, each of one part.
    pub(super) flags: Vec<(Part, usize)>,
    /// Columns that may be the label, too, where nobody said which is.
    pub(super) passed_by: Vec<usize>,
    /// Columns with a name that nothing is read from.
    pub(super) unused: Vec<usize>,
    /// Columns that are parts or roles by what they hold, not by their names.
    pub(super) by_values: Vec<(usize, &'static str)>,
    /// A column that would say parts and roles, but contradicts the one that says parts, in this line.
    pub(super) refuted: Option<(usize, usize, usize)>,
    /// Which of the columns that may be the label it is, from 1.
    pub(super) label_number: usize,
}

/// The part that a word says, as folders are called, too: `train2017`, `trainval`, `holdout`.
fn part_of(word: &str) -> Option<Part> {
    match Place::of_word(word)? {
        Place::Train => Some(Part::Train),
        Place::Validation => Some(Part::Validation),
        Place::Test => Some(Part::Test),
        Place::Query | Place::Gallery => None,
    }
}

/// The first line in which a column of parts and one of parts and roles disagree on what is trained on.
fn contradiction(table: &Table, parts: usize, places: usize) -> Option<usize> {
    let mut records = table.ragged().filter_map(Result::ok);
    let disagrees = |record: &Record<'_>| {
        let field = |column: usize| record.fields.get(column);
        let is_train = field(parts).and_then(|word| part_of(word)).map(|part| part == Part::Train);
        is_train != field(places).and_then(|word| Place::of_word(word)).map(|place| place == Place::Train)
    };
    records.find(disagrees).map(|record| record.line)
}

impl Columns {
    pub(super) fn find(table: &Table, path_place: usize, request: &Request, file: &Path) -> Result<Self> {
        let label = request.label.as_deref();
        let width = table.width()?;
        if width < 2 {
            let first = table.ragged().next().transpose()?.map_or(String::new(), |r| r.fields.join(" "));
            let first = table.header().first().cloned().unwrap_or(first);
            return Err(table.error(
                1,
                &format!(
                    "wanted a path and at least one label, parted by comma, tab, semicolon or blanks; found '{first}'"
                ),
            ));
        }
        let asked = label.and_then(|wanted| header_of(table, wanted));
        let (path, images) = path_column(table, path_place, asked)?;
        let weight = request.weights.as_deref().map(|wanted| weight_column(table, (wanted, path, width), file));
        let weight = weight.transpose()?;
        let (query, gallery) = (flag_column(table, &IS_QUERY)?, flag_column(table, &IS_GALLERY)?);
        let holds_parts = |&c: &usize| holds_only(table, c, |word| part_of(word).is_some());
        let holds_roles = |&c: &usize| holds_only(table, c, |word| Role::parse(word).is_some());
        // Of more words that are all different than there are parts and roles each is an id: `test_1`, `query_2`.
        let is_of_ids = |c: &usize| table.ragged().count() > MOST_PLACES && !repeats(table, *c);
        // Parts beside roles: a column of roles alone says no part.
        let holds_places = |c: &usize| {
            holds_only(table, *c, |word| Place::of_word(word).is_some())
                && holds_some(table, *c, |word| Place::of_word(word) == Some(Place::Query))
                && !holds_roles(c)
        };
        // `set` and `part` may be of cards and of bodies, and what is asked for as the label is that.
        let is_meant = |&c: &usize, sure: &str| {
            let says = |word: &str| Role::parse(word).is_some() || Place::of_word(word).is_some();
            let is_sure = || table.header().get(c).is_some_and(|name| plain(name) == sure);
            c != path && asked != Some(c) && (is_sure() || holds_some(table, c, says))
        };
        let mut role = table.column(&ROLE)?.filter(|c| is_meant(c, ROLE[0]) && !holds_parts(c));
        let mut split = table.column(&SPLIT)?.filter(|c| is_meant(c, SPLIT[0]));
        let mut by_values = Vec::new();
        let mut places = None;
        // In-Shop's words: train, query, gallery in one column.
        for column in [&mut split, &mut role] {
            places = places.or_else(|| column.take_if(|c| holds_places(c)));
        }
        if let (None, Some(at)) = (role, split.filter(holds_roles)) {
            (role, split) = (Some(at), None);
        }
        // One column stays for the label, and that which is asked for.
        let label_by_name = match label {
            Some(wanted) => header_of(table, wanted),
            None => table.column(&LABEL)?.filter(|&c| c != path),
        };
        let known = [Some(path), role, split, places, query, gallery, label_by_name, weight];
        let mut free: Vec<usize> = (0..width).filter(|&c| !known.contains(&Some(c))).collect();
        let mut refuted = None;
        if let (None, None, Some(parts)) = (places, role, split)
            && let Some(at) = free.iter().position(|c| holds_places(c) && !is_of_ids(c))
        {
            let column = free[at];
            match contradiction(table, parts, column) {
                None => {
                    (places, split) = (Some(free.remove(at)), None);
                    by_values.push((column, "part and role"));
                }
                Some(line) => refuted = Some((column, parts, line)),
            }
        }
        let (is_said, has_one) = (places.is_some(), split.or(role).is_some());
        for (column, what, holds) in [
            (&mut split, "part", &holds_parts as &dyn Fn(&usize) -> bool),
            (&mut role, "role", &holds_roles),
            (&mut places, "part and role", &holds_places),
        ] {
            // Parts and roles in one column leave none to other columns.
            let is_open = !is_said && (what != "part and role" || !has_one && by_values.is_empty());
            if column.is_none()
                && is_open
                && (free.len() > 1 || label_by_name.is_some())
                && let Some(at) = free.iter().position(|c| holds(c) && !is_of_ids(c))
            {
                let found = free.remove(at);
                *column = Some(found);
                by_values.push((found, what));
            }
        }
        let mut flags = Vec::new();
        for (part, names) in IS_PART {
            let column = flag_column(table, names)?.and_then(|c| free.iter().position(|&other| other == c));
            if let Some(at) =
                column.filter(|_| split.or(places).is_none() && (free.len() > 1 || label_by_name.is_some()))
            {
                flags.push((part, free.remove(at)));
            }
        }
        let mut taken = vec![Some(path), role, split, places, query, gallery, weight];
        taken.extend(flags.iter().map(|&(_, column)| Some(column)));
        let labels: Vec<usize> = (0..width).filter(|&c| !taken.contains(&Some(c)) && !is_index_of(table, c)).collect();
        let (mut passed_by, mut path_note) = (Vec::new(), None);
        let label = match label {
            Some(wanted) if header_of(table, wanted) == Some(path) => {
                return Err(Error::Usage(format!(
                    "--label {wanted}: that column of {} holds the paths; wanted the one that holds the labels",
                    file.display()
                )));
            }
            Some(wanted) => chosen(table, &labels, wanted).ok_or_else(|| {
                let names = match table.header() {
                    [] => "none (there is no header)".to_owned(),
                    header => several(labels.iter().map(|&c| header[c].clone())),
                };
                Error::Usage(format!(
                    "--label: {} has no label column '{wanted}'; columns by name: {names}; by number: 1 to {}",
                    file.display(),
                    labels.len()
                ))
            })?,
            None => {
                let named = table.column(&LABEL)?.filter(|c| labels.contains(c));
                let is_other = |c: &usize| images.as_ref().is_some_and(|images| images.others.contains(c));
                let words = || labels.iter().copied().filter(|c| !is_other(c));
                let likely = || words().find(|&c| may_be_label(table, c));
                let taken = named.or_else(likely).or_else(|| words().next()).or(labels.first().copied());
                path_note =
                    images.as_ref().filter(|_| taken.as_ref().is_some_and(is_other)).and_then(|i| i.note(table));
                let taken = taken.ok_or_else(|| {
                    let header = table.header().join(", ");
                    Error::data(file, format!("has no column left for the label; its columns are {header}"))
                })?;
                let also = |&c: &usize| named.is_none() || LABEL.contains(&plain(&table.header()[c]).as_str());
                passed_by = labels.iter().copied().filter(|&c| c != taken).filter(also).collect();
                taken
            }
        };
        // Corners have a note of their own.
        let has_name = |c: usize| table.header().get(c).is_some_and(|name| !BOX.contains(&name.as_str()));
        let label_number = labels.iter().position(|&c| c == label).map_or(1, |at| at + 1);
        let unused = |c: &usize| *c != label && !passed_by.contains(c) && has_name(*c);
        let mut unused: Vec<usize> = labels.into_iter().filter(unused).collect();
        let has_roles = role.or(places).or(query).or(gallery).is_some();
        let camera = cameras::column(table)?.filter(|column| has_roles && *column != label && *column != path);
        unused.retain(|column| Some(*column) != camera);
        passed_by.retain(|column| Some(*column) != camera);
        let roles = match role.or(places) {
            None => Roles { role, query, gallery },
            // Flags beside a column that says the roles are not read.
            Some(_) => {
                unused.extend([query, gallery].into_iter().flatten());
                Roles { role, query: None, gallery: None }
            }
        };
        Ok(Self {
            path,
            path_note,
            label,
            roles,
            split,
            places,
            weight,
            camera,
            flags,
            passed_by,
            unused,
            by_values,
            refuted,
            label_number,
        })
    }

    /// The label's column as `--label` takes it.
    pub(super) fn label_word(&self, table: &Table) -> String {
        let header = table.header().get(self.label).filter(|header| header_of(table, header) == Some(self.label));
        header.filter(|header| !header.is_empty()).cloned().unwrap_or_else(|| self.label_number.to_string())
    }

    pub(super) fn weight(&self, table: &Table, record: &Record<'_>) -> Result<Option<f64>> {
        let Some(word) = self.weight.map(|c| &record.fields[c]) else { return Ok(None) };
        let weight = word.trim().parse::<f64>().ok().filter(|weight| *weight >= 0.0 && weight.is_finite());
        let wrong = || table.error(record.line, &format!("weight '{word}': wanted a finite number not below 0"));
        weight.map(Some).ok_or_else(wrong)
    }

    pub(super) fn part(&self, table: &Table, record: &Record<'_>) -> Result<Option<Part>> {
        if !self.flags.is_empty() {
            if let Some(word) = self.flags.iter().map(|&(_, c)| &record.fields[c]).find(|word| truth(word).is_none()) {
                return Err(table.error(record.line, &format!("'{word}' is neither True nor False")));
            }
            let mut said = self.flags.iter().filter(|(_, c)| truth(&record.fields[*c]) == Some(true));
            let problem = match (said.next(), said.next(), self.otherwise()) {
                (Some((part, _)), None, _) => return Ok(Some(*part)),
                (None, _, Some(part)) => return Ok(Some(part)),
                (Some((one, _)), Some((other, _)), _) => {
                    format!("is of part {} and of part {}; wanted one", one.as_str(), other.as_str())
                }
                (None, ..) => "is of none of the parts train, val, test".to_owned(),
            };
            return Err(table.error(record.line, &problem));
        }
        let Some(word) = self.split.map(|c| &record.fields[c]) else { return Ok(None) };
        let wrong = || table.error(record.line, &format!("split '{word}' is none of train, val, validation, test"));
        part_of(word).map(Some).ok_or_else(wrong)
    }

    pub(super) fn place(&self, record: &Record<'_>) -> Option<Place> {
        self.places.and_then(|c| Place::of_word(&record.fields[c]))
    }

    /// The part of an image of which no flag is true: one that has no flag.
    fn otherwise(&self) -> Option<Part> {
        let is_flagged = |part: &Part| self.flags.iter().any(|(flagged, _)| flagged == part);
        [Part::Train, Part::Test, Part::Validation].into_iter().find(|part| !is_flagged(part))
    }

    /// What was assumed about the columns, where it is not the first for the path and the second for the label.
    pub(super) fn notes(&self, table: &Table) -> Vec<String> {
        let name = |c: usize| called(table, c);
        let mut notes: Vec<String> = self.path_note.iter().cloned().collect();
        if (self.path, self.label) != (0, 1) {
            notes.push(format!(
                "paths are read from column {}, labels from column {}",
                name(self.path),
                name(self.label)
            ));
        }
        notes.extend(said_by_one("images", self.roles.query.map(name), self.roles.gallery.map(name)));
        if !self.passed_by.is_empty() {
            let others = called_all(table, &self.passed_by);
            // By number the columns that may be labels are counted by themselves.
            let how = match table.header() {
                [] => format!("--label N says which, and this one is --label {}", self.label_number),
                _ => "--label COLUMN says which".to_owned(),
            };
            notes.push(format!("column {} is taken for the label, not {others}; {how}", name(self.label)));
        }
        if !self.flags.is_empty() {
            let flags = several(self.flags.iter().map(|&(part, c)| format!("{} ({})", name(c), part.as_str())));
            let rest = self
                .otherwise()
                .map_or(String::new(), |part| format!(", images with False there are {}", part.as_str()));
            notes.push(format!("the part of each image is read from column {flags}{rest}"));
        }
        for &(column, what) in &self.by_values {
            notes.push(format!("column {} is taken for the {what} of each image", name(column)));
        }
        if let Some((column, parts, line)) = self.refuted {
            notes.push(format!(
                "column {} would say the role of each image, but disagrees with column {} in line {line}: its roles are not read",
                name(column),
                name(parts)
            ));
        }
        if !self.unused.is_empty() {
            notes.push(format!("nothing is read from column {}", called_all(table, &self.unused)));
        }
        let boxed = table.header().iter().any(|h| BOX.contains(&h.as_str()));
        if boxed {
            notes.push(format!("columns {} are not applied: whole images are taken", BOX.join(", ")));
        }
        notes
    }
}

/// The column that `--label` means: a header's name, or a number from 1 counting label columns.
fn chosen(table: &Table, labels: &[usize], wanted: &str) -> Option<usize> {
    header_of(table, wanted)
        .or_else(|| wanted.parse::<usize>().ok()?.checked_sub(1).and_then(|at| labels.get(at).copied()))
}

/// The column that `--weight-column` means: a header's name, or a number from 1 counting all columns.
fn weight_column(table: &Table, (wanted, path, width): (&str, usize, usize), file: &Path) -> Result<usize> {
    let by_number = || wanted.parse::<usize>().ok()?.checked_sub(1).filter(|&at| at < width);
    let refused = |why: String| Err(Error::Usage(format!("--weight-column {wanted}: {} {why}", file.display())));
    match header_of(table, wanted).or_else(by_number) {
        Some(at) if at == path => refused("has the paths there; wanted the column that says what images weigh".into()),
        Some(at) => Ok(at),
        None => {
            let names = match table.header() {
                [] => "none (there is no header)".to_owned(),
                header => several(header.iter().cloned()),
            };
            refused(format!("has no such column; columns by name: {names}; by number: 1 to {width}"))
        }
    }
}

/// The column of the paths, and others that hold names of images, too; `place` is the first one that most fields end as images in.
fn path_column(table: &Table, place: usize, asked: Option<usize>) -> Result<(usize, Option<Images>)> {
    let is_called =
        |c: usize, names: &[&str]| table.header().get(c).is_some_and(|name| names.contains(&plain(name).as_str()));
    let is_label = |c: usize| is_called(c, &LABEL) || asked == Some(c) && !is_called(c, &PATH);
    let found = image_column(table, |c| !is_label(c))?;
    let sure = found.filter(|found| may_hold_images(table, found.at) || !may_hold_images(table, place));
    let by_id = || table.column(&[ID]).ok().flatten().filter(|_| !may_hold_images(table, place));
    Ok((sure.as_ref().map(|found| found.at).or_else(by_id).unwrap_or(place), sure))
}
