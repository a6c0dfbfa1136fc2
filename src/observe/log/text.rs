//! Text that is safe to show: escapes, and times of day.

use crate::event::shown::is_harmful;
use std::fmt::{self, Write};

/// Adds `text`, with control characters and marks of writing direction escaped.
pub(super) fn push_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
        if is_harmful(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

/// Writes what it is given with harmful characters escaped.
pub(super) struct Escaped<'a>(pub(super) &'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// The time of day (UTC) of a moment in nanoseconds since the Unix epoch, to the microsecond.
pub(super) struct TimeOfDay(pub(super) u64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0 / 1_000;
        let s = us / 1_000_000 % 86_400;
        write!(f, "{:02}:{:02}:{:02}.{:06}", s / 3600, s / 60 % 60, s % 60, us % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_characters_are_escaped_and_others_stay() {
        let mut line = String::new();
        push_escaped(&mut line, "a\x1b[31m\nb\u{202e}c\u{9b}é×\"\\");
        assert_eq!(line, "a\\u{1b}[31m\\nb\\u{202e}c\\u{9b}é×\"\\");
    }

    #[test]
    fn the_time_of_day_is_utc() {
        assert_eq!(TimeOfDay(1_795_473_914_698_049_999).to_string(), "22:45:14.698049");
        assert_eq!(TimeOfDay(0).to_string(), "00:00:00.000000");
    }
}
