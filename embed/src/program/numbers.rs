//! Numbers on the command line: what is no number, or none that a flag takes, is refused with the flag, what came and what is wanted.
//! Alone, the parser says `unexpected argument '-1'` and `invalid digit found in string`.

use std::any::TypeId;
use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// The program with flags that take `-1` for their value, of which they then say what is wrong with it. Words and paths do not: what
/// follows them would be another flag.
pub(super) fn taken_below_zero(program: Command) -> Command {
    program.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let takes = arg.get_long().is_some() && arg.get_action().takes_values() && !is_text(&arg);
            if takes && !arg.is_allow_hyphen_values_set() { arg.allow_negative_numbers(true) } else { arg }
        })
    })
}

fn is(arg: &Arg, kind: TypeId) -> bool {
    arg.get_value_parser().type_id() == kind
}

fn is_text(arg: &Arg) -> bool {
    is(arg, TypeId::of::<String>()) || is(arg, TypeId::of::<std::path::PathBuf>())
}

/// What a flag of numbers takes, in words; nothing of other flags, whose parsers say it themselves.
fn wanted(arg: &Arg) -> Option<String> {
    let whole = [
        (TypeId::of::<u8>(), u64::from(u8::MAX)),
        (TypeId::of::<u16>(), u64::from(u16::MAX)),
        (TypeId::of::<u32>(), u64::from(u32::MAX)),
        (TypeId::of::<u64>(), u64::MAX),
        (TypeId::of::<usize>(), usize::MAX as u64),
    ];
    if let Some((_, most)) = whole.iter().find(|(kind, _)| is(arg, *kind)) {
        return Some(format!("a whole number in digits, at most {most}"));
    }
    let real = [TypeId::of::<f32>(), TypeId::of::<f64>()];
    real.iter().any(|kind| is(arg, *kind)).then(|| "a number, such as 0.5".to_owned())
}

/// `1..=5` as people say it.
fn in_words(range: &str) -> String {
    match range.split_once("..") {
        Some((least, "")) => format!("a whole number from {least} on"),
        Some((least, most)) => match most.strip_prefix('=') {
            Some(most) => format!("a whole number from {least} to {most}"),
            None => format!("a whole number from {least} to below {most}"),
        },
        None => range.to_owned(),
    }
}

/// An error of parsing with what the flag wants, where it is about a number.
pub(super) fn explained(error: clap::Error, program: &Command, words: &[String]) -> clap::Error {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    let (shown, value) = (word(ContextKind::InvalidArg), word(ContextKind::InvalidValue));
    let Some(name) = shown.split(' ').next().and_then(|flag| flag.strip_prefix("--")) else { return error };
    if error.kind() != ErrorKind::ValueValidation {
        return error;
    }
    let command = words.iter().skip(1).find_map(|word| program.find_subcommand(word)).unwrap_or(program);
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else { return error };
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let range = said.split_once(" is not in ").map(|(_, range)| in_words(range));
    match wanted(arg).map(|wanted| range.unwrap_or(wanted)) {
        Some(wanted) => command.clone().error(ErrorKind::ValueValidation, format!("--{name} {value}: wanted {wanted}")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::value_parser;

    #[test]
    fn what_is_no_number_is_refused_with_what_is_wanted() {
        let run = Command::new("run").args([
            Arg::new("batch").long("batch").value_parser(value_parser!(usize)),
            Arg::new("rate").long("rate").value_parser(value_parser!(f64)),
            Arg::new("k").long("k").value_delimiter(',').value_parser(value_parser!(u8).range(1..=5)),
            Arg::new("memory").long("memory").value_parser(value_parser!(u32).range(1..)),
            Arg::new("label").long("label"),
        ]);
        let program = taken_below_zero(Command::new("p").subcommand(run));
        let said = |words: &[&str]| {
            let words: Vec<String> = ["p", "run"].iter().chain(words).map(|&word| word.to_owned()).collect();
            let mut program = program.clone();
            program
                .try_get_matches_from_mut(&words)
                .map_or_else(|e| explained(e, &program, &words).to_string(), |_| String::new())
        };
        let says = |words: &[&str], wanted: &str| assert!(said(words).contains(wanted), "{words:?}: {}", said(words));
        says(&["--batch", "-1"], "--batch -1: wanted a whole number in digits, at most 18446744073709551615");
        says(&["--batch=1e12"], "--batch 1e12: wanted a whole number");
        says(&["--rate", "x"], "--rate x: wanted a number, such as 0.5");
        says(&["--k", "2,9"], "--k 9: wanted a whole number from 1 to 5");
        says(&["--k", "2,-1"], "--k -1: wanted a whole number from 1 to 5");
        says(&["--memory", "0"], "--memory 0: wanted a whole number from 1");
        says(&["--label", "-1"], "-1");
        assert_eq!(said(&["--rate", "-1", "--label", "x"]), "");
    }
}
