//! What the ranks of a run compare before anything else: program and command line.

use clap::ArgMatches;

use super::{Asked, Refused};
use crate::digest::of_file;
use crate::error::{Error, Result};
use crate::ranks::{self, world};

/// Flags of which each rank may have its own value: where it runs, and where its copies of what is read lie, whose contents are compared
/// later.
const OWN: [&str; 12] = [
    "device",
    "threads",
    "cache",
    "onnxruntime",
    "model",
    "data",
    "root",
    "validation",
    "embeddings",
    "labels",
    "align",
    "log_dir",
];

/// Refuses ranks that were started as different programs, or to do different things.
///
/// # Errors
/// [`Error::Ranks`] on every rank, with what differs first.
pub(super) fn alike(program: &str, version: &str, asked: &std::result::Result<Asked, Refused>) -> Result<()> {
    let world = world();
    if world.is_alone() {
        return Ok(());
    }
    let mut own = vec![format!("{program} {version}"), format!("a program of SHA-256 {}", digest_of_program())];
    match asked {
        Ok(Asked::Run(matches)) => own.extend(words(matches)),
        Ok(Asked::Completions(_) | Asked::Manual(_) | Asked::Config(_)) => {
            own.push("a page of its command line".into())
        }
        Err(Refused::Parsing(said)) => own.push(first_line(&said.to_string())),
        Err(Refused::Config(error)) => own.push(error.to_string()),
    }
    let all = ranks::all(&(world.host().to_owned(), own))?;
    let Some((rank, first, other)) = first_difference(all.iter().map(|(_, words)| words.as_slice())) else {
        return Ok(());
    };
    let problem = format!(
        "ranks were started differently: {first} on rank 0 ({}), {other} on rank {rank} ({}); wanted the same program and command line \
         on all, but for --device, --threads and where files that are read lie",
        all[0].0, all[rank].0
    );
    let code = if all[0].1[..2] == all[rank].1[..2] { 2 } else { 1 };
    Err(Error::Ranks { who: String::new(), problem, code })
}

/// The first rank that differs from rank 0, and the first word of each that the other has not.
fn first_difference<'w>(mut all: impl Iterator<Item = &'w [String]>) -> Option<(usize, &'w str, &'w str)> {
    let first = all.next()?;
    let nothing = "no more";
    let (rank, other) = all.enumerate().find(|(_, other)| *other != first)?;
    let at = first.iter().zip(other).position(|(a, b)| a != b).unwrap_or(first.len().min(other.len()));
    let word = |words: &'w [String]| words.get(at).map_or(nothing, String::as_str);
    Some((rank + 1, word(first), word(other)))
}

/// The command and its flags, in one order.
fn words(matches: &ArgMatches) -> Vec<String> {
    let Some((command, flags)) = matches.subcommand() else { return Vec::new() };
    let mut words = vec![command.to_owned()];
    let mut names: Vec<&str> = flags.ids().map(clap::Id::as_str).filter(|name| !OWN.contains(name)).collect();
    names.sort_unstable();
    for name in names {
        let Ok(Some(values)) = flags.try_get_raw(name) else { continue };
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        words.push(format!("--{} {}", name.replace('_', "-"), values.join(",")));
    }
    words
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// SHA-256 of this program's file; the problem, where it cannot be read.
fn digest_of_program() -> String {
    std::env::current_exe().and_then(|program| of_file(&program)).unwrap_or_else(|error| format!("unknown ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn of(words_: &[&str]) -> Vec<String> {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let train = Command::new("train").args([flag("batch").default_value("3"), flag("device"), flag("out")]);
        words(&Command::new("p").subcommand(train).try_get_matches_from(words_).unwrap())
    }

    #[test]
    fn what_ranks_may_have_of_their_own_is_not_compared() {
        let one = of(&["p", "train", "--out", "run", "--device", "cuda:0"]);
        assert_eq!(one, ["train", "--batch 3", "--out run"]);
        assert_eq!(of(&["p", "train", "--device", "cuda:1", "--batch", "3", "--out", "run"]), one);
        let other = of(&["p", "train", "--out", "run-1"]);
        let all = [&one, &one, &other].map(Vec::as_slice);
        assert_eq!(first_difference(all.into_iter()), Some((2, "--out run", "--out run-1")));
        let shorter = of(&["p", "train"]);
        let all = [&shorter, &one].map(Vec::as_slice);
        assert_eq!(first_difference(all.into_iter()), Some((1, "no more", "--out run")));
        assert_eq!(first_difference([one.as_slice(), &one].into_iter()), None);
    }
}
