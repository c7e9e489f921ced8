//! Images to embeddings, as they are and corrupted.

use std::time::Instant;

use super::Plan;
use super::source::{Held, Source};
use crate::Result;
use crate::commands::arguments::Notes;
use crate::commands::{describe_model, same_runtime};
use crate::table::{Record, Value};
use pdloss_embed::console::{inform, note};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::embedder::Prepared;
use pdloss_embed::embeddings::Embeddings;
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::Steps;
use pdloss_embed::ranks::agree;
use pdloss_embed::retrieval::Search;

impl Plan {
    /// Embeds the images of a data set; adds the model and the times.
    ///
    /// # Errors
    /// Those of the model and of the images.
    pub(super) fn embed(
        &self,
        dataset: &Dataset,
        model: &Prepared,
        (steps, skip_bad): (&Steps, bool),
        record: &mut Record,
    ) -> Result<Embeddings> {
        let loading = Instant::now();
        let mut embedder = agree(model.open())?;
        same_runtime(&embedder)?;
        describe_model(model, &embedder, record);
        let seconds_load = loading.elapsed().as_secs_f64();
        let embedding = Instant::now();
        let embedded = embed_over_ranks(dataset, &model.recipe, steps, &mut embedder, self.threads, skip_bad)?;
        let seconds = embedding.elapsed().as_secs_f64();
        for (_, reason) in &embedded.skipped {
            note(&format!("skipped: {reason}"));
        }
        let names: Vec<_> = embedded.skipped.iter().map(|(name, _)| name.as_str()).collect();
        let skipped = (!names.is_empty()).then(|| names.join("; "));
        record.set("data", dataset.source.path().display().to_string()).set("data_sha256", embedded.data_sha256);
        record.set("images_sha256", embedded.images_sha256);
        record.set("format", dataset.format.as_str()).set("part", dataset.part.as_str());
        record.set("skipped", names.len()).set("skipped_images", skipped);
        record.set("seconds_load", seconds_load).set("seconds_embed", seconds);
        record.set("images_per_second", embedded.embeddings.rows.len() as f64 / seconds);
        Ok(embedded.embeddings)
    }

    /// Embeds the same images once more for each corruption, and searches them: a row each behind that of the images as they are.
    pub(super) fn corrupted(
        &self,
        search: &Search,
        record: &Record,
        rows: &mut Vec<Record>,
        notes: &mut Notes,
    ) -> Result<()> {
        let Source::Images { data, model, skip_bad, .. } = &self.source else { return Ok(()) };
        if !self.corruptions.is_empty() {
            for row in rows.iter_mut() {
                row.set("corruption", "none");
            }
        }
        for &corruption in &self.corruptions {
            let started = Instant::now();
            let dataset = agree(Dataset::load(data))?;
            let steps = Steps { corruption: Some(corruption), ..Steps::default() };
            let mut record = record.clone();
            inform(&format!("corrupts images: {}, severity {}", corruption.kind, corruption.severity));
            let embeddings = self.embed(&dataset, model, (&steps, *skip_bad), &mut record)?;
            record.set("corruption", corruption.kind.to_string());
            record.set("severity", usize::from(corruption.severity));
            record.set("corruption_seed", Value::Whole(corruption.seed));
            self.search(Held::Memory(Box::new(embeddings)), search, record, started, rows, notes)?;
        }
        Ok(())
    }
}
