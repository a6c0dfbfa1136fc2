//! Reads members of documents: texts that are known to be compact JSON objects.

use std::borrow::Cow;

/// The members of a document. Of text that is no object there are none; what is broken ends them.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a>(&'a str);

impl<'a> Members<'a> {
    pub(crate) fn of(document: &'a str) -> Members<'a> {
        Members(document.strip_prefix('{').unwrap_or_default())
    }

    /// Returns the member's value, as it stands there.
    pub(crate) fn raw(mut self, name: &str) -> Option<&'a str> {
        self.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Returns how many things the member lists: the values of a list, the members of an object; a number is itself. What tells no
    /// number is the largest, so that it is not taken for none.
    pub(crate) fn listed(self, name: &str) -> Option<u64> {
        let raw = self.raw(name)?;
        let Some(inside) = raw.strip_prefix(['[', '{']) else {
            return if raw == "null" { None } else { Some(raw.parse().unwrap_or(u64::MAX)) };
        };
        Some(Values(Some(inside)).count() as u64)
    }

    /// Iterates over the values of a list, as they stand there; what is no list has none.
    pub(crate) fn values(self, name: &str) -> impl Iterator<Item = &'a str> {
        Values(self.raw(name).and_then(|raw| raw.strip_prefix('[')))
    }

    /// Returns the member's value, if it is a string.
    pub(crate) fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).and_then(unquoted)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<(Cow<'a, str>, &'a str)> {
        let rest = self.0.strip_prefix(',').unwrap_or(self.0);
        let (key, rest) = rest.split_at_checked(string_len(rest)?)?;
        let rest = rest.strip_prefix(':')?;
        let (value, rest) = rest.split_at_checked(value_len(rest)?)?;
        self.0 = rest;
        Some((unquoted(key)?, value))
    }
}

/// What stands between the commas of a list or an object, up to its end.
struct Values<'a>(Option<&'a str>);

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = self.0?;
            let (value, behind) = rest.split_at_checked(value_len(rest)?)?;
            self.0 = behind.strip_prefix(',');
            if !value.trim().is_empty() {
                return Some(value.trim());
            }
        }
    }
}

/// The bytes of the string that begins here, quotes included.
fn string_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The bytes of the value that begins here.
fn value_len(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_len(text.get(at..)?)? - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' | b',' if depth == 0 => return Some(at),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Reads a string; half a surrogate pair becomes U+FFFD.
pub(crate) fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let kind = escape.chars().next()?;
        rest = escape.get(kind.len_utf8()..)?;
        text.push(match kind {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
                let high = unit(rest)?;
                rest = rest.get(4..)?;
                let low = rest.strip_prefix("\\u").and_then(unit);
                let units = [high, low.unwrap_or(0)];
                match char::decode_utf16(units).next()? {
                    Ok(c) => {
                        if u32::from(c) > 0xffff {
                            rest = rest.get(6..)?;
                        }
                        c
                    }
                    Err(_) => char::REPLACEMENT_CHARACTER,
                }
            }
            other => other,
        });
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_back_as_they_were_written() {
        let document =
            r#"{"a":1,"b":{"a":[1,"}",{}]},"c\"":"x\n\u00e9\ud83e\udd80\ud800y\\","d":null,"":""}"#;
        let members = Members::of(document);
        assert_eq!(members.raw("a"), Some("1"));
        assert_eq!(members.raw("b"), Some(r#"{"a":[1,"}",{}]}"#));
        assert_eq!(members.text("c\"").as_deref(), Some("x\né\u{1f980}\u{fffd}y\\"));
        assert_eq!(
            (members.text("d"), members.raw("d"), members.text("")),
            (None, Some("null"), Some("".into()))
        );
        assert_eq!(members.raw("e"), None);
        assert_eq!(members.listed("b"), Some(1));
        let listing = Members::of(r#"{"a":[],"b":["x,]", {"y":[1,2]},3 ],"c":7,"d":{"x":1,"y":2}}"#);
        let values = |name| listing.values(name).collect::<Vec<_>>();
        assert_eq!(values("a"), [""; 0]);
        assert_eq!(values("b"), ["\"x,]\"", "{\"y\":[1,2]}", "3"]);
        assert_eq!((values("c"), values("d"), values("e")), (vec![], vec![], vec![]));
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|name| listing.listed(name)),
            [Some(0), Some(3), Some(7), Some(2), None]
        );
        assert_eq!(members.count(), 5);
    }

    #[test]
    fn what_is_no_object_has_no_members_and_does_no_harm() {
        for text in [
            "",
            "{}",
            "[1]",
            "{",
            "{\"",
            "{\"a",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":[",
            "{\"a\":\"\\u12",
            "{\"\\",
        ] {
            assert_eq!(Members::of(text).count(), 0, "{text}");
        }
        assert_eq!(Members::of("{\"a\":\"\\u12\"}").text("a"), None);
    }
}
