//! Writing texts and numbers.

use std::fmt::Write;

pub(crate) fn push_number(out: &mut String, number: std::fmt::Arguments<'_>) {
    // Writing into a String does not fail.
    let _ = out.write_fmt(number);
}

/// Appends the shortest digits that read back as the same float.
pub(super) fn push_float(out: &mut String, value: f64) {
    if value.is_finite() {
        // Debug writes an exponent where Display would write hundreds of digits.
        push_number(out, format_args!("{value:?}"));
    } else if value.is_nan() {
        out.push_str("\"NaN\"");
    } else {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
}

/// Returns the beginning of `text`, as many whole characters as `len_max` bytes hold.
pub(crate) fn beginning(text: &str, len_max: usize) -> &str {
    let end = (0..=len_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// Appends `text` in quotes, with the escapes that JSON demands and no others.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
        let (plain, from_special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from_special.chars();
        match chars.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(special @ ('"' | '\\')) => out.extend(['\\', special]),
            Some(control) => push_number(out, format_args!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends the items as a list.
pub(crate) fn push_list<T>(out: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}
