//! Titles of pictures: in letters that the built-in font has, and no wider than there is room.

use ab_glyph::{Font, FontRef, ScaleFont};

fn font() -> FontRef<'static> {
    FontRef::try_from_slice(dejavu::sans::regular()).expect("the built-in font is one")
}

/// Whether a letter can be drawn by itself, from left to right.
fn is_drawn(letter: char, font: &FontRef<'_>) -> bool {
    // Hebrew, Arabic and their neighbours run from right to left, and most join.
    let is_turned = matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}');
    !is_turned && font.glyph_id(letter).0 != 0
}

/// The letters that a picture of points cannot have, each once.
pub(super) fn missing(text: &str) -> String {
    let font = font();
    let mut found = String::new();
    for letter in text.chars().filter(|&letter| !is_drawn(letter, &font)) {
        if !found.contains(letter) {
            found.push(letter);
        }
    }
    found
}

/// With `?` for letters that a picture of points cannot have.
pub(super) fn drawn(text: &str) -> String {
    let font = font();
    text.chars().map(|letter| if is_drawn(letter, &font) { letter } else { '?' }).collect()
}

/// The text, or as many of its first and last letters with dots between as are no wider than `most` at this size.
pub(super) fn fitted(text: &str, size: f32, most: f32) -> String {
    let font = font();
    let scaled = font.as_scaled(size);
    // Letters of other fonts are as wide as they are high at most.
    let width = |letter: char| if is_drawn(letter, &font) { scaled.h_advance(font.glyph_id(letter)) } else { size };
    let wide = |letters: &[char]| letters.iter().map(|&letter| width(letter)).sum::<f32>();
    let letters: Vec<char> = text.chars().collect();
    if wide(&letters) <= most {
        return text.to_owned();
    }
    let room = most - 3.0 * width('.');
    let ends = |kept: usize| (&letters[..kept.div_ceil(2)], &letters[letters.len() - kept / 2..]);
    let kept = (0..letters.len()).rev().find(|&kept| {
        let (first, last) = ends(kept);
        wide(first) + wide(last) <= room
    });
    let (first, last) = ends(kept.unwrap_or(0));
    first.iter().chain(&['.', '.', '.']).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_have_letters_that_can_be_drawn() {
        assert_eq!((missing("Straße, Ærø, αβγ, Москва"), drawn("Ærø")), (String::new(), "Ærø".to_owned()));
        assert_eq!(missing("中文中 a نت"), "中文نت");
        assert_eq!(drawn("中文中 a نت"), "??? a ??");
    }

    #[test]
    fn long_titles_lose_their_middle_by_their_width() {
        assert_eq!(fitted("abcdefghij", 22.0, 900.0), "abcdefghij");
        let font = font();
        let wide = |text: &str| text.chars().map(|l| font.as_scaled(22.0).h_advance(font.glyph_id(l))).sum::<f32>();
        for letter in ["W", "i", "m", "1"] {
            let text = format!("first {} last", letter.repeat(500));
            let fitted = fitted(&text, 22.0, 900.0);
            assert!(fitted.starts_with("first ") && fitted.ends_with(" last") && fitted.contains("..."), "{fitted}");
            assert!((860.0..=900.0).contains(&wide(&fitted)), "{} of {fitted}", wide(&fitted));
        }
        assert_eq!(fitted(&"中".repeat(100), 22.0, 900.0).chars().count(), 40 + 3);
        assert_eq!(fitted("abc", 22.0, 1.0), "...");
    }
}
