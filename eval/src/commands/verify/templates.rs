//! Pairs of templates: few are kept one by one, as those of images are; many are counted as they come.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Plan;
use super::doubles::{Doubles, Gaps, Kind, both_kinds};
use crate::commands::outcome::Outcome;
use crate::commands::templates::Listed;
use crate::metrics::verification::{self as similarities, GridCounter, SubjectPair, Tally};
use crate::pairs::{Pair, Subjects, TemplatePair};
use crate::runs::{self, Pairs, Person};
use crate::table::Record;
use crate::{Error, Result};
use pdloss_embed::console::Progress;
use pdloss_embed::embeddings::Embeddings;

/// A list of templates, and the pairs of them.
#[derive(Debug)]
pub(super) struct OfTemplates {
    pub(super) templates: Listed,
    pub(super) path: PathBuf,
    /// Those that count.
    pairs: Vec<TemplatePair>,
    /// How many the list has.
    listed: usize,
    sha256: String,
    itself: usize,
    /// What is to be said of the pairs.
    doubts: Vec<String>,
}

impl OfTemplates {
    /// # Errors
    /// Those of the lists.
    pub(super) fn read(templates: &Path, path: &Path, gaps: Gaps) -> Result<Self> {
        let templates = Listed::read(templates)?;
        let (mut pairs, sha256) = templates.list.pairs(path)?;
        let doubles = Doubles::of(pairs.iter().map(|pair| Some((pair.a as usize, pair.b as usize, pair.same))));
        let name = |template: u32| templates.list.names[template as usize].clone();
        let (listed, names) = (pairs.len(), |at: usize| (name(pairs[at].a), name(pairs[at].b)));
        doubles.check((path, listed), Kind::TEMPLATES, gaps, &names)?;
        let (itself, contrary) = (doubles.itself.len(), doubles.contrary.len());
        if itself + contrary > 0 {
            let mut at = 0..;
            pairs.retain(|_| at.next().is_some_and(|at| !doubles.leaves_out(at)));
            both_kinds((path, listed), Kind::TEMPLATES, pairs.iter().map(|pair| pair.same))?;
        }
        let mut doubts = Doubles::notes(path, Kind::TEMPLATES, (itself, contrary, doubles.again));
        doubts.extend(templates.list.shared(&pairs).map(|said| format!("{}: {said}", path.display())));
        Ok(Self { templates, path: path.into(), pairs, listed, sha256, itself, doubts })
    }

    /// Whether the pairs are kept one by one.
    fn are_kept(&self) -> bool {
        self.pairs.len() as u64 <= similarities::KEPT_PAIRS
    }

    /// # Errors
    /// [`Error::Usage`] for intervals of more pairs than are kept.
    pub(super) fn few_enough(&self, bootstrap: bool) -> Result<()> {
        if self.are_kept() || !bootstrap {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--bootstrap: wants its pairs kept, which it does up to {}; {} lists {}. Do without",
            similarities::KEPT_PAIRS,
            self.path.display(),
            self.listed
        )))
    }

    /// The scored pairs, to be kept with a run: templates are what they are of.
    fn keep(&self, subjects: &Subjects, scored: &[SubjectPair]) -> Pairs {
        let person = |(name, &subject): (&String, &u32)| {
            let subject = subjects.names[subject as usize].clone();
            Person { name: name.clone(), subject }
        };
        let pair = |(pair, scored): (&TemplatePair, &SubjectPair)| {
            let TemplatePair { a, b, same } = *pair;
            runs::Pair { a, b, same, score: scored.score, fold: None, right: None }
        };
        Pairs {
            images: self.templates.list.names.iter().zip(&subjects.of).map(person).collect(),
            pairs: self.pairs.iter().zip(scored).map(pair).collect(),
            files: None,
        }
    }

    /// The pairs by subjects, who are told by the genuine pairs.
    fn subjects(&self) -> Subjects {
        let pair = |pair: &TemplatePair| Pair { a: pair.a as usize, b: pair.b as usize, same: pair.same, fold: None };
        Subjects::find(&self.templates.list.names, &self.pairs.iter().map(pair).collect::<Vec<_>>())
    }
}

/// Cosines of the pairs, counted.
fn count(embeddings: &Embeddings, pairs: &[TemplatePair]) -> Result<Tally> {
    const BLOCK: usize = 1 << 16;
    let cosines = similarities::cosines(embeddings)?;
    let counter = GridCounter::default();
    let progress = Progress::new("comparing", "pairs", pairs.len());
    pairs.par_chunks(BLOCK).for_each(|block| {
        let scores = |same: bool| -> Vec<f64> {
            let of_kind = block.iter().filter(|pair| pair.same == same);
            of_kind.map(|pair| cosines.of(pair.a as usize, pair.b as usize)).collect()
        };
        counter.genuine().extend(&scores(true));
        counter.impostor().extend(&scores(false));
        progress.advance(block.len());
    });
    counter.finish()
}

impl Plan {
    pub(super) fn templates(
        &self,
        listed: &OfTemplates,
        embeddings: &Embeddings,
        record: &mut Record,
        notes: &mut crate::commands::arguments::Notes,
    ) -> Result<Outcome> {
        let pooled = listed.templates.pool(embeddings, self.may_lack_images())?;
        listed.templates.describe(record);
        record.set("pairs", listed.path.display().to_string()).set("pairs_sha256", listed.sha256.as_str());
        record.set("pairs_format", "pairs of templates").set("pairs_listed", listed.listed);
        record.set("pairs_with_itself", listed.itself);
        notes.extend(&listed.templates.list.doubts);
        notes.extend(&listed.doubts);
        if !listed.are_kept() {
            record.set("scores", "float64, counted on a grid of 2^-24");
            if self.sinks.keep_pairs() {
                let (most, count) = (similarities::KEPT_PAIRS, listed.pairs.len());
                notes.add(format!("the run keeps counts of its {count} pairs and not the pairs, being more than {most}: compare wants pairs"));
            }
            let outcome = Outcome::new(count(&pooled, &listed.pairs)?, self.title(), "cosine", false);
            return Ok(if self.wanted.all { outcome.assessed(&self.wanted, false, None) } else { outcome });
        }
        let subjects = listed.subjects();
        notes.extend(&subjects.doubts);
        record.set("subjects", subjects.names.len()).set("subjects_by", subjects.by).set("scores", "float64");
        let rows: Vec<(usize, usize)> = listed.pairs.iter().map(|pair| (pair.a as usize, pair.b as usize)).collect();
        let scores = similarities::of_pairs(&pooled, &rows)?;
        let pair = |(pair, score): (&TemplatePair, f64)| {
            let of = |template: u32| subjects.of[template as usize];
            SubjectPair { score, a: of(pair.a), b: of(pair.b), same: pair.same }
        };
        let pairs: Vec<SubjectPair> = listed.pairs.iter().zip(scores).map(pair).collect();
        let tally = similarities::tally(&pairs)?;
        let intervals = self.intervals(&pairs, subjects.names.len(), None, None, notes)?;
        let outcome = Outcome::new(tally, self.title(), "cosine", false).assessed(&self.wanted, false, None);
        let kept = self.sinks.keep_pairs().then(|| listed.keep(&subjects, &pairs));
        Ok(outcome.with_intervals(intervals).with_pairs(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::verification::{Rates, TARGETS, at_fmr};
    use pdloss_embed::dataset::Role;
    use pdloss_embed::embeddings::Row;

    #[test]
    fn counted_pairs_have_the_rates_of_kept_ones() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract();
        #[allow(clippy::cast_possible_truncation)] // noise
        let matrix =
            ndarray::Array2::from_shape_fn((400, 8), |(r, c)| (noise(r % 40 * 8 + c) + noise(9999 + r * 8 + c)) as f32);
        let rows = (0..400).map(|row| Row::new(row.to_string(), 0, Role::Both)).collect();
        let embeddings = Embeddings::new(matrix, rows, vec!["template".into()]).unwrap();
        let pair = |(a, b): (u32, u32)| TemplatePair { a, b, same: a % 40 == b % 40 };
        let pairs: Vec<TemplatePair> = (0..400).flat_map(|a| (0..a).map(move |b| (a, b))).map(pair).collect();
        let counted = count(&embeddings, &pairs).unwrap();
        let at: Vec<(usize, usize)> = pairs.iter().map(|pair| (pair.a as usize, pair.b as usize)).collect();
        let scores = similarities::of_pairs(&embeddings, &at).unwrap();
        let of = |same: bool| -> Vec<f64> {
            scores.iter().zip(&pairs).filter(|(_, pair)| pair.same == same).map(|(score, _)| *score).collect()
        };
        let kept = Tally::of_scores(&of(true), &of(false)).unwrap();
        assert_eq!((counted.genuine(), counted.impostor()), (kept.genuine(), kept.impostor()));
        for (counted, kept) in at_fmr(&counted, &TARGETS).iter().zip(at_fmr(&kept, &TARGETS)) {
            assert!(
                (counted.fnmr - kept.fnmr).abs() < 1e-9 && (counted.fmr - kept.fmr).abs() < 1e-9,
                "{counted:?} {kept:?}"
            );
        }
        assert!((Rates::of(&counted).genuine, Rates::of(&counted).impostor) == (kept.genuine(), kept.impostor()));
    }
}
