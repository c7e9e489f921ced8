//! Identification of templates: the probes of a list search one gallery after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use super::RecallArgs;
use super::own::set_apart;
use crate::commands::given::paths;
use crate::commands::templates::Listed;
use crate::pairs::{Identities, nearly_the_same};
use crate::table::Record;
use crate::{Error, Result};
use pdloss_embed::dataset::{Format, Role, Split};
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::ranks::world;
use pdloss_embed::retrieval::deepest;

/// A list of identities, and its path.
type List = (PathBuf, Identities);

/// Templates, the galleries that are made of some of them, and those that search these.
#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) templates: Listed,
    galleries: Vec<List>,
    probes: List,
    /// What a slip may have made of the lists: a sentence each.
    pub(super) doubts: Vec<String>,
}

/// A sentence on probes that share an image with a template of their own subject in the gallery.
fn shared(templates: &Listed, gallery: &List, probes: &List) -> Option<String> {
    let list = &templates.list;
    let there: HashMap<u32, &str> =
        gallery.1.of.iter().map(|(template, subject)| (*template, subject.as_str())).collect();
    let mut subjects_of: HashMap<u32, Vec<(u32, &str)>> = HashMap::new();
    for member in &list.members {
        if let Some(&subject) = there.get(&member.template) {
            subjects_of.entry(member.image).or_default().push((member.template, subject));
        }
    }
    let subjects: HashMap<u32, &str> =
        probes.1.of.iter().map(|(template, subject)| (*template, subject.as_str())).collect();
    let found = list.members.iter().filter_map(|member| {
        let subject = subjects.get(&member.template)?;
        let own = subjects_of.get(&member.image)?.iter();
        let (other, _) = own.clone().find(|(template, of)| of == subject && *template != member.template)?;
        Some((member.template, (*other, member.image)))
    });
    let found: BTreeMap<u32, (u32, u32)> = found.collect();
    let (probe, (other, image)) = found.first_key_value()?;
    let name = |template: u32| &list.names[template as usize];
    Some(format!(
        "{}: {} of {} probes share an image with their own subject's template in {}, as {} and {} share {}: these are found by it, whatever the \
         model",
        probes.0.display(),
        found.len(),
        probes.1.of.len(),
        gallery.0.display(),
        name(*probe),
        name(*other),
        list.images[*image as usize]
    ))
}

impl Protocol {
    /// What was asked for, where templates were.
    ///
    /// # Errors
    /// Those of the lists; [`Error::Usage`] for flags that contradict each other.
    pub(super) fn of(args: &RecallArgs) -> Result<Option<Self>> {
        let Some((templates, probes)) = args.templates.as_ref().zip(args.probes.as_ref()) else { return Ok(None) };
        let usage = |text: &str| Err(Error::Usage(text.into()));
        if !world().is_alone() {
            return usage("--templates: they are made by one process");
        }
        let mut places = HashSet::new();
        let is_new = |path: &PathBuf| places.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
        let gallery: Vec<PathBuf> = paths(&args.gallery).into_iter().filter(is_new).collect();
        if args.save_run.is_some() && gallery.len() > 1 {
            return usage("--save-run: keeps the search of one gallery; wanted one in --gallery");
        }
        let data = &args.input.data;
        let is_labelled = data.format != Format::Auto || data.split != Split::Protocol;
        if is_labelled || data.classes.is_some() || data.label.is_some() || data.root.is_some() {
            return usage(
                "--format, --split, --classes, --label and --root choose images of a labelled set; --templates names its own",
            );
        }
        let templates = Listed::read(templates)?;
        let identities = |path: &PathBuf| Ok((path.clone(), templates.list.identities(path)?));
        let galleries: Vec<List> = gallery.iter().map(identities).collect::<Result<_>>()?;
        let probes = identities(probes)?;
        let mut doubts = templates.list.doubts.clone();
        let mut subjects: HashMap<u32, (&str, &PathBuf)> = HashMap::new();
        for (path, list) in galleries.iter().chain([&probes]) {
            for (template, subject) in &list.of {
                let (before, there) = *subjects.entry(*template).or_insert((subject, path));
                if before != subject {
                    let name = &templates.list.names[*template as usize];
                    let problem =
                        format!("template {name} is of subject {subject}, and of {before} in {}", there.display());
                    return Err(Error::data(path, problem));
                }
            }
        }
        let all = galleries.iter().chain([&probes]).flat_map(|(_, list)| &list.of).map(|of| of.1.as_str());
        doubts.extend(nearly_the_same(&probes.0, "subjects of it and of the gallery", all));
        doubts.extend(galleries.iter().filter_map(|gallery| shared(&templates, gallery, &probes)));
        Ok(Some(Self { templates, galleries, probes, doubts }))
    }

    /// The rows of each search, the gallery first, and the names of their classes.
    fn rows(&self) -> impl Iterator<Item = (Vec<Row>, Vec<String>)> {
        self.galleries.iter().map(|(_, gallery)| {
            let (mut classes, mut numbers) = (Vec::new(), HashMap::new());
            let sides = [(gallery, Role::Gallery), (&self.probes.1, Role::Query)];
            let mut row = |(template, subject): &(u32, String), role: Role| {
                let class = *numbers.entry(subject.clone()).or_insert_with(|| {
                    classes.push(subject.clone());
                    classes.len() - 1
                });
                Row::new(self.templates.list.names[*template as usize].clone(), class, role)
            };
            let mut rows = Vec::new();
            for (side, role) in sides {
                rows.extend(side.of.iter().map(|of| row(of, role)));
            }
            (rows, classes)
        })
    }

    /// The rows of every search, the one of the smallest gallery first.
    pub(super) fn searches(&self) -> Vec<Vec<Row>> {
        let mut searches: Vec<Vec<Row>> = self.rows().map(|(rows, _)| rows).collect();
        searches.iter_mut().for_each(|rows| {
            set_apart(rows);
        });
        searches.sort_by_key(|rows| deepest(rows));
        searches
    }

    /// The embeddings of each search, and what is recorded of it.
    ///
    /// # Errors
    /// Those of making templates of their images.
    pub(super) fn embeddings(&self, images: &Embeddings, may_lack: bool) -> Result<Vec<(Record, Embeddings)>> {
        let pooled = self.templates.pool(images, may_lack)?;
        let search = |(gallery, (rows, classes)): (&List, (Vec<Row>, Vec<String>))| {
            let (path, gallery) = gallery;
            let templates: Vec<usize> = gallery.of.iter().chain(&self.probes.1.of).map(|of| of.0 as usize).collect();
            let matrix = pooled.matrix.select(ndarray::Axis(0), &templates);
            let mut record = Record::new();
            self.templates.describe(&mut record);
            record.set("images", self.templates.images_of(&templates).min(images.rows.len()));
            record.set("gallery_list", path.display().to_string()).set("gallery_list_sha256", gallery.sha256.as_str());
            record.set("probe_list", self.probes.0.display().to_string());
            record.set("probe_list_sha256", self.probes.1.sha256.as_str());
            Ok((record, Embeddings::new(matrix, rows, classes)?))
        };
        self.galleries.iter().zip(self.rows()).map(search).collect()
    }

    /// The files that are read, with their flags.
    pub(super) fn inputs(args: &RecallArgs) -> Vec<(&'static str, PathBuf)> {
        let given =
            [("--templates", &args.templates), ("--ground-truth", &args.ground_truth), ("--probes", &args.probes)];
        let lists = given.into_iter().filter_map(|(flag, path)| Some((flag, path.clone()?)));
        lists.chain(paths(&args.gallery).into_iter().map(|path| ("--gallery", path))).collect()
    }
}
