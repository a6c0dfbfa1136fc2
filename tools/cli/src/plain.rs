//! Text from files and users, made safe to print on a terminal.

use panther_events::event::is_harmful;

/// Returns `text` with control characters (terminal escapes among them) and characters that turn the direction of
/// text written as escapes.
pub(crate) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(plain("a\x1b[2Jb\r\n\u{9b}31m"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9b}31m");
        assert_eq!(plain("\u{202e}cba"), "\\u{202e}cba");
        assert_eq!(plain("10.0.0.1 → ü"), "10.0.0.1 → ü");
    }
}
