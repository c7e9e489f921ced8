//! Revisited Oxford and Paris: the queries of a ground truth search its gallery, judged in three setups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::RecallArgs;
use super::search::SearchPlan;
use super::source::Held;
use crate::commands::arguments::Notes;
use crate::commands::named::Named;
use crate::commands::retrieval_figures;
use crate::index::{self, FLAT};
use crate::level::level;
use crate::metrics::revisited::{KS, Setup, revisited};
use crate::pairs::GroundTruth;
use crate::table::Record;
use crate::{Error, Result};
use pdloss_embed::console::Progress;
use pdloss_embed::dataset::{Dataset, Item, Limits, Role, Source as Files};
use pdloss_embed::preprocess::{Boxes, Steps};
use pdloss_embed::ranks::world;

/// A ground truth, as it was read.
#[derive(Debug)]
pub(super) struct Listed {
    path: PathBuf,
    truth: GroundTruth,
}

impl Listed {
    /// What was asked for, where a ground truth was.
    ///
    /// # Errors
    /// Those of the file; [`Error::Usage`] for flags that contradict each other.
    pub(super) fn of(args: &RecallArgs) -> Result<Option<Self>> {
        let Some(path) = &args.ground_truth else { return Ok(None) };
        let usage = |text: &str| Err(Error::Usage(text.into()));
        if !world().is_alone() {
            return usage("--ground-truth: is measured by one process");
        }
        if args.index != FLAT {
            return usage("--index: the whole gallery is brought into order, exactly; wanted Flat");
        }
        Ok(Some(Self { path: path.clone(), truth: GroundTruth::read(path)? }))
    }

    /// The images of gallery and queries, as a data set.
    ///
    /// # Errors
    /// [`Error::Image`] for one that is not there; those of the data.
    pub(super) fn dataset(&self, data: &Path, limits: &Limits) -> Result<Dataset> {
        let files = Files::open_within(data, limits)?;
        let (gallery, queries) = self.find(&Named::of_files(files.names()))?;
        let sides = [(gallery, Role::Gallery), (queries, Role::Query)];
        let of_side = |(found, role): (Vec<usize>, Role)| {
            let item = |at: usize| Item { name: files.names()[at].clone(), class: 0, role, camera: None };
            found.into_iter().map(item).collect::<Vec<_>>()
        };
        let items = sides.map(of_side).concat();
        Ok(Dataset::named(files, items, vec!["image".into()], &self.path))
    }

    /// Where gallery and queries are among these names.
    fn find(&self, named: &Named<'_>) -> Result<(Vec<usize>, Vec<usize>)> {
        let find = |wanted: &str| {
            let found = named.find(wanted).map_err(|problem| Error::data(&self.path, problem))?;
            let absent = || Error::image(wanted, format!("is named by {} and is not there", self.path.display()));
            found.ok_or_else(absent)
        };
        let gallery: Vec<usize> = self.truth.gallery.iter().map(|name| find(name)).collect::<Result<_>>()?;
        let queries: Vec<usize> = self.truth.queries.iter().map(|query| find(&query.name)).collect::<Result<_>>()?;
        self.check_once(&gallery, &queries)?;
        Ok((gallery, queries))
    }

    /// Refuses an image that stands twice, which would be found for itself or counted twice.
    fn check_once(&self, gallery: &[usize], queries: &[usize]) -> Result<()> {
        let sides = [
            ("imlist", gallery, self.truth.gallery.iter().collect::<Vec<_>>()),
            ("qimlist", queries, self.truth.queries.iter().map(|query| &query.name).collect()),
        ];
        let mut seen: HashMap<usize, (&str, &String)> = HashMap::new();
        for (list, found, names) in sides {
            for (&at, name) in found.iter().zip(names) {
                let Some((before, first)) = seen.insert(at, (list, name)) else { continue };
                let problem = if before == list {
                    format!("'{list}' has one image twice, as {first} and as {name}; wanted each once")
                } else {
                    format!(
                        "{name} of '{list}' is an image of '{before}', too ({first}): a query that is in the gallery finds itself; wanted it in one of the two"
                    )
                };
                return Err(Error::data(&self.path, problem));
            }
        }
        Ok(())
    }

    /// What is to be said of queries of which no part is named.
    pub(super) fn taken_whole(&self) -> Option<String> {
        let (whole, all) =
            (self.truth.queries.iter().filter(|query| query.part.is_none()).count(), self.truth.queries.len());
        let path = self.path.display();
        (whole > 0).then(|| format!("{whole} of {all} queries of {path} have no bbx and are taken whole"))
    }

    /// The part of each query's image that is searched with.
    ///
    /// # Errors
    /// Those of finding the images.
    pub(super) fn steps(&self, dataset: &Dataset) -> Result<Steps> {
        let names = dataset.source.names();
        let (_, queries) = self.find(&Named::new(names))?;
        let part = |(&at, query): (&usize, &crate::pairs::Judged)| Some((names[at].clone(), query.part?));
        let boxes = Boxes::new(queries.iter().zip(&self.truth.queries).filter_map(part));
        Ok(Steps { part: Some(Arc::new(boxes)), ..Steps::default() })
    }

    /// Searches, and judges what is found: a row a setup.
    ///
    /// # Errors
    /// Those of the search; [`Error::Data`] where no query of a setup has an image to find.
    pub(super) fn measure(
        &self,
        held: &Held,
        search: &SearchPlan,
        record: &Record,
        notes: &mut Notes,
        threads: usize,
    ) -> Result<Vec<Record>> {
        let Held::Memory(embeddings) = held else {
            return Err(Error::Usage("--ground-truth: wants all embeddings in memory".into()));
        };
        let names: Vec<String> = embeddings.rows.iter().map(|row| row.name.clone()).collect();
        let (gallery, queries) = self.find(&Named::new(&names))?;
        let unused = names.len() - gallery.len() - queries.len();
        if unused > 0 {
            notes.add(format!(
                "{unused} of {} embeddings are of images that {} does not name: they are not searched",
                names.len(),
                self.path.display()
            ));
        }
        let select = |rows: &[usize]| embeddings.matrix.select(ndarray::Axis(0), rows);
        let rows = select(&gallery);
        let searching = Instant::now();
        let mut index = index::by(FLAT)(search.metric, rows.view(), &|row| names[gallery[row]].clone())?;
        let mut ranked = Vec::with_capacity(queries.len());
        let progress = Progress::new("searching", "queries", queries.len());
        for query in &queries {
            ranked.extend(index.search(select(&[*query]).view(), gallery.len(), None)?);
            progress.advance(1);
        }
        let seconds = searching.elapsed().as_secs_f64();
        let row = |setup: Setup| {
            let found = revisited(&ranked, &self.truth.queries, setup).ok_or_else(|| {
                Error::data(&self.path, format!("has no query with an image to find in the setup '{}'", setup.as_str()))
            })?;
            let mut row = record.clone();
            row.set("ground_truth", self.path.display().to_string())
                .set("ground_truth_sha256", self.truth.sha256.as_str());
            row.set("setup", setup.as_str()).set("threads", threads).set("metric", search.metric.to_string());
            row.set("index", FLAT)
                .set("faiss_level", level())
                .set("search", super::table::EXACT)
                .set("ties", "by lower row");
            row.set("images", gallery.len() + queries.len()).set("dim", embeddings.dim());
            row.set("queries", found.each.len()).set("gallery", gallery.len());
            row.set("lone_queries", queries.len() - found.each.len()).set("map_revisited", found.map);
            for (k, precision) in KS.iter().zip(found.precision) {
                row.set(format!("mp@{k}"), precision);
            }
            if let Some(how) = &search.bootstrap {
                retrieval_figures::record_revisited_intervals(&found, how, &mut row, notes);
            }
            row.set("seconds_search", seconds);
            Ok(row)
        };
        Setup::ALL.into_iter().map(row).collect()
    }
}

/// The figures, a row a setup, and their intervals.
pub(super) fn print(rows: &[Record], stdout: &mut dyn std::io::Write) -> std::io::Result<()> {
    let is_precision = |name: &str| name.strip_prefix("mp@").is_some_and(|k| k.parse::<usize>().is_ok());
    let row = |row: &Record| {
        let is_shown =
            |name: &str| ["setup", "queries", "gallery", "map_revisited"].contains(&name) || is_precision(name);
        row.pick(|name| is_shown(name).then(|| name.to_owned()))
    };
    writeln!(stdout, "{}", Record::text_over(&rows.iter().map(row).collect::<Vec<_>>(), &rows[0]))?;
    retrieval_figures::print_intervals(rows, false, stdout)
}
