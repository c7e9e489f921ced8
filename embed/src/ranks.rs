//! What the ranks of a run tell each other as Rust values: results, and errors that all of them end with. In a world of one
//! everything is what it was.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use pdloss_ranks::{World, alone, share_of, world};

use crate::error::{Error, Result};

/// One rank's error, as the others hear of it.
#[derive(Serialize, serde::Deserialize)]
struct Told {
    host: String,
    problem: String,
    code: u8,
}

/// Waits for all ranks: what this one has, or on every rank the error of the first one that failed, with its name and host.
///
/// # Errors
/// [`Error::Ranks`].
pub fn agree<T>(own: Result<T>) -> Result<T> {
    let world = world();
    if world.is_alone() {
        return own;
    }
    let told = own.as_ref().err().map(|error| {
        let told = Told { host: world.host().to_owned(), problem: error.to_string(), code: error.exit_code() };
        serde_json::to_vec(&told).unwrap_or_else(|_| b"{}".to_vec())
    });
    let all = world.gather(&told.unwrap_or_default());
    let Some(rank) = all.iter().position(|told| !told.is_empty()) else { return own };
    let Told { host, problem, code } = serde_json::from_slice(&all[rank]).unwrap_or_else(|_| Told {
        host: String::new(),
        problem: "failed".into(),
        code: 1,
    });
    let is_everywhere = all.iter().all(|told| {
        serde_json::from_slice(told).is_ok_and(|told: Told| (&told.problem, told.code) == (&problem, code))
    });
    let who = if is_everywhere { String::new() } else { format!("rank {rank} on {host}: ") };
    Err(Error::Ranks { who, problem, code })
}

/// What `work` gives on the first rank, on all of them.
///
/// # Errors
/// That of the first rank, on all of them.
pub fn of_first<T: Serialize + DeserializeOwned>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let world = world();
    if world.is_alone() {
        return work();
    }
    let own = if world.is_first() { work().map(Some) } else { Ok(None) };
    let own = agree(own)?;
    let text = own.as_ref().map(|value| coded(value)).transpose();
    let text = world.broadcast(agree(text)?.unwrap_or_default());
    match own {
        Some(value) => Ok(value),
        None => decoded(&text),
    }
}

/// Brings what the ranks have each a part of to the first one: `length` bytes of this rank, of which `part` gives some at a time. The first
/// rank's `take` gets them in rank order, block by block, so that no rank ever holds them all. Where `take` fails, the rest still travels,
/// so that no rank waits for ever.
///
/// # Errors
/// The first error of `take`.
pub fn stream(
    length: usize,
    part: &dyn Fn(Range<usize>) -> Vec<u8>,
    take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    /// Bytes that travel at a time.
    const BLOCK: usize = 1 << 24;
    let world = world();
    let mut taken = Ok(());
    for (rank, length) in world.gather_numbers(length as u64).into_iter().enumerate() {
        let length = usize::try_from(length).expect("a length in memory");
        for first in (0..length).step_by(BLOCK) {
            let own = if rank == world.rank() { part(first..(first + BLOCK).min(length)) } else { Vec::new() };
            // What the first rank has itself needs no exchange.
            let block = if rank == 0 { own } else { world.collect(&own) };
            if world.is_first() && taken.is_ok() {
                taken = take(&block);
            }
        }
    }
    taken
}

/// A value of every rank, in rank order, on all of them.
///
/// # Errors
/// [`Error::Measure`] where a value cannot be told.
pub fn all<T: Serialize + DeserializeOwned>(own: &T) -> Result<Vec<T>> {
    world().gather(&coded(own)?).iter().map(|text| decoded(text)).collect()
}

/// Refuses to go on where a text is not the same on all ranks; `what` names it.
///
/// # Errors
/// [`Error::Ranks`] on every rank, naming the first two that differ.
pub fn same(what: &str, own: &str) -> Result<()> {
    let world = world();
    if world.is_alone() {
        return Ok(());
    }
    let texts = all(&(world.host().to_owned(), own.to_owned()))?;
    let Some(other) = texts.iter().position(|(_, text)| *text != texts[0].1) else { return Ok(()) };
    let say = |rank: usize| format!("{} on rank {rank} ({})", texts[rank].1, texts[rank].0);
    let problem = format!("{what} differs between ranks: {}, {}; wanted the same on all", say(0), say(other));
    Err(Error::Ranks { who: String::new(), problem, code: 1 })
}

fn coded<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(untold)
}

fn decoded<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(untold)
}

fn untold(error: serde_json::Error) -> Error {
    Error::Measure(format!("what ranks tell each other: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_of_one_agrees_with_itself() {
        assert_eq!(agree(Ok(3)).unwrap(), 3);
        let error = agree::<()>(Err(Error::Usage("--k 0".into()))).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), ("--k 0".into(), 2));
        assert_eq!(of_first(|| Ok(vec![1, 2])).unwrap(), [1, 2]);
        assert_eq!(all(&"own".to_owned()).unwrap(), ["own"]);
        same("version", "1").unwrap();
    }

    #[test]
    fn what_is_streamed_is_whole_and_in_order() {
        let length = (1 << 24) + 5;
        let (mut found, mut blocks) = (Vec::new(), 0);
        let part = |range: Range<usize>| range.map(|at| (at % 251).to_le_bytes()[0]).collect();
        let mut take = |block: &[u8]| {
            blocks += 1;
            found.extend_from_slice(block);
            Ok(())
        };
        stream(length, &part, &mut take).unwrap();
        assert_eq!((blocks, found), (2, part(0..length)));
        let mut calls = 0;
        let full = stream(length, &part, &mut |_| {
            calls += 1;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert_eq!((full.unwrap_err().kind(), calls), (std::io::ErrorKind::StorageFull, 1));
    }
}
