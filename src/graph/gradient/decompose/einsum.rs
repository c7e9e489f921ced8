//! `Einsum` as matrix products.

use super::{super::tape::Tape, Spelling};
use crate::graph::{
    Error, Result,
    build::{Dim, int},
    proto::NodeProto,
    shapes::einsum::{Equation, Label},
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    (operator == "Einsum").then_some(einsum as Spelling)
}

/// A value whose axes have labels.
struct Term {
    value: String,
    labels: Vec<Label>,
}

/// Operands are multiplied from the left to the right. Axes that nothing needs any more are summed as soon as that is so.
fn einsum(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let ranks: Vec<usize> = node.input.iter().map(|name| tape.rank(name)).collect::<Result<_>>()?;
    let equation = Equation::read(node.text("equation", ""), &ranks).map_err(|reason| node.error(reason))?;
    if let Some(operand) = equation.diagonal() {
        let reason = format!(
            "its equation '{}' takes a diagonal of operand {operand}, which cannot be differentiated; take it with \
             GatherElements or a product with the unit matrix",
            node.text("equation", "")
        );
        return Err(node.error(reason));
    }
    let mut terms = node.input.iter().zip(&equation.inputs);
    let mut terms = terms.by_ref().map(|(value, labels)| Term { value: value.clone(), labels: labels.clone() });
    let mut left = terms.next().ok_or_else(|| node.error("it has no operand"))?;
    let mut rest: Vec<Term> = terms.collect();
    while !rest.is_empty() {
        let right = rest.remove(0);
        let later =
            |label: &Label| equation.output.contains(label) || rest.iter().any(|term| term.labels.contains(label));
        left = product(tape, left, right, &later)?;
    }
    let summed = sum_out(tape, left, &|label| equation.output.contains(label))?;
    let order: Vec<usize> =
        equation.output.iter().filter_map(|label| summed.labels.iter().position(|other| other == label)).collect();
    tape.transpose(&summed.value, &order)
}

/// Sums over the axes that are not wanted.
fn sum_out(tape: &mut Tape<'_>, term: Term, wanted: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|&axis| !wanted(&term.labels[axis])).collect();
    let value = tape.reduce("ReduceSum", &term.value, &axes, false)?;
    Ok(Term { value, labels: term.labels.into_iter().filter(wanted).collect() })
}

/// The product of two terms, summed over what neither `later` nor the other terms want.
fn product(tape: &mut Tape<'_>, left: Term, right: Term, later: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let left = sum_out(tape, left, &|label| later(label) || right.labels.contains(label))?;
    let right = sum_out(tape, right, &|label| later(label) || left.labels.contains(label))?;
    let shared = |label: &&Label| right.labels.contains(label);
    let stacks: Vec<Label> = left.labels.iter().filter(shared).filter(|label| later(label)).copied().collect();
    let inner: Vec<Label> = left.labels.iter().filter(shared).filter(|label| !later(label)).copied().collect();
    let rows: Vec<Label> = left.labels.iter().filter(|label| !right.labels.contains(label)).copied().collect();
    let columns: Vec<Label> = right.labels.iter().filter(|label| !left.labels.contains(label)).copied().collect();
    if inner.is_empty() {
        return elementwise(tape, &left, &right, [&stacks, &rows, &columns]);
    }
    let a = ordered(tape, &left, &[&stacks, &rows, &inner])?;
    let b = ordered(tape, &right, &[&stacks, &inner, &columns])?;
    let (row_lengths, column_lengths) = (lengths(tape, &left, &rows)?, lengths(tape, &right, &columns)?);
    let a = merged(tape, &a, stacks.len(), [rows.len(), inner.len()])?;
    let b = merged(tape, &b, stacks.len(), [inner.len(), columns.len()])?;
    let value = tape.op("MatMul", &[&a, &b])?;
    let mut target = vec![0; stacks.len()];
    target.extend(row_lengths.iter().chain(&column_lengths));
    let value =
        if rows.len() == 1 && columns.len() == 1 { value } else { tape.reshape(&value, &free_one(&value, target)?)? };
    Ok(Term { value, labels: [stacks, rows, columns].concat() })
}

/// The product where nothing is summed: axes that one has alone are repeated along the other.
fn elementwise(tape: &mut Tape<'_>, left: &Term, right: &Term, [stacks, rows, columns]: [&[Label]; 3]) -> Result<Term> {
    let a = ordered(tape, left, &[stacks, rows])?;
    let b = ordered(tape, right, &[stacks, columns])?;
    let behind: Vec<usize> = (stacks.len() + rows.len()..stacks.len() + rows.len() + columns.len()).collect();
    let between: Vec<usize> = (stacks.len()..stacks.len() + rows.len()).collect();
    let (a, b) = (tape.unsqueeze(&a, &behind)?, tape.unsqueeze(&b, &between)?);
    let value = tape.op("Mul", &[&a, &b])?;
    Ok(Term { value, labels: [stacks, rows, columns].concat() })
}

/// The term with its axes in this order.
fn ordered(tape: &mut Tape<'_>, term: &Term, order: &[&[Label]]) -> Result<String> {
    let places = order.iter().flat_map(|labels| labels.iter());
    let perm: Vec<usize> = places.filter_map(|label| term.labels.iter().position(|other| other == label)).collect();
    tape.transpose(&term.value, &perm)
}

/// The lengths of some axes; -1 where a length is not known.
fn lengths(tape: &Tape<'_>, term: &Term, labels: &[Label]) -> Result<Vec<i64>> {
    let shape = tape.shape(&term.value)?;
    let length = |label: &Label| {
        let axis = term.labels.iter().position(|other| other == label).unwrap_or(0);
        if let Dim::Known(length) = shape[axis] { int(length) } else { -1 }
    };
    Ok(labels.iter().map(length).collect())
}

/// Behind the stacks, two groups of axes become one axis each.
fn merged(tape: &mut Tape<'_>, value: &str, stacks: usize, groups: [usize; 2]) -> Result<String> {
    if groups == [1, 1] {
        return Ok(value.to_owned());
    }
    let shape = tape.shape(value)?;
    let mut target = vec![0; stacks];
    let mut at = stacks;
    for group in groups {
        let known = |dim: &Dim| if let Dim::Known(length) = dim { Some(int(*length)) } else { None };
        let lengths: Option<Vec<i64>> = shape[at..at + group].iter().map(known).collect();
        target.push(lengths.map_or(-1, |lengths| lengths.iter().product()));
        at += group;
    }
    let target = free_one(value, target)?;
    tape.reshape(value, &target)
}

/// The target of a `Reshape`, in which at most one length may be unknown.
fn free_one(value: &str, target: Vec<i64>) -> Result<Vec<i64>> {
    if target.iter().filter(|&&length| length == -1).count() > 1 {
        let reason = "more than one length of its product is not known, and its gradient needs them";
        return Err(Error::model(value, reason));
    }
    Ok(target)
}
