//! Pairs to figures: all pairs of a set, or those of a list, whose threshold is chosen on other pairs.

use pdloss_embed::embeddings::Embeddings;

use super::Plan;
use super::doubles::{Doubles, Kind};
use super::images::Source;
use super::listed::{Listed, folds_of, score};
use crate::Result;
use crate::commands::arguments::Notes;
use crate::commands::assess::Development;
use crate::commands::outcome::Outcome;
use crate::commands::retrieval_figures::FEW;
use crate::metrics::verification::{
    self as similarities, Accuracy, Decisions, Division, Folds, Interval, SubjectPair, Tally, best_threshold,
    bootstrap, cross_validate, test_at,
};
use crate::pairs::Subjects;
use crate::runs::{Files, Pair, Pairs, Person};
use crate::table::Record;

impl Plan {
    pub(super) fn all_pairs(
        &self,
        embeddings: &Embeddings,
        counted: Option<Tally>,
        record: &mut Record,
        notes: &mut Notes,
    ) -> Result<Outcome> {
        let mut present: Vec<usize> = embeddings.rows.iter().map(|row| row.class).collect();
        present.sort_unstable();
        present.dedup();
        record.set("pairs", "all against all").set("subjects", present.len());
        let kept = counted.is_none();
        record.set("scores", if kept { "float64" } else { "float64, counted on a grid of 2^-24" });
        if let Some(counted) = counted {
            let outcome = Outcome::new(counted, self.title(), "cosine", false);
            // Each of its figures goes over the whole grid of scores.
            return Ok(if self.wanted.all { outcome.assessed(&self.wanted, false, None) } else { outcome });
        }
        let pairs = similarities::keep_all(embeddings)?;
        let tally = similarities::tally(&pairs)?;
        let intervals = self.intervals(&pairs, embeddings.classes.len(), None, None, notes)?;
        let names: Vec<String> = embeddings.rows.iter().map(|row| row.name.clone()).collect();
        let subjects = (&pairs[..], embeddings.classes.len());
        let how = self.bootstrap.as_ref();
        let grouped = self
            .groups
            .as_ref()
            .map(|groups| groups.of(&names, similarities::all_rows(embeddings), subjects, &tally, how, notes));
        let grouped = grouped.transpose()?;
        let kept = self.sinks.keep_pairs().then(|| Pairs::of_all(embeddings, &pairs));
        let outcome = Outcome::new(tally, self.title(), "cosine", false).assessed(&self.wanted, false, None);
        Ok(outcome.with_intervals(intervals).with_groups(grouped).with_pairs(kept))
    }

    pub(super) fn intervals(
        &self,
        pairs: &[SubjectPair],
        subjects: usize,
        right: Option<&[bool]>,
        development: Option<&Development>,
        notes: &mut Notes,
    ) -> Result<Vec<Interval>> {
        let Some(how) = &self.bootstrap else { return Ok(Vec::new()) };
        if subjects < FEW {
            notes.add(format!("only {subjects} subjects: the intervals are rough"));
        }
        // Those of every figure take twice as long.
        let asked = self.wanted.all.then(|| self.wanted.asked(false, development));
        bootstrap(pairs, subjects, right, asked.as_ref(), how)
    }

    pub(super) fn listed(
        &self,
        listed: &Listed,
        embeddings: &Embeddings,
        there: &[String],
        record: &mut Record,
        notes: &mut Notes,
    ) -> Result<Outcome> {
        let list = &listed.list;
        let scored = score(&listed.path, list, embeddings, there, listed.gaps)?;
        if scored.copies > 0 {
            notes.add(format!(
                "{} of the {} pairs of {} are two copies of one image (files of equal bytes); they count",
                scored.copies,
                scored.scores.len(),
                listed.path.display()
            ));
        }
        notes.extend(&scored.left_out(&listed.path, list.pairs.len()));
        let left_out = (scored.itself, scored.contrary, scored.again);
        notes.extend(&Doubles::notes(&listed.path, Kind::IMAGES, left_out));
        notes.extend(&scored.namesakes);
        notes.extend(&list.notes);
        if let Some((_, training)) = &listed.training {
            notes.extend(&training.notes);
        }
        let subjects = Subjects::find(&list.images, &list.pairs);
        notes.extend(&subjects.doubts);
        record.set("pairs", listed.path.display().to_string()).set("pairs_sha256", list.sha256.as_str());
        record.set("pairs_format", list.format).set("pairs_listed", list.pairs.len());
        record.set("pairs_without_image", scored.missing).set("pairs_with_bad_image", scored.bad);
        record.set("pairs_with_itself", scored.itself).set("pairs_of_copies", scored.copies);
        record.set("subjects", subjects.names.len()).set("subjects_by", subjects.by).set("scores", "float64");
        if let Source::Kept { .. } = self.source {
            record.set("rows_sha256", scored.rows_sha256(embeddings));
        }
        let folds = folds_of(list, &scored.kept);
        notes.extend(folds.as_ref().filter(|_| listed.training.is_none()).and_then(Folds::doubt).as_slice());
        let on = Decisions { scores: &scored.scores, same: &scored.same };
        let mut development = None;
        let accuracy = match (&listed.training, &folds) {
            (Some((path, training)), _) => {
                let trained = score(path, training, embeddings, there, listed.gaps)?;
                notes.extend(&trained.namesakes);
                let shared = scored.shared(&trained);
                if shared > 0 {
                    notes.add(format!(
                        "{shared} pairs are in both {} and {}: the threshold was chosen on pairs that it is tested on",
                        listed.path.display(),
                        path.display()
                    ));
                }
                let threshold = best_threshold(&Decisions { scores: &trained.scores, same: &trained.same });
                let of = |same: bool| {
                    let pairs = trained.scores.iter().zip(&trained.same);
                    pairs.filter(|(_, of)| **of == same).map(|(score, _)| *score).collect::<Vec<_>>()
                };
                match Tally::of_scores(&of(true), &of(false)) {
                    Ok(tally) => development = Some(Development { tally, name: path.display().to_string() }),
                    Err(error) => notes.add(format!("no HTER, for {} has {error}", path.display())),
                }
                record
                    .set("threshold_pairs", path.display().to_string())
                    .set("threshold_pairs_sha256", training.sha256.as_str());
                let listed_folds = folds.as_ref().filter(|f| f.division == Division::Listed);
                let accuracy = test_at(&on, listed_folds, threshold);
                let words = format!(
                    "{}, threshold chosen on {} pairs of {}",
                    accuracy.folds.len(),
                    trained.scores.len(),
                    path.display()
                );
                Some((accuracy, words))
            }
            (None, Some(folds)) => Some((cross_validate(&on, folds)?, folds.describe())),
            (None, None) => {
                notes.add("no accuracy: folds need at least two genuine and two impostor pairs");
                None
            }
        };
        let pair = |(&at, &score): (&usize, &f64)| {
            let pair = &list.pairs[at];
            SubjectPair { score, a: subjects.of[pair.a], b: subjects.of[pair.b], same: pair.same }
        };
        let pairs: Vec<SubjectPair> = scored.kept.iter().zip(&scored.scores).map(pair).collect();
        let right = accuracy.as_ref().map(|(accuracy, _)| right(accuracy, folds.as_ref(), &on));
        let intervals = self.intervals(&pairs, subjects.names.len(), right.as_deref(), development.as_ref(), notes)?;
        let tally = similarities::tally(&pairs)?;
        let of_pairs = scored.kept.iter().map(|&at| (list.pairs[at].a, list.pairs[at].b));
        let (counted, how) = ((&pairs[..], subjects.names.len()), self.bootstrap.as_ref());
        let grouped =
            self.groups.as_ref().map(|groups| groups.of(&scored.names, of_pairs, counted, &tally, how, notes));
        let grouped = grouped.transpose()?;
        let kept = self.sinks.keep_pairs().then(|| {
            let person = |(name, &subject): (String, &u32)| {
                let subject = subjects.names[subject as usize].clone();
                Person { name, subject }
            };
            let images = scored.names.into_iter().zip(&subjects.of).map(person).collect();
            let several = accuracy.as_ref().is_some_and(|(accuracy, _)| accuracy.folds.len() > 1);
            let pair = |(at, (&listed, &score)): (usize, (&usize, &f64))| {
                let number = |n: usize| u32::try_from(n).expect("fewer than 2^32 of them fit in memory");
                let listed = &list.pairs[listed];
                let fold = folds.as_ref().filter(|_| several).map(|folds| number(folds.of[at]));
                let right = right.as_ref().map(|right| right[at]);
                Pair { a: number(listed.a), b: number(listed.b), same: listed.same, score, fold, right }
            };
            let pairs = scored.kept.iter().zip(&scored.scores).enumerate().map(pair).collect();
            Pairs { images, pairs, files: Files::of(embeddings) }
        });
        Ok(Outcome::new(tally, self.title(), "cosine", false)
            .assessed(&self.wanted, false, development.as_ref())
            .with_accuracy(accuracy)
            .with_intervals(intervals)
            .with_groups(grouped)
            .with_pairs(kept))
    }
}

/// Whether each pair is decided rightly at its fold's threshold.
fn right(accuracy: &Accuracy, folds: Option<&Folds>, on: &Decisions<'_>) -> Vec<bool> {
    let threshold = |at: usize| match folds {
        Some(folds) if accuracy.folds.len() == folds.count => accuracy.folds[folds.of[at]].threshold,
        _ => accuracy.folds[0].threshold,
    };
    on.scores.iter().zip(on.same).enumerate().map(|(at, (&score, &same))| (score >= threshold(at)) == same).collect()
}
