//! Embeddings to figures: the search as it was asked for, and what it adds to the record.

use std::time::Instant;

use super::Plan;
use super::own::set_apart;
use super::source::Held;
use super::table::{describe, doubt_of_ties};
use crate::Result;
use crate::commands::arguments::{Notes, class_names, describe_copies, describe_sameness};
use crate::commands::retrieval_figures;
use crate::commands::variants::Variant;
use crate::factory::Factory;
use crate::index;
use crate::metrics::verification::{Bootstrap, MOST_PAIRS, Rates, curve, pair_count, tally_all};
use crate::runs::{Details, Files, Layout, Map, Retrieved, Verified};
use crate::table::{Record, Value};
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::ranks::agree;
use pdloss_embed::retrieval::{Metric, Search, check, deepest};

/// The search, its K still open where the data set's own list is to be used.
#[derive(Debug)]
pub(super) struct SearchPlan {
    pub(super) metric: Metric,
    pub(super) index: String,
    pub(super) ks: Option<Vec<usize>>,
    pub(super) keep_copies: bool,
    pub(super) all: bool,
    pub(super) open_set: bool,
    /// Embeddings as they are, and in less room.
    pub(super) variants: Vec<Variant>,
    /// How intervals are drawn, where they are wanted.
    pub(super) bootstrap: Option<Bootstrap>,
}

impl SearchPlan {
    /// The K to measure, checked against the rows: those that were asked for, else those usual ones that there are others
    /// enough for.
    pub(super) fn check(&self, rows: &[Row], usual: &[usize], notes: &mut Notes) -> Result<Vec<usize>> {
        let ks = match &self.ks {
            Some(ks) => ks.clone(),
            None => {
                let others = deepest(rows);
                let (mut ks, beyond): (Vec<_>, Vec<_>) = usual.iter().partition(|&&k| k <= others);
                if ks.is_empty() {
                    ks.push(1);
                } else if !beyond.is_empty() {
                    let beyond: Vec<_> = beyond.iter().map(usize::to_string).collect();
                    notes.add(format!(
                        "Recall@{} left out: each query has only {others} other images to be found among",
                        beyond.join(", @")
                    ));
                }
                ks
            }
        };
        check(rows, &ks)?;
        Ok(ks)
    }

    /// Refuses ways to keep and to index embeddings of this length that it does not fit, or that want more rows.
    pub(super) fn fits(&self, rows: &[Row], dim: usize) -> Result<()> {
        let gallery = rows.iter().filter(|row| row.role != Role::Query).count() as u64;
        self.variants.iter().try_for_each(|variant| {
            variant.check(dim)?;
            Factory::parse(&variant.factory(&self.index))?.check(gallery, variant.dim(dim) as u64)
        })
    }
}

impl Plan {
    /// Searches the embeddings in each way that they are kept: a row each.
    pub(super) fn search(
        &self,
        mut held: Held,
        search: &Search,
        mut record: Record,
        started: Instant,
        rows: &mut Vec<Record>,
        notes: &mut Notes,
    ) -> Result<Option<Details>> {
        let consequence = if self.search.keep_copies {
            "they count as neighbours"
        } else {
            "they are not among each other's neighbours; --keep-copies counts them"
        };
        describe_copies(held.rows(), (self.search.keep_copies, consequence), notes, &mut record);
        let said = |name: &str| record.get(name).map(Value::word);
        let own = match (said("probe_list"), said("gallery_list")) {
            (Some(probes), Some(gallery)) => {
                set_apart(held.rows_mut()).describe(&format!("templates of {probes} are in"), &gallery)
            }
            _ => set_apart(held.rows_mut()).describe("queries are by name in", "the gallery"),
        };
        notes.extend(own.as_slice());
        describe_sameness(held.rows().len(), held.alike()?, notes);
        if self.search.keep_copies {
            held.rows_mut().iter_mut().for_each(|row| row.image = None);
            set_apart(held.rows_mut());
        }
        record.set("class_names", class_names(held.rows(), held.classes()));
        agree(self.search.fits(held.rows(), held.dim()))?;
        let mut details = None;
        for variant in &self.search.variants {
            let mut row = record.clone();
            let (dim, factory) = (variant.dim(held.dim()), variant.factory(&self.search.index));
            row.set("storage", variant.storage.to_string()).set("embedding_bytes", variant.bytes(dim));
            let searching = Instant::now();
            let measured = held.measure(variant, search, &index::by(&factory), notes)?;
            row.set("seconds_search", searching.elapsed().as_secs_f64());
            describe(&mut row, (held.rows(), dim), (search, &factory), &measured, self.threads);
            let how = format!("{dim} numbers in {}", variant.storage);
            notes.extend(doubt_of_ties(&measured, &how).as_slice());
            retrieval_figures::record(&measured, &mut row);
            if self.search.open_set {
                agree(retrieval_figures::record_open_set(&measured, &mut row))?;
            }
            if let Some(how) = &self.search.bootstrap {
                retrieval_figures::record_intervals(&measured, held.rows(), self.search.open_set, how, &mut row, notes);
            }
            if let (Held::Memory(embeddings), true) = (&held, self.search.all) {
                let varied = variant.of(embeddings);
                retrieval_figures::record_clusters(&varied, search.metric, &mut row)?;
            }
            if self.save_run.is_some() {
                details = Some(Details::Retrieval(match &held {
                    Held::Memory(embeddings) => {
                        let scores = scores(embeddings, search, &mut row, notes)?;
                        let map = Map::of(embeddings, search.metric == Metric::Cosine, self.map);
                        if self.map == Layout::Tsne && !map.as_ref().is_some_and(Map::has_tsne) {
                            notes.add("no layout by t-SNE: the images are too few, or all alike");
                        }
                        Retrieved::new(
                            (&embeddings.rows, &embeddings.classes),
                            &measured,
                            scores,
                            map,
                            Files::of(embeddings),
                        )
                    }
                    Held::File(kept, _) => {
                        notes.add(
                            "the map and d' of all pairs are left out of the run: they want all embeddings in memory",
                        );
                        Retrieved::new((&kept.rows, &kept.classes), &measured, None, None, None)
                    }
                }));
            }
            row.set("seconds_total", started.elapsed().as_secs_f64());
            rows.push(row);
        }
        Ok(details)
    }
}

/// How far genuine and impostor cosines are apart, where images are searched by these among themselves; adds the figures.
fn scores(
    embeddings: &Embeddings,
    search: &Search,
    record: &mut Record,
    notes: &mut Notes,
) -> Result<Option<Verified>> {
    let has_roles = embeddings.rows.iter().any(|row| row.role != Role::Both);
    if search.metric != Metric::Cosine || has_roles {
        let why = if has_roles { "of queries and a gallery" } else { "by another measure than cosine" };
        notes.add(format!("d' of all pairs is left out of the run: it is of images searched among themselves by cosine, and these are searched {why}"));
        return Ok(None);
    }
    let pairs = pair_count(embeddings.rows.len());
    if pairs > MOST_PAIRS {
        notes.add(format!(
            "d' of all {pairs} pairs is left out of the run, being of more than {MOST_PAIRS}: verify --all-pairs --max-pairs compares them"
        ));
        return Ok(None);
    }
    let comparing = Instant::now();
    let Some(tally) = tally_all(embeddings)? else { return Ok(None) };
    record.set("seconds_compare", comparing.elapsed().as_secs_f64());
    let rates = Rates::of(&tally);
    notes.extend(&rates.doubts());
    record.set("genuine_pairs", Value::Whole(rates.genuine)).set("impostor_pairs", Value::Whole(rates.impostor));
    let wanted = ["d_prime", "eer", "auc", "mu_genuine", "mu_impostor", "sd_genuine", "sd_impostor"];
    for (name, value) in rates.figures().into_iter().filter(|(name, _)| wanted.contains(&name.as_str())) {
        record.set(name, value);
    }
    Ok(Some(Verified::of(&tally, &curve(&tally), 1.0)))
}
