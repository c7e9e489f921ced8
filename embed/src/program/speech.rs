//! The flags that say how much a program says, and in which colours; every command has them.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, ColorChoice, Command};

use crate::console::Speech;

/// Values of `--color`.
const WHEN: [&str; 3] = ["auto", "always", "never"];

/// Adds the flags to a program.
pub(super) fn add(program: Command) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).global(true).help_heading("Program");
    let switch = |name: &'static str| flag(name).action(ArgAction::SetTrue);
    program.args([
        switch("quiet").short('q').help("Say nothing but results, warnings and errors").conflicts_with("verbose"),
        switch("verbose").short('v').help("Print what was run, too: files, digests, settings, times"),
        switch("no-progress").help("No progress on standard error").hide_short_help(true),
        flag("color")
            .id("color_when")
            .value_name("WHEN")
            .value_parser(PossibleValuesParser::new(WHEN))
            .default_value("auto")
            .hide_short_help(true)
            .help("Colours of help and errors; auto also heeds NO_COLOR"),
    ])
}

/// What the flags say.
pub(super) fn of(matches: &ArgMatches) -> Speech {
    let given = |name: &str| matches.get_flag(name);
    Speech { steps: !given("quiet"), settings: given("verbose"), progress: !given("quiet") && !given("no-progress") }
}

/// The colours that these words ask for, before they are parsed: errors of parsing have colours, too.
pub(super) fn colors(words: &[String]) -> ColorChoice {
    let value = words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix("--color") {
        Some("") => words.get(at + 1).map(String::as_str),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    match value {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_and_verbose_say_less_and_more() {
        let said = |words: &[&str]| {
            let program = add(Command::new("p").subcommand(Command::new("run")));
            of(&program.try_get_matches_from([&["p"], words].concat()).unwrap())
        };
        assert_eq!(said(&["run"]), Speech { steps: true, settings: false, progress: true });
        assert_eq!(said(&["run", "-q"]), Speech { steps: false, settings: false, progress: false });
        assert_eq!(said(&["-v", "run"]), Speech { steps: true, settings: true, progress: true });
        assert_eq!(said(&["run", "--no-progress"]), Speech { steps: true, settings: false, progress: false });
    }

    #[test]
    fn colours_are_known_before_parsing() {
        let of = |words: &[&str]| colors(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["p", "--color", "never", "run"]), ColorChoice::Never);
        assert_eq!(of(&["p", "run", "--color=always"]), ColorChoice::Always);
        assert_eq!(of(&["p", "run"]), ColorChoice::Auto);
    }
}
