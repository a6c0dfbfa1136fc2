//! Makes text from files safe to print.

use crate::ingest::panther::printable::PythonVersion;
use std::borrow::Cow;

/// Replaces every character that could act on a terminal, or hide from its reader, by an escape such as
/// `\u{1b}`: controls, format characters (the bidirectional ones among them), separators other than the space,
/// private and unassigned ones.
#[must_use]
pub fn escape_for_terminal(text: &str) -> Cow<'_, str> {
    let is_safe = |c: char| PythonVersion::V3_14.is_printable(c.into());
    if text.chars().all(is_safe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_safe(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_unicode());
        }
    }
    Cow::Owned(escaped)
}

/// Returns the beginning of `text`, safe to print, for a message.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    match text.char_indices().nth(CHARS_MAX) {
        None => escape_for_terminal(text).into_owned(),
        Some((end, _)) => format!("{}...", escape_for_terminal(text.get(..end).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_act_on_a_terminal_is_escaped() {
        assert_eq!(escape_for_terminal("a b é 🦀"), "a b é 🦀");
        assert_eq!(escape_for_terminal("\x1b[31m\r\n\u{9b}\u{202e}"), r"\u{1b}[31m\u{d}\u{a}\u{9b}\u{202e}");
        assert_eq!(excerpt(&"\0".repeat(49)), format!("{}...", r"\u{0}".repeat(48)));
    }
}
