//! The embeddings that `verify` compares: of images, mirrored and aligned as asked, or kept ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ndarray::{Axis, concatenate};
use pdloss_embed::console::{inform, note, wrote};
use pdloss_embed::dataset::{Dataset, Request};
use pdloss_embed::embedder::Prepared;
use pdloss_embed::embeddings::{Embeddings, rows_sha256};
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::{Landmarks, Steps};
use pdloss_embed::ranks::{agree, of_first, same};

use super::arguments::Flip;
use super::listed::{images_of, names_sha256};
use super::{Plan, Which};
use crate::commands::arguments::Notes;
use crate::commands::groups::Grouping;
use crate::commands::seen::seen;
use crate::commands::suggest::doubt_of;
use crate::commands::{alike, describe_list, describe_model, efficiency, same_runtime};
use crate::table::Record;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) enum Source {
    Images {
        data: PathBuf,
        request: Box<Request>,
        model: Box<Prepared>,
        how: How,
        save: Option<PathBuf>,
        efficiency: bool,
    },
    Kept {
        path: PathBuf,
        labels: Option<PathBuf>,
        dim: Option<usize>,
    },
}

/// How images become embeddings, beside the model's own recipe.
#[derive(Debug)]
pub(super) struct How {
    pub(super) flip: Option<Flip>,
    pub(super) align: Option<(PathBuf, Landmarks)>,
    pub(super) skip_bad: bool,
}

impl Plan {
    /// The embeddings, and the names of all images that were there, of which bad ones may have been left out.
    pub(super) fn embeddings(&self, record: &mut Record, notes: &mut Notes) -> Result<(Embeddings, Vec<String>)> {
        match &self.source {
            Source::Kept { path, labels, dim } => {
                let (embeddings, sha256) = agree(Embeddings::read_part(path, *dim, labels.as_deref()))?;
                notes.extend(&embeddings.notes);
                same("the SHA-256 of the embeddings", &sha256)?;
                record.set("data", path.display().to_string()).set("data_sha256", sha256);
                // Of what is kept, a list of pairs takes what it names, and templates say themselves who they are.
                let rows = match &self.which {
                    Which::All => Some(rows_sha256(&embeddings.rows, &embeddings.classes)),
                    Which::Templates(listed) => {
                        Some(names_sha256(listed.templates.list.images.iter().map(String::as_str)))
                    }
                    Which::Listed(_) => None,
                };
                record.set("rows_sha256", rows);
                let there = embeddings.rows.iter().map(|row| row.name.clone()).collect();
                Ok((embeddings, there))
            }
            Source::Images { data, request, model, how, save, efficiency } => {
                let dataset = match &self.which {
                    Which::All => {
                        let dataset = agree(Dataset::load(request))?;
                        agree(both_kinds(&dataset))?;
                        agree(self.few_enough(dataset.items.len()))?;
                        alike(&dataset, model)?;
                        describe_list(request, &dataset, record);
                        inform(&format!("compares {}", dataset.in_words_of(request)));
                        dataset
                    }
                    Which::Listed(listed) => images_of(listed, data, &request.limits)?,
                    Which::Templates(listed) => listed.templates.dataset(data, &request.limits)?,
                };
                if let Some(groups) = &self.groups {
                    agree(self.check_groups(groups, &dataset))?;
                }
                notes.extend(&dataset.notes);
                notes.extend(&of_first(|| Ok(seen(&model.model().path, &dataset)))?);
                if let Some((path, landmarks)) = &how.align {
                    notes.extend(landmarks.doubt().map(|said| format!("{}: {said}", path.display())).as_slice());
                }
                let mut embeddings = embed(&dataset, model, how, self.threads, record)?;
                notes.extend(&embeddings.notes);
                if *efficiency {
                    efficiency::record(model, notes, record)?;
                }
                if let Some(path) = save {
                    embeddings.notes = notes.said().to_vec();
                    embeddings.save(path)?;
                    wrote(path);
                }
                // Pairs are looked up once more among the same names: a smaller choice may have other namesakes.
                let there = dataset.source.names().to_vec();
                if how.align.is_none()
                    && !matches!(self.which, Which::Templates(_))
                    && let Some(sentence) = of_first(|| doubt_of(model, dataset, self.threads))?
                {
                    notes.add(sentence);
                }
                Ok((embeddings, there))
            }
        }
    }
}

impl Plan {
    /// Refuses groups that no pair has, before anything is embedded.
    fn check_groups(&self, groups: &Grouping, dataset: &Dataset) -> Result<()> {
        match &self.which {
            Which::Listed(listed) => {
                let names = listed.names_among(dataset.source.names())?;
                groups.check(&names, Some(&listed.list.pairs))
            }
            _ => {
                let names: Vec<String> = dataset.items.iter().map(|item| item.name.clone()).collect();
                groups.check(&names, None)
            }
        }
    }
}

/// All pairs of a labelled set are genuine and impostor ones.
fn both_kinds(dataset: &Dataset) -> Result<()> {
    let mut counts = vec![0_u64; dataset.classes.len()];
    dataset.items.iter().for_each(|item| counts[item.class] += 1);
    let present = counts.iter().filter(|&&n| n > 0).count();
    if present > 1 && counts.iter().any(|&n| n > 1) {
        return Ok(());
    }
    Err(Error::data(
        dataset.source.path(),
        format!(
            "{} images of {present} classes make no {} pairs; verification needs both kinds",
            dataset.items.len(),
            if present > 1 { "genuine" } else { "impostor" }
        ),
    ))
}

/// Embeds every image, and its mirror image where that is wanted.
fn embed(dataset: &Dataset, model: &Prepared, how: &How, threads: usize, record: &mut Record) -> Result<Embeddings> {
    let names: Vec<&str> = dataset.items.iter().map(|item| item.name.as_str()).collect();
    let align = agree(how.align.as_ref().map(|(_, landmarks)| landmarks.under(&names).map(Arc::new)).transpose())?;
    let loading = Instant::now();
    let mut embedder = agree(model.open())?;
    same_runtime(&embedder)?;
    describe_model(model, &embedder, record);
    record.set(
        "align",
        how.align.as_ref().map(|(path, _)| format!("five landmarks of {}, ArcFace template 112x112", path.display())),
    );
    let flip = match how.flip {
        None => "none",
        Some(Flip::Add) => "add: sum of both embeddings",
        Some(Flip::Concat) => "concat: both embeddings, one after the other",
    };
    record.set("flip", flip);
    let seconds_load = loading.elapsed().as_secs_f64();
    let started = Instant::now();
    let steps = Steps { align, ..Steps::default() };
    let embedded = embed_over_ranks(dataset, &model.recipe, &steps, &mut embedder, threads, how.skip_bad)?;
    let mut embeddings = embedded.embeddings;
    if let Some(flip) = how.flip {
        let steps = Steps { mirror: true, ..steps };
        let mirrored =
            embed_over_ranks(dataset, &model.recipe, &steps, &mut embedder, threads, how.skip_bad)?.embeddings;
        let matrix = match flip {
            Flip::Add => &embeddings.matrix + &mirrored.matrix,
            Flip::Concat => concatenate(Axis(1), &[embeddings.matrix.view(), mirrored.matrix.view()])
                .map_err(|e| Error::Embeddings(format!("mirror images: {e}")))?,
        };
        embeddings.matrix = matrix.as_standard_layout().into_owned();
        agree(embeddings.check())?;
    }
    let seconds = started.elapsed().as_secs_f64();
    embedded.skipped.iter().for_each(|(_, reason)| note(&format!("skipped: {reason}")));
    let skipped: Vec<_> = embedded.skipped.iter().map(|(name, _)| name.as_str()).collect();
    record.set("data", dataset.source.path().display().to_string()).set("data_sha256", embedded.data_sha256);
    record.set("images_sha256", embedded.images_sha256);
    record.set("format", dataset.format.as_str()).set("part", dataset.part.as_str());
    record.set("skipped", skipped.len()).set("skipped_images", (!skipped.is_empty()).then(|| skipped.join("; ")));
    record.set("seconds_load", seconds_load).set("seconds_embed", seconds);
    record.set("images_per_second", embeddings.rows.len() as f64 / seconds);
    Ok(embeddings)
}
