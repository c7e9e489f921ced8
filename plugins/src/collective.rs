//! `AllGather` and `AllReduce`: exchanges between the ranks of the world, through the processor's memory.
//!
//! An exchange waits for all ranks, so all must make the same ones in the same order. The host's schedule promises no order; the
//! token does: a node runs behind the one whose token it takes, and ranks whose tokens differ are told so instead of being mixed up.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use pdloss_ranks::{Number, World, join_as_guest, world};

use crate::{
    error::{Error, Result},
    ort_api::{Plain, Run, Tensor, TypeCode, type_name},
};

/// Numbers added up at a time: 64 MiB of float64, which is all that an exchange holds beside inputs and outputs.
const BLOCK: usize = 1 << 23;

/// Joins the world, or says why it cannot be joined: before a session runs as one of several that do not know each other.
pub(crate) fn join() -> Result<()> {
    join_as_guest().map(drop).map_err(|error| Error::Ranks(error.to_string()))
}

/// The token that a node was given.
pub(crate) fn token(run: &Run<'_>) -> Result<i64> {
    let token = run.required(0, "token")?;
    match token.as_slice::<i64>()? {
        [number] => Ok(*number),
        _ => Err(Error::tensor("token", "one number", format!("{:?}", token.shape()))),
    }
}

/// Gives it on, with one added.
pub(crate) fn pass_on(run: &Run<'_>, token: i64) -> Result<()> {
    if let Some([output]) = run.output::<i64>(0, &[])? {
        output.write(token + 1);
    }
    Ok(())
}

/// What every rank brings to an exchange, as numbers; all but `own` must be the same everywhere.
pub(crate) fn compare(world: &World, what: &str, own: u64, common: &[u64]) -> Result<Vec<u64>> {
    let bytes: Vec<u8> = [&[own], common].concat().iter().flat_map(|number| number.to_ne_bytes()).collect();
    let all = world.gather(&bytes);
    let all: Vec<Vec<u64>> = all
        .iter()
        .map(|bytes| bytes.as_chunks::<8>().0.iter().map(|number| u64::from_ne_bytes(*number)).collect())
        .collect();
    match all.iter().position(|numbers| numbers[1..] != *common) {
        None => Ok(all.iter().map(|numbers| numbers[0]).collect()),
        Some(other) => Err(Error::Ranks(format!(
            "{what}: rank {other} brings [token, type, lengths ...] {:?}, rank {} {common:?}; wanted the same step graph on all ranks",
            &all[other][1..],
            world.rank(),
        ))),
    }
}

fn number(value: usize) -> u64 {
    value as u64
}

/// `AllGather(token, rows) -> (token, rows of all ranks, place of the own first row)`
pub(crate) fn all_gather(run: &Run<'_>) -> Result<()> {
    let (world, token, rows) = (world(), token(run)?, run.required(1, "rows")?);
    let Some((&count, lengths)) = rows.shape().split_first() else {
        return Err(Error::tensor("rows", "[n, ...]", "a single number"));
    };
    let element = u64::from(rows.element().unsigned_abs());
    let common: Vec<u64> =
        [token.cast_unsigned(), element].into_iter().chain(lengths.iter().map(|&n| number(n))).collect();
    let counts = compare(world, "AllGather", number(count), &common)?;
    let total = usize::try_from(counts.iter().sum::<u64>()).map_err(|_| Error::Ranks("too many rows".to_owned()))?;
    if let Some([output]) = run.output::<i64>(2, &[])? {
        let before: u64 = counts[..world.rank()].iter().sum();
        output.write(before.cast_signed());
    }
    let all = world.gather(rows.as_bytes()?);
    let shape: Vec<usize> = [&[total], lengths].concat();
    if let Some(output) = run.output_bytes(1, rows.element(), &shape)? {
        let mut rest = output;
        for part in &all {
            let (own, others) = rest.split_at_mut(part.len());
            own.write_copy_of_slice(part);
            rest = others;
        }
    }
    pass_on(run, token)
}

/// `AllReduce(token, values...) -> (token, sums over all ranks...)`. What ranks bring is compared when it runs first.
pub(crate) fn all_reduce(run: &Run<'_>, compared: &AtomicBool) -> Result<()> {
    let (world, token, count) = (world(), token(run)?, run.inputs()?);
    let values: Vec<Tensor<'_>> = (1..count).map(|index| run.required(index, "values")).collect::<Result<_>>()?;
    let element = values.first().map_or(0, Tensor::element);
    if !compared.load(Ordering::Relaxed) {
        let lengths = values.iter().map(|value| number(value.shape().iter().product()));
        let common: Vec<u64> =
            [token.cast_unsigned(), u64::from(element.unsigned_abs())].into_iter().chain(lengths).collect();
        compare(world, "AllReduce", 0, &common)?;
        compared.store(true, Ordering::Relaxed);
    }
    match element {
        code if code == <f32 as Plain>::TYPE as TypeCode => sum::<f32>(world, run, &values)?,
        code if code == <f64 as Plain>::TYPE as TypeCode => sum::<f64>(world, run, &values)?,
        other => return Err(Error::tensor("values", "float32 or float64", type_name(other))),
    }
    pass_on(run, token)
}

/// All values as one row of numbers, summed block by block.
fn sum<T: Plain + Number + Default>(world: &World, run: &Run<'_>, values: &[Tensor<'_>]) -> Result<()> {
    let inputs: Vec<&[T]> = values.iter().map(Tensor::as_slice).collect::<Result<_>>()?;
    let outputs = values.iter().enumerate().map(|(index, value)| run.output::<T>(index + 1, value.shape()));
    let mut outputs: Vec<Option<&mut [MaybeUninit<T>]>> = outputs.collect::<Result<_>>()?;
    if world.is_alone() {
        for (input, output) in inputs.iter().zip(outputs.into_iter().flatten()) {
            output.write_copy_of_slice(input);
        }
        return Ok(());
    }
    let total: usize = inputs.iter().map(|input| input.len()).sum();
    let mut block: Vec<T> = Vec::with_capacity(total.min(BLOCK));
    // Where the block began: a value, and a place in it.
    let (mut first, mut start) = (0, 0);
    for at in 0..inputs.len() {
        let mut taken = 0;
        while taken < inputs[at].len() {
            let end = (taken + BLOCK - block.len()).min(inputs[at].len());
            block.extend_from_slice(&inputs[at][taken..end]);
            taken = end;
            if block.len() == BLOCK {
                world.sum(&mut block);
                (first, start) = spread(&block, &mut outputs, &inputs, (first, start));
                block.clear();
            }
        }
    }
    if !block.is_empty() {
        world.sum(&mut block);
        spread(&block, &mut outputs, &inputs, (first, start));
    }
    Ok(())
}

/// Writes a block back to where its numbers came from; where the next one begins.
fn spread<T: Plain>(
    mut block: &[T],
    outputs: &mut [Option<&mut [MaybeUninit<T>]>],
    inputs: &[&[T]],
    (mut at, mut start): (usize, usize),
) -> (usize, usize) {
    while at < inputs.len() {
        let count = (inputs[at].len() - start).min(block.len());
        let (part, rest) = block.split_at(count);
        if let Some(output) = &mut outputs[at] {
            output[start..start + count].write_copy_of_slice(part);
        }
        block = rest;
        start += count;
        if start < inputs[at].len() {
            break;
        }
        (at, start) = (at + 1, 0);
    }
    (at, start)
}
