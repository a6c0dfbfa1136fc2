//! Text in JSON's quotes, and the names that were quoted before.

use crate::event::shown::split_at_harmful;
use crate::event::{Symbol, Symbols};
use crate::export::jsonl::line::Line;

/// Quoted names by symbol, so that a name that comes again is one copy of a cache line.
///
/// Direct-mapped: a symbol has one place, where the last that came is kept. Names that do not fit a place are
/// looked up each time.
#[derive(Debug)]
pub(super) struct QuotedNames(Vec<Place>);

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Place {
    symbol: Symbol,
    len: u8,
    text: [u8; TEXT_LEN],
}

/// 256 KiB: with a thousand names in turn, four in five are found; with 1,024 places it was two in five.
const PLACES: usize = 4096;
const TEXT_LEN: usize = 55;
const _: () = assert!(PLACES.is_power_of_two() && size_of::<Place>() == 64);

impl QuotedNames {
    pub(super) fn new() -> QuotedNames {
        QuotedNames(vec![Place { symbol: Symbol::NONE, len: 0, text: [0; TEXT_LEN] }; PLACES])
    }

    /// Appends the symbol's name in quotes, `#` and its digits when the table has none, or `null`.
    #[inline]
    pub(super) fn push(&mut self, line: &mut Line, symbol: Symbol, symbols: &Symbols) {
        if symbol == Symbol::NONE {
            return line.extend_from_slice(b"null");
        }
        // Symbols are hashes: their low bits are as good as any.
        let Some(place) = self.0.get_mut(symbol.bits() as usize & (PLACES - 1)) else { return };
        if place.symbol != symbol {
            return push_looked_up(line, symbol, symbols, place);
        }
        // A copy of fixed length costs less than one of the right length.
        let end = line.len() + usize::from(place.len);
        line.extend_from_slice(&place.text);
        line.truncate(end);
    }
}

#[inline(never)]
fn push_looked_up(line: &mut Line, symbol: Symbol, symbols: &Symbols, place: &mut Place) {
    let start = line.len();
    let known = symbols.with_name(symbol, |name| match name {
        Some(name) => {
            push_string(line, name);
            true
        }
        None => {
            line.extend_from_slice(b"\"#");
            push_hex_digits(line, &symbol.bits().to_be_bytes());
            line.push(b'"');
            false
        }
    });
    // A name that is unknown now may become known.
    if known
        && let Some(quoted) = line.whole_from(start)
        && let Some(text) = place.text.get_mut(..quoted.len())
    {
        text.copy_from_slice(quoted);
        (place.symbol, place.len) = (symbol, quoted.len() as u8);
    }
}

/// Appends `text` in quotes. Besides what needs an escape in JSON (quotes, backslashes, controls below the space),
/// what is harmful on a terminal is escaped; other characters stand as UTF-8.
pub(super) fn push_string(line: &mut Line, text: &str) {
    line.push(b'"');
    let mut text = text;
    while let Some((before, harmful, after)) = split_at_harmful(text) {
        push_within(line, before);
        push_code(line, harmful);
        text = after;
    }
    push_within(line, text);
    line.push(b'"');
}

/// Appends JSON text with what is harmful on a terminal escaped. That stands in strings only, where it may be.
pub(super) fn push_json(line: &mut Line, mut json: &str) {
    while let Some((before, harmful, after)) = split_at_harmful(json) {
        line.extend_from_slice(before.as_bytes());
        push_code(line, harmful);
        json = after;
    }
    line.extend_from_slice(json.as_bytes());
}

/// Appends what stands between quotes.
#[inline]
fn push_within(line: &mut Line, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
        let (plain, from_special) = rest.split_at(at);
        line.extend_from_slice(plain);
        if let Some((special, after)) = from_special.split_first() {
            push_escape(line, *special);
            rest = after;
        }
    }
    line.extend_from_slice(rest);
}

/// All that is harmful has a code of four digits.
#[cold]
fn push_code(line: &mut Line, harmful: char) {
    line.extend_from_slice(b"\\u");
    push_hex_digits(line, &(u32::from(harmful) as u16).to_be_bytes());
}

#[cold]
fn push_escape(line: &mut Line, special: u8) {
    let short = match special {
        b'"' | b'\\' => special,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            line.extend_from_slice(b"\\u00");
            return push_hex_digits(line, &[special]);
        }
    };
    line.extend_from_slice(&[b'\\', short]);
}

pub(super) fn push_hex_digits(line: &mut Line, bytes: &[u8]) {
    for byte in bytes {
        line.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{Line, push_json};

    #[test]
    fn json_that_is_there_keeps_its_meaning() {
        let mut line = Line::default();
        push_json(&mut line, "{\"é\u{9b}\":[\"\\n\u{7f}\u{202e}→\",1]}");
        assert_eq!(String::from_utf8_lossy(line.whole().unwrap()), r#"{"é\u009b":["\n\u007f\u202e→",1]}"#);
    }
}
