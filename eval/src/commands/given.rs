//! What a flag is given several times, or with commas between.

use std::path::PathBuf;

/// Each once, in the order in which it first came.
pub(super) fn once_each<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

/// The names, of which one that has a comma stands in quotes (`"sex, at birth",age`), two quotes in it for one. `pieces` are what lies
/// between all commas. Quotes that do not end are letters like others.
pub(super) fn names(pieces: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let end = (at..pieces.len()).find(|&end| unquoted(&pieces[at..=end].join(",")).is_some());
        let quoted = end.filter(|_| piece.trim_start().starts_with('"'));
        let (name, next) = match quoted {
            Some(end) => (unquoted(&pieces[at..=end].join(",")).unwrap_or_default(), end + 1),
            None => (piece.clone(), at + 1),
        };
        names.push(name);
        at = next;
    }
    names
}

/// The same of files; names that are no text have no quotes.
pub(super) fn paths(pieces: &[PathBuf]) -> Vec<PathBuf> {
    let texts: Option<Vec<String>> = pieces.iter().map(|path| path.to_str().map(str::to_owned)).collect();
    texts.map_or_else(|| pieces.to_vec(), |texts| names(&texts).into_iter().map(PathBuf::from).collect())
}

/// What stands between the quotes of a text that is in quotes as a whole.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let single = inner.replace("\"\"", "");
    (!single.contains('"')).then(|| inner.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_twice_counts_once() {
        assert_eq!(once_each([3, 1, 3, 2, 1]), [3, 1, 2]);
    }

    #[test]
    fn a_name_with_a_comma_stands_in_quotes() {
        let of = |text: &str| names(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("sex,age"), ["sex", "age"]);
        assert_eq!(of("\"sex, at birth\",age"), ["sex, at birth", "age"]);
        assert_eq!(of("age, \"a,b,c\" ,d"), ["age", "a,b,c", "d"]);
        assert_eq!(of("\"a\",\"b\""), ["a", "b"]);
        assert_eq!(of("\"a \"\"b\"\", c\""), ["a \"b\", c"]);
        assert_eq!(of("\"a,b"), ["\"a", "b"]);
        assert_eq!(of("5\",6\""), ["5\"", "6\""]);
    }
}
