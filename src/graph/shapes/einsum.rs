//! The equations of `Einsum`.

use crate::graph::build::Dim;

/// One axis of an operand: a letter, or one of those that an ellipsis stands for, counted from behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Label {
    Letter(char),
    Behind(usize),
}

/// An equation over operands of known rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Equation {
    pub(crate) inputs: Vec<Vec<Label>>,
    pub(crate) output: Vec<Label>,
}

impl Equation {
    /// Reads an equation for operands with these numbers of axes.
    pub(crate) fn read(text: &str, ranks: &[usize]) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(format!("its equation '{text}' has {} terms, the node {} inputs", terms.len(), ranks.len()));
        }
        let inputs: Vec<Vec<Label>> =
            terms.iter().zip(ranks).map(|(term, &rank)| labels(term, Some(rank))).collect::<Result<_, String>>()?;
        let widest = inputs.iter().flatten().map(|label| if let Label::Behind(at) = label { at + 1 } else { 0 });
        let widest = widest.max().unwrap_or(0);
        let output = match right {
            Some(right) => {
                let letters = right.chars().filter(char::is_ascii_alphabetic).count();
                let rank = letters + if right.contains("...") { widest } else { 0 };
                labels(right, Some(rank))?
            }
            None => {
                // What stands once, in the order of the alphabet, behind the ellipsis.
                let all: Vec<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
                let mut once: Vec<char> =
                    all.iter().copied().filter(|c| all.iter().filter(|other| *other == c).count() == 1).collect();
                once.sort_unstable();
                let behind = (0..widest).rev().map(Label::Behind);
                behind.chain(once.into_iter().map(Label::Letter)).collect()
            }
        };
        if let Some(label) = output.iter().find(|label| !inputs.iter().flatten().any(|input| input == *label)) {
            return Err(format!("its equation '{text}' has {label:?} in the result, but in no operand"));
        }
        Ok(Self { inputs, output })
    }

    /// The lengths of the result.
    pub(crate) fn shape(&self, shapes: &[Vec<Dim>]) -> Vec<Dim> {
        let length = |label: &Label| {
            let places = self.inputs.iter().zip(shapes).flat_map(|(labels, shape)| labels.iter().zip(shape));
            let mut lengths = places.filter(|(other, _)| *other == label).map(|(_, dim)| dim.clone());
            let first = lengths.next().unwrap_or(Dim::Unknown);
            lengths.fold(first, |one, other| if one == Dim::Known(1) || one == Dim::Unknown { other } else { one })
        };
        self.output.iter().map(length).collect()
    }

    /// An operand that has a letter twice: its diagonal is meant.
    pub(crate) fn diagonal(&self) -> Option<usize> {
        let twice = |labels: &Vec<Label>| labels.iter().enumerate().any(|(at, label)| labels[..at].contains(label));
        self.inputs.iter().position(twice)
    }
}

/// The labels of a term; an ellipsis stands for as many axes as are missing to `rank`.
fn labels(term: &str, rank: Option<usize>) -> Result<Vec<Label>, String> {
    let letters = |part: &str| -> Result<Vec<Label>, String> {
        match part.chars().find(|c| !c.is_ascii_alphabetic()) {
            Some(other) => Err(format!("its equation has '{other}' in the term '{term}'")),
            None => Ok(part.chars().map(Label::Letter).collect()),
        }
    };
    let (mut front, back) = match term.split_once("...") {
        Some((front, back)) => (letters(front)?, Some(letters(back)?)),
        None => (letters(term)?, None),
    };
    let named = front.len() + back.as_ref().map_or(0, Vec::len);
    let rank = rank.unwrap_or(named);
    let wrong = || format!("the term '{term}' of its equation does not fit {rank} axes");
    let missing = rank.checked_sub(named).ok_or_else(wrong)?;
    match back {
        Some(back) => {
            front.extend((0..missing).rev().map(Label::Behind));
            front.extend(back);
        }
        None if missing > 0 => return Err(wrong()),
        None => {}
    }
    Ok(front)
}

#[cfg(test)]
mod tests {
    use super::{Equation, Label};

    #[test]
    fn equations_are_read() {
        let read =
            |text: &str, ranks: &[usize]| Equation::read(text, ranks).unwrap_or_else(|reason| panic!("{reason}"));
        let letters = |text: &str| text.chars().map(Label::Letter).collect::<Vec<_>>();
        let plain = read("bhid, bhjd -> bhij", &[4, 4]);
        assert_eq!((plain.inputs, plain.output), (vec![letters("bhid"), letters("bhjd")], letters("bhij")));
        assert_eq!(read("ba,ac", &[2, 2]).output, letters("bc"));
        let stacked = read("...ij,jk->...ik", &[4, 2]);
        assert_eq!(stacked.output[..2], [Label::Behind(1), Label::Behind(0)]);
        assert_eq!(read("ii->i", &[2]).diagonal(), Some(0));
        for (text, ranks) in [("ij->k", &[2][..]), ("ij", &[3]), ("i,j->ij", &[1]), ("i1->i", &[2])] {
            assert!(Equation::read(text, ranks).is_err(), "{text}");
        }
    }
}
