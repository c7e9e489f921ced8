//! Text of files and names as it may go to a terminal: what would move its cursor, colour it or turn its direction is escaped.

use std::borrow::Cow;

/// The text with control characters escaped (`\u{1b}`), line breaks and tabs left as they are.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| letter != '\n' && letter != '\t' && is_control(letter))
}

/// The text as one line: line breaks are escaped, too.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// A message that quotes a line of a million letters, cut in its midst.
pub fn in_short(text: &str) -> Cow<'_, str> {
    const MOST: usize = 8000;
    if text.len() <= MOST {
        return Cow::Borrowed(text);
    }
    let begin: String = text.chars().take(MOST / 2).collect();
    let end: Vec<char> = text.chars().rev().take(MOST / 4).collect();
    Cow::Owned(format!("{begin} ... {}", end.into_iter().rev().collect::<String>()))
}

/// C0 and C1 controls, line and paragraph separators, and what turns the direction of the letters after it.
fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let escape = |letter: char| match is_bad(letter) {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_see_no_escape_of_a_name() {
        assert_eq!(printable("a\u{1b}[31mb\u{9b}K\r"), "a\\u{1b}[31mb\\u{9b}K\\r");
        assert_eq!(printable("évil\u{202e}gpj.exe"), "évil\\u{202e}gpj.exe");
        assert_eq!(printable("two\nlines"), "two\nlines");
        assert_eq!(printable_line("two\nlines"), "two\\nlines");
        assert!(matches!(printable("plain | text"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_messages_keep_their_begin_and_their_end() {
        assert_eq!(in_short("list.csv: empty"), "list.csv: empty");
        let text = format!("list.csv: '{}' is no pair: wanted two", "\u{e9}".repeat(1_000_000));
        let long = in_short(&text);
        assert!(long.len() < 20_000 && long.starts_with("list.csv") && long.ends_with("wanted two"), "{}", long.len());
    }
}
