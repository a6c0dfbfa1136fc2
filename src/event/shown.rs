//! Characters that text from elsewhere must not bring to a terminal.

/// Tells whether a character steers a terminal, ends a line, or turns the direction of text: controls (DEL and those
/// above it among them), separators of lines and paragraphs, and marks of direction.
#[must_use]
pub const fn is_harmful(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Cuts `text`, which is or goes into JSON, before its first harmful character that is not ASCII, or DEL. Those below
/// the space are left to whoever knows whether they stand in a string.
#[cfg(any(feature = "json", test))]
pub(crate) fn split_at_harmful(text: &str) -> Option<(&str, char, &str)> {
    let mut from = 0;
    loop {
        let rest = text.as_bytes().get(from..)?;
        // The harmful ones begin with these bytes; most text has none of them.
        let at = from + rest.iter().position(|byte| matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2))?;
        let (before, after) = text.split_at_checked(at)?;
        let mut chars = after.chars();
        let character = chars.next()?;
        if is_harmful(character) {
            return Some((before, character, chars.as_str()));
        }
        from = at + character.len_utf8();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_at_is_what_is_harmful() {
        for character in ('\0'..=char::MAX).filter(|character| !matches!(character, '\0'..='\u{1f}')) {
            let text = format!("é{character}\u{2029}");
            let cut = split_at_harmful(&text).map(|(before, found, _)| (before, found));
            let expected = if is_harmful(character) {
                ("é".to_owned(), character)
            } else {
                (format!("é{character}"), '\u{2029}')
            };
            assert_eq!(cut, Some((&*expected.0, expected.1)));
        }
        assert!((0..0x20).all(|byte| is_harmful(char::from(byte))));
        assert_eq!(split_at_harmful("plain → ü"), None);
    }
}
