//! Whether two runs are on the same data, and in what else than the model they differ.

use std::collections::HashMap;
use std::path::Path;

use crate::runs::{Details, Pair, Pairs, Query, Retrieved, Run};
use crate::table::Value;
use crate::{Error, Result};

/// Two runs that may be on other data.
pub(super) struct Apart<'a> {
    pub(super) a: &'a Path,
    pub(super) b: &'a Path,
    /// What they are called.
    pub(super) called: (&'a str, &'a str),
}

impl Apart<'_> {
    /// The K that both runs report; those of one alone are noted.
    pub(super) fn recall_ks(&self, a: &Run, b: &Run, notes: &mut Vec<String>) -> Vec<usize> {
        let ks = |run: &Run| -> Vec<usize> {
            run.records[0].iter().filter_map(|(name, _)| name.strip_prefix("recall@")?.parse().ok()).collect()
        };
        let (of_a, of_b) = (ks(a), ks(b));
        for (run, own, others) in [(self.called.0, &of_a, &of_b), (self.called.1, &of_b, &of_a)] {
            let alone: Vec<String> = own.iter().filter(|k| !others.contains(k)).map(usize::to_string).collect();
            if !alone.is_empty() {
                notes.push(format!("recall@K is not compared for the K that only {run} has: {}", alone.join(", ")));
            }
        }
        of_a.into_iter().filter(|k| of_b.contains(k)).collect()
    }

    /// Refuses runs whose images, or whose lists of pairs, are not the same, in whatever order. Kept embeddings do not know their images:
    /// there, names and classes, and how many were searched, must agree.
    pub(super) fn same_data(&self, a: &Run, b: &Run, notes: &mut Vec<String>) -> Result<()> {
        let both = |name: &str| word(a, name).zip(word(b, name));
        let digests =
            if both("model_sha256").is_some() { &["data_sha256", "pairs_sha256"][..] } else { &["pairs_sha256"] };
        for name in digests {
            if let Some((of_a, of_b)) = both(name).filter(|(a, b)| a != b) {
                let (called_a, called_b) = self.called;
                let words = format!("{name} is {of_a} in {called_a} and {of_b} in {called_b}");
                let is_order = match *name {
                    "data_sha256" => both("images_sha256").is_some_and(|(a, b)| a == b),
                    // The pairs that are kept say all that counts of their list, and where it is another.
                    _ => match (&a.details, &b.details) {
                        (Details::Verification(of_a), Details::Verification(of_b)) => {
                            let pairs = of_a.pairs.as_ref().zip(of_b.pairs.as_ref());
                            pairs.map(|(of_a, of_b)| self.pairs(of_a, of_b)).transpose()?.is_some()
                        }
                        _ => false,
                    },
                };
                if !is_order {
                    return Err(self.by(&words));
                }
                notes.push(format!("{words}: the same in another order, or in other words"));
            }
        }
        for (called, run) in [(self.called.0, a), (self.called.1, b)].iter().filter(|_| both("model_sha256").is_some())
        {
            if word(run, "data_sha256").is_none() {
                notes.push(format!("{called} does not say data_sha256: only names and classes are known to agree"));
            }
        }
        if both("model_sha256").is_none() {
            // Of a gallery without a query's rivals it is the better found in.
            for name in ["gallery", "classes"] {
                if let Some((of_a, of_b)) = both(name).filter(|(a, b)| a != b) {
                    return Err(self.by(&format!("{name} is {of_a} in {}, {of_b} in {}", self.called.0, self.called.1)));
                }
            }
            let is_made_up = |of: &Details| match of {
                Details::Retrieval(of) => of.queries.iter().all(|query| is_place(&query.name)),
                _ => false,
            };
            notes.push(if is_made_up(&a.details) && is_made_up(&b.details) {
                "kept embeddings without names: rows are paired by their places alone, and only classes are known to agree".into()
            } else {
                "kept embeddings do not say which images they are of: only names and classes are known to agree".into()
            });
        }
        Ok(())
    }

    fn by(&self, what: &str) -> Error {
        let (a, b) = (self.a.display(), self.b.display());
        Error::Usage(format!("{a} and {b} were not measured on the same data: {what}"))
    }

    /// Where the two are not the same.
    fn place(&self, what: &str, at: usize, of_a: &str, of_b: &str) -> String {
        format!("{what} {} is {of_a} in {}, {of_b} in {}", at + 1, self.called.0, self.called.1)
    }

    /// What is said of queries that share their names: whether the runs have them in one order is then known by the digest of the data
    /// alone.
    pub(super) fn doubled(&self, a: &Run, b: &Run, queries: &[Query]) -> Option<String> {
        let digest = |run: &Run| word(run, "data_sha256");
        let mut names: HashMap<&str, usize> = HashMap::new();
        queries.iter().for_each(|query| *names.entry(query.name.as_str()).or_default() += 1);
        let doubled = queries.iter().filter(|query| names[query.name.as_str()] > 1);
        let first = doubled.clone().next().filter(|_| digest(a).is_none() || digest(a) != digest(b))?;
        Some(format!(
            "{} of {} queries share their names with others, the first '{}': they are paired in the order of {} and {}, which is not known to be \
             the same; wanted a name for each",
            doubled.count(),
            queries.len(),
            first.name,
            self.called.0,
            self.called.1
        ))
    }

    /// Refuses kept embeddings whose rows are called otherwise, where queries or pairs do not show it.
    pub(super) fn rows(&self, a: &Run, b: &Run) -> Result<()> {
        match word(a, "rows_sha256").zip(word(b, "rows_sha256")).filter(|(a, b)| a != b) {
            None => Ok(()),
            Some((of_a, of_b)) => Err(self.by(&format!(
                "names, classes, roles or cameras of their rows differ: rows_sha256 is {of_a} in {}, {of_b} in {}",
                self.called.0, self.called.1
            ))),
        }
    }

    pub(super) fn queries(&self, a: &Retrieved, b: &Retrieved) -> Result<()> {
        let (a, b) = (&a.queries, &b.queries);
        if a.len() != b.len() {
            return Err(self.by(&format!("{} has {} queries, {} {}", self.called.0, a.len(), self.called.1, b.len())));
        }
        if a.is_empty() {
            return Err(Error::data(self.a, "holds no queries"));
        }
        let same = |a: &Query, b: &Query| (&a.name, &a.class, a.relevant) == (&b.name, &b.class, b.relevant);
        match a.iter().zip(b).position(|(a, b)| !same(a, b)) {
            None => Ok(()),
            Some(at) => {
                let words = |q: &Query| format!("{} of class {} with {} others", q.name, q.class, q.relevant);
                Err(self.by(&self.place("query", at, &words(&a[at]), &words(&b[at]))))
            }
        }
    }

    pub(super) fn pairs(&self, a: &Pairs, b: &Pairs) -> Result<()> {
        if a.pairs.len() != b.pairs.len() {
            return Err(self.by(&format!(
                "{} has {} pairs, {} {}",
                self.called.0,
                a.pairs.len(),
                self.called.1,
                b.pairs.len()
            )));
        }
        let about = |of: &Pairs, p: &Pair| {
            let (a, b) = (&of.images[p.a as usize].name, &of.images[p.b as usize].name);
            (a.clone(), b.clone(), p.same, p.fold)
        };
        match a.pairs.iter().zip(&b.pairs).position(|(p, q)| about(a, p) != about(b, q)) {
            None => Ok(()),
            Some(at) => {
                let but_for_fold = |of: &Pairs| {
                    let (first, second, same, _) = about(of, &of.pairs[at]);
                    (first, second, same)
                };
                let is_fold = but_for_fold(a) == but_for_fold(b);
                let words = |of: &Pairs| {
                    let (first, second, same, fold) = about(of, &of.pairs[at]);
                    let fold = fold.filter(|_| is_fold).map_or(String::new(), |fold| format!(" in fold {}", fold + 1));
                    format!("{first} and {second} ({}){fold}", if same { "genuine" } else { "impostor" })
                };
                let of_lines =
                    if is_fold { "; a list without a column of folds has them by the order of its lines" } else { "" };
                Err(self.by(&format!("{}{of_lines}", self.place("pair", at, &words(a), &words(b)))))
            }
        }
    }
}

/// Whether a name is a row's place, which stands for one where there is none.
fn is_place(name: &str) -> bool {
    name.strip_prefix("row ").is_some_and(|place| place.parse::<usize>().is_ok())
}

/// What a run says of this name, where it says something.
fn word(run: &Run, name: &str) -> Option<String> {
    run.records[0].get(name).map(Value::word).filter(|word| !word.is_empty())
}

/// What the runs differ in beside the model: a difference of figures may come of it.
pub(super) fn other_differences(a: &Run, b: &Run, (called_a, called_b): (&str, &str)) -> Vec<String> {
    let is_one_model = word(a, "model_sha256").is_some() && word(a, "model_sha256") == word(b, "model_sha256");
    // Another model may want its images otherwise, and has outputs of its own.
    let of_one_model: &[&str] = if is_one_model { &["output", "preprocessing"] } else { &[] };
    let names = ["metric", "index", "flip", "align", "runtime"].iter().chain(of_one_model);
    let is_one_run = |name: &str| {
        let (of_a, of_b) = (a.records[0].get(name), b.records[0].get(name));
        of_a.is_some() && of_a == of_b
    };
    // Nobody's two runs take the same time to the last digit.
    if is_one_model && is_one_run("seconds_total") && is_one_run("data_sha256") {
        return vec![format!("{called_a} and {called_b} are one run: it is compared with itself")];
    }
    let differ = |name: &&str| {
        let (of_a, of_b) = (word(a, name)?, word(b, name)?);
        let others = if is_one_model { "are one model and differ" } else { "differ in more than the model" };
        (of_a != of_b).then(|| {
            let (of_a, of_b) = (alone(&of_a, &of_b), alone(&of_b, &of_a));
            format!("{called_a} and {called_b} {others}: {name} is {of_a} in {called_a} and {of_b} in {called_b}")
        })
    };
    names.filter_map(differ).collect()
}

/// Of settings that are joined by blanks, such as steps of preprocessing, those that the other has not; all of them, where it has each.
fn alone(own: &str, other: &str) -> String {
    let others: Vec<&str> = other.split(' ').collect();
    let left: Vec<&str> = own.split(' ').filter(|setting| !others.contains(setting)).collect();
    if left.is_empty() { own.to_owned() } else { left.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_settings_those_that_differ_are_said() {
        let (a, b) = ("color=rgb pad=112x112+15+18 resize=exact:81x81", "color=rgb resize=exact:112x112");
        assert_eq!(alone(a, b), "pad=112x112+15+18 resize=exact:81x81");
        assert_eq!(alone(b, a), "resize=exact:112x112");
        assert_eq!(alone("color=rgb", "color=rgb flip=add"), "color=rgb");
    }
}
