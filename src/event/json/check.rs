//! Checking that text is JSON.

use std::borrow::Cow;

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

    pub(super) fn push_compact(&self, out: &mut String) {
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
}
