//! A table of a path and one or more labels, a line an image; comma, tab, semicolon or blanks part its columns.
//!
//! With a header, the path is in the column called `path`, `image`, `file`, ... and the label in the one called `label`,
//! `class`, ...; else the path is in the one column whose values look like images, and the label in the first other one.
//! A column `role` (or `is_query` and `is_gallery`) holds `query`, `gallery` or `both`, a column `split` (or `is_train`, `is_val`
//! and `is_test`) the image's part, or both in one column (`train`, `query`, `gallery`); a column that is called otherwise and holds
//! nothing but such words is taken for one, too.
//! Columns without a use are said. A column of weights is read where one is named.
//! An index without a name, as pandas writes it, is no label, nor is a column called `id`, `width`, ..., nor one whose values
//! are all different where there is another.

use std::path::Path;

use super::columns::{
    IS_GALLERY, IS_PART, IS_QUERY, Images, LABEL, PATH, ROLE, SPLIT, called, called_all, flag_column, header_of,
    holds_only, holds_some, image_column, is_index_of, is_known, may_be_label, may_hold_images, truth,
};
use super::layout::Place;
use super::part::{Part, with_ending};
use super::roles::{Roles, said_by_one, unsaid};
use super::source::names::several;
use super::{Listed, Listing, Request, Role, Source, Split, is_image, numbers};
use crate::delimited::{Blanks, Delimiter, Record, Table, plain};
use crate::error::{Error, Result};
use crate::files::folder_of;

/// What names the images where no column is called like a path and none holds names that end as images do.
const ID: &str = "id";
/// Corners of the object in the image, in lists of open-metric-learning.
const BOX: [&str; 4] = ["x_1", "y_1", "x_2", "y_2"];

/// Where the images of a list are: `--root`, else the list's own folder. Neither is walked.
pub(super) fn images_of(request: &Request) -> Result<Source> {
    match &request.root {
        None => Ok(Source::folder(folder_of(&request.path))),
        Some(root) if root.is_dir() => Ok(Source::folder(root)),
        Some(root) if Source::is_archive(root) => Source::open_within(root, &request.limits),
        Some(root) => Err(Error::Usage(format!("--root {}: is neither a folder nor an archive", root.display()))),
    }
}

/// Line, path, label, part, role and weight of an image.
type Row = (usize, String, String, Option<Part>, Role, Option<f64>);

/// The list, and where its images are.
pub(super) fn list(source: Source, request: &Request) -> Result<(Source, Listing)> {
    let path = &request.path;
    let mut path_column = 0;
    let table = Table::read(path, Blanks::Separate, |records| {
        path_column = records.iter().map(|r| r.fields.len()).max().map_or(0, |width| path_place(records, width));
        let named = |record: &Record<'_>| {
            let is_there = |f: &str| source.find(f).is_some() || with_ending(&source, f).is_some();
            record.fields.get(path_column).is_some_and(|f| is_image(f) || is_there(f))
        };
        let is_row = has_path(&records[0], path_column) && !knows(&records[0]);
        !named(&records[0]) && !is_row && (records[1..].iter().any(named) || has_names(&records[0]))
    })?;
    let columns = Columns::find(&table, path_column, request, path)?;
    let (mut rows, mut any_role, mut silent): (Vec<Row>, bool, Option<usize>) = (Vec::new(), false, None);
    let mut places = Vec::new();
    for record in table.records() {
        let record = record.map_err(|e| with_hint(e, table.delimiter()))?;
        let Record { line, fields } = &record;
        let part = columns.part(&table, &record)?;
        let is_train = part == Some(Part::Train);
        let said = columns.roles.of(&table, &record, is_train)?;
        if said.is_none() && !is_train {
            silent.get_or_insert(*line);
        }
        places.extend(columns.place(&record));
        let role = said.unwrap_or(Role::Both);
        any_role |= role != Role::Both;
        if fields[columns.path].is_empty() {
            return Err(table.error(*line, "the path is empty"));
        }
        if fields[columns.label].is_empty() {
            return Err(table.error(*line, "the label is empty"));
        }
        let weight = columns.weight(&table, &record)?;
        rows.push((*line, fields[columns.path].to_string(), fields[columns.label].to_string(), part, role, weight));
    }
    if rows.is_empty() {
        return Err(Error::data(path, "holds a header and no image"));
    }
    if let Some(line) = silent.filter(|_| any_role) {
        return Err(table.error(line, &unsaid("lines")));
    }
    let mut notes = columns.notes(&table);
    if columns.places.is_some() {
        any_role |= settle(&mut rows, &places, &mut notes);
    }
    if let Some((line, names)) = table.header_line().filter(|(_, names)| !names.iter().any(|name| is_known(name))) {
        notes.push(format!("line {line}, '{}', is taken for the names of the columns", names.join(", ")));
    }
    let source = match under_current_folder(&source, request, rows.iter().map(|(_, name, ..)| name.as_str())) {
        None => source,
        Some(current) => {
            notes.push(format!(
                "its images are not in {}, but relative to the current folder, and taken from there",
                source.path().display()
            ));
            current
        }
    };
    let numbers = numbers::of_names(rows.iter().map(|(_, _, label, ..)| label.as_str()));
    let image = |(line, name, label, part, role, weight): &Row| Listed {
        part: *part,
        role: *role,
        line: Some(*line),
        weight: *weight,
        ..Listed::new(name.clone(), numbers[label.as_str()])
    };
    let images: Vec<Listed> = rows.iter().map(image).collect();
    // Only the held-out part has queries and a gallery.
    let has = |part| images.iter().any(|i| i.part == Some(part));
    let protocol = match (any_role && has(Part::Train), has(Part::Test), has(Part::Validation)) {
        (true, true, _) => Split::Test,
        (true, false, true) => Split::Val,
        _ => Split::All,
    };
    let names = numbers.iter().map(|(name, &number)| (number, (*name).to_owned())).collect();
    Ok((source, Listing { notes, label: Some(columns.label_word(&table)), ..Listing::new(images, names, protocol) }))
}

/// Part and role of each image by its place among all that there are; whether any has a role.
fn settle(rows: &mut Vec<Row>, places: &[Place], notes: &mut Vec<String>) -> bool {
    let mut there = places.to_vec();
    there.sort_unstable();
    there.dedup();
    let before = rows.len();
    let mut any_role = false;
    let mut of_rows = places.iter();
    rows.retain_mut(|(_, _, _, part, role, _)| {
        let Some((its_part, its_role)) = of_rows.next().and_then(|place| place.part_and_role(&there)) else {
            return false;
        };
        (*part, *role) = (Some(its_part), its_role);
        any_role |= its_role != Role::Both;
        true
    });
    match before - rows.len() {
        0 => notes.extend(Place::note(&there)),
        left => notes.push(format!("left out {left} images of test: there are query and gallery beside it")),
    }
    any_role
}

/// The first column that most of the records give an image's name in.
fn path_place(records: &[Record<'_>], width: usize) -> usize {
    let images = |column: usize| records.iter().filter(|r| r.fields.get(column).is_some_and(|f| is_image(f))).count();
    (0..width).rev().max_by_key(|&column| images(column)).unwrap_or(0)
}

/// Whether a record names a column by one of these words.
fn knows(record: &Record<'_>) -> bool {
    record.fields.iter().any(|field| is_known(field))
}

/// Whether a record has what looks like a path, though it ends as no image does that is read: `bird/1.heic`, `bird/1`, `1.jpgx`.
fn has_path(record: &Record<'_>, column: usize) -> bool {
    let is_ending = |end: &str| (1..=5).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric());
    let ends = |field: &str| field.rsplit_once('.').is_some_and(|(stem, end)| !stem.is_empty() && is_ending(end));
    record.fields.get(column).is_some_and(|field| field.contains(['/', '\\']) || ends(field))
}

/// Whether a first line without an image's name is a header: it names a path (or an id, as Kaggle's lists have it) and a label.
fn has_names(record: &Record<'_>) -> bool {
    let words: Vec<String> = record.fields.iter().map(|f| plain(f)).collect();
    let any = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    (any(&PATH) || any(&[ID])) && any(&LABEL)
}

/// The current folder, where all images of the list are there and none in the list's own folder.
fn under_current_folder<'n>(
    source: &Source,
    request: &Request,
    mut names: impl Iterator<Item = &'n str> + Clone,
) -> Option<Source> {
    let current = Source::folder(Path::new("."));
    let elsewhere = request.root.is_none()
        && !names.clone().any(|name| source.find(name).is_some())
        && names.all(|name| current.find(name).is_some());
    elsewhere.then_some(current)
}

fn with_hint(error: Error, delimiter: Delimiter) -> Error {
    match error {
        Error::Data { path, problem } if delimiter == Delimiter::Blanks => Error::Data {
            path,
            problem: format!(
                "{problem}; blanks part the fields: put names with blanks into quotes, or part by comma or tab"
            ),
        },
        other => other,
    }
}

/// Which column is what.
struct Columns {
    path: usize,
    /// What is said of it where the label is a column of images, too.
    path_note: Option<String>,
    label: usize,
    roles: Roles,
    split: Option<usize>,
    /// Holds parts and roles: train, query, gallery.
    places: Option<usize>,
    weight: Option<usize>,
    /// Columns of true and false, each of one part.
    flags: Vec<(Part, usize)>,
    /// Columns that may be the label, too, where nobody said which is.
    passed_by: Vec<usize>,
    /// Columns with a name that nothing is read from.
    unused: Vec<usize>,
    /// Columns that are parts or roles by what they hold, not by their names.
    by_values: Vec<(usize, &'static str)>,
    /// A column that would say parts and roles, but contradicts the one that says parts, in this line.
    refuted: Option<(usize, usize, usize)>,
    /// Which of the columns that may be the label it is, from 1.
    label_number: usize,
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
    fn find(table: &Table, path_place: usize, request: &Request, file: &Path) -> Result<Self> {
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
            && let Some(at) = free.iter().position(holds_places)
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
                && let Some(at) = free.iter().position(holds)
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
            flags,
            passed_by,
            unused,
            by_values,
            refuted,
            label_number,
        })
    }

    /// The label's column as `--label` takes it.
    fn label_word(&self, table: &Table) -> String {
        let header = table.header().get(self.label).filter(|header| header_of(table, header) == Some(self.label));
        header.filter(|header| !header.is_empty()).cloned().unwrap_or_else(|| self.label_number.to_string())
    }

    fn weight(&self, table: &Table, record: &Record<'_>) -> Result<Option<f64>> {
        let Some(word) = self.weight.map(|c| &record.fields[c]) else { return Ok(None) };
        let weight = word.trim().parse::<f64>().ok().filter(|weight| *weight >= 0.0 && weight.is_finite());
        let wrong = || table.error(record.line, &format!("weight '{word}': wanted a finite number not below 0"));
        weight.map(Some).ok_or_else(wrong)
    }

    fn part(&self, table: &Table, record: &Record<'_>) -> Result<Option<Part>> {
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

    fn place(&self, record: &Record<'_>) -> Option<Place> {
        self.places.and_then(|c| Place::of_word(&record.fields[c]))
    }

    /// The part of an image of which no flag is true: one that has no flag.
    fn otherwise(&self) -> Option<Part> {
        let is_flagged = |part: &Part| self.flags.iter().any(|(flagged, _)| flagged == part);
        [Part::Train, Part::Test, Part::Validation].into_iter().find(|part| !is_flagged(part))
    }

    /// What was assumed about the columns, where it is not the first for the path and the second for the label.
    fn notes(&self, table: &Table) -> Vec<String> {
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
