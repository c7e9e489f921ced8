//! Flags from a file: `--config FILE.toml` gives any flag of a command by its name, `--print-config` writes all of them.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use toml::{Table, Value};

use super::hints::of_flag;
use crate::delimited::read_text;
use crate::error::{Error, Result};

/// Flags that belong to a call and to no file.
const OF_THE_CALL: [&str; 6] = ["config", "print-config", "dry-run", "help", "help-all", "version"];

/// Adds the two flags to a command.
pub(super) fn add(command: Command) -> Command {
    let heading = "Program";
    command.args([
        Arg::new("config")
            .long("config")
            .value_name("FILE.toml")
            .help_heading(heading)
            .hide_short_help(true)
            .help("Take flags from this file, `batch = 64`; those on the command line go before them"),
        Arg::new("print-config")
            .long("print-config")
            .action(ArgAction::SetTrue)
            .help_heading(heading)
            .hide_short_help(true)
            .help(
                "Print all flags with their values, as a file for --config, and do nothing else; no flag must be given",
            ),
    ])
}

/// Whether these words ask for flags alone, and not for a run.
pub(super) fn is_asked_for(words: &[String]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--print-config")
}

/// The program as it takes a command line that runs nothing: no flag must be there.
pub(super) fn without_required(program: Command) -> Command {
    program.mut_subcommands(|command| {
        let groups: Vec<Id> = command.get_groups().map(|group| group.get_id().clone()).collect();
        let command = command.mut_args(|arg| arg.required(false).required_unless_present(Resettable::Reset));
        groups.into_iter().fold(command, |command, group| command.mut_group(group, |group| group.required(false)))
    })
}

/// The words of a command line with those of its `--config` file between them, behind the command's name.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read; [`Error::Usage`] naming the file and the key.
pub(super) fn expand(program: &Command, words: Vec<OsString>, flags_of: fn(Table) -> Table) -> Result<Vec<OsString>> {
    let texts: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let end = texts.iter().position(|word| word == "--").unwrap_or(texts.len());
    let Some((at, command)) = chosen(program, &texts[..end]) else { return Ok(words) };
    let given = |name: &str| {
        let (flag, with_value) = (format!("--{name}"), format!("--{name}="));
        texts[..end].iter().position(|word| *word == flag || word.starts_with(&with_value))
    };
    let Some(place) = given("config") else { return Ok(words) };
    let Some(file) = texts[place].strip_prefix("--config=").or(texts.get(place + 1).map(String::as_str)) else {
        return Ok(words); // clap says that the value is missing
    };
    let text = read_text(Path::new(file))?;
    let wrong = |reason: String| Error::Usage(format!("--config {file}: {reason}"));
    let table: Table = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        wrong(format!("line {line} is no TOML: {}", e.message().replace('\n', " ")))
    })?;
    let is_given = |arg: &Arg| {
        let names = arg.get_long_and_visible_aliases().unwrap_or_default();
        let all = arg.get_all_aliases().unwrap_or_default();
        names.into_iter().chain(all).any(|name| given(name).is_some())
    };
    let mut from_file = Vec::new();
    for (key, value) in flags_of(table) {
        let name = key.replace('_', "-");
        let called = |arg: &&Arg| {
            arg.get_long() == Some(&name) || arg.get_all_aliases().is_some_and(|names| names.contains(&name.as_str()))
        };
        let owners = [command, program].into_iter();
        let found = owners.filter_map(|owner| Some((owner, owner.get_arguments().find(called)?))).next();
        let Some((owner, arg)) = found else {
            let tips: String = of_flag(program, command, &name).iter().map(|tip| format!("; {tip}")).collect();
            let whole = format!("{} {}", program.get_name(), command.get_name());
            return Err(wrong(format!("{key}: {whole} has no flag --{name}{tips}")));
        };
        if OF_THE_CALL.contains(&name.as_str()) {
            return Err(wrong(format!("{key}: --{name} belongs on the command line")));
        }
        // What was typed goes before the file, also where both cannot be.
        if is_given(arg) || rivals(owner, arg).any(is_given) {
            continue;
        }
        from_file.extend(words_of(arg, &name, &value).map_err(|wanted| wrong(format!("{key} = {value}: {wanted}")))?);
    }
    let mut expanded = words;
    expanded.splice(at + 1..=at, from_file.into_iter().map(OsString::from));
    Ok(expanded)
}

/// The command that words of a command line choose, and where it stands.
fn chosen<'p>(program: &'p Command, words: &[String]) -> Option<(usize, &'p Command)> {
    let found = |word: &String| program.get_subcommands().find(|command| command.get_name() == word);
    words.iter().enumerate().skip(1).find_map(|(at, word)| Some((at, found(word)?)))
}

/// The flags of a command that cannot be beside one of its own, whichever of the two says so.
fn rivals<'a>(command: &'a Command, arg: &'a Arg) -> impl Iterator<Item = &'a Arg> {
    let says = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|rival| rival.get_id() == other.get_id())
    };
    command.get_arguments().filter(move |other| says(arg, other) || says(other, arg))
}

/// A key of the file as words of a command line, or what was wanted.
fn words_of(arg: &Arg, name: &str, value: &Value) -> std::result::Result<Vec<String>, String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match value {
            Value::Boolean(true) => Ok(vec![format!("--{name}")]),
            Value::Boolean(false) => Ok(Vec::new()),
            _ => Err("wanted true or false".to_owned()),
        };
    }
    let word = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        _ => Err("wanted a string, a number, true or false, or a list of such".to_owned()),
    };
    let Value::Array(values) = value else { return Ok(vec![format!("--{name}={}", word(value)?)]) };
    let values: Vec<String> = values.iter().map(word).collect::<std::result::Result<_, _>>()?;
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let is_repeated = matches!(arg.get_action(), ArgAction::Append) && arg.get_value_delimiter().is_none();
    Ok(if is_repeated {
        values.into_iter().map(|value| format!("--{name}={value}")).collect()
    } else {
        vec![format!("--{name}={}", values.join(","))]
    })
}

/// All flags of the command that these words choose, with the values that they have, as a file for `--config`. `program` has parsed
/// the words.
pub(super) fn text(program: &Command, words: &[OsString], matches: &ArgMatches) -> String {
    let texts: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((at, command)) = chosen(program, &texts) else { return String::new() };
    let is_given = |arg: &Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    // Whether the words may have these, too.
    let may_have = |more: &[String]| {
        let mut words = texts.clone();
        words.splice(at + 1..at + 1, more.iter().cloned());
        program.clone().try_get_matches_from(words).is_ok()
    };
    let of_flags = command.get_arguments().filter(|arg| !arg.is_global_set());
    let values: Vec<(&Arg, &str, Option<Value>)> = of_flags
        .filter_map(|arg| Some((arg, arg.get_long().filter(|name| !OF_THE_CALL.contains(name))?, value(matches, arg))))
        .collect();
    let default = |(arg, name, value): &(&Arg, &str, Option<Value>)| {
        let value = value.as_ref().filter(|_| !is_given(arg) && !rivals(command, arg).any(is_given));
        value.and_then(|value| words_of(arg, name, value).ok()).unwrap_or_default()
    };
    // Mostly there is none that wants another.
    let all_may_be = may_have(&values.iter().flat_map(default).collect::<Vec<_>>());
    let mut text = String::new();
    let mut heading = None;
    for of_flag in &values {
        let (arg, name, value) = of_flag;
        // Of two flags that cannot be together, the default is not in force where the other is given; nor is that of one which wants
        // another that is not given.
        let is_idle =
            !is_given(arg) && (rivals(command, arg).any(is_given) || !all_may_be && !may_have(&default(of_flag)));
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = write!(text, "\n# {}\n", heading.unwrap_or("Options"));
        }
        let _ = match value {
            Some(value) if !is_idle => writeln!(text, "{name} = {value}"),
            // Has no value unless one is given, here or for another flag.
            _ => writeln!(text, "# {name} ="),
        };
    }
    text.trim_start().to_owned()
}

/// What a flag was given, or its default.
fn value(matches: &ArgMatches, arg: &Arg) -> Option<Value> {
    let id = arg.get_id().as_str();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Some(Value::Boolean(matches.get_flag(id)));
    }
    let values = matches.get_raw(id).into_iter().flatten();
    let values: Vec<Value> = values.map(|value| typed(&value.to_string_lossy())).collect();
    match (values.len(), arg.get_value_delimiter(), arg.get_action()) {
        (0, ..) => None,
        (1, None, ArgAction::Set) => values.into_iter().next(),
        _ => Some(Value::Array(values)),
    }
}

/// A word as TOML would have it.
fn typed(word: &str) -> Value {
    let number = word.parse().map(Value::Integer).or_else(|_| word.parse().map(Value::Float));
    match number {
        Ok(Value::Float(float)) if !float.is_finite() => Value::String(word.to_owned()),
        Ok(number) => number,
        Err(_) => word.parse().map_or_else(|_| Value::String(word.to_owned()), Value::Boolean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let run = Command::new("run").args([
            Arg::new("model").long("model").required_unless_present("draws"),
            Arg::new("batch").long("batch").alias("batch-size").default_value("8"),
            Arg::new("flip").long("flip").action(ArgAction::SetTrue),
            Arg::new("k").long("k").value_delimiter(','),
            Arg::new("freeze").long("freeze").action(ArgAction::Append),
            Arg::new("steps").long("steps").conflicts_with("epochs"),
            Arg::new("epochs").long("epochs").default_value("20"),
            Arg::new("draws").long("draws"),
            Arg::new("seed").long("seed").default_value("1").requires("draws"),
        ]);
        Command::new("p")
            .arg(Arg::new("quiet").long("quiet").global(true).action(ArgAction::SetTrue).conflicts_with("verbose"))
            .arg(Arg::new("verbose").long("verbose").global(true).action(ArgAction::SetTrue))
            .subcommand(add(run))
    }

    fn expanded(file: &str, words: &[&str]) -> std::result::Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.toml");
        std::fs::write(&path, file).unwrap();
        let words = ["p", "run"].iter().chain(words).map(OsString::from);
        let words = words.chain(["--config".into(), path.as_os_str().to_owned()]).collect();
        let words = expand(&program(), words, |table| table).map_err(|e| e.to_string())?;
        let texts: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        without_required(program()).try_get_matches_from(&words).map_err(|e| e.to_string())?;
        Ok(texts[2..texts.len() - 2].to_vec())
    }

    #[test]
    fn keys_become_flags_behind_which_those_typed_stand() {
        let file = "batch = 64\nflip = true\nk = [1, 2]\nfreeze = ['a.*', 'b']\nquiet = false";
        let words = expanded(file, &[]).unwrap();
        assert_eq!(words, ["--batch=64", "--flip", "--freeze=a.*", "--freeze=b", "--k=1,2"]);
        assert_eq!(
            expanded(file, &["--batch-size", "3", "--k=7"]).unwrap()[..3],
            ["--flip", "--freeze=a.*", "--freeze=b"]
        );
        assert_eq!(expanded("epochs = 3", &["--steps", "9"]).unwrap(), ["--steps", "9"]);
        // Flags of the program itself have rivals among its own.
        assert_eq!(expanded("quiet = true", &[]).unwrap(), ["--quiet"]);
        assert_eq!(expanded("quiet = true", &["--verbose"]).unwrap(), ["--verbose"]);
        assert_eq!(expanded("verbose = true", &["--quiet"]).unwrap(), ["--quiet"]);
    }

    #[test]
    fn what_is_no_flag_is_named() {
        for (file, wanted) in [
            ("colour = 1", "has no flag --colour"),
            ("flip = 3", "wanted true or false"),
            ("batch = {a = 1}", "wanted a string"),
            ("config = 'x'", "belongs on the command line"),
            ("batch = ", "flags.toml"),
        ] {
            let said = expanded(file, &[]).unwrap_err();
            assert!(said.contains(wanted) && said.contains("flags.toml"), "{file}: {said}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let printed = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let program = without_required(program());
            let matches = program.clone().try_get_matches_from(&words).unwrap();
            text(&program, &words, matches.subcommand().unwrap().1)
        };
        let text = printed(&["p", "run", "--k=1,2", "--freeze", "a", "--flip", "--epochs", "0.5"]);
        assert_eq!(expanded(&text, &[]).unwrap(), ["--batch=8", "--epochs=0.5", "--flip", "--freeze=a", "--k=1,2"]);
        assert!(text.contains("# steps =") && text.contains("# model ="), "{text}");
        assert!(text.contains("# seed ="), "the default of a flag that wants another is not in force: {text}");
        let text = printed(&["p", "run", "--steps", "9"]);
        assert!(text.contains("steps = 9") && text.contains("# epochs ="), "{text}");
        let text = printed(&["p", "run", "--draws", "9"]);
        assert!(text.contains("draws = 9") && text.contains("\nseed = 1"), "{text}");
    }
}
