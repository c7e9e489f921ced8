//! Who is on each image of a list. Lists seldom say; their names and their genuine pairs do.

use std::collections::HashMap;

use super::Pair;

/// A subject's number for each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// By position in the list's images.
    pub of: Vec<u32>,
    /// A name for each.
    pub names: Vec<String>,
    /// How they were found.
    pub by: &'static str,
    /// What names and answers say against each other: a sentence each.
    pub doubts: Vec<String>,
}

impl Subjects {
    /// By the images' folders, or by their file names without the last number, whichever agrees with every pair of the
    /// list; else images linked by genuine pairs are one person, and any other is a person of its own.
    pub fn find(images: &[String], pairs: &[Pair]) -> Self {
        let folder = |name: &String| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let before_number = |name: &String| {
            let stem = name.rsplit('/').next().unwrap_or(name);
            let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
            let person = stem.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['_', '-']);
            (!person.is_empty() && person != stem).then(|| person.to_owned())
        };
        let agrees = |of: &[u32]| pairs.iter().all(|p| (of[p.a] == of[p.b]) == p.same);
        let by_name = |name: &dyn Fn(&String) -> Option<String>, by: &'static str| {
            let mut numbers: HashMap<String, u32> = HashMap::new();
            let (mut of, mut names) = (Vec::with_capacity(images.len()), Vec::new());
            for image in images {
                let number = *numbers.entry(name(image)?).or_insert_with_key(|name| {
                    names.push(name.clone());
                    u32::try_from(names.len() - 1).expect("fewer than 2^32 of them fit in memory")
                });
                of.push(number);
            }
            agrees(&of).then_some(Self { of, names, by, doubts: Vec::new() })
        };
        by_name(&folder, "folders").or_else(|| by_name(&before_number, "file names")).unwrap_or_else(|| {
            let doubts =
                [against(images, pairs, &folder, "folders"), against(images, pairs, &before_number, "file names")];
            let doubt = doubts.into_iter().flatten().next();
            let mut linked = Self::linked(images, pairs);
            linked.doubts.splice(..0, doubt);
            linked
        })
    }

    fn linked(images: &[String], pairs: &[Pair]) -> Self {
        let mut parent: Vec<usize> = (0..images.len()).collect();
        fn root(parent: &mut [usize], mut at: usize) -> usize {
            while parent[at] != at {
                parent[at] = parent[parent[at]];
                at = parent[at];
            }
            at
        }
        for pair in pairs.iter().filter(|p| p.same) {
            let (a, b) = (root(&mut parent, pair.a), root(&mut parent, pair.b));
            parent[a.max(b)] = a.min(b);
        }
        let mut numbers: HashMap<usize, u32> = HashMap::new();
        let mut names = Vec::new();
        let number = |at: usize| {
            *numbers.entry(root(&mut parent, at)).or_insert_with(|| {
                names.push(format!("subject of {}", images[at]));
                u32::try_from(names.len() - 1).expect("fewer than 2^32 of them fit in memory")
            })
        };
        let of: Vec<u32> = (0..images.len()).map(number).collect();
        let mut torn = pairs.iter().filter(|pair| !pair.same && of[pair.a] == of[pair.b]);
        let first = torn.next();
        let doubt = first.map(|first| {
            format!(
                "{} impostor pairs are of images that genuine pairs say are one person, the first {} and {}: an answer must be wrong",
                1 + torn.count(),
                images[first.a],
                images[first.b]
            )
        });
        Self { of, names, by: "genuine links", doubts: doubt.into_iter().collect() }
    }
}

/// What is to be said of answers that names of images contradict: those few where nearly all of each kind agree with the names.
fn against(images: &[String], pairs: &[Pair], name: &dyn Fn(&String) -> Option<String>, by: &str) -> Option<String> {
    /// Of genuine and of impostor pairs each, this share of agreement is no accident.
    const NEARLY_ALL: f64 = 0.8;
    let people: Vec<String> = images.iter().map(name).collect::<Option<_>>()?;
    let agrees = |pair: &&Pair| (people[pair.a] == people[pair.b]) == pair.same;
    let share = |same: bool| {
        let of_kind = pairs.iter().filter(|pair| pair.same == same);
        of_kind.clone().filter(agrees).count() as f64 / of_kind.count() as f64
    };
    if !(share(true) >= NEARLY_ALL && share(false) >= NEARLY_ALL) {
        return None;
    }
    let mut contrary = pairs.iter().filter(|pair| !agrees(pair));
    let first = contrary.next()?;
    Some(format!(
        "{} of {} pairs say otherwise than the {by} of their images, the first {} and {} ({}): are the answers right?",
        1 + contrary.count(),
        pairs.len(),
        images[first.a],
        images[first.b],
        if first.same { "genuine" } else { "impostor" }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: usize, b: usize, same: bool) -> Pair {
        Pair { a, b, same, fold: None }
    }

    #[test]
    fn names_count_where_they_agree_with_the_pairs() {
        let images = ["A/1.jpg", "A/2.jpg", "B/1.jpg"].map(String::from);
        let found = Subjects::find(&images, &[pair(0, 1, true), pair(1, 2, false)]);
        assert_eq!((found.of, found.names.len(), found.by), (vec![0, 0, 1], 2, "folders"));
        let images = ["all/Al_1.jpg", "all/Al_2.jpg", "all/Bo_1.jpg"].map(String::from);
        let found = Subjects::find(&images, &[pair(0, 1, true), pair(1, 2, false)]);
        assert_eq!((found.of, found.by), (vec![0, 0, 1], "file names"));
    }

    #[test]
    fn answers_that_names_or_other_answers_contradict_are_said() {
        let images: Vec<String> = (0..20).map(|n| format!("{}/{n}.jpg", ["A", "B"][n / 10])).collect();
        let mut pairs: Vec<Pair> = (0..9).flat_map(|n| [pair(n, n + 1, true), pair(n, n + 10, false)]).collect();
        assert_eq!(Subjects::find(&images, &pairs).doubts, [""; 0]);
        pairs.push(pair(0, 19, true));
        let doubts = Subjects::find(&images, &pairs).doubts;
        assert!(
            doubts[0].contains("1 of 19 pairs say otherwise than the folders")
                && doubts[0].contains("A/0.jpg and B/19.jpg (genuine)")
        );
        assert_eq!(doubts.len(), 1);
        // Names that say nothing of people are no reason for doubt, answers that cannot all be true are.
        let images = ["x/1.jpg", "y/2.jpg", "z/3.jpg"].map(String::from);
        let doubts = Subjects::find(&images, &[pair(0, 1, true), pair(1, 2, true), pair(0, 2, false)]).doubts;
        assert!(doubts[0].contains(
            "1 impostor pairs are of images that genuine pairs say are one person, the first x/1.jpg and z/3.jpg"
        ));
        assert_eq!(doubts.len(), 1);
    }

    #[test]
    fn genuine_pairs_link_nameless_images() {
        let images = ["1.jpg", "2.jpg", "3.jpg", "4.jpg"].map(String::from);
        let found = Subjects::find(&images, &[pair(0, 1, true), pair(2, 1, true), pair(0, 3, false)]);
        assert_eq!((found.of, found.names.len(), found.by), (vec![0, 0, 0, 1], 2, "genuine links"));
    }
}
