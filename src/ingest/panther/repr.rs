//! Writes values as Python's `repr()` and `str()` do.

use crate::ingest::panther::printable::PythonVersion;
use crate::ingest::panther::text::Text;
use crate::ingest::panther::value::{Object, PantherValue};
use std::fmt::Write;

/// Appends Python's `repr(value)` to `out`.
pub fn write_repr(out: &mut String, value: &PantherValue, python: PythonVersion) {
    match value {
        PantherValue::Null => out.push_str("None"),
        PantherValue::Bool(true) => out.push_str("True"),
        PantherValue::Bool(false) => out.push_str("False"),
        PantherValue::Int(int) => {
            // Writing to a string never fails.
            let _ = write!(out, "{int}");
        }
        PantherValue::BigInt(digits) => out.push_str(digits),
        PantherValue::Float(float) => write_float(out, *float),
        PantherValue::Text(text) => write_text(out, text, python),
        PantherValue::List(values) => write_list(out, values, python),
        PantherValue::Object(object) => write_object(out, object, python),
    }
}

/// Appends Python's `repr()` of a string to `out`: in single quotes, or in double quotes when it holds single
/// and no double ones; backslash, the quote in use and what does not print are escaped.
pub(super) fn write_text(out: &mut String, text: &Text, python: PythonVersion) {
    match text.as_str() {
        Some(utf8) => write_str(out, utf8, python),
        None => {
            let has = |wanted: char| text.code_points().any(|point| point == u32::from(wanted));
            let quote = quote(has('\''), has('"'));
            out.push(quote);
            for point in text.code_points() {
                match char::from_u32(point) {
                    Some(c) => write_char(out, c, quote, python),
                    None => write_escape(out, point),
                }
            }
            out.push(quote);
        }
    }
}

/// Appends Python's `repr()` of a string that has a UTF-8 form to `out`; see [`write_text`].
pub(super) fn write_str(out: &mut String, utf8: &str, python: PythonVersion) {
    let quote = quote(utf8.contains('\''), utf8.contains('"'));
    out.push(quote);
    let mut rest = utf8;
    while let Some(c) = rest.chars().next() {
        let plain = rest.bytes().take_while(|byte| is_plain(*byte)).count();
        let (run, after) = rest.split_at_checked(plain).unwrap_or(("", rest));
        if run.is_empty() {
            write_char(out, c, quote, python);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else {
            out.push_str(run);
            rest = after;
        }
    }
    out.push(quote);
}

/// Appends Python's `repr()` of a float to `out`: the fewest digits that read back as the same float, as
/// `1.0`, `1e+16`, `1e-05`, `inf` or `nan`.
pub fn write_float(out: &mut String, float: f64) {
    if float.is_nan() {
        return out.push_str("nan");
    }
    if float.is_sign_negative() {
        out.push('-');
    }
    if float.is_infinite() {
        return out.push_str("inf");
    }
    let scientific = scientific(float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (units, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    match exponent {
        0..16 => {
            let zeros = (exponent as usize).saturating_sub(fraction.len());
            let (whole, fraction) = fraction.split_at_checked(exponent as usize).unwrap_or((fraction, ""));
            out.push_str(units);
            out.push_str(whole);
            out.extend(std::iter::repeat_n('0', zeros));
            out.push('.');
            out.push_str(if fraction.is_empty() { "0" } else { fraction });
        }
        -4..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.push_str(units);
            out.push_str(fraction);
        }
        _ => {
            out.push_str(mantissa);
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

fn write_list(out: &mut String, values: &[PantherValue], python: PythonVersion) {
    out.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(out, value, python);
    }
    out.push(']');
}

fn write_object(out: &mut String, object: &Object, python: PythonVersion) {
    out.push('{');
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_text(out, key, python);
        out.push_str(": ");
        write_repr(out, value, python);
    }
    out.push('}');
}

/// Returns the fewest digits that read back as `float`, as in `1.2345e-7`: of several such numbers the nearest
/// one, of two equally near the one whose last digit is even.
fn scientific(float: f64) -> String {
    // Both Rust and Python take the fewest digits and the nearest number, but of two equally near Rust takes
    // the larger: -1111099417869470.25 ends in .3 there and in .2 in Python. Rust's rounding to a given number
    // of digits goes to the even one; it may leave what reads back as `float` only beside a power of two.
    let shortest = format!("{float:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let nearest = format!("{float:.*e}", digits.saturating_sub(1));
    if nearest.parse() == Ok(float) { nearest } else { shortest }
}

fn quote(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

/// Tells whether a byte stands for itself whatever the quotes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !matches!(byte, b'\'' | b'"' | b'\\')
}

fn write_char(out: &mut String, c: char, quote: char, python: PythonVersion) {
    match c {
        '\\' => out.push_str(r"\\"),
        '\t' => out.push_str(r"\t"),
        '\n' => out.push_str(r"\n"),
        '\r' => out.push_str(r"\r"),
        _ if c == quote => out.extend(['\\', c]),
        _ if python.is_printable(c.into()) => out.push(c),
        _ => write_escape(out, c.into()),
    }
}

fn write_escape(out: &mut String, point: u32) {
    let _ = match point {
        0..0x100 => write!(out, r"\x{point:02x}"),
        0x100..0x1_0000 => write!(out, r"\u{point:04x}"),
        _ => write!(out, r"\U{point:08x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(float: f64) -> String {
        let mut out = String::new();
        write_float(&mut out, float);
        out
    }

    fn text(code_points: &[u32]) -> String {
        let mut out = String::new();
        write_text(&mut out, &Text::from_code_points(code_points), PythonVersion::V3_11);
        out
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let python = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-320_080.946_748_310_8, "-320080.9467483108"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (0.000_123_4, "0.0001234"),
            (1e-5, "1e-05"),
            (1.5e-5, "1.5e-05"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (2f64.powi(-44), "5.684341886080802e-14"),
            // Ties between two shortest forms, and a power of two whose nearest form does not read back.
            (-1_111_099_417_869_470.0 - 0.25, "-1111099417869470.2"),
            (1_111_099_417_869_470.0 + 0.75, "1111099417869470.8"),
            (2f64.powi(-1017), "7.120236347223045e-307"),
            (9.5e-323, "9.4e-323"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, expected) in python {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn strings_are_quoted_and_escaped_as_python_does() {
        let of = |utf8: &str| text(&utf8.chars().map(u32::from).collect::<Vec<_>>());
        assert_eq!(of(""), "''");
        assert_eq!(of("it's"), "\"it's\"");
        assert_eq!(of("it's \"so\""), "'it\\'s \"so\"'");
        assert_eq!(
            of("a\\b\t\n\r\0\x1b\x7f\u{80}\u{a0}\u{ad}\u{ff}"),
            r"'a\\b\t\n\r\x00\x1b\x7f\x80\xa0\xadÿ'"
        );
        assert_eq!(of("\u{200b}\u{2028}\u{feff}\u{e0001}\u{1f980}é"), r"'\u200b\u2028\ufeff\U000e0001🦀é'");
        assert_eq!(text(&[0xd800, 0x27, 0x61]), r#""\ud800'a""#);
        assert_eq!(text(&[0xdfff, 0x27, 0x22]), r#"'\udfff\'"'"#);
    }
}
