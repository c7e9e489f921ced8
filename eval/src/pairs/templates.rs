//! Templates: one or several images of a person that are compared as one, in the files of IJB-B and IJB-C.
//!
//! - **media**, `ijbc_face_tid_mid.txt`: a line an image, `1.jpg 1 69544`: its name, its template, its medium (a still, or the video
//!   that a frame is of);
//! - **pairs**, `ijbc_template_pair_label.txt`: a line a pair, `1 11065 1`: two templates, and 1 where they are of one person;
//! - **galleries and probes**, `ijbc_1N_gallery_G1.csv`: a CSV whose header has `TEMPLATE_ID` and `SUBJECT_ID`; a line an image, so
//!   that a template comes again with each of its images.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::answer;
use super::table::{SAME, is_contrary};
use crate::{Error, Result};
use pdloss_embed::dataset::columns::PATH;
use pdloss_embed::dataset::{is_image, nearly_alike};
use pdloss_embed::delimited::{Blanks, Record, Table, decode, plain};

/// The images of templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    /// Each distinct image as the list names it.
    pub images: Vec<String>,
    /// What the list calls each template.
    pub names: Vec<String>,
    /// Which image is of which medium of which template, in order of templates, then media.
    pub members: Vec<Member>,
    /// SHA-256 of the list.
    pub sha256: String,
    /// What a slip may have made of the list: a sentence each.
    pub doubts: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// An image of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// By position in [`Templates::names`].
    pub template: u32,
    /// The medium's number; templates may share one.
    pub medium: u32,
    /// By position in [`Templates::images`].
    pub image: u32,
}

/// Two templates, by position in [`Templates::names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplatePair {
    /// One template.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// Whether both are of one person.
    pub same: bool,
}

/// Who each template of a gallery, or of its probes, is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// Templates by position in [`Templates::names`], each once, in order of the list, and their subjects.
    pub of: Vec<(u32, String)>,
    /// SHA-256 of the list.
    pub sha256: String,
}

/// Numbers names in order of appearance.
fn number(numbers: &mut HashMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(&found) = numbers.get(name) {
        return found;
    }
    let new = u32::try_from(names.len()).expect("fewer than 2^32 of them fit in memory");
    numbers.insert(name.to_owned(), new);
    names.push(name.to_owned());
    new
}

/// A sentence on names of a list's templates, media or subjects that a slip tells apart.
pub fn nearly_the_same<'n>(path: &Path, of: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    nearly_alike(of, names).map(|said| format!("{}: {said}", path.display()))
}

/// What headers call the columns of a list of media, in the order of IJB's own.
const MEDIA: [&[&str]; 3] = [
    &PATH,
    &["template", "template_id", "tid"],
    &["medium", "medium_id", "media", "media_id", "mid", "sighting_id", "video", "video_id"],
];
/// And those of a list of pairs.
const PAIRS: [&[&str]; 3] = [
    &["enroll_template_id", "enroll_template", "template_1", "template1", "template_a", "t1", "tid1", "p1"],
    &["verif_template_id", "verif_template", "template_2", "template2", "template_b", "t2", "tid2", "p2"],
    &SAME,
];

/// A list of three columns, where they are, and its digest. The first line is a header where it has no number and no image, and one of
/// these names or, below it, a number in field `is_number`.
fn read_table(path: &Path, names: [&[&str]; 3], wanted: &str, is_number: usize) -> Result<(Table, [usize; 3], String)> {
    let columns = names.len();
    let bytes = pdloss_embed::files::read(path)?;
    let sha256 = pdloss_embed::digest::hex(&Sha256::digest(&bytes));
    let is_header = |records: &[Record<'_>]| {
        let number = |field: &str| field.parse::<f64>().is_ok();
        // Behind an index without a name, which is left out.
        let is_number =
            is_number + usize::from(records[0].fields.len() == columns + 1 && records[0].fields[0].is_empty());
        let has_number = |record: &Record<'_>| record.fields.get(is_number).is_some_and(|field| number(field));
        let is_row = records[0].fields.iter().any(|field| number(field) || is_image(field));
        let is_known = |field: &str| names.iter().any(|names| names.contains(&plain(field).as_str()));
        !is_row && (records[0].fields.iter().any(|field| is_known(field)) || records.get(1).is_some_and(has_number))
    };
    let table = Table::parse(path, decode(path, bytes)?, Blanks::Separate, is_header)?.without_index();
    let width = table.width()?;
    if width != columns {
        return Err(Error::data(path, format!("has {width} columns; wanted {columns} in each line: {wanted}")));
    }
    if let Some(name) = table.header().iter().find(|name| is_contrary(name)) {
        let problem = format!("column '{name}' says that two are different, or how far; wanted {wanted}");
        return Err(Error::data(path, problem));
    }
    let places = places(&table, names)?;
    Ok((table, places, sha256))
}

/// Where the columns of these names are: what a header does not name takes, in order, the places that are left.
fn places(table: &Table, names: [&[&str]; 3]) -> Result<[usize; 3]> {
    let mut found = [None; 3];
    for (found, names) in found.iter_mut().zip(names) {
        *found = table.column(names)?;
    }
    // Images are known by what their column holds, too.
    if found[0].is_none() && names[0] == PATH {
        let mut columns = (0..found.len()).filter(|&at| !found.contains(&Some(at)) && holds_images(table, at));
        found[0] = columns.next().filter(|_| columns.next().is_none());
    }
    let left: Vec<usize> = (0..found.len()).filter(|at| !found.contains(&Some(*at))).collect();
    let mut left = left.into_iter();
    Ok(found.map(|found| found.or_else(|| left.next()).unwrap_or_default()))
}

/// Whether most of the first fields of a column end as images do.
fn holds_images(table: &Table, column: usize) -> bool {
    let first: Vec<bool> = table
        .ragged()
        .take(100)
        .filter_map(std::result::Result::ok)
        .map(|record| record.fields.get(column).is_some_and(|field| is_image(field)))
        .collect();
    2 * first.iter().filter(|&&is_image| is_image).count() > first.len()
}

impl Templates {
    /// Reads a list of media.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let (table, [image, template, medium], sha256) = read_table(path, MEDIA, "image, template, medium", 1)?;
        let (mut of_image, mut of_medium) = (HashMap::new(), HashMap::new());
        let mut media = Vec::new();
        let mut read = Self {
            images: Vec::new(),
            names: Vec::new(),
            members: Vec::new(),
            sha256,
            doubts: Vec::new(),
            numbers: HashMap::new(),
        };
        for record in table.records() {
            let Record { line, fields } = record?;
            if let Some(empty) = fields.iter().position(|field| field.is_empty()) {
                return Err(table.error(line, &format!("field {} is empty", empty + 1)));
            }
            let name = fields[image].replace('\\', "/");
            let name = name.strip_prefix("./").unwrap_or(&name);
            read.members.push(Member {
                template: number(&mut read.numbers, &mut read.names, &fields[template]),
                medium: number(&mut of_medium, &mut media, &fields[medium]),
                image: number(&mut of_image, &mut read.images, name),
            });
        }
        read.members.sort_unstable();
        let listed = read.members.len();
        read.members.dedup();
        if read.members.len() < listed {
            let again = listed - read.members.len();
            return Err(Error::data(
                path,
                format!("{again} of its lines are there twice; wanted each image of a medium once"),
            ));
        }
        read.doubts.extend(nearly_the_same(path, "templates", read.names.iter().map(String::as_str)));
        read.doubts.extend(nearly_the_same(path, "media", media.iter().map(String::as_str)));
        read.doubts.extend(read.of_two_media().map(|said| format!("{}: {said}", path.display())));
        Ok(read)
    }

    /// A sentence on images that one template has under several media.
    fn of_two_media(&self) -> Option<String> {
        let mut places: Vec<(u32, u32)> = self.members.iter().map(|member| (member.template, member.image)).collect();
        places.sort_unstable();
        let again: Vec<(u32, u32)> = places.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
        let &(template, image) = again.first()?;
        Some(format!(
            "{} images are listed under another medium of their template, too, the first {} of template {}: each counts in each medium",
            again.len(),
            self.images[image as usize],
            self.names[template as usize]
        ))
    }

    /// A sentence on pairs of templates that share an image, of which no model is asked whether it is one person's: it is one image.
    pub fn shared(&self, pairs: &[TemplatePair]) -> Option<String> {
        let mut images: Vec<Vec<u32>> = vec![Vec::new(); self.names.len()];
        self.members.iter().for_each(|member| images[member.template as usize].push(member.image));
        images.iter_mut().for_each(|images| {
            images.sort_unstable();
            images.dedup();
        });
        let both = |pair: &TemplatePair| {
            let (a, b) = (&images[pair.a as usize], &images[pair.b as usize]);
            let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
            few.iter().find(|image| many.binary_search(image).is_ok()).copied()
        };
        let count = |same: bool| pairs.par_iter().filter(|pair| pair.same == same && both(pair).is_some()).count();
        let (genuine, impostor) = (count(true), count(false));
        let first = pairs.par_iter().find_map_first(|pair| Some((pair, both(pair)?)));
        first.map(|(pair, image)| {
            let of = |same: bool| pairs.iter().filter(|pair| pair.same == same).count();
            let name = |template: u32| &self.names[template as usize];
            format!(
                "{genuine} of {} genuine and {impostor} of {} impostor pairs are of two templates that share an image, as templates {} and {} share \
                 {}: such a pair is the more alike for it, whatever the model",
                of(true),
                of(false),
                name(pair.a),
                name(pair.b),
                self.images[image as usize]
            )
        })
    }

    /// How many media the templates have, each counted in each template.
    pub fn media(&self) -> usize {
        self.members.chunk_by(|a, b| (a.template, a.medium) == (b.template, b.medium)).count()
    }

    fn find(&self, table: &Table, line: usize, name: &str) -> Result<u32> {
        let found = self.numbers.get(name).copied();
        found.ok_or_else(|| table.error(line, &format!("template {name} has no image in the list of templates")))
    }

    /// Reads a list of pairs of these templates, and its SHA-256.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming file and line; also where all pairs are of one kind.
    pub fn pairs(&self, path: &Path) -> Result<(Vec<TemplatePair>, String)> {
        let (table, [a, b, same], sha256) = read_table(path, PAIRS, "template, template, 1 or 0", 2)?;
        let mut pairs = Vec::new();
        for record in table.records() {
            let Record { line, fields } = record?;
            let same = answer(&fields[same]).ok_or_else(|| {
                table.error(line, &format!("'{}' is no answer; wanted 1 for one person, 0 for two", fields[same]))
            })?;
            let (a, b) = (self.find(&table, line, &fields[a])?, self.find(&table, line, &fields[b])?);
            pairs.push(TemplatePair { a, b, same });
        }
        let genuine = pairs.iter().filter(|pair| pair.same).count();
        if genuine == 0 || genuine == pairs.len() {
            let impostor = pairs.len() - genuine;
            let problem = format!("holds {genuine} genuine and {impostor} impostor pairs; verification needs both");
            return Err(Error::data(path, problem));
        }
        Ok((pairs, sha256))
    }

    /// Reads who is in a gallery, or probes it.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming file and line; also for a template of two subjects.
    pub fn identities(&self, path: &Path) -> Result<Identities> {
        let bytes = pdloss_embed::files::read(path)?;
        let sha256 = pdloss_embed::digest::hex(&Sha256::digest(&bytes));
        const TEMPLATE: [&str; 3] = ["template_id", "template", "tid"];
        const SUBJECT: [&str; 4] = ["subject_id", "subject", "identity", "label"];
        let is_header =
            |records: &[Record<'_>]| records[0].fields.iter().any(|field| TEMPLATE.contains(&plain(field).as_str()));
        let table = Table::parse(path, decode(path, bytes)?, Blanks::Belong, is_header)?;
        let (Some(template), Some(subject)) = (table.column(&TEMPLATE)?, table.column(&SUBJECT)?) else {
            return Err(Error::data(path, "wanted a CSV with a header that has TEMPLATE_ID and SUBJECT_ID"));
        };
        let mut of: Vec<(u32, String)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for record in table.records() {
            let Record { line, fields } = record?;
            let found = self.find(&table, line, &fields[template])?;
            let at = *places.entry(found).or_insert_with(|| {
                of.push((found, fields[subject].to_string()));
                of.len() - 1
            });
            if of[at].1 != fields[subject] {
                let (name, one, other) = (&fields[template], &of[at].1, &fields[subject]);
                return Err(table.error(line, &format!("template {name} is of subject {other}, and of {one} before")));
            }
        }
        if of.is_empty() {
            return Err(Error::data(path, "holds a header and no template"));
        }
        Ok(Identities { of, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_files_of_ijb_are_read() {
        let media = file("1.jpg 1 69544\n2.jpg 2 28\n3.jpg 2 28\n4.jpg 7 28\n");
        let templates = Templates::read(media.path()).unwrap();
        assert_eq!((templates.names.join(" "), templates.images.len(), templates.media()), ("1 2 7".into(), 4, 3));
        let member = |template, medium, image| Member { template, medium, image };
        assert_eq!(templates.members, [member(0, 0, 0), member(1, 1, 1), member(1, 1, 2), member(2, 1, 3)]);
        let indexed = file(",image,template,medium\n0,1.jpg,1,69544\n1,2.jpg,2,28\n2,3.jpg,2,28\n3,4.jpg,7,28\n");
        assert_eq!(Templates::read(indexed.path()).unwrap().members, templates.members);
        let pairs = file("1 2 1\n1 7 0\n");
        let pair = |a, b, same| TemplatePair { a, b, same };
        assert_eq!(templates.pairs(pairs.path()).unwrap().0, [pair(0, 1, true), pair(0, 2, false)]);
        let gallery = file("TEMPLATE_ID,SUBJECT_ID,FILENAME,MEDIA_ID\n7,5,img/1.jpg,28\n2,9,a.jpg,28\n2,9,b.jpg,28\n");
        let found = templates.identities(gallery.path()).unwrap();
        assert_eq!(found.of, [(2, "5".to_owned()), (1, "9".to_owned())]);
    }

    #[test]
    fn what_is_wrong_with_them_is_named_by_line() {
        let said = |text: &str| Templates::read(file(text).path()).unwrap_err().to_string();
        assert!(said("1.jpg 1\n2.jpg 2\n").contains("2 columns; wanted 3 in each line: image, template, medium"));
        assert!(said("1.jpg 1 5\n2.jpg 2\n").contains("line 2"));
        assert!(said("1.jpg 1 5\n1.jpg 1 5\n").contains("1 of its lines are there twice"));
        let templates = Templates::read(file("1.jpg 1 5\n2.jpg 2 6\n").path()).unwrap();
        let pairs = |text: &str| templates.pairs(file(text).path()).unwrap_err().to_string();
        assert!(pairs("1 2 1\n1 3 0\n").contains("line 2: template 3 has no image"));
        assert!(pairs("1 2 1\n1 2 maybe\n").contains("'maybe' is no answer"));
        assert!(pairs("1 2 1\n").contains("1 genuine and 0 impostor"));
        let identities = |text: &str| templates.identities(file(text).path()).unwrap_err().to_string();
        assert!(identities("1,2\n").contains("TEMPLATE_ID and SUBJECT_ID"));
        assert!(identities("TEMPLATE_ID,SUBJECT_ID\n1,4\n1,5\n").contains("line 3: template 1 is of subject 5"));
    }

    #[test]
    fn a_first_line_with_a_slip_is_no_header() {
        let templates = Templates::read(file("a.jpg 1 5\nb.jpg 2 6\n").path()).unwrap();
        let pairs =
            |text: &str| templates.pairs(file(text).path()).map(|(pairs, _)| pairs.len()).map_err(|e| e.to_string());
        assert!(pairs("1 2 x\n1 2 1\n1 2 0\n").unwrap_err().contains("line 1: 'x' is no answer"));
        assert_eq!(pairs("enroll_template verif_template same\n1 2 1\n1 2 0\n"), Ok(2));
        let media = |text: &str| Templates::read(file(text).path()).unwrap().images.len();
        assert_eq!((media("a.jpg x 5\nb.jpg 2 6\n"), media("image template medium\nb.jpg 2 6\n")), (2, 1));
    }

    #[test]
    fn a_header_says_which_column_is_which() {
        let given = Templates::read(file("image,template,medium\n1.jpg,1,5\n2.jpg,1,6\n3.jpg,2,7\n").path()).unwrap();
        for text in [
            "Image,media_id,template_id\n1.jpg,5,1\n2.jpg,6,1\n3.jpg,7,2\n",
            "TID MID PATH\n1 5 1.jpg\n1 6 2.jpg\n2 7 3.jpg\n",
            // What has no known name takes the place that is left.
            "sequence,fname,template\n5,1.jpg,1\n6,2.jpg,1\n7,3.jpg,2\n",
            "template,clip,photo\n1,5,1.jpg\n1,6,2.jpg\n2,7,3.jpg\n",
        ] {
            let read = Templates::read(file(text).path()).unwrap();
            assert_eq!(
                (&read.members, &read.images, &read.names),
                (&given.members, &given.images, &given.names),
                "{text}"
            );
        }
        let pairs = |text: &str| given.pairs(file(text).path()).unwrap().0;
        let by_place = pairs("1 2 1\n2 2 0\n");
        assert_eq!(pairs("label,template_a,template_b\n1,1,2\n0,2,2\n"), by_place);
        assert_eq!(pairs("t2,same,t1\n2,1,1\n2,0,2\n"), by_place);
        let contrary = given.pairs(file("t1,t2,different\n1,2,0\n2,2,1\n").path()).unwrap_err().to_string();
        assert!(contrary.contains("column 'different' says that two are different"), "{contrary}");
    }

    #[test]
    fn pairs_of_templates_that_share_an_image_are_counted() {
        let media = "a.jpg 1 5\na.jpg 2 6\nb.jpg 2 6\nb.jpg 3 7\nc.jpg 4 8\n";
        let templates = Templates::read(file(media).path()).unwrap();
        let said = |text: &str| templates.shared(&templates.pairs(file(text).path()).unwrap().0);
        assert_eq!(said("1 3 1\n1 4 0\n"), None);
        let found = said("3 4 1\n1 2 1\n2 3 0\n1 3 0\n").unwrap();
        let wanted = "1 of 2 genuine and 1 of 2 impostor pairs are of two templates that share an image, as templates 1 and 2 share a.jpg";
        assert!(found.starts_with(wanted), "{found}");
    }
}
