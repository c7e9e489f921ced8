//! `docs/cli.md`, which is made of the program's own help.

use std::path::Path;

use crate::tools::program;

const HEAD: &str = "\
# Command line

Made of the program's own help, and compared with it by a test. To make it again:

```text
PDLOSS_WRITE_CLI=1 cargo test --locked --workspace --test it the_command_line
```

`pdloss` has every command, `pdloss-eval` those that measure. Beside them, `pdloss completions SHELL` prints completions for bash, zsh, fish,
elvish or powershell, and `pdloss man DIR` writes manual pages. Here is every flag (`--help-all`); `--help` shows the usual ones.
";

/// What help says, the same on every machine: without a terminal it is as wide as COLUMNS says, and has no colours.
fn help(arguments: &[&str]) -> String {
    let output = program().args(arguments).env("COLUMNS", "100").env("NO_COLOR", "1").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The commands that a program's help lists; those are left out that `HEAD` tells of.
fn commands(help: &str) -> Vec<&str> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Lines that go on are indented further.
    let names = list.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !["completions", "man", "help"].contains(name)).collect()
}

fn page() -> String {
    let block = |call: &str, help: &str| format!("\n## {call}\n\n```text\n{help}\n```\n");
    let program = help(&["--help"]);
    let each =
        commands(&program).into_iter().map(|name| block(&format!("pdloss {name}"), &help(&[name, "--help-all"])));
    std::iter::once(HEAD.to_owned()).chain([block("pdloss", &program)]).chain(each).collect()
}

#[test]
fn the_command_line_is_what_its_page_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = page();
    for command in ["train", "export", "recall", "verify", "scores", "report", "compare", "tabulate", "inspect"] {
        assert!(page.contains(&format!("\n## pdloss {command}\n")), "{command} is not in the page");
    }
    if std::env::var_os("PDLOSS_WRITE_CLI").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{} is not what the program says; its first lines tell how to make it", path.display());
}
