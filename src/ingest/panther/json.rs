//! Parses JSON as Python's `json.loads` does.
//!
//! The parser is this project's own because no maintained one keeps what the ids depend on: lone surrogates,
//! `NaN` and `Infinity`, integers of any size and the order of keys, all at once. (`serde_json` refuses the
//! first two, and its features for the last two change its behaviour for every crate in a build.) It accepts
//! and refuses what Python does, and it refuses a little more: what [`Limits`] bounds.

use crate::ingest::panther::text::Text;
use crate::ingest::panther::value::{Object, PantherValue};

/// Bounds what one line of JSON may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Levels of arrays and objects within each other. The type keeps it far below what a stack holds; Python
    /// itself stops near 1,000.
    pub depth_max: u8,
    /// Bytes that a string may have in UTF-8, escapes resolved.
    pub string_bytes_max: usize,
    /// Values, keys not counted, that a line may have; each takes about 32 bytes of memory.
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth_max: 200, string_bytes_max: 1 << 20, values_max: 1 << 20 }
    }
}

/// Says where and why a text is not taken as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct ParseError {
    /// Bytes before the one at fault.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// Says why a text is not taken as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The bytes are not UTF-8.
    #[error("not UTF-8; write the file as UTF-8")]
    NotUtf8,
    /// The text begins with U+FEFF.
    #[error("begins with a byte order mark, which Python refuses too; remove it")]
    ByteOrderMark,
    /// No value begins here.
    #[error("not JSON: a value should begin here")]
    ExpectedValue,
    /// An object's key or end is missing.
    #[error("not JSON: a key in double quotes should begin here")]
    ExpectedKey,
    /// The colon after a key is missing.
    #[error("not JSON: a colon should be here")]
    ExpectedColon,
    /// A comma, or the end of the array or object, is missing.
    #[error("not JSON: a comma or a closing bracket should be here")]
    ExpectedComma,
    /// Something follows the value.
    #[error("not JSON: nothing may follow the value; write one object a line")]
    TrailingData,
    /// A string has no end.
    #[error("not JSON: the string that begins here has no end")]
    UnterminatedString,
    /// A control character stands in a string.
    #[error("not JSON: a control character (0x{0:02x}) in a string; escape it")]
    ControlCharacter(u8),
    /// An unknown escape.
    #[error("not JSON: unknown escape in a string")]
    BadEscape,
    /// `\u` without four hexadecimal digits.
    #[error("not JSON: \\u without four hexadecimal digits")]
    BadUnicodeEscape,
    /// Too many levels.
    #[error("nested more than {0} levels deep; raise the limit or write it flatter")]
    TooDeep(u8),
    /// A long string.
    #[error("a string of more than {0} bytes; raise the limit or shorten it")]
    StringTooLong(usize),
    /// Too many values.
    #[error("more than {0} values in a line; raise the limit or split it")]
    TooManyValues(usize),
    /// An integer that Python refuses to convert.
    #[error("an integer of {0} digits; Python converts at most {INT_DIGITS_MAX}")]
    IntTooLong(usize),
}

/// Digits of the longest integer that Python's `int()` converts (`sys.int_info.default_max_str_digits`).
pub const INT_DIGITS_MAX: usize = 4300;

/// Parses one JSON value.
///
/// # Errors
/// When Python's `json.loads` would refuse `bytes`, or they exceed the limits.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<PantherValue, ParseError> {
    let mut parser = Parser::new(bytes, limits)?;
    parser.skip_space();
    let value = parser.value(0)?;
    parser.end()?;
    Ok(value)
}

/// Parses one JSON object and hands each member to `member`, with the offset of its value; answers `false`,
/// with nothing handed over, when the value is not an object.
///
/// # Errors
/// As [`parse`]; members before the fault have been handed over by then.
pub(super) fn parse_members(
    bytes: &[u8],
    limits: &Limits,
    member: &mut dyn FnMut(Text, PantherValue, usize),
) -> Result<bool, ParseError> {
    let mut parser = Parser::new(bytes, limits)?;
    parser.skip_space();
    let is_object = parser.peek() == Some(b'{');
    if is_object {
        let depth = parser.deeper(0)?;
        parser.members(depth, member)?;
    } else {
        parser.value(0)?;
    }
    parser.end()?;
    Ok(is_object)
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes read; always at a character's beginning.
    at: usize,
    values_left: usize,
    limits: &'a Limits,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8], limits: &'a Limits) -> Result<Parser<'a>, ParseError> {
        let not_utf8 = |error: std::str::Utf8Error| ParseError {
            offset: error.valid_up_to(),
            kind: ParseErrorKind::NotUtf8,
        };
        let text = std::str::from_utf8(bytes).map_err(not_utf8)?;
        if text.starts_with('\u{feff}') {
            return Err(ParseError { offset: 0, kind: ParseErrorKind::ByteOrderMark });
        }
        Ok(Parser { text, at: 0, values_left: limits.values_max, limits })
    }

    fn value(&mut self, depth: u8) -> Result<PantherValue, ParseError> {
        self.values_left = match self.values_left.checked_sub(1) {
            Some(left) => left,
            None => return self.fail(ParseErrorKind::TooManyValues(self.limits.values_max)),
        };
        match self.peek() {
            Some(b'"') => Ok(PantherValue::Text(self.string()?)),
            Some(b'{') => {
                let depth = self.deeper(depth)?;
                let mut members = Vec::new();
                self.members(depth, &mut |key, value, _| members.push((key, value)))?;
                Ok(PantherValue::Object(Object::from_members(members)))
            }
            Some(b'[') => {
                let depth = self.deeper(depth)?;
                Ok(PantherValue::List(self.elements(depth)?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Steps over an opening bracket into one level more.
    fn deeper(&mut self, depth: u8) -> Result<u8, ParseError> {
        if depth >= self.limits.depth_max {
            return self.fail(ParseErrorKind::TooDeep(self.limits.depth_max));
        }
        self.at += 1;
        Ok(depth + 1)
    }

    /// Reads an object's members, from after `{` to after `}`.
    fn members(
        &mut self,
        depth: u8,
        member: &mut dyn FnMut(Text, PantherValue, usize),
    ) -> Result<(), ParseError> {
        self.skip_space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail(ParseErrorKind::ExpectedKey);
            }
            let key = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return self.fail(ParseErrorKind::ExpectedColon);
            }
            self.skip_space();
            let offset = self.at;
            let value = self.value(depth)?;
            member(key, value, offset);
            self.skip_space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.fail(ParseErrorKind::ExpectedComma);
            }
            self.skip_space();
        }
    }

    /// Reads an array's elements, from after `[` to after `]`.
    fn elements(&mut self, depth: u8) -> Result<Vec<PantherValue>, ParseError> {
        let mut elements = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(elements);
        }
        loop {
            elements.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(elements);
            }
            if !self.take(b',') {
                return self.fail(ParseErrorKind::ExpectedComma);
            }
            self.skip_space();
        }
    }

    fn number(&mut self) -> Result<PantherValue, ParseError> {
        let start = self.at;
        let negative = self.take(b'-');
        if negative && self.peek() == Some(b'I') {
            self.at = start;
            return self.word();
        }
        let digits_start = self.at;
        if !self.take(b'0') && self.digits() == 0 {
            self.at = start;
            return self.fail(ParseErrorKind::ExpectedValue);
        }
        let digits = self.at - digits_start;
        // A point or an exponent without digits is not part of the number, and nothing else takes it either.
        let is_float = self.fraction() | self.exponent();
        let number = self.text.get(start..self.at).unwrap_or_default();
        if is_float {
            // Like Python's, Rust's conversion rounds to the nearest float, and overflows to infinity.
            return number
                .parse()
                .map(PantherValue::Float)
                .or_else(|_| self.fail(ParseErrorKind::ExpectedValue));
        }
        if digits > INT_DIGITS_MAX {
            self.at = start;
            return self.fail(ParseErrorKind::IntTooLong(digits));
        }
        Ok(number.parse().map_or_else(|_| PantherValue::BigInt(number.into()), PantherValue::Int))
    }

    fn fraction(&mut self) -> bool {
        let before = self.at;
        if self.take(b'.') && self.digits() > 0 {
            return true;
        }
        self.at = before;
        false
    }

    fn exponent(&mut self) -> bool {
        let before = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            if self.digits() > 0 {
                return true;
            }
        }
        self.at = before;
        false
    }

    /// Steps over decimal digits and returns how many they were.
    fn digits(&mut self) -> usize {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        digits
    }

    fn word(&mut self) -> Result<PantherValue, ParseError> {
        let words = [
            ("null", PantherValue::Null),
            ("true", PantherValue::Bool(true)),
            ("false", PantherValue::Bool(false)),
            ("NaN", PantherValue::Float(f64::NAN)),
            ("Infinity", PantherValue::Float(f64::INFINITY)),
            ("-Infinity", PantherValue::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in words {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail(ParseErrorKind::ExpectedValue)
    }

    /// Reads a string, from its opening quote to after its closing one.
    fn string(&mut self) -> Result<Text, ParseError> {
        let start = self.at;
        self.at += 1;
        let run = self.run();
        if run.len() > self.limits.string_bytes_max {
            return Err(self.too_long(start));
        }
        if self.take(b'"') {
            return Ok(Text::from(run));
        }
        let mut string = Unescaped::Utf8(run.to_owned());
        loop {
            let point = match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(control) => return self.fail(ParseErrorKind::ControlCharacter(control)),
                None => return Err(ParseError { offset: start, kind: ParseErrorKind::UnterminatedString }),
            };
            string.push(point);
            string.push_str(self.run());
            if string.len() > self.limits.string_bytes_max {
                return Err(self.too_long(start));
            }
        }
        self.at += 1;
        Ok(string.into_text())
    }

    fn too_long(&self, start: usize) -> ParseError {
        ParseError { offset: start, kind: ParseErrorKind::StringTooLong(self.limits.string_bytes_max) }
    }

    /// Reads what stands for itself in a string.
    fn run(&mut self) -> &'a str {
        let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
        let len = self.rest().bytes().take_while(is_plain).count();
        let run = self.rest().get(..len).unwrap_or_default();
        self.at += run.len();
        run
    }

    /// Reads an escape, or two when they are a pair of surrogates.
    fn escape(&mut self) -> Result<u32, ParseError> {
        let start = self.at;
        let letter = self.text.as_bytes().get(start + 1);
        let point = match letter {
            Some(&quoted @ (b'"' | b'\\' | b'/')) => quoted.into(),
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => 0x0a,
            Some(b'r') => 0x0d,
            Some(b't') => 0x09,
            Some(b'u') => return self.unicode_escape(),
            _ => return self.fail(ParseErrorKind::BadEscape),
        };
        self.at += 2;
        Ok(point)
    }

    fn unicode_escape(&mut self) -> Result<u32, ParseError> {
        let Some(first) = self.escaped_unit() else {
            return self.fail(ParseErrorKind::BadUnicodeEscape);
        };
        self.at += UNICODE_ESCAPE_LEN;
        if let 0xd800..0xdc00 = first
            && let Some(second @ 0xdc00..0xe000) = self.escaped_unit()
        {
            self.at += UNICODE_ESCAPE_LEN;
            return Ok(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        }
        Ok(first)
    }

    /// Returns the number of the `\u` escape that stands here, if one does.
    fn escaped_unit(&self) -> Option<u32> {
        let digits = self.rest().get(..UNICODE_ESCAPE_LEN)?.strip_prefix("\\u")?;
        // `from_str_radix` would take a sign.
        let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if all_hex { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.fail(ParseErrorKind::TrailingData) }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is_here = self.peek() == Some(wanted);
        self.at += usize::from(is_here);
        is_here
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, kind: ParseErrorKind) -> Result<T, ParseError> {
        Err(ParseError { offset: self.at, kind })
    }
}

/// Bytes of `\uXXXX`.
const UNICODE_ESCAPE_LEN: usize = 6;

/// A string in the making: UTF-8 up to the first lone surrogate, code points from then on.
enum Unescaped {
    Utf8(String),
    /// The code points, and how many bytes they have in UTF-8, three for a surrogate.
    CodePoints(Vec<u32>, usize),
}

impl Unescaped {
    fn push(&mut self, point: u32) {
        match (&mut *self, char::from_u32(point)) {
            (Unescaped::Utf8(utf8), Some(c)) => utf8.push(c),
            (Unescaped::Utf8(utf8), None) => {
                let points = utf8.chars().map(u32::from).chain([point]).collect();
                *self = Unescaped::CodePoints(points, utf8.len() + 3);
            }
            (Unescaped::CodePoints(points, bytes), c) => {
                points.push(point);
                *bytes += c.map_or(3, char::len_utf8);
            }
        }
    }

    fn push_str(&mut self, run: &str) {
        match self {
            Unescaped::Utf8(utf8) => utf8.push_str(run),
            Unescaped::CodePoints(points, bytes) => {
                points.extend(run.chars().map(u32::from));
                *bytes += run.len();
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Unescaped::Utf8(utf8) => utf8.len(),
            Unescaped::CodePoints(_, bytes) => *bytes,
        }
    }

    fn into_text(self) -> Text {
        match self {
            Unescaped::Utf8(utf8) => Text::from(utf8),
            Unescaped::CodePoints(points, _) => Text::from_code_points(&points),
        }
    }
}
