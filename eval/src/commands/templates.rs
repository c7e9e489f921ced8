//! Templates in place of images: the images that they are made of, and what is made of these.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::named::{Named, namesakes};
use crate::metrics::templates::pool;
use crate::pairs::Templates;
use crate::table::Record;
use crate::{Error, Result};
use pdloss_embed::dataset::{Dataset, Item, Limits, Role, Source as Files};
use pdloss_embed::embeddings::{Embeddings, Row};

/// A list of templates, as it was read.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) list: Templates,
}

impl Listed {
    /// # Errors
    /// Those of the list.
    pub(super) fn read(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), list: Templates::read(path)? })
    }

    /// The images of the list, as a data set.
    ///
    /// # Errors
    /// [`Error::Image`] for one that is not there; those of the data.
    pub(super) fn dataset(&self, data: &Path, limits: &Limits) -> Result<Dataset> {
        let files = Files::open_within(data, limits)?;
        let found = self.find(&Named::of_files(files.names()))?;
        self.once_each(&found)?;
        let said = namesakes(&self.path, &self.list.images, &found, files.names(), Some(data))?;
        let item = |at: usize| Item { name: files.names()[at].clone(), class: 0, role: Role::Both, camera: None };
        let mut items = Vec::with_capacity(found.len());
        for (wanted, found) in self.list.images.iter().zip(found) {
            let at = found.ok_or_else(|| {
                Error::image(wanted, format!("is named by {} and is not in {}", self.path.display(), data.display()))
            })?;
            items.push(item(at));
        }
        let mut dataset = Dataset::named(files, items, vec!["image".into()], &self.path);
        dataset.notes.extend(said);
        Ok(dataset)
    }

    fn find(&self, named: &Named<'_>) -> Result<Vec<Option<usize>>> {
        let find = |image: &String| named.find(image).map_err(|problem| Error::data(&self.path, problem));
        self.list.images.iter().map(find).collect()
    }

    /// Refuses a medium that has one image under two spellings, in which it would count twice.
    fn once_each(&self, found: &[Option<usize>]) -> Result<()> {
        let mut seen: HashMap<(u32, u32, usize), u32> = HashMap::new();
        for member in &self.list.members {
            let Some(row) = found[member.image as usize] else { continue };
            if let Some(before) = seen.insert((member.template, member.medium, row), member.image) {
                let [one, other] = [before, member.image].map(|image| &self.list.images[image as usize]);
                let template = &self.list.names[member.template as usize];
                let problem = format!(
                    "{one} and {other} of template {template} are one image in two spellings; wanted each image of a medium once"
                );
                return Err(Error::data(&self.path, problem));
            }
        }
        Ok(())
    }

    /// The embeddings of the templates, each named as the list does. `may_lack` is whether images may be missing among the embeddings,
    /// having been skipped.
    ///
    /// # Errors
    /// [`Error::Image`] for one that is not there; those of [`pool`].
    pub(super) fn pool(&self, embeddings: &Embeddings, may_lack: bool) -> Result<Embeddings> {
        let names: Vec<String> = embeddings.rows.iter().map(|row| row.name.clone()).collect();
        let found = self.find(&Named::new(&names))?;
        if let Some(lacking) = found.iter().position(Option::is_none).filter(|_| !may_lack) {
            let absent = found.iter().filter(|found| found.is_none()).count();
            let problem = format!(
                "is named by {}, and no row of the embeddings has this name ({absent} of {} images lack one)",
                self.path.display(),
                found.len()
            );
            return Err(Error::image(&self.list.images[lacking], problem));
        }
        self.once_each(&found)?;
        let name = |template: usize| self.list.names[template].clone();
        let matrix = pool(embeddings.matrix.view(), &self.list.members, &found, self.list.names.len(), &name)?;
        let rows = self.list.names.iter().map(|name| Row::new(name.clone(), 0, Role::Both)).collect();
        Embeddings::new(matrix, rows, vec!["template".into()])
    }

    /// How many distinct images these templates have.
    pub(super) fn images_of(&self, templates: &[usize]) -> usize {
        let templates: HashSet<usize> = templates.iter().copied().collect();
        let members = self.list.members.iter().filter(|member| templates.contains(&(member.template as usize)));
        members.map(|member| member.image).collect::<HashSet<_>>().len()
    }

    /// Adds the list, and how many templates of how many media it has.
    pub(super) fn describe(&self, record: &mut Record) {
        record.set("templates", self.path.display().to_string()).set("templates_sha256", self.list.sha256.as_str());
        record.set("template_count", self.list.names.len()).set("media", self.list.media());
    }
}
