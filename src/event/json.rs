//! JSON as detail documents need it: values that callers give, and text that is checked to be JSON.
//!
//! Small and without a dependency, because typed emitters belong to the crate without features. It writes and checks;
//! it builds no tree.

use std::borrow::Cow;
use std::fmt::Write;

/// A value of free form within an event's data.
///
/// ```
/// use panther_events::event::Value;
///
/// let config = Value::Map(&[("transport", Value::from("udp")), ("streams", Value::from(4_u64))]);
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Value<'a> {
    /// Nothing.
    #[default]
    Null,
    /// A flag.
    Bool(bool),
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A number. JSON has no NaN and no infinities: they are written as the strings `"NaN"`, `"Infinity"` and
    /// `"-Infinity"`.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Texts.
    Texts(&'a [&'a str]),
    /// Values.
    List(&'a [Value<'a>]),
    /// Values under keys. Keys are to be different; this is not checked.
    Map(&'a [(&'a str, Value<'a>)]),
    /// JSON text.
    Json(Json<'a>),
}

macro_rules! value_from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl<'a> From<$ty> for Value<'a> {
            fn from(value: $ty) -> Value<'a> {
                Value::$variant(value.into())
            }
        }
    )*};
}
value_from!(bool => Bool, u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, i32 => Signed,
    i64 => Signed, f32 => Float, f64 => Float, &'a str => Text, &'a [&'a str] => Texts, &'a [Value<'a>] => List,
    &'a [(&'a str, Value<'a>)] => Map, Json<'a> => Json);

impl<'a, const N: usize> From<&'a [&'a str; N]> for Value<'a> {
    fn from(texts: &'a [&'a str; N]) -> Value<'a> {
        Value::Texts(texts)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Value<'a> {
        value.map_or(Value::Null, Into::into)
    }
}

impl Value<'_> {
    /// Appends the value as compact JSON.
    pub(crate) fn push(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Unsigned(value) => push_number(out, format_args!("{value}")),
            Value::Signed(value) => push_number(out, format_args!("{value}")),
            Value::Float(value) => push_float(out, *value),
            Value::Text(text) => push_text(out, text),
            Value::Texts(texts) => push_list(out, texts, |out, text| push_text(out, text)),
            Value::List(values) => push_list(out, values, |out, value| value.push(out)),
            Value::Map(members) => push_map(out, members),
            Value::Json(json) => json.push_compact(out),
        }
    }
}

fn push_list<T>(out: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

fn push_map(out: &mut String, members: &[(&str, Value<'_>)]) {
    out.push('{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_text(out, key);
        out.push(':');
        value.push(out);
    }
    out.push('}');
}

pub(crate) fn push_number(out: &mut String, number: std::fmt::Arguments<'_>) {
    // Writing into a String does not fail.
    let _ = out.write_fmt(number);
}

/// Appends the shortest digits that read back as the same float.
fn push_float(out: &mut String, value: f64) {
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

/// Text that is one JSON value (RFC 8259), checked.
///
/// What JSON leaves open stays as it is: repeated keys, and escapes that name half a surrogate pair.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Json<'a>(&'a str);

/// Says where and why a text is not JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not JSON at byte {offset}: {expected} expected")]
pub struct JsonError {
    /// Bytes before the place.
    pub offset: usize,
    /// What would be valid there.
    pub expected: &'static str,
}

/// Levels of lists and maps within each other that a text can have.
pub const DEPTH_MAX: usize = 128;

impl<'a> Json<'a> {
    /// Checks that `text` is one JSON value, with space around it or not.
    ///
    /// # Errors
    /// When it is not, or lists and maps are nested more than [`DEPTH_MAX`] deep.
    pub fn new(text: &'a str) -> Result<Json<'a>, JsonError> {
        let mut scan = Scan { text: text.as_bytes(), at: 0 };
        scan.skip_space();
        scan.value(DEPTH_MAX)?;
        scan.skip_space();
        if scan.at < text.len() { scan.fail("the end") } else { Ok(Json(text)) }
    }

    /// Returns the text as it was given.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Returns the text without space between tokens.
    #[must_use]
    pub fn compact(&self) -> Cow<'a, str> {
        let mut in_text = Tokens::default();
        if !self.0.bytes().any(|byte| in_text.is_space_between(byte)) {
            return Cow::Borrowed(self.0);
        }
        let mut out = String::with_capacity(self.0.len());
        self.push_compact(&mut out);
        Cow::Owned(out)
    }

    fn push_compact(&self, out: &mut String) {
        let mut tokens = Tokens::default();
        // Space is ASCII, so splitting there keeps characters whole.
        for piece in self.0.split(|c: char| u8::try_from(c).is_ok_and(|byte| tokens.is_space_between(byte))) {
            out.push_str(piece);
        }
    }
}

/// Knows, byte by byte, whether a checked text is within a string.
#[derive(Default)]
struct Tokens {
    quoted: bool,
    escaped: bool,
}

impl Tokens {
    fn is_space_between(&mut self, byte: u8) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match byte {
            b'"' => self.quoted = !self.quoted,
            b'\\' => self.escaped = self.quoted,
            b' ' | b'\n' | b'\r' | b'\t' => return !self.quoted,
            _ => {}
        }
        false
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError { offset: self.at, expected })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - start
    }

    fn skip_space(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth == 0 => self.fail("a list or map less deep"),
            Some(b'{') => self.sequence(b'}', "`,` or `}`", |scan| {
                scan.string()?;
                scan.skip_space();
                if !scan.take(b':') {
                    return scan.fail("`:`");
                }
                scan.skip_space();
                scan.value(depth - 1)
            }),
            Some(b'[') => self.sequence(b']', "`,` or `]`", |scan| scan.value(depth - 1)),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn sequence(
        &mut self,
        end: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.at += 1;
        self.skip_space();
        if self.take(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if self.take(end) {
                return Ok(());
            }
            if !self.take(b',') {
                return self.fail(expected);
            }
            self.skip_space();
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        if !self.take(b'"') {
            return self.fail("a string");
        }
        loop {
            self.take_while(|byte| !matches!(byte, b'"' | b'\\' | ..0x20));
            if self.take(b'"') {
                return Ok(());
            }
            if !self.take(b'\\') {
                return self.fail("`\"`");
            }
            match self.peek() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') => {
                    self.at += 1;
                    for _ in 0..4 {
                        if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                            return self.fail("four hexadecimal digits");
                        }
                        self.at += 1;
                    }
                }
                _ => return self.fail("an escape"),
            }
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return self.fail("a digit");
        }
        if self.take(b'.') && self.digits() == 0 {
            return self.fail("a digit");
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return self.fail("a digit");
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        self.take_while(|byte| byte.is_ascii_digit())
    }

    fn word(&mut self) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
        match word {
            Some(word) => {
                self.at += word.len();
                Ok(())
            }
            None => self.fail("a value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Tree;

    #[test]
    fn text_is_json_exactly_when_serde_says_so() {
        let good = [
            "null",
            " true ",
            "[]",
            "{ }",
            "-0",
            "1.5e-7",
            "1E+9",
            "\"\\u00e9\\n é\"",
            "[1,[2,{\"a\":\"b\"}]]",
            "{\"a\":1,\"a\":2}",
            "{\"\":[ {} , [ ] ]}",
            "\"\\\"\"",
        ];
        let mut cases: Vec<String> = good.iter().map(ToString::to_string).collect();
        // Each text cut short, and with each byte replaced by each of these.
        for text in good {
            cases.extend((0..text.len()).filter_map(|end| text.get(..end).map(str::to_owned)));
            for at in 0..text.len() {
                for new in "0 \",:[]{}\\u-+.eEtn\u{1}\n".chars() {
                    if let (Some(before), Some(after)) = (text.get(..at), text.get(at + 1..)) {
                        cases.push(format!("{before}{new}{after}"));
                    }
                }
            }
        }
        let mut valid = 0;
        for case in &cases {
            let tree = serde_json::from_str::<&serde_json::value::RawValue>(case);
            // Half surrogate pairs are JSON, but no text that serde can hold.
            assert_eq!(Json::new(case).is_ok(), tree.is_ok(), "{case:?}");
            if let Ok(json) = Json::new(case) {
                valid += 1;
                let compact = json.compact();
                let tree: Tree = serde_json::from_str(case).unwrap();
                assert_eq!(serde_json::from_str::<Tree>(&compact).unwrap(), tree);
                assert!(!compact.contains('\n') && compact.len() <= case.len());
                assert_eq!(Json::new(&compact).unwrap().compact(), compact);
            }
        }
        assert!(valid > 100 && cases.len() - valid > 500, "{valid} of {}", cases.len());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::new(&nested(DEPTH_MAX)).is_ok());
        let error = Json::new(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.offset, DEPTH_MAX);
        assert!(Json::new(&"[".repeat(1 << 20)).is_err());
    }

    #[test]
    fn values_are_written_as_serde_reads_them() {
        let json = Json::new(" {\"k\" : [ 1 ] } ").unwrap();
        let list =
            [Value::from(-1), Value::from(u64::MAX), Value::Null, Value::from(true), Value::Json(json)];
        let every: String = (0..0x100_u32).filter_map(char::from_u32).chain(['\u{2028}', '😀']).collect();
        let members = [
            ("list", Value::List(&list)),
            ("text", Value::from(&*every)),
            (&*every, Value::from(&["a", "b"])),
            ("floats", Value::List(&[Value::Float(0.1), Value::Float(1e300), Value::Float(-0.0)])),
            ("not", Value::Float(f64::NEG_INFINITY)),
            ("none", Value::from(None::<u64>)),
        ];
        let mut out = String::new();
        Value::Map(&members).push(&mut out);
        let read: Tree = serde_json::from_str(&out).unwrap();
        assert_eq!(read["list"], serde_json::json!([-1, u64::MAX, null, true, {"k": [1]}]));
        assert_eq!(read["text"], Tree::from(&*every));
        assert_eq!(read[&*every], serde_json::json!(["a", "b"]));
        assert_eq!(read["floats"], serde_json::json!([0.1, 1e300, -0.0]));
        assert_eq!((&read["not"], &read["none"]), (&Tree::from("-Infinity"), &Tree::Null));
        assert!(!out.contains('\n'));
    }
}
