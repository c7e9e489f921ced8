//! What tells the lines of a chart apart: colour, dashes, width.

/// Lines that look different: eight colours with dashes of their own, and three times with others.
const LOOKS: usize = 32;

/// The style sheet's classes of the line of this number.
pub(super) fn look(number: usize) -> String {
    match number / 8 % (LOOKS / 8) {
        0 => format!("s{}", number % 8),
        round => format!("s{} r{round}", number % 8),
    }
}

/// What is to be said of lines, by their numbers and names, that look as others do.
pub(super) fn alike<'n>(lines: impl Iterator<Item = (usize, &'n String)>) -> String {
    let lines: Vec<(usize, &String)> = lines.collect();
    let first = |number: usize| lines.iter().find(|(other, _)| *other < number && other % LOOKS == number % LOOKS);
    let found = lines.iter().filter_map(|&(number, name)| first(number).map(|(_, other)| (name, *other)));
    match &found.collect::<Vec<_>>()[..] {
        [] => String::new(),
        [(name, other)] => format!("{LOOKS} lines look different here; {name} looks as {other} does."),
        [(name, other), more @ ..] => format!(
            "{LOOKS} lines look different here; {name} looks as {other} does, and {} more look as another one.",
            more.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_look_different_and_those_that_do_not_are_said() {
        let said = |numbers: std::ops::Range<usize>| {
            let names: Vec<String> = numbers.clone().map(|n| format!("run{n}")).collect();
            alike(numbers.zip(&names))
        };
        let looks: std::collections::HashSet<String> = (0..LOOKS).map(look).collect();
        assert_eq!((looks.len(), look(32)), (LOOKS, look(0)));
        assert_eq!(said(0..32), "");
        // Some of many runs have no such line.
        assert_eq!(said(4..36), "");
        assert_eq!(said(0..33), "32 lines look different here; run32 looks as run0 does.");
        assert_eq!(
            said(0..35),
            "32 lines look different here; run32 looks as run0 does, and 2 more look as another one."
        );
        // The style sheet has all of them.
        let style = include_str!("page.css");
        for class in looks.iter().flat_map(|look| look.split(' ')) {
            assert!(style.contains(&format!(".{class} {{ stroke")), "{class}");
        }
    }
}
