//! Names, escapes and numbers of the OpenMetrics text format.

use super::number::Number;

/// Endings that the format gives to samples; a family with one of them reads like another family's sample.
const SAMPLE_SUFFIXES: [&str; 8] =
    ["_total", "_created", "_count", "_sum", "_bucket", "_gcount", "_gsum", "_info"];

/// Checks a family's name. Colons are kept for recording rules and refused.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    check_identifier(name)?;
    if SAMPLE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return Err("it ends like a sample (_total, _count, ...); leave the ending out, samples get theirs");
    }
    Ok(())
}

/// Checks a label's name.
pub(super) fn check_label(name: &str) -> Result<(), &'static str> {
    check_identifier(name)?;
    if name.starts_with("__") {
        return Err("names with two leading underscores are reserved; drop them");
    }
    Ok(())
}

fn check_identifier(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty; give a name");
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it begins with a digit; put a letter first");
    }
    if name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '_') {
        return Err("it may hold only ASCII letters, digits and underscores");
    }
    Ok(())
}

/// Appends `text` as it stands in a label's value or a help line.
pub(super) fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            c => line.push(c),
        }
    }
}

/// Appends a sample's value: shortest digits that read back to the same number.
pub(super) fn push_number(line: &mut String, value: Number) {
    match value {
        Number::Unsigned(value) => line.push_str(&value.to_string()),
        Number::Signed(value) => line.push_str(&value.to_string()),
        Number::Float(value) if value.is_finite() => line.push_str(&format!("{value:?}")),
        Number::Float(value) => push_non_finite(line, value),
    }
}

/// Appends a quantile or a bucket's bound in the canonical form: `%g` with shortest digits, and `.0` where
/// there would be neither a point nor an exponent. Readers compare these as text.
pub(super) fn push_canonical(line: &mut String, value: f64) {
    if !value.is_finite() {
        return push_non_finite(line, value);
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        line.push_str(&format!("{value:?}"));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        line.push_str(&format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
}

fn push_non_finite(line: &mut String, value: f64) {
    line.push_str(match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "+Inf",
        _ => "-Inf",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_the_specification_lists_them() {
        let cases = [
            (0.0, "0.0"),
            (1e-10, "1e-10"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (0.1, "0.1"),
            (1.0, "1.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1e10, "1e+10"),
            (1_234_567.5, "1.2345675e+06"),
            (0.999, "0.999"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, expected) in cases {
            let mut line = String::new();
            push_canonical(&mut line, value);
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn numbers_read_back_to_the_same_number() {
        for value in [0.1 + 0.2, 1e300, 5e-324, f64::MAX, -0.0, 1.7e18] {
            let mut line = String::new();
            push_number(&mut line, Number::Float(value));
            assert_eq!(line.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
        let mut line = String::new();
        push_number(&mut line, Number::Unsigned(u64::MAX));
        assert_eq!(line, "18446744073709551615");
    }

    #[test]
    fn names_follow_the_grammar() {
        for name in ["a", "_a", "panther_events_offered", "A9"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "9a", "a-b", "a:b", "ä", "a b", "x_total", "x_count", "x_info"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_label("__name__").is_err() && check_label("from").is_ok());
    }
}
