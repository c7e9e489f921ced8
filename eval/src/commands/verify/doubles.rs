//! Pairs of a list that cannot count, and those that count more than once: of one with itself, called both genuine and impostor, listed
//! again. Of images and of templates alike.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use crate::{Error, Result};

/// Which pairs a run goes on without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    /// Those whose images are not there.
    pub(super) missing: bool,
    /// Those of an image, or of a template, with itself.
    pub(super) itself: bool,
    /// Those that are called both genuine and impostor.
    pub(super) contrary: bool,
}

/// Pairs of a list that are there more than once, or are of one with itself.
#[derive(Debug, Default)]
pub(super) struct Doubles {
    /// Positions of pairs of one with itself, in order.
    pub(super) itself: Vec<usize>,
    /// How many say again what one before them says.
    pub(super) again: usize,
    /// Positions of those of which others say the contrary.
    pub(super) contrary: HashSet<usize>,
}

/// What a list's pairs are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) one: &'static str,
    pub(super) two: &'static str,
}

impl Kind {
    pub(super) const IMAGES: Self = Self { one: "an image", two: "two images" };
    pub(super) const TEMPLATES: Self = Self { one: "a template", two: "two templates" };
}

impl Doubles {
    /// Of each pair, what it is of and whether that is the same person; `None` where something is not there.
    pub(super) fn of(pairs: impl Iterator<Item = Option<(usize, usize, bool)>>) -> Self {
        let mut doubles = Self::default();
        let number = |n: usize| u32::try_from(n).expect("fewer than 2^32 of them fit in memory");
        let mut places: Vec<(u32, u32, u32, bool)> = Vec::new();
        for (at, pair) in pairs.enumerate() {
            match pair {
                Some((a, b, _)) if a == b => doubles.itself.push(at),
                Some((a, b, same)) => places.push((number(a.min(b)), number(a.max(b)), number(at), same)),
                None => {}
            }
        }
        places.par_sort_unstable();
        for of_one in places.chunk_by(|p, q| (p.0, p.1) == (q.0, q.1)) {
            if of_one.iter().all(|place| place.3 == of_one[0].3) {
                doubles.again += of_one.len() - 1;
            } else {
                doubles.contrary.extend(of_one.iter().map(|place| place.2 as usize));
            }
        }
        doubles
    }

    /// Whether a run goes on without this pair.
    pub(super) fn leaves_out(&self, at: usize) -> bool {
        self.itself.binary_search(&at).is_ok() || self.contrary.contains(&at)
    }

    /// Refuses what a run does not go on without; `names` are those of a pair.
    ///
    /// # Errors
    /// [`Error::Data`] naming the first such pair.
    pub(super) fn check(
        &self,
        (path, listed): (&Path, usize),
        kind: Kind,
        gaps: Gaps,
        names: &dyn Fn(usize) -> (String, String),
    ) -> Result<()> {
        if let Some(&first) = self.itself.first().filter(|_| !gaps.itself) {
            let problem = format!(
                "{} of its {listed} pairs are {} with itself, the first {}; wanted {} a pair. --skip-bad goes on without them",
                self.itself.len(),
                kind.one,
                names(first).0,
                kind.two
            );
            return Err(Error::data(path, problem));
        }
        if let Some(&first) = self.contrary.iter().min().filter(|_| !gaps.contrary) {
            let (a, b) = names(first);
            let problem = format!(
                "{} of its {listed} pairs are called both genuine and impostor, the first {a} and {b}; wanted one. --skip-bad goes on \
                 without them",
                self.contrary.len()
            );
            return Err(Error::data(path, problem));
        }
        Ok(())
    }

    /// What is to be said where a run goes on; `itself` is how many pairs it left out as of one with itself.
    pub(super) fn notes(path: &Path, kind: Kind, (itself, contrary, again): (usize, usize, usize)) -> Vec<String> {
        let mut notes = Vec::new();
        if itself > 0 {
            notes.push(format!("left out {itself} pairs of {} with itself", kind.one));
        }
        if contrary > 0 {
            notes.push(format!("left out {contrary} pairs that are called both genuine and impostor"));
        }
        if again > 0 {
            let path = path.display();
            notes.push(format!(
                "{again} pairs of {path} are listed again, in either order; each counts as often as it is listed"
            ));
        }
        notes
    }
}

/// Refuses pairs of one kind alone, which are what a list has left.
///
/// # Errors
/// [`Error::Data`] with their numbers.
pub(super) fn both_kinds((path, listed): (&Path, usize), kind: Kind, left: impl Iterator<Item = bool>) -> Result<()> {
    let (genuine, impostor) =
        left.fold(
            (0_usize, 0_usize),
            |(genuine, impostor), same| {
                if same { (genuine + 1, impostor) } else { (genuine, impostor + 1) }
            },
        );
    if genuine > 0 && impostor > 0 {
        return Ok(());
    }
    let problem = format!(
        "{genuine} genuine and {impostor} impostor pairs of {} are there of its {listed}; verification needs both",
        kind.two
    );
    Err(Error::data(path, problem))
}
