//! Help in two lengths: `--help` shows a command's usual flags and its examples, `--help-all` everything.

use clap::{Arg, ArgAction, Command};

/// How a command is usually called: what its short help shows.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// The command.
    pub command: &'static str,
    /// Calls with what they need, behind the program's name.
    pub calls: &'static [&'static str],
    /// Flags and arguments by name.
    pub flags: &'static [&'static str],
}

/// Gives the program, and each command in it, both helps.
pub(super) fn in_two_lengths(mut program: Command, usual: &[Usual]) -> Command {
    let name = program.get_name().to_owned();
    for Usual { command, calls, flags } in usual {
        let calls: Vec<String> = calls.iter().map(|call| format!("{name} {call} [FLAGS]")).collect();
        // Under the first, behind "Usage: ".
        let calls = calls.join("\n       ");
        program = program.mut_subcommand(command, |command| {
            command.override_usage(calls).mut_args(|arg| {
                let is_usual = flags.contains(&arg.get_long().unwrap_or(arg.get_id().as_str()));
                arg.hide_short_help(!is_usual)
            })
        });
    }
    flags(program, true).mut_subcommands(|command| flags(command, false))
}

/// Behind all other flags.
const HELP: usize = 10_000;

fn flags(command: Command, is_program: bool) -> Command {
    let has_more = command.get_arguments().any(Arg::is_hide_short_help_set);
    let help = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print help");
    let all = Arg::new("help_all").long("help-all").action(ArgAction::HelpLong).help("Print help on every flag");
    let heading = if is_program { None } else { Some("Program") };
    let (help, all) = (help.help_heading(heading), all.help_heading(heading).hide(!has_more));
    command.disable_help_flag(true).args([help.display_order(HELP), all.display_order(HELP + 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_has_the_usual_flags_and_the_long_one_all() {
        let run = Command::new("run").args(["data", "k"].map(|name| Arg::new(name).long(name)));
        let mut program = in_two_lengths(
            Command::new("p").subcommand(run),
            &[Usual { command: "run", calls: &["run --data PATH"], flags: &["data"] }],
        );
        program.build();
        let run = program.find_subcommand_mut("run").unwrap();
        let (short, long) = (run.render_help().to_string(), run.render_long_help().to_string());
        assert!(short.contains("--data") && !short.contains("--k") && short.contains("--help-all"), "{short}");
        assert!(short.contains("Usage: p run --data PATH [FLAGS]"), "{short}");
        assert!(long.contains("--data") && long.contains("--k"), "{long}");
    }
}
